"""A contender's process: computes a batch for each line that it reads, and writes how long it took.

python -m benchmarks.worker DISCIPLINE CONTENDER MODEL BATCH SIZE
"""

import importlib
import json
import os
import re
import sys
import time
from pathlib import Path


def forget_peak() -> None:
    """Lets the system take the peak of the process's memory anew (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> float:
    """The process's peak of resident memory in MB (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+)", status)[1]) / 1024


def main() -> None:
    discipline, contender, model, batch, size = sys.argv[1:]
    contenders = importlib.import_module(f"benchmarks.contenders.{discipline}").CONTENDERS
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print does not go among the answers

    def answer(**content: object) -> None:
        print(json.dumps(content), file=answers, flush=True)

    try:
        call = contenders[contender](model, int(batch), int(size))
        call()
    except Exception as error:  # there is no such model, or others' software cannot run it
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        answer(missing=reason)
        return
    answer(ready=True)
    for _ in sys.stdin:
        forget_peak()
        start = time.perf_counter()
        call()
        answer(seconds=time.perf_counter() - start, peak=peak_memory())


if __name__ == "__main__":
    main()
