"""Embeddings as a file: Parquet, or NumPy's `.npz`.

Parquet has the columns `path` and `embedding`, an `.npz` the arrays `paths` and `embeddings`; there
is a row for each picture that could be read, in the order of the listing. What the vectors are of
stands in both as JSON: in Parquet's metadata under `kerastorch`, in an `.npz` as the array `about`.
Files are written part by part, and the same parts give the same bytes.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..convert.atomic import check_no_folder
from ..extras import need

ROWS = 4096  # of a row group of Parquet, at least

Chunks = Callable[[], Iterator[tuple[Sequence[str], np.ndarray]]]
"""Gives the paths and vectors of one part after the other, each time from the start."""


def check_output(path: Path) -> None:
    """Raises for a name of another kind of file, or a folder's, and where a package is missing."""
    if path.suffix not in (".npz", ".parquet"):
        raise ValueError(f"{path}: embeddings go into a file named *.parquet or *.npz")
    check_no_folder(path)
    if path.suffix == ".parquet":
        need("pyarrow.parquet", "parquet")


def write_embeddings(
    file: BinaryIO, suffix: str, about: dict[str, Any], features: int, chunks: Chunks
) -> None:
    """Writes a file of embeddings.

    Args:
        file: open for writing.
        suffix: `".parquet"` or `".npz"`.
        about: what they are of, as plain data.
        features: how many numbers a vector has.
        chunks: the rows.
    """
    write = _write_npz if suffix == ".npz" else _write_parquet
    write(file, json.dumps(about), features, chunks)


def read_embeddings(path: str | Path) -> tuple[list[str], np.ndarray, dict[str, Any]]:
    """What `embed` has written.

    Returns:
        The paths of the pictures, relative to the folder that was embedded, their vectors, float32
        `(pictures, features)`, and what they are of: the model, its layer, the preprocessing, and
        under `unreadable` the pictures that have no vector, with the reasons.

    Raises:
        ValueError: it is another file.
        OSError: it cannot be read.
        ModuleNotFoundError: it is Parquet, and `kerastorch[parquet]` is not installed.
    """
    path = Path(path)
    check_output(path)
    try:
        return (_read_npz if path.suffix == ".npz" else _read_parquet)(path)
    except (KeyError, ValueError, TypeError, zipfile.BadZipFile):
        raise ValueError(f"{path}: not a file of embeddings") from None


def _write_npz(file: BinaryIO, about: str, features: int, chunks: Chunks) -> None:
    paths = np.array([path for names, _ in chunks() for path in names], np.str_)
    with zipfile.ZipFile(file, "w", allowZip64=True) as archive:
        for name, array in (("paths", paths), ("about", np.array(about))):
            with _member(archive, name) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
        with _member(archive, "embeddings") as member:
            header = {"descr": "<f4", "fortran_order": False, "shape": (len(paths), features)}
            np.lib.format.write_array_header_1_0(member, header)
            for _, vectors in chunks():
                member.write(np.ascontiguousarray(vectors, "<f4").tobytes())


def _member(archive: zipfile.ZipFile, name: str):
    # A ZipInfo without a time has the same one always.
    return archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True)


def _read_npz(path: Path) -> tuple[list[str], np.ndarray, dict[str, Any]]:
    with np.load(path) as arrays:
        about = json.loads(str(arrays["about"]))
        return arrays["paths"].tolist(), arrays["embeddings"], about


def _write_parquet(file: BinaryIO, about: str, features: int, chunks: Chunks) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    vector = pa.list_(pa.float32(), features)
    schema = pa.schema({"path": pa.string(), "embedding": vector}, {"kerastorch": about})
    with pq.ParquetWriter(file, schema) as writer:
        for names, vectors in _grouped(chunks()):
            values = pa.array(vectors.reshape(-1), pa.float32())
            columns = [
                pa.array(names, pa.string()),
                pa.FixedSizeListArray.from_arrays(values, features),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def _grouped(
    chunks: Iterable[tuple[Sequence[str], np.ndarray]],
) -> Iterator[tuple[list[str], np.ndarray]]:
    """Several parts as one, so that a row group is worth a read."""
    names: list[str] = []
    vectors: list[np.ndarray] = []
    for new_names, new_vectors in chunks:
        names += new_names
        vectors.append(new_vectors)
        if len(names) >= ROWS:
            yield names, np.concatenate(vectors)
            names, vectors = [], []
    if names:
        yield names, np.concatenate(vectors)


def _read_parquet(path: Path) -> tuple[list[str], np.ndarray, dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid as error:
        raise ValueError(error) from None
    column = table["embedding"].combine_chunks()
    vectors = column.flatten().to_numpy(zero_copy_only=False)
    about = json.loads(table.schema.metadata[b"kerastorch"])
    return table["path"].to_pylist(), vectors.reshape(len(table), -1), about
