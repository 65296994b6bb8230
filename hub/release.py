"""A release of our own: all checkpoints converted, and a manifest that says what they are.

Served by any web server, such a folder is a mirror for `KERASTORCH_WEIGHTS_URL`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from kerastorch.convert.atomic import replacing
from kerastorch.convert.errors import KerasFileError
from kerastorch.convert.loading import load_model
from kerastorch.convert.safetensors_files import checked_source
from kerastorch.verification import verify
from kerastorch.verification.keras_client import KerasProcess, is_installed

from .cache import CachedCheckpoint
from .catalogue import Checkpoint
from .downloading import hash_of
from .errors import PublishedWeightsError
from .manifest import MANIFEST, ReleasedFile, read_manifest, write_manifest
from .obtaining import fill_cache
from .settings import models_folder


def write_release(
    folder: Path, checkpoints: Iterable[Checkpoint]
) -> Iterator[tuple[ReleasedFile, bool]]:
    """Writes checkpoints into a folder, one at each step, with a manifest of those that are done.

    What the folder's manifest has already is left, so that a run that was interrupted goes on.
    Keras measures the parity where it is installed.

    Args:
        folder: where to; it is made where there is none.
        checkpoints: which.

    Yields:
        Each file, and whether it was written now.

    Raises:
        PublishedWeightsError: the weights cannot be had.
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done = {file.name: file for file in read_manifest(folder / MANIFEST)}
    with ExitStack() as stack:
        keras = stack.enter_context(KerasProcess()) if is_installed() else None
        for checkpoint in checkpoints:
            file = done.get(checkpoint.converted_file)
            is_new = file is None or not _is_there(folder, file)
            if is_new:
                file = _release(folder, checkpoint, keras)
                done[file.name] = file
                write_manifest(folder / MANIFEST, done.values())
            yield file, is_new


def _is_there(folder: Path, file: ReleasedFile) -> bool:
    path = folder / file.name
    try:
        return path.stat().st_size == file.size and checked_source(path) == file.source
    except (OSError, KerasFileError):
        return False


def _release(folder: Path, checkpoint: Checkpoint, keras: KerasProcess | None) -> ReleasedFile:
    cached, path = fill_cache(checkpoint), folder / checkpoint.converted_file
    with open(cached, "rb") as source, replacing(path) as file:
        shutil.copyfileobj(source, file, 1 << 24)
    return ReleasedFile(
        path.name,
        checkpoint.title,
        path.stat().st_size,
        hash_of(path, "sha256").removeprefix("sha256:"),
        checked_source(path),
        _parity(path, checkpoint, keras),
    )


def _parity(path: Path, checkpoint: Checkpoint, keras: KerasProcess | None) -> float | None:
    """How far a converted file's outputs are from what Keras computes with its own file."""
    keras_file = CachedCheckpoint(checkpoint, models_folder()).keras_file
    if keras is None or not keras_file.exists():
        return None
    verdict = verify(
        load_model(path),
        keras_file,
        application=(
            checkpoint.record.keras_name,
            {"weights": "imagenet", **checkpoint.arguments},
        ),
        keras=keras,
        float32=False,
    )
    if not verdict.is_equal:
        raise PublishedWeightsError(f"{path.name} does not compute what Keras does.\n{verdict}")
    return verdict.largest_error
