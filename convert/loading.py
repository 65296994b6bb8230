"""Loading weights into a model, and opening whole models."""

from __future__ import annotations

import hashlib
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from kerastorch.engine import Model

from .config import model_from_config
from .errors import WeightsError
from .keras_files import HDF5_SIGNATURE, ZIP_SIGNATURE, open_keras_file, signature
from .matching import match
from .safetensors_files import read_safetensors, saved_model_config


def load_weights(model: Model, filepath: str | PathLike) -> None:
    """Fills a model from a file of Keras or a `.safetensors` file; see `Model.load_weights`."""
    path = Path(filepath)
    if _is_keras_file(path):
        _fill(model, _read_weights(model, path))
    else:
        _fill(model, read_safetensors(model, path))


def load_model(filepath: str | PathLike) -> Model:
    """Opens a whole model; see `kerastorch.load_model`."""
    path = Path(filepath)
    if not _is_keras_file(path):
        model = _build(saved_model_config(path))
        _fill(model, read_safetensors(model, path), keep_types=True)
        return model
    with open_keras_file(path) as file:
        config = file.model_config
    if config is None:
        raise WeightsError(
            f"{str(path)!r} holds only weights: build the model and call its load_weights."
        )
    model = _build(config)
    _fill(model, _read_weights(model, path), keep_types=True)
    return model


def describe_file(filepath: str | PathLike) -> dict[str, str | None]:
    """What a converted file keeps of its source: the name, the SHA-256 and Keras's version."""
    path = Path(filepath)
    version = None
    if _is_keras_file(path):
        with open_keras_file(path) as file:
            version = file.keras_version
    return {"name": path.name, "sha256": _sha256(path), "keras_version": version}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _is_keras_file(path: Path) -> bool:
    first = signature(path)
    return first == HDF5_SIGNATURE or first.startswith(ZIP_SIGNATURE)


def _build(config: dict) -> Model:
    """The model of a config, nothing initialised: its tensors are about to be replaced."""
    with torch.device("meta"):
        return model_from_config(config)


def _read_weights(model: Model, path: Path) -> dict[str, Tensor]:
    with open_keras_file(path) as file:
        return {
            key: rule.to_torch(torch.from_numpy(np.asarray(array))).contiguous()
            for key, rule, array in match(model, file, path.name)
        }


@torch.no_grad()
def _fill(model: Model, weights: dict[str, Tensor], keep_types: bool = False) -> None:
    """Puts weights that have been checked into the model.

    Tensors on the meta device are replaced by those of the file; other tensors keep their place and
    type.
    """
    current = model.state_dict(keep_vars=True)
    if not any(current[key].is_meta for key in weights):
        model.load_state_dict(weights, strict=False)
        return
    if not keep_types:
        weights = {key: tensor.to(current[key].dtype) for key, tensor in weights.items()}
    model.load_state_dict(weights, strict=False, assign=True)
