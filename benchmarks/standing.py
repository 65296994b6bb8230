"""Where kerastorch stands in a comparison: beside each of the others, and the best of them.

    python -m benchmarks standing FILE.json

"torch alone" is the faster of kerastorch's modes that need nothing but PyTorch, for each model.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

from rich.table import Table

from .contenders.inference import OURS
from .contest import Results, console, geometric_mean, speed

TORCH_ALONE = ("eager", "optimized", "inductor")
BEST = "the best of them"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", type=Path)
    results = json.loads(parser.parse_args().file.read_text())["results"]
    measured = list(dict.fromkeys(name for found in results.values() for name in found))
    others = [name for name in measured if name not in (*OURS, "kerastorch", "multiplication")]
    ours = {name: (name,) for name in measured if name not in (*others, "multiplication")}
    if len(set(TORCH_ALONE).intersection(ours)) > 1:
        ours["torch alone"] = TORCH_ALONE

    table = Table("kerastorch", "beside", "geometric mean", "least", "memory, most")
    for title, modes in ours.items():
        table.add_section()
        for other in (*others, BEST):
            rivals = others if other == BEST else [other]
            table.add_row(title, other, *_figures(results, modes, rivals))
    console().print(table)


def _figures(results: dict[str, Results], modes: Iterable[str], rivals: Iterable[str]) -> list[str]:
    """The mean of the speeds, the least of them, and the most memory beside the rival's."""
    speeds, memory = {}, {}
    for model, found in results.items():
        own, rival = _fastest(found, modes), _fastest(found, rivals)
        if own is not None and rival is not None:
            speeds[model] = speed(found, own, rival)
            memory[model] = found[own]["peak_mb"] / found[rival]["peak_mb"]
    if not speeds:
        return ["-", "-", "-"]
    least, most = min(speeds, key=speeds.__getitem__), max(memory, key=memory.__getitem__)
    return [
        geometric_mean(speeds),
        f"{speeds[least]:.2f} {least}",
        f"{memory[most]:.2f} {most}",
    ]


def _fastest(found: Results, names: Iterable[str]) -> str | None:
    there = [name for name in names if name in found]
    return min(there, key=lambda name: found[name]["seconds"], default=None)


if __name__ == "__main__":
    main()
