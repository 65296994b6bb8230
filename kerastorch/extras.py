"""Packages that only some uses need."""

from __future__ import annotations

import importlib
from types import ModuleType


class MissingExtraError(ModuleNotFoundError):
    """A package is not installed; the message says how to."""


def need(module: str, extra: str) -> ModuleType:
    """A module of a package that an extra of kerastorch brings along.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        raise MissingExtraError(
            f"{package} is not installed: pip install 'kerastorch[{extra}]'", name=error.name
        ) from None
