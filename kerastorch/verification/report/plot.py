"""The error of every layer in the order of running, on a logarithmic scale."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from ..verdict import LayerResult, Verdict
from .markup import element, name
from .wording import count, first_difference, has_float32

# Heights in percent of the plot, from its top. All places are in percent, so that the plot
# takes any width while its text and points keep their size.
NOT_FINITE = 4.0
HIGHEST = 12.0
LOWEST = 86.0
ZERO = 95.0

MOST_LEVELS = 9
MOST_NUMBERS = 6
DENSE = 250  # layers from which on the points are drawn smaller


@dataclass(frozen=True)
class Axis:
    """Errors from 10**`bottom` to 10**`top`; zero lies below them, what is not finite above."""

    bottom: int
    top: int

    def height(self, error: float) -> float:
        """How far from the top of the plot an error lies, in percent."""
        if not math.isfinite(error):
            return NOT_FINITE
        return self.height_of_power(math.log10(error)) if error else ZERO

    def height_of_power(self, power: float) -> float:
        share = (power - self.bottom) / (self.top - self.bottom)
        return LOWEST - share * (LOWEST - HIGHEST)

    @property
    def levels(self) -> range:
        """The powers of ten that have a line, from the top down."""
        step = math.ceil((self.top - self.bottom + 1) / MOST_LEVELS)
        return range(self.top, self.bottom - 1, -step)


def plot(verdict: Verdict) -> Element:
    """A figure of all layers' errors, with the tolerance and the first difference marked."""
    return element(
        "figure",
        _legend(verdict),
        element("div", _flag(verdict), _drawing(verdict), id="chart"),
        element("p", "Layers in the order of running", class_="axis"),
        element("p", id="readout"),
        class_="plot dense" if len(verdict.layers) >= DENSE else "plot",
    )


def _drawing(verdict: Verdict) -> Element:
    layers, axis = verdict.layers, _axis(verdict)
    over = [not verdict.agrees(result) for result in layers]
    tolerance = _percent(axis.height(verdict.tolerance))
    return element(
        "svg",
        *_levels(axis, verdict),
        *_numbers(layers),
        element("line", class_="tolerance", x2="100%", y1=tolerance, y2=tolerance),
        _mark(verdict),
        _points("ours", axis, [result.error_float32 for result in layers]),
        _points("theirs", axis, [result.reference_float32 for result in layers]),
        _points("float64", axis, [result.error for result in layers], over),
        element("g", element("line", y2="100%"), element("circle"), id="cursor", display="none"),
        role="img",
        aria_label=f"The error of {count(len(layers), 'layer')} on a logarithmic scale. "
        "The table of layers has the figures.",
    )


def _axis(verdict: Verdict) -> Axis:
    """Whole decades around everything that is drawn."""
    drawn = [verdict.tolerance, *(error for r in verdict.layers for error in _errors(r))]
    powers = [math.log10(error) for error in drawn if 0 < error < math.inf] or [0.0]
    bottom = math.floor(min(powers))
    return Axis(bottom, max(math.ceil(max(powers)), bottom + 1))


def _errors(result: LayerResult) -> list[float]:
    errors = (result.error, result.error_float32, result.reference_float32)
    return [error for error in errors if error is not None]


def _legend(verdict: Verdict) -> Element:
    """What the points mean, each beside one of its kind."""
    ours, theirs = has_float32(verdict)
    tolerance = element("line", class_="tolerance", x2="100%", y1="50%", y2="50%")
    return element(
        "ul",
        _key("float64", "float64"),
        _key("ours", "float32, this model") if ours else None,
        _key("theirs", "float32, the reference itself") if theirs else None,
        element("li", element("svg", tolerance, aria_hidden="true"), "tolerance"),
        class_="legend",
    )


def _key(series: str, title: str) -> Element:
    point = element("g", element("circle", cx="50%", cy="50%"), class_=series)
    return element("li", element("svg", point, aria_hidden="true"), title)


def _levels(axis: Axis, verdict: Verdict) -> Iterable[Element]:
    """A line with its figure for powers of ten, for zero and, if needed, for what isn't finite."""
    for power in axis.levels:
        yield from _level(axis.height_of_power(power), f"1e{power:+03d}")
    yield from _level(ZERO, "0")
    if not all(math.isfinite(error) for r in verdict.layers for error in _errors(r)):
        yield from _level(NOT_FINITE, "∞, NaN")


def _level(height: float, title: str) -> Iterable[Element]:
    y = _percent(height)
    yield element("line", class_="level", x2="100%", y1=y, y2=y)
    yield element("text", title, class_="level", y=y)


def _numbers(layers: tuple[LayerResult, ...]) -> Iterable[Element]:
    """The number of the first layer and some round ones."""
    rounds = (digit * 10**zeros for zeros in range(9) for digit in (1, 2, 5))
    step = next(number for number in rounds if len(layers) <= number * MOST_NUMBERS)
    for position, result in enumerate(layers, start=1):
        if result.number == 1 or result.number % step == 0:
            x = _percent(_place(position, len(layers)))
            yield element("text", f"{result.number:,}", class_="number", x=x, y="100%")


def _mark(verdict: Verdict) -> Element | None:
    """A line at the first layer that differs."""
    if (first := first_difference(verdict)) is None:
        return None
    x = _percent(_place(first, len(verdict.layers)))
    return element("line", class_="first", x1=x, x2=x, y2="100%")


def _flag(verdict: Verdict) -> Element | None:
    """The name of the first layer that differs, above its line and on its roomier side."""
    if (first := first_difference(verdict)) is None:
        return None
    place = _place(first, len(verdict.layers))
    style = f"left: {place:.2f}%" if place < 50 else f"right: {100 - place:.2f}%"
    return element("div", name(verdict.layers[first - 1].path), id="flag", style=style)


def _points(
    series: str, axis: Axis, errors: list[float | None], over: list[bool] | None = None
) -> Element:
    """A point for each error that there is; those over the tolerance have a class of their own."""
    group = element("g", class_=series)
    for index, error in enumerate(errors):
        if error is not None:
            x, y = _percent(_place(index + 1, len(errors))), _percent(axis.height(error))
            kind = "over" if over is not None and over[index] else None
            group.append(element("circle", cx=x, cy=y, class_=kind))
    return group


def _place(position: int, layers: int) -> float:
    return 100 * (position - 0.5) / layers


def _percent(number: float) -> str:
    return f"{number:.2f}%"
