"""Contenders in processes of their own, called in turn.

A ratio of neighbouring calls holds on a machine whose speed drifts, where a ratio of means would
not; a speed is the median of such ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import kerastorch

from .machine import about

WARM_UP = 3  # calls of each that do not count
REST = 0.02  # seconds after a call: threads that wait for more work keep a core for a while
KEPT = {  # glibc's names for what `keep_memory` sets
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "2147483647",
    "MALLOC_TOP_PAD_": "536870912",
}
ROOT = Path(__file__).resolve().parents[1]

Results = dict[str, dict[str, float]]


def arguments(
    description: str, contenders: Mapping[str, object], default: Sequence[str], rounds: int
) -> argparse.ArgumentParser:
    """The options that comparisons share."""
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    parser.add_argument("models", nargs="*", default=kerastorch.list_models(), metavar="MODEL")
    parser.add_argument("--contenders", nargs="+", choices=contenders, default=list(default))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--json", metavar="FILE", type=Path)
    return parser


class Worker:
    """The process of a contender.

    Args:
        discipline: `"inference"` or `"training"`.
        contender, model, batch, size: what it computes.
        keep_memory: whether it keeps memory that it frees.
    """

    def __init__(
        self,
        discipline: str,
        contender: str,
        model: str,
        batch: int,
        size: int,
        keep_memory: bool,
    ):
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"} | (KEPT if keep_memory else {})
        if contender in ("keras-tensorflow", "keras-torch"):
            environment["KERAS_BACKEND"] = contender.removeprefix("keras-")
        task = [discipline, contender, model, str(batch), str(size)]
        self._name = " ".join(task)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", *task],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        start = time.perf_counter()
        self.missing: str | None = self._answer().get("missing")
        self.start_seconds = time.perf_counter() - start

    def call(self) -> dict[str, float]:
        """The seconds of one call and the peak of the process's memory in MB."""
        print(file=self._process.stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._name} has ended without an answer")
        return json.loads(line)


def compare(
    discipline: str,
    model: str,
    contenders: Mapping[str, bool],
    batch: int,
    size: int,
    rounds: int,
) -> Results:
    """What each contender that has the model takes.

    Args:
        contenders: their names, and whether each keeps memory; speeds are beside the first.

    Returns:
        For each: `seconds`, the median of a call; `speed`, beside the first; `peak_mb`, of the
        process; and `start_seconds`, until it was ready for the first call.
    """
    workers = {
        name: Worker(discipline, name, model, batch, size, keep)
        for name, keep in contenders.items()
    }
    there = {name: worker for name, worker in workers.items() if worker.missing is None}
    for name, worker in workers.items():
        if worker.missing is not None:
            print(f"{name} does not run {model}: {worker.missing}", file=sys.stderr)
    times, peaks = defaultdict(list), {}
    for round_ in range(WARM_UP + rounds):
        for name, worker in there.items():
            answer = worker.call()
            time.sleep(REST)
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
            "start_seconds": worker.start_seconds,
        }
        for name, worker in there.items()
    }


def print_speeds(results: Mapping[str, Results], contenders: Sequence[str]) -> None:
    """A table of models and contenders, and the geometric means of the speeds."""
    table = Table("model", *contenders, title=f"Speed beside {contenders[0]}")
    for model, found in results.items():
        table.add_row(model, *(_cell(found.get(name)) for name in contenders))
    means = [geometric_mean(results, name) for name in contenders]
    table.add_section()
    table.add_row("geometric mean", *means)
    console().print(table)


def console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 200)


def _cell(found: dict[str, float] | None) -> str:
    if found is None:
        return "-"
    return f"{found['speed']:.2f} ({found['seconds'] * 1e3:.0f} ms, {found['peak_mb']:.0f} MB)"


def geometric_mean(results: Mapping[str, Results], name: str) -> str:
    speeds = [found[name]["speed"] for found in results.values() if name in found]
    return f"{statistics.geometric_mean(speeds):.2f} of {len(speeds)}" if speeds else "-"


def write_results(path: Path, results: Mapping[str, Results], **conditions: object) -> None:
    """Writes results as JSON, with the machine, the versions and the conditions."""
    path.write_text(json.dumps({**about(), **conditions, "results": results}, indent=2))
