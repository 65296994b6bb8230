"""`.safetensors` files: a model's weights under their keys, and its config in the header."""

from __future__ import annotations

import json
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
from .config import model_config, to_json
from .errors import KerasFileError
from .matching import check
from .report import LoadReport
from .tensor_bytes import write_tensor
from .unverified import open_regular, read_json

FORMAT_VERSION = 1


def save_safetensors(
    model: Model, filepath: str | PathLike, source: dict[str, Any] | None = None
) -> None:
    """Saves a whole model.

    Args:
        model: the model.
        filepath: where to, ending in `.safetensors`; a file there is replaced.
        source: what is known of the file that the weights come from, as `describe_file` gives it.

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
    with replacing(path) as file:
        _write(file, weights, {"format": "pt", "kerastorch": header})


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
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    # The widest types first, as safetensors orders them: each tensor is then aligned.
    ordered = sorted(weights, key=lambda key: (-weights[key].itemsize, key))
    for key in ordered:
        tensor = weights[key]
        offsets = [end, end := end + tensor.numel() * tensor.itemsize]
        header[key] = {
            "dtype": _TYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": offsets,
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(struct.pack("<Q", len(text)) + text)
    for key in ordered:
        write_tensor(file, weights[key])


def read_safetensors(
    model: Model, path: Path, by_name: bool = False, skip_mismatch: bool = False
) -> tuple[dict[str, Tensor], LoadReport]:
    """The weights for a model, memory-mapped, after every key and shape has been checked."""
    expected = stored_tensors(model)
    weights = read_tensors(path)
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
