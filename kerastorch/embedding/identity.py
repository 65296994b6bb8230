"""What tells one run from another: with the same, two runs compute the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..convert.config import model_config, to_json
from ..convert.tensor_bytes import write_tensor
from ..engine import Model
from ..picture_files import PictureBatches, shown


def identity_of(
    model: Model,
    device: torch.device,
    batches: PictureBatches,
    folder: Path,
) -> dict[str, Any]:
    """What the vectors of a run depend on, as plain data.

    Args:
        model: gives the vectors.
        device: where it computes.
        batches: the pictures.
        folder: that they are listed in.
    """
    return {
        "model": model.name.removesuffix("_embedder"),
        "layer": model.output_names[0],
        "preprocessing": repr(batches.preprocessing),
        "batch size": batches.size,
        "device": device.type,
        "torch": torch.__version__,
        "layers and weights": _digest_of_model(model),
        "pictures": _digest_of_listing(batches.paths, folder),
    }


class _Digest:
    """A hash that is written to like a file."""

    def __init__(self):
        self._hash = hashlib.sha256()
        self.write = self._hash.update

    def text(self) -> str:
        return self._hash.hexdigest()


def _digest_of_model(model: Model) -> str:
    digest = _Digest()
    try:
        description = to_json(model_config(model))
    except ValueError:  # it has modules that Keras has no layer for
        description = repr(model)
    digest.write(description.encode())
    for key, tensor in model.state_dict().items():
        digest.write(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        write_tensor(digest, tensor)
    return digest.text()


def _digest_of_listing(paths: Sequence[Path], folder: Path) -> str:
    """Of the files' names, sizes and times of change."""
    digest = _Digest()
    for path in paths:
        try:
            status = os.stat(path)
            state = f"{status.st_size} {status.st_mtime_ns}"
        except OSError:  # a link to nowhere, say, of which reading will tell
            state = "unreadable"
        digest.write(f"{shown(path.relative_to(folder))}\0{state}\n".encode())
    return digest.text()
