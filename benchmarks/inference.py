"""Inference beside Keras, timm, torchvision, onnxruntime and OpenVINO.

    python -m benchmarks inference [MODEL ...] [--contenders NAME ...] [--batch 8] [--rounds 9]
        [--keep-memory ours|all|none] [--json FILE]

For each model: the speed of each contender beside the first, the median of a call in milliseconds,
and the peak memory of its process. Memory is kept (`kerastorch.optimization.keep_memory`) in the
processes of kerastorch, in all, or in none. With `multiplication` among the contenders the other
speeds are also given as the share of what a large product of matrices reaches.
"""

from __future__ import annotations

import torch
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

import kerastorch
from kerastorch.applications import get_record

from .contenders.inference import CONTENDERS, OURS
from .contest import Results, arguments, compare, console, print_speeds, write_results

DEFAULT = [
    "keras-tensorflow",
    "keras-torch",
    "keras-onnxruntime",
    "keras-openvino",
    "timm",
    "torchvision",
    "eager",
    "optimized",
    "inductor",
    "auto",
    "multiplication",
]
MULTIPLICATION_FLOPS = 2 * 2048**3


def main() -> None:
    parser = arguments(__doc__, CONTENDERS, DEFAULT, rounds=9)
    parser.add_argument("--keep-memory", choices=["ours", "all", "none"], default="ours")
    options = parser.parse_args()

    keeps = {"ours": OURS, "all": CONTENDERS, "none": ()}[options.keep_memory]
    contenders = {name: name in keeps for name in options.contenders}
    results: dict[str, Results] = {}
    for model in options.models:
        size = get_record(model).default_size
        results[model] = compare(
            "inference", model, contenders, options.batch, size, options.rounds
        )
        if "multiplication" in contenders:
            _add_shares(results[model], options.batch * flops(model))
        if options.json:  # also what there is so far, as an hour may end early
            write_results(
                options.json,
                results,
                batch=options.batch,
                rounds=options.rounds,
                kept_memory=options.keep_memory,
            )
    note = f"batch {options.batch}, memory kept: {options.keep_memory}"
    print_speeds(results, options.contenders, note)
    if "multiplication" in contenders:
        _print_shares(results, options.contenders)


def flops(model: str) -> int:
    """Multiplications and additions for one image of the default size."""
    size = get_record(model).default_size
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        kerastorch.create_model(model).eval()(torch.empty(1, 3, size, size))
    return counter.get_total_flops()


def _add_shares(found: Results, flops: int) -> None:
    """Adds each contender's share of the rate of the multiplication."""
    peak = MULTIPLICATION_FLOPS / found["multiplication"]["seconds"]
    for measured in found.values():
        measured["share"] = flops / measured["seconds"] / peak
    found["multiplication"]["share"] = 1.0
    found["multiplication"]["gflops"] = peak / 1e9


def _print_shares(results: dict[str, Results], contenders: list[str]) -> None:
    table = Table("model", *contenders, title="Share of the rate of a large product of matrices")
    for model, found in results.items():
        cells = [f"{found[name]['share']:.0%}" if name in found else "-" for name in contenders]
        table.add_row(model, *cells)
    console().print(table)


if __name__ == "__main__":
    main()
