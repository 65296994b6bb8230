"""`kerastorch info`."""

from __future__ import annotations

import argparse
from typing import Any

from ..applications.registry import get_record
from ..card import card, published_card
from .arguments import add_command
from .opening import add_model_or_file, is_file_name, open_model, weights_options
from .tables import new_table, print_json, print_table


def add_to(commands: argparse._SubParsersAction) -> None:
    command = add_command(
        commands,
        run,
        "info",
        "show what is known of a model: sizes, preprocessing, licence, layers to cut at",
        "kerastorch info resnet50",
        weights_options(),
    )
    add_model_or_file(command)


def run(options: argparse.Namespace) -> None:
    """Prints a model's card; of a built-in one also what is published."""
    model = open_model(options.model_or_file, options, with_weights=False)
    known = card(model)
    is_built_in = options.model is None and not is_file_name(options.model_or_file)
    published = published_card(get_record(options.model_or_file)) if is_built_in else None
    if options.json:
        print_json({**known, "published": published})
        return
    rows = new_table("", "")
    rows.show_header = False
    for name, value in {**_in_words(known), **_published_in_words(published)}.items():
        rows.add_row(name, value)
    print_table(rows)
    if known["cuts"]:
        inside = "" if known["inside"] == known["name"] else f" in {known['inside']}"
        print(f"\nLayers{inside} to take features from, the last of each resolution:\n")
        cuts = new_table("layer", ">channels", ">stride")
        for cut in known["cuts"]:
            cuts.add_row(cut["layer"], str(cut["channels"]), str(cut["stride"]))
        print_table(cuts)


def _in_words(known: dict[str, Any]) -> dict[str, str]:
    trainable = known["trainable_parameters"]
    return {
        "model": known["name"],
        "application": known["application"] or "none of Keras's",
        "input": str(known["input_shape"]),
        "output": str(known["output_shape"]),
        "layers": f"{known['layers']}, in {len(known['blocks'])} blocks",
        "parameters": f"{known['parameters']:,}, {trainable:,} of them trainable",
        "size": f"{known['bytes'] / 1e6:.1f} MB",
        "preprocessing": known["preprocessing"] or "cannot be told",
    }


def _published_in_words(published: dict[str, Any] | None) -> dict[str, str]:
    if published is None:
        return {}
    files = published["files"]
    module = published["module"].replace("kerastorch", "keras")
    accuracies = {"top-1": published["top1"], "top-5": published["top5"]}
    known = [f"{name} {value:.3f}" for name, value in accuracies.items() if value is not None]
    variants = f"{files[0]['file']} and {len(files) - 1} more" if len(files) > 2 else None
    return {
        "pixels": f"{published['pixels']}, at least {published['least_pixels']}",
        **({"accuracy": f"{', '.join(known)} on ImageNet"} if known else {}),
        "in Keras": f"{module}.{published['keras_name']}",
        "weights": variants or ", ".join(file["file"] for file in files),
        "licence": f"{published['licence']} (the weights)",
        "paper": f"{published['citation']} {published['paper']}",
    }
