"""The shapes that layers and models say are those that they give."""

import copy

import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st

import kerastorch
from kerastorch import Input, Model, layers
from kerastorch.config import data_format_scope
from kerastorch.engine.foreign import UnknownShape
from kerastorch.engine.layout import from_keras_layout, keras_shape
from kerastorch.layers import Conv2D, Dense, Flatten, GlobalAveragePooling2D

SIZES = st.integers(1, 9)
WINDOWS = st.tuples(st.integers(1, 4), st.integers(1, 4))
PADDINGS = st.sampled_from(["valid", "same"])
MARGINS = st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * 2)


@st.composite
def convolutions(draw, kind):
    arguments = {"kernel_size": draw(WINDOWS), "padding": draw(PADDINGS)}
    arguments[draw(st.sampled_from(["strides", "dilation_rate"]))] = draw(WINDOWS)
    if kind is not Conv2D:
        arguments["depth_multiplier"] = draw(st.integers(1, 3))
    if kind is not layers.DepthwiseConv2D:
        arguments["filters"] = draw(st.integers(1, 5))
    return kind(**arguments)


@st.composite
def transposed_convolutions(draw):
    arguments = {"kernel_size": draw(WINDOWS), "padding": draw(PADDINGS)}
    arguments[draw(st.sampled_from(["strides", "dilation_rate"]))] = draw(WINDOWS)
    arguments["output_padding"] = draw(st.none() | st.integers(0, 2))
    try:
        return layers.Conv2DTranspose(2, **arguments)
    except ValueError:  # an output padding that no convolution has
        reject()


IMAGE_LAYERS = st.one_of(
    convolutions(Conv2D),
    convolutions(layers.DepthwiseConv2D),
    convolutions(layers.SeparableConv2D),
    st.builds(layers.MaxPooling2D, WINDOWS, st.none() | WINDOWS, PADDINGS),
    st.builds(layers.AveragePooling2D, WINDOWS, st.none() | WINDOWS, PADDINGS),
    st.builds(GlobalAveragePooling2D, keepdims=st.booleans()),
    st.builds(layers.GlobalMaxPooling2D, keepdims=st.booleans()),
    st.builds(layers.ZeroPadding2D, MARGINS),
    st.builds(layers.Cropping2D, MARGINS),
    st.builds(Dense, st.integers(1, 5)),
    st.builds(Flatten),
    st.builds(layers.Reshape, st.sampled_from([(-1,), (-1, 1), (1, -1, 1), (1, 1, -1, 1)])),
    st.builds(layers.BatchNormalization, st.just(-1)),
    transposed_convolutions(),
    st.builds(layers.LayerNormalization, st.sampled_from([-1, 2, [1, 3]])),
    st.builds(layers.GroupNormalization, st.integers(1, 3)),
    st.builds(layers.UnitNormalization, st.sampled_from([-1, [1, 2]])),
    st.builds(layers.Activation, st.sampled_from(["relu", "softmax", "glu"])),
    st.builds(layers.Softmax, st.sampled_from([-1, 1, [1, 2]])),
    st.builds(layers.Normalization, st.sampled_from([-1, None])),
    st.builds(layers.Rescaling, st.just(2.0)),
    st.builds(layers.Dropout, st.just(0.5)),
    st.builds(layers.SpatialDropout2D, st.just(0.5)),
    st.builds(layers.AlphaDropout, st.just(0.5), st.sampled_from([None, (None, 1, None, 1)])),
    st.builds(layers.GaussianDropout, st.just(0.5)),
    st.builds(layers.GaussianNoise, st.just(0.5)),
    st.sampled_from([layers.ActivityRegularization, layers.ELU, layers.Identity]).map(
        lambda c: c()
    ),
    st.builds(layers.LeakyReLU),
    st.builds(layers.PReLU, shared_axes=st.none() | st.lists(st.integers(1, 3), unique=True)),
    st.builds(layers.Permute, st.permutations([1, 2, 3])),
    st.builds(layers.UpSampling2D, WINDOWS, interpolation=st.sampled_from(["nearest", "bilinear"])),
)
SEQUENCE_LAYERS = st.one_of(
    st.builds(layers.Permute, st.permutations([1, 2])),
    st.builds(layers.PReLU, shared_axes=st.none() | st.just(1)),
    st.builds(layers.UpSampling1D, st.integers(1, 4)),
    st.builds(layers.Cropping1D, MARGINS.map(lambda margins: margins[0])),
    st.builds(layers.ZeroPadding1D, MARGINS.map(lambda margins: margins[0])),
    st.builds(layers.SpatialDropout1D, st.just(0.5)),
)
VECTOR_LAYERS = st.builds(layers.RepeatVector, st.integers(1, 4))


@settings(derandomize=True, deadline=None, max_examples=600)
@given(
    st.data(),
    st.sampled_from(["channels_last", "channels_first"]),
    st.sampled_from(
        [(4, IMAGE_LAYERS), (4, IMAGE_LAYERS), (3, SEQUENCE_LAYERS), (2, VECTOR_LAYERS)]
    ),
)
def test_the_shape_that_a_layer_says_is_the_shape_that_it_gives(data, data_format, kind):
    rank, layers_of_rank = kind
    with data_format_scope(data_format):
        layer = data.draw(layers_of_rank)
        shape = data.draw(st.tuples(*[SIZES] * rank))
        hidden = data.draw(st.tuples(*[st.booleans()] * rank))
        x = from_keras_layout(torch.zeros(shape), data_format)
        try:
            symbol = layer(Input(batch_shape=shape))
            y = layer(x)
        except ValueError:  # a window or a crop larger than the image, `glu` of an odd size
            reject()
        assert symbol.shape == keras_shape(y.shape, data_format)
        assert_agrees(layer, [shape], [hidden], y)


MERGES = [
    layers.Add,
    layers.Average,
    layers.Maximum,
    layers.Minimum,
    layers.Multiply,
    layers.Subtract,
]


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.data(), st.sampled_from(["channels_last", "channels_first"]))
def test_the_shape_of_a_merge_is_the_shape_that_it_gives(data, data_format):
    ones_or_size = st.sampled_from([1, 3])
    rank = data.draw(st.integers(2, 4))
    with data_format_scope(data_format):
        if data.draw(st.booleans()):
            axis = data.draw(st.integers(1, rank - 1))
            layer = layers.Concatenate(axis=axis)
            shape = data.draw(st.tuples(*[SIZES] * rank))
            others = data.draw(st.lists(SIZES, min_size=1, max_size=3))
            shapes = [(*shape[:axis], size, *shape[axis + 1 :]) for size in others]
        else:
            layer = data.draw(st.sampled_from(MERGES))()
            others = {"min_size": 1, "max_size": 1 if type(layer) is layers.Subtract else 2}
            ranks = [rank, *data.draw(st.lists(st.integers(2, 4), **others))]
            shapes = [(2, *data.draw(st.tuples(*[ones_or_size] * (r - 1)))) for r in ranks]
        hidden = [data.draw(st.tuples(*[st.booleans()] * len(shape))) for shape in shapes]
        tensors = [from_keras_layout(torch.zeros(shape), data_format) for shape in shapes]
        y = layer(tensors)
        symbol = layer([Input(batch_shape=shape) for shape in shapes])
        assert symbol.shape == keras_shape(y.shape, data_format)
        assert_agrees(layer, shapes, hidden, y)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.data(), st.sampled_from(["channels_last", "channels_first"]))
def test_the_shape_of_a_dot_product_is_the_shape_that_it_gives(data, data_format):
    with data_format_scope(data_format):
        ranks = data.draw(st.tuples(*[st.integers(2, 4)] * 2))
        axes = [data.draw(st.integers(1, rank - 1)) for rank in ranks]
        batch, summed = data.draw(SIZES), data.draw(SIZES)
        shapes = []
        for rank, axis in zip(ranks, axes, strict=True):
            sizes = [batch, *data.draw(st.tuples(*[SIZES] * (rank - 1)))]
            sizes[axis] = summed
            shapes.append(tuple(sizes))
        layer = layers.Dot(axes, normalize=data.draw(st.booleans()))
        hidden = [data.draw(st.tuples(*[st.booleans()] * len(shape))) for shape in shapes]
        y = layer([from_keras_layout(torch.zeros(shape), data_format) for shape in shapes])
        symbol = layer([Input(batch_shape=shape) for shape in shapes])
        assert symbol.shape == keras_shape(y.shape, data_format)
        assert_agrees(layer, shapes, hidden, y)


def assert_agrees(layer, shapes, hidden, y):
    """With some of the input's sizes unknown, what is known of the output's is right."""
    partial = [
        tuple(None if hide else size for size, hide in zip(shape, hides, strict=True))
        for shape, hides in zip(shapes, hidden, strict=True)
    ]
    is_merge = isinstance(layer, (layers.Concatenate, layers.Dot, *MERGES))
    try:
        known = layer.compute_output_shape(partial if is_merge else partial[0])
    except ValueError:  # the layer's parameters hang on a size that is hidden
        return
    actual = keras_shape(y.shape, layer.data_format)
    assert len(known) == len(actual)
    assert all(size in (None, given) for size, given in zip(known, actual, strict=True))


def test_a_model_says_its_shape_at_other_sizes():
    model = kerastorch.applications.MobileNetV2(include_top=False, weights=None)
    assert model.output_shape == (None, None, None, 1280)
    assert model.compute_output_shape((2, 97, 65, 3)) == (2, 3, 2, 1280)
    assert model(torch.zeros(2, 3, 97, 65)).shape == (2, 1280, 3, 2)


def test_modules_of_torch_say_their_shapes_too():
    class Opaque(torch.nn.Module):
        def forward(self, x):
            return x * float(x.mean())

    image = Input((None, None, 3))
    x = Conv2D(4, 3, name="head")(Conv2D(4, 3, name="first")(image))
    model = Model(image, x)
    model.first = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2), torch.nn.BatchNorm2d(4))
    before = copy.deepcopy(model.state_dict())
    assert model.train().compute_output_shape((None, 11, 13, 3)) == (None, 3, 4, 4)
    assert model.compute_output_shape((5, 11, 13, 3)) == (5, 3, 4, 4)
    assert all(tensor.equal(before[key]) for key, tensor in model.state_dict().items())
    assert all(module.training for module in model.modules())
    model.first = Opaque()
    with pytest.raises(UnknownShape, match="Opaque is not known to take"):
        model.compute_output_shape((None, 11, 13, 3))
    vector = Input((4,))
    model = Model(vector, Dense(2, name="head")(vector))
    model.head = torch.nn.Linear(4, 2)
    with pytest.raises(ValueError, match="Linear is not known to take") as caught:
        model.compute_output_shape((None, 5))
    assert not isinstance(caught.value, UnknownShape)
