"""Keras's configs of models: writing them from a Model, and making a Model from them."""

from __future__ import annotations

import inspect
import json
import re
from collections import defaultdict, deque
from collections.abc import Iterator
from typing import Any

from kerastorch import initializers, layers
from kerastorch.config import data_format_scope, image_data_format
from kerastorch.engine import InputLayer, Layer, Model, Operation, Sequential, Symbol
from kerastorch.engine.budget import at_most, spend
from kerastorch.engine.layer import constructor_parameters, is_ours, keras_class
from kerastorch.engine.structure import flatten, map_structure
from kerastorch.engine.symbol import contains_symbol
from kerastorch.ops import OPERATION_CLASSES
from kerastorch.registration import find_registered, make_registered

from .call_values import decode, encode, is_keras_tensor, leaves_of, map_places
from .dialects import RENAMED, in_keras_3
from .errors import KerasFileError, UnsupportedLayersError
from .keras_1 import in_keras_2

LAYER_CLASSES: dict[str, type[Layer]] = {
    name: getattr(layers, name) for name in layers.__all__ if name not in ("Input", "Layer")
}
MODEL_CLASSES = ("Functional", "Model", "Sequential")

# Arguments of Keras's layers that mean nothing here as long as they have one of these values.
NEUTRAL_ARGUMENTS: dict[str, tuple] = {
    "groups": (1,),  # of layers that have none; Keras 2 writes it for Conv2DTranspose
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
    "bounding_box_format": (None,),
    "noise_shape": (None,),  # of SpatialDropout, as Keras 2 writes it
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
        module = model._modules[step.key]
        if isinstance(module, Operation):
            arguments = module.keras_arguments(arguments)
        kwargs = dict(step.options)
        if step.training is not None:
            kwargs["training"] = step.training
        calls[step.key].append({"args": encode(arguments), "kwargs": encode(kwargs)})

    def place_of_output(slot: int) -> list:
        name, number, index = places[slot]
        # Keras counts a functional model's own graph as its first call here, though not in
        # `inbound_nodes`.
        return [name, number + _is_functional(model._modules[model._keys[name]]), index]

    return {
        "name": model.name,
        "trainable": model.trainable,
        "layers": [
            {**layer_config(layer), "name": names[key], "inbound_nodes": calls[key]}
            for key, layer in zip(names, model.operations, strict=True)
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
        "layers": [layer_config(layer) for layer in stack],
    }


# Where Keras looks for the classes that are not in `keras.layers`.
_MODULES = {
    Model: "keras.src.models.functional",
    Sequential: "keras",
    layers.CustomScaleLayer: "keras.src.applications.inception_resnet_v2",
    layers.LayerScale: "keras.src.applications.convnext",
    layers.StochasticDepth: "keras.src.applications.convnext",
}


def layer_config(layer: Any) -> dict[str, Any]:
    """Keras 3's description of a layer or model: its class and its config."""
    if not isinstance(layer, Layer):
        raise ValueError(
            f"A {type(layer).__name__} has no Keras config; it cannot be saved as part of a model."
        )
    if layer._source is not None:
        config = layer._source["config"] | {"name": layer.name, "trainable": layer.trainable}
        return {key: layer._source.get(key) for key in _PARTS} | {"config": config}
    class_name = keras_class(type(layer)).__name__
    if type(layer)._registered_name is not None:
        module, registered_name = None, layer._registered_name
        class_name = registered_name.rpartition(">")[2]
    elif isinstance(layer, Operation):
        module, registered_name = layer.keras_module, class_name
    else:
        module, registered_name = _MODULES.get(type(layer), "keras.layers"), None
    return {
        "module": module,
        "class_name": class_name,
        "config": layer.get_config(),
        "registered_name": registered_name,
    }


_PARTS = ("module", "class_name", "config", "registered_name")


def to_json(data: Any) -> str:
    """The text of a config; what layers were given as arrays becomes lists."""
    return json.dumps(data, default=_plain)


def _plain(value: Any) -> Any:
    """What JSON holds of a NumPy number or array, or of a tensor, given as a layer's argument."""
    if not hasattr(value, "tolist"):
        raise ValueError(f"A {type(value).__name__} cannot be saved as a layer's argument.")
    return value.tolist()


def _is_functional(layer: Any) -> bool:
    return isinstance(layer, Model) and not isinstance(layer, Sequential)


def _keras_tensor(shape: tuple, place: list) -> dict[str, Any]:
    return {
        "class_name": "__keras_tensor__",
        "config": {"shape": shape, "dtype": "float32", "keras_history": place},
    }


# Reading

_MOST_VALUES = 200_000  # in the graphs of a file's models

# Wrong types and values, sizes beyond torch's, and lists nested too deeply among them.
_WRONG_IN_A_CONFIG = (
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    ValueError,
)


def model_from_config(saved: dict[str, Any]) -> Model:
    """The model of `class_name` and `config`, as Keras's files and `model_config` hold them.

    Raises:
        UnsupportedLayersError: it uses layers that are not supported.
        KerasFileError: it is no config of a model.
    """
    try:
        if saved["class_name"] not in MODEL_CLASSES:
            raise UnsupportedLayersError([saved["class_name"]])
        saved = in_keras_3(in_keras_2(saved))
        unsupported = list(_unsupported(saved))
        if unsupported:
            raise UnsupportedLayersError(unsupported, registrable=list(_registrable(saved)))
        data_format = saved.get("data_format") or _data_format(saved)
        with data_format_scope(data_format), at_most(_MOST_VALUES):
            return _layer_from_config(saved)
    except KerasFileError:
        raise
    except _WRONG_IN_A_CONFIG as error:
        raise KerasFileError(f"The model's config is broken: {error!r}") from error


def functional_from_config(config: dict[str, Any]) -> Model:
    """The functional model of a config in Keras 3's dialect."""
    made: dict[str, Layer] = {}
    for data in config["layers"]:
        if data["name"] in made:
            raise KerasFileError(f"The model's graph has two layers called {data['name']!r}.")
        made[data["name"]] = _layer_from_config(data)
    given: dict[str, list[list[Symbol]]] = {  # by each call of each layer
        name: [[layer.output]] if isinstance(layer, InputLayer) else []
        for name, layer in made.items()
    }
    for data, call in _in_order(config["layers"]):
        name = data["name"]
        results = flatten(_call(made[name], call, given))
        spend(len(results))
        given[name].append(results)

    def symbol_of(place: list) -> Symbol:
        name, number, index = place
        return given[name][number - _is_functional(made[name])][index]

    model = Model(
        map_places(symbol_of, config["input_layers"]),
        map_places(symbol_of, config["output_layers"]),
        name=config.get("name"),
    )
    return _with_trainable(model, config)


def _in_order(layers: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The layers' calls, each behind those whose results it takes and the same layer's before it.

    Raises:
        KerasFileError: a call waits for one that there is not, or for itself.
    """
    calls = {
        (data["name"], number): (data, call)
        for data in layers
        for number, call in enumerate(data["inbound_nodes"])
    }
    inputs = {(data["name"], 0) for data in layers if not data["inbound_nodes"]}
    missing: dict[tuple, int] = {}
    takers: dict[tuple, list[tuple]] = defaultdict(list)
    for place, (_, call) in calls.items():
        name, number = place
        needed = _sources(call) - inputs
        if number:
            needed.add((name, number - 1))
        missing[place] = len(needed)
        for source in needed:
            takers[source].append(place)
    ready = deque(place for place, count in missing.items() if not count)
    while ready:
        place = ready.popleft()
        yield calls.pop(place)
        for taker in takers[place]:
            missing[taker] -= 1
            if not missing[taker]:
                ready.append(taker)
    if calls:
        name, _ = next(iter(calls))
        raise KerasFileError(f"The model's graph has loops or loose ends at {name!r}.")


def _sources(call: dict[str, Any]) -> set[tuple]:
    """Which calls, by layer and number, a call takes results of."""
    leaves = leaves_of([call["args"], call["kwargs"]])
    histories = [leaf["config"]["keras_history"] for leaf in leaves if is_keras_tensor(leaf)]
    return {(name, number) for name, number, _ in histories}


def _call(layer: Layer, call: dict[str, Any], given: dict[str, list[list[Symbol]]]) -> Any:
    """What a layer gives for the Symbols that calls before have given."""

    def symbol_of(leaf: dict) -> Symbol:
        name, number, index = leaf["config"]["keras_history"]
        return given[name][number][index]

    arguments, keywords = (decode(call[key], symbol_of) for key in ("args", "kwargs"))
    inspect.signature(layer.forward).bind_partial(*arguments)  # else it shows only in a run
    if not _takes_constants(type(layer)):
        keywords = {
            key: value
            for key, value in keywords.items()
            if key in ("inputs", "training") or contains_symbol(value)
        }
    return layer(*arguments, **keywords)


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
    registration = _registration(data)
    if registration is not None:
        layer = make_registered(registration, data["class_name"], config)
        if type(layer)._registered_name is None:  # a function has made it from another's config
            layer._source = {key: data.get(key) for key in _PARTS}
        return layer
    layer = _class_of(data).from_config(_arguments(data))
    if data.get("class_in_file") in RENAMED:
        layer._class_in_keras = data["class_in_file"]
    return layer


def _registration(data: dict[str, Any]) -> Any:
    """What a user has registered for a layer: by its whole name or, if there is no class of that
    name here, by the name of the class alone."""
    names = [data.get("registered_name"), data["class_name"]]
    if data["class_name"] == "Lambda":
        names = [data["config"].get("name")]
    registration = find_registered(names)
    if registration is None and _class_of(data) is None:
        registration = find_registered(names, exactly=False)
    return registration


def _class_of(data: dict[str, Any]) -> type[Layer] | None:
    """The class of a layer's config, None where there is none.

    Layers and operations share names (`Add`). The module tells them apart, and in files that name
    none, legacy `.h5` files, that an operation has no `trainable`.
    """
    name, module = data["class_name"], data.get("module")
    if module is None:
        is_operation = name not in LAYER_CLASSES or "trainable" not in data["config"]
    else:
        is_operation = _OPERATION_MODULE.match(module) is not None
    if is_operation and name in OPERATION_CLASSES:
        return OPERATION_CLASSES[name]
    return LAYER_CLASSES.get(name)


_OPERATION_MODULE = re.compile(r"(keras|keras_core)(\.src)?\.(ops|activations)\b")


# What a config may hold for an argument of such an annotation.
_TYPES = {"float": (int, float), "bool": (bool, int)}


def _arguments(data: dict[str, Any]) -> dict[str, Any]:
    """The constructor's arguments in a layer's config."""
    known = constructor_parameters(_class_of(data))
    arguments = {
        key: value
        for key, value in data["config"].items()
        if key in known and not _is_strange_initializer(key, value)
    }
    for key, value in arguments.items():
        # Most layers first compute with them when they run.
        allowed = _TYPES.get(known[key].annotation)
        if allowed and type(value) not in allowed:
            raise TypeError(f"{data['class_name']}({key}={value!r:.80})")
        if bool in (allowed or ()):
            arguments[key] = bool(value)
    activation = arguments.get("activation")
    if is_layer(activation):
        arguments["activation"] = _layer_from_config(in_keras_3(activation))
    axis = arguments.get("axis")
    if data["class_name"] == "BatchNormalization" and isinstance(axis, list | tuple):
        (arguments["axis"],) = axis
    return arguments


# What may be another layer's activation: those without weights that keep the shape.
_ACTIVATION_LAYERS = ("Activation", "ELU", "LeakyReLU", "ReLU", "Softmax", "ThresholdedReLU")


def is_layer(activation: Any) -> bool:
    """Whether an activation in a config is a layer's description, not a function's."""
    return isinstance(activation, dict) and isinstance(activation.get("config"), dict)


def _is_strange_initializer(argument: str, value: Any) -> bool:
    """Whether this is an initialiser that Keras does not have, a user's own for instance.

    A whole model is not initialised. The layer's default can stand in for it.
    """
    if not argument.endswith("_initializer"):
        return False
    try:
        initializers.get(value)
    except (TypeError, ValueError):
        return True
    return False


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
    if _registration(data) is not None:
        return
    cls = _class_of(data)
    if cls is None:
        yield f"Lambda {config.get('name')!r}" if name == "Lambda" else _whole_name(data)
        return
    known = constructor_parameters(cls)
    if "dtype" not in known and _is_quantized(config.get("dtype")):
        yield f"{name} with a quantized dtype"
    for key, value in config.items():
        if key not in known and key != "dtype" and value not in NEUTRAL_ARGUMENTS.get(key, ()):
            yield f"{name}({key}={value!r})"
    yield from _unsupported_activation(name, config.get("activation"))


def _unsupported_activation(name: str, activation: Any) -> Iterator[str]:
    if not is_layer(activation):
        return
    if activation["class_name"] in _ACTIVATION_LAYERS:
        yield from _unsupported(in_keras_3(activation))
    else:
        yield f"{name}(activation={_whole_name(activation)})"


def _whole_name(data: dict[str, Any]) -> str:
    """The name of a layer's class with its package, where the file says it."""
    return data.get("registered_name") or data["class_name"]


def _registrable(saved: dict[str, Any]) -> Iterator[str]:
    """The names under which a user can register what is unknown in a model's config."""
    for data in _layers_within(saved):
        is_known = _class_of(data) is not None or _registration(data) is not None
        if is_known or data["class_name"].startswith(("tf.", "TensorFlowOpLayer")):
            continue
        name = data["config"].get("name") if data["class_name"] == "Lambda" else None
        yield name or _whole_name(data)


def _unsupported_call(data: dict[str, Any], call: Any) -> Iterator[str]:
    cls = Model if data["class_name"] in MODEL_CLASSES else _class_of(data)
    if cls is None or _registration(data) is not None or _takes_constants(cls):
        return
    for key, value in call["kwargs"].items():
        # A model with several inputs is called with a mask for each, None where there is none.
        is_given = any(leaf is not None for leaf in leaves_of(value))
        if key not in ("inputs", "training") and is_given:
            yield f"{data['class_name']} called with {key}"
    for leaf in leaves_of(call["args"]):
        if not is_keras_tensor(leaf):
            yield f"{data['class_name']} called with the constant {leaf!r:.80}"


def _takes_constants(cls: type[Layer]) -> bool:
    """Whether a class itself says what arguments its calls take: operations and users' layers."""
    return issubclass(cls, Operation) or not is_ours(cls)


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
