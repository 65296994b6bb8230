"""PyTorch, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from . import Run

if TYPE_CHECKING:
    from ..optimized import OptimizedModel


def prepare(model: OptimizedModel, inputs: list[Tensor]) -> Run:
    return model._run_steps
