"""Whatever happens while a file is written, under its final name stands nothing or all of it."""

import hashlib
import os
import subprocess
import sys

import pytest

import kerastorch
from kerastorch import Input, Sequential, layers
from kerastorch.convert import convert_file
from tests.oracle.client import ROOT
from tests.test_loading import write_keras

# Converts the same file in children, again and again, and kills most of them at random moments.
KILLER = """
import hashlib, os, random, signal, sys, time
import torch, kerastorch
from kerastorch.convert import convert_file
torch.set_num_threads(1)  # a child made by fork has no others
source, target, whole, kills = sys.argv[1:]
rng, found = random.Random(0), []
start = time.perf_counter()
convert_file(source, target)
seconds = time.perf_counter() - start
for kill in range(int(kills)):
    if os.path.exists(target):
        os.unlink(target)
    child = os.fork()
    if not child:
        convert_file(source, target)
        os._exit(0)
    if kill % 10 == 9:
        os.waitpid(child, 0)  # the end of it is a moment too
    else:
        time.sleep(rng.uniform(0, 1.5 * seconds))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if os.path.exists(target):
        with open(target, "rb") as file:
            found.append(hashlib.file_digest(file, "sha256").hexdigest())
assert set(found) <= {whole}, found
print(len(found))
"""


@pytest.fixture
def source(tmp_path):
    stack = [Input((1500,)), layers.Dense(2000), layers.Dense(2000), layers.Dense(1500)]
    path = tmp_path / "big.keras"
    write_keras(kerastorch.Model(*ends(Sequential(stack)), name="big"), path)
    return path


def ends(model):
    return model.inputs, model.outputs


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are made by fork")
@pytest.mark.parametrize(("ending", "kills"), [("safetensors", 50), ("keras", 20), ("h5", 10)])
def test_a_kill_leaves_nothing_or_all(source, tmp_path, ending, kills):
    target = tmp_path / f"target.{ending}"
    convert_file(source, target)
    spared = kills // 10
    arguments = [source, target, sha256(target), str(kills + spared)]
    whole = int(subprocess.check_output([sys.executable, "-c", KILLER, *arguments], cwd=ROOT))
    assert spared <= whole < kills + spared  # of the others some were killed before the end


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files")
def test_a_full_disk_leaves_the_old_file(source, tmp_path):
    target = tmp_path / "big.safetensors"
    target.write_bytes(b"old")
    program = (
        "import resource, signal, sys; import kerastorch; from kerastorch.convert import *\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000_000, 20_000_000))\n"
        "try: convert_file(*sys.argv[1:])\n"
        "except OSError as error: print(error.filename)"
    )
    command = [sys.executable, "-c", program, source, target]
    assert subprocess.check_output(command, cwd=ROOT, text=True).strip() == str(target)
    assert target.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["big.keras", "big.safetensors"]


def test_a_file_that_is_replaced_changes_no_model(source, tmp_path):
    """A model that was loaded from a file goes on with what it had."""
    target = tmp_path / "big.safetensors"
    convert_file(source, target)
    model = kerastorch.load_model(target)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    write_keras(kerastorch.load_model(source), source)
    convert_file(source, target)
    for key, tensor in model.state_dict().items():
        assert tensor.equal(before[key])
