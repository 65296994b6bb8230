"""However a convolution is computed, it gives what `F.conv2d` gives."""

from unittest import mock

import pytest
import torch
import torch.nn.functional as F

from kerastorch.optimization import gemm, kernels, winograd
from kerastorch.optimization.gemm import Gemm
from kerastorch.optimization.kernels import Convolution, Direct
from kerastorch.optimization.winograd import Winograd
from tests.optimizing import differ_by, images

CHANNELS, FEATURES = 32, 34
TOLERANCE = 1e-5
WINDOWS = {Direct: 3, Gemm: 1, Winograd: 3}


@pytest.fixture(params=WINDOWS, ids=lambda way: way.__name__)
def way(request, monkeypatch):
    """Each of the ways, also where another saves more time."""
    for module in (gemm, winograd):
        saves = mock.Mock(return_value=hasattr(module, request.param.__name__))
        monkeypatch.setattr(module, "saves_time", saves)
    return request.param


def made(way, bias=True):
    """A convolution that is computed so, and what computes the same in float64."""
    window = WINDOWS[way]
    weight = torch.randn(FEATURES, CHANNELS, window, window) / (window**2 * CHANNELS) ** 0.5
    bias = torch.randn(FEATURES) if bias else None
    margin = window // 2

    def reference(x):
        offset = None if bias is None else bias.double()
        return F.conv2d(x.double(), weight.double(), offset, padding=margin)

    convolution = Convolution(weight, bias, lambda _: ((margin, margin), (margin, margin)))
    assert isinstance(convolution._way(torch.Size((2, CHANNELS, 9, 11))), way)
    return convolution, reference


@torch.no_grad()
@pytest.mark.parametrize("bias", [True, False])
def test_it_convolves(way, bias):
    convolution, reference = made(way, bias)
    for batch, *size in ((2, 9, 11), (1, 1, 1), (3, 4, 1)):
        x = images(batch, CHANNELS, *size)
        kept = x.clone()
        given = convolution(x)
        assert differ_by(given, reference(x)) <= TOLERANCE
        assert given.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(x, kept)


@torch.no_grad()
@pytest.mark.parametrize("activation", kernels.ATTRIBUTES)
def test_activations_follow(way, activation):
    convolution, reference = made(way)
    convolution.activation = activation
    x = images(2, CHANNELS, 8, 8)
    assert differ_by(convolution(x), activation(reference(x))) <= TOLERANCE


@torch.no_grad()
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", kernels.AFTER_SUM)
def test_sums_follow(way, activation, bias):
    convolution, reference = made(way, bias)
    convolution.activation = activation
    x, addend = images(2, CHANNELS, 8, 8), images(2, FEATURES, 8, 8)
    expected = activation(reference(x) + addend)
    kept = addend.clone()
    assert differ_by(convolution.plus(x, addend), expected) <= TOLERANCE
    assert torch.equal(addend, kept)
    assert differ_by(convolution.onto(x, addend), expected) <= TOLERANCE
    assert differ_by(addend, expected) <= TOLERANCE


@torch.no_grad()
def test_sums_with_what_lies_otherwise(way):
    convolution, reference = made(way)
    x, addend = images(2, CHANNELS, 8, 8), torch.rand(2, FEATURES, 8, 8)
    expected = reference(x) + addend
    assert differ_by(convolution.plus(x, addend), expected) <= TOLERANCE
    assert differ_by(convolution.onto(x, addend), expected) <= TOLERANCE


@pytest.mark.parametrize(
    ("channels", "size", "options"),
    [
        (44, (28, 28), {"strides": (2, 2)}),
        (44, (28, 28), {"groups": 2}),
        (44, (28, 28), {"margins": ((0, 0), (0, 1))}),
        (44, (28, 28), {"window": (1, 3)}),
        (44, (28, 28), {"dtype": torch.bfloat16}),
        (512, (28, 28), {}),
        (8, (224, 224), {}),
    ],
    ids=str,
)
def test_products_of_matrices_are_for_small_images(channels, size, options):
    def way_of(channels, size, window=(1, 1), margins=((0, 0), (0, 0)), dtype=None, **options):
        weight = torch.randn(channels, channels // options.get("groups", 1), *window, dtype=dtype)
        convolution = Convolution(weight, None, lambda _: margins, **options)
        return convolution._way(torch.Size((1, channels, *size)))

    assert isinstance(way_of(44, (28, 28)), Gemm)
    assert isinstance(way_of(channels, size, **options), Direct)
