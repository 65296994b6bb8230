"""From a published file to a filled model, whatever is in the cache already."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from kerastorch.convert.errors import KerasFileError
from kerastorch.engine import Model

from . import settings
from .cache import CachedCheckpoint, is_writable, remove_abandoned_drafts
from .catalogue import Checkpoint
from .downloading import DownloadError, WrongFileError, download
from .errors import PublishedWeightsError
from .locking import locked
from .manifest import find_in_mirror

_logger = logging.getLogger(__name__)


def load_published(model: Model, checkpoint: Checkpoint) -> None:
    """Fills a model with published weights.

    They come from a converted file in the cache, else from Keras's own file there, else from a
    download. What is found is checked; what is damaged is made anew, with a warning.

    Args:
        model: of the checkpoint's architecture; on the meta device, its parameters become the
            memory-mapped tensors of the converted file.
        checkpoint: the published file.

    Raises:
        PublishedWeightsError: they cannot be had.
    """
    with obtained(checkpoint) as path:
        model.load_weights(path)


@contextmanager
def obtained(checkpoint: Checkpoint) -> Iterator[Path]:
    """A file of published weights that is there for the time of the block.

    It is the converted one in the cache; where that cannot be written, one that goes at the end of
    the block; and where the disk has no room for it, Keras's own.

    Raises:
        PublishedWeightsError: the weights cannot be had.
    """
    cached = CachedCheckpoint(checkpoint, settings.models_folder())
    if _fault_of_converted(cached) is None:
        yield cached.converted
        return
    with ExitStack() as stack:
        if not is_writable(cached.folder):
            path = _fill(_without_cache(cached, stack))
            _warn(
                f"{cached.folder} cannot be written: {checkpoint.weights.file} is used without "
                "keeping it. Another folder can be named in KERAS_HOME"
            )
            yield path
            return
        stack.enter_context(locked(cached.converted))
        remove_abandoned_drafts(cached.folder)
        fault = _fault_of_converted(cached)  # while this process waited, another may have made it
        if fault is not None and cached.converted.exists():
            _warn(f"{cached.converted} is made again: {fault}")
        yield cached.converted if fault is None else _fill(cached)


def fill_cache(checkpoint: Checkpoint) -> Path:
    """Puts published weights into the cache, converted, where they are not there yet.

    Raises:
        PublishedWeightsError: they cannot be had, or the cache cannot be written.
    """
    folder = settings.models_folder()
    if not is_writable(folder):
        raise PublishedWeightsError(
            f"{folder} cannot be written: name another folder in KERAS_HOME"
        )
    with obtained(checkpoint) as path:
        if path.name != checkpoint.converted_file:
            raise PublishedWeightsError(f"{folder} has no room for {checkpoint.converted_file}")
        return path


def _fault_of_converted(cached: CachedCheckpoint) -> str | None:
    return cached.fault_of_converted(fully=settings.verifies_fully())


def _without_cache(cached: CachedCheckpoint, stack: ExitStack) -> CachedCheckpoint:
    """A place for the time of `stack`, with Keras's own file if the cache has it."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
    temporary = CachedCheckpoint(cached.checkpoint, folder)
    for place, stand_in in (
        (cached.keras_file, temporary.keras_file),
        (cached.first_hash, temporary.first_hash),
    ):
        if os.path.isfile(place):
            stand_in.symlink_to(place.resolve())
    return temporary


def _fill(cached: CachedCheckpoint) -> Path:
    """Makes the converted file; gives Keras's own where that does not go."""
    fault = cached.fault_of_keras_file()
    if fault is None:
        try:
            return _converted(cached)
        except KerasFileError as error:
            if cached.expected_hash() is not None:  # another download would give the same
                raise _unconvertible(cached.keras_file.resolve(), cached, error) from error
            fault = error.reason
    if settings.is_offline():
        raise PublishedWeightsError(_what_is_wanted(cached, fault))
    if cached.keras_file.exists():
        _warn(f"{cached.keras_file.resolve()} is downloaded again: {fault}")
    return _fill_by_download(cached)


def _fill_by_download(cached: CachedCheckpoint) -> Path:
    try:
        path = _download(cached)
    except DownloadError as error:
        raise PublishedWeightsError(f"{error}. {_advice(cached, error)}") from error
    if path == cached.converted:
        return path
    try:
        return _converted(cached)
    except KerasFileError as error:
        if cached.expected_hash() is None:
            cached.keras_file.unlink(missing_ok=True)
        raise _unconvertible(cached.checkpoint.address, cached, error) from error


def _unconvertible(
    place: Path | str, cached: CachedCheckpoint, error: KerasFileError
) -> PublishedWeightsError:
    return PublishedWeightsError(f"{place} is no file of {cached.checkpoint.title}: {error.reason}")


def _converted(cached: CachedCheckpoint) -> Path:
    try:
        cached.convert()
    except KerasFileError:
        raise
    except OSError as error:
        _warn(f"{cached.converted} cannot be written ({error.strerror}): Keras's file is used")
        return cached.keras_file
    return cached.converted


def _download(cached: CachedCheckpoint) -> Path:
    """Downloads Keras's own file, or the converted one from a mirror that has it."""
    weights, mirror = cached.checkpoint.weights, settings.mirror()
    if mirror and (found := find_in_mirror(mirror, cached.converted.name)):
        _download_converted(f"{mirror}/{found.name}", cached, found.sha256)
        return cached.converted
    address = f"{mirror}/{weights.path}" if mirror else cached.checkpoint.address
    _logger.info("Downloading %s", address)
    download(address, cached.keras_file, cached.expected_hash())
    return cached.keras_file


def _advice(cached: CachedCheckpoint, error: DownloadError) -> str:
    """What to do about a download that failed."""
    if isinstance(error, WrongFileError) and os.path.exists(cached.first_hash):
        return (
            f"That hash is in {cached.first_hash.resolve()} since the file was first used here: if "
            "you trust the new file, remove that one"
        )
    return (
        "Try again later, name a mirror in KERASTORCH_WEIGHTS_URL, or put "
        f"{cached.checkpoint.weights.file} into {settings.models_folder()}"
    )


def _what_is_wanted(cached: CachedCheckpoint, fault: str) -> str:
    """What is missing without a network, and where it would come from and go to."""
    weights, expected = cached.checkpoint.weights, cached.expected_hash()
    if os.path.exists(cached.keras_file):
        fault = f"{weights.file} is there, but {fault}"
    else:
        fault = "they are not in the cache"
    return (
        f"KERASTORCH_OFFLINE is set, and the weights of {cached.checkpoint.title} cannot be used: "
        f"{fault}. Put {weights.file}{f' ({expected})' if expected else ''} into "
        f"{settings.models_folder()}; it is published at {cached.checkpoint.address}"
    )


def _download_converted(address: str, cached: CachedCheckpoint, sha256: str) -> None:
    _logger.info("Downloading %s", address)
    download(address, cached.converted, f"sha256:{sha256}")
    fault = cached.fault_of_converted()
    if fault is not None:
        cached.converted.unlink()
        raise PublishedWeightsError(f"{address} cannot be used: {fault}")


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=2)
