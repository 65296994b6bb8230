"""Stored references: what a model gave for some inputs, kept in a `.safetensors` file."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..convert.atomic import replacing
from ..convert.errors import KerasFileError, reading
from ..convert.unverified import open_regular, read_json
from .reference import Call, Expected, KerasReference, RunReference, positions_for
from .verdict import Subject

_KEY = "kerastorch_reference"
FORMAT_VERSION = 1
MOST_AXES, MOST = 8, 2**48  # of an array, and of its values


def write_reference(
    filepath: str | PathLike,
    reference: KerasReference | RunReference,
    arrays: Sequence[np.ndarray],
    calls: Sequence[Call],
) -> None:
    """Keeps the inputs, a sample of each layer's outputs, and the model's outputs.

    Raises:
        ValueError: the name has another ending.
        OSError: the file cannot be written.
    """
    path = Path(filepath)
    if path.suffix != ".safetensors":
        raise ValueError(f"A reference is kept as .safetensors; {path.name!r} ends otherwise.")
    tensors = {f"input/{number}": array for number, array in enumerate(arrays)}
    tensors |= {f"output/{number}": array for number, array in enumerate(reference.outputs)}
    described = []
    for number, call in enumerate(calls):
        groups = {"outputs": call.outputs, "statistics": call.statistics}
        for name, group in groups.items():
            for index, expected in enumerate(group):
                tensors[f"call/{number}/{name}/{index}"] = expected.sampled().values
        described.append(
            {"path": call.path, "class_name": call.class_name, "config": call.config}
            | {
                name: [[list(expected.shape), expected.largest] for expected in group]
                for name, group in groups.items()
            }
        )
    content = {
        "format_version": FORMAT_VERSION,
        "subject": asdict(reference.subject),
        "layers": reference.layers,
        "calls": described,
    }
    plain = {key: np.ascontiguousarray(array) for key, array in tensors.items()}
    with replacing(path) as file:
        file.write(save(plain, {_KEY: json.dumps(content, default=str)}))


def is_stored_reference(path: Path) -> bool:
    """Whether a file is one that `write_reference` has written."""
    return path.suffix == ".safetensors" and _content(path) is not None


def read_reference(path: Path) -> RunReference:
    """The run that a file keeps.

    Raises:
        KerasFileError: the file is broken.
    """
    with reading(path):
        try:
            content = read_json(_content(path), "reference")
            if content["format_version"] > FORMAT_VERSION:
                raise KerasFileError("The reference was kept by a newer kerastorch.")
            with safe_open(str(path), framework="numpy") as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            calls = [
                _call(data, f"call/{number}", tensors)
                for number, data in enumerate(content["calls"])
            ]
            return RunReference(
                _subject(content["subject"], path),
                _numbered(tensors, "input"),
                [(str(place), str(kind)) for place, kind in content["layers"]],
                calls,
                _numbered(tensors, "output"),
            )
        except KerasFileError:
            raise
        except _WRONG_IN_A_REFERENCE as error:
            raise KerasFileError(f"The stored reference is broken: {error!r}.") from error


_WRONG_IN_A_REFERENCE = (
    LookupError,
    TypeError,
    AttributeError,
    ValueError,
    OverflowError,
    SafetensorError,
)


def _subject(data: dict[str, Any], path: Path) -> Subject:
    runs_on = f"stored in {path.name}, computed by {data['runs_on']}"
    parameters = data["parameters"]
    return Subject(
        str(data["name"]),
        runs_on,
        None if data["sha256"] is None else str(data["sha256"]),
        None if parameters is None else int(parameters),
    )


def _content(path: Path) -> str | None:
    open_regular(path).close()
    try:
        with safe_open(str(path), framework="numpy") as file:
            return (file.metadata() or {}).get(_KEY)
    except (SafetensorError, OSError) as error:
        raise KerasFileError(f"The file is no whole .safetensors file: {error}.", path) from error


def _call(data: dict[str, Any], place: str, tensors: dict[str, np.ndarray]) -> Call:
    outputs, statistics = (
        tuple(
            _expected(tuple(map(int, shape)), float(largest), tensors[f"{place}/{name}/{index}"])
            for index, (shape, largest) in enumerate(data[name])
        )
        for name in ("outputs", "statistics")
    )
    config = dict(data["config"])
    return Call(str(data["path"]), str(data["class_name"]), outputs, config, statistics)


def _expected(shape: tuple[int, ...], largest: float, values: np.ndarray) -> Expected:
    if len(shape) > MOST_AXES or not all(0 <= size < MOST for size in shape):
        raise KerasFileError(f"The stored reference is broken: the shape {str(shape)!s:.80}.")
    size = math.prod(shape)
    positions = positions_for(size) if size < MOST else None
    if values.ndim != 1 or len(values) != (size if positions is None else len(positions)):
        raise KerasFileError(f"The stored reference is broken: values for the shape {shape}.")
    return Expected(shape, largest, values, positions)


def _numbered(tensors: dict[str, np.ndarray], name: str) -> list[np.ndarray]:
    count = sum(key.startswith(f"{name}/") for key in tensors)
    if not count:
        raise KerasFileError(f"The stored reference has no {name}.")
    return [tensors[f"{name}/{number}"] for number in range(count)]
