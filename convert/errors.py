"""What can be wrong with a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


class KerasFileError(ValueError):
    """A file is missing, broken or dangerous, holds what is not supported, or does not fit.

    Attributes:
        reason: what is wrong.
        path: the file, None while it is not known.
    """

    def __init__(self, reason: str, path: Path | None = None):
        super().__init__(reason, path)
        self.reason = reason
        self.path = path

    def __str__(self) -> str:
        return f"{str(self.path)!r}: {self.reason}" if self.path else self.reason


class MissingFileError(KerasFileError, FileNotFoundError):
    """There is no such file."""


class UnsupportedLayersError(KerasFileError):
    """A model uses layers, or arguments of layers, that are not supported; it names them all.

    Args:
        found: what is not supported.
        path: the file.
        registrable: the names under which layers among it can be registered.
    """

    def __init__(
        self, found: Sequence[str], path: Path | None = None, registrable: Sequence[str] = ()
    ):
        message = f"The model uses what is not supported: {shorten(sorted(set(found)), 20)}."
        if registrable:
            names = [f'@kerastorch.register_layer("{name}")' for name in sorted(set(registrable))]
            message += f" Layers of your own can be translated: {shorten(names)}."
        super().__init__(message, path)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Gives the errors of the block the path of the file that they are about."""
    try:
        yield
    except KerasFileError as error:
        error.path = error.path or path
        raise


def mismatch(model: str, **problems: Sequence[str]) -> KerasFileError:
    """The error for weights that do not fit: what is missing, unexpected, or of another shape."""
    listed = "; ".join(f"{kind}: {shorten(names)}" for kind, names in problems.items() if names)
    return KerasFileError(f"The weights do not fit {model!r}. {listed}.")


def shorten(names: Sequence[str], most: int = 6) -> str:
    """The names, the first of them where there are many."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
