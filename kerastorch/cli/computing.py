"""Where a model computes and how many pictures at once, and pictures that could not be read."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping

import torch

from .arguments import not_negative, positive

BATCH = 32
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
WORKERS = min(4, CORES)
SHOWN = 20  # faults on the terminal


def add_computing_options(command: argparse.ArgumentParser, workers: int | None) -> None:
    """Adds `--device`, `--batch` and `--workers`; `workers` is the default, None for what suits."""
    group = command.add_argument_group("computing")
    group.add_argument(
        "--device",
        metavar="DEVICE",
        help='where: "cpu", "cuda", "cuda:1", "mps"; by default a GPU where there is one',
    )
    group.add_argument(
        "--batch",
        metavar="N",
        type=positive,
        default=BATCH,
        help=f"how many pictures are computed at once (default {BATCH})",
    )
    group.add_argument(
        "--workers",
        metavar="N",
        type=not_negative,
        default=workers,
        help="processes that read pictures ahead"
        + ("" if workers is None else f" (default {workers})"),
    )


def chosen_device(options: argparse.Namespace) -> torch.device:
    """The device that was asked for, or a GPU where there is one.

    Raises:
        ValueError: there is no such device.
    """
    if options.device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=options.device).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"--device {options.device}: {str(error).splitlines()[0]}") from None


def report_unreadable(faults: Mapping[str, str]) -> None:
    """Says on the errors' stream which pictures were passed over, and why."""
    for path, fault in list(faults.items())[:SHOWN]:
        print(f"kerastorch: passed over {path}: {fault}", file=sys.stderr)
    if len(faults) > SHOWN:
        print(f"kerastorch: and {len(faults) - SHOWN} more", file=sys.stderr)
