"""Comparing two models without running them: the layers of both `sides`, and the `difference`."""

from .comparing import argument_changes, diff
from .difference import Change, Difference, LayerDifference, Source, ValueChange

__all__ = [
    "Change",
    "Difference",
    "LayerDifference",
    "Source",
    "ValueChange",
    "argument_changes",
    "diff",
]
