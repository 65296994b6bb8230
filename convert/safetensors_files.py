"""`.safetensors` files: a model's weights under their keys, and its config in the header."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from kerastorch.engine import Model
from kerastorch.engine.layer import is_batch_count, stored_tensors

from .atomic import replacing
from .config import model_config, model_from_config, to_json
from .errors import KerasFileError
from .matching import check
from .report import LoadReport
from .tensor_bytes import write_tensor
from .unverified import open_regular, read_json

FORMAT_VERSION = 1


def save_safetensors(
    model: Model,
    filepath: str | PathLike,
    source: dict[str, Any] | None = None,
    with_checksums: bool = False,
) -> None:
    """Saves a whole model.

    Args:
        model: the model.
        filepath: where to, ending in `.safetensors`; a file there is replaced.
        source: what is known of the file that the weights come from, as `describe_file` gives it.
        with_checksums: whether the header gets the checksums that `checked_source` and
            `is_payload_whole` go by. They cost a third of the time.

    Raises:
        ValueError: the name has another ending, or a module in the model has no Keras config.
        OSError: the file cannot be written.
    """
    path = Path(filepath)
    if path.suffix != ".safetensors":
        raise ValueError(f"Weights are saved as .safetensors; {path.name!r} ends otherwise.")
    header = to_json(
        {"format_version": FORMAT_VERSION, "model": model_config(model), "source": source}
    )
    # A layer that also stands in a model within is stored twice: rebuilt from configs, as by Keras,
    # it becomes two.
    weights = {key: tensor.detach() for key, tensor in stored_tensors(model).items()}
    metadata = {"format": "pt", "kerastorch": header}
    with replacing(path) as file:
        if with_checksums:
            _write_checked(file, weights, metadata)
        else:
            _write(file, weights, metadata)


# safetensors's own `save_file` wants everything in memory at once, contiguous. Here the tensors are
# often transposed views of a mapped file.
_TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint64: "U64",
    torch.uint32: "U32",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def _write(file: BinaryIO, weights: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """The safetensors format: the header's length, the header, and the tensors' bytes."""
    text = _header_text(weights, metadata)
    file.write(struct.pack("<Q", len(text)) + text)
    for key in _in_file_order(weights):
        write_tensor(file, weights[key])


def _in_file_order(weights: dict[str, Tensor]) -> list[str]:
    """The widest types first, as safetensors orders them: each tensor is then aligned."""
    return sorted(weights, key=lambda key: (-weights[key].itemsize, key))


def _header_text(weights: dict[str, Tensor], metadata: dict[str, str]) -> bytes:
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for key in _in_file_order(weights):
        tensor = weights[key]
        offsets = [end, end := end + tensor.numel() * tensor.itemsize]
        header[key] = {
            "dtype": _TYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": offsets,
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)


# Checksums: SHA-256 of the tensors' bytes, and of the header with this second digest as zeros

_PAYLOAD, _HEADER = "payload_sha256", "header_sha256"
_OPEN = {_PAYLOAD: "p" * 64, _HEADER: "0" * 64}  # their places in a header that is not complete


def _write_checked(file: BinaryIO, weights: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Writes as `_write` does, the header last, when the digest of the rest is known."""
    text = _header_text(weights, {**metadata, **_OPEN})
    file.seek(8 + len(text))
    payload = _Hashing(file)
    for key in _in_file_order(weights):
        write_tensor(payload, weights[key])
    text = text.replace(_OPEN[_PAYLOAD].encode(), payload.digest.hexdigest().encode())
    text = text.replace(_OPEN[_HEADER].encode(), hashlib.sha256(text).hexdigest().encode())
    file.seek(0)
    file.write(struct.pack("<Q", len(text)) + text)


class _Hashing:
    """A file that is written and hashed at once."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, data: Any) -> None:
        self.digest.update(data)
        self._file.write(data)


def checked_source(path: Path) -> dict[str, Any]:
    """The `source` that was given to `save_safetensors`, of a file that looks whole.

    Its header is checked, and its size; its tensors are not read.

    Raises:
        KerasFileError: the header is damaged, the file is cut short or longer, it has no checksums,
            or it has another format version.
    """
    text, header, size = _raw_header(path)
    metadata = header.get("__metadata__", {})
    digest = metadata.get(_HEADER, "").encode()
    if not digest:
        raise KerasFileError("The file was written without checksums.")
    if hashlib.sha256(text.replace(digest, _OPEN[_HEADER].encode())).hexdigest().encode() != digest:
        raise KerasFileError("The file's header is damaged.")
    tensors = (entry for key, entry in header.items() if key != "__metadata__")
    end = max((entry["data_offsets"][1] for entry in tensors), default=0)
    if size != 8 + len(text) + end:
        raise KerasFileError(f"The file has {size:,} bytes instead of {8 + len(text) + end:,}.")
    saved = json.loads(metadata["kerastorch"])
    if saved["format_version"] != FORMAT_VERSION:
        raise KerasFileError(f"The file has format {saved['format_version']}.")
    return saved["source"]


def is_payload_whole(path: Path) -> bool:
    """Whether the tensors of a file that `checked_source` passes are those that were written."""
    text, header, _ = _raw_header(path)
    digest = hashlib.sha256()
    with open_regular(path) as file:
        file.seek(8 + len(text))
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest() == header["__metadata__"][_PAYLOAD]


def _raw_header(path: Path) -> tuple[bytes, dict[str, Any], int]:
    """The header's bytes and data, and the size of the file."""
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            (length,) = struct.unpack("<Q", file.read(8))
            text = file.read(min(length, size))
        header = json.loads(text)
    except (struct.error, ValueError, RecursionError) as error:
        if isinstance(error, KerasFileError):
            raise
        raise KerasFileError("The file's header is damaged.") from error
    if not isinstance(header, dict):
        raise KerasFileError("The file's header is damaged.")
    return text, header, size


def read_safetensors(
    model: Model, path: Path, by_name: bool = False, skip_mismatch: bool = False
) -> tuple[dict[str, Tensor], LoadReport]:
    """The weights for a model, memory-mapped, after every key and shape has been checked.

    Where the keys are not the model's, the tensors are taken in the order of the model that was
    saved, if all shapes agree: layers that nobody named have other names behind other layers.
    """
    expected = stored_tensors(model)
    weights = read_tensors(path)
    if not by_name and expected.keys() != weights.keys():
        weights = _in_order(path, weights, expected)
    both = [key for key in expected if key in weights]
    fitting = [key for key in both if expected[key].shape == weights[key].shape]
    report = LoadReport(
        model.name,
        path.name,
        "key",
        loaded=fitting,
        missing=[key for key in expected if key not in weights],
        unexpected=[key for key in weights if key not in expected],
        mismatched=[
            f"{key} {tuple(expected[key].shape)} from {tuple(weights[key].shape)}"
            for key in both
            if expected[key].shape != weights[key].shape
        ],
    )
    check(report, by_name, skip_mismatch)
    return {key: weights[key] for key in fitting}, report


def _in_order(
    path: Path, weights: dict[str, Tensor], expected: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The weights under the expected keys, or as they are where their order does not fit."""
    header = read_header(path)
    if header is None:
        return weights
    with torch.device("meta"):
        saved = stored_tensors(model_from_config(header["model"]))
    shapes, theirs = ([tensor.shape for tensor in x.values()] for x in (expected, saved))
    if saved.keys() != weights.keys() or shapes != theirs:
        return weights
    return {key: weights[stored] for key, stored in zip(expected, saved, strict=True)}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All weights by their keys, memory-mapped."""
    with _open(path) as file:
        stored = (key for key in file.keys() if not is_batch_count(key))  # noqa: SIM118
        return {key: file.get_tensor(key) for key in stored}


def saved_model_config(path: Path) -> dict[str, Any]:
    """`class_name` and `config` of the model that was saved."""
    header = read_header(path)
    if header is None:
        raise KerasFileError(
            "The file holds only weights: build the model and call its load_weights."
        )
    return header["model"]


def source_epsilon(path: Path) -> float | None:
    """The epsilon that the weights go with, where it is not the architecture's; see `Match`."""
    source = (read_header(path) or {}).get("source")
    epsilon = source.get("epsilon") if isinstance(source, dict) else None
    return epsilon if isinstance(epsilon, float) else None


def read_header(path: Path) -> dict[str, Any] | None:
    """The `model` that was saved and the `source` of its weights; None in others' files."""
    with _open(path) as file:
        text = (file.metadata() or {}).get("kerastorch")
    if text is None:
        return None
    try:
        header = read_json(text, "header")
        if header["format_version"] > FORMAT_VERSION:
            raise KerasFileError(
                "The file was written by a newer kerastorch "
                f"(format {header['format_version']!r:.20})."
            )
        return {"model": header["model"], "source": header.get("source")}
    except (LookupError, TypeError, AttributeError) as error:
        raise KerasFileError(f"The file has a broken header: {error!r}.") from error


def _open(path: Path):
    open_regular(path).close()
    try:
        return safe_open(str(path), framework="pt")
    except (SafetensorError, OSError) as error:
        raise KerasFileError(
            f"The file is no file of Keras and no whole .safetensors file: {error}."
        ) from error
