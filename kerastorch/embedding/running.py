"""Computing the embeddings of a folder, and going on where that was interrupted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..applications.transforms import Preprocessing
from ..convert.atomic import replacing
from ..engine import Model
from ..picture_files import PictureBatches, find_pictures, outputs_for, read_batches, shown
from .cutting import embedder
from .files import check_output, write_embeddings
from .identity import identity_of
from .parts import Part, Parts, open_parts


@dataclass(frozen=True)
class Embedded:
    """What `embed` has done.

    Attributes:
        output: the file.
        pictures: how many vectors it has.
        features: how many numbers each vector has.
        resumed: how many of the pictures an earlier run had done already.
        unreadable: the pictures that have no vector, relative to the folder, and why.
    """

    output: Path
    pictures: int
    features: int
    resumed: int
    unreadable: dict[str, str]


def embed(
    model: Model,
    folder: str | Path,
    output: str | Path,
    *,
    layer: str | None = None,
    preprocessing: Preprocessing | None = None,
    batch_size: int = 32,
    workers: int = 0,
    restart: bool = False,
    device: str | torch.device | None = None,
    ray: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Embedded:
    """Writes a vector for each picture in a folder and those below it.

    A run that was interrupted, killed even, goes on where it was when it is started again, and
    gives the same file to the byte as one that was not. What it has done so far lies in a folder
    beside the output, named `*.parts`, until the output is complete. A picture that cannot be read
    is passed over, and tried again by a run that goes on.

    Args:
        model: takes one image; it computes in inference mode.
        folder: the pictures; see `picture_files.find_pictures`.
        output: a file named `*.parquet` or `*.npz`; one that is there is replaced in the end. See
            `read_embeddings` for what is in it.
        layer: the layer whose output is the vector, averaged over all places where it is a map;
            None for what the model's classifier takes.
        preprocessing: how pictures are prepared; `model.transforms()` by default.
        batch_size: how many pictures are computed at once. Another one may change the last bits.
        workers: how many processes read pictures ahead; with `ray` how many hold the model, 0 for
            one to each GPU or, on CPUs, one to each machine, with the threads of this process.
        restart: whether to throw away what an earlier run with other arguments, another model or
            other pictures has left.
        device: where the model computes, and is moved to; None for where it is. With `ray` copies
            of it compute, for `"cuda"` with a GPU each.
        ray: the address of a Ray cluster to compute on, as `ray.init` takes it: `"auto"` for the
            one that this machine is in, `"local"` for this machine alone; None for this process.
            Each node needs kerastorch, and sees the pictures under the same path.
        on_progress: is told now and then how many pictures of how many are done.

    Returns:
        What was done.

    Raises:
        ValueError: the model has no such layer or vector; there is no picture in the folder, or
            none that can be read; the output has another ending; parts of another run are there.
        OSError: the folder cannot be read or the output not written.
        ModuleNotFoundError: `kerastorch[parquet]` or `kerastorch[ray]` is needed and not installed.
    """
    folder, output = Path(folder), Path(output)
    check_output(output)
    compute = partial(_compute, model) if ray is None else _computing_with_ray(ray)
    own = embedder(model, layer)
    device = torch.device(device or next((p.device for p in own.parameters()), "cpu"))
    paths = [folder / path for path in find_pictures(folder)]
    batches = PictureBatches(paths, preprocessing or model.transforms(), batch_size)
    run = identity_of(own, device, batches, folder)
    with open_parts(output.with_name(f"{output.name}.parts"), run, restart) as parts:
        missing = [index for index in range(len(batches)) if not parts.is_done(index)]
        done = resumed = len(paths) - sum(len(batches.paths_of(index)) for index in missing)
        report = on_progress or (lambda done, total: None)
        report(done, len(paths))
        for part in compute(own, batches, missing, workers, device):
            parts.write(part)
            done += len(batches.paths_of(part.index))
            report(done, len(paths))
        names = [shown(path.relative_to(folder)) for path in paths]
        embedded = _write(output, parts, batches, names, run, resumed)
        parts.remove()
    return embedded


def _compute(
    whole: Model,
    model: Model,
    batches: PictureBatches,
    missing: Sequence[int],
    workers: int,
    device: torch.device,
) -> Iterator[Part]:
    whole.to(device)  # or its layers behind the cut would stay where they were
    for batch in read_batches(batches, workers, missing):
        embeddings = outputs_for(model, batch.images).numpy()
        yield Part(batch.index, batch.positions, embeddings, batch.faults)


def _computing_with_ray(address: str) -> Callable:
    from .ray_running import computing_on

    return computing_on(address)


def _write(
    output: Path,
    parts: Parts,
    batches: PictureBatches,
    names: Sequence[str],
    run: dict[str, Any],
    resumed: int,
) -> Embedded:
    """Makes one file of all parts."""

    def name(index: int, position: int) -> str:
        return names[index * batches.size + position]

    def all_parts() -> Iterator[Part]:
        return (parts.read(index) for index in range(len(batches)))

    def chunks() -> Iterator[tuple[list[str], Any]]:
        for part in all_parts():
            yield [name(part.index, position) for position in part.positions], part.embeddings

    unreadable = {
        name(part.index, position): fault
        for part in all_parts()
        for position, fault in part.faults.items()
    }
    if len(unreadable) == len(names):
        parts.remove()
        first, fault = next(iter(unreadable.items()))
        raise ValueError(f"none of the {len(names)} pictures can be read; {first}: {fault}")
    features = max(part.embeddings.shape[1] for part in all_parts())
    about = {key: value for key, value in run.items() if key != "pictures"}
    about["unreadable"] = unreadable
    draft = parts.folder / output.name  # so that nothing of it is left beside the output
    with replacing(draft) as file:
        write_embeddings(file, output.suffix, about, features, chunks)
    os.replace(draft, output)
    return Embedded(output, len(names) - len(unreadable), features, resumed, unreadable)
