"""`kerastorch verify`."""

from __future__ import annotations

import argparse
from typing import Any

from ..applications.imagenet_utils import CLASSES
from ..applications.registry import get_record
from ..engine import Model
from ..engine.layout import to_keras_layout
from ..scores import number_of_told_classes
from ..verification import verify
from .arguments import add_command
from .opening import open_model, weights_options
from .pictures import add_picture_options, preprocessing_for, read_batch
from .scores import read_labels
from .tables import print_json


def add_to(commands: argparse._SubParsersAction) -> None:
    command = add_command(
        commands,
        run,
        "verify",
        "say whether a model here and in Keras are the same, layer by layer",
        "kerastorch verify my_model.keras --images photo1.jpg photo2.jpg --report report.html",
        weights_options(),
        answers=True,
    )
    command.add_argument("file", metavar="FILE", help="the model that is run here")
    command.add_argument(
        "--against",
        metavar="OTHER",
        help="a file that is run in Keras, or a stored reference; FILE itself by default",
    )
    command.add_argument(
        "--images", metavar="IMAGE", nargs="+", default=[], help="pictures; else random numbers"
    )
    command.add_argument("--labels", metavar="FILE", help="the classes, as `predict` takes them")
    add_picture_options(command)
    command.add_argument("--seed", metavar="N", type=int, default=0, help="of the random numbers")
    command.add_argument(
        "--no-float32", action="store_true", help="compare only in float64, which decides"
    )
    command.add_argument("--report", metavar="REPORT.html", help="write the verdict as a page")
    command.add_argument(
        "--save-reference",
        metavar="REF.safetensors",
        help="keep what the reference gives, to verify against it without Keras",
    )


def run(options: argparse.Namespace) -> int:
    """Prints whether two models are equal, and else where they differ first and why."""
    model = open_model(options.file, options)
    inputs = labels = None
    if options.images:
        batch = read_batch(options.images, preprocessing_for(model, options))
        inputs = to_keras_layout(batch, model.data_format).numpy()
    if options.labels:
        labels = read_labels(options.labels, number_of_told_classes(model))
    verdict = verify(
        model if options.model else options.file,
        options.against or (options.file if options.model else None),
        inputs=inputs,
        pictures=options.images,
        labels=labels,
        application=_in_keras(model, options) if options.model else None,
        float32=not options.no_float32,
        image_size=tuple(options.size or (128, 128)),
        seed=options.seed,
        save_reference=options.save_reference,
        report=options.report,
    )
    print_json(verdict.to_json()) if options.json else print(verdict)
    return 0 if verdict.is_equal else 1


def _in_keras(model: Model, options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """The constructor in `keras.applications` of a named model, and its arguments."""
    arguments = {"include_top": not options.no_top}
    if not options.no_top:
        arguments["classes"] = options.classes or CLASSES
    if options.alpha is not None:
        arguments["alpha"] = options.alpha
    return get_record(options.model).keras_name, arguments
