"""Time and memory of converting big legacy `.h5` files, beside a plain copy and its SHA-256.

    python benchmarks/converting.py [MODEL ...]

Writes random weights in Keras's legacy layout, then, in a fresh process each and in turn, copies
and hashes the file, and converts it. Memory is the peak of what the process holds beyond the
imports and the pages of files (Linux).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
from rich.console import Console
from rich.table import Table

import kerastorch
from kerastorch.convert.rules import rules_for

COPY = """
import hashlib, json, shutil, sys, time
source, output = sys.argv[2:]
start = time.perf_counter()
shutil.copyfile(source, output)
with open(source, "rb") as file:
    hashlib.file_digest(file, "sha256")
print(json.dumps([time.perf_counter() - start, 0]))
"""
CONVERT = """
import json, re, sys, threading, time
import torch, kerastorch
from kerastorch import convert
def anonymous():
    return int(re.search(r"RssAnon:\\s*(\\d+)", open("/proc/self/status").read())[1]) / 1024
name, source, output = sys.argv[1:]
with torch.device("meta"):
    model = kerastorch.create_model(name, classifier_activation="softmax")
imports, peak, done = anonymous(), [0], threading.Event()
def watch():
    while not done.wait(0.002):
        peak[0] = max(peak[0], anonymous())
watcher = threading.Thread(target=watch)
watcher.start()
start = time.perf_counter()
convert.convert_file(source, output, model)
seconds = time.perf_counter() - start
done.set()
watcher.join()
print(json.dumps([seconds, peak[0] - imports]))
"""


def write_keras_file(name: str, path: Path) -> None:
    """A legacy `.h5` of weights for a built-in model, as Keras lays it out."""
    model = kerastorch.create_model(name, classifier_activation="softmax")
    with h5py.File(path, "w") as file:
        layers = [layer for layer in model.layers if rules_for(layer)]
        file.attrs["layer_names"] = [layer.name.encode() for layer in layers]
        file.attrs["keras_version"] = "2.2.4"
        file.attrs["backend"] = "tensorflow"
        for layer in layers:
            group = file.create_group(layer.name)
            rules = rules_for(layer)
            names = [f"{layer.name}/{number}:0" for number in range(len(rules))]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for array, rule in zip(names, rules, strict=True):
                group[array] = rule.to_keras(layer.state_dict()[rule.key]).numpy()


def measure(program: str, *arguments: str) -> tuple[float, float]:
    output = subprocess.check_output([sys.executable, "-c", program, *arguments])
    return tuple(json.loads(output))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="*", default=["vgg19", "nasnet_large"], metavar="MODEL")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    table = Table("model", "file", "copy and SHA-256", "conversion", "ratio", "anonymous memory")
    with tempfile.TemporaryDirectory() as folder:
        for name in options.models:
            source, output = Path(folder, f"{name}.h5"), Path(folder, f"{name}.safetensors")
            write_keras_file(name, source)
            rounds = []
            for _ in range(options.rounds):
                copied, _ = measure(COPY, name, str(source), str(output))
                converted, memory = measure(CONVERT, name, str(source), str(output))
                rounds.append((copied, converted, converted / copied, memory))
            copied, converted, ratio, memory = map(statistics.median, zip(*rounds, strict=True))
            size = os.path.getsize(source) / 2**20
            table.add_row(
                name,
                f"{size:.0f} MB",
                f"{copied:.2f} s",
                f"{converted:.2f} s",
                f"{ratio:.2f}",
                f"{memory:.0f} MB",
            )
    Console().print(table)


if __name__ == "__main__":
    main()
