"""One process works while the others wait."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import filelock

SILENT_WAIT = 5  # seconds until it is said that a process waits
LONGEST_WAIT = 3600  # seconds, for whoever holds the lock

_logger = logging.getLogger(__name__)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lets one process at a time make a file.

    Some file systems have no locks. Then all work at once: what they write is whole at any time,
    and the same.
    """
    import filelock

    lock = filelock.FileLock(path.with_name(f".{path.name}.lock"))
    try:
        _acquire(lock, path)
    except (OSError, NotImplementedError) as error:
        _logger.info("There is no lock for %s: %s", path, error)
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: filelock.BaseFileLock, path: Path) -> None:
    import filelock

    try:
        lock.acquire(timeout=SILENT_WAIT)
    except filelock.Timeout:
        _logger.warning("Waiting for another process that makes %s", path)
        lock.acquire(timeout=LONGEST_WAIT)
