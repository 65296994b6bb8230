"""PyTorch's compiler, for which the weights are constants that it may lay out anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from . import Run

if TYPE_CHECKING:
    from ..optimized import OptimizedModel


def prepare(model: OptimizedModel, inputs: list[Tensor]) -> Run:
    def run(model: OptimizedModel, inputs: list[Tensor]) -> list[Tensor]:
        return model._run_steps(inputs)

    # PyTorch gives up on code that it has compiled for eight sizes: this is one size's own.
    run.__code__ = run.__code__.replace()
    compiled = torch.compile(run, fullgraph=True, dynamic=False, options={"freezing": True})
    compiled(model, inputs)
    return compiled
