"""Keras's settings, as far as they rule a model here.

`image_data_format` and `floatx` come from `keras.json`, which Keras keeps in `KERAS_HOME` or
`~/.keras`. The data format rules `input_shape`, layer configs, preprocessing and `predict`;
`forward` takes and gives channels-first tensors whatever it says.
"""

import functools
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

DATA_FORMATS = ("channels_last", "channels_first")

_chosen_data_format: str | None = None  # in all threads, as in Keras
_scoped_data_format: ContextVar[str | None] = ContextVar("image_data_format", default=None)


def keras_home() -> Path:
    """The folder of Keras's settings and of its cached weights."""
    if "KERAS_HOME" in os.environ:
        return Path(os.environ["KERAS_HOME"])
    home = Path.home()
    return (home if os.access(home, os.W_OK) else Path("/tmp")) / ".keras"


@functools.cache
def _settings() -> dict:
    try:
        settings = json.loads((keras_home() / "keras.json").read_text())
    except (OSError, ValueError):  # Keras, too, goes on with its defaults
        return {}
    return settings if isinstance(settings, dict) else {}


def image_data_format() -> str:
    """`"channels_last"` or `"channels_first"`: how image shapes are written, as Keras reads it."""
    return (
        _scoped_data_format.get()
        or _chosen_data_format
        or check_data_format(_settings().get("image_data_format", "channels_last"))
    )


def set_image_data_format(data_format: str) -> None:
    """Sets what `image_data_format()` says from now on, as `keras.config` does."""
    global _chosen_data_format
    _chosen_data_format = check_data_format(data_format)


@contextmanager
def data_format_scope(data_format: str) -> Iterator[None]:
    """Sets what `image_data_format()` says inside a `with` block, in this thread."""
    token = _scoped_data_format.set(check_data_format(data_format))
    try:
        yield
    finally:
        _scoped_data_format.reset(token)


def check_data_format(data_format: str | None) -> str:
    """The data format itself, or the configured one for None."""
    if data_format is None:
        return image_data_format()
    data_format = str(data_format).lower()
    if data_format not in DATA_FORMATS:
        raise ValueError(
            f"data_format must be 'channels_last' or 'channels_first', not {data_format!r}."
        )
    return data_format


def floatx() -> str:
    """The float type of arrays made from images: `"float32"` unless `keras.json` says otherwise."""
    return _settings().get("floatx", "float32")
