"""Fixtures of the parity tests."""

from contextlib import contextmanager

import pytest
import torch

from tests.oracle.client import Oracle

pytest.register_assert_rewrite("tests.parity")


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
def one_thread():
    """PyTorch computes on one thread.

    Keras computes at the same time. Threads of one process that wait for a core which the other
    holds made NASNetLarge ten times as slow on two cores.
    """
    with _on_one_thread():
        yield


@pytest.fixture(scope="module")
def one_thread_in_module():
    """All tests of a module compute on one thread, and its fixtures: small images gain nothing."""
    with _on_one_thread():
        yield


@contextmanager
def _on_one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def beside_oracle(one_thread):
    """New models have float64 parameters, as those of the oracle, and compute on one thread."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(dtype)
