"""`kerastorch predict`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from ..applications.transforms import Preprocessing
from ..engine import Model
from ..picture_files import PictureBatches, outputs_for, read_batches, shown
from ..scores import number_of_classes, probabilities
from .arguments import add_command, positive
from .computing import add_computing_options, chosen_device, report_unreadable
from .opening import add_model_or_file, open_model, weights_options
from .pictures import (
    add_picture_options,
    describe,
    listed,
    preprocessing_as_json,
    preprocessing_for,
)
from .progress import progress
from .scores import Best, best_classes, labels_for, meaning
from .tables import new_table, print_json, print_table

PLOTTED = 5  # classes of each picture


def add_to(commands: argparse._SubParsersAction) -> None:
    command = add_command(
        commands,
        run,
        "predict",
        "classify pictures",
        "kerastorch predict my_model.keras --labels labels.txt photo1.jpg photographs/",
        weights_options(),
    )
    add_model_or_file(command)
    command.add_argument(
        "images",
        metavar="IMAGE",
        nargs="+",
        help="pictures to classify, and folders of them; what cannot be read in a folder is passed "
        "over",
    )
    command.add_argument(
        "--labels",
        metavar="FILE",
        help="the classes in order, one a line, or JSON: a list, or Keras's class_indices",
    )
    command.add_argument(
        "--top", metavar="N", type=positive, default=1, help="classes to show for each (default 1)"
    )
    command.add_argument(
        "--plot",
        metavar="OUT.png",
        help="draw the pictures with their five best classes; .pdf and .svg go too",
    )
    command.add_argument(
        "--cam",
        metavar="LAYER",
        help="with --plot: show where the best class was seen, by the maps of this layer "
        "(Grad-CAM); `kerastorch info` names some",
    )
    add_picture_options(command)
    add_computing_options(command, workers=0)


@dataclass(frozen=True)
class Prediction:
    """The best classes of a picture, best first."""

    path: str
    best: list[Best]


def run(options: argparse.Namespace) -> None:
    """Classifies pictures and prints a table of the best classes of each."""
    if options.cam and not options.plot:
        raise ValueError("--cam goes with --plot, which shows its maps")
    if options.plot:
        from . import plotting

        plotting.check_output(options.plot)
    model = open_model(options.model_or_file, options)
    preprocessing = preprocessing_for(model, options)
    if options.cam:
        if number_of_classes(model) == 1:
            raise ValueError(f"--cam needs a score for each class; {model.name} gives a single one")
        plotting.check_cam(model, preprocessing, options.cam)
    labels = labels_for(model, options.labels)
    model.to(chosen_device(options))

    faults: dict[str, str] = {}
    with progress("Classifying") as report:
        predictions = list(_predictions(model, preprocessing, labels, faults, report, options))
    report_unreadable(faults)
    if not predictions:
        raise ValueError(f"none of the {len(faults)} pictures can be read")
    if options.plot:
        plotting.plot(options.plot, predictions, model, preprocessing, options.cam)
    if options.json:
        print_json(_as_json(predictions, faults, model, preprocessing, options))
    else:
        _print(predictions, model, preprocessing, options)


def _predictions(
    model: Model,
    preprocessing: Preprocessing,
    labels: list[str],
    faults: dict[str, str],
    report: Callable[[int, int], None],
    options: argparse.Namespace,
) -> Iterator[Prediction]:
    """Of the pictures that can be read; why the others cannot goes into `faults`."""
    paths = listed(options.images)
    batches = PictureBatches(paths, preprocessing, options.batch)
    top = max(options.top, PLOTTED) if options.plot else options.top
    done = 0
    for batch in read_batches(batches, options.workers):
        own = batches.paths_of(batch.index)
        for position, fault in batch.faults.items():
            if own[position] in options.images:
                raise ValueError(f"{shown(own[position])}: {fault}")
            faults[shown(own[position])] = fault
        scores = probabilities(model, outputs_for(model, batch.images))
        for position, best in zip(batch.positions, best_classes(scores, labels, top), strict=True):
            yield Prediction(own[position], best)
        done += len(own)
        report(done, len(paths))


def _print(
    predictions: list[Prediction],
    model: Model,
    preprocessing: Preprocessing,
    options: argparse.Namespace,
) -> None:
    table = new_table("image", "label", ">score")
    for prediction in predictions:
        for rank, best in enumerate(prediction.best[: options.top]):
            name = "" if rank else shown(prediction.path)
            table.add_row(name, best.label, f"{best.score:.4f}")
    print_table(table)
    print(describe(preprocessing, model, options))
    if meaning(model):
        print(meaning(model))
    if options.plot:
        print(f"Drawn in {options.plot}.")


def _as_json(
    predictions: list[Prediction],
    faults: dict[str, str],
    model: Model,
    preprocessing: Preprocessing,
    options: argparse.Namespace,
) -> dict:
    return {
        "model": model.name,
        "preprocessing": preprocessing_as_json(preprocessing),
        "pictures": [
            {
                "file": shown(prediction.path),
                "best": [asdict(best) for best in prediction.best[: options.top]],
            }
            for prediction in predictions
        ],
        "unreadable": faults,
    }
