"""How often a classifier is right on pictures whose classes are known.

    from kerastorch.evaluation import evaluate, in_folders

    truth = in_folders("ILSVRC2012_val", model)
    print(evaluate(model, truth, crop=0.875).top1)

The published accuracies of Keras's applications are of a single centre crop, of which `crop=0.875`
is a usual one. The default is `load_img`'s way of squeezing all of a picture into the model's
input, as it is Keras's.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .applications.imagenet_utils import CLASSES, wordnet_ids
from .applications.transforms import Preprocessing
from .engine import Model
from .picture_files import PictureBatches, find_pictures, outputs_for, read_batches, shown
from .scores import number_of_told_classes, probabilities

Truth = dict[Path, int]
"""The class of each picture, by its path."""


@dataclass(frozen=True)
class Evaluation:
    """How a classifier did.

    Attributes:
        confusion: how many pictures of each class (rows) were taken for each (columns).
        in_top5: how many have their class among the five best; None where there are no more.
        unreadable: the pictures that could not be read, and so are not counted, with the reasons.
    """

    confusion: np.ndarray
    in_top5: int | None
    unreadable: dict[str, str] = field(default_factory=dict)

    @property
    def pictures(self) -> int:
        """How many pictures are counted."""
        return int(self.confusion.sum())

    @property
    def top1(self) -> float:
        """The part of the pictures whose class has the highest score, from 0 to 1."""
        return int(np.trace(self.confusion)) / self.pictures

    @property
    def top5(self) -> float | None:
        """The part of the pictures whose class is among the five with the highest scores."""
        return None if self.in_top5 is None else self.in_top5 / self.pictures

    def confused(self, most: int = 10) -> list[tuple[int, int, int]]:
        """The pairs of classes that were confused most: `(class, taken for, pictures)`."""
        wrong = self.confusion - np.diag(np.diag(self.confusion))
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        pairs = (np.unravel_index(place, wrong.shape) for place in order)
        return [(int(i), int(j), int(wrong[i, j])) for i, j in pairs if wrong[i, j]]


def evaluate(
    model: Model,
    truth: Truth,
    *,
    preprocessing: Preprocessing | None = None,
    crop: float | None = None,
    batch_size: int = 32,
    workers: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Classifies pictures whose classes are known.

    As in Keras, a class counts as among the five best where no five have a higher score, and of
    several classes with the highest score the first is the one that was chosen.

    Args:
        model: a classifier; it computes where it is, in inference mode.
        truth: the class of each picture; see `in_folders` and `in_list`.
        preprocessing: how pictures are prepared; `model.transforms()` by default.
        crop: how much of a picture is seen, around its centre and in the proportions of the model's
            input: a part of the largest such rectangle, from 0 to 1. None for all of the picture,
            squeezed into the input.
        batch_size: how many pictures are computed at once.
        workers: how many processes read pictures ahead.
        on_progress: is told now and then how many pictures of how many are done.

    Raises:
        ValueError: the model gives no scores for classes, there is no picture in `truth`, or none
            that can be read.
    """
    if not truth:
        raise ValueError("truth is empty: there is no picture to evaluate the model on")
    paths = sorted(truth)
    classes = number_of_told_classes(model)
    batches = PictureBatches(paths, preprocessing or model.transforms(), batch_size, crop)
    confusion = np.zeros((classes, classes), np.int64)
    in_top5, done, unreadable = 0, 0, {}
    for batch in read_batches(batches, workers):
        own = batches.paths_of(batch.index)
        unreadable.update({shown(own[place]): fault for place, fault in batch.faults.items()})
        scores = probabilities(model, outputs_for(model, batch.images)).numpy()
        known = np.array([truth[own[place]] for place in batch.positions], np.int64)
        np.add.at(confusion, (known, scores.argmax(axis=1)), 1)
        in_top5 += int(_is_among_best(scores, known, 5).sum())
        done += len(own)
        if on_progress is not None:
            on_progress(done, len(paths))
    if not confusion.any():
        first, fault = next(iter(unreadable.items()))
        raise ValueError(f"none of the {len(paths)} pictures can be read; {first}: {fault}")
    return Evaluation(confusion, in_top5 if classes > 5 else None, unreadable)


def _is_among_best(scores: np.ndarray, known: np.ndarray, best: int) -> np.ndarray:
    own = np.take_along_axis(scores, known[:, None], axis=1)
    return ((scores > own).sum(axis=1) < best) & np.isfinite(scores).all(axis=1)


# Where the classes of pictures are known from


def in_folders(folder: str | Path, model: Model, labels: Sequence[str] | None = None) -> Truth:
    """The classes of pictures that lie in a folder for each class.

    The folders have the names of `labels`, if there are any; else WordNet ids (`n01440764`), for a
    model of ImageNet's classes; else any, whose order is that of the classes, as it is for Keras's
    data generators.

    Args:
        folder: the folder of the folders. Other files in it are passed over.
        model: whose classes they are.
        labels: the classes' names in their order.

    Raises:
        ValueError: a folder stands for no class, or there are not as many as classes where their
            order decides.
        OSError: a folder cannot be read.
    """
    pictures = find_pictures(folder)
    names = sorted({path.parts[0] for path in pictures if len(path.parts) > 1})
    if not names:
        raise ValueError(f"{folder}: no folder for each class in it; give a list of the classes")
    classes = number_of_told_classes(model)
    if labels is None:
        labels = folders_in_order(folder, model)
        if labels is not None and len(labels) != classes:
            raise ValueError(
                f"{folder}: {len(labels)} folders, but {model.name} has {classes} classes: give "
                "labels that are the folders' names"
            )
    known = _classes_by_name(classes, labels)
    strangers = [name for name in names if name not in known]
    if strangers:
        raise ValueError(f"{folder}: no class is named {_first_of(strangers)}")
    return {Path(folder, p): known[p.parts[0]] for p in pictures if len(p.parts) > 1}


def folders_in_order(folder: str | Path, model: Model) -> list[str] | None:
    """The names of the folders in a folder, empty ones too, where their order is the classes'.

    It is None where they are WordNet ids and the model has ImageNet's classes.

    Raises:
        OSError: the folder cannot be read.
    """
    found = (path.name for path in Path(folder).iterdir() if path.is_dir())
    names = sorted(name for name in found if not name.startswith("."))
    if number_of_told_classes(model) == CLASSES and set(names) <= set(wordnet_ids()):
        return None
    return names


def in_list(
    folder: str | Path, path: str | Path, model: Model, labels: Sequence[str] | None = None
) -> Truth:
    """The classes of pictures by a list.

    Each line has the name of a picture, with or without its ending, and after blanks or a comma its
    class: an index from 0, a WordNet id or one of `labels`; beside commas they may be in quotes, as
    in any CSV. What follows in a line is passed over, and so is a first line that is a heading.
    So it may be the `val.txt` of Caffe's or the `LOC_val_solution.csv` of Kaggle's ImageNet.
    Pictures without a line are left out.

    Args:
        folder: where the pictures lie, also in folders below it.
        path: the list.
        model: whose classes they are.
        labels: the classes' names in their order.

    Raises:
        ValueError: a line cannot be understood, or there is none for any picture.
        OSError: the list or the folder cannot be read.
    """
    classes = number_of_told_classes(model)
    known = _classes_by_name(classes, labels)
    listed = _read_list(Path(path), known, classes)
    truth = {}
    for picture in find_pictures(folder):
        names = (picture.as_posix(), picture.name, picture.stem)
        own = next((listed[name] for name in names if name in listed), None)
        if own is not None:
            truth[Path(folder, picture)] = own
    if not truth:
        raise ValueError(f"{path}: no line for a picture in {folder}")
    return truth


def _read_list(path: Path, known: Mapping[str, int], classes: int) -> dict[str, int]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a list in UTF-8: {error}") from None
    if lines and all(line.strip().isdecimal() for line in lines):
        raise ValueError(
            f"{path}: numbers alone, as in ImageNet's development kit, are in an order of its "
            "own (ILSVRC2012_ID): give lines of a picture's name and its WordNet id"
        )
    listed = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, own = _split(line, known)
        index = known.get(own)
        if index is None and own.isdecimal() and int(own) < classes:
            index = int(own)
        if index is not None:
            listed[name] = index
        elif number > 1:  # else it is a heading
            raise ValueError(f"{path}, line {number}: {own!r} is no class")
    return listed


def _split(line: str, known: Mapping[str, int]) -> tuple[str, str]:
    """The name of a picture and its class, which is a name of several words where that is known."""
    if "," in line:
        name, *more = next(csv.reader([line.strip()]))
        rest = ",".join(more)
    else:
        name, rest = [*line.split(maxsplit=1), ""][:2]
    rest = rest.strip()
    return name.strip(), rest if rest in known else re.split(r"[\s,]", rest, maxsplit=1)[0]


def _classes_by_name(classes: int, labels: Sequence[str] | None) -> dict[str, int]:
    if labels is None:
        labels = wordnet_ids() if classes == CLASSES else ()
    known = {label: index for index, label in enumerate(labels)}
    if len(known) < len(labels):
        twice = sorted(label for label, count in Counter(labels).items() if count > 1)
        raise ValueError(f"labels must be unique here; there is twice: {', '.join(twice)}")
    return known


def _first_of(names: Sequence[str]) -> str:
    more = f", nor of {len(names) - 1} others" if len(names) > 1 else ""
    return f"{shown(names[0])!r}{more}"
