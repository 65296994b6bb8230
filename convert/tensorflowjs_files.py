"""Reading layers models of TensorFlow.js: `model.json` and the binary shards beside it.

The shards of a group, one after another, are one run of bytes in which the group's weights lie in
the order of the manifest, little-endian, row by row and without gaps. Names are flat:
`layer/kernel`, whatever models the layer stands in; some writers put the names of those in front.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import KerasFileError, reading, shorten
from .keras_files import KerasFile, StoredArray, StoredLayer
from .unverified import file_beside, open_regular, read_json_file

MOST_AXES = 8
TYPES = {"float32": "<f4", "int32": "<i4", "uint8": "u1", "bool": "?"}
QUANTIZED_TYPES = {"uint8": "u1", "uint16": "<u2", "float16": "<f2"}

# Within a layer weights stand in this order in Keras, whatever order the manifest has.
KERAS_ORDER = (
    "depthwise_kernel",
    "pointwise_kernel",
    "kernel",
    "gamma",
    "beta",
    "bias",
    "alpha",
    "moving_mean",
    "moving_variance",
    "mean",
    "variance",
    "count",
)


def is_tensorflowjs(path: Path) -> bool:
    """Whether this is a `.json` file, or a folder with a `model.json`."""
    return path.suffix == ".json" or (path / "model.json").is_file()


def read_tensorflowjs(path: Path) -> KerasFile:
    """Reads a layers model.

    Args:
        path: a `model.json`, whatever its name, or the folder of one.

    Returns:
        The layers in the order of the config, a model within as one layer, as in a legacy `.h5`.
        Unquantised weights are memory-mapped where they lie in one shard, quantised ones are
        float32.

    Raises:
        KerasFileError: it is broken, not complete, or no layers model.
    """
    path = model_json(path)
    with reading(path):
        content = _read_content(path)
        topology = _topology(content)
        config = topology.get("model_config", topology) or None
        weights = {
            weight.name: weight.decode()
            for group in _groups(content, path)
            for weight in _weights(group)
        }
        return KerasFile(
            layers=_layers_of(config, weights) if config else _layers_by_place(weights),
            by_path=False,
            model_config=config,
            keras_version=_version(topology),
        )


def tensorflowjs_parts(path: Path) -> list[Path]:
    """The files that make up the model: `model.json` and the shards in their order."""
    path = model_json(path)
    with reading(path):
        groups = _groups(_read_content(path), path)
    return [path, *(shard for group in groups for shard in group.shards)]


def model_json(path: Path) -> Path:
    """The `model.json` of a folder; a file is its own."""
    return path / "model.json" if path.is_dir() else path


# The JSON


@dataclass(frozen=True)
class _Group:
    """What the manifest says of some weights, and the shards that hold their bytes."""

    weights: list[dict[str, Any]]
    shards: list[Path]


def _read_content(path: Path) -> dict[str, Any]:
    content = read_json_file(path)
    if not isinstance(content, dict) or "weightsManifest" not in content:
        raise KerasFileError("This is no model of TensorFlow.js: it has no weightsManifest.")
    return content


def _topology(content: dict[str, Any]) -> dict[str, Any]:
    topology = content.get("modelTopology") or {}
    if not isinstance(topology, dict):
        raise KerasFileError("The file is broken: its modelTopology is no dictionary.")
    if content.get("format") == "graph-model" or "node" in topology:
        raise KerasFileError(
            "This is a graph model, which holds TensorFlow's operations and not Keras's layers. "
            "Only layers models can be opened."
        )
    return topology


def _version(topology: dict[str, Any]) -> str | None:
    version = topology.get("keras_version")
    return version if isinstance(version, str) else None


def _groups(content: dict[str, Any], path: Path) -> list[_Group]:
    """The groups of the manifest, each with the checked paths of its shards."""
    try:
        groups = [
            _Group(list(group["weights"]), [file_beside(path, name) for name in group["paths"]])
            for group in content["weightsManifest"]
        ]
        names = [weight["name"] for group in groups for weight in group.weights]
        _refuse_repeated(names, "weights")
        # Else a small file could stand for any number of bytes.
        _refuse_repeated([shard.name for group in groups for shard in group.shards], "shards")
    except (LookupError, TypeError) as error:
        raise KerasFileError(f"The manifest is broken: {error!r}.") from error
    return groups


def _refuse_repeated(names: list[str], what: str) -> None:
    seen: set[str] = set()
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"{name!r:.80} is no name")
        if name in seen:
            raise KerasFileError(f"The manifest names {what} twice, {name!r:.80} among them.")
        seen.add(name)


# The bytes


@dataclass(frozen=True)
class _Weight:
    """A weight of the manifest and its bytes, in pieces where it crosses the ends of shards."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    pieces: list[np.ndarray]
    # Of a quantised weight: `dtype` and, of integers, (scale, min).
    quantized_dtype: np.dtype | None = None
    range: tuple[float, float] | None = None

    def decode(self) -> np.ndarray:
        data = self.pieces[0] if len(self.pieces) == 1 else np.concatenate(self.pieces)
        values = data.view(self.quantized_dtype or self.dtype)
        if self.range is not None:
            values = self._dequantize(values)
        elif not values.flags.aligned:  # behind weights of other sizes
            values = values.copy()
        return values.astype(self.dtype, copy=False).reshape(self.shape)

    def _dequantize(self, values: np.ndarray) -> np.ndarray:
        """In double precision, as JavaScript computes."""
        scale, smallest = self.range
        result = values.astype(np.float64)
        result *= scale
        result += smallest
        return np.round(result) if self.dtype.kind == "i" else result


def _weights(group: _Group) -> Iterator[_Weight]:
    """The weights of a group, once its shards are known to have exactly their bytes."""
    try:
        headers = [_header(weight) for weight in group.weights]
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise KerasFileError(f"The manifest is broken: {error!r}.") from error
    sizes = [_bytes_of(header) for header in headers]
    shards = [_mapped(shard) for shard in group.shards]
    available = sum(shard.size for shard in shards)
    if sum(sizes) != available:
        raise KerasFileError(
            f"The weights need {sum(sizes):,} bytes, but their shards "
            f"({shorten([shard.name for shard in group.shards])}) have {available:,}."
        )
    reader = _Reader(shards)
    for header, size in zip(headers, sizes, strict=True):
        yield _Weight(**header, pieces=reader.take(size))


def _mapped(shard: Path) -> np.ndarray:
    """A shard's bytes; changes of them stay in memory."""
    with open_regular(shard) as file:
        try:
            if not os.fstat(file.fileno()).st_size:  # nothing to map
                return np.empty(0, np.uint8)
            return np.memmap(file, np.uint8, mode="c")
        except (OSError, ValueError) as error:
            raise KerasFileError(f"The shard cannot be read: {error}.", shard) from error


class _Reader:
    """Takes bytes from the front of shards."""

    def __init__(self, shards: list[np.ndarray]):
        self._rest = list(reversed(shards))

    def take(self, size: int) -> list[np.ndarray]:
        """The next `size` bytes, at least one, piece by piece."""
        pieces = []
        while size:
            shard = self._rest.pop()
            if shard.size > size:
                self._rest.append(shard[size:])
                shard = shard[:size]
            if shard.size:
                pieces.append(shard)
            size -= shard.size
        return pieces


def _header(weight: dict[str, Any]) -> dict[str, Any]:
    """What the manifest says of a weight, checked."""
    name, shape = weight["name"], tuple(weight["shape"])
    if len(shape) > MOST_AXES or not all(type(size) is int and size > 0 for size in shape):
        raise ValueError(f"{name}: shape {str(shape):.80}")
    if weight["dtype"] not in TYPES:
        raise ValueError(f"{name}: dtype {weight['dtype']!r:.80}")
    header = {"name": name, "shape": shape, "dtype": np.dtype(TYPES[weight["dtype"]])}
    quantization = weight.get("quantization")
    if quantization is None:
        return header
    stored = quantization["dtype"]
    if stored not in QUANTIZED_TYPES or weight["dtype"] not in ("float32", "int32"):
        raise ValueError(f"{name}: {weight['dtype']} quantised as {stored!r:.80}")
    header["quantized_dtype"] = np.dtype(QUANTIZED_TYPES[stored])
    if stored != "float16":
        header["range"] = (_number(quantization["scale"]), _number(quantization["min"]))
    return header


def _bytes_of(header: dict[str, Any]) -> int:
    stored = header.get("quantized_dtype", header["dtype"])
    return math.prod(header["shape"]) * stored.itemsize


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r:.80} is no number")
    return float(value)


# Layers

Place = tuple[str, ...]  # a layer's name, behind those of the models that it stands in


def _layers_of(config: dict[str, Any], weights: dict[str, np.ndarray]) -> list[StoredLayer]:
    """The weights by the layers of the config, in its order."""
    try:
        places = list(_places(config["config"], ()))
    except (LookupError, TypeError, AttributeError, RecursionError) as error:
        raise KerasFileError(f"The model's config is broken: {error!r}.") from error
    known: dict[str, list[Place]] = {}
    for place in places:
        known.setdefault(place[-1], []).append(place)
    found: dict[Place, dict[str, np.ndarray]] = {place: {} for place in places}
    strangers = []
    for name, array in weights.items():
        layer, _, variable = name.rpartition("/")
        place = _owner(layer, known)
        if place is None or variable in found[place]:
            strangers.append(name)
        else:
            found[place][variable] = array
    if strangers:
        raise KerasFileError(
            "The file has weights of no layer, or of one that cannot be told: "
            f"{shorten(strangers)}."
        )
    stored: dict[str, list[StoredArray]] = {}
    for place in places:
        stored.setdefault(place[0], []).extend(_stored("/".join(place), found[place]))
    return [StoredLayer(name, tuple(arrays)) for name, arrays in stored.items() if arrays]


def _layers_by_place(weights: dict[str, np.ndarray]) -> list[StoredLayer]:
    """The weights by the names in front of theirs, where no config tells the layers."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for name, array in weights.items():
        layer, _, variable = name.rpartition("/")
        found.setdefault(layer, {})[variable] = array
    return [StoredLayer(name, tuple(_stored(name, arrays))) for name, arrays in found.items()]


def _stored(place: str, arrays: dict[str, np.ndarray]) -> list[StoredArray]:
    """A layer's arrays in Keras's order; that of the manifest, if it has names of its own."""
    variables = list(arrays)
    if all(variable in KERAS_ORDER for variable in variables):
        variables.sort(key=KERAS_ORDER.index)
    return [StoredArray(f"{place}/{variable}", arrays[variable]) for variable in variables]


def _places(config: dict[str, Any] | list, within: Place) -> Iterator[Place]:
    for layer in config if isinstance(config, list) else config["layers"]:
        name = layer.get("name") or layer["config"]["name"]
        if not isinstance(name, str):
            raise TypeError(f"{name!r:.80} is no name of a layer")
        if layer["class_name"] in ("Functional", "Model", "Sequential"):
            yield from _places(layer["config"], (*within, name))
        else:
            yield (*within, name)


def _owner(name: str, known: dict[str, list[Place]]) -> Place | None:
    """The layer whose name ends this one; names of models come first, and some contain `/`."""
    parts = name.split("/")
    ends = ["/".join(parts[start:]) for start in range(len(parts))]
    candidates = next((known[end] for end in ends if end in known), [])
    if len(candidates) > 1:  # layers of one name in several models
        paths = {"/".join(place): place for place in candidates}
        whole = [path for path in paths if f"/{name}".endswith(f"/{path}")]
        if whole:
            return paths[max(whole, key=len)]
        candidates = [paths[path] for path in paths if path.endswith(f"/{name}")]
    return candidates[0] if len(candidates) == 1 else None
