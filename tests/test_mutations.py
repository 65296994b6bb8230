"""Mutated files of every format give a right model or a `KerasFileError`; see `mutations.py`."""

import subprocess
import sys

import pytest

from tests import mutations
from tests.oracle.client import ROOT


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    mutations.write_originals(folder)
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="memory and processes are watched as on Linux")
@pytest.mark.parametrize(
    ("count", "options"),
    [(1000, ["--seed", "1"]), (60, ["--seed", "2", "--launcher"])],
    ids=["forked parsers", "parsers started as users start them"],
)
def test_mutations(originals, count, options):
    command = [sys.executable, "-m", "tests.mutations", str(count), *options]
    command += ["--originals", originals]
    ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert ended.returncode == 0, ended.stdout
    assert f"{count:,} mutations of seed" in ended.stdout
