"""Reading Keras's files into plain data: stored layers, their arrays in order, and the config."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import KerasFileError, reading
from .unverified import (
    Contents,
    file_beside,
    open_regular,
    read_json,
    read_json_file,
    read_unverified,
)

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
ZIP_SIGNATURE = b"PK\x03\x04"


@dataclass(frozen=True)
class StoredArray:
    """An array and its place in the file: `conv1/conv1/kernel:0`, say."""

    name: str
    array: np.ndarray


@dataclass(frozen=True)
class StoredLayer:
    """The arrays of a layer, in Keras's order, and where in the file they stand.

    Attributes:
        name: the layer's name, or its path of class names.
        arrays: its arrays.
        layer_name: the layer's name where the file goes by paths and still tells it.
    """

    name: str
    arrays: tuple[StoredArray, ...]
    layer_name: str | None = None


@dataclass(frozen=True)
class KerasFile:
    """What a file of Keras holds.

    Attributes:
        layers: the layers that have arrays. In a legacy file a nested model is one `StoredLayer` of
            all its arrays.
        by_path: whether the names are paths of class names (`layers/conv2d_1`), not layer names.
        model_config: `class_name` and `config` of a whole model, None in a file of weights.
        keras_version: the version that wrote the file, where it says so.
        backend: the library under Keras that wrote the file, where it says so.
        is_keras_1: whether Keras 1 wrote the file.
    """

    layers: list[StoredLayer]
    by_path: bool
    model_config: dict[str, Any] | None = None
    keras_version: str | None = None
    backend: str | None = None
    is_keras_1: bool = False


def is_keras_file(path: Path) -> bool:
    """Whether a file begins as Keras's files do, as HDF5 or as a zip archive.

    Raises:
        KerasFileError: there is no such file, or it cannot be opened.
    """
    with open_regular(path) as file:
        first = file.read(8)
    return first == HDF5_SIGNATURE or first.startswith(ZIP_SIGNATURE)


def read_keras_file(path: Path) -> KerasFile:
    """What a `.keras`, `.weights.h5` or legacy `.h5` file holds; its arrays are not read yet.

    Raises:
        KerasFileError: the file is broken, or holds what is not allowed.
    """
    contents = read_unverified(path)
    try:
        return _read_archive(contents) if contents.texts else _read_hdf5(contents)
    except (LookupError, TypeError, AttributeError) as error:
        raise KerasFileError(f"The file is broken or cut short: {error!r}.") from error


def is_sharded(path: Path) -> bool:
    """Whether this is the map of a `.weights.h5` that Keras 3 wrote as several files."""
    return path.name.endswith(".weights.json")


def read_sharded(path: Path) -> KerasFile:
    """What the shards of a `.weights.json` hold together, as `read_keras_file` gives it."""
    groups: dict[str, dict[str, Any]] = {}
    arrays: dict[str, np.ndarray] = {}
    for shard in shards_of(path):
        with reading(shard):
            contents = read_unverified(shard)
        groups |= contents.groups
        arrays |= contents.arrays
    return KerasFile(layers=_layers_by_path(Contents({}, groups, arrays)), by_path=True)


def shards_of(path: Path) -> list[Path]:
    """The files that a `.weights.json` names, each once."""
    try:
        places = read_json_file(path)["weight_map"].values()
        named = [[names] if isinstance(names, str) else names for names in places]
        shards = [file_beside(path, name) for names in named for name in names]
    except (LookupError, TypeError, AttributeError) as error:
        raise KerasFileError(f"The map of shards is broken: {error!r}.") from error
    return list(dict.fromkeys(shards))


def _read_archive(contents: Contents) -> KerasFile:
    metadata = read_json(contents.texts["metadata.json"], "archive's metadata.json")
    return KerasFile(
        layers=_layers_by_path(contents),
        by_path=True,
        model_config=_config(contents.texts["config.json"]),
        keras_version=metadata.get("keras_version"),
    )


def _read_hdf5(contents: Contents) -> KerasFile:
    root = contents.groups[""]
    if "model_weights" in contents.groups:
        return _read_legacy(contents, "model_weights")
    if "layer_names" in root or "layer_names0" in root:
        return _read_legacy(contents, "")
    if "layers" in contents.groups or _DEPENDENCIES in contents.groups:
        return KerasFile(layers=_layers_by_path(contents), by_path=True)
    raise KerasFileError("The file holds no weights of a Keras model.")


def _read_legacy(contents: Contents, group: str) -> KerasFile:
    """A file as Keras 1 and 2 wrote them, its weights in a group; the root in a file of weights."""
    attributes = contents.groups[group] | contents.groups[""]
    version, config = attributes.get("keras_version"), attributes.get("model_config")
    return KerasFile(
        layers=_layers_by_name(contents, group),
        by_path=False,
        model_config=_config(config) if config else None,
        keras_version=version,
        backend=attributes.get("backend"),
        is_keras_1=not version or version.startswith("1."),  # Files of weights did not say it.
    )


def _config(text: str) -> dict[str, Any]:
    config = read_json(text, "model's config")
    if not isinstance(config, dict):
        raise KerasFileError("The model's config is broken: it is no dictionary.")
    return config


_DEPENDENCIES = "_layer_checkpoint_dependencies"  # what early files of Keras 3's format say
_OF_TRAINING = ("optimizer", "metrics")  # what a model that was compiled has beside its layers


def _layers_by_path(contents: Contents) -> list[StoredLayer]:
    """Keras 3: each layer's arrays lie in a group `vars` under its path, named 0, 1, ..."""
    found: dict[str, list[str]] = {}
    places = {_as_today(group) for group in contents.groups}
    for name in contents.arrays:
        group, _, number = name.rpartition("/")
        path = _as_today(group).removesuffix("/vars")
        # The states of random generators are not the model's.
        is_state = path.rpartition("/")[2].startswith("seed_generator")
        is_state |= _is_of_training(path, places)
        if group.endswith("/vars") and number.isdecimal() and not is_state:
            found.setdefault(group, []).append(number)
    return [
        StoredLayer(
            _as_today(group).removesuffix("/vars"),
            tuple(_stored(contents, f"{group}/{number}") for number in _in_order(numbers)),
            contents.groups[group].get("name"),
        )
        for group, numbers in sorted(found.items())
    ]


def _as_today(path: str) -> str:
    return path.replace(_DEPENDENCIES, "layers")


def _in_order(numbers: list[str]) -> list[str]:
    """By value; Python makes no numbers of thousands of digits."""
    return sorted(numbers, key=lambda number: (len(number), number))


def _is_of_training(path: str, places: set[str]) -> bool:
    """Whether a path leads to what a model within was trained with.

    That stands beside the model's `layers`, among which one may have such a name.
    """
    around, _, place = f"/{path}".rpartition("/layers/")
    name, _, rest = place.partition("/")
    is_in_a_model = f"{around}/layers/{name}/layers"[1:] in places
    return is_in_a_model and rest.partition("/")[0] in _OF_TRAINING


def _layers_by_name(contents: Contents, group: str) -> list[StoredLayer]:
    """Before Keras 3: a group a layer, in the model's order, its arrays named by an attribute."""
    layers = []
    for name in _names(contents.groups[group], "layer_names"):
        place = f"{group}/{name}" if group else name
        arrays = tuple(
            _stored(contents, f"{place}/{weight}")
            for weight in _names(contents.groups[place], "weight_names")
        )
        if arrays:
            layers.append(StoredLayer(name, arrays))
    return layers


def _stored(contents: Contents, name: str) -> StoredArray:
    return StoredArray(name, contents.arrays[name])


def _names(attributes: dict[str, Any], attribute: str) -> list[str]:
    """An attribute that holds names; a long one is split into `...0`, `...1` and so on."""
    if attribute in attributes:
        return list(attributes[attribute])
    names: list[str] = []
    part = 0
    while f"{attribute}{part}" in attributes:
        names.extend(attributes[f"{attribute}{part}"])
        part += 1
    return names
