"""Why a layer differs: the usual suspects, tried on that layer.

Each suspect is a generator of trials: a sentence on what the reference does otherwise, and a
function that computes the layer's output that way. A trial that brings the reference's output is a
cause.
"""

from __future__ import annotations

import copy
import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import activations
from ..convert.rules import rules_for
from ..engine import Layer
from ..engine.layout import to_keras_layout
from ..layers import BatchNormalization, ZeroPadding2D
from ..layers.activation import activate
from ..layers.padding import same_padding
from .comparison import moving_statistics
from .reference import Call, Expected
from .verdict import Cause, Divergence, LayerResult
from .watching import Visit, to_array

Trial = tuple[str, Callable[[], Any]]


@dataclass(frozen=True)
class Case:
    """A layer that differs, and what is known of it.

    Attributes:
        visit: the call here.
        call: the call in the reference.
        data_format: of the model.
        peers: other layers of the model, by path.
        weights: the reference's weights of the layer in Keras's order; None where unknown.
    """

    visit: Visit
    call: Call
    data_format: str
    peers: Sequence[tuple[str, nn.Module]]
    weights: Sequence[np.ndarray] | None

    @property
    def module(self) -> nn.Module:
        return self.visit.module

    @property
    def x(self) -> Any:
        """The layer's first argument."""
        return self.visit.arguments[0]

    @property
    def expected(self) -> Expected:
        return self.call.outputs[0]

    def run(self, module: nn.Module, *arguments: Any) -> Tensor:
        """The output of another module for other arguments, or the same."""
        return module(*(arguments or self.visit.arguments), **self.visit.keywords)

    def error_of_output(self, output: Tensor) -> float:
        return self.expected.error(to_array(output, self.data_format))

    def error_of_statistics(self, statistics: Sequence[np.ndarray]) -> float:
        pairs = zip(self.call.statistics, statistics, strict=True)
        return max(expected.error(array) for expected, array in pairs)


def explain(case: Case, result: LayerResult, tolerance: float) -> Divergence:
    """The divergence of a layer with the causes that trials have found.

    The most particular come first: where a kernel is turned, other weights would help as well.
    """
    agrees = len(case.visit.outputs) == len(case.call.outputs) and all(
        expected.error(to_array(output, case.data_format)) <= tolerance
        for expected, output in zip(case.call.outputs, case.visit.outputs, strict=True)
    )
    suspects, measure = (
        (STATISTICS_SUSPECTS, case.error_of_statistics)
        if agrees
        else (SUSPECTS, case.error_of_output)
    )
    close = max(tolerance, result.error * 1e-6) if np.isfinite(result.error) else tolerance
    causes = []
    with torch.no_grad():
        for kind, suspect in suspects.items():
            tried = _tried(kind, suspect(case), measure)
            best = min(tried, key=lambda cause: cause.error, default=None)
            if best is not None and best.error <= close:
                causes.append(best)
    return Divergence(result, tuple(causes), tuple(suspects))


def _tried(kind: str, trials: Iterator[Trial], measure: Callable) -> Iterator[Cause]:
    """What is left of the error in each trial; one that the layer cannot do is none."""
    while True:
        try:
            explanation, compute = next(trials)
        except StopIteration:
            return
        except _IMPOSSIBLE:  # already the layer itself
            return
        try:
            yield Cause(kind, explanation, measure(compute()))
        except _IMPOSSIBLE:
            continue


_IMPOSSIBLE = (RuntimeError, ValueError, TypeError, LookupError, AttributeError)


def twin(module: nn.Module, **attributes: Any) -> nn.Module:
    """A module that shares the tensors of another, without its hooks, with other attributes."""
    other = copy.copy(module)
    for name in ("_parameters", "_buffers"):
        other.__dict__[name] = dict(module.__dict__[name])
    for name in ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs"):
        other.__dict__[name] = OrderedDict()
    other.__dict__["_modules"] = {name: twin(child) for name, child in module.named_children()}
    for name, value in attributes.items():
        setattr(other, name, value)
    return other


def with_tensor(module: nn.Module, key: str, value: Tensor | None) -> nn.Module:
    """The twin of a module with another tensor under a key of its `state_dict`."""
    other = twin(module)
    path, _, name = key.rpartition(".")
    owner = other.get_submodule(path)
    group = owner._buffers if name in owner._buffers else owner._parameters
    group[name] = None if value is None else value.detach()
    return other


# Normalisation

EPSILONS = (1e-3, 1.001e-5, 1e-5, 1e-6, 1e-7, 1e-8, 1e-12, 1e-4, 1e-2, 0.0)


def _epsilon(case: Case) -> Iterator[Trial]:
    own = getattr(case.module, "eps", None)
    if own is None:
        return
    for epsilon in dict.fromkeys([case.call.config.get("epsilon"), *EPSILONS]):
        if epsilon is not None and epsilon != own:
            other = twin(case.module, eps=epsilon)
            yield (
                f"The reference's epsilon is {epsilon:g}, this layer's {own:g}.",
                lambda other=other: case.run(other),
            )


# Padding


def _padding(case: Case) -> Iterator[Trial]:
    """Other paddings of a convolution or pooling, done by hand around one without padding."""
    x, module = case.x, case.module
    key = "depthwise" if hasattr(module, "depthwise") else ""
    window = module.get_submodule(key)
    if not (isinstance(x, Tensor) and x.ndim == 4 and hasattr(window, "kernel_size")):
        return
    if isinstance(window, nn.ConvTranspose2d):
        return
    open_window = twin(module)
    bare = open_window.get_submodule(key)
    bare.padding = "valid" if isinstance(bare, Layer) else 0
    bare.ceil_mode = False
    kernel, stride, dilation = (
        _pair(getattr(window, name, 1)) for name in ("kernel_size", "stride", "dilation")
    )
    is_average = isinstance(window, nn.AvgPool2d)
    fills = (-torch.inf, 0.0) if isinstance(window, nn.MaxPool2d) else (0.0,)
    for name, margins in _margins(x.shape[2:], kernel, stride, dilation).items():
        (top, bottom), (left, right) = margins
        for fill in fills:
            padded = F.pad(x, (left, right, top, bottom), value=fill)
            with_what = " with zeros" if len(fills) > 1 and not fill else ""
            yield (
                f"The reference pads {name}{with_what}; this layer pads {_own_padding(window)}.",
                lambda padded=padded: case.run(open_window, padded),
            )
        if is_average:
            inside = F.pad(torch.ones_like(x), (left, right, top, bottom))
            padded = F.pad(x, (left, right, top, bottom))
            yield (
                f"The reference pads {name} and leaves the padding out of its averages; this layer "
                f"pads {_own_padding(window)}.",
                lambda padded=padded, inside=inside: (
                    case.run(open_window, padded) / case.run(open_window, inside)
                ),
            )


def _pair(value: Any) -> tuple[int, int]:
    return tuple(value) if isinstance(value, list | tuple) else (value, value)


def _own_padding(window: nn.Module) -> str:
    padding = window.padding
    if isinstance(padding, str):
        return f"by the rule {padding!r}"
    height, width = _pair(padding)
    return f"{height} on every side" if height == width else f"{height} and {width} on both sides"


def _margins(
    sizes: Sequence[int], kernel: tuple, stride: tuple, dilation: tuple
) -> dict[str, tuple]:
    """Paddings in front and behind along both axes, by what they are called."""
    same = [same_padding(*axis) for axis in zip(sizes, kernel, stride, dilation, strict=True)]
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    (before, after), _ = same
    half = [(span // 2, span // 2) for span in spans]
    return {
        f"as TensorFlow's 'same', {before} in front and {after} behind": tuple(same),
        "nothing": ((0, 0), (0, 0)),
        f"{half[0][0]} on every side": tuple(half),
        f"{after} in front and {before} behind": tuple((b, a) for a, b in same),
    }


def _zero_padding(case: Case) -> Iterator[Trial]:
    """Other places for the rows and columns of a layer that only pads."""
    x, shape = case.x, case.expected.shape
    is_padding = isinstance(case.module, nn.ZeroPad2d | ZeroPadding2D | nn.Identity)
    if not is_padding or x.ndim != 4 or len(shape) != 4:
        return
    sizes = shape[2:] if case.data_format == "channels_first" else shape[1:3]
    extra = [wanted - size for wanted, size in zip(sizes, x.shape[2:], strict=True)]
    if min(extra) < 0 or max(extra) > 8:
        return
    for top, left in itertools.product(range(extra[0] + 1), range(extra[1] + 1)):
        margins = (left, extra[1] - left, top, extra[0] - top)
        yield (
            f"The reference pads {top} rows above and {margins[3]} below, {left} columns left and "
            f"{margins[1]} right.",
            lambda margins=margins: F.pad(x, margins),
        )


# Activation

ACTIVATIONS = (
    "linear", "relu", "relu6", "softmax", "sigmoid", "tanh", "silu", "gelu", "elu", "selu",
    "leaky_relu", "hard_sigmoid", "hard_silu", "softplus", "softsign", "exponential", "mish",
    "log_softmax", "log_sigmoid",
)  # fmt: skip
SLOPES = (0.01, 0.1, 0.2, 0.3)


def _activation(case: Case) -> Iterator[Trial]:
    module = case.module
    named = {name: activations.get(name) for name in ACTIVATIONS}
    for slope in SLOPES:
        named[f"leaky_relu of slope {slope:g}"] = lambda x, slope=slope: activations.leaky_relu(
            x, slope
        )
    for name, function in named.items():
        own = _own_activation(module)
        explanation = f"The reference's activation is {name}, this layer's {own}."
        if callable(getattr(module, "activation", None)):
            other = twin(module, activation=function)
            yield explanation, lambda other=other: case.run(other)
        elif isinstance(case.x, Tensor) and not hasattr(module, "kernel_size"):
            yield (
                explanation,
                lambda function=function: _activated(
                    case, function, case.run(twin(module)) if [*module.parameters()] else case.x
                ),
            )
        elif isinstance(module, nn.Conv2d):
            yield (
                explanation,
                lambda function=function: _activated(case, function, case.run(twin(module))),
            )


def _activated(case: Case, function: Callable, x: Tensor) -> Tensor:
    return activate(function, x, case.data_format)


def _own_activation(module: nn.Module) -> str:
    own = getattr(module, "activation", None)
    if own is None:
        return "none" if [*module.parameters()] else type(module).__name__
    return getattr(own, "__name__", str(own))


# Kernels


def _kernels(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for key, tensor in module.state_dict(keep_vars=True).items():
        if tensor.is_floating_point() and tensor.ndim >= 2:
            yield key, tensor.detach()


def _kernel_order(case: Case) -> Iterator[Trial]:
    for key, kernel in _kernels(case.module):
        for name, other in _orders(kernel):
            if other.shape == kernel.shape:
                yield (
                    f"The kernel here is {name}.",
                    lambda key=key, other=other: case.run(with_tensor(case.module, key, other)),
                )


def _orders(kernel: Tensor) -> Iterator[tuple[str, Tensor]]:
    """What is right where a kernel in torch's order has been turned in a known way."""
    if kernel.ndim == 4:
        out, inner, height, width = kernel.shape
        yield "turned by 180 degrees, as Theano's are", kernel.flip((2, 3))
        yield "upside down", kernel.flip((2,))
        yield "flipped from left to right", kernel.flip((3,))
        turned = kernel.transpose(2, 3)
        yield "transposed: its height and width are exchanged", turned
        yield "transposed and turned by 180 degrees", turned.flip((2, 3))
        yield "transposed: its inputs and outputs are exchanged", kernel.transpose(0, 1)
        raw = kernel.reshape(height, width, inner, out).permute(3, 2, 0, 1)
        yield "reshaped from Keras's order without transposing it", raw
        if inner == 1:
            yield from _depthwise_orders(kernel)
    elif kernel.ndim == 2:
        out, inner = kernel.shape
        yield "transposed", kernel.t()
        yield "reshaped from Keras's order without transposing it", kernel.reshape(inner, out).t()
        for side in range(2, int(inner**0.5) + 1):
            if inner % side**2 == 0:
                rows = kernel.unflatten(1, (inner // side**2, side, side))
                back = rows.permute(0, 2, 3, 1).flatten(1)
                yield (
                    f"in the order (channels, {side}, {side}) of the values flattened before, not "
                    f"({side}, {side}, channels)",
                    back,
                )


def _depthwise_orders(kernel: Tensor) -> Iterator[tuple[str, Tensor]]:
    out, _, height, width = kernel.shape
    for multiplier in range(2, 9):
        if out % multiplier == 0:
            apart = kernel.unflatten(0, (multiplier, out // multiplier))
            yield (
                f"in the order of its {multiplier} multiples, not of its channels",
                apart.transpose(0, 1).flatten(0, 1),
            )


def _channel_order(case: Case) -> Iterator[Trial]:
    explanation = "The input's channels come in the opposite order: RGB for BGR, or BGR for RGB."
    x = case.x
    if isinstance(x, Tensor) and x.ndim == 4:
        yield explanation, lambda: case.run(twin(case.module), x.flip(1))
    for key, kernel in _kernels(case.module):
        if kernel.ndim == 4 and kernel.shape[1] > 1:
            yield (
                "The kernel's input channels come in the opposite order: it is for BGR where the "
                "input is RGB, or for RGB where it is BGR.",
                lambda key=key, kernel=kernel: case.run(
                    with_tensor(case.module, key, kernel.flip(1))
                ),
            )


def _exchanged_weights(case: Case) -> Iterator[Trial]:
    own = case.module.state_dict()
    for path, peer in case.peers:
        if peer is case.module:
            continue
        theirs = peer.state_dict()
        for key, tensor in own.items():
            if tensor.ndim and key in theirs and theirs[key].shape == tensor.shape:
                yield (
                    f"The {key} here belongs elsewhere: with that of {path} the layer agrees.",
                    lambda key=key, value=theirs[key]: case.run(
                        with_tensor(case.module, key, value)
                    ),
                )
        if len(own) > 1 and {k: t.shape for k, t in own.items()} == {
            k: t.shape for k, t in theirs.items()
        }:
            yield (
                f"The weights here belong elsewhere: with all those of {path} the layer agrees.",
                lambda theirs=theirs: case.run(_with_tensors(case.module, theirs)),
            )


def _with_tensors(module: nn.Module, tensors: dict[str, Tensor]) -> nn.Module:
    for key, tensor in tensors.items():
        module = with_tensor(module, key, tensor)
    return module


# A function's argument for a value that it gives; what it cuts off is not a number.
_INVERSES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "linear": lambda y: y,
    "relu": lambda y: np.where(y > 0, y, np.nan),
    "relu6": lambda y: np.where((y > 0) & (y < 6), y, np.nan),
    "sigmoid": lambda y: np.log(y) - np.log1p(-y),
    "softmax": np.log,  # up to a number that is the same for all, which softmax does not see
    "tanh": np.arctanh,
}


def _bias(case: Case) -> Iterator[Trial]:
    """The bias that fits best, if one fits at all."""
    module = case.module
    key = "pointwise.bias" if hasattr(module, "pointwise") else "bias"
    owner = module.get_submodule(key.rpartition(".")[0])
    if not (hasattr(owner, "weight") and "bias" in owner._parameters):
        return
    function = getattr(module, "activation", activations.linear)
    inverse = _INVERSES.get(getattr(function, "__name__", ""))
    if inverse is None:
        return
    bare = twin(module)
    if hasattr(module, "activation"):
        bare.activation = activations.linear
    own = owner.bias
    without = to_keras_layout(case.run(bare), case.data_format)
    bias = _fitting_bias(case, inverse, without.cpu().numpy())
    if own is None or not own.any():
        explanation = "The reference adds a bias; here there is none."
    elif not np.abs(bias + own.cpu().numpy()).max():
        explanation = "The reference adds no bias; here there is one."
    else:
        explanation = f"The bias differs, by up to {np.abs(bias).max():.1e}."
    if own is not None:
        bias = bias + own.cpu().numpy()
    value = torch.from_numpy(bias).to(without)
    yield explanation, lambda: case.run(with_tensor(module, key, value))


def _fitting_bias(case: Case, inverse: Callable, z: np.ndarray) -> np.ndarray:
    """What is to be added to each channel of `z` so that the activation gives what is expected."""
    expected = case.expected
    axis = 1 if case.data_format == "channels_first" and z.ndim > 2 else z.ndim - 1
    places = expected.of_another(np.arange(z.size).reshape(z.shape))
    channels = np.unravel_index(places, z.shape)[axis]
    values = expected.of_another(z)
    with np.errstate(all="ignore"):
        difference = inverse(expected.values.astype(np.float64)) - values
    bias = np.zeros(z.shape[axis])
    for channel in range(len(bias)):
        here = channels == channel
        fitting = difference[here & np.isfinite(difference)]
        if fitting.size:
            bias[channel] = np.median(fitting)
        elif here.any():  # cut off everywhere: low enough for that
            bias[channel] = -max(values[here].max(), 0)
    return bias


def _weights(case: Case) -> Iterator[Trial]:
    """The reference's own weights."""
    if case.weights is None or not isinstance(case.module, Layer):
        return
    rules = rules_for(case.module)
    if len(rules) != len(case.weights):
        return
    tensors, differing = {}, []
    own = case.module.state_dict()
    for rule, array in zip(rules, case.weights, strict=True):
        tensor = rule.to_torch(torch.from_numpy(array))
        if tensor.shape != own[rule.key].shape:
            return
        tensors[rule.key] = tensor.to(own[rule.key].dtype)
        off = (tensors[rule.key] != own[rule.key]).sum().item()
        if off:
            differing.append(f"{off:,} of {tensor.numel():,} values of {rule.key}")
    if differing:
        yield (
            f"The weights are not the reference's: {', '.join(differing)} differ.",
            lambda: case.run(_with_tensors(case.module, tensors)),
        )


# Axes and inputs

_AXES = ("height", "width", "channels")


def _axis_order(case: Case) -> Iterator[Trial]:
    """The values of an input in other orders, for layers that only arrange them."""
    x, shape = case.x, case.expected.shape
    if not isinstance(x, Tensor) or x.ndim not in (4, 5) or [*case.module.parameters()]:
        return
    if x.numel() != int(np.prod(shape)) or x.ndim == len(shape) == 4 and x.shape == shape:
        return
    image = to_keras_layout(x, "channels_last")
    names = _AXES if x.ndim == 4 else ("depth", *_AXES)
    own = case.run(twin(case.module)).reshape(-1)
    orders = list(itertools.permutations(range(1, x.ndim)))
    here = next((o for o in orders if torch.equal(_arranged(image, o), own)), None)
    for order in orders:
        text = f"The reference takes the values in the order ({_named(order, names)})"
        if here is not None:
            text += f", this layer in the order ({_named(here, names)})"
        yield f"{text}.", lambda order=order: _in_shape(_arranged(image, order), case)


def _arranged(image: Tensor, order: Sequence[int]) -> Tensor:
    return image.permute(0, *order).reshape(-1)


def _named(order: Sequence[int], names: Sequence[str]) -> str:
    return ", ".join(names[axis - 1] for axis in order)


def _in_shape(values: Tensor, case: Case) -> Tensor:
    """The values in the expected shape; a tensor, so channels first from rank 4."""
    y = values.reshape(case.expected.shape)
    return y.movedim(-1, 1) if y.ndim >= 4 and case.data_format == "channels_last" else y


def _axis(case: Case) -> Iterator[Trial]:
    """Other axes for layers that work along one."""
    own = getattr(case.module, "axis", None)
    if not isinstance(own, int):
        return
    for axis in range(-1, -len(case.expected.shape), -1):
        if axis != own:
            other = twin(case.module, axis=axis)
            yield (
                f"The reference works along axis {axis} of Keras's layout, this layer along {own}.",
                lambda other=other: case.run(other),
            )


def _exchanged_axes(case: Case) -> Iterator[Trial]:
    """The layer's own output with its axes in another order."""
    y = case.run(twin(case.module))
    if not isinstance(y, Tensor) or y.ndim < 3:
        return
    for order in itertools.permutations(range(1, y.ndim)):
        if list(order) != list(range(1, y.ndim)):
            yield (
                f"The reference's output is this one's with its axes in the order {(0, *order)}.",
                lambda order=order: y.permute(0, *order),
            )


def _data_format(case: Case) -> Iterator[Trial]:
    if not isinstance(case.module, Layer):
        return
    own = case.module.data_format
    (other,) = {"channels_last", "channels_first"} - {own}
    changed = twin(case.module, _data_format=other)
    yield (
        f"The reference's data format is {other}, this layer's {own}.",
        lambda: case.run(changed),
    )


def _scaling(case: Case) -> Iterator[Trial]:
    """Other preprocessing of an input: a factor and an offset for each channel."""
    x, expected = case.x, case.expected
    if case.call.class_name != "InputLayer" or len(expected.shape) != 4:
        return
    axis = 1 if case.data_format == "channels_first" else 3
    wanted = torch.from_numpy(expected.values.reshape(expected.shape)).movedim(axis, 1)
    for turned, order in ((x, "as they are"), (x.flip(1), "in the opposite order")):
        lines = [
            np.polyfit(ours.flatten().numpy(), theirs.flatten().numpy(), 1)
            for ours, theirs in zip(turned.unbind(1), wanted.unbind(1), strict=True)
        ]
        factors, offsets = (torch.tensor(column) for column in zip(*lines, strict=True))
        scaled = turned * factors.view(-1, 1, 1) + offsets.view(-1, 1, 1)
        yield (
            f"The reference's channels are these, {order}, times {_listed(factors)} plus "
            f"{_listed(offsets)}.",
            lambda scaled=scaled: scaled,
        )


def _listed(numbers: Tensor) -> str:
    return ", ".join(f"{number:.4g}" for number in numbers.tolist())


def _order_of_inputs(case: Case) -> Iterator[Trial]:
    values = case.x
    if not isinstance(values, list | tuple) or not 1 < len(values) <= 4:
        return
    for order in itertools.permutations(range(len(values))):
        if list(order) != list(range(len(values))):
            yield (
                f"The reference takes the inputs in the order {tuple(i + 1 for i in order)}.",
                lambda order=order: case.run(twin(case.module), [values[i] for i in order]),
            )


def _interpolation(case: Case) -> Iterator[Trial]:
    own = getattr(case.module, "interpolation", None)
    for name in ("nearest", "bilinear", "bicubic") if isinstance(own, str) else ():
        if name != own:
            other = twin(case.module, interpolation=name)
            yield (
                f"The reference's interpolation is {name}, this layer's {own}.",
                lambda other=other: case.run(other),
            )


SUSPECTS: dict[str, Callable[[Case], Iterator[Trial]]] = {
    "epsilon": _epsilon,
    "padding": _padding,
    "rows of zeros": _zero_padding,
    "activation": _activation,
    "kernel order": _kernel_order,
    "channel order": _channel_order,
    "exchanged weights": _exchanged_weights,
    "bias": _bias,
    "axis order": _axis_order,
    "axis": _axis,
    "exchanged axes": _exchanged_axes,
    "data format": _data_format,
    "scaling": _scaling,
    "order of inputs": _order_of_inputs,
    "interpolation": _interpolation,
    "weights": _weights,
}


# Moving statistics

MOMENTA = (0.99, 0.999, 0.9997, 0.9, 0.95, 0.997, 0.98)


def _momentum(case: Case) -> Iterator[Trial]:
    own = 1 - case.module.momentum
    for momentum in dict.fromkeys([case.call.config.get("momentum"), *MOMENTA]):
        if momentum is not None and abs(momentum - own) > 1e-9:
            other = twin(case.module, momentum=1 - momentum)
            yield (
                f"The reference's momentum is {momentum:g} in Keras's sense, this layer's {own:g}.",
                lambda other=other: moving_statistics(other, case.x),
            )


def _variance(case: Case) -> Iterator[Trial]:
    """Keras's moving variance takes the mean of the squares, torch's a little more."""
    own, x = case.module.momentum, case.x
    axes = [axis for axis in range(x.ndim) if axis != 1]
    for correction, name in ((0, "n"), (1, "n - 1")):
        batch = x.mean(axes), x.var(axes, correction=correction)
        kept = case.module.running_mean, case.module.running_var
        updated = [old + own * (new - old) for old, new in zip(kept, batch, strict=True)]
        yield (
            f"The reference's variance of a batch divides by {name}, this layer's does not.",
            lambda updated=updated: [statistic.cpu().numpy() for statistic in updated],
        )


def _trainable(case: Case) -> Iterator[Trial]:
    kept = [case.module.running_mean, case.module.running_var]
    yield (
        "The reference's layer is frozen and keeps its moving statistics; this one is not.",
        lambda: [statistic.cpu().numpy() for statistic in kept],
    )
    if isinstance(case.module, BatchNormalization) and not case.module.trainable:
        other = twin(case.module, _trainable=True)
        yield (
            "This layer is frozen and keeps its moving statistics; the reference's is not.",
            lambda: moving_statistics(other, case.x),
        )


STATISTICS_SUSPECTS: dict[str, Callable[[Case], Iterator[Trial]]] = {
    "trainable": _trainable,
    "momentum": _momentum,
    "moving variance": _variance,
}
