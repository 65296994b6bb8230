"""What can be wrong with a file."""

from __future__ import annotations

from collections.abc import Sequence


class WeightsError(ValueError):
    """A file is broken, or does not fit the model."""


class MissingFileError(WeightsError, FileNotFoundError):
    """There is no such file."""


class UnsupportedLayersError(ValueError):
    """A model uses layers, or arguments of layers, that are not supported; it names them all."""

    def __init__(self, found: Sequence[str], registrable: Sequence[str] = ()):
        message = f"The model uses what is not supported: {shorten(sorted(set(found)), 20)}."
        if registrable:
            names = [f'@kerastorch.register_layer("{name}")' for name in sorted(set(registrable))]
            message += f" Layers of your own can be translated: {shorten(names)}."
        super().__init__(message)


def mismatch(model: str, file: str, **problems: Sequence[str]) -> WeightsError:
    """The error for weights that do not fit: what is missing, unexpected, or of another shape."""
    listed = "; ".join(f"{kind}: {shorten(names)}" for kind, names in problems.items() if names)
    return WeightsError(f"The weights in {file!r} do not fit {model!r}. {listed}.")


def shorten(names: Sequence[str], most: int = 6) -> str:
    """The names, the first of them where there are many."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
