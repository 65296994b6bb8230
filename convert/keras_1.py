"""What Keras 1 wrote, in the dialect and layout of Keras 2.

Facts: the `get_config` methods of Keras 1.2.2, and `preprocess_weights_for_loading` of Keras 2.3.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kerastorch.engine import Layer
from kerastorch.engine.layer import keras_class

from .errors import UnsupportedLayersError

Data = dict[str, Any]

_CONVOLUTION = {
    "nb_filter": "filters",
    "init": "kernel_initializer",
    "border_mode": "padding",
    "bias": "use_bias",
    "atrous_rate": "dilation_rate",
}
_CONVOLUTION_1D = {**_CONVOLUTION, "filter_length": "kernel_size", "subsample_length": "strides"}
_CONVOLUTION_2D = {**_CONVOLUTION, "subsample": "strides", "dim_ordering": "data_format"}
_POOLING_1D = {"pool_length": "pool_size", "stride": "strides", "border_mode": "padding"}
_POOLING_2D = {"border_mode": "padding", "dim_ordering": "data_format"}
_RATE = {"p": "rate"}
_ORDERING = {"dim_ordering": "data_format"}

# The class of Keras 2 that a class of Keras 1 is, and the arguments that have other names.
_RENAMED = {
    "AtrousConvolution1D": ("Conv1D", _CONVOLUTION_1D),
    "AtrousConvolution2D": ("Conv2D", _CONVOLUTION_2D),
    "AveragePooling1D": ("AveragePooling1D", _POOLING_1D),
    "AveragePooling2D": ("AveragePooling2D", _POOLING_2D),
    "Convolution1D": ("Conv1D", _CONVOLUTION_1D),
    "Convolution2D": ("Conv2D", _CONVOLUTION_2D),
    "Deconvolution2D": ("Conv2DTranspose", _CONVOLUTION_2D),
    "Dense": (
        "Dense",
        {"output_dim": "units", "init": "kernel_initializer", "bias": "use_bias"},
    ),
    "Dropout": ("Dropout", _RATE),
    "GaussianDropout": ("GaussianDropout", _RATE),
    "GaussianNoise": ("GaussianNoise", {"sigma": "stddev"}),
    "GlobalAveragePooling2D": ("GlobalAveragePooling2D", _ORDERING),
    "GlobalMaxPooling2D": ("GlobalMaxPooling2D", _ORDERING),
    "MaxPooling1D": ("MaxPooling1D", _POOLING_1D),
    "MaxPooling2D": ("MaxPooling2D", _POOLING_2D),
    "PReLU": ("PReLU", {"init": "alpha_initializer"}),
    "SeparableConvolution2D": ("SeparableConv2D", _CONVOLUTION_2D),
    "SpatialDropout1D": ("SpatialDropout1D", _RATE),
    "SpatialDropout2D": ("SpatialDropout2D", {**_RATE, **_ORDERING}),
    "UpSampling1D": ("UpSampling1D", {"length": "size"}),
}
# What concerns training, and what Keras 2 infers.
_DROPPED = {
    "W_constraint",
    "W_regularizer",
    "b_constraint",
    "b_regularizer",
    "depthwise_constraint",
    "depthwise_regularizer",
    "input_dim",
    "input_length",
    "output_shape",
    "pointwise_constraint",
    "pointwise_regularizer",
}
_DROPPED_OF_NORMALIZATION = {"beta_init", "beta_regularizer", "gamma_init", "gamma_regularizer"}
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
    "dot": "Dot",
    "max": "Maximum",
    "mul": "Multiply",
    "sum": "Add",
}
_MODELS = ("Model", "Sequential")


def in_keras_2(saved: Data) -> Data:
    """The `class_name` and `config` of a model as Keras 2 writes them.

    Only what Keras 1 alone wrote is changed.
    """
    orderings = {layer["config"].get("dim_ordering") for layer in _layers_within(saved)}
    return _translate(saved, "th" in orderings)


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
    return {**saved, **_layer(saved["class_name"], config)}


def _layer(class_name: str, config: Data) -> Data:
    config = {key: value for key, value in config.items() if key != "input_dtype"}
    if class_name == "BatchNormalization" and config.get("mode") == 0:
        # The other modes normalise otherwise and are found to be unsupported.
        config = _without(config, {"mode", *_DROPPED_OF_NORMALIZATION})
    if class_name == "ZeroPadding2D":
        config["padding"] = _padding(config["padding"])
    new_name, arguments = _RENAMED.get(class_name, (class_name, {}))
    if not arguments.keys() & config.keys():
        return {"class_name": class_name, "config": config}
    config = {arguments.get(key, key): value for key, value in _without(config, _DROPPED).items()}
    if "nb_row" in config:
        config["kernel_size"] = [config.pop("nb_row"), config.pop("nb_col")]
    if "data_format" in config:
        config["data_format"] = _DATA_FORMATS[config["data_format"]]
    for key in ("kernel_initializer", "alpha_initializer"):
        if key in config:
            config[key] = _INITIALIZERS.get(config[key], config[key])
    if new_name == "SeparableConv2D":  # It has one for each of its kernels.
        config.pop("kernel_initializer", None)
    return {"class_name": new_name, "config": config}


def _without(config: Data, keys: set[str]) -> Data:
    return {key: value for key, value in config.items() if key not in keys}


def _padding(padding: Any) -> Any:
    """Four amounts were one list, or a dictionary."""
    if isinstance(padding, dict):
        sides = ("top_pad", "bottom_pad", "left_pad", "right_pad")
        padding = [padding.get(side, 0) for side in sides]
    return [padding[:2], padding[2:]] if len(padding) == 4 else padding


def _merge(config: Data) -> Data:
    """The layer of Keras 2 that a Merge of some mode is."""
    mode = config["mode"]
    if mode not in _MERGES:  # "cos", whose formula is another for each rank, or a function
        return {"class_name": f"Merge(mode={mode!r:.40})"}
    merged: Data = {"name": config["name"], "trainable": True}
    if mode == "concat":
        merged["axis"] = config["concat_axis"]
    if mode == "dot":
        merged["axes"] = config["dot_axes"]
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
        if branch["class_name"] != "Sequential":
            raise UnsupportedLayersError([f"Merge of a {branch['class_name']} in a Sequential"])
        chain = [_translate(layer, channels_first) for layer in branch["config"]]
        first = chain[0]["config"]
        source = {"batch_input_shape": first["batch_input_shape"], "name": f"{first['name']}_input"}
        layers.append(_called("InputLayer", source, []))
        ends.append(_append_chain(layers, chain, source["name"]))
    merged = _translate(merge, channels_first)
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
