"""What differs between two models, as plain data that prints as a table."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from os.path import commonprefix
from typing import Any

from ...convert.errors import shorten
from ..plain import in_json


@dataclass(frozen=True)
class Source:
    """What was compared.

    Attributes:
        name: the file's name, or the model's.
        format: `keras`, `h5` (legacy), `weights.h5`, `safetensors`, `tensorflowjs` or `memory`.
        holds_model: whether there is a model, not only its weights.
        keras_version, backend: those that wrote the file, None where it does not say.
        sha256: of the file, None for a model in memory.
        converted_from: name, SHA-256 and Keras version of the file that a `.safetensors` file was
            made from, where it says so.
    """

    name: str
    format: str
    holds_model: bool = True
    keras_version: str | None = None
    backend: str | None = None
    sha256: str | None = None
    converted_from: dict[str, Any] | None = None

    def __str__(self) -> str:
        facts = [self.format if self.holds_model else f"{self.format}, weights only"]
        if self.keras_version:
            facts.append(f"Keras {self.keras_version}")
        if self.backend:
            facts.append(self.backend)
        if self.sha256:
            facts.append(f"SHA-256 {self.sha256[:12]}")
        if self.converted_from:
            facts.append(f"from {self.converted_from.get('name')}")
        return f"{self.name} ({', '.join(facts)})"


@dataclass(frozen=True)
class Change:
    """Something of a layer that is one thing in A and another in B.

    Attributes:
        what: `name`, `class`, `trainable`, `inputs`, an argument of the class, and so on.
        a, b: what it is on either side, as plain data.
    """

    what: str
    a: Any
    b: Any

    def __str__(self) -> str:
        a, b = _excerpts(str(self.a), str(self.b))
        return f"{self.what}: {a} in A, {b} in B"


LONGEST = 80  # characters of a text of which a part will do


def _excerpts(*texts: str) -> Iterator[str]:
    """The texts, of long ones the part where they begin to differ."""
    start = max(0, len(commonprefix(texts)) - LONGEST // 4)
    for text in texts:
        if max(map(len, texts)) <= LONGEST:
            yield text
        else:
            part = text[start : start + LONGEST]
            yield f"{'...' if start else ''}{part}{'...' if start + LONGEST < len(text) else ''}"


@dataclass(frozen=True)
class ValueChange:
    """An array whose values differ.

    Attributes:
        weight: the array's name in its layer.
        shape: Keras's.
        differing: how many values differ, to the bit where the types are the same.
        absolute: the largest difference between two numbers; infinite if one of them is.
        relative: `absolute` relative to the largest finite number in A's array.
        nan_in_a, nan_in_b: how many values are not a number on this side alone.
    """

    weight: str
    shape: tuple[int, ...]
    differing: int
    absolute: float
    relative: float
    nan_in_a: int = 0
    nan_in_b: int = 0

    def __str__(self) -> str:
        text = (
            f"{self.weight}: {self.differing:,} of {math.prod(self.shape):,} values differ, "
            f"by {self.absolute:.2g} at most (relative {self.relative:.2g})"
        )
        for side, count in (("A", self.nan_in_a), ("B", self.nan_in_b)):
            if count:
                text += f"; {count:,} not a number in {side} alone"
        return text


@dataclass(frozen=True)
class LayerDifference:
    """A layer that differs.

    Attributes:
        a, b: its path on either side, `base/conv1` for a layer of a model within, None where it is
            missing; the whole model is "".
        class_name: its class, None where a file of weights does not tell.
        changes: what else it is in B.
        values: the arrays whose values differ.
    """

    a: str | None
    b: str | None
    class_name: str | None = None
    changes: tuple[Change, ...] = ()
    values: tuple[ValueChange, ...] = ()

    @property
    def path(self) -> str:
        return (self.b if self.a is None else self.a) or "(model)"

    def describe(self) -> str:
        """What differs, a line each."""
        if self.a is None or self.b is None:
            return f"only in {'B' if self.a is None else 'A'}"
        return "\n".join(map(str, (*self.changes, *self.values)))


@dataclass(frozen=True)
class Difference:
    """How two models, or two sets of weights, differ; it prints as a short table.

    Attributes:
        a, b: what was compared.
        equal_layers: how many layers are equal in everything.
        layers: the others, in the order of A; those that only B has at the end.
        matched_by: how A's layers found B's.
        notes: what else the reader should know, in sentences.
    """

    a: Source
    b: Source
    equal_layers: int
    layers: tuple[LayerDifference, ...]
    matched_by: str
    notes: tuple[str, ...] = ()

    @property
    def is_equal(self) -> bool:
        """Whether no layer differs; the versions and formats of files may."""
        return not self.layers

    @property
    def heading(self) -> str:
        """What was compared, and how many layers differ."""
        count = self.equal_layers + len(self.layers)
        if self.is_equal:
            verdict = f"Equal in all of {count} layers."
        else:
            verdict = f"Different in {len(self.layers)} of {count} layers."
        matched = f"Layers are matched {self.matched_by}."
        return "\n".join([f"A: {self.a}", f"B: {self.b}", verdict, matched, *self.notes])

    def rows(self) -> list[tuple[str, str, str]]:
        """Layers, class and difference; layers that differ in the same way share a row."""
        groups: dict[tuple[str, str], list[str]] = {}
        for layer in self.layers:
            groups.setdefault((layer.class_name or "", layer.describe()), []).append(layer.path)
        return [(shorten(paths, 3), *group) for group, paths in groups.items()]

    def to_json(self) -> dict[str, Any]:
        """Everything as plain data; what is not finite is `"inf"`, `"-inf"` or `"nan"`."""
        return {"equal": self.is_equal, **in_json(asdict(self))}

    def __str__(self) -> str:
        lines = [self.heading]
        for layers, class_name, description in self.rows():
            lines.append(f"  {layers} ({class_name})" if class_name else f"  {layers}")
            lines += [f"    {line}" for line in description.splitlines()]
        return "\n".join(lines)
