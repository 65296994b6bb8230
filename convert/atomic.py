"""Writing files so that the final name never stands for half a file."""

from __future__ import annotations

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


def is_draft(path: Path) -> bool:
    """Whether a file is one that `replacing` writes, or has left behind when it was killed."""
    return re.fullmatch(r"\..+\.[0-9a-f]{32}", path.name) is not None
