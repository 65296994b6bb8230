"""`kerastorch evaluate`."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..applications.imagenet_utils import CLASSES, wordnet_ids
from ..applications.recognition import application_in
from ..applications.registry import ModelRecord
from ..engine import Model
from ..evaluation import (
    Evaluation,
    evaluate,
    folders_in_order,
    in_folders,
    in_list,
)
from ..picture_files import find_pictures
from ..scores import number_of_told_classes
from .arguments import add_command, part, positive
from .computing import WORKERS, add_computing_options, chosen_device, report_unreadable
from .opening import model_options, open_named_model
from .pictures import (
    add_picture_options,
    describe,
    preprocessing_as_json,
    preprocessing_for,
)
from .progress import progress
from .scores import labels_for
from .tables import new_table, print_json, print_table


def add_to(commands: argparse._SubParsersAction) -> None:
    command = add_command(
        commands,
        run,
        "evaluate",
        "say how often a classifier is right on pictures whose classes are known",
        "kerastorch evaluate --data ILSVRC2012_val/ --model xception --crop 0.875",
        model_options(),
    )
    command.add_argument(
        "--data",
        metavar="DIR",
        required=True,
        help="the pictures in a folder for each class, named as the class (n01440764), or, where "
        "classes have no names, in their order; with --truth in any folders",
    )
    command.add_argument(
        "--truth",
        metavar="FILE",
        help="a line for each picture: its name, and its class as a WordNet id, an index from 0 or "
        "a label (Caffe's val.txt, Kaggle's LOC_val_solution.csv)",
    )
    command.add_argument("--labels", metavar="FILE", help="the classes, as `predict` takes them")
    command.add_argument(
        "--crop",
        metavar="PART",
        type=part,
        help="see only the centre of each picture, in the input's proportions: a part of the "
        "largest such rectangle, 0.875 say (1 is load_img's keep_aspect_ratio); by default all of "
        "it is squeezed into the input, as Keras's load_img does",
    )
    command.add_argument(
        "--pairs",
        metavar="N",
        type=positive,
        default=10,
        help="how many of the most confused pairs of classes to show (default 10)",
    )
    add_picture_options(command)
    add_computing_options(command, workers=WORKERS)


def run(options: argparse.Namespace) -> None:
    """Classifies pictures whose classes are known, and prints the accuracies."""
    model = open_named_model(options)
    preprocessing = preprocessing_for(model, options)
    names = labels_for(model, options.labels) if options.labels else None
    if options.truth:
        truth = in_list(options.data, options.truth, model, names)
        without = len(find_pictures(options.data)) - len(truth)
        if without:
            print(f"kerastorch: {options.truth}: no line for {without} pictures", file=sys.stderr)
    else:
        truth = in_folders(options.data, model, names)
    model.to(chosen_device(options))
    with progress("Evaluating") as report:
        result = evaluate(
            model,
            truth,
            preprocessing=preprocessing,
            crop=options.crop,
            batch_size=options.batch,
            workers=options.workers,
            on_progress=report,
        )
    report_unreadable(result.unreadable)
    folders = None if options.truth or names else folders_in_order(options.data, model)
    labels = names or folders or _known_labels(model)
    record = _published_record(model)
    if options.json:
        recipe = {**preprocessing_as_json(preprocessing), "crop": options.crop}
        print_json(
            {"model": model.name, "preprocessing": recipe, **_as_json(result, labels, options)}
        )
        return
    _print(result, labels, record, options)
    print(describe(preprocessing, model, options))
    if folders:
        print("The folders stand for the classes in the order of their names, as in Keras.")
    if options.crop is not None:
        print(
            f"Of each picture the centre was seen, {options.crop:g} of the largest box that fits."
        )


def _known_labels(model: Model) -> list[str]:
    """A label for each class; with the WordNet id for ImageNet's, of which two are called alike."""
    labels = labels_for(model, None)
    if number_of_told_classes(model) == CLASSES:
        return [f"{name} ({id_})" for name, id_ in zip(labels, wordnet_ids(), strict=True)]
    return labels


def _published_record(model: Model) -> ModelRecord | None:
    """The record of the built-in model that this is, whose accuracies are published."""
    record = application_in(model)
    return record if record is not None and model.count_params() == record.params else None


def _as_json(result: Evaluation, labels: list[str], options: argparse.Namespace) -> dict[str, Any]:
    return {
        "pictures": result.pictures,
        "top1": result.top1,
        "top5": result.top5,
        "confused": [
            {"class": labels[own], "taken_for": labels[other], "pictures": count}
            for own, other, count in result.confused(options.pairs)
        ],
        "unreadable": result.unreadable,
    }


def _print(
    result: Evaluation,
    labels: list[str],
    record: ModelRecord | None,
    options: argparse.Namespace,
) -> None:
    measured = {"top-1": result.top1, "top-5": result.top5}
    published = {} if record is None else {"top-1": record.top1, "top-5": record.top5}
    published = {name: value for name, value in published.items() if value is not None}
    table = new_table("", ">measured", *([">published"] if published else []))
    for name, accuracy in measured.items():
        if accuracy is not None:
            row = [f"{accuracy:.4f}"]
            if published:
                row.append(f"{published[name]:.3f}" if name in published else "-")
            table.add_row(name, *row)
    print_table(table)
    passed = f"; {len(result.unreadable)} could not be read" if result.unreadable else ""
    print(f"{result.pictures} pictures{passed}.")
    pairs = result.confused(options.pairs)
    if pairs:
        print()
        confused = new_table("class", "taken for", ">pictures", ">of")
        sizes = result.confusion.sum(axis=1)
        for own, other, count in pairs:
            confused.add_row(labels[own], labels[other], str(count), str(sizes[own]))
        print_table(confused)
        print()
