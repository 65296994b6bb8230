"""PyTorch's compiler, for which the weights are constants that it may lay out anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from . import Run

if TYPE_CHECKING:
    from ..optimized import OptimizedModel


def prepare(model: OptimizedModel, inputs: list[Tensor]) -> Run:
    compiled = torch.compile(model._run_steps, dynamic=False, options={"freezing": True})
    compiled(inputs)
    return compiled
