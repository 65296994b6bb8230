"""The table of layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from ..verdict import LayerResult, Verdict
from .markup import element, foreign, name
from .wording import differs, figure, has_float32, is_first_difference


@dataclass(frozen=True)
class Column:
    """A column behind number and name: its title, and the text or figure it has for a layer."""

    title: str
    value: Callable[[LayerResult], str | float | None]
    is_figure: bool = False


def layer_table(verdict: Verdict) -> Element:
    """A row for each layer, in the order of running; the script makes it sortable."""
    columns = _columns(verdict)
    titles = [
        element("th", "No.", scope="col", class_="figure"),
        element("th", "Layer", scope="col"),
        *(_title(column) for column in columns),
    ]
    rows = [
        element(
            "tr",
            element("td", f"{result.number:,}", class_="figure", data_value=result.number),
            element("td", name(result.path)),
            *(_cell(column.value(result)) for column in columns),
            id=f"layer-{result.number}",
            class_=_emphasis(result, verdict),
        )
        for result in verdict.layers
    ]
    table = element(
        "table",
        element("thead", element("tr", *titles)),
        element("tbody", *rows),
        id="layers",
    )
    return element("div", table, class_="rows")


def _columns(verdict: Verdict) -> list[Column]:
    ours, theirs = has_float32(verdict)
    columns = [
        Column("Class", lambda result: result.class_name),
        Column("Output shape", lambda result: str(tuple(result.shape))),
        Column("Largest value", lambda result: result.largest, is_figure=True),
        Column("Error, float64", lambda result: result.error, is_figure=True),
    ]
    if ours:
        columns += [Column("Float32, model", lambda r: r.error_float32, is_figure=True)]
    if theirs:
        columns += [Column("Float32, reference", lambda r: r.reference_float32, is_figure=True)]
    return [*columns, Column("Result", lambda result: _result(result, verdict))]


def _title(column: Column) -> Element:
    kind = "figure" if column.is_figure else None
    return element("th", column.title, scope="col", class_=kind)


def _cell(value: str | float | None) -> Element:
    if isinstance(value, str):
        return element("td", foreign(value))
    return element("td", figure(value), class_="figure", data_value=value)


def _result(result: LayerResult, verdict: Verdict) -> str:
    if is_first_difference(result, verdict):
        return "≠ first to differ"
    if differs(result.error, verdict.tolerance):
        return "≠ differs"
    return "= equal" if result.error else "= to the bit"


def _emphasis(result: LayerResult, verdict: Verdict) -> str | None:
    if is_first_difference(result, verdict):
        return "first"
    return "differs" if differs(result.error, verdict.tolerance) else None
