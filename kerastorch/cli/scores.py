"""Scores to rows: what a model's output says of pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..applications.imagenet_utils import CLASSES, class_names
from ..engine import Model
from ..scores import final_activation, number_of_classes, number_of_told_classes


@dataclass(frozen=True)
class Best:
    """A class of those with the highest scores for a picture."""

    index: int
    label: str
    score: float


def best_classes(scores: Tensor, labels: Sequence[str], top: int) -> list[list[Best]]:
    """For each row of scores the `top` classes that have the highest, best first."""
    values, indices = scores.sort(dim=1, descending=True, stable=True)
    return [
        [
            Best(index, labels[index], score)
            for index, score in zip(*(row[:top].tolist() for row in rows), strict=True)
        ]
        for rows in zip(indices, values, strict=True)
    ]


def labels_for(model: Model, path: str | None) -> list[str]:
    """A label for each class of a model: those in a file, ImageNet's, or numbers."""
    classes = number_of_told_classes(model)
    if path is not None:
        return read_labels(path, classes)
    return class_names() if classes == CLASSES else [f"class {i}" for i in range(classes)]


def meaning(model: Model) -> str | None:
    """A sentence on how scores come about, where they are not the model's outputs."""
    if final_activation(model) is not None:
        return None
    if number_of_classes(model) == 1:
        return "The scores are the sigmoid of the model's output, which is a logit."
    return "The scores are the softmax of the model's outputs, which are logits."


def read_labels(path: str, classes: int) -> list[str]:
    """A label for each class, from lines of text or from JSON.

    JSON is a list in the order of the classes, or an object from label to index, as Keras's data
    generators give it in `class_indices`.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        labels = _labels_in_json(text) if path.endswith(".json") else _labels_in_lines(text)
    except ValueError as error:
        raise ValueError(f"{path}: not a file of labels: {error}") from None
    if len(labels) != classes:
        raise ValueError(f"{path}: {len(labels)} labels, but the model has {classes} classes")
    return labels


def _labels_in_lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _labels_in_json(text: str) -> list[str]:
    labels = json.loads(text)
    if isinstance(labels, dict):
        indices = sorted(index for index in labels.values() if isinstance(index, int))
        if indices == list(range(len(labels))):
            return sorted(labels, key=labels.__getitem__)
    if isinstance(labels, list) and all(isinstance(label, str) for label in labels):
        return labels
    raise ValueError("expected a list of labels, or an object from label to index")
