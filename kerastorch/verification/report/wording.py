"""Figures in words, the same in every part of the page."""

from __future__ import annotations

import math

from ..verdict import LayerResult, Verdict


def figure(value: float | None) -> str:
    """An error or a largest value: `3.1e-16`, `0`, `∞`, `NaN`; a dash for None."""
    if value is None:
        return "–"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞"
    return f"{value:.1e}" if value else "0"


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def differs(error: float, tolerance: float) -> bool:
    """Whether an error is too large; not a number is."""
    return not error <= tolerance


def is_first_difference(result: LayerResult, verdict: Verdict) -> bool:
    return verdict.divergence is not None and result.number == verdict.divergence.layer.number


def has_float32(verdict: Verdict) -> tuple[bool, bool]:
    """Whether any layer has a float32 error of the model, and of the reference."""
    return (
        any(result.error_float32 is not None for result in verdict.layers),
        any(result.reference_float32 is not None for result in verdict.layers),
    )
