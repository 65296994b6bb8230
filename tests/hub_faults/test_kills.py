"""Processes that are killed, and what they leave."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kerastorch.convert.atomic import is_draft
from kerastorch.hub.cache import cached_checkpoints
from tests.hub_faults.checks import CACHED, ONLY_EXPECTED_WARNINGS
from tests.oracle.client import ROOT
from tests.published.injection import environment
from tests.published.server import PublishedServer

pytestmark = ONLY_EXPECTED_WARNINGS


# Starts in children, from an empty cache or from Keras's file there, and kills each at a random
# moment. After each kill a start with a copy of what is left, in a child too, must give the right
# model. Prints the names of what each kill has left.
KILLER = """
import hashlib, os, random, shutil, signal, sys, time, traceback
from pathlib import Path
import torch, kerastorch
from kerastorch.hub import catalogue
torch.set_num_threads(1)  # a child made by fork has no others
home, (fast, keras_file) = Path(os.environ["KERAS_HOME"]), sys.argv[1:]
copy, rng = home.with_name("copy"), random.Random(0)

def start():
    model = kerastorch.MobileNet((128, 128, 3), alpha=0.25, weights="imagenet")
    digest = hashlib.sha256()
    for tensor in model.state_dict().values():
        digest.update(tensor.numpy())
    return digest.digest()

def succeed():
    catalogue.ADDRESS = fast
    os.environ["KERAS_HOME"] = str(copy)
    assert start() == whole

def in_child(work):
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    os._exit(1)

def empty(with_keras_file):
    shutil.rmtree(home, ignore_errors=True)
    if with_keras_file:
        (home / "models").mkdir(parents=True)
        shutil.copy(keras_file, home / "models")

def time_to_start(with_keras_file):
    empty(with_keras_file)
    start()
    began = time.perf_counter()
    empty(with_keras_file)
    start()
    return time.perf_counter() - began

whole = (empty(True), start())[1]
times = time_to_start(False), time_to_start(True)
for kill in range(30):
    kind = kill % 3
    empty(kind > 0)
    child = in_child(start)
    if kind < 2:
        time.sleep(rng.uniform(0, times[kind]))
    else:  # in the few milliseconds in which the converted file is written; [!k] is no .lock
        until = time.perf_counter() + 10
        while not any(home.rglob("*.safetensors*[!k]")) and time.perf_counter() < until:
            pass
        time.sleep(rng.uniform(0, 0.002))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print(*(path.name for path in home.rglob("*.*") if path.is_file()))
    shutil.rmtree(copy, ignore_errors=True)
    if home.exists():
        shutil.copytree(home, copy)
    assert os.waitpid(in_child(succeed), 0)[1] == 0, sorted(home.rglob("*"))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="children are made by fork")
def test_kills(folder, subject, tmp_path):
    with (
        PublishedServer(folder, bytes_per_second=8_000_000) as server,
        PublishedServer(folder) as fast,
    ):
        lines = subprocess.check_output(
            [sys.executable, "-c", KILLER, fast.url, subject.original],
            env=environment(server, tmp_path / "home"),
            cwd=ROOT,
            text=True,
        ).splitlines()
    left = [
        {name for name in line.split() if not name.endswith((".lock", ".sha256"))} for line in lines
    ]
    assert len(left) == 30
    assert any(is_draft(Path(name)) and ".h5." in name for names in left for name in names)
    assert any(is_draft(Path(name)) and ".safetensors." in name for names in left for name in names)
    assert {subject.original.name} in left


def test_drafts_that_are_abandoned(server, subject, home):
    """They go when they are ten minutes old: until then somebody may be writing them."""
    drafts = [home / "models" / f".{subject.original.name}.{letter * 32}" for letter in "ab"]
    drafts[0].parent.mkdir(parents=True)
    for draft, minutes in zip(drafts, (11, 9), strict=True):
        draft.write_bytes(b"half")
        os.utime(draft, times=(time.time() - 60 * minutes,) * 2)
    subject.assert_is_right(subject.start())
    assert [draft.exists() for draft in drafts] == [False, True]
    assert [path.name for path in cached_checkpoints()[0].files()] == [
        subject.original.name,
        subject.converted_file,
        f"{subject.original.name}.sha256",
    ]
    drafts[1].unlink()
    subject.assert_cache_is_good(home, *CACHED)
