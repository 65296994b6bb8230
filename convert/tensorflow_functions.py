"""The functions of TensorFlow that Keras 2 records as layers, in terms of Keras 3's layers.

`TFOpLambda` and `SlicingOpLambda` hold a function's name and its arguments. The names in the table
below are all that are known; nothing is looked up in a file's stead.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

Data = dict[str, Any]


class Recorded(NamedTuple):
    """A layer of Keras 3 and one call of it.

    Attributes:
        module, class_name, config: those of the layer's config.
        args: the arguments of the call.
    """

    module: str
    class_name: str
    config: Data
    args: list


class _Function(NamedTuple):
    """How a function is written in Keras 3.

    Attributes:
        class_name: the operation.
        operands: the arguments after the first that are values too.
        settings: the operation's setting for each other argument.
        defaults: settings where the function is not given them.
        neutral: arguments that mean nothing as long as they have this value; the same holds for all
            that are None, False or 0.
    """

    class_name: str
    operands: tuple[str, ...] = ()
    settings: dict[str, str] = {}
    defaults: Data = {}
    neutral: Data = {}


def translate(function: str, first: Any, others: Data) -> Recorded | None:
    """The layer that means the same as a function, None where there is none.

    Args:
        function: TensorFlow's name for it, without `tf.`
        first: the first argument, tensors as in Keras 3's configs.
        others: the other arguments by name.
    """
    others = {key: value for key, value in others.items() if key != "name"}
    if function in _SPECIAL:
        return _SPECIAL[function](first, others)
    return _translate(_FUNCTIONS[function], first, others) if function in _FUNCTIONS else None


def _translate(function: _Function, first: Any, others: Data) -> Recorded | None:
    others = dict(others)
    if not all(name in others for name in function.operands):
        return None
    args = [_operand(first), *(_operand(others.pop(name)) for name in function.operands)]
    config = dict(function.defaults)
    for name, setting in function.settings.items():
        value = others.pop(name, None)
        if value is not None:
            config[setting] = value
    is_neutral = all(
        value in (None, False, function.neutral.get(name)) for name, value in others.items()
    )
    if not is_neutral or _holds_tensors(config):
        return None
    return Recorded("keras.src.ops", function.class_name, config, args)


def _operand(value: Any) -> Any:
    """An argument that is a value: a list of numbers is an array."""
    if isinstance(value, list) and not _holds_tensors(value):
        kind = "float64" if _has_fractions(value) else "int64"
        return {"class_name": "__numpy__", "config": {"value": value, "dtype": kind}}
    return value


def _has_fractions(value: Any) -> bool:
    return any(map(_has_fractions, value)) if isinstance(value, list) else type(value) is float


def _holds_tensors(value: Any) -> bool:
    if isinstance(value, dict):
        return "class_name" in value or any(map(_holds_tensors, value.values()))
    return isinstance(value, list) and any(map(_holds_tensors, value))


_AXIS = {"axis": "axis"}
_AXES = {"axis": "axis", "keepdims": "keepdims"}
_ON_LAST_AXIS = {"settings": _AXIS, "defaults": {"axis": -1}}
_CHANNELS_LAST = {"data_format": "NHWC"}

_FUNCTIONS = {
    "__operators__.add": _Function("Add", ("y",)),
    "math.add": _Function("Add", ("y",)),
    "math.subtract": _Function("Subtract", ("y",)),
    "math.multiply": _Function("Multiply", ("y",)),
    "math.truediv": _Function("TrueDivide", ("y",)),
    "math.divide": _Function("TrueDivide", ("y",)),
    "math.divide_no_nan": _Function("DivideNoNan", ("y",)),
    "math.floordiv": _Function("FloorDivide", ("y",)),
    "compat.v1.floor_div": _Function("FloorDivide", ("y",)),
    "math.floormod": _Function("Mod", ("y",)),
    "math.pow": _Function("Power", ("y",)),
    "math.maximum": _Function("Maximum", ("y",)),
    "math.minimum": _Function("Minimum", ("y",)),
    "math.equal": _Function("Equal", ("y",)),
    "math.not_equal": _Function("NotEqual", ("y",)),
    "math.less": _Function("Less", ("y",)),
    "math.less_equal": _Function("LessEqual", ("y",)),
    "math.greater": _Function("Greater", ("y",)),
    "math.greater_equal": _Function("GreaterEqual", ("y",)),
    "math.logical_and": _Function("LogicalAnd", ("y",)),
    "math.logical_or": _Function("LogicalOr", ("y",)),
    "math.logical_not": _Function("LogicalNot"),
    "where": _Function("Where", ("x", "y")),
    "nn.bias_add": _Function("Add", ("bias",), neutral=_CHANNELS_LAST),
    "linalg.matmul": _Function("Matmul", ("b",)),
    "math.abs": _Function("Absolute"),
    "math.ceil": _Function("Ceil"),
    "math.cos": _Function("Cos"),
    "math.erf": _Function("Erf"),
    "math.exp": _Function("Exp"),
    "math.expm1": _Function("Expm1"),
    "math.floor": _Function("Floor"),
    "math.log": _Function("Log"),
    "math.log1p": _Function("Log1p"),
    "math.negative": _Function("Negative"),
    "math.reciprocal": _Function("Reciprocal"),
    "math.rsqrt": _Function("Rsqrt"),
    "math.sigmoid": _Function("Sigmoid"),
    "math.sign": _Function("Sign"),
    "math.sin": _Function("Sin"),
    "math.softplus": _Function("Softplus"),
    "math.sqrt": _Function("Sqrt"),
    "math.square": _Function("Square"),
    "math.tan": _Function("Tan"),
    "math.tanh": _Function("Tanh"),
    "nn.elu": _Function("Elu"),
    "nn.gelu": _Function("Gelu", (), {"approximate": "approximate"}, {"approximate": False}),
    "nn.leaky_relu": _Function("LeakyRelu", (), {"alpha": "negative_slope"}),
    "nn.log_softmax": _Function("LogSoftmax", **_ON_LAST_AXIS),
    "nn.relu": _Function("Relu"),
    "nn.relu6": _Function("Relu6"),
    "nn.selu": _Function("Selu"),
    "nn.sigmoid": _Function("Sigmoid"),
    "nn.silu": _Function("Silu", neutral={"beta": 1.0}),
    "nn.softmax": _Function("Softmax", **_ON_LAST_AXIS),
    "nn.softplus": _Function("Softplus"),
    "nn.softsign": _Function("Softsign"),
    "nn.swish": _Function("Silu", neutral={"beta": 1.0}),
    "nn.tanh": _Function("Tanh"),
    "clip_by_value": _Function("Clip", (), {"clip_value_min": "x_min", "clip_value_max": "x_max"}),
    "cast": _Function("Cast", (), {"dtype": "dtype"}),
    "stop_gradient": _Function("StopGradient"),
    "ones_like": _Function("OnesLike"),
    "zeros_like": _Function("ZerosLike"),
    "math.argmax": _Function("Argmax", (), _AXIS, {"axis": 0}, {"output_type": "int64"}),
    "math.argmin": _Function("Argmin", (), _AXIS, {"axis": 0}, {"output_type": "int64"}),
    "math.reduce_logsumexp": _Function("Logsumexp", settings=_AXES),
    "math.reduce_max": _Function("Max", settings=_AXES),
    "math.reduce_mean": _Function("Mean", settings=_AXES),
    "math.reduce_min": _Function("Min", settings=_AXES),
    "math.reduce_prod": _Function("Prod", settings=_AXES),
    "math.reduce_std": _Function("Std", settings=_AXES),
    "math.reduce_sum": _Function("Sum", settings=_AXES),
    "math.reduce_variance": _Function("Var", settings=_AXES),
    "compat.v1.norm": _Function("Norm", settings=_AXES, neutral={"ord": "euclidean"}),
    "reshape": _Function("Reshape", (), {"shape": "newshape"}),
    "compat.v1.transpose": _Function("Transpose", (), {"perm": "axes"}),
    "expand_dims": _Function("ExpandDims", settings=_AXIS),
    "compat.v1.squeeze": _Function("Squeeze", settings=_AXIS),
    "concat": _Function("Concatenate", settings=_AXIS),
    "stack": _Function("Stack", settings=_AXIS),
    "unstack": _Function("Unstack", (), {"num": "num", "axis": "axis"}),
    "reverse": _Function("Flip", settings=_AXIS),
    "roll": _Function("Roll", (), {"shift": "shift", "axis": "axis"}),
    "tile": _Function("Tile", (), {"multiples": "repeats"}),
    "repeat": _Function("Repeat", (), {"repeats": "repeats", "axis": "axis"}),
    "broadcast_to": _Function("BroadcastTo", (), {"shape": "shape"}),
    "compat.v1.gather": _Function("Take", ("indices",), _AXIS, {"axis": 0}),
    "nn.depth_to_space": _Function(
        "DepthToSpace", (), {"block_size": "block_size"}, neutral=_CHANNELS_LAST
    ),
    "nn.space_to_depth": _Function(
        "SpaceToDepth", (), {"block_size": "block_size"}, neutral=_CHANNELS_LAST
    ),
    "image.rgb_to_grayscale": _Function(
        "RGBToGrayscale", defaults={"data_format": "channels_last"}
    ),
    "image.resize": _Function(
        "Resize",
        settings={"size": "size", "method": "interpolation", "antialias": "antialias"},
        defaults={"data_format": "channels_last"},
    ),
}


# What is more than names


def _getitem(first: Any, others: Data) -> Recorded | None:
    spec = others.get("slice_spec")
    parts = spec if isinstance(spec, list) else [spec]
    key = [_part_of_key(part) for part in parts]
    if any(part == "unknown" for part in key):
        return None
    return Recorded("keras.src.ops", "GetItem", {}, [first, key])


def _part_of_key(part: Any) -> Any:
    if part is None or type(part) is int:
        return part
    if isinstance(part, dict) and part.get("class_name") == "__ellipsis__":
        return {"class_name": "__ellipsis__", "config": {}}
    if isinstance(part, dict) and all(
        key in ("start", "stop", "step") and (value is None or type(value) is int)
        for key, value in part.items()
    ):
        return {"class_name": "__slice__", "config": part}
    return "unknown"


def _slice(first: Any, others: Data) -> Recorded | None:
    begin, size = others.get("begin"), others.get("size")
    if not (_is_whole(begin) and _is_whole(size) and len(begin) == len(size)):
        return None
    ends = [
        None if count == -1 else start + count for start, count in zip(begin, size, strict=True)
    ]
    parts = [
        {"start": start, "stop": end, "step": None} for start, end in zip(begin, ends, strict=True)
    ]
    return _getitem(first, {"slice_spec": parts})


def _is_whole(value: Any) -> bool:
    return isinstance(value, list) and all(type(number) is int for number in value)


def _split(first: Any, others: Data) -> Recorded | None:
    sizes, axis = others.get("num_or_size_splits"), others.get("axis", 0)
    if _is_whole(sizes) and -1 not in sizes:
        sizes = list(itertools.accumulate(sizes))[:-1]
    elif type(sizes) is not int:
        return None
    return Recorded("keras.src.ops", "Split", {"indices_or_sections": sizes, "axis": axis}, [first])


def _pad(first: Any, others: Data) -> Recorded | None:
    widths, mode = others.get("paddings"), str(others.get("mode", "CONSTANT")).lower()
    value = others.get("constant_values", 0)
    if not (isinstance(widths, list) and all(map(_is_whole, widths))) or _holds_tensors(value):
        return None
    fill = [value] if mode == "constant" and value else []
    config = {"pad_width": widths, "mode": mode}
    return Recorded("keras.src.ops", "Pad", config, [first, *fill])


def _l2_normalize(first: Any, others: Data) -> Recorded | None:
    axis, epsilon = others.get("axis"), others.get("epsilon", 1e-12)
    if type(epsilon) is not float or epsilon <= 0:
        return None
    # TensorFlow's is the least square of a length, Keras's the least length.
    config = {"axis": axis, "epsilon": math.sqrt(epsilon)}
    return Recorded("keras.src.ops", "Normalize", config, [first])


def _identity(first: Any, others: Data) -> Recorded | None:
    return Recorded("keras.layers", "Identity", {}, [first])


def _add_n(first: Any, others: Data) -> Recorded | None:
    return Recorded("keras.layers", "Add", {}, [first])


_SPECIAL: dict[str, Callable[[Any, Data], Recorded | None]] = {
    "__operators__.getitem": _getitem,
    "compat.v1.pad": _pad,
    "identity": _identity,
    "math.add_n": _add_n,
    "math.l2_normalize": _l2_normalize,
    "pad": _pad,
    "slice": _slice,
    "split": _split,
}
