"""Computing embeddings as a Ray Data pipeline, on one machine or a cluster.

A row is a batch of the listing: tasks read and prepare it, actors, which hold the model, compute
it. So a batch is what it is in a run without Ray, whoever gets it. The process that has called
`embed` writes the parts down as they come.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from ..applications.transforms import Preprocessing
from ..engine import Model
from ..extras import need
from ..picture_files import PictureBatches, outputs_for, read_pictures
from .parts import Part

BLOCKS = 10_000  # at most, or scheduling them would be most of the work


def computing_on(address: str) -> Callable:
    """What computes the missing parts on a cluster; see `embed`."""
    need("ray.data", "ray")

    def compute(
        model: Model,
        batches: PictureBatches,
        missing: Sequence[int],
        workers: int,
        device: torch.device,
    ) -> Iterator[Part]:
        if missing:
            with _connected(address):
                yield from _compute(model, batches, missing, workers, device)

    return compute


@contextmanager
def _connected(address: str) -> Iterator[None]:
    """A connection for a `with` block, or the one that there is."""
    import ray

    if ray.is_initialized():
        yield
        return
    _check_reachable(address)
    try:
        ray.init(address, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConnectionError(f"no Ray at {address!r}: {error}") from None
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raises for a server that does not answer, for which Ray would wait for minutes."""
    server = re.fullmatch(r"(?:ray://)?(.+):(\d+)", address)
    if server is None:
        return
    try:
        socket.create_connection((server[1], int(server[2])), timeout=10).close()
    except OSError as error:
        raise ConnectionError(f"no Ray at {address!r}: {error.strerror or error}") from None


def _compute(
    model: Model,
    batches: PictureBatches,
    missing: Sequence[int],
    workers: int,
    device: torch.device,
) -> Iterator[Part]:
    import ray

    on_gpu = device.type == "cuda"
    machines = sum(node["Alive"] for node in ray.nodes())
    places = int(ray.cluster_resources().get("GPU", 0)) if on_gpu else machines
    if not places:
        raise ValueError("the cluster has no GPU")
    shared = ray.put(copy.deepcopy(model).cpu())
    rows = (
        ray.data.from_items(
            [_row(index, batches) for index in missing],
            override_num_blocks=min(len(missing), BLOCKS),
        )
        # Reading waits for disks. Asked for what actors are asked for, Ray would have them do it.
        .map(_Reader(batches.preprocessing), num_cpus=0.5)
        .map(
            _Embedder,
            fn_constructor_args=[shared, str(device), torch.get_num_threads()],
            compute=ray.data.ActorPoolStrategy(size=workers or places),
            num_gpus=1 if on_gpu else None,
        )
    )
    for row in rows.iter_rows():
        yield _part(row)


def _row(index: int, batches: PictureBatches) -> dict[str, Any]:
    """A batch of files as Ray passes it on; paths of any bytes, and no process's own."""
    paths = [os.fsencode(os.path.abspath(path)) for path in batches.paths_of(index)]
    return {"index": index, "paths": b"\0".join(paths)}


class _Reader:
    """Reads a batch, in a task."""

    def __init__(self, preprocessing: Preprocessing):
        self._preprocessing = preprocessing

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        paths = [os.fsdecode(path) for path in row["paths"].split(b"\0")]
        batch = read_pictures(int(row["index"]), paths, self._preprocessing)
        return {
            "index": batch.index,
            "images": batch.images.numpy().tobytes(),
            "shape": np.array(batch.images.shape),
            "positions": np.array(batch.positions, np.int64),
            "faults": json.dumps(batch.faults),
        }


class _Embedder:
    """Computes batches with a model that is loaded once, in an actor."""

    def __init__(self, shared: Any, device: str, threads: int):
        import ray

        # As many as in a run without Ray, since sums of other parts differ in their last bits.
        torch.set_num_threads(threads)
        self._model = ray.get(shared).to(device)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        # By NumPy, since torch takes no buffer that is empty, as where no picture could be read.
        images = np.frombuffer(bytearray(row["images"]), np.float32).reshape(row["shape"])
        images = torch.from_numpy(images)
        kept = {key: row[key] for key in ("index", "positions", "faults")}
        return {**kept, "embeddings": outputs_for(self._model, images).numpy()}


def _part(row: dict[str, Any]) -> Part:
    faults = {int(position): fault for position, fault in json.loads(row["faults"]).items()}
    return Part(int(row["index"]), row["positions"].tolist(), row["embeddings"], faults)
