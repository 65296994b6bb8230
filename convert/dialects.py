"""Configs of Keras 2 in the dialect of Keras 3: plain data in, plain data out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .call_values import map_places
from .tensorflow_functions import translate

Data = dict[str, Any]


# Keras 2 writes the arguments of its base class of convolutions also where they mean nothing.
_MEANINGLESS = {
    "DepthwiseConv2D": ("groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint"),
    "SeparableConv2D": ("groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint"),
    "BatchNormalization": ("adjustment", "fused", "virtual_batch_size"),
}
_RENAMED_ARGUMENTS = {"LeakyReLU": {"alpha": "negative_slope"}}
# Classes that Keras 3 knows under another name. Files keep weights under their own.
RENAMED = {
    "Custom>CustomScaleLayer": "CustomScaleLayer",
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "SyncBatchNormalization": "BatchNormalization",
}


# What keras-applications wrote as a Lambda: in its ResNeXts, the sum over the channels of a group.
_RESNEXT_SUM = re.compile(r"conv\d_block\d+_2_reduce")


def in_keras_3(saved: Data) -> Data:
    """The `class_name` and `config` of a model or layer as Keras 3 writes them."""
    config = saved["config"]
    class_name = RENAMED.get(saved["class_name"], saved["class_name"])
    if class_name == "RandomCrop" and "data_format" not in config:  # which Keras 3 writes
        class_name = "ResizedRandomCrop"
    match class_name:
        case "Sequential":
            return {**saved, "config": _sequential(config)}
        case "Functional" | "Model":
            return {**saved, "config": _functional(config)}
        case "InputLayer" if "batch_input_shape" in config:
            return {**saved, "config": _input(config)}
        case "Lambda" if _RESNEXT_SUM.fullmatch(config.get("name") or ""):
            sums = {"name": config["name"], "axis": 4}
            return {**saved, "module": "keras.src.ops", "class_name": "Sum", "config": sums}
        case "TensorFlowOpLayer":
            return {**saved, "class_name": _name_of_node(config), "registered_name": None}
    dropped = (*_MEANINGLESS.get(class_name, ()), "rng_type")
    renamed = _RENAMED_ARGUMENTS.get(class_name, {})
    config = {renamed.get(key, key): value for key, value in config.items() if key not in dropped}
    if class_name == "RandomContrast" and isinstance(config["factor"], int | float):
        config["factor"] = [config["factor"]] * 2  # Keras 3 takes a number for (0, number)
    own_name = saved["class_name"]
    if own_name == "SyncBatchNormalization":
        config["synchronized"] = True
    return {**saved, "class_name": class_name, "class_in_file": own_name, "config": config}


def _input(config: Data) -> Data:
    others = {key: value for key, value in config.items() if key != "batch_input_shape"}
    return {**others, "batch_shape": config["batch_input_shape"]}


def _sequential(config: Data | list) -> Data:
    """A Sequential of old may be a bare list, and its first layer may hold the input's shape."""
    if isinstance(config, list):
        config = {"layers": config}
    layers = [in_keras_3(layer) for layer in config["layers"]]
    first = layers[0] if layers else None
    shapes = [_take_input_shape(layer) for layer in layers]  # tf.keras writes both
    shape = shapes[0] if first and first["class_name"] != "InputLayer" else None
    if shape:
        source = {"batch_shape": shape, "name": f"{first['config']['name']}_input"}
        layers.insert(0, {"class_name": "InputLayer", "config": source})
    return {**config, "layers": layers}


def _take_input_shape(layer: Data) -> list | None:
    """Removes the input's shape from a layer's config and gives it."""
    if "batch_input_shape" not in layer["config"]:
        return None
    layer["config"] = dict(layer["config"])
    return layer["config"].pop("batch_input_shape")


def _functional(config: Data) -> Data:
    layers = [in_keras_3(layer) for layer in config["layers"]]
    classes = {layer["name"]: layer["class_name"] for layer in layers}
    is_old = any("kwargs" not in call for layer in layers for call in layer["inbound_nodes"])
    if not is_old:
        return {**config, "layers": [_without_default_mode(layer) for layer in layers]}
    for layer in layers:
        _take_input_shape(layer)
        if layer["class_name"] in _RECORDED_FUNCTIONS:
            _translate_function(layer, classes)
        else:
            layer["inbound_nodes"] = [_call(call, classes) for call in layer["inbound_nodes"]]
    outputs = map_places(lambda place: _output_place(*place, classes), config["output_layers"])
    return {**config, "layers": layers, "output_layers": outputs}


# The mode that Keras 3 writes for a call of these layers that asks for none. It rules only where
# the model is not told a mode, but a model here always has one.
_DEFAULT_MODES = {
    "AlphaDropout": False,
    "Dropout": False,
    "GaussianDropout": False,
    "GaussianNoise": False,
    "SpatialDropout1D": False,
    "SpatialDropout2D": False,
    "CenterCrop": True,
    "RandomBrightness": True,
    "RandomContrast": True,
    "RandomCrop": True,
    "RandomFlip": True,
    "RandomRotation": True,
    "RandomTranslation": True,
    "RandomZoom": True,
    "Resizing": True,
}


def _without_default_mode(layer: Data) -> Data:
    """The layer with calls that leave to the model what they have not asked for themselves."""
    default = _DEFAULT_MODES.get(layer["class_name"])
    if default is None:
        return layer
    calls = [dict(call) for call in layer["inbound_nodes"]]
    for call in calls:
        if call["kwargs"].get("training") is default:
            call["kwargs"] = {k: v for k, v in call["kwargs"].items() if k != "training"}
    return {**layer, "inbound_nodes": calls}


def _call(entries: list | Data, classes: dict[str, str]) -> Data:
    """A call in Keras 2 is of entries [layer, number of its call, index of its output, kwargs].

    Those of several tensors stand in a list or a dictionary.
    """
    tensors = _argument(entries, classes)
    is_one = isinstance(tensors, list) and len(tensors) == 1
    first, *_ = _entries_within(entries)
    kwargs = first[3] if len(first) > 3 else {}
    return {"args": tensors if is_one else [tensors], "kwargs": kwargs}


def _entries_within(value: Any) -> Iterator[list]:
    if _is_entry(value):
        yield value
        return
    for item in value.values() if isinstance(value, dict) else value:
        yield from _entries_within(item)


# Layers that hold a function of TensorFlow.
_RECORDED_FUNCTIONS = ("TFOpLambda", "SlicingOpLambda")


def _translate_function(layer: Data, classes: dict[str, str]) -> None:
    """Makes a layer that holds a function one that Keras 3 has for it.

    Where there is none, its class is the function's name, which is then found to be unsupported.
    """
    function = layer["config"]["function"]
    calls = [_function_call(call, classes) for call in layer["inbound_nodes"]]
    recorded = [translate(function, first, others) for first, others in calls]
    layer.pop("registered_name", None)
    if not recorded or None in recorded or any(r[:3] != recorded[0][:3] for r in recorded):
        layer.update(module=None, class_name=f"tf.{function}", inbound_nodes=[])
        return
    module, class_name, config, _ = recorded[0]
    layer["module"], layer["class_name"] = module, class_name
    layer["config"] = {"name": layer["name"], **config}
    layer["inbound_nodes"] = [{"args": call.args, "kwargs": {}} for call in recorded]


def _function_call(call: list, classes: dict[str, str]) -> tuple[Any, Data]:
    """The first argument of a function and the others by name; the first holds the others too."""
    first_entry = call if _is_entry(call) else call[0]
    others = first_entry[3] if len(first_entry) > 3 else {}
    first = _argument(call, classes)
    return first, {key: _other_argument(value, classes) for key, value in others.items()}


def _argument(entry: Any, classes: dict[str, str]) -> Any:
    """A tensor, a constant, or a list or dictionary of them."""
    if isinstance(entry, dict):
        return {key: _argument(item, classes) for key, item in entry.items()}
    if not _is_entry(entry):
        return [_argument(item, classes) for item in entry]
    if entry[0] == "_CONSTANT_VALUE":
        return entry[2]
    return _keras_tensor(*entry[:3], classes)


def _is_entry(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 2 and isinstance(value[0], str)


def _other_argument(value: Any, classes: dict[str, str]) -> Any:
    """Among plain data a tensor is [layer, number of its call, index of its output]."""
    if _is_entry(value) and len(value) == 3 and value[0] in classes:
        return _keras_tensor(*value, classes)
    if isinstance(value, list):
        return [_other_argument(item, classes) for item in value]
    return value


def _keras_tensor(name: str, number: int, index: int, classes: dict[str, str]) -> Data:
    # Keras 2 counts a model's own graph as its first call; Keras 3 does so for outputs only.
    history = [name, number - (classes[name] in ("Functional", "Model", "Sequential")), index]
    return {"class_name": "__keras_tensor__", "config": {"keras_history": history}}


def _output_place(name: str, number: int, index: int, classes: dict[str, str]) -> list:
    return [name, number - (classes[name] == "Sequential"), index]


def _name_of_node(config: Data) -> str:
    """What a layer of TensorFlow 1's graphs is listed as; none of them is supported."""
    node = config.get("node_def")
    kind = node.get("op") if isinstance(node, dict) else None
    return f"TensorFlowOpLayer {kind or config.get('name')}"
