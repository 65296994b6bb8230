"""What the environment decides.

    KERASTORCH_OFFLINE=1          the network is never touched
    KERASTORCH_WEIGHTS_URL=https://mirror.example/keras
                                  files come from there: a copy of the published folders, or what
                                  `kerastorch convert --all` has written
    KERASTORCH_VERIFY=1           converted files are read and checked whole at each load
    KERASTORCH_TIMEOUT=30         seconds that a server may be silent
    KERAS_HOME=~/.keras           the folder of `models`, Keras's cache

Proxies and certificates are those of `requests`: `HTTPS_PROXY`, `NO_PROXY`, `REQUESTS_CA_BUNDLE`.
"""

from __future__ import annotations

import os
from pathlib import Path

from kerastorch.config import keras_home

_NO = ("", "0", "false", "no", "off")


def is_offline() -> bool:
    return _is_on("KERASTORCH_OFFLINE")


def verifies_fully() -> bool:
    return _is_on("KERASTORCH_VERIFY")


def mirror() -> str | None:
    """The address of the mirror, without a slash at the end."""
    return os.environ.get("KERASTORCH_WEIGHTS_URL", "").rstrip("/") or None


def timeout() -> float:
    """How many seconds a server may be silent.

    Raises:
        ValueError: `KERASTORCH_TIMEOUT` is no number above 0.
    """
    text = os.environ.get("KERASTORCH_TIMEOUT", "30")
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not seconds > 0:
        raise ValueError(f"KERASTORCH_TIMEOUT must be a number of seconds above 0, not {text!r}")
    return seconds


def models_folder() -> Path:
    """Keras's cache of weights."""
    return keras_home().expanduser() / "models"


def _is_on(variable: str) -> bool:
    return os.environ.get(variable, "").strip().lower() not in _NO
