"""Stored references: what a model gave for some inputs, kept in a `.safetensors` file."""

from __future__ import annotations

import json
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
from .reference import Call, Expected, RunReference, positions_for
from .verdict import Subject

_KEY = "kerastorch_reference"
FORMAT_VERSION = 1


def write_reference(
    filepath: str | PathLike,
    subject: Subject,
    arrays: Sequence[np.ndarray],
    calls: Sequence[Call],
    outputs: Sequence[np.ndarray],
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
    tensors |= {f"output/{number}": array for number, array in enumerate(outputs)}
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
    content = {"format_version": FORMAT_VERSION, "subject": asdict(subject), "calls": described}
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
            with safe_open(str(path), framework="numpy") as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            calls = [
                _call(data, f"call/{number}", tensors)
                for number, data in enumerate(content["calls"])
            ]
            subject = content["subject"]
            subject["runs_on"] = f"stored in {path.name}, computed by {subject['runs_on']}"
            return RunReference(
                Subject(**subject), _numbered(tensors, "input"), calls, _numbered(tensors, "output")
            )
        except (LookupError, TypeError, AttributeError, SafetensorError) as error:
            raise KerasFileError(f"The stored reference is broken: {error!r}.") from error


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
            _expected(tuple(shape), float(largest), tensors[f"{place}/{name}/{index}"])
            for index, (shape, largest) in enumerate(data[name])
        )
        for name in ("outputs", "statistics")
    )
    return Call(str(data["path"]), str(data["class_name"]), outputs, data["config"], statistics)


def _expected(shape: tuple[int, ...], largest: float, values: np.ndarray) -> Expected:
    size = int(np.prod(shape, dtype=object))
    positions = positions_for(size)
    if values.ndim != 1 or len(values) != (size if positions is None else len(positions)):
        raise KerasFileError(f"The stored reference is broken: values for the shape {shape}.")
    return Expected(shape, largest, values, positions)


def _numbered(tensors: dict[str, np.ndarray], name: str) -> list[np.ndarray]:
    count = sum(key.startswith(f"{name}/") for key in tensors)
    return [tensors[f"{name}/{number}"] for number in range(count)]
