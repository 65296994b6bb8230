"""Folders of pictures in batches, for predictions, embeddings and evaluations.

What is done to a collection is done to the batches of its listing, which are the same however many
processes read them and wherever it begins.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from .applications.transforms import COLOR_MODES, Preprocessing
from .engine import Model
from .engine.model import inference
from .preprocessing.image import centred_box, convert_img, read_img, resampling

if TYPE_CHECKING:
    from PIL.Image import Image

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""How the names of files end that are taken for pictures where a folder is given."""


def find_pictures(folder: str | Path) -> list[Path]:
    """The pictures in a folder and those below it, told by `ENDINGS`, in the order of their paths.

    Hidden files and folders are passed over, and what is no file: a pipe would keep whoever opens
    it waiting. Links are followed.

    Returns:
        Paths relative to the folder.

    Raises:
        OSError: the folder, or one below it, cannot be read.
        ValueError: there is none.
    """
    found, seen = [], set()
    for parent, folders, files in os.walk(folder, onerror=_raise, followlinks=True):
        status = os.stat(parent)
        if (status.st_dev, status.st_ino) in seen:  # a link back
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            Path(parent, name).relative_to(folder)
            for name in files
            if name.lower().endswith(ENDINGS)
            and not name.startswith(".")
            and _is_file_or_lost(os.path.join(parent, name))
        ]
    if not found:
        raise ValueError(f"{folder}: no picture in it ({', '.join(ENDINGS)})")
    return sorted(found)


def _is_file_or_lost(path: str) -> bool:
    """Whether it is a file, or a link that leads nowhere, which is for whoever reads it to tell."""
    return os.path.isfile(path) or not os.path.exists(path)


def _raise(error: OSError) -> None:
    raise error


def shown(path: str | Path) -> str:
    """A path as text that can be printed and stored, whatever bytes it is made of."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


@dataclass(frozen=True)
class PictureBatch:
    """Pictures that were read together.

    Attributes:
        index: of the batch.
        images: those that could be read, prepared, `(pictures, channels, height, width)`.
        positions: where in the batch they stand.
        faults: why the others could not be read, by position.
    """

    index: int
    images: Tensor
    positions: list[int]
    faults: dict[int, str]


class PictureBatches(Dataset):
    """Files of pictures as batches, each read when it is asked for.

    Args:
        paths: the files.
        preprocessing: what prepares a picture.
        size: how many pictures a batch has; the last may have fewer.
        crop: how much of a picture is kept around its centre, in the proportions of the model's
            input: a part of the largest such rectangle, from 0 to 1. None for all of the picture,
            which then loses its own proportions.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        preprocessing: Preprocessing,
        size: int,
        crop: float | None = None,
    ):
        self.paths = paths
        self.preprocessing = preprocessing
        self.size = size
        self.crop = crop

    def __len__(self) -> int:
        return -(-len(self.paths) // self.size)

    def paths_of(self, index: int) -> Sequence[str | Path]:
        """The files of a batch."""
        return self.paths[index * self.size : (index + 1) * self.size]

    def __getitem__(self, index: int) -> PictureBatch:
        return read_pictures(index, self.paths_of(index), self.preprocessing, self.crop)


def read_pictures(
    index: int,
    paths: Sequence[str | Path],
    preprocessing: Preprocessing,
    crop: float | None = None,
) -> PictureBatch:
    """The batch `index`, of these files; the other arguments are those of `PictureBatches`."""
    images: dict[int, Tensor] = {}
    faults: dict[int, str] = {}
    for position, path in enumerate(paths):
        try:
            picture = read_img(path)
            if crop is not None:
                picture = _centre(picture, preprocessing, crop)
            images[position] = preprocessing([picture])
        except Exception as error:  # Pillow's decoders raise all sorts for broken files
            faults[position] = _reason(error, path)
    empty = torch.empty(0, preprocessing.channels, *preprocessing.size)
    return PictureBatch(index, torch.cat([empty, *images.values()]), list(images), faults)


def _reason(error: Exception, path: str | Path) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    reason = str(error).removeprefix(f"{path}: ")
    return reason if isinstance(error, ValueError) else f"{type(error).__name__}: {reason}"


def _centre(picture: Image, preprocessing: Preprocessing, part: float) -> Image:
    """A part of the largest box around the centre that fits, at the size that is asked for.

    All of that box is what `load_img` gives with `keep_aspect_ratio`.
    """
    height, width = preprocessing.size
    picture = convert_img(picture, COLOR_MODES[preprocessing.channels])
    left, top, right, bottom = centred_box(picture.size, (width, height))
    x, y = ((1 - part) / 2 * length for length in (right - left, bottom - top))
    return picture.resize(
        (width, height),
        resampling(preprocessing.interpolation),
        box=(left + x, top + y, right - x, bottom - y),
    )


def read_batches(
    batches: PictureBatches, workers: int = 0, indices: Sequence[int] | None = None
) -> Iterator[PictureBatch]:
    """The batches in order.

    Args:
        batches: all there are.
        workers: how many processes read ahead; 0 for none.
        indices: which to read; None for all.
    """
    chosen = range(len(batches)) if indices is None else indices
    return iter(DataLoader(batches, batch_size=None, sampler=chosen, num_workers=workers))


def outputs_for(model: Model, images: Tensor) -> Tensor:
    """What a model that gives a row of numbers for each image gives, in inference mode.

    Args:
        model: computes on its own device and in its own precision.
        images: prepared, `(pictures, channels, height, width)`; there may be none.

    Returns:
        A float32 tensor `(pictures, numbers)` on the CPU.
    """
    if not len(images):
        return torch.empty(0, model.output_shape[1])
    like = next(model.parameters(), torch.empty(()))
    with inference(model):
        return model(images.to(like)).float().cpu()
