"""Activations."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

from torch import Tensor, nn

from ... import activations
from ...layers.activation import activate
from .case import Case, Trial, twin

ACTIVATIONS = (
    "linear", "relu", "relu6", "softmax", "sigmoid", "tanh", "silu", "gelu", "elu", "selu",
    "leaky_relu", "hard_sigmoid", "hard_silu", "softplus", "softsign", "exponential", "mish",
    "log_softmax", "log_sigmoid",
)  # fmt: skip
SLOPES = (0.01, 0.1, 0.2, 0.3)


def activation(case: Case) -> Iterator[Trial]:
    """Other activations: of the layer, behind a layer that has none, or in the layer's place."""
    module, own = case.module, _own_activation(case.module)
    recorded = case.call.config.get("activation")
    is_known = isinstance(recorded, str) and recorded in activations.NAMES
    names = [recorded, *ACTIVATIONS] if is_known else ACTIVATIONS
    named = {name: activations.get(name) for name in names}
    for slope in SLOPES:
        name = f"leaky_relu of slope {slope:g}"
        named[name] = functools.partial(activations.leaky_relu, negative_slope=slope)
    if callable(getattr(module, "activation", None)):
        compute = _with_activation
    elif [*module.parameters()]:
        compute = _behind
    elif isinstance(case.x, Tensor) and not hasattr(module, "kernel_size"):
        compute = _instead
    else:
        return
    for name, function in named.items():
        yield (
            f"The reference's activation is {name}, this layer's {own}.",
            functools.partial(compute, case, function),
        )


def _with_activation(case: Case, function: Callable) -> Tensor:
    return case.run(twin(case.module, activation=function))


def _behind(case: Case, function: Callable) -> Tensor:
    return activate(function, case.run(twin(case.module)), case.data_format)


def _instead(case: Case, function: Callable) -> Tensor:
    return activate(function, case.x, case.data_format)


def _own_activation(module: nn.Module) -> str:
    own = getattr(module, "activation", None)
    if own is None:
        return "none" if [*module.parameters()] else type(module).__name__
    return getattr(own, "__name__", str(own))
