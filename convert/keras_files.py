"""Reading Keras's files into plain data: stored layers, their arrays in order, and the config."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from .errors import MissingFileError, WeightsError

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
ZIP_SIGNATURE = b"PK\x03\x04"


@dataclass(frozen=True)
class StoredLayer:
    """The arrays of a layer, in Keras's order, and where in the file they stand."""

    name: str
    arrays: tuple[h5py.Dataset, ...]


@dataclass(frozen=True)
class KerasFile:
    """What a file of Keras holds.

    Attributes:
        layers: the layers that have arrays. In a legacy file a nested model is one `StoredLayer` of
            all its arrays.
        by_path: whether the names are paths of class names (`layers/conv2d_1`), not layer names.
        model_config: `class_name` and `config` of a whole model, None in a file of weights.
        keras_version: the version that wrote the file, where it says so.
    """

    layers: list[StoredLayer]
    by_path: bool
    model_config: dict[str, Any] | None = None
    keras_version: str | None = None


def signature(path: Path) -> bytes:
    """The first bytes of a file."""
    try:
        with open(path, "rb") as file:
            return file.read(8)
    except FileNotFoundError:
        raise MissingFileError(f"There is no file {str(path)!r}.") from None
    except IsADirectoryError:
        raise WeightsError(f"{str(path)!r} is a folder, not a file.") from None


@contextmanager
def open_keras_file(path: Path) -> Iterator[KerasFile]:
    """Opens a `.keras`, `.weights.h5` or legacy `.h5` file; its arrays can be read in the block."""
    first = signature(path)
    try:
        if first.startswith(ZIP_SIGNATURE):
            with zipfile.ZipFile(path) as archive:
                # In memory: the archive's own streams seek slowly.
                weights = io.BytesIO(archive.read("model.weights.h5"))
                with h5py.File(weights) as file:
                    yield _read_archive(archive, file)
        elif first == HDF5_SIGNATURE:
            with h5py.File(path) as file:
                yield _read_hdf5(file)
        else:
            raise WeightsError(
                f"{str(path)!r} is no file of Keras: neither HDF5 nor a zip archive."
            )
    except (
        OSError,
        EOFError,
        KeyError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
        json.JSONDecodeError,
    ) as error:
        raise WeightsError(f"{str(path)!r} is broken or cut short: {error}") from error


def _read_archive(archive: zipfile.ZipFile, weights: h5py.File) -> KerasFile:
    metadata = json.loads(archive.read("metadata.json"))
    if not isinstance(metadata, dict):
        raise WeightsError(f"The metadata of {archive.filename!r} are broken: {metadata!r:.80}")
    return KerasFile(
        layers=_layers_by_path(weights),
        by_path=True,
        model_config=json.loads(archive.read("config.json")),
        keras_version=metadata.get("keras_version"),
    )


def _read_hdf5(file: h5py.File) -> KerasFile:
    version = _text(file.attrs.get("keras_version"))
    if "model_weights" in file:
        config = _text(file.attrs.get("model_config"))
        return KerasFile(
            layers=_layers_by_name(file["model_weights"]),
            by_path=False,
            model_config=json.loads(config) if config else None,
            keras_version=version,
        )
    if "layer_names" in file.attrs or "layer_names0" in file.attrs:
        return KerasFile(layers=_layers_by_name(file), by_path=False, keras_version=version)
    if "layers" in file:
        return KerasFile(layers=_layers_by_path(file), by_path=True)
    raise WeightsError(f"{file.filename!r} holds no weights of a Keras model.")


def _layers_by_path(file: h5py.File) -> list[StoredLayer]:
    """Keras 3: each layer's arrays lie in a group `vars` under its path, named 0, 1, ..."""
    found: list[StoredLayer] = []

    def visit(name: str, item: Any) -> None:
        path = name.removesuffix("/vars")
        state = path.rpartition("/")[2]
        if path == name or not isinstance(item, h5py.Group) or not len(item):
            return
        # What is not the model's own: the optimizer's variables and the states of random
        # generators.
        if path.partition("/")[0] != "optimizer" and not state.startswith("seed_generator"):
            arrays = tuple(item[key] for key in sorted(item, key=int))
            found.append(StoredLayer(path, arrays))

    file.visititems(visit)
    return found


def _layers_by_name(group: h5py.Group) -> list[StoredLayer]:
    """Before Keras 3: a group a layer, in the model's order, its arrays named by an attribute."""
    layers = []
    for name in _names(group, "layer_names"):
        arrays = tuple(group[name][weight] for weight in _names(group[name], "weight_names"))
        if arrays:
            layers.append(StoredLayer(name, arrays))
    return layers


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """An attribute that holds names; a long one is split into `...0`, `...1` and so on."""
    if attribute in group.attrs:
        return [_text(name) for name in group.attrs[attribute]]
    names: list[str] = []
    part = 0
    while f"{attribute}{part}" in group.attrs:
        names.extend(_text(name) for name in group.attrs[f"{attribute}{part}"])
        part += 1
    return names


def _text(value: bytes | str | None) -> str | None:
    return value.decode("utf-8") if isinstance(value, bytes) else value
