"""From a warm cache to the first prediction, in a process of its own, beside `import torch` alone.

    python benchmarks/starting.py [MODEL ...] [--rounds N]

The cache is filled with random weights. Memory is the process's peak above what the imports take
(Linux), when all of the weights have been read.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

import kerastorch
from kerastorch.convert.safetensors_files import save_safetensors
from kerastorch.hub import Checkpoint, checkpoints_of
from kerastorch.hub.cache import CachedCheckpoint

PREDICT = """
import re, sys, time
import torch
start = time.perf_counter()
import kerastorch
peak = lambda: int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) / 1024
name, size = sys.argv[1], int(sys.argv[2])
before = peak()
model = kerastorch.create_model(name, pretrained=True).eval()
loaded = time.perf_counter() - start
with torch.inference_mode():
    model(torch.zeros(1, 3, size, size))
print(loaded, peak() - before)
"""


def fill(checkpoint: Checkpoint, folder: Path) -> Path:
    """A converted file of random weights, as the hub would have made it."""
    cached = CachedCheckpoint(checkpoint, folder)
    source = {"hash": checkpoint.weights.hash, "sha256": ""}
    model = kerastorch.create_model(checkpoint.record.name)
    save_safetensors(model, cached.converted, source, with_checksums=True)
    return cached.converted


def seconds(*arguments: str) -> tuple[float, str]:
    """How long a fresh interpreter takes, and what it prints."""
    start = time.perf_counter()
    output = subprocess.check_output([sys.executable, "-c", *arguments], text=True)
    return time.perf_counter() - start, output


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    names = ["xception", "vgg16", "nasnet_mobile"]
    parser.add_argument("models", nargs="*", default=names, metavar="MODEL")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    table = Table("model", "import torch", "whole process", "more", "loading", "peak", "file")
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"KERAS_HOME": home, "KERASTORCH_OFFLINE": "1"}
        folder = Path(home, "models")
        folder.mkdir()
        for name in options.models:
            checkpoint = checkpoints_of(name)[0]
            path = fill(checkpoint, folder)
            rounds = []
            for _ in range(options.rounds + 1):  # The first reads the libraries from the disk.
                alone, _ = seconds("import torch")
                whole, output = seconds(PREDICT, name, str(checkpoint.size))
                rounds.append([alone, whole, whole - alone, *map(float, output.split())])
            alone, whole, more, loading, peak = map(
                statistics.median, zip(*rounds[1:], strict=True)
            )
            table.add_row(
                name,
                *(f"{value:.2f} s" for value in (alone, whole, more, loading)),
                f"{peak:.0f} MB",
                f"{path.stat().st_size / 2**20:.0f} MB",
            )
            path.unlink()
    Console().print(table)


if __name__ == "__main__":
    main()
