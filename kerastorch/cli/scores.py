"""Scores to rows: what a model's output says of pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np


def softmax(logits: np.ndarray) -> np.ndarray:
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


def read_labels(path: str, classes: int) -> list[str]:
    """A label for each class, from lines of text or from JSON.

    JSON is a list in the order of the classes, or an object from label to index, as Keras's data
    generators give it in `class_indices`.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
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
