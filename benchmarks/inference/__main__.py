"""Inference of contenders in processes of their own, called in turn.

    python -m benchmarks.inference [MODEL ...] [--contenders NAME ...] [--batch 8] [--rounds 9]
        [--keep-memory] [--json FILE]

For each model: the median seconds of each contender, its speed relative to the first, which is
the median of the ratios of neighbouring calls and so holds on a machine whose speed drifts, and the
peak memory of its process. With --keep-memory all processes keep the memory they free, as after
`kerastorch.optimization.keep_memory`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

import kerastorch
from kerastorch.applications import get_record

from .contenders import CONTENDERS

WARM_UP = 3
DEFAULT = ["keras-tensorflow", "timm", "torchvision", "eager", "optimized", "inductor"]
KEPT = {  # glibc's names for what `keep_memory` sets
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "2147483647",
    "MALLOC_TOP_PAD_": "536870912",
}
ROOT = Path(__file__).resolve().parents[2]


class Worker:
    """The process of a contender."""

    def __init__(self, contender: str, model: str, batch: int, keep_memory: bool):
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"} | (KEPT if keep_memory else {})
        if contender.startswith("keras-"):
            environment["KERAS_BACKEND"] = contender.removeprefix("keras-")
        size = get_record(model).default_size
        command = [sys.executable, "-m", "benchmarks.inference.worker"]
        self._process = subprocess.Popen(
            [*command, contender, model, str(batch), str(size)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.is_there = "missing" not in self._answer()

    def call(self) -> dict[str, float]:
        print(file=self._process.stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> dict:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(self._process.args[3:])} has ended without an answer")
        return json.loads(line)


def compare(
    model: str, contenders: list[str], batch: int, rounds: int, keep_memory: bool
) -> dict[str, dict[str, float]]:
    """For each contender that has the model, its seconds, relative speed and peak memory in MB."""
    workers = {name: Worker(name, model, batch, keep_memory) for name in contenders}
    there = {name: worker for name, worker in workers.items() if worker.is_there}
    times, peaks = defaultdict(list), {}
    for round_ in range(WARM_UP + rounds):
        for name, worker in there.items():
            answer = worker.call()
            peaks[name] = answer["peak"]
            if round_ >= WARM_UP:
                times[name].append(answer["seconds"])
    for worker in workers.values():
        worker.close()
    first = times[next(iter(there))]
    return {
        name: {
            "seconds": statistics.median(times[name]),
            "speed": statistics.median(a / b for a, b in zip(first, times[name], strict=True)),
            "peak_mb": peaks[name],
        }
        for name in there
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="*", default=kerastorch.list_models(), metavar="MODEL")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=DEFAULT)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--keep-memory", action="store_true")
    parser.add_argument("--json", metavar="FILE", type=Path)
    options = parser.parse_args()

    results = {}
    table = Table("model", *options.contenders, title=f"Speed beside {options.contenders[0]}")
    for model in options.models:
        found = compare(
            model, options.contenders, options.batch, options.rounds, options.keep_memory
        )
        results[model] = found
        table.add_row(model, *(_cell(found.get(name)) for name in options.contenders))
    geometric = [_geometric_mean(results, name) for name in options.contenders]
    table.add_row("geometric mean", *geometric, end_section=True)
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    if options.json:
        about = {
            "batch": options.batch,
            "rounds": options.rounds,
            "kept_memory": options.keep_memory,
            "machine": _processor(),
            "cores": os.cpu_count(),
            "kerastorch": kerastorch.__version__,
        }
        options.json.write_text(json.dumps(about | {"results": results}, indent=2))


def _cell(found: dict[str, float] | None) -> str:
    if found is None:
        return "-"
    return f"{found['speed']:.2f} ({found['seconds'] * 1e3:.0f} ms, {found['peak_mb']:.0f} MB)"


def _geometric_mean(results: dict, name: str) -> str:
    speeds = [found[name]["speed"] for found in results.values() if name in found]
    return f"{statistics.geometric_mean(speeds):.2f} of {len(speeds)}" if speeds else "-"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if "model name" in line), "")


if __name__ == "__main__":
    main()
