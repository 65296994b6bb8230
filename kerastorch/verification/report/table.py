"""The table of layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from ..verdict import LayerResult, Verdict
from .markup import element, foreign, name
from .wording import figure, first_difference, has_float32

FIRST, DIFFERS = "≠ first to differ", "≠ differs"
EMPHASES = {FIRST: "first", DIFFERS: "differs"}


@dataclass(frozen=True)
class Column:
    """A column of figures: its title, and the figure it has for a layer."""

    title: str
    value: Callable[[LayerResult], float | None]


def layer_table(verdict: Verdict) -> Element:
    """A row for each layer, in the order of running; the script makes it sortable."""
    columns, first = _columns(verdict), first_difference(verdict)
    titles = [
        element("th", "No.", scope="col", class_="figure"),
        *(element("th", title, scope="col") for title in ("Layer", "Class", "Output shape")),
        *(element("th", column.title, scope="col", class_="figure") for column in columns),
        element("th", "Result", scope="col"),
    ]
    rows = [
        _row(position, result, columns, _state(result, verdict, position == first))
        for position, result in enumerate(verdict.layers, start=1)
    ]
    head, body = element("thead", element("tr", *titles)), element("tbody", *rows)
    return element("div", element("table", head, body, id="layers"), class_="rows")


def _columns(verdict: Verdict) -> list[Column]:
    ours, theirs = has_float32(verdict)
    columns = [
        Column("Largest value", lambda result: result.largest),
        Column("Error, float64", lambda result: result.error),
    ]
    if ours:
        columns.append(Column("Float32, model", lambda result: result.error_float32))
    if theirs:
        columns.append(Column("Float32, reference", lambda result: result.reference_float32))
    return columns


def _row(position: int, result: LayerResult, columns: list[Column], state: str) -> Element:
    return element(
        "tr",
        element("td", f"{result.number:,}", class_="figure", data_value=result.number),
        element("td", name(result.path)),
        element("td", foreign(result.class_name)),
        element("td", str(tuple(result.shape))),
        *(_cell(column.value(result)) for column in columns),
        element("td", state),
        id=f"layer-{position}",
        class_=EMPHASES.get(state),
    )


def _cell(value: float | None) -> Element:
    return element("td", figure(value), class_="figure", data_value=value)


def _state(result: LayerResult, verdict: Verdict, is_first: bool) -> str:
    """What the layer's error means."""
    if is_first:
        return FIRST
    if not verdict.agrees(result):
        return DIFFERS
    if result.error == 0:
        return "= to the bit"
    return "= equal" if result.tolerance is None else f"= within {figure(result.tolerance)}"
