"""What Keras 1 wrote, in the dialect and layout of Keras 2.

Facts: the `get_config` methods of Keras 1.2.2, and `preprocess_weights_for_loading` of Keras 2.3.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kerastorch.engine import Layer
from kerastorch.engine.layer import keras_class

Data = dict[str, Any]

_CLASSES = {
    "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D",
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Deconvolution2D": "Conv2DTranspose",
    "SeparableConvolution2D": "SeparableConv2D",
}
_ARGUMENTS = {
    "atrous_rate": "dilation_rate",
    "bias": "use_bias",
    "border_mode": "padding",
    "filter_length": "kernel_size",
    "init": "kernel_initializer",
    "length": "size",
    "nb_filter": "filters",
    "output_dim": "units",
    "p": "rate",
    "pool_length": "pool_size",
    "sigma": "stddev",
    "stride": "strides",
    "subsample": "strides",
    "subsample_length": "strides",
}
# What concerns training, and what Keras 2 infers.
_DROPPED = {
    "W_constraint",
    "W_regularizer",
    "b_constraint",
    "b_regularizer",
    "beta_init",
    "beta_regularizer",
    "depthwise_constraint",
    "depthwise_regularizer",
    "gamma_init",
    "gamma_regularizer",
    "input_dim",
    "input_dtype",
    "input_length",
    "output_shape",
    "pointwise_constraint",
    "pointwise_regularizer",
}
_INITIALIZERS = {
    "normal": "random_normal",
    "one": "ones",
    "uniform": "random_uniform",
    "zero": "zeros",
}
_DATA_FORMATS = {"tf": "channels_last", "th": "channels_first"}
_MERGES = {
    "ave": "Average",
    "concat": "Concatenate",
    "cos": "Dot",
    "dot": "Dot",
    "max": "Maximum",
    "mul": "Multiply",
    "sum": "Add",
}
_MODELS = ("Model", "Sequential")


def in_keras_2(saved: Data) -> Data:
    """The `class_name` and `config` of a model as Keras 2 writes them, if Keras 1 wrote them."""
    orderings = {layer["config"].get("dim_ordering") for layer in _layers_within(saved)}
    return _translate(saved, "th" in orderings) if _is_old(saved) else saved


def _is_old(saved: Data) -> bool:
    """Whether any layer has an argument or a class that only Keras 1 has."""
    old = {*_ARGUMENTS, "dim_ordering", "input_dtype", "mode"} - {"p", "size", "length", "stride"}
    return any(
        layer["class_name"] in (*_CLASSES, "Merge") or not old.isdisjoint(layer["config"])
        for layer in _layers_within(saved)
    )


def _layers_within(saved: Data) -> Iterator[Data]:
    if saved["class_name"] not in _MODELS:
        yield saved
        saved = {"config": saved["config"].get("layers") or []}  # the branches of a Merge
    config = saved["config"]
    for layer in config if isinstance(config, list) else config["layers"]:
        yield from _layers_within(layer)


def _translate(saved: Data, channels_first: bool) -> Data:
    config = saved["config"]
    match saved["class_name"]:
        case "Sequential":
            return _sequential(saved, channels_first)
        case "Model":
            layers = [_translate(layer, channels_first) for layer in config["layers"]]
            return {**saved, "config": {**config, "layers": layers}}
        case "Merge":
            return {**saved, **_merge(config)}
        case "Flatten" if channels_first:
            # Keras 1 took the values as they lay; the Flatten of today puts channels last first.
            reshape = {"trainable": True, **config, "target_shape": [-1]}
            return {**saved, "class_name": "Reshape", "config": reshape}
    class_name = _CLASSES.get(saved["class_name"], saved["class_name"])
    return {**saved, "class_name": class_name, "config": _layer_config(class_name, config)}


def _layer_config(class_name: str, config: Data) -> Data:
    config = {
        _ARGUMENTS.get(key, key): value for key, value in config.items() if key not in _DROPPED
    }
    if "nb_row" in config:
        config["kernel_size"] = [config.pop("nb_row"), config.pop("nb_col")]
    if "dim_ordering" in config:
        config["data_format"] = _DATA_FORMATS[config.pop("dim_ordering")]
    if "kernel_initializer" in config:
        name = config.pop("kernel_initializer")
        key = "alpha_initializer" if class_name == "PReLU" else "kernel_initializer"
        if class_name != "SeparableConv2D":
            config[key] = _INITIALIZERS.get(name, name)
    if class_name == "BatchNormalization" and config.get("mode") == 0:
        del config["mode"]  # The others normalise otherwise and are found to be unsupported.
    if class_name == "ZeroPadding2D":
        config["padding"] = _padding(config["padding"])
    return config


def _padding(padding: Any) -> Any:
    """Four amounts were one list, or a dictionary."""
    if isinstance(padding, dict):
        sides = ("top_pad", "bottom_pad", "left_pad", "right_pad")
        padding = [padding.get(side, 0) for side in sides]
    return [padding[:2], padding[2:]] if len(padding) == 4 else padding


def _merge(config: Data) -> Data:
    """The layer of Keras 2 that a Merge of some mode is."""
    mode = config["mode"]
    if mode not in _MERGES:  # a function
        return {"class_name": f"Merge(mode={mode!r:.40})"}
    merged: Data = {"name": config["name"], "trainable": True}
    if mode == "concat":
        merged["axis"] = config["concat_axis"]
    if mode in ("dot", "cos"):
        merged |= {"axes": config["dot_axes"], "normalize": mode == "cos"}
    return {"class_name": _MERGES[mode], "config": merged}


def _sequential(saved: Data, channels_first: bool) -> Data:
    config = saved["config"]
    stack = config if isinstance(config, list) else config["layers"]
    if stack and stack[0]["class_name"] == "Merge":
        return _merged_branches(stack, channels_first)
    layers = [_translate(layer, channels_first) for layer in stack]
    name = {} if isinstance(config, list) else config
    return {**saved, "config": {**name, "layers": layers}}


def _merged_branches(stack: Sequence[Data], channels_first: bool) -> Data:
    """A Sequential whose first layer merges the ends of other models, as a functional model."""
    merge, *others = stack
    layers: list[Data] = []
    ends = []
    for branch in merge["config"]["layers"]:
        chain = [_translate(layer, channels_first) for layer in branch["config"]]
        first = chain[0]["config"]
        source = {"batch_input_shape": first["batch_input_shape"], "name": f"{first['name']}_input"}
        layers.append(_called("InputLayer", source, []))
        ends.append(_append_chain(layers, chain, source["name"]))
    merged = _translate({**merge, "name": merge["config"]["name"]}, channels_first)
    layers.append(_called(merged["class_name"], merged["config"], ends))
    end = _append_chain(
        layers, [_translate(layer, channels_first) for layer in others], layers[-1]["name"]
    )
    inputs = [layer["name"] for layer in layers if layer["class_name"] == "InputLayer"]
    config = {
        "layers": layers,
        "input_layers": [[name, 0, 0] for name in inputs],
        "output_layers": [[end, 0, 0]],
    }
    return {"class_name": "Model", "config": config}


def _append_chain(layers: list[Data], chain: Sequence[Data], source: str) -> str:
    """Adds layers that are called one on the other; the name of the last."""
    for layer in chain:
        layers.append(_called(layer["class_name"], layer["config"], [source]))
        source = layers[-1]["name"]
    return source


def _called(class_name: str, config: Data, sources: Sequence[str]) -> Data:
    calls = [[[name, 0, 0] for name in sources]] if sources else []
    name = config["name"]
    return {"class_name": class_name, "name": name, "config": config, "inbound_nodes": calls}


# Weights

_FLIPPED_BY_THEANO = ("Conv1D", "Conv2D", "Conv2DTranspose")


def arrays_in_keras_2(
    layer: Layer, arrays: list[np.ndarray], is_keras_1: bool, backend: str | None
) -> list[np.ndarray]:
    """A layer's arrays as Keras 2 lays them out on TensorFlow.

    Args:
        layer: the layer that they are for.
        arrays: its arrays, as they stand in a legacy file.
        is_keras_1: whether Keras 1 wrote them.
        backend: what Keras stood on, if known. Theano convolved with kernels turned around.
    """
    name = keras_class(type(layer)).__name__
    if not arrays or name not in _FLIPPED_BY_THEANO:
        return arrays
    kernel, *others = arrays
    if is_keras_1:
        kernel = _kernel_in_keras_2(name, kernel, layer.data_format == "channels_first")
    if backend == "theano":
        kernel = np.flip(kernel, tuple(range(kernel.ndim - 2))).copy()
    return [kernel, *others]


def _kernel_in_keras_2(name: str, kernel: np.ndarray, channels_first: bool) -> np.ndarray:
    if kernel.ndim != 4:
        return kernel
    if name == "Conv1D":  # (length, 1, in, out), before Keras 1.2 (out, in, length, 1)
        kernel = kernel if kernel.shape[1] == 1 else kernel.transpose(2, 3, 1, 0)
        return kernel[:, 0]
    if name == "Conv2D":  # (out, in, height, width)
        return kernel.transpose(2, 3, 1, 0) if channels_first else kernel
    # (height, width, in, out), or (out, in, height, width)
    return kernel.transpose((2, 3, 0, 1) if channels_first else (0, 1, 3, 2))
