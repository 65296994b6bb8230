"""Keras's cache of weights, `~/.keras/models`, which kerastorch shares.

For each published file it can hold three: Keras's own `.h5`; the `.safetensors` that it was
converted to; and, where Keras publishes no hash, the SHA-256 it had when it was first used, in the
format of `sha256sum`.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kerastorch.convert.atomic import is_draft, replacing
from kerastorch.convert.errors import KerasFileError
from kerastorch.convert.loading import map_file
from kerastorch.convert.safetensors_files import (
    checked_source,
    is_payload_whole,
    save_safetensors,
)

from .catalogue import Checkpoint, checkpoints
from .downloading import hash_of
from .settings import models_folder

ABANDONED = 600  # seconds after which a draft that nobody writes to is nobody's


@dataclass(frozen=True)
class CachedCheckpoint:
    """The places of a checkpoint in a folder.

    Attributes:
        checkpoint: the published file.
        folder: the cache.
    """

    checkpoint: Checkpoint
    folder: Path

    @property
    def keras_file(self) -> Path:
        """Keras's own file."""
        return self.folder / self.checkpoint.weights.file

    @property
    def converted(self) -> Path:
        """The file that it is converted to."""
        return self.folder / self.checkpoint.converted_file

    @property
    def first_hash(self) -> Path:
        """The hash that Keras's own file had when it was first used."""
        return self.folder / f"{self.checkpoint.weights.file}.sha256"

    def expected_hash(self) -> str | None:
        """The hash of Keras's own file: as published, or else as first used; None if neither is."""
        if self.checkpoint.weights.hash is not None:
            return self.checkpoint.weights.hash
        if not os.path.isfile(self.first_hash):
            return None
        found = re.match(r"[0-9a-f]{64}\b", self.first_hash.read_text(errors="replace"))
        return f"sha256:{found[0]}" if found else None

    def fault_of_keras_file(self) -> str | None:
        """What is wrong with Keras's own file; None where it can be used, also unchecked."""
        if not os.path.isfile(self.keras_file):
            return "it is missing"
        expected = self.expected_hash()
        if expected is None:
            return None
        try:
            found = hash_of(self.keras_file, expected.partition(":")[0])
        except OSError as error:
            return f"it cannot be read: {error.strerror}"
        return None if found == expected else f"its hash is {found} instead of {expected}"

    def fault_of_converted(self, fully: bool = False) -> str | None:
        """What is wrong with the converted file; None where it can be used.

        Args:
            fully: whether to read all of it; else it is told by its header and its size.
        """
        if not os.path.isfile(self.converted):  # which Path.is_file cannot say of a closed folder
            return "it is missing"
        try:
            source = checked_source(self.converted)
        except KerasFileError as error:
            return error.reason
        if not self._is_ours(source):
            return "it was made from another file than today's"
        if fully and not is_payload_whole(self.converted):
            return "its tensors are damaged"
        return None

    def _is_ours(self, source: Any) -> bool:
        """Whether a converted file's source is the file that is expected."""
        expected = self.expected_hash()
        if not isinstance(source, dict):
            return False
        return expected in (None, source.get("hash"), f"sha256:{source.get('sha256')}")

    def convert(self) -> None:
        """Makes the converted file from Keras's own.

        Raises:
            KerasFileError: Keras's file is broken or of another model.
            OSError: the converted file cannot be written.
        """
        weights = self.checkpoint.weights
        model, description = map_file(self.keras_file, self.checkpoint.build())
        source = {**description, "address": self.checkpoint.address, "hash": weights.hash}
        if self.expected_hash() is None:
            self._record_first_hash(description["sha256"])
        save_safetensors(model, self.converted, source, with_checksums=True)

    def _record_first_hash(self, sha256: str) -> None:
        with replacing(self.first_hash) as file:
            file.write(f"{sha256}  {self.checkpoint.weights.file}\n".encode())

    def files(self) -> list[Path]:
        """Those of its files that are there."""
        places = (self.keras_file, self.converted, self.first_hash)
        return [place for place in places if os.path.isfile(place)]


def cached_checkpoints(folder: Path | None = None) -> list[CachedCheckpoint]:
    """The published files of which something is in the cache, by default Keras's."""
    folder = folder or models_folder()
    cached = (CachedCheckpoint(checkpoint, folder) for checkpoint in checkpoints())
    return [place for place in cached if place.files()]


def is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder, which is made where there is none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def remove_abandoned_drafts(folder: Path) -> None:
    """Removes what processes that were killed have left half written."""
    for draft in filter(is_draft, folder.iterdir()):
        try:
            if time.time() - draft.stat().st_mtime > ABANDONED:
                draft.unlink()
        except OSError:  # another process was faster, or it is another user's
            continue
