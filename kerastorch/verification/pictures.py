"""Input pictures and what both models say of them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from PIL import Image

from ..applications.imagenet_utils import best_labels
from .verdict import Picture

THUMBNAIL = (160, 160)  # pixels


def seen_pictures(
    pictures: Sequence[str | PathLike],
    theirs: list[np.ndarray],
    ours: list[np.ndarray],
    labels: Sequence[str] | None,
) -> Iterator[Picture]:
    """The pictures with the best classes of both, as far as the models give one row of scores."""
    if not pictures or not ours:
        return
    is_classifier = len(theirs) == 1 and theirs[0].ndim == 2
    if is_classifier and labels is not None:
        labels = labels[-theirs[0].shape[1] :]  # a single score is of the second of two classes
    best = [
        best_labels(outputs[0], labels) if is_classifier else [()] * len(pictures)
        for outputs in (theirs, ours)
    ]
    for path, reference, model in zip(map(Path, pictures), *best, strict=True):
        rows = [tuple((name, float(score)) for name, score in row) for row in (reference, model)]
        yield Picture(path.name, _thumbnail(path), *rows)


def _thumbnail(path: Path) -> bytes:
    with Image.open(path) as image:
        small = image.convert("RGB")
        small.thumbnail(THUMBNAIL)
    buffer = io.BytesIO()
    small.save(buffer, "PNG")
    return buffer.getvalue()
