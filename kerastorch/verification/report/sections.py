"""The parts of the report."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable
from datetime import datetime, timezone
from xml.etree.ElementTree import Element

from ..verdict import Cause, Divergence, Picture, Subject, Verdict
from .markup import Content, element, foreign, name, short_name
from .plot import plot
from .table import layer_table
from .wording import count, figure, first_difference, has_float32

Scores = tuple[tuple[str, float], ...]


def headline(verdict: Verdict) -> str:
    return "Equal" if verdict.is_equal else "Not equal"


def sections(verdict: Verdict) -> list[Element]:
    """The whole content of the page: the verdict, and the parts that there is something for."""
    parts = [_verdict(verdict)]
    if verdict.divergence is not None:
        parts.append(_causes(verdict.divergence))
    if verdict.unmatched:
        names = [element("li", name(layer)) for layer in verdict.unmatched]
        parts.append(_section("Only on one side", element("ul", *names, class_="names")))
    if verdict.notes:
        parts.append(_section("Notes", *(element("p", note) for note in verdict.notes)))
    if verdict.layers:
        parts.append(_section("Error by layer", _meaning(verdict), plot(verdict)))
    if verdict.pictures:
        parts.append(_section("Pictures", *(_picture(picture) for picture in verdict.pictures)))
    parts.append(_section("What was compared", *_compared(verdict)))
    if verdict.layers:
        parts.append(_section("Layers", layer_table(verdict)))
    return [*parts, element("footer", f"Made on {_now()} by kerastorch.")]


def _section(title: str, *content: Content) -> Element:
    return element("section", element("h2", title), *content)


def _now() -> str:
    return f"{datetime.now(timezone.utc):%Y-%m-%d at %H:%M} UTC"


def _verdict(verdict: Verdict) -> Element:
    sign = element("span", "=" if verdict.is_equal else "≠", class_="sign", aria_hidden="true")
    return element(
        "header",
        element("p", "Verification of a converted model", class_="kind"),
        element("h1", sign, headline(verdict)),
        element(
            "p", short_name(verdict.model.name), " beside ", short_name(verdict.reference.name)
        ),
        _sentence(verdict),
        _facts(_figures(verdict)),
        element("div", *(element("span", of) for of in ("Name", "Date", "Signature")), id="sign"),
        class_="equal" if verdict.is_equal else "unequal",
    )


def _sentence(verdict: Verdict) -> Element:
    if verdict.divergence is not None:
        return _first_difference(verdict.divergence, first_difference(verdict))
    if verdict.unmatched:
        one_side = count(len(verdict.unmatched), "layer")
        return element("p", f"What both have agrees, but {one_side} stand on one side only.")
    layers = count(len(verdict.layers), "layer")
    return element("p", f"The outputs of all {layers} agree within the tolerance.")


def _first_difference(divergence: Divergence, position: int | None) -> Element:
    layer, causes = divergence.layer, divergence.causes
    return element(
        "p",
        "The first layer that differs, by ",
        _unbroken(layer.error),
        f", is number {layer.number:,}, ",
        element("a", short_name(layer.path), href=f"#layer-{position}"),
        " (",
        foreign(layer.class_name),
        f"). Likely cause: {causes[0].kind}." if causes else "). No cause was found.",
    )


def _figures(verdict: Verdict) -> Iterable[tuple[str, Element]]:
    """The verdict in figures."""
    yield "Largest difference", element("b", figure(verdict.largest_error))
    yield "Tolerance", element("b", figure(verdict.tolerance))
    yield "Layers compared", element("b", f"{len(verdict.layers):,}")
    yield "Only on one side", element("b", f"{len(verdict.unmatched):,}")


def _facts(facts: Iterable[tuple[str, Content]]) -> Element:
    pairs = (element("div", element("dt", what), element("dd", fact)) for what, fact in facts)
    return element("dl", *pairs)


def _causes(divergence: Divergence) -> Element:
    """The causes that were found, or that none was, and what was tried."""
    names = ", ".join(divergence.tried)
    tried = element("p", f"Tried: {names}.", class_="quiet") if names else None
    if not divergence.causes:
        nothing = "No change that was tried brings the layer's output to the reference's."
        return _section("No cause was found", element("p", nothing), tried)
    title = "Likely cause" if len(divergence.causes) == 1 else "Likely causes, the closest first"
    return _section(title, *(_cause(cause) for cause in divergence.causes), tried)


def _cause(cause: Cause) -> Element:
    title = f"{cause.kind[:1].upper()}{cause.kind[1:]}"
    words = f"{cause.explanation} With that corrected, the layer's error is "
    return element("div", element("h3", title), element("p", words, _unbroken(cause.error), "."))


def _unbroken(value: float) -> Element:
    """A figure in a sentence, where a line must not end at its minus sign."""
    return element("span", figure(value), class_="unbroken")


def _meaning(verdict: Verdict) -> Element:
    text = (
        "A layer's error is the largest difference between the two outputs, relative to the "
        "largest value of the reference's output; it is 0 where they are equal to the bit."
    )
    if any(has_float32(verdict)):
        text += (
            " In float32 each model's output is held against the reference's in float64, so that "
            "rounding shows."
        )
    return element("p", text)


def _picture(picture: Picture) -> Element:
    pixels = base64.b64encode(picture.png).decode("ascii")
    scale = max([1.0, *(s for _, s in picture.reference + picture.model if math.isfinite(s))])
    return element(
        "article",
        element("img", src=f"data:image/png;base64,{pixels}", alt=f"The picture {picture.name}"),
        element("h3", name(picture.name)),
        element("p", _agreement(picture), class_="quiet"),
        _best("Reference", picture.reference, picture.model, scale),
        _best("This model", picture.model, picture.reference, scale),
    )


def _agreement(picture: Picture) -> str:
    ours, theirs = ([label for label, _ in best] for best in (picture.model, picture.reference))
    if ours != theirs:
        return "≠ The best classes differ."
    pairs = zip(picture.model, picture.reference, strict=True)
    differences = [abs(model - reference) for (_, model), (_, reference) in pairs]
    largest = max(differences, key=lambda x: math.inf if math.isnan(x) else x, default=0.0)
    return f"= The same classes in the same order; the scores differ by {figure(largest)} at most."


def _best(title: str, best: Scores, other: Scores, scale: float) -> Element:
    """A model's best classes with a bar for each score; those the other has elsewhere stand out."""
    entries = []
    for rank, (label, score) in enumerate(best):
        same = rank < len(other) and other[rank][0] == label
        width = 100 * max(0.0, score / scale) if math.isfinite(score) else 0.0
        entries.append(
            element(
                "li",
                element("span", None if same else "≠ ", foreign(label)),
                element("span", f"{score:.4g}", class_="figure"),
                element("span", class_="bar", style=f"width: {width:.1f}%"),
                class_=None if same else "differs",
            )
        )
    return element("div", element("h4", title), element("ol", *entries), class_="best")


def _compared(verdict: Verdict) -> Iterable[Element]:
    subjects = (verdict.reference, verdict.model)
    titles = (element("th", title, scope="col") for title in ("", "Reference", "This model"))
    yield element(
        "table",
        element("thead", element("tr", *titles)),
        element(
            "tbody",
            _row("Name", *(name(subject.name) for subject in subjects)),
            _row("Runs on", *(foreign(subject.runs_on) for subject in subjects)),
            _row("Parameters", *(_parameters(subject) for subject in subjects)),
            _row("SHA-256", *(element("code", subject.sha256 or "–") for subject in subjects)),
        ),
        class_="subjects",
    )
    versions = ", ".join(f"{package} {version}" for package, version in verdict.versions.items())
    yield _facts([("Inputs", verdict.inputs), ("Versions", versions or "–")])


def _row(title: str, *cells: Content) -> Element:
    return element(
        "tr", element("th", title, scope="row"), *(element("td", cell) for cell in cells)
    )


def _parameters(subject: Subject) -> str:
    return "–" if subject.parameters is None else f"{subject.parameters:,}"
