"""Writing files so that the final name never stands for half a file."""

from __future__ import annotations

import errno
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file beside `path` that takes its name at the end of the block, or is removed."""
    # In the same folder, since only within one file system is a renaming all or nothing.
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with open(draft, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # else a power cut could leave the name and no content
        os.replace(draft, path)
    except BaseException as error:
        draft.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:  # else it has its own words
            error.filename = str(path)  # the name that the user knows
        raise


def check_no_folder(path: Path) -> None:
    """Raises `IsADirectoryError` where no file can be put, before what it would hold is made."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))


def is_draft(path: Path) -> bool:
    """Whether a file is one that `replacing` writes, or has left behind when it was killed."""
    return re.fullmatch(r"\..+\.[0-9a-f]{32}", path.name) is not None
