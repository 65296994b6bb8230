"""Keras's configs of models: writing them from a Model, and making a Model from them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from kerastorch import layers
from kerastorch.config import data_format_scope, image_data_format
from kerastorch.engine import InputLayer, Layer, Model, Sequential, Symbol
from kerastorch.engine.layer import keras_class
from kerastorch.engine.structure import map_structure

from .dialects import in_keras_3
from .errors import UnsupportedLayersError, WeightsError

LAYER_CLASSES: dict[str, type[Layer]] = {
    name: getattr(layers, name) for name in layers.__all__ if name not in ("Input", "Layer")
}
MODEL_CLASSES = ("Functional", "Model", "Sequential")

# Arguments of Keras's layers that mean nothing here as long as they have one of these values.
NEUTRAL_ARGUMENTS: dict[str, tuple] = {
    "sparse": (False, None),
    "ragged": (False, None),
    "optional": (False, None),
    "renorm": (False, None),
    "renorm_clipping": (None,),
    "renorm_momentum": (0.99, None),
    "batch_input_shape": (None,),
    "quantization_config": (None,),
    "activity_regularizer": (None,),
    "rms_scaling": (False,),
}


# Writing


def model_config(model: Model) -> dict[str, Any]:
    """`class_name` and `config` of a model, and the data format that it was made in."""
    return {
        "class_name": keras_class(type(model)).__name__,
        "config": model.get_config(),
        "data_format": model.data_format,
    }


def functional_config(model: Model) -> dict[str, Any]:
    """Keras 3's config of a functional model."""
    names = {key: name for name, key in model._keys.items()}
    plan = model._plan
    places: dict[int, list] = {slot: [names[key], 0, 0] for key, slot in plan.sources}
    calls: dict[str, list[dict]] = {key: [] for key in names}
    for step in plan.steps:
        number = len(calls[step.key])
        for index, slot in enumerate(step.outputs):
            places[slot] = [names[step.key], number, index]
        arguments = [
            map_structure(lambda slot: _keras_tensor(plan.shapes[slot], places[slot]), argument)
            for argument in step.arguments
        ]
        kwargs = {} if step.training is None else {"training": step.training}
        calls[step.key].append({"args": arguments, "kwargs": kwargs})

    def place_of_output(slot: int) -> list:
        name, number, index = places[slot]
        # Keras counts a functional model's own graph as its first call here, though not in
        # `inbound_nodes`.
        return [name, number + _is_functional(model.get_layer(name)), index]

    return {
        "name": model.name,
        "trainable": model.trainable,
        "layers": [
            {**_layer_config(layer), "name": names[key], "inbound_nodes": calls[key]}
            for key, layer in zip(names, model.layers, strict=True)
        ],
        "input_layers": map_structure(place_of_output, plan.inputs),
        "output_layers": map_structure(place_of_output, plan.outputs),
    }


def sequential_config(model: Sequential) -> dict[str, Any]:
    """Keras 3's config of a sequential model."""
    stack = [*model._input_layer, *model.layers]
    return {
        "name": model.name,
        "trainable": model.trainable,
        "layers": [_layer_config(layer) for layer in stack],
    }


# Where Keras looks for the classes that are not in `keras.layers`.
_MODULES = {
    Model: "keras.src.models.functional",
    Sequential: "keras",
    layers.CustomScaleLayer: "keras.src.applications.inception_resnet_v2",
}


def _layer_config(layer: Any) -> dict[str, Any]:
    if not isinstance(layer, Layer):
        raise ValueError(
            f"A {type(layer).__name__} has no Keras config; it cannot be saved as part of a model."
        )
    return {
        "module": _MODULES.get(type(layer), "keras.layers"),
        "class_name": keras_class(type(layer)).__name__,
        "config": layer.get_config(),
        "registered_name": None,
    }


def _is_functional(layer: Any) -> bool:
    return isinstance(layer, Model) and not isinstance(layer, Sequential)


def _keras_tensor(shape: tuple, place: list) -> dict[str, Any]:
    return {
        "class_name": "__keras_tensor__",
        "config": {"shape": shape, "dtype": "float32", "keras_history": place},
    }


# Reading


def model_from_config(saved: dict[str, Any]) -> Model:
    """The model of `class_name` and `config`, as Keras's files and `model_config` hold them.

    Raises:
        UnsupportedLayersError: it uses layers that are not supported.
        WeightsError: it is no config of a model.
    """
    try:
        if saved["class_name"] not in MODEL_CLASSES:
            raise UnsupportedLayersError([saved["class_name"]])
        saved = in_keras_3(saved)
        unsupported = list(_unsupported(saved))
        if unsupported:
            raise UnsupportedLayersError(unsupported)
        with data_format_scope(saved.get("data_format") or _data_format(saved)):
            return _layer_from_config(saved)
    except (LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError) as error:
        # Wrong types, sizes beyond torch's, and lists nested too deeply among them.
        raise WeightsError(f"The model's config is broken: {error!r}") from error


def functional_from_config(config: dict[str, Any]) -> Model:
    """The functional model of a config in Keras 3's dialect."""
    made = {data["name"]: _layer_from_config(data) for data in config["layers"]}
    pending = [(data["name"], call) for data in config["layers"] for call in data["inbound_nodes"]]
    while pending:
        # A layer that is called again further down waits for its input; the calls of one layer keep
        # their order.
        waiting: list = []
        for name, call in pending:
            if name in dict(waiting) or not _can_call(call, made):
                waiting.append((name, call))
            else:
                _call(made[name], call, made)
        if len(waiting) == len(pending):
            raise WeightsError(f"The model's graph has loops or loose ends at {waiting[0][0]!r}.")
        pending = waiting

    def symbol_of(place: list) -> Symbol:
        name, number, index = place
        return made[name]._nodes[number - _is_functional(made[name])].outputs[index]

    model = Model(
        _map_places(symbol_of, config["input_layers"]),
        _map_places(symbol_of, config["output_layers"]),
        name=config.get("name"),
    )
    return _with_trainable(model, config)


def sequential_from_config(config: dict[str, Any]) -> Sequential:
    """The sequential model of a config in Keras 3's dialect."""
    stack = [_layer_from_config(data) for data in config["layers"]]
    model = Sequential([_as_stacked(layer) for layer in stack], config.get("name"))
    if not model.built and config.get("build_input_shape"):
        model.build(config["build_input_shape"])
    return _with_trainable(model, config)


def _as_stacked(layer: Layer) -> Layer | Symbol:
    return layer.output if isinstance(layer, InputLayer) else layer


def _with_trainable(model: Model, config: dict[str, Any]) -> Model:
    """The model with its own `trainable`; its layers keep theirs, as in Keras."""
    model._trainable = bool(config.get("trainable", True))
    return model


def _layer_from_config(data: dict[str, Any]) -> Layer:
    config = data["config"]
    if data["class_name"] == "Sequential":
        return sequential_from_config(config)
    if data["class_name"] in MODEL_CLASSES:
        return functional_from_config(config)
    return LAYER_CLASSES[data["class_name"]].from_config(_arguments(data))


def _arguments(data: dict[str, Any]) -> dict[str, Any]:
    """The constructor's arguments in a layer's config."""
    known = inspect.signature(LAYER_CLASSES[data["class_name"]]).parameters
    arguments = {key: value for key, value in data["config"].items() if key in known}
    axis = arguments.get("axis")
    if data["class_name"] == "BatchNormalization" and isinstance(axis, list | tuple):
        (arguments["axis"],) = axis
    return arguments


def _unsupported(data: dict[str, Any]) -> Iterator[str]:
    """Everything in a model's config that cannot be rebuilt, models within included."""
    name, config = data["class_name"], data["config"]
    if name in MODEL_CLASSES:
        for layer in config["layers"]:
            yield from _unsupported(layer)
        for layer in config["layers"]:
            for call in layer.get("inbound_nodes", ()):
                yield from _unsupported_call(layer, call)
        return
    if name not in LAYER_CLASSES:
        yield data.get("registered_name") or name
        return
    if _is_quantized(config.get("dtype")):
        yield f"{name} with a quantized dtype"
    known = inspect.signature(LAYER_CLASSES[name]).parameters
    for key, value in config.items():
        if key not in known and key != "dtype" and value not in NEUTRAL_ARGUMENTS.get(key, ()):
            yield f"{name}({key}={value!r})"


def _unsupported_call(data: dict[str, Any], call: Any) -> Iterator[str]:
    for key, value in call["kwargs"].items():
        # A model with several inputs is called with a mask for each, None where there is none.
        is_given = any(leaf is not None for leaf in _leaves(value))
        if key != "training" and is_given:
            yield f"{data['class_name']} called with {key}"
    for leaf in _leaves(call["args"]):
        if not _is_keras_tensor(leaf):
            yield f"{data['class_name']} called with the constant {leaf!r}"


def _is_quantized(dtype: Any) -> bool:
    name = dtype["config"].get("name", "") if isinstance(dtype, dict) else dtype or ""
    kind = dtype["class_name"] if isinstance(dtype, dict) else ""
    return "Quantized" in kind or name.startswith(("int8", "int4", "float8"))


def _data_format(saved: dict[str, Any]) -> str:
    """The data format that the model's layers name, the configured one if none does."""
    named = {
        layer["config"]["data_format"]
        for layer in _layers_within(saved)
        if layer["config"].get("data_format")
    }
    if len(named) > 1:
        raise UnsupportedLayersError(["layers of both data formats in one model"])
    return named.pop() if named else image_data_format()


def _layers_within(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if data["class_name"] not in MODEL_CLASSES:
        yield data
        return
    for layer in data["config"]["layers"]:
        yield from _layers_within(layer)


# Calls


def _can_call(call: dict[str, Any], made: dict[str, Layer]) -> bool:
    histories = [leaf["config"]["keras_history"] for leaf in _leaves(call["args"])]
    return all(number < len(made[name]._nodes) for name, number, _ in histories)


def _call(layer: Layer, call: dict[str, Any], made: dict[str, Layer]) -> None:
    def symbol_of(leaf: dict) -> Symbol:
        name, number, index = leaf["config"]["keras_history"]
        return made[name]._nodes[number].outputs[index]

    arguments = _map_leaves(symbol_of, call["args"])
    layer(*arguments, training=call["kwargs"].get("training"))


def _is_keras_tensor(value: Any) -> bool:
    return isinstance(value, dict) and value.get("class_name") == "__keras_tensor__"


def _map_leaves(function: Callable[[Any], Any], arguments: Any) -> Any:
    """`map_structure`, where a Keras tensor's dict is a leaf."""
    if isinstance(arguments, list | tuple):
        return [_map_leaves(function, argument) for argument in arguments]
    if isinstance(arguments, dict) and not _is_keras_tensor(arguments):
        return {key: _map_leaves(function, value) for key, value in arguments.items()}
    return function(arguments)


def _leaves(arguments: Any) -> list:
    found: list = []
    _map_leaves(found.append, arguments)
    return found


def _map_places(function: Callable[[list], Any], places: Any) -> Any:
    """`map_structure`, where a place in the graph, [name, number, index], is a leaf."""
    if isinstance(places, dict):
        return {key: _map_places(function, value) for key, value in places.items()}
    if len(places) == 3 and isinstance(places[0], str):
        return function(places)
    return [_map_places(function, place) for place in places]
