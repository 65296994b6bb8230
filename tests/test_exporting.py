"""Exported models compute what the models compute; `tests.exporting` does it."""

import subprocess
import sys

import pytest

import kerastorch
from tests.oracle.client import ROOT

QUICK = ("mobilenet_v2", "resnet50_v2")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in QUICK else pytest.mark.full)
        for name in kerastorch.list_models()
    ],
)
def test_exported_models_compute_the_same(name):
    command = [sys.executable, "-m", "tests.exporting", name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
