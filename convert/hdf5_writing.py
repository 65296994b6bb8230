"""Writing HDF5 files from their start to their end, with arrays in any order in memory.

HDF5 itself writes only a skeleton: the groups, the names, and where each array is to lie. The file
is then the skeleton with the arrays in its holes. So it can go straight into an archive, no model
stands in memory a second time, and a full disk is met by Python, not by HDF5.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple

import h5py
import numpy as np
import torch
from torch import Tensor

from .tensor_bytes import BLOCK, write_tensor

MOST_IN_ATTRIBUTE = 64_512  # bytes; HDF5 refuses more than 65,536 in an object's header


class Array(NamedTuple):
    """A tensor in Keras's layout, and the type in which it is stored."""

    tensor: Tensor
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        return self.tensor.numel() * self.dtype.itemsize


@dataclass
class Group:
    """What a group holds besides other groups.

    Attributes:
        attributes: texts and lists of names; a long list is split into `...0`, `...1` and so on.
        arrays: by their paths in the group.
    """

    attributes: dict[str, str | list[str]] = field(default_factory=dict)
    arrays: dict[str, Array] = field(default_factory=dict)


def write_hdf5(file: BinaryIO, groups: dict[str, Group]) -> None:
    """Writes an HDF5 file of these groups, by their paths; "/" is the root.

    The same groups give the same bytes.
    """
    skeleton = _Skeleton()
    with h5py.File(skeleton, "w") as root:
        placed = [place for path, group in groups.items() for place in _add(root, path, group)]
    position = 0
    for start, array in sorted(placed, key=lambda place: place[0]):
        skeleton.copy(file, position, start)
        write_tensor(file, array.tensor.to(array.dtype))
        position = start + array.nbytes
    skeleton.copy(file, position, skeleton.size)


def _add(root: h5py.File, path: str, content: Group) -> list[tuple[int, Array]]:
    """Makes a group and says where its arrays are to be written."""
    group = root.require_group(path)
    for name, value in content.attributes.items():
        if isinstance(value, str):
            group.attrs[name] = value
        else:
            _add_names(group, name, value)
    placed = []
    for name, array in content.arrays.items():
        dataset = _add_dataset(group, name, array)
        if array.tensor.numel():
            placed.append((dataset.get_offset(), array))
    return placed


def _add_dataset(group: h5py.Group, path: str, array: Array) -> h5py.h5d.DatasetID:
    """Makes a dataset that gets its place in the file at once and is not filled."""
    folder, _, name = path.rpartition("/")
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    properties.set_obj_track_times(False)
    dataset = h5py.h5d.create(
        (group.require_group(folder) if folder else group).id,
        name.encode(),
        h5py.h5t.py_create(_numpy_type(array.dtype), logical=True),
        h5py.h5s.create_simple(tuple(array.tensor.shape))
        if array.tensor.ndim
        else h5py.h5s.create(h5py.h5s.SCALAR),
        properties,
    )
    if array.dtype == torch.bfloat16:  # Keras's word for two bytes that NumPy cannot read
        h5py.Dataset(dataset).attrs["dtype"] = "bfloat16"
    return dataset


def _numpy_type(dtype: torch.dtype) -> np.dtype:
    return np.dtype("V2") if dtype == torch.bfloat16 else torch.empty(0, dtype=dtype).numpy().dtype


def _add_names(group: h5py.Group, attribute: str, names: list[str]) -> None:
    array = np.array([name.encode() for name in names], dtype="S")
    count = max(1, MOST_IN_ATTRIBUTE // array.itemsize)
    if len(array) <= count:
        group.attrs[attribute] = array
        return
    for part, start in enumerate(range(0, len(array), count)):
        group.attrs[f"{attribute}{part}"] = array[start : start + count]


class _Skeleton(io.RawIOBase):
    """A file in memory that only holds the pages that were written to."""

    page_size = 2048  # HDF5 hands out room for its own data in pieces of this size

    def __init__(self):
        self.pages: dict[int, bytearray] = {}
        self.size = self.position = 0

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        self.position = base + offset
        return self.position

    def truncate(self, size: int | None = None) -> int:
        self.size = self.position if size is None else size
        return self.size

    def write(self, data: Any) -> int:
        data = memoryview(data).cast("B")
        for start, page, within in self._pieces(len(data)):
            content = self.pages.setdefault(page, bytearray(self.page_size))
            piece = data[start : start + self.page_size - within]
            content[within : within + len(piece)] = piece
        self.position += len(data)
        self.size = max(self.size, self.position)
        return len(data)

    def readinto(self, buffer: Any) -> int:
        buffer = memoryview(buffer).cast("B")
        count = max(0, min(len(buffer), self.size - self.position))
        for start, page, within in self._pieces(count):
            length = min(self.page_size - within, count - start)
            content = self.pages.get(page, bytes(self.page_size))
            buffer[start : start + length] = content[within : within + length]
        self.position += count
        return count

    def _pieces(self, length: int):
        """Where pages begin in the next bytes, which pages, and where in them."""
        start = 0
        while start < length:
            page, within = divmod(self.position + start, self.page_size)
            yield start, page, within
            start += self.page_size - within

    def copy(self, file: BinaryIO, start: int, end: int) -> None:
        """Writes a stretch of this file into another."""
        self.seek(start)
        while self.position < end:
            file.write(self.read(min(BLOCK, end - self.position)))
