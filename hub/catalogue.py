"""All published files of weights, as the registry of models has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from kerastorch.applications.construction import for_published_weights
from kerastorch.applications.published import ADDRESS, PublishedWeights
from kerastorch.applications.registry import ModelRecord, get_record, list_models
from kerastorch.config import data_format_scope
from kerastorch.engine import Model


@dataclass(frozen=True)
class Checkpoint:
    """A published file of weights, and the model that it belongs to.

    Attributes:
        record: the model, with its licence, preprocessing and accuracies.
        weights: the file.
    """

    record: ModelRecord
    weights: PublishedWeights

    @property
    def address(self) -> str:
        """Where Keras publishes it."""
        return f"{self.weights.address or ADDRESS}/{self.weights.path}"

    @property
    def converted_file(self) -> str:
        """The name of the safetensors file that it becomes."""
        return self.weights.file.removesuffix(".h5") + ".safetensors"

    @property
    def size(self) -> int:
        """Height and width in pixels of the images it was trained on."""
        return self.weights.size or self.record.default_size

    @property
    def title(self) -> str:
        """The model in words, such as `mobilenet, alpha 0.5, 128 x 128, without classifier`."""
        words = [self.record.name]
        if self.weights.minimalistic:
            words.append("minimalistic")
        if self.weights.alpha is not None:
            words.append(f"alpha {self.weights.alpha}")
        if self.weights.size is not None:
            words.append(f"{self.size} x {self.size}")
        if not self.weights.include_top:
            words.append("without classifier")
        return ", ".join(words)

    @property
    def arguments(self) -> dict[str, Any]:
        """What the constructor is given, in channels-last, beside Keras's defaults."""
        arguments = {
            "include_top": self.weights.include_top,
            "input_shape": (self.size, self.size, 3),
        }
        if self.weights.alpha is not None:
            arguments["alpha"] = self.weights.alpha
        if self.weights.minimalistic:
            arguments["minimalistic"] = True
        return arguments

    def build(self) -> Model:
        """The model, unfilled on the meta device."""
        with torch.device("meta"), data_format_scope("channels_last"), for_published_weights():
            return self.record.constructor(weights=None, **self.arguments)


def checkpoints() -> list[Checkpoint]:
    """All published files, by model."""
    records = map(get_record, list_models())
    return [Checkpoint(record, weights) for record in records for weights in record.weights]


def checkpoints_of(name: str) -> list[Checkpoint]:
    """The published files of a model, or the one that has a name.

    Args:
        name: of a model, as `get_record` takes it, or of a file in Keras's cache.

    Raises:
        ValueError: there is neither.
    """
    files = [checkpoint for checkpoint in checkpoints() if checkpoint.weights.file == name]
    if files:
        return files
    record = get_record(name)
    return [Checkpoint(record, weights) for weights in record.weights]
