"""Files from outside: parsed in a process of their own, mapped into memory, never run.

`parser.py` is that process. What it answers is checked here once more, for a file that makes HDF5
write where it should not could make it answer anything.
"""

from __future__ import annotations

import json
import mmap
import os
import stat
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .errors import KerasFileError, MissingFileError

PARSER = Path(__file__).with_name("parser.py")
SECONDS = 8  # for the parser, and one more for each 20 MB of the file
BYTES_A_SECOND = 20_000_000
MOST_INDEX = 32 * 2**20  # bytes
MOST_JSON = 8 * 2**20  # characters
DEEPEST_JSON = 200
TYPES = {f"{order}{kind}" for order in "<>|" for kind in ("f2", "f4", "f8", "b1")} | {
    f"{order}{sign}{size}" for order in "<>|" for sign in "iu" for size in (1, 2, 4, 8)
}


@dataclass(frozen=True)
class Contents:
    """What a file holds.

    Attributes:
        texts: the texts of an archive, by name.
        groups: the attributes of each HDF5 group, by its path; "" is the root.
        arrays: the arrays by their paths, views of the mapped file: nothing is read before it is
            used.
    """

    texts: dict[str, str]
    groups: dict[str, dict[str, Any]]
    arrays: dict[str, np.ndarray]


def open_regular(path: Path) -> BinaryIO:
    """Opens a file for reading; a pipe or a device, which may never end, is refused."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            kind = "a folder" if path.is_dir() else "a pipe or a device"
            raise KerasFileError(f"This is {kind}, not a file.", path)
        return open(path, "rb")
    except FileNotFoundError:
        raise MissingFileError("There is no such file.", path) from None
    except (OSError, ValueError) as error:
        if isinstance(error, KerasFileError):
            raise
        raise KerasFileError(f"The file cannot be opened: {error}.", path) from error


def read_unverified(path: Path) -> Contents:
    """What a `.keras` archive or an HDF5 file holds.

    Raises:
        KerasFileError: the file is broken, or holds what is not allowed.
    """
    with open_regular(path) as file, tempfile.TemporaryFile() as output:
        size = os.fstat(file.fileno()).st_size
        _run_parser(file, output, SECONDS + size // BYTES_A_SECOND)
        index = _read_index(output)
        if "refused" in index:
            raise KerasFileError(f"The file is refused: {index['refused']}.")
        maps = [_map(file), _map(output)]
    try:
        arrays = {name: _array(maps, **entry) for name, entry in index["arrays"].items()}
        return Contents(index["texts"], index["groups"], arrays)
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, KerasFileError):
            raise
        raise KerasFileError(f"The file is broken: {error!r}.") from error


def file_beside(path: Path, name: Any) -> Path:
    """The file of a name that stands in another file: in the same folder and nowhere else."""
    if not isinstance(name, str):
        raise TypeError(f"{name!r:.80} is no path")
    plain = name.removeprefix("./")
    if plain in ("", ".", "..") or set(plain) & set("/\\:") or not plain.isprintable():
        raise KerasFileError(f"The file names a shard that is no file beside it: {name!r:.80}.")
    shard = path.parent / plain
    try:
        if shard.resolve(strict=True).parent != path.parent.resolve():
            raise KerasFileError("The shard is a link to another folder.", shard)
    except FileNotFoundError:
        raise MissingFileError("There is no such shard.", shard) from None
    except (OSError, RuntimeError) as error:  # loops of links, names that are too long
        raise KerasFileError(f"The shard cannot be opened: {error}.", shard) from error
    return shard


def read_json_file(path: Path) -> Any:
    """The data of a JSON file that is neither huge nor deep."""
    with open_regular(path) as file:
        text = file.read(4 * MOST_JSON + 1)  # a character has four bytes at most
    try:
        return read_json(text.decode("utf-8-sig"), path.name)
    except UnicodeDecodeError as error:
        raise KerasFileError(f"The {path.name} is broken: {error}.") from error


def read_json(text: str, what: str) -> Any:
    """The data of a JSON text that is neither huge nor deep."""
    if len(text) > MOST_JSON:
        raise KerasFileError(f"The {what} is larger than {MOST_JSON >> 20} MB.")
    try:
        data = json.loads(text)
    except RecursionError:
        raise KerasFileError(f"The {what} is nested too deeply.") from None
    except ValueError as error:
        raise KerasFileError(f"The {what} is broken: {error}.") from error
    level, depth = [data], 0
    while level := [value for parent in level for value in _values(parent)]:
        depth += 1
        if depth > DEEPEST_JSON:
            raise KerasFileError(f"The {what} is nested more than {DEEPEST_JSON} deep.")
    return data


def _values(parent: Any) -> Any:
    if isinstance(parent, dict):
        return parent.values()
    return parent if isinstance(parent, list) else ()


def _run_parser(file: BinaryIO, output: BinaryIO, seconds: int) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "OPENBLAS_NUM_THREADS": "1",
    }
    try:
        ended = subprocess.run(
            [sys.executable, "-S", str(PARSER), str(seconds)],
            stdin=file,
            stdout=output,
            stderr=subprocess.PIPE,
            env=environment,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise KerasFileError(
            f"The file is refused: reading it takes more than {seconds} seconds."
        ) from None
    if ended.returncode < 0:
        raise KerasFileError(
            "The file is refused: it made the process that read it crash "
            f"(signal {-ended.returncode})."
        )
    if ended.returncode:
        last = ended.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise KerasFileError(f"The process that reads files failed: {last:.200}")


def _read_index(output: BinaryIO) -> dict[str, Any]:
    try:
        end = output.seek(-8, os.SEEK_END)
        (length,) = struct.unpack("<Q", output.read(8))
        if length > min(end, MOST_INDEX):
            raise KerasFileError("The file is refused: it names too many things.")
        output.seek(end - length)
        return json.loads(output.read(length))
    except (OSError, struct.error, RecursionError) as error:
        raise KerasFileError(f"The process that reads files failed: {error!r}") from error


def _map(file: BinaryIO) -> mmap.mmap:
    """The file's bytes, private to this process: what is written to them stays here."""
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)


def _array(
    maps: list[mmap.mmap], source: int, offset: int, shape: list[int], dtype: str
) -> np.ndarray:
    if dtype == "bfloat16":
        # NumPy has no such type; the same numbers in float32 have their last two bytes empty.
        return _array(maps, source, offset, shape, "<u2").astype("<u4").__lshift__(16).view("<f4")
    if dtype not in TYPES:
        raise KerasFileError(f"The file is refused: it holds numbers of type {dtype!r:.40}.")
    return np.ndarray(shape, dtype, maps[source], offset)
