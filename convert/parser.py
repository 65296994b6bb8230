"""A program of its own that parses one unverified file: `python parser.py SUFFIX`.

HDF5 is parsed by C code that a broken file can crash or hang, so it runs here, under limits of
memory and time, and never in the user's process. The file comes as standard input. Standard output,
a file too, gets what had to be decoded, then an index of everything as JSON, then the length of
that JSON in eight bytes. Nothing of kerastorch is imported.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

MEMORY = 200 * 2**20  # bytes above what the imports take
MOST_OBJECTS = 100_000
MOST_TEXT = 8 * 2**20  # bytes of a config or of the names in one attribute
MOST_DECODED = 64 * 2**20  # bytes that compressed data may expand to; in larger files, 16 fold
EXPANSION = 16

ATTRIBUTES = re.compile(
    r"(layer_names|weight_names)\d*|keras_version|backend|model_config|name|dtype"
)
FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
FILTERS.add(h5py.h5z.FILTER_LZF)
NOT_THE_MODELS = {"optimizer", "optimizer_weights", "metrics"}  # at the root, never looked into
TEXTS = ("config.json", "metadata.json")
WEIGHTS = "model.weights.h5"


class Refused(Exception):
    """The file holds what is not allowed; the message says what."""


class Part(io.RawIOBase):
    """A stretch of a file as a file."""

    def __init__(self, file: io.FileIO, start: int, length: int):
        self.file, self.start, self.length, self.position = file, start, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.length}[whence]
        self.position = base + offset
        return self.position

    def readinto(self, buffer: Any) -> int:
        room = max(0, min(len(buffer), self.length - self.position))
        self.file.seek(self.start + self.position)
        count = self.file.readinto(memoryview(buffer)[:room]) or 0
        self.position += count
        return count


class Output:
    """Standard output: decoded data one after the other, and the index at the end."""

    def __init__(self, most: int):
        self.file = open(1, "r+b", buffering=0, closefd=False)  # noqa: SIM115
        self.end = 0
        self.most = most

    def reserve(self, size: int) -> int:
        """Room for decoded data; its offset."""
        if self.end + size > self.most:
            raise Refused(f"its data expand to more than {self.most >> 20} MB")
        start = self.end
        self.end += size
        return start

    def write_index(self, index: dict[str, Any]) -> None:
        text = json.dumps(index).encode()
        self.file.seek(self.end)
        self.file.write(text + struct.pack("<Q", len(text)))
        self.file.truncate()


def read_file(file: io.FileIO, size: int, output: Output) -> dict[str, Any]:
    """The index of a file: its texts, and the groups and arrays of its HDF5 part."""
    if zipfile.is_zipfile(file):
        file.seek(0)
        return read_archive(file, size, output)
    return {"texts": {}, **read_hdf5(Part(file, 0, size), 0, output)}


def read_archive(file: io.FileIO, size: int, output: Output) -> dict[str, Any]:
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        check_names([member.filename for member in members])
        texts = {name: read_text(archive, name) for name in TEXTS}
        member = archive.getinfo(WEIGHTS)
        if member.compress_type == zipfile.ZIP_STORED:
            check_sum(archive, member)
            start = data_offset(file, member)
            if start + member.file_size > size:
                raise Refused("it ends before its weights do")
            return {"texts": texts, **read_hdf5(Part(file, start, member.file_size), 0, output)}
        start = output.reserve(member.file_size)
        with archive.open(member) as packed:
            output.file.seek(start)
            while block := packed.read(1 << 20):
                output.file.write(block)
        return {
            "texts": texts,
            **read_hdf5(Part(output.file, start, member.file_size), 1, output),
        }


def check_names(names: list[str]) -> None:
    for name in names:
        parts = name.replace("\\", "/").split("/")
        if parts[0] == "" or ".." in parts or ":" in parts[0]:
            raise Refused(f"it names a path outside of itself, {name[:80]!r}")
    if len(set(names)) < len(names):
        raise Refused("it holds two members of one name")


def read_text(archive: zipfile.ZipFile, name: str) -> str:
    with archive.open(name) as member:
        text = member.read(MOST_TEXT + 1)
    if len(text) > MOST_TEXT:
        raise Refused(f"its {name} is larger than {MOST_TEXT >> 20} MB")
    return text.decode("utf-8")


def check_sum(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Reads a member to its end, when zipfile compares its CRC."""
    with archive.open(member) as stored:
        while stored.read(1 << 20):
            pass


def data_offset(file: io.FileIO, member: zipfile.ZipInfo) -> int:
    """Where an uncompressed member's bytes begin: behind its local header, name and extra field."""
    file.seek(member.header_offset + 26)
    return member.header_offset + 30 + sum(struct.unpack("<HH", file.read(4)))


def read_hdf5(part: Part, source: int, output: Output) -> dict[str, Any]:
    """The attributes of each group and where each dataset lies: in input 0 or output 1."""
    groups: dict[str, dict[str, Any]] = {}
    arrays: dict[str, dict[str, Any]] = {}
    found = 0
    with h5py.File(part, "r") as file:
        for path, item in walk(file):
            if isinstance(item, h5py.Group):
                groups[path] = read_attributes(item)
            elif isinstance(item, h5py.Dataset):
                found += item.nbytes
                arrays[path] = locate(path, item, part, source, output)
                if found > max(part.length, output.most):
                    raise Refused("its arrays share their bytes")
            else:
                raise Refused(f"{path!r} is neither a group nor an array")
    return {"groups": groups, "arrays": arrays}


def walk(file: h5py.File) -> Iterator[tuple[str, Any]]:
    """Every object with its path, by hard links only and each once."""
    seen = set()
    is_list_of_layers = not {"layer_names", "layer_names0"}.isdisjoint(file.attrs)
    skipped = () if is_list_of_layers else NOT_THE_MODELS  # A layer may have such a name.
    pending: list[tuple[str, Any]] = [("", file)]
    while pending:
        path, item = pending.pop()
        address = h5py.h5o.get_info(item.id).addr
        if address in seen:
            raise Refused(f"{path!r} is a second name for another object")
        seen.add(address)
        if len(seen) > MOST_OBJECTS:
            raise Refused(f"it holds more than {MOST_OBJECTS:,} objects")
        yield path, item
        if isinstance(item, h5py.Group):
            if len(item) > MOST_OBJECTS:
                raise Refused(f"it holds more than {MOST_OBJECTS:,} objects")
            for name in item:
                if path or name not in skipped:
                    place = f"{path}/{name}" if path else name
                    if not isinstance(item.get(name, getlink=True), h5py.HardLink):
                        raise Refused(f"{place!r} is a link to another place or file")
                    pending.append((place, item[name]))


def read_attributes(group: h5py.Group) -> dict[str, Any]:
    names = [name for name in group.attrs if ATTRIBUTES.fullmatch(name)]
    return {name: read_attribute(group, name) for name in names}


def read_attribute(item: Any, name: str) -> Any:
    """A text, or a list of texts."""
    attribute = item.attrs.get_id(name)
    count = int(np.prod(attribute.shape or (), dtype=object))
    if not count:
        return []  # An empty list of names has the type of numbers.
    if count * attribute.dtype.itemsize > MOST_TEXT:
        raise Refused(f"its attribute {name!r} is larger than {MOST_TEXT >> 20} MB")
    if attribute.dtype.kind not in "SUO" or h5py.check_ref_dtype(attribute.dtype):
        raise Refused(f"its attribute {name!r} holds no text")
    value = item.attrs[name]
    return [text(part) for part in value.ravel()] if isinstance(value, np.ndarray) else text(value)


def text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def locate(
    path: str, array: h5py.Dataset, part: Part, source: int, output: Output
) -> dict[str, Any]:
    """Where an array's bytes lie; what is compressed or in pieces is decoded into the output."""
    properties = array.id.get_create_plist()
    if properties.get_layout() == h5py.h5d.VIRTUAL:
        raise Refused(f"{path!r} is a virtual dataset")
    if properties.get_external_count():
        raise Refused(f"{path!r} is stored in another file")
    filters = {properties.get_filter(index)[0] for index in range(properties.get_nfilters())}
    if filters - FILTERS:
        raise Refused(f"{path!r} is packed by an unknown filter")
    if array.shape is None:
        raise Refused(f"{path!r} holds nothing")
    dtype = type_of(path, array)
    size = dtype.itemsize * int(np.prod(array.shape, dtype=object))
    offset = array.id.get_offset()
    if offset is None:
        source, offset = 1, decode(array, dtype, size, output)
    elif size > max(0, part.length - offset):
        raise Refused(f"{path!r} of shape {array.shape} does not fit the file")
    else:
        offset += part.start
    return {
        "source": source,
        "offset": offset,
        "shape": array.shape,
        "dtype": "bfloat16" if is_bfloat16(array) else dtype.str,
    }


def type_of(path: str, array: h5py.Dataset) -> np.dtype:
    if is_bfloat16(array):
        return np.dtype("V2")
    dtype = array.dtype
    if dtype.kind not in "fiub" or dtype.itemsize > 8:
        raise Refused(f"{path!r} holds no numbers of a known type, but {str(dtype)[:80]}")
    # HDF5 can describe numbers that no machine has; h5py gives their nearest relation.
    if array.id.get_type() != h5py.h5t.py_create(dtype, logical=True):
        raise Refused(f"{path!r} holds numbers that only resemble {dtype}")
    return dtype


def is_bfloat16(array: h5py.Dataset) -> bool:
    """Whether Keras stored bfloat16, which NumPy knows as two bytes."""
    return (
        array.dtype.kind == "V"
        and array.dtype.itemsize == 2
        and "dtype" in array.attrs
        and read_attribute(array, "dtype") == "bfloat16"
    )


def decode(array: h5py.Dataset, dtype: np.dtype, size: int, output: Output) -> int:
    """Writes an array's values into the output; the offset there."""
    start = output.reserve(size)
    if size:
        output.file.truncate(output.end)
        decoded = np.memmap(output.file, dtype, "r+", start, array.shape or (1,))
        array.read_direct(decoded.reshape(array.shape))
        decoded.flush()
    return start


def limit(seconds: int, written: int) -> None:
    """The limits of this process from here on, where the system has them."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_FSIZE, (written, written))
        with open("/proc/self/statm") as status:
            now = int(status.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        most = now + MEMORY + written
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main(seconds: int) -> None:
    file = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115
    size = os.fstat(0).st_size
    most = max(MOST_DECODED, EXPANSION * size)
    limit(seconds, most + MOST_DECODED)
    output = Output(most)
    try:
        index = read_file(file, size, output)
    except MemoryError:
        index = {"refused": f"it takes more than {MEMORY >> 20} MB of memory to read"}
    except Refused as error:
        index = {"refused": str(error)}
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        index = {"refused": f"it is broken or cut short ({error})"}
    except Exception as error:  # Whatever h5py makes of a broken file.
        index = {"refused": f"it is broken or cut short ({type(error).__name__}: {error})"}
    output.write_index(index)


if __name__ == "__main__":
    main(int(sys.argv[1]))
