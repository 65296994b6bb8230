"""Eager channels_last inference beside timm's twins, called in turn.

    python benchmarks/inference.py [MODEL ...] [--batch 8] [--rounds 9]

Prints each model's median time, its twin's, and the median of the ratios of neighbouring calls,
which holds on a machine whose speed drifts. Below 1.00 kerastorch is faster.
"""

import argparse
import statistics
import time

import timm
import torch
from rich.console import Console
from rich.table import Table

import kerastorch
from kerastorch.applications import get_record

TWINS = {
    "xception": "legacy_xception",
    "vgg16": "vgg16",
    "resnet50": "resnet50",
    "resnet50_v2": "resnetv2_50",
    "inception_v3": "inception_v3",
    "inception_resnet_v2": "inception_resnet_v2",
    "mobilenet": "mobilenetv1_100",
    "mobilenet_v2": "mobilenetv2_100",
    "densenet121": "densenet121",
    "nasnet_large": "nasnetalarge",
}


def seconds(model: torch.nn.Module, images: torch.Tensor) -> float:
    start = time.perf_counter()
    model(images)
    return time.perf_counter() - start


@torch.inference_mode()
def compare(name: str, batch: int, rounds: int) -> tuple[float, float, float]:
    """The median seconds of both models, and the median ratio."""
    size = get_record(name).default_size
    models = (kerastorch.create_model(name), timm.create_model(TWINS[name]))
    models = [model.eval().to(memory_format=torch.channels_last) for model in models]
    images = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
    pairs = [[seconds(model, images) for model in models] for _ in range(rounds + 1)][1:]
    ours, theirs = (statistics.median(times) for times in zip(*pairs, strict=True))
    return ours, theirs, statistics.median(a / b for a, b in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="*", default=list(TWINS), metavar="MODEL")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    table = Table("model", "twin", "kerastorch", "timm", "ratio")
    for name in arguments.models:
        ours, theirs, ratio = compare(name, arguments.batch, arguments.rounds)
        table.add_row(name, TWINS[name], f"{ours:.3f} s", f"{theirs:.3f} s", f"{ratio:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
