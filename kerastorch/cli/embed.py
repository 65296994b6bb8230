"""`kerastorch embed`."""

from __future__ import annotations

import argparse

from ..embedding import embed
from .arguments import add_command
from .computing import WORKERS, add_computing_options, chosen_device, report_unreadable
from .opening import model_options, open_named_model
from .pictures import add_picture_options, preprocessing_for
from .progress import progress
from .tables import print_json


def add_to(commands: argparse._SubParsersAction) -> None:
    command = add_command(
        commands,
        run,
        "embed",
        "write a vector for each picture in a folder; what was interrupted goes on",
        "kerastorch embed photographs/ --model xception -o features.parquet",
        model_options(),
    )
    command.add_argument("folder", metavar="DIR", help="the pictures, also in folders below it")
    command.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        required=True,
        help="a .parquet or .npz file; OUT.parts beside it has what is done so far",
    )
    command.add_argument(
        "--layer",
        metavar="NAME",
        help="the layer whose output is the vector, averaged over all places where it is a map; by "
        "default what the classifier takes",
    )
    command.add_argument(
        "--restart", action="store_true", help="begin anew where another run has left parts"
    )
    command.add_argument(
        "--ray",
        metavar="ADDRESS",
        help='compute on a Ray cluster: "auto" for the one this machine is in, "local" for this '
        "machine alone; --workers is then how many processes hold the model",
    )
    add_picture_options(command)
    add_computing_options(command, workers=None)


def run(options: argparse.Namespace) -> None:
    """Writes the vectors of the pictures in a folder into a file, and says how many."""
    model = open_named_model(options)
    workers = options.workers
    if workers is None:
        workers = WORKERS if options.ray is None else 0
    # What a cluster has is not to be had here.
    on_cluster = options.ray is not None and options.device is not None
    device = options.device if on_cluster else chosen_device(options)
    with progress("Embedding") as report:
        done = embed(
            model,
            options.folder,
            options.output,
            layer=options.layer,
            preprocessing=preprocessing_for(model, options),
            batch_size=options.batch,
            workers=workers,
            restart=options.restart,
            device=device,
            ray=options.ray,
            on_progress=report,
        )
    report_unreadable(done.unreadable)
    if options.json:
        print_json(
            {
                "file": str(done.output),
                "pictures": done.pictures,
                "features": done.features,
                "resumed": done.resumed,
                "unreadable": done.unreadable,
            }
        )
        return
    earlier = f", {done.resumed} of them done before" if done.resumed else ""
    passed = f"; {len(done.unreadable)} could not be read" if done.unreadable else ""
    print(
        f"{done.output}: {done.pictures} pictures, {done.features} features each{earlier}{passed}"
    )
