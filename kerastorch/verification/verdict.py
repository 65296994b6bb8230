"""What a verification has found, as plain data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .plain import in_json

TOLERANCE = 1e-12  # in float64, relative to the largest value of a layer's output


@dataclass(frozen=True)
class LayerResult:
    """One layer's output beside the reference's.

    Attributes:
        number: when the layer runs, from 1; a layer that is called twice has two results.
        path: the layer's name, behind the names of the models it stands in: `base/conv1`.
        class_name: the layer's class in the reference.
        shape: Keras's shape of the (first) output, with the batch.
        largest: the largest absolute value in the reference's output.
        error: the largest difference in float64, relative to `largest`.
        error_float32: the largest difference of the float32 output from the reference's float64
            one, relative to `largest`; None where float32 was not compared.
        reference_float32: the same of the reference's own float32 output.
        tolerance: the largest error that counts as equal here, None for the verdict's.
    """

    number: int
    path: str
    class_name: str
    shape: tuple[int, ...]
    largest: float
    error: float
    error_float32: float | None = None
    reference_float32: float | None = None
    tolerance: float | None = None


@dataclass(frozen=True)
class Cause:
    """A change of the diverging layer that was tried, and how far it leads.

    Attributes:
        kind: what is wrong: `epsilon`, `padding`, `kernel order` and so on.
        explanation: a sentence that says what differs and what would be right.
        error: the layer's error that remains with the change.
    """

    kind: str
    explanation: str
    error: float


@dataclass(frozen=True)
class Divergence:
    """The first layer whose output differs, and why.

    Attributes:
        layer: the layer.
        causes: the changes that bring its output to the reference's, the closest first; empty if
            none of those tried does.
        tried: the kinds of changes that were tried.
    """

    layer: LayerResult
    causes: tuple[Cause, ...] = ()
    tried: tuple[str, ...] = ()

    def __str__(self) -> str:
        place = f"{self.layer.path} ({self.layer.class_name})"
        if self.causes:
            return f"{place}: {self.causes[0].kind}. {self.causes[0].explanation}"
        return f"{place}: for no reason among those tried ({', '.join(self.tried)})."


@dataclass(frozen=True)
class Picture:
    """An input picture and what both models say of it.

    Attributes:
        name: the file's name.
        png: a small version of it, as the bytes of a PNG file.
        reference: the reference's best classes, each a label and its score.
        model: the model's.
    """

    name: str
    png: bytes
    reference: tuple[tuple[str, float], ...]
    model: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Subject:
    """What was compared.

    Attributes:
        name: the file's name, or the model's.
        runs_on: what computes it: `Keras 3.15.1 on TensorFlow 2.21.0`, `a stored reference`.
        sha256: of the file, None for a model in memory.
        parameters: how many it has, None where they are not known.
    """

    name: str
    runs_on: str
    sha256: str | None = None
    parameters: int | None = None


@dataclass(frozen=True)
class Verdict:
    """Whether two models are the same, layer by layer; it prints as a few lines.

    Attributes:
        reference, model: what was compared.
        inputs: what both were given, in words.
        layers: a result for each call of a layer, in the order of running.
        divergence: the first difference, None where there is none.
        unmatched: layers that only one side has, or ran.
        notes: what else the reader should know, in sentences.
        pictures: the input pictures, where there are some.
        versions: of the packages that took part, by name.
        tolerance: the largest relative difference in float64 that still counts as equal.
    """

    reference: Subject
    model: Subject
    inputs: str
    layers: tuple[LayerResult, ...]
    divergence: Divergence | None = None
    unmatched: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    tolerance: float = TOLERANCE

    @property
    def is_equal(self) -> bool:
        return self.divergence is None and not self.unmatched and bool(self.layers)

    @property
    def largest_error(self) -> float:
        """The largest error in float64 among what is judged by the verdict's own tolerance.

        What is not a number counts as infinite.
        """
        errors = (result.error for result in self.layers if result.tolerance is None)
        return max((math.inf if math.isnan(error) else error for error in errors), default=0.0)

    def agrees(self, result: LayerResult) -> bool:
        """Whether a layer's error is within the tolerance; not a number is not."""
        return result.error <= (self.tolerance if result.tolerance is None else result.tolerance)

    def to_json(self) -> dict[str, Any]:
        """Everything but the pictures' pixels, as plain data."""
        content = asdict(self)
        for picture in content["pictures"]:
            del picture["png"]
        content = {"equal": self.is_equal, "largest_error": self.largest_error, **content}
        return in_json(content)

    def __str__(self) -> str:
        if self.model.name == self.reference.name:
            names = f"{self.model.name} here and in {self.reference.runs_on}"
        else:
            names = f"{self.model.name} and {self.reference.name}"
        return "\n".join([*self._headline(names), *self.notes])

    def _headline(self, names: str) -> Sequence[str]:
        if self.is_equal:
            return [
                f"Equal: {names} agree in all {len(self.layers)} layers; "
                f"the largest relative difference is {self.largest_error:.1e}."
            ]
        lines = [f"Not equal: {names} differ."]
        if self.divergence is not None:
            error = self.divergence.layer.error
            lines.append(f"The first layer that differs, by {error:.1e}: {self.divergence}")
        if self.unmatched:
            lines.append(f"Only one of them has: {', '.join(self.unmatched)}.")
        return lines
