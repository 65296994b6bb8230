"""Bias."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from ... import activations
from ...engine.layout import to_keras_layout
from .case import Case, Trial, twin, with_tensor

# A function's argument for a value that it gives; what it cuts off is not a number.
_INVERSES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "linear": lambda y: y,
    "relu": lambda y: np.where(y > 0, y, np.nan),
    "relu6": lambda y: np.where((y > 0) & (y < 6), y, np.nan),
    "sigmoid": lambda y: np.log(y) - np.log1p(-y),
    "softmax": np.log,  # up to a number that is the same for all, which softmax does not see
    "tanh": np.arctanh,
}


def bias(case: Case) -> Iterator[Trial]:
    """The bias that fits best, if one fits at all.

    A channel must have two values for that, as any bias fits one.
    """
    module = case.module
    if getattr(module, "running_mean", None) is not None:
        return  # there the mean shifts as well
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
    if without.shape != case.expected.shape or not without.numel():
        return
    missing = _fitting_bias(case, inverse, without.cpu().numpy())
    if missing is None:
        return
    if own is None or not own.any():
        explanation = "The reference adds a bias; here there is none."
    else:
        explanation = f"The bias differs, by up to {np.abs(missing).max():.1e}."
    fitting = missing if own is None else missing + own.cpu().numpy()
    value = torch.from_numpy(fitting).to(without)
    yield explanation, lambda: case.run(with_tensor(module, key, value))


def _fitting_bias(case: Case, inverse: Callable, z: np.ndarray) -> np.ndarray | None:
    """What is to be added to each channel of `z` so that the activation gives what is expected.

    None where a channel has too few values to tell.
    """
    expected = case.expected
    axis = 1 if case.data_format == "channels_first" and z.ndim > 2 else z.ndim - 1
    places = expected.of_another(np.arange(z.size).reshape(z.shape))
    channels = np.unravel_index(places, z.shape)[axis]
    values = expected.of_another(z)
    with np.errstate(all="ignore"):
        difference = inverse(expected.values.astype(np.float64)) - values
    if np.bincount(channels, minlength=z.shape[axis]).min() < 2:
        return None
    bias = np.zeros(z.shape[axis])
    for channel in range(len(bias)):
        here = channels == channel
        fitting = difference[here & np.isfinite(difference)]
        if fitting.size:
            bias[channel] = np.median(fitting)
        elif here.any():  # cut off everywhere: low enough for that
            bias[channel] = -max(values[here].max(), 0)
    return bias
