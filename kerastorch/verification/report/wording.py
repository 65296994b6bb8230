"""Figures in words, the same in every part of the page."""

from __future__ import annotations

import math

from ..verdict import Verdict


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


def first_difference(verdict: Verdict) -> int | None:
    """The position of the first layer that differs, from 1 in the order of running."""
    if verdict.divergence is None:
        return None
    first = verdict.divergence.layer
    for position, result in enumerate(verdict.layers, start=1):
        if (result.number, result.path) == (first.number, first.path):
            return position
    return None


def has_float32(verdict: Verdict) -> tuple[bool, bool]:
    """Whether any layer has a float32 error of the model, and of the reference."""
    return (
        any(result.error_float32 is not None for result in verdict.layers),
        any(result.reference_float32 is not None for result in verdict.layers),
    )
