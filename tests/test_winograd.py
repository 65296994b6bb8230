"""Convolutions with fewer multiplications give what the others do."""

import copy

import pytest
import torch
import torch.nn.functional as F

import kerastorch
from kerastorch.optimization import optimize, winograd
from kerastorch.optimization.kernels import Convolution
from kerastorch.optimization.winograd import Winograd
from tests.optimizing import differ_by, images

CHANNELS = 32
TOLERANCE = 1e-5


def made(margins=((1, 1), (1, 1)), bias=True):
    """A convolution, and what computes the same in float64."""
    weight = torch.randn(CHANNELS + 2, CHANNELS, 3, 3) / (9 * CHANNELS) ** 0.5
    bias = torch.randn(CHANNELS + 2) if bias else None
    (top, bottom), (left, right) = margins

    def reference(x):
        x = F.pad(x.double(), (left, right, top, bottom))
        return F.conv2d(x, weight.double(), None if bias is None else bias.double())

    return Convolution(weight, bias, lambda _: margins), reference


@pytest.fixture
def always(monkeypatch):
    """Also where it saves no time."""
    monkeypatch.setattr(winograd, "saves_time", lambda *_: True)


def is_winograd(convolution, shape):
    return isinstance(convolution._way(torch.Size(shape)), Winograd)


@torch.no_grad()
@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("margins", [((1, 1), (1, 1)), ((0, 0), (0, 0)), ((0, 9), (13, 2))])
@pytest.mark.parametrize("size", [(8, 12), (9, 11), (14, 7), (5, 4)])
def test_it_convolves(size, margins, bias):
    convolution, reference = made(margins, bias)
    x = images(2, CHANNELS, *size)
    assert is_winograd(convolution, x.shape)
    given = convolution(x)
    assert given.is_contiguous(memory_format=torch.channels_last)
    assert differ_by(given, reference(x)) <= TOLERANCE


@torch.no_grad()
@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("rows", [1, 2, 3, 5, 12])
@pytest.mark.parametrize("margins", [((1, 1), (1, 1)), ((11, 12), (1, 1))])
def test_any_number_of_tiles_at_a_time(monkeypatch, margins, rows):
    row_size = 3 * winograd.VALUES * (CHANNELS + 2) * 4  # of 3 tiles
    monkeypatch.setattr(winograd, "CHUNK", rows * row_size)
    for batch in (1, 4, 7):
        convolution, reference = made(margins)
        x = images(batch, CHANNELS, 18, 10)
        assert is_winograd(convolution, x.shape)
        assert differ_by(convolution(x), reference(x)) <= TOLERANCE


@pytest.mark.parametrize(
    "options",
    [
        {"strides": (2, 1)},
        {"dilation": (2, 2)},
        {"groups": 2},
        {"window": (1, 3)},
        {"features": 64},
        {"channels": 32},
        {"size": (8, 8)},
    ],
    ids=str,
)
def test_where_it_would_not_do_or_not_help_it_is_not_used(options):
    options = {"window": (3, 3), "features": 512, "channels": 512, "size": (28, 28)} | options
    size, channels = options.pop("size"), options.pop("channels")
    inputs = channels // options.get("groups", 1)
    weight = torch.randn(options.pop("features"), inputs, *options.pop("window"))
    convolution = Convolution(weight, None, lambda _: ((1, 1), (1, 1)), **options)
    assert not is_winograd(convolution, (1, channels, *size))


def test_it_is_not_used_where_numbers_are_rounded_more():
    weight, margins, shape = torch.randn(512, 512, 3, 3), ((1, 1), (1, 1)), (1, 512, 28, 28)
    assert winograd.saves_time(weight, margins, torch.Size(shape))
    assert not winograd.saves_time(weight.bfloat16(), margins, torch.Size(shape))


def vgg16():
    return kerastorch.create_model("vgg16", include_top=False, input_shape=(112, 128, 3)).eval()


@torch.no_grad()
def is_used(optimized):
    with torch.profiler.profile() as profile:
        optimized(torch.rand(4, 3, 112, 128))
    return any(event.name == "aten::bmm" for event in profile.events())


def test_vgg16_gives_its_outputs():
    model = vgg16()
    x = torch.rand(4, 3, 112, 128)
    optimized = optimize(model)
    with torch.inference_mode():
        assert differ_by(optimized(x), model(x)) <= TOLERANCE
    assert is_used(optimized)


def test_it_can_be_refused():
    inputs = kerastorch.Input(shape=(112, 128, 3))
    body = vgg16()
    model = kerastorch.Model(inputs, body(inputs))
    assert is_used(optimize(model))
    optimized = optimize(model, winograd=False)
    assert not is_used(optimized)
    assert not is_used(copy.deepcopy(optimized))
    assert not is_used(optimize(body, winograd=False).feature_maps("block4_pool"))
