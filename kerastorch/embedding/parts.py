"""The results of a run on disk, batch by batch, for a run that was interrupted to go on from.

They lie in a folder beside the file that they become. A part gets its name when it is whole, so at
whatever moment a process dies, nothing is lost but the batches it was at.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..convert.atomic import is_draft, replacing

RUN = "run.json"


@dataclass(frozen=True)
class Part:
    """The vectors of a batch of pictures.

    Attributes:
        index: of the batch.
        positions: which pictures of the batch could be read.
        embeddings: their vectors, float32, `(pictures, features)`.
        faults: why the others could not be read, by position.
    """

    index: int
    positions: list[int]
    embeddings: np.ndarray
    faults: dict[int, str]


class Parts:
    """A folder of parts; see `open_parts`."""

    def __init__(self, folder: Path):
        self.folder = folder

    def write(self, part: Part) -> None:
        with replacing(self._path(part.index)) as file:
            np.savez(
                file,
                positions=np.array(part.positions, np.int64),
                embeddings=part.embeddings,
                faults=np.array(json.dumps(part.faults)),
            )

    def read(self, index: int) -> Part | None:
        """A part; None where it is missing or damaged."""
        try:
            with np.load(self._path(index)) as arrays:
                faults = json.loads(str(arrays["faults"]))
                return Part(
                    index,
                    arrays["positions"].tolist(),
                    arrays["embeddings"],
                    {int(position): fault for position, fault in faults.items()},
                )
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def is_done(self, index: int) -> bool:
        """Whether a part is there, and has all pictures of its batch."""
        part = self.read(index)
        return part is not None and not part.faults

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:08}.npz"


@contextmanager
def open_parts(folder: Path, run: dict[str, Any], restart: bool = False) -> Iterator[Parts]:
    """The parts of a run, for this process alone.

    Args:
        folder: where they lie; it is made where there is none.
        run: what tells this run from another, as plain data.
        restart: whether parts that are there are thrown away.

    Raises:
        ValueError: they are another run's and not thrown away, or another process is at them.
        OSError: the folder cannot be written.
    """
    folder.mkdir(exist_ok=True)
    with _locked(folder):
        known = _known_run(folder)
        has_parts = any(folder.glob("*.npz"))
        if has_parts and known not in (None, run) and not restart:
            changed = [key for key in run if known.get(key) != run[key]]
            raise ValueError(
                f"{folder}: begun with other {' and '.join(changed)}; finish that run, or begin "
                "anew (--restart, in Python restart=True)"
            )
        for path in folder.iterdir():
            if is_draft(path) or (path.suffix == ".npz" and (restart or known is None)):
                path.unlink()
        with replacing(folder / RUN) as file:
            file.write(json.dumps(run, indent=2).encode())
        yield Parts(folder)


def _known_run(folder: Path) -> dict[str, Any] | None:
    try:
        known = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return known if isinstance(known, dict) else None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keeps other processes away. Some file systems have no locks, and then nothing does."""
    import filelock

    lock = filelock.FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise ValueError(f"{folder}: another process is at it") from None
    except NotImplementedError:
        pass
    try:
        yield
    finally:
        lock.release()
