"""Contenders in processes of their own, called in turn.

A ratio of calls of the same round holds on a machine whose speed drifts, where a ratio of means
would not; a speed is the median of such ratios. Each round begins with another contender, so that
none always follows the same one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
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
    "GLIBC_TUNABLES": "glibc.malloc.mxfast=0",
}
ROOT = Path(__file__).resolve().parents[1]

Results = dict[str, dict[str, Any]]
"""Of each contender that has a model: see `compare`."""


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
        """The seconds of one call, and the peak of the process's memory meanwhile in MB."""
        print(file=self._process.stdin, flush=True)
        return self._answer()

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # it may have ended
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
    """What each contender takes.

    Args:
        contenders: their names, and whether each keeps memory.

    Returns:
        For each that has the model: `times`, the seconds of its call in each round; `seconds`,
        their median; `peak_mb`, the most memory of the process during the last call; and
        `start_seconds`, until it had computed the first batch.
    """
    workers = {
        name: Worker(discipline, name, model, batch, size, keep)
        for name, keep in contenders.items()
    }
    found: Results = {}
    for name, worker in workers.items():
        if worker.missing is None:
            found[name] = {"times": [], "start_seconds": worker.start_seconds}
        else:
            print(f"{name} does not run {model}: {worker.missing}", file=sys.stderr)
    for number in range(WARM_UP + rounds):
        for name in _rotated(list(found), number):
            try:
                answer = workers[name].call()
            except (RuntimeError, OSError) as error:  # killed for its memory, say
                print(f"{name} stops at {model}: {error}", file=sys.stderr)
                del found[name]
                continue
            time.sleep(REST)
            found[name]["peak_mb"] = answer["peak"]
            if number >= WARM_UP:
                found[name]["times"].append(answer["seconds"])
    for worker in workers.values():
        worker.close()
    for measured in found.values():
        measured["seconds"] = statistics.median(measured["times"])
    return found


def _rotated(names: list[str], number: int) -> list[str]:
    first = number % max(1, len(names))
    return names[first:] + names[:first]


def speed(found: Results, name: str, beside: str) -> float | None:
    """How many times as fast one contender is as another; None where one lacks the model."""
    if name not in found or beside not in found:
        return None
    pairs = zip(found[beside]["times"], found[name]["times"], strict=True)
    return statistics.median(other / own for other, own in pairs)


def speeds(results: Mapping[str, Results], name: str, beside: str) -> dict[str, float]:
    """The same of each model that both have."""
    found = {model: speed(results[model], name, beside) for model in results}
    return {model: ratio for model, ratio in found.items() if ratio is not None}


def print_speeds(results: Mapping[str, Results], contenders: Sequence[str], note: str) -> None:
    """A table of models and contenders, and the geometric means of the speeds."""
    first = contenders[0]
    table = Table("model", *contenders, title=f"Speed beside {first}; {note}")
    for model, found in results.items():
        table.add_row(model, *(_cell(found, name, first) for name in contenders))
    table.add_section()
    table.add_row(
        "geometric mean", *(geometric_mean(speeds(results, name, first)) for name in contenders)
    )
    console().print(table)


def console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 240)


def _cell(found: Results, name: str, beside: str) -> str:
    if name not in found:
        return "-"
    ratio, measured = speed(found, name, beside), found[name]
    beginning = "" if ratio is None else f"{ratio:.2f} "
    return f"{beginning}({measured['seconds'] * 1e3:.0f} ms, {measured['peak_mb']:.0f} MB)"


def geometric_mean(ratios: Mapping[str, float]) -> str:
    """The mean, and of how many models it is."""
    return f"{statistics.geometric_mean(ratios.values()):.2f} of {len(ratios)}" if ratios else "-"


def write_results(path: Path, results: Mapping[str, Results], **conditions: object) -> None:
    """Writes results as JSON, with the machine, the versions and the conditions."""
    path.write_text(json.dumps({**about(), **conditions, "results": results}, indent=2))
