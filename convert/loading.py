"""Loading weights into a model, opening whole models, and converting files."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kerastorch.engine import Model
from kerastorch.engine.layer import is_batch_count
from kerastorch.layers import BatchNormalization

from .config import model_from_config
from .errors import KerasFileError, reading
from .keras_files import (
    KerasFile,
    is_keras_file,
    is_sharded,
    read_keras_file,
    read_sharded,
    shards_of,
)
from .keras_writing import save_converted
from .matching import match
from .report import LoadReport
from .safetensors_files import read_safetensors, saved_model_config, source_epsilon
from .tensorflowjs_files import is_tensorflowjs, read_tensorflowjs, tensorflowjs_parts
from .unverified import open_regular

Weights = dict[str, Tensor]


def load_weights(
    model: Model, filepath: str | PathLike, by_name: bool = False, skip_mismatch: bool = False
) -> LoadReport:
    """Fills a model from a file; see `Model.load_weights`."""
    path = Path(filepath)
    with reading(path):
        file = read_file(path)
        weights, report, epsilon = _weights_for(model, path, file, by_name, skip_mismatch)
        _set_epsilon(model, epsilon)
        _fill(model, weights, file)
    return report


def load_model(filepath: str | PathLike) -> Model:
    """Opens a whole model; see `kerastorch.load_model`."""
    path = Path(filepath)
    with reading(path):
        file = read_file(path)
        model, weights = open_unfilled(path, file)
        _place(model, _own(weights, file))
    return model


def convert_file(
    source: str | PathLike, output: str | PathLike, model: Model | None = None
) -> Model:
    """Writes a file of Keras as `.safetensors`, or in another of Keras's formats.

    Large weights go from one file to the other in blocks and never stand in memory as a whole.

    Args:
        source: the file of Keras.
        output: where to, ending in `.safetensors`, `.keras`, `.h5` (a whole legacy file) or
            `.weights.h5`; a file there is replaced when the new one is complete.
        model: for a file of weights only, the model that they belong to, which may stand on the
            meta device. Its weights become views of the source.

    Returns:
        The model, its weights mapped from the source.

    Raises:
        KerasFileError: the source is broken or does not fit.
        ValueError: the output has another ending, or Keras has no layer for one in the model.
        OSError: the output cannot be written.
    """
    model, description = map_file(source, model)
    save_converted(model, output, description)
    return model


def map_file(source: str | PathLike, model: Model | None = None) -> tuple[Model, dict[str, Any]]:
    """A file's model, its weights views of the mapped file, and what `describe_file` tells.

    An `epsilon` is with it if the weights go with another one than the architecture's.

    The arguments and errors are those of `convert_file`.
    """
    path = Path(source)
    with reading(path), ThreadPoolExecutor(1) as hashing:
        sha256 = hashing.submit(sha256_of, path)  # while the file is parsed and matched
        file = read_file(path)
        epsilon = None
        if model is None:
            model, weights = open_unfilled(path, file)
        else:
            weights, _, epsilon = _weights_for(model, path, file)
            _set_epsilon(model, epsilon)
        _place(model, weights)
        description = _describe(path, file, sha256.result())
    return model, description if epsilon is None else {**description, "epsilon": epsilon}


def describe_file(filepath: str | PathLike) -> dict[str, str | None]:
    """What a converted file keeps of its source: the name, the SHA-256 and Keras's version."""
    path = Path(filepath)
    with reading(path):
        return _describe(path, read_file(path), sha256_of(path))


def _describe(path: Path, file: KerasFile | None, sha256: str) -> dict[str, str | None]:
    version = file.keras_version if file else None
    return {"name": path.name, "sha256": sha256, "keras_version": version}


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, or of a model of several files as if they were one."""
    digest = hashlib.sha256()
    for part in _parts(path):
        with open_regular(part) as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _parts(path: Path) -> list[Path]:
    if is_sharded(path):
        return [path, *shards_of(path)]
    return tensorflowjs_parts(path) if is_tensorflowjs(path) else [path]


def read_file(path: Path) -> KerasFile | None:
    """What a file of Keras holds; None for `.safetensors`, which are read for a model."""
    if is_sharded(path):
        return read_sharded(path)
    if is_tensorflowjs(path):
        return read_tensorflowjs(path)
    return read_keras_file(path) if is_keras_file(path) else None


def _weights_for(
    model: Model,
    path: Path,
    file: KerasFile | None,
    by_name: bool = False,
    skip_mismatch: bool = False,
) -> tuple[Weights, LoadReport, float | None]:
    """The tensors for a model, views of the mapped file, and their epsilon, see `Match`."""
    if file is None:
        weights, report = read_safetensors(model, path, by_name, skip_mismatch)
        return weights, report, source_epsilon(path)
    assignments, report, epsilon = match(model, file, path.name, by_name, skip_mismatch)
    return {assignment.key: assignment.tensor() for assignment in assignments}, report, epsilon


def _set_epsilon(model: Model, epsilon: float | None) -> None:
    if epsilon is None:
        return
    for module in model.modules():
        if isinstance(module, BatchNormalization):
            module.epsilon = module.eps = epsilon


def open_unfilled(path: Path, file: KerasFile | None) -> tuple[Model, Weights]:
    """A whole model without its weights, on the meta device, and the weights."""
    config = saved_model_config(path) if file is None else file.model_config
    if config is None:
        raise KerasFileError(
            "The file holds only weights: build the model and call its load_weights."
        )
    with torch.device("meta"):  # Nothing is initialised: its tensors are about to be replaced.
        model = model_from_config(config)
    return model, _weights_for(model, path, file)[0]


def _own(weights: Weights, file: KerasFile | None) -> Weights:
    """Copies of what are views of a file of Keras, laid out as torch lays out new tensors.

    No change of that file can then reach the model. The tensors of `.safetensors` files stay
    mapped, as their users expect.
    """
    if file is None:
        return weights
    contiguous = torch.contiguous_format
    return {key: tensor.clone(memory_format=contiguous) for key, tensor in weights.items()}


def _fill(model: Model, weights: Weights, file: KerasFile | None) -> None:
    """Puts weights that have been checked into the model.

    Tensors on the meta device are replaced; others keep their place and type.
    """
    current = model.state_dict(keep_vars=True)
    if any(current[key].is_meta for key in weights):
        owned = _own(weights, file)
        _place(model, {key: tensor.to(current[key].dtype) for key, tensor in owned.items()})
    else:
        model.load_state_dict(weights, strict=False)


def _place(model: Model, weights: Weights) -> None:
    """Makes the weights themselves the model's.

    As `load_state_dict(..., assign=True)` does, in time quadratic in the number of layers. Torch's
    counts of batches, which no file of Keras has, start at zero.
    """
    counts = (
        key for key, tensor in model.named_buffers() if is_batch_count(key) and tensor.is_meta
    )
    weights = {**{key: torch.tensor(0) for key in counts}, **weights}
    modules = dict(model.named_modules(remove_duplicate=False))
    for key, tensor in weights.items():
        path, _, name = key.rpartition(".")
        current = getattr(modules[path], name)
        if tensor.is_floating_point() != current.is_floating_point():
            tensor = tensor.to(current.dtype)  # as Keras does
        if isinstance(current, nn.Parameter):
            tensor = nn.Parameter(tensor, current.requires_grad)
        setattr(modules[path], name, tensor)
