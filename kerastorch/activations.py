"""Keras's activation functions on torch tensors, under Keras's names.

Values are those of Keras 3 on TensorFlow to the last bits of float64. So are gradients, except just
at the kinks of celu, selu and the functions that clip, where the libraries choose differently.

The functions in `AXISWISE` work along one axis and take it as `axis`, an axis of the torch tensor:
for an image held as (N, C, H, W) Keras's last axis is 1. The others work element by element on any
shape.
"""

import difflib
import functools
import math
import types
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

# --------------------------------------------------------------------------------------- rectifiers


def relu(
    x: Tensor,
    negative_slope: float = 0.0,
    max_value: float | None = None,
    threshold: float = 0.0,
) -> Tensor:
    """`max(x, 0)` (`keras.activations.relu`, which the ReLU layer uses too).

    In general `min(x, max_value)` above `threshold` and `negative_slope * (x - threshold)` below.
    """
    if negative_slope != 0.0 and max_value is None and threshold == 0:
        return leaky_relu(x, negative_slope)
    if threshold != 0:
        positive = F.threshold(x, threshold, 0.0)
        if max_value is not None:
            positive = F.hardtanh(positive, 0.0, max_value)
    elif max_value is None:
        positive = torch.relu(x)
    else:
        positive = F.hardtanh(x, 0.0, max_value)
    if negative_slope == 0.0:
        return positive
    return positive - negative_slope * torch.relu(threshold - x)


def leaky_relu(x: Tensor, negative_slope: float = 0.2) -> Tensor:
    """`x` if `x > 0`, else `negative_slope * x` (`keras.activations.leaky_relu`)."""
    # TensorFlow holds the slope in float32, whatever the type of x.
    return F.leaky_relu(x, float32(negative_slope))


def relu6(x: Tensor) -> Tensor:
    """`min(max(x, 0), 6)` (`keras.activations.relu6`)."""
    return F.relu6(x)


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """`x` if `x > 0`, else `alpha * (exp(x) - 1)` (`keras.activations.elu`)."""
    return F.elu(x, alpha)


def celu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """`x` if `x > 0`, else `alpha * (exp(x / alpha) - 1)` (`keras.activations.celu`)."""
    return F.celu(x, alpha)


def selu(x: Tensor) -> Tensor:
    """`1.0507... * elu(x, alpha=1.6732...)` (`keras.activations.selu`)."""
    return F.selu(x)


def threshold(x: Tensor, threshold: float, default_value: float) -> Tensor:
    """`x` if `x > threshold`, else `default_value` (`keras.activations.threshold`)."""
    return F.threshold(x, threshold, default_value)


# ------------------------------------------------------------------------------------ smooth curves


def softplus(x: Tensor) -> Tensor:
    """`log(1 + exp(x))` (`keras.activations.softplus`)."""
    # Above its threshold torch returns x: 2e-9 off at the default of 20, exact in float64 at 40.
    return F.softplus(x, threshold=40.0)


def softsign(x: Tensor) -> Tensor:
    """`x / (1 + |x|)` (`keras.activations.softsign`)."""
    return F.softsign(x)


def squareplus(x: Tensor, b: float = 4) -> Tensor:
    """`(x + sqrt(x**2 + b)) / 2` (`keras.activations.squareplus`)."""
    return (x + torch.sqrt(torch.square(x) + b)) / 2


def sigmoid(x: Tensor) -> Tensor:
    """`1 / (1 + exp(-x))` (`keras.activations.sigmoid`)."""
    return torch.sigmoid(x)


def log_sigmoid(x: Tensor) -> Tensor:
    """`-log(1 + exp(-x))` (`keras.activations.log_sigmoid`)."""
    return F.logsigmoid(x)


def tanh(x: Tensor) -> Tensor:
    """`sinh(x) / cosh(x)` (`keras.activations.tanh`)."""
    return torch.tanh(x)


def tanh_shrink(x: Tensor) -> Tensor:
    """`x - tanh(x)` (`keras.activations.tanh_shrink`)."""
    return F.tanhshrink(x)


def exponential(x: Tensor) -> Tensor:
    """`exp(x)` (`keras.activations.exponential`)."""
    return torch.exp(x)


def silu(x: Tensor) -> Tensor:
    """`x * sigmoid(x)`, also named swish (`keras.activations.silu`)."""
    return F.silu(x)


def gelu(x: Tensor, approximate: bool = False) -> Tensor:
    """`x * (1 + erf(x / sqrt(2))) / 2`, or its tanh approximation (`keras.activations.gelu`)."""
    if x.dtype != torch.float64:
        return F.gelu(x, approximate="tanh" if approximate else "none")
    # TensorFlow rounds these two constants to float32, whatever the type of x.
    if approximate:
        cubic = x + float32(0.044715) * x**3
        return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * cubic))
    return 0.5 * x * torch.erfc(-x * float32(math.sqrt(0.5)))


def mish(x: Tensor) -> Tensor:
    """`x * tanh(softplus(x))` (`keras.activations.mish`)."""
    return F.mish(x)


def linear(x: Tensor) -> Tensor:
    """`x` itself (`keras.activations.linear`)."""
    return x


# --------------------------------------------------------------------------------- piecewise curves


def hard_sigmoid(x: Tensor) -> Tensor:
    """`min(max(x / 6 + 1 / 2, 0), 1)` (`keras.activations.hard_sigmoid`)."""
    # Not F.hardsigmoid, whose gradient is only good to float32.
    return F.relu6(x + 3) / 6


def hard_silu(x: Tensor) -> Tensor:
    """`x * hard_sigmoid(x)`, also named hard_swish (`keras.activations.hard_silu`)."""
    return F.hardswish(x)


def hard_tanh(x: Tensor) -> Tensor:
    """`min(max(x, -1), 1)` (`keras.activations.hard_tanh`)."""
    return F.hardtanh(x)


def hard_shrink(x: Tensor, threshold: float = 0.5) -> Tensor:
    """`x` if `|x| > threshold`, else 0 (`keras.activations.hard_shrink`)."""
    return F.hardshrink(x, threshold)


def soft_shrink(x: Tensor, threshold: float = 0.5) -> Tensor:
    """`sign(x) * max(|x| - threshold, 0)` (`keras.activations.soft_shrink`)."""
    return F.softshrink(x, threshold)


def sparse_plus(x: Tensor) -> Tensor:
    """0 up to -1, `(x + 1)**2 / 4` up to 1, then `x` (`keras.activations.sparse_plus`)."""
    return torch.where(x <= -1, 0.0, torch.where(x < 1, torch.square(x + 1) / 4, x))


def sparse_sigmoid(x: Tensor) -> Tensor:
    """`min(max((x + 1) / 2, 0), 1)` (`keras.activations.sparse_sigmoid`)."""
    return F.hardtanh((x + 1) / 2, 0.0, 1.0)


# ----------------------------------------------------------------------------------- along one axis


def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """`exp(x) / sum(exp(x))` along `axis` (`keras.activations.softmax`)."""
    return torch.softmax(x, axis)


def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """`x - log(sum(exp(x)))` along `axis` (`keras.activations.log_softmax`)."""
    return torch.log_softmax(x, axis)


def glu(x: Tensor, axis: int = -1) -> Tensor:
    """`a * sigmoid(b)` for the halves `a, b` of `x` along `axis` (`keras.activations.glu`).

    The result is half as long along `axis`; an odd length raises ValueError.
    """
    if x.shape[axis] % 2 != 0:
        raise ValueError(f"glu halves axis {axis}, whose length {x.shape[axis]} is odd.")
    return F.glu(x, axis)


def sparsemax(x: Tensor, axis: int = -1) -> Tensor:
    """`max(x - tau, 0)` with Keras's tau along `axis` (`keras.activations.sparsemax`).

    Martins and Astudillo's tau is (S_k - 1) / k, where S_j is the sum of the j largest values and k
    the size of the support. Keras puts S_1 + ... + S_k in S_k's place, and so do we: where k > 1
    the result does not sum to 1.
    """
    descending = torch.sort(x, dim=axis, descending=True).values
    sums = torch.cumsum(descending, dim=axis)
    ranks = torch.cumsum(torch.ones_like(x), dim=axis)
    support = descending > (sums - 1) / ranks
    size = support.sum(dim=axis, keepdim=True)
    tau = (torch.where(support, sums, 0.0).sum(dim=axis, keepdim=True) - 1) / size
    return torch.relu(x - tau)


AXISWISE = frozenset({softmax, log_softmax, glu, sparsemax})

# Those that make probabilities of a classifier's logits.
PROBABILITIES = (softmax, sigmoid)

# The functions that can put their result in the place of their argument.
IN_PLACE = {relu: torch.relu_, relu6: functools.partial(F.relu6, inplace=True)}


def in_place(function: Callable) -> Callable:
    """What does the same in the place of what it takes, or the function itself if nothing does."""
    return IN_PLACE.get(function, function)


# ------------------------------------------------------------------------------------------ by name

_FUNCTIONS = {
    function.__name__: function
    for function in (
        relu,
        leaky_relu,
        relu6,
        elu,
        celu,
        selu,
        threshold,
        softplus,
        softsign,
        squareplus,
        sigmoid,
        log_sigmoid,
        tanh,
        tanh_shrink,
        exponential,
        silu,
        gelu,
        mish,
        linear,
        hard_sigmoid,
        hard_silu,
        hard_tanh,
        hard_shrink,
        soft_shrink,
        sparse_plus,
        sparse_sigmoid,
        softmax,
        log_softmax,
        glu,
        sparsemax,
    )
}
_BY_NAME = {**_FUNCTIONS, "swish": silu, "hard_swish": hard_silu}
NAMES = frozenset(_BY_NAME)


def get(identifier: str | dict | Callable | None) -> Callable:
    """The activation function that `identifier` stands for, as `keras.activations.get` finds it.

    `identifier` is None (linear), one of Keras's names, a callable (returned as it is), or the
    dictionary that a Keras file holds for a function: {"class_name": "function", "config": name,
    ...}. Anything else raises ValueError, which lists near matches.
    """
    if identifier is None:
        return linear
    if callable(identifier):
        return identifier
    name = _name_in(identifier) if isinstance(identifier, dict) else identifier
    if not isinstance(name, str):
        raise ValueError(f"An activation is a name, a callable or a Keras config: {identifier!r}")
    if name in _BY_NAME:
        return _BY_NAME[name]
    near = difflib.get_close_matches(name, _BY_NAME) or sorted(_BY_NAME)
    raise ValueError(f"Unknown activation {name!r}; did you mean one of {', '.join(near)}?")


def serialize(activation: Callable) -> str | dict:
    """What Keras writes into a layer's config for `activation`.

    That is a name for Keras's own functions and a dictionary for others. Raises ValueError for a
    callable that is not a function.
    """
    name = getattr(activation, "__name__", None)
    if _FUNCTIONS.get(name) is activation:
        return name
    if not isinstance(activation, types.FunctionType):
        raise ValueError(f"Only functions can be written as an activation, not {activation!r}.")
    return {
        "module": "builtins",
        "class_name": "function",
        "config": name,
        "registered_name": "function",
    }


def float32(value: float) -> float:
    """`value` rounded to float32, in arithmetic that torch.compile can trace."""
    mantissa, exponent = math.frexp(value)
    return math.ldexp(round(math.ldexp(mantissa, 24)), exponent - 24)


def _name_in(config: dict) -> object:
    """The function's name in a Keras config, or the class that the config names instead."""
    named = config.get("config")
    return named if isinstance(named, str) else config.get("class_name")
