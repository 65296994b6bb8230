"""Why a layer differs: the usual suspects, tried on that layer.

Each suspect is a generator of trials: a sentence on what the reference does otherwise, and a
function that computes the layer's output that way. A trial that brings the reference's output is a
cause.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import torch

from ..comparison import error_of_outputs
from ..verdict import Cause, Divergence, LayerResult
from . import activation, axes, bias, counterpart, kernels, normalization, padding
from .case import Case, Trial, repeated
from .counterpart import argument_differences

__all__ = ["Case", "argument_differences", "explain"]

SUSPECTS: dict[str, Callable[[Case], Iterator[Trial]]] = {
    "epsilon": normalization.epsilon,
    "padding": padding.padding,
    "rows of zeros": padding.zero_padding,
    "activation": activation.activation,
    "kernel order": kernels.kernel_order,
    "channel order": kernels.channel_order,
    "exchanged weights": kernels.exchanged_weights,
    "bias": bias.bias,
    "axis order": axes.axis_order,
    "axis": axes.axis,
    "exchanged axes": axes.exchanged_axes,
    "data format": axes.data_format,
    "scaling": axes.scaling,
    "order of inputs": axes.order_of_inputs,
    "interpolation": axes.interpolation,
    "arguments": counterpart.arguments,
    "weights": counterpart.weights,
    "another layer": counterpart.another_class,
}

# The layer as it is, once more.
CONTROL: dict[str, Callable[[Case], Iterator[Trial]]] = {"not repeatable": repeated}

STATISTICS_SUSPECTS: dict[str, Callable[[Case], Iterator[Trial]]] = {
    "trainable": normalization.trainable,
    "momentum": normalization.momentum,
    "moving variance": normalization.variance,
}


def explain(case: Case, result: LayerResult, tolerance: float) -> Divergence:
    """The divergence of a layer with the causes that trials have found.

    The most particular come first: where a kernel is turned, other weights would help as well.
    """
    if error_of_outputs(case.visit, case.call, case.data_format) <= tolerance:
        suspects, measure = STATISTICS_SUSPECTS, case.error_of_statistics
    else:
        suspects, measure = CONTROL | SUSPECTS, case.error_of_output
    close = max(tolerance, result.error * 1e-6) if np.isfinite(result.error) else tolerance
    causes = []
    with torch.no_grad():
        for kind, suspect in suspects.items():
            tried = _tried(kind, suspect(case), measure)
            best = min(tried, key=lambda cause: cause.error, default=None)
            if best is not None and best.error <= close:
                causes.append(best)
                if kind in CONTROL:  # whatever else is tried would seem to help
                    break
    return Divergence(result, tuple(causes), tuple(suspects))


def _tried(kind: str, trials: Iterator[Trial], measure: Callable) -> Iterator[Cause]:
    """What is left of the error in each trial; what the layer cannot do is none."""
    with contextlib.suppress(*_IMPOSSIBLE):
        for explanation, compute in trials:
            with contextlib.suppress(*_IMPOSSIBLE):
                yield Cause(kind, explanation, measure(compute()))


_IMPOSSIBLE = (RuntimeError, ValueError, TypeError, LookupError, AttributeError)
