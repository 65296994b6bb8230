"""Fixtures of the parity tests."""

import gc
import os
import zlib
from collections import defaultdict

# One thread for each process, also for those that tests start: two workers and their Keras
# processes compute at the same time, and threads that wait for a core which another process holds
# made NASNetLarge ten times as slow.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch

from tests.oracle.client import Oracle

pytest.register_assert_rewrite("tests.parity")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Each test has random numbers of its own, whichever ran before."""
    torch.manual_seed(zlib.crc32(item.nodeid.encode()))


def pytest_terminal_summary(terminalreporter):
    """Says the largest of each kind of number that tests record."""
    largest = defaultdict(float)
    for report in terminalreporter.getreports("passed"):
        for kind, number in report.user_properties:
            largest[kind] = max(largest[kind], number)
    for kind, number in sorted(largest.items()):
        terminalreporter.write_line(f"largest {kind}: {number:.1e}")


@pytest.fixture(scope="module")
def oracle():
    """A Keras process for the tests of one module."""
    with Oracle() as oracle:
        yield oracle


@pytest.fixture
def run_command(capsys):
    """Runs a command of kerastorch in this process."""
    from kerastorch.cli import main

    def run(*arguments):
        """The exit code and what is printed to either stream."""
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def beside_oracle():
    """New models have float64 parameters, as those of the oracle."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(dtype)


@pytest.fixture
def no_collector():
    """Without the collector of cycles, which may wait until memory is short."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()
