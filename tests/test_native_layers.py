"""Layers as PyTorch modules: compilers, layouts, what they do in training, and their errors."""

import copy
import pickle
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import kerastorch
from kerastorch import Input, Model, layers, ops
from kerastorch.config import data_format_scope
from kerastorch.engine.layout import from_keras_layout, to_keras_layout
from tests import builders

IMAGE_LAYERS = [
    layers.ActivityRegularization(l1=0.5),
    layers.AlphaDropout(0.5),
    layers.ELU(0.5),
    layers.GaussianDropout(0.5),
    layers.GaussianNoise(0.5),
    layers.Identity(),
    layers.LeakyReLU(),
    layers.PReLU("he_normal"),
    layers.PReLU("he_normal", shared_axes=[1, 2]),
    layers.Permute((2, 1, 3)),
    layers.Permute((3, 1, 2)),
    layers.SpatialDropout2D(0.5),
    layers.UpSampling2D((2, 3)),
    layers.UpSampling2D((2, 3), interpolation="bilinear"),
]
PAIR_LAYERS = [
    layers.Average(),
    layers.Dot((1, 2), normalize=True),
    layers.Maximum(),
    layers.Minimum(),
    layers.Subtract(),
]
SEQUENCE_LAYERS = [
    layers.Cropping1D((1, 0)),
    layers.Permute((2, 1)),
    layers.SpatialDropout1D(0.5),
    layers.UpSampling1D(3),
    layers.ZeroPadding1D((0, 2)),
]


@pytest.fixture
def model():
    """All these layers beside each other."""
    images, sequence, vector = [Input((4, 4, 3)), Input((4, 4, 3))], Input((4, 5)), Input((6,))
    outputs = [copy.deepcopy(layer)(images[0]) for layer in IMAGE_LAYERS]
    outputs += [copy.deepcopy(layer)(images) for layer in PAIR_LAYERS]
    outputs += [copy.deepcopy(layer)(sequence) for layer in SEQUENCE_LAYERS]
    outputs.append(layers.RepeatVector(2)(vector))
    return Model([*images, sequence, vector], outputs)


def make_inputs(batch):
    shapes = [(3, 4, 4), (3, 4, 4), (4, 5), (6,)]
    generator = torch.Generator().manual_seed(batch)
    return [torch.randn(batch, *shape, generator=generator) for shape in shapes]


def test_compilers_give_equal_outputs(model):
    """In training too, for the compilers that know it."""
    inputs = make_inputs(2)
    torch.compiler.reset()
    for training in (True, False):
        model.train(training)
        torch.manual_seed(0)
        compiled = torch.compile(model, fullgraph=True, backend="eager")(inputs)
        torch.manual_seed(0)
        torch.testing.assert_close(compiled, model(inputs), rtol=0, atol=0)
    batches = [{0: torch.export.Dim("batch")}] * 4
    exported = torch.export.export(model, (inputs,), dynamic_shapes=(batches,)).module()
    for batch in (2, 5):
        inputs = make_inputs(batch)
        torch.testing.assert_close(exported(inputs), model(inputs), rtol=0, atol=0)


def test_copies_are_the_same_model(model):
    inputs = make_inputs(2)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        torch.testing.assert_close(copied.eval()(inputs), model.eval()(inputs), rtol=0, atol=0)


@pytest.mark.parametrize("training", [True, False])
def test_images_stay_channels_last(model, training):
    inputs = [
        x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x
        for x in make_inputs(2)
    ]
    outputs = model.train(training)(inputs)
    images = [output for output in outputs if output.ndim == 4]
    assert len(images) == len(IMAGE_LAYERS) + len(PAIR_LAYERS) - 1
    assert all(image.stride(1) == 1 for image in images)


@pytest.mark.parametrize(
    "builder",
    [
        builders.convolutions,
        builders.poolings,
        builders.transposed_convolutions,
        builders.normalisations,
        builders.sequences,
        builders.sequential,
    ],
)
def test_models_print_as_torch_prints_modules(builder):
    model = builder(kerastorch)
    lines = repr(model).splitlines()
    assert all(any(f"({name}): " in line for line in lines) for name, _ in model.named_children())


def test_layers_are_their_torch_twins():
    assert isinstance(layers.LeakyReLU(), nn.LeakyReLU)
    assert isinstance(layers.ELU(), nn.ELU)
    assert isinstance(layers.Identity(), nn.Identity)
    assert isinstance(layers.SpatialDropout2D(0.5), nn.Dropout)


# Channels first in Keras too


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_axes_are_those_of_keras(data_format):
    """Held against NumPy on arrays in Keras's layout."""
    x, y = np.random.default_rng(0).normal(size=(2, 2, 3, 4, 5))
    height, width = (1, 2) if data_format == "channels_last" else (2, 3)

    def apply(layer, *arrays):
        tensors = [from_keras_layout(torch.from_numpy(array), data_format) for array in arrays]
        result = layer(tensors if len(tensors) > 1 else tensors[0])
        return to_keras_layout(result, data_format).detach().numpy()

    with data_format_scope(data_format):
        permuted = apply(layers.Permute((3, 1, 2)), x)
        assert (permuted == x.transpose(0, 3, 1, 2)).all()
        product = apply(layers.Dot((2, -2)), x, y)
        np.testing.assert_allclose(product, np.einsum("bijk,bljm->biklm", x, y))
        enlarged = apply(layers.UpSampling2D((2, 3)), x)
        assert (enlarged == x.repeat(2, height).repeat(3, width)).all()
        slopes = layers.PReLU("ones", shared_axes=[1, 3])
        slopes.build(x.shape)
        slopes.double().alpha.data.view(-1)[:] = torch.arange(4)
        expected = np.where(x > 0, x, x * np.arange(4)[:, None])
        np.testing.assert_allclose(apply(slopes, x), expected)


def test_sequences_are_channels_last_but_for_padding():
    x = torch.ones(2, 4, 5)
    assert layers.ZeroPadding1D(1, data_format="channels_first")(x).shape == (2, 4, 7)
    with data_format_scope("channels_first"):
        assert layers.ZeroPadding1D(1)(Input((4, 5))).shape == (None, 4, 7)
        assert layers.Cropping1D(1)(Input((4, 5))).shape == (None, 2, 5)
        assert layers.UpSampling1D(3)(x).shape == (2, 12, 5)
        assert (layers.SpatialDropout1D(0.5).train()(x).std(1) == 0).all()


# Training


def disturbed(layer, x):
    """What a layer makes of values in training; in inference it gives them back."""
    torch.manual_seed(0)
    assert torch.equal(layer.eval()(x), x)
    assert not torch.equal(layer(x, training=True), x)
    layer.train()
    assert torch.equal(layer(x, training=False), x)
    return layer(x)


@pytest.mark.parametrize("activation", [layers.LeakyReLU(0.1), nn.PReLU()], ids=["Layer", "torch"])
@pytest.mark.parametrize("bare", [layers.Dense, partial(layers.Conv2D, kernel_size=1)])
def test_an_activation_may_be_a_module(bare, activation):
    plain, layer = bare(3), bare(3, activation=activation)
    x = torch.randn(2, 3, 4, 5)
    plain(x), layer(x)
    layer.load_state_dict(plain.state_dict(), strict=False)
    for one in (layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(one(x), activation(plain(x)))
        own = [key for key, _ in one.named_parameters() if key.startswith("activation")]
        assert len(own) == len(list(activation.parameters()))


def test_sequences_of_channels_first_are_flattened_as_in_keras():
    x = torch.arange(6.0).reshape(1, 2, 3)
    assert layers.Flatten(data_format="channels_first")(x).tolist() == [[0, 3, 1, 4, 2, 5]]
    assert layers.Flatten(data_format="channels_last")(x).tolist() == [[0, 1, 2, 3, 4, 5]]


def test_an_empty_batch_keeps_its_sizes():
    image = torch.zeros(0, 3, 4, 5)
    assert layers.Flatten()(image).shape == (0, 60)
    assert layers.Reshape((-1, 2, 3))(image).shape == (0, 3, 10, 2)
    vector = torch.zeros(0, 4)
    assert layers.Dot(1)([vector, vector]).shape == (0, 1)


def test_groups_of_a_single_value():
    layer = layers.GroupNormalization(-1, beta_initializer="ones").eval()
    assert torch.allclose(layer(torch.randn(1, 8, 1, 1)), torch.ones(1, 8, 1, 1))


def test_images_of_integers():
    """Are computed with as Keras casts them, not in their own type."""
    image = torch.full((1, 3, 2, 2), 250, dtype=torch.uint8)
    assert torch.allclose(
        layers.Rescaling([0.5, 0.1, 1 / 250])(image)[0, :, 0, 0], torch.tensor([125.0, 25, 1])
    )
    normalization = layers.Normalization(mean=[124.0] * 3, variance=[0.25] * 3)
    assert torch.equal(normalization(image), torch.full((1, 3, 2, 2), 252.0))
    grey = ops.RGBToGrayscale()(image)
    assert grey.dtype == torch.uint8
    assert grey.flatten().tolist() == [249] * 4  # cut off, as TensorFlow's cast does


def test_gaussian_noise_is_added():
    noise = disturbed(layers.GaussianNoise(0.25), torch.full((400, 500), 3.0)) - 3
    assert abs(noise.mean()) < 2e-3
    assert abs(noise.std() - 0.25) < 2e-3


def test_gaussian_dropout_multiplies():
    factor = disturbed(layers.GaussianDropout(0.2), torch.full((400, 500), 3.0)) / 3
    assert abs(factor.mean() - 1) < 5e-3
    assert abs(factor.std() - 0.5) < 5e-3


def test_alpha_dropout_keeps_mean_and_variance():
    x = torch.randn(400, 500, generator=torch.Generator().manual_seed(1))
    y = disturbed(layers.AlphaDropout(0.3), x)
    assert abs(y.mean()) < 0.02
    assert abs(y.std() - 1) < 0.02
    twin = nn.AlphaDropout(0.3)(torch.full((2000,), 2.0))
    torch.testing.assert_close(
        disturbed(layers.AlphaDropout(0.3), torch.full((2000,), 2.0)).unique(), twin.unique()
    )
    assert torch.equal(layers.AlphaDropout(0.0).train()(x), x)


def test_dropout_of_what_belongs_together():
    """A channel of an image, a feature of a sequence, what `noise_shape` says."""
    image, sequence = torch.ones(6, 8, 4, 5), torch.ones(6, 4, 8)
    for layer, x, axes in [
        (layers.SpatialDropout2D(0.5), image, (2, 3)),
        (layers.SpatialDropout1D(0.5), sequence, (1,)),
        (layers.AlphaDropout(0.5, noise_shape=(None, 1, None, 8)), image, (2,)),
    ]:
        y = disturbed(layer, x)
        assert (y.amax(axes) == y.amin(axes)).all()
        assert len(y.unique()) == 2
    with data_format_scope("channels_first"):
        y = layers.SpatialDropout2D(0.5).train()(image)
        assert (y.std((2, 3)) == 0).all()


@pytest.mark.parametrize("layer", [layers.Maximum(), layers.Minimum()])
def test_nan_is_the_largest_and_the_smallest(layer):
    nan = torch.tensor([1.0, torch.nan, torch.nan])
    assert layer([nan, nan.flip(0)]).isnan().tolist() == [True, True, True]


@pytest.mark.parametrize(
    ("layer", "gradients"),
    [
        (layers.Maximum(), [[1, 1, 1], [0, 0, 0]]),
        (layers.Minimum(), [[1, 1, 0], [0, 0, 1]]),
    ],
)
def test_of_equal_values_the_first_takes_the_gradient(layer, gradients):
    """The figures are TensorFlow's."""
    x = torch.tensor([0.0, 1.0, 2.0], requires_grad=True)
    y = torch.tensor([0.0, 1.0, 1.0], requires_grad=True)
    layer([x, y]).sum().backward()
    assert [x.grad.tolist(), y.grad.tolist()] == gradients


def test_slopes_at_0_have_no_gradient():
    """As in TensorFlow."""
    x, layer = torch.tensor([[0.0, 1.0, -1.0]], requires_grad=True), layers.PReLU("ones")
    layer(x).sum().backward()
    assert x.grad.tolist() == [[0, 1, 1]]
    assert layer.alpha.grad.tolist() == [0, 0, -1]


def test_directions_of_length_0_have_gradients():
    x = torch.zeros(2, 3, requires_grad=True)
    layers.Dot(1, normalize=True)([x, torch.ones(2, 3)]).sum().backward()
    assert x.grad.isfinite().all()


def test_slopes_under_autocast():
    x, layer = torch.randn(2, 5, requires_grad=True), layers.PReLU("ones")
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(layers.Dense(5)(x))
    assert y.dtype == torch.bfloat16
    y.sum().backward()
    assert layer.alpha.grad.dtype == torch.float32


# Errors


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.LeakyReLU(-0.1), "negative_slope is not negative"),
        (lambda: layers.GaussianNoise(1.5), "stddev is a number from 0 to 1"),
        (lambda: layers.GaussianDropout(1.0), "rate is a number from 0 to below 1"),
        (lambda: layers.AlphaDropout(-0.1), "rate is a number from 0 to below 1"),
        (lambda: layers.SpatialDropout2D(2), "rate is a number from 0 to 1"),
        (lambda: layers.Dot((1, 2, 3)), "axes is an axis or two"),
        (lambda: layers.Dot("1"), "axes is an axis or two"),
        (lambda: layers.Permute((1, 3)), "dims orders the axes"),
        (lambda: layers.RepeatVector(0), "n is a positive integer"),
        (lambda: layers.UpSampling1D(1.5), "size is a positive integer"),
        (lambda: layers.UpSampling2D((2, 0)), "size is a positive integer or two"),
        (lambda: layers.UpSampling2D(2, interpolation="area"), "'nearest' or 'bilinear'"),
        (lambda: layers.Cropping1D((1, -1)), "cropping is"),
        (lambda: layers.ZeroPadding1D((1, 2, 3)), "padding is"),
    ],
)
def test_arguments_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()


IMAGE, SEQUENCE = Input((4, 5, 6)), Input((4, 5))


@pytest.mark.parametrize(
    ("layer", "given", "message"),
    [
        (layers.Subtract(), [IMAGE] * 3, "a list of two inputs"),
        (layers.Dot(1), [IMAGE], "a list of two inputs"),
        (layers.Dot((1, 2)), [IMAGE, IMAGE], "whose sizes differ"),
        (layers.Dot(3), [IMAGE, SEQUENCE], "out of range"),
        (layers.Dot((0, 1)), [IMAGE, SEQUENCE], "cannot sum over the batch"),
        (layers.Maximum(), IMAGE, "takes a list of inputs"),
        (layers.Permute((2, 1)), IMAGE, "orders 2 axes"),
        (layers.RepeatVector(2), SEQUENCE, "rank 2"),
        (layers.UpSampling1D(), IMAGE, "rank 3"),
        (layers.UpSampling2D(), SEQUENCE, "rank 4"),
        (layers.SpatialDropout1D(0.5), IMAGE, "rank 3"),
        (layers.SpatialDropout2D(0.5), SEQUENCE, "rank 4"),
        (layers.Cropping1D(2), SEQUENCE, "would leave nothing"),
        (layers.PReLU(), Input((None, 5)), "needs to know the sizes"),
        (layers.PReLU(shared_axes=3), SEQUENCE, "from 1 to 2"),
        (layers.PReLU(shared_axes=0), SEQUENCE, "from 1 to 2"),
    ],
)
def test_inputs_are_checked(layer, given, message):
    with pytest.raises(ValueError, match=message):
        layer(given)


def test_slopes_take_inputs_of_one_shape():
    layer = layers.PReLU()
    layer(SEQUENCE)
    with pytest.raises(ValueError, match=r"has slopes for \(4, 5\)"):
        layer(Input((4, 6)))
    shared = layers.PReLU(shared_axes=[1])
    shared(SEQUENCE)
    assert shared(Input((9, 5))).shape == (None, 9, 5)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("padding", [((0, 1), (2, 3)), ((0, 0), (0, 0)), ((3, 0), (0, 0))])
def test_zeros_around_images(padding, memory_format):
    """They are those of `F.pad`, and so are all kinds of gradients."""
    layer = layers.ZeroPadding2D(padding)
    vertical, horizontal = padding
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64).to(memory_format=memory_format)
    for given in (x, x[:, :, 1:, :-1], x[:, :2]):
        expected = F.pad(given, (*horizontal, *vertical))
        assert torch.equal(layer(given), expected)
        assert layer(given).stride() == expected.stride()
    x.requires_grad_()
    assert torch.autograd.gradcheck(layer, x, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(layer, x)
    torch.testing.assert_close(torch.func.vmap(layer)(x[None])[0], layer(x), rtol=0, atol=0)


def test_zeros_around_tensors_of_a_class_of_their_own():
    """They keep it, as with `F.pad`."""

    class Marked(torch.Tensor):
        pass

    x = torch.randn(1, 2, 3, 4)
    padded = layers.ZeroPadding2D(1)(x.as_subclass(Marked))
    assert type(padded) is Marked
    assert torch.equal(padded.as_subclass(torch.Tensor), F.pad(x, (1, 1, 1, 1)))
