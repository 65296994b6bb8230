"""Fast copies of models for inference."""

from __future__ import annotations

import copy

import torch

from ..engine import Model
from . import passes
from .steps import Steps

__all__ = ["optimize"]

PASSES = (
    passes.drop_identities,
    passes.fold_padding,
    passes.fold_normalizations,
    passes.fuse_activations,
)


def optimize(model: Model) -> Model:
    """A copy of a model that only computes in evaluation mode, and faster.

    Batch normalisation is folded into the convolutions before it, activations and zero padding are
    left to the convolutions, dropout is taken out. The layers that remain have their names.

    Args:
        model: is left as it is.

    Returns:
        A `Model` in evaluation mode, without gradients, its weights in `channels_last`. Its outputs
        are those of `model.eval()` up to rounding.
    """
    optimized = copy.deepcopy(model).eval().requires_grad_(False)
    for part in [module for module in optimized.modules() if isinstance(module, Model)]:
        steps = Steps(part)
        for leave_out in PASSES:
            leave_out(steps)
        steps.apply()
    return optimized.to(memory_format=torch.channels_last)
