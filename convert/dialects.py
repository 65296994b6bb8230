"""Configs of Keras 2 in the dialect of Keras 3: plain data in, plain data out."""

from __future__ import annotations

from typing import Any

Data = dict[str, Any]


# Keras 2 writes the arguments of its base class of convolutions also where they mean nothing.
_MEANINGLESS = {
    "DepthwiseConv2D": ("groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint"),
    "SeparableConv2D": ("groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint"),
}
_RENAMED = {"Custom>CustomScaleLayer": "CustomScaleLayer"}


def in_keras_3(saved: Data) -> Data:
    """The `class_name` and `config` of a model or layer as Keras 3 writes them."""
    config = saved["config"]
    class_name = _RENAMED.get(saved["class_name"], saved["class_name"])
    match class_name:
        case "Sequential":
            return {**saved, "config": _sequential(config)}
        case "Functional" | "Model":
            return {**saved, "config": _functional(config)}
        case "InputLayer" if "batch_input_shape" in config:
            return {**saved, "config": _input(config)}
    dropped = _MEANINGLESS.get(class_name, ())
    config = {key: value for key, value in config.items() if key not in dropped}
    return {**saved, "class_name": class_name, "config": config}


def _input(config: Data) -> Data:
    others = {key: value for key, value in config.items() if key != "batch_input_shape"}
    return {**others, "batch_shape": config["batch_input_shape"]}


def _sequential(config: Data | list) -> Data:
    """A Sequential of old may be a bare list, and its first layer may hold the input's shape."""
    if isinstance(config, list):
        config = {"layers": config}
    layers = [in_keras_3(layer) for layer in config["layers"]]
    first = layers[0] if layers else None
    shape = first and first["class_name"] != "InputLayer" and _take_input_shape(first)
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
    is_old = any(isinstance(call, list) for layer in layers for call in layer["inbound_nodes"])
    if not is_old:
        return {**config, "layers": layers}
    for layer in layers:
        _take_input_shape(layer)
        layer["inbound_nodes"] = [_call(call, classes) for call in layer["inbound_nodes"]]
    outputs = [_output_place(*place, classes) for place in config["output_layers"]]
    return {**config, "layers": layers, "output_layers": outputs}


def _call(entries: list, classes: dict[str, str]) -> Data:
    """A call in Keras 2 is a list of [layer, number of its call, index of its output, kwargs]."""
    tensors = [_keras_tensor(*entry[:3], classes) for entry in entries]
    kwargs = entries[0][3] if len(entries[0]) > 3 else {}
    return {"args": tensors if len(tensors) == 1 else [tensors], "kwargs": kwargs}


def _keras_tensor(name: str, number: int, index: int, classes: dict[str, str]) -> Data:
    # Keras 2 counts a model's own graph as its first call; Keras 3 does so for outputs only.
    history = [name, number - (classes[name] in ("Functional", "Model", "Sequential")), index]
    return {"class_name": "__keras_tensor__", "config": {"keras_history": history}}


def _output_place(name: str, number: int, index: int, classes: dict[str, str]) -> list:
    return [name, number - (classes[name] == "Sequential"), index]
