"""What came of loading weights."""

from __future__ import annotations

from dataclasses import dataclass, field

from .errors import shorten


@dataclass(frozen=True)
class LoadReport:
    """What `load_weights` did; it prints as a short table.

    Attributes:
        model: the model's name.
        file: the file's name.
        matched_by: how the file's layers found the model's: "name", "order", "path" or, in
            `.safetensors` files, "key".
        loaded: the layers (or keys) that have been filled.
        missing: those of the model that the file has nothing for; they keep their values.
        unexpected: those of the file that the model has no place for.
        mismatched: those left as they were because their shapes differ, with both shapes.
        notes: what else was done, in sentences.
    """

    model: str
    file: str
    matched_by: str
    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether everything in the model was filled and everything in the file used."""
        return not (self.missing or self.unexpected or self.mismatched)

    def __str__(self) -> str:
        rows = [
            f"{self.file} into {self.model}, matched by {self.matched_by}",
            f"  loaded      {len(self.loaded):5}",
            *_row("missing", self.missing),
            *_row("unexpected", self.unexpected),
            *_row("mismatched", self.mismatched),
            *(f"  {note}" for note in self.notes),
        ]
        return "\n".join(rows)


def _row(title: str, names: list[str]) -> list[str]:
    return [f"  {title:<11} {len(names):5}  {shorten(names)}"] if names else []
