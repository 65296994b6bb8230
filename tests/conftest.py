"""Fixtures of the parity tests."""

import pytest
import torch

from tests.oracle.client import Oracle


@pytest.fixture(scope="module")
def oracle():
    """A Keras process for the tests of one module."""
    with Oracle() as oracle:
        yield oracle


@pytest.fixture
def float64():
    """New models have float64 parameters, as those of the oracle."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)
