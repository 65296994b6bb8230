"""`.safetensors` files: a model's weights under their keys, and its config in the header."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from kerastorch.engine import Model
from kerastorch.engine.layer import is_batch_count, stored_tensors

from .config import model_config
from .errors import MissingFileError, WeightsError, mismatch

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
    header = json.dumps(
        {"format_version": FORMAT_VERSION, "model": model_config(model), "source": source},
        default=_plain,
    )
    # A layer that also stands in a model within is stored twice: rebuilt from configs, as by Keras,
    # it becomes two.
    seen: set[Tensor] = set()
    weights: dict[str, Tensor] = {}
    for key, tensor in stored_tensors(model).items():
        weights[key] = tensor.detach().clone() if tensor in seen else tensor.detach().contiguous()
        seen.add(tensor)
    try:
        save_file(weights, path, metadata={"format": "pt", "kerastorch": header})
    except SafetensorError as error:
        raise OSError(f"{str(path)!r} cannot be written: {error}") from error


def read_safetensors(model: Model, path: Path) -> dict[str, Tensor]:
    """The weights for a model, memory-mapped, after every key and shape has been checked."""
    expected = stored_tensors(model)
    with _open(path) as file:
        stored = (key for key in file.keys() if not is_batch_count(key))  # noqa: SIM118
        weights = {key: file.get_tensor(key) for key in stored}
    missing = [key for key in expected if key not in weights]
    unexpected = [key for key in weights if key not in expected]
    mismatched = [
        f"{key} {tuple(tensor.shape)} from {tuple(weights[key].shape)}"
        for key, tensor in expected.items()
        if key in weights and tensor.shape != weights[key].shape
    ]
    if missing or unexpected or mismatched:
        raise mismatch(
            model.name,
            path.name,
            missing=missing,
            unexpected=unexpected,
            **{"shapes differ": mismatched},
        )
    return weights


def saved_model_config(path: Path) -> dict[str, Any]:
    """`class_name` and `config` of the model that was saved."""
    with _open(path) as file:
        header = (file.metadata() or {}).get("kerastorch")
    if header is None:
        raise WeightsError(
            f"{str(path)!r} holds only weights: build the model and call its load_weights."
        )
    try:
        header = json.loads(header)
        if header["format_version"] > FORMAT_VERSION:
            raise WeightsError(
                f"{str(path)!r} was written by a newer kerastorch "
                f"(format {header['format_version']})."
            )
        return header["model"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise WeightsError(f"{str(path)!r} has a broken header: {error!r}") from error


def _plain(value: Any) -> Any:
    """What JSON holds of a NumPy number or array, or of a tensor, given as a layer's argument."""
    if not hasattr(value, "tolist"):
        raise ValueError(f"A {type(value).__name__} cannot be saved as a layer's argument.")
    return value.tolist()


def _open(path: Path):
    if not path.exists():
        raise MissingFileError(f"There is no file {str(path)!r}.")
    try:
        return safe_open(str(path), framework="pt")
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{str(path)!r} is no file of Keras and no whole .safetensors file: {error}"
        ) from error
