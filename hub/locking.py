"""One process works while the others wait."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
        lock.acquire(timeout=LONGEST_WAIT)
    except (OSError, NotImplementedError) as error:
        _logger.info("There is no lock for %s: %s", path, error)
    try:
        yield
    finally:
        lock.release()
