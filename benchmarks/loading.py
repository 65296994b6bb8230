"""Time and peak memory of building big models from a `.safetensors` file, each in a fresh process.

    python benchmarks/loading.py [MODEL ...]

Memory is the process's peak above what the imports take (Linux), with the file's pages, all of
which have been read by then.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

import kerastorch

MEASURE = """
import json, re, sys, time
import torch, kerastorch, safetensors.torch
from kerastorch import convert
peak = lambda: int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) / 1024
name, path = sys.argv[1:]
imports = peak()
start = time.perf_counter()
model = kerastorch.create_model(name, weights=path)
built = time.perf_counter() - start
sum(float(tensor.sum()) for tensor in model.state_dict().values())
used = peak() - imports
start = time.perf_counter()
kerastorch.load_model(path)
rebuilt = time.perf_counter() - start
print(json.dumps([built, rebuilt, used]))
"""


def measure(name: str, folder: str) -> tuple[float, float, float, float]:
    """Seconds to build by name and from the file alone; megabytes of the peak and of the file."""
    path = Path(folder, f"{name}.safetensors")
    kerastorch.create_model(name).save_weights(path)
    output = subprocess.check_output([sys.executable, "-c", MEASURE, name, str(path)])
    size = os.path.getsize(path) / 2**20
    path.unlink()
    return (*json.loads(output), size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="*", default=["nasnet_large", "vgg19"], metavar="MODEL")
    table = Table("model", "by name", "from the file alone", "peak memory", "file")
    with tempfile.TemporaryDirectory() as folder:
        for name in parser.parse_args().models:
            built, rebuilt, peak, size = measure(name, folder)
            table.add_row(
                name, f"{built:.2f} s", f"{rebuilt:.2f} s", f"{peak:.0f} MB", f"{size:.0f} MB"
            )
    Console().print(table)


if __name__ == "__main__":
    main()
