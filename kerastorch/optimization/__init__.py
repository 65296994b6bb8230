"""Fast copies of models for inference.

`passes` take steps out of a model's plan (`steps`); what is left is run by one of the `backends`.
`memory` is of the whole process.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from ..engine import Model
from . import passes
from .backends import check_backend
from .memory import keep_memory
from .optimized import OptimizedModel, become_optimized
from .steps import Steps, computes_by_plan, parts_in_evaluation, shared_modules

__all__ = ["OptimizedModel", "keep_memory", "optimize"]

PASSES = (
    passes.drop_identities,
    passes.fold_padding,
    passes.fold_normalizations,
    passes.fold_scales,
    passes.share_results,
    passes.fuse_activations,
)


def optimize(
    model: Model,
    dtype: torch.dtype | None = None,
    backend: str = "eager",
    *,
    fold_preprocessing: bool = False,
    winograd: bool = True,
) -> OptimizedModel:
    """A copy of a model that only computes in evaluation mode, and faster.

        fast = kerastorch.optimize(model)
        scores = fast(images)

    Batch normalisation is folded into the convolutions before it, activations and zero padding are
    left to the convolutions, dropout is taken out. The layers that remain have their names.

    Args:
        model: is left as it is. Layers of users, and layers with hooks, are left alone.
        dtype: what is computed in, also `torch.bfloat16` where the machine has it; None for the
            type of the model's weights. Inputs and outputs keep theirs.
        backend: what runs it: `"eager"`, PyTorch itself; `"inductor"`, its compiler;
            `"onnxruntime"` or `"openvino"`, on the CPU, where they are installed; or `"auto"`, the
            fastest of those that are, tried on the first inputs of each size.
        fold_preprocessing: whether Rescaling and Normalization layers in front of a convolution go
            into its weights, where that changes nothing but roundings: where no zeros are put
            around what they give, or they give zero for zero.
        winograd: whether `"eager"` computes some convolutions by windows of 3 x 3 with a quarter of
            the multiplications (float32, on the CPU). Their weights then take four times the
            memory besides.

    Returns:
        A `Model` in evaluation mode, without gradients, its weights in `channels_last`. Its outputs
        are those of `model.eval()` up to rounding.

    Raises:
        TypeError: the model is none, or has a `forward` of its own.
        ValueError: there is no such backend.
        ModuleNotFoundError: it is not installed; the message says how to.
    """
    check_backend(backend)
    if not computes_by_plan(model):
        kind = type(model).__qualname__
        raise TypeError(f"optimize takes a Model without a forward of its own, not a {kind}.")
    chosen = (*PASSES, *([passes.fold_preprocessing] if fold_preprocessing else []))
    with torch.inference_mode(False), torch.no_grad():  # tensors whose changes can be seen
        optimized = copy.deepcopy(model).eval().requires_grad_(False)
        shared = shared_modules(optimized)
        for part in parts_in_evaluation(optimized):
            steps = Steps(part, shared)
            for leave_out in chosen:
                leave_out(steps)
            steps.apply()
        become_optimized(optimized, backend, winograd)
        return optimized.to(dtype=dtype)._apply(_in_channels_last)


def _in_channels_last(x: Tensor) -> Tensor:
    return x.to(memory_format=torch.channels_last) if x.ndim == 4 else x
