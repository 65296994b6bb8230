"""The types of numbers that values are computed in."""

from __future__ import annotations

import torch
from torch import Tensor


def float_type(x: Tensor) -> torch.dtype:
    """What a value is computed with in: its own type, or torch's for bytes and other integers."""
    return x.dtype if x.is_floating_point() else torch.get_default_dtype()
