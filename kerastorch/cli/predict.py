"""`kerastorch predict`."""

from __future__ import annotations

import argparse

from ..applications.imagenet_utils import best_labels
from ..engine.model import inference
from ..scores import final_activation, number_of_classes
from .arguments import add_command, positive
from .opening import add_model_or_file, open_model, weights_options
from .pictures import add_picture_options, describe, preprocessing_for, read_batch
from .scores import read_labels, softmax
from .tables import new_table, print_table

BATCH = 32


def add_to(commands: argparse._SubParsersAction) -> None:
    command = add_command(
        commands,
        run,
        "predict",
        "classify pictures",
        "kerastorch predict my_model.keras --labels labels.txt photo1.jpg photo2.jpg",
        weights_options(),
    )
    add_model_or_file(command)
    command.add_argument("images", metavar="IMAGE", nargs="+", help="pictures to classify")
    command.add_argument(
        "--labels",
        metavar="FILE",
        help="the classes in order, one a line, or JSON: a list, or Keras's class_indices",
    )
    command.add_argument(
        "--top", metavar="N", type=positive, default=1, help="classes to show for each (default 1)"
    )
    add_picture_options(command)


def run(options: argparse.Namespace) -> None:
    """Classifies pictures and prints a table of the best classes of each."""
    model = open_model(options.model_or_file, options)
    preprocessing = preprocessing_for(model, options)
    classes = number_of_classes(model)
    labels = read_labels(options.labels, classes) if options.labels else None
    is_logits = classes > 1 and final_activation(model) is None

    table = new_table("image", "label", ">score")
    for start in range(0, len(options.images), BATCH):
        paths = options.images[start : start + BATCH]
        with inference(model):
            scores = model(read_batch(paths, preprocessing)).numpy()
        if is_logits:
            scores = softmax(scores)
        for path, best in zip(paths, best_labels(scores, labels, options.top), strict=True):
            for rank, (label, score) in enumerate(best):
                table.add_row("" if rank else path, label, f"{score:.4f}")
    print_table(table)
    print(describe(preprocessing, model, options))
    if is_logits:
        print("The scores are the softmax of the model's outputs, which are logits.")
