"""Scores to rows: what a model's output says of pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from .. import activations
from ..engine import Model


def number_of_classes(model: Model) -> int:
    if len(model.outputs) != 1 or len(model.output_shape) != 2:
        raise ValueError(
            f"predict takes models that give one row of scores, not {model.output_shape}"
        )
    return model.output_shape[1]


def ends_in_probabilities(model: Model) -> bool:
    last = model.outputs[0].node.module
    if isinstance(last, Model):
        return ends_in_probabilities(last)
    own = getattr(last, "activation", None)
    return type(last).__name__ == "Softmax" or own in activations.PROBABILITIES


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
