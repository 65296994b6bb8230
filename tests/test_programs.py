"""Optimised models on the CPU call oneDNN's kernels, where nobody could tell."""

import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import kerastorch
from kerastorch import activations, layers
from kerastorch.optimization import gemm, optimize
from kerastorch.optimization.backends import choosing
from tests.optimizing import differ_by, randomize


def operations(function, *arguments):
    """The names of the operations of PyTorch that a call runs."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        function(*arguments)
    return [event.name for event in profile.events()]


def fuses(model, x):
    names = operations(model, x)
    return any(name.startswith("mkldnn::_convolution_pointwise") for name in names)


class Shifted(layers.Layer):
    """A user's own layer."""

    def forward(self, x):
        return x + 1


def conv(*arguments, **options):
    return layers.Conv2D(*arguments, bias_initializer="random_normal", **options)


def residual(x):
    y = conv(4, 3, padding="same")(conv(4, 1, activation="relu")(x))
    return layers.ReLU()(layers.Add()([x, y]))


def two_residuals(x):
    return residual(residual(conv(4, 1)(x)))


def sum_whose_addend_is_convolved(x):
    x = conv(4, 1)(x)
    return layers.Add()([x, conv(4, 3, padding="same")(x)])


def sum_of_convolutions(x):
    return layers.Add()([conv(5, 1)(x), conv(5, 3, padding="same")(x)])


def sum_then_relu6(x):
    return layers.ReLU(6)(layers.Add()([conv(4, 1)(x), conv(4, 1)(x)]))


def sum_whose_addend_is_used_between(x):
    first = layers.ReLU()(conv(4, 1)(x))
    last = conv(4, 1)(x)
    pooled = layers.AveragePooling2D(2)(first)
    return [layers.Add()([first, last]), pooled]


def sum_whose_addend_is_used_after(x):
    first = conv(4, 1)(x)
    total = layers.Add()([first, conv(4, 1)(x)])
    return layers.Concatenate()([total, first])


def sum_that_broadcasts(x):
    return layers.Add()([layers.GlobalAveragePooling2D(keepdims=True)(x), conv(3, 1)(x)])


def sum_with_itself(x):
    y = conv(4, 1)(x)
    return layers.Add()([y, y])


def sum_of_three(x):
    return layers.Add()([x, conv(3, 1)(x), conv(3, 1)(x)])


def sum_of_an_output(x):
    first = conv(4, 1)(x)
    return [first, layers.Add()([first, conv(4, 1)(x)])]


def scaled_sum(x):
    scaled = layers.CustomScaleLayer(0.25)([x, conv(3, 1, use_bias=False)(x)])
    return layers.ReLU()(scaled)


def one_convolution_twice(x):
    shared = conv(3, 3, padding="same")
    return layers.ReLU()(shared(layers.Add()([x, shared(x)])))


def softmax(x):
    return conv(4, 2, activation="softmax")(x)


def swish_and_others(x):
    for name in ("swish", "hard_swish", "sigmoid", "tanh", "gelu", "elu", "hard_sigmoid"):
        x = conv(3, 1, activation=name)(x)
    return x


def normalized_in_front(x):
    y = layers.ReLU(6)(layers.BatchNormalization()(layers.MaxPooling2D(2)(x)))
    return layers.Concatenate()([conv(4, 1)(y), layers.BatchNormalization()(y)])


def normalized_along_rows(x):
    rows = layers.Resizing(5, 6)(x)
    return layers.ReLU()(layers.BatchNormalization(axis=1)(rows))


def joined_and_activated(x):
    """What a convolution makes, what is activated already, and what stays as it is for others."""
    first, last = conv(4, 1)(x), conv(4, 1)(x)
    active = conv(3, 1)(layers.ReLU()(first))
    return [layers.ReLU()(layers.Concatenate()([first, last, x, last])), active]


def joined_and_activated_for_two(x):
    joined = layers.Concatenate()([conv(4, 1)(x), conv(2, 1)(x)])
    return layers.Concatenate(axis=1)([layers.ReLU()(joined), layers.ReLU(6)(joined)])


def joined_and_activated_where_a_sum_was(x):
    """The sum takes the place of the activation that the joined values have already had."""
    first, last = conv(4, 1)(x), conv(4, 1)(x)
    total = layers.Add()([layers.ReLU()(first), conv(4, 1)(x)])
    joined = layers.Concatenate()([layers.MaxPooling2D(2)(first), layers.AveragePooling2D(2)(last)])
    small = layers.ReLU()(joined)
    return [total, small, layers.ReLU()(layers.Concatenate()([total, first, first]))]


def joined_with_other_activations(x):
    first, last = conv(4, 1)(x), conv(4, 1)(x)
    others = [layers.ReLU(6)(first), layers.ReLU(negative_slope=0.1)(last)]
    joined = layers.Activation("softmax")(layers.Concatenate()([first, last]))
    return [*others, layers.ReLU()(layers.Concatenate()([first, last])), joined]


def normalized(x):
    return layers.ReLU()(layers.BatchNormalization()(x))


def grown(x):
    """As DenseNet's blocks, also with strides and with two that take the same."""
    for features in (4, 3, 2):
        y = conv(5, 1)(normalized(x))
        x = layers.Concatenate()([x, conv(features, 3, padding="same", use_bias=False)(y)])
    skipped = conv(3, 1, strides=2)(normalized(x))
    x = layers.Concatenate()([x, conv(2, 1)(normalized(x)), conv(2, 1)(x)])
    return [layers.ReLU()(x), skipped]


def grown_for_others(x):
    """Where what there is so far is an output, is taken in another way, or later."""
    first = layers.Concatenate()([x, conv(2, 1)(x)])
    second = layers.Concatenate()([first, conv(2, 1)(normalized(first))])
    third = layers.Concatenate()([second, conv(3, 3, padding="same")(normalized(second))])
    fourth = layers.Concatenate()([third, conv(2, 1)(layers.ReLU(6)(third))])
    fifth = layers.Concatenate()([conv(2, 1)(normalized(fourth)), fourth])
    sixth = layers.Concatenate()([fifth, conv(1, 1)(normalized(fifth))])
    last = layers.Concatenate()([sixth, sixth])
    later = conv(3, 1)(normalized(sixth))
    return [second, last, later, layers.Concatenate(axis=1)([later, later])]


def grown_by_sums(x):
    first = layers.Concatenate()([x, conv(2, 1)(x)])
    total = layers.Add()([conv(5, 1)(normalized(first)), first])
    grown = layers.Concatenate()([first, conv(1, 1)(first)])
    return layers.Concatenate()([grown, layers.Add()([conv(5, 1)(normalized(grown)), total])])


def pooled_for_several(x):
    pools = [layers.AveragePooling2D(3, strides=1, padding="same")(x) for _ in range(3)]
    others = [layers.MaxPooling2D(3, strides=1, padding="same")(x), layers.AveragePooling2D(3)(x)]
    return [layers.Add()(pools), layers.Add()([pools[0], pools[2]]), *others]


def averages_between(x):
    """As DenseNet's, behind a batch normalisation, and with what others take."""
    y = layers.AveragePooling2D(2)(conv(2, 1)(layers.BatchNormalization()(x)))
    z = conv(4, 1)(x)
    overlapping = layers.AveragePooling2D(3, strides=2, padding="same")(z)
    alone = layers.ReLU()(layers.AveragePooling2D((1, 2))(conv(3, 1, padding="same")(y)))
    activated = layers.AveragePooling2D(2)(conv(3, 1, activation="relu")(x))
    skipped = layers.AveragePooling2D(2)(conv(3, 1, strides=2)(x))
    wide = layers.AveragePooling2D(2)(conv(3, 3)(x))
    largest = layers.MaxPooling2D(2)(conv(3, 1)(x))
    return [y, overlapping, z, alone, activated, skipped, wide, largest]


def averages_in_front(x):
    """As Inception's, with and without activations, and with what others take."""
    pool = partial(layers.AveragePooling2D, 3, strides=1, padding="same")
    taken = pool()(conv(3, 1)(x))
    y = conv(2, 1, activation="relu")(pool()(conv(6, 1)(x)))
    chained = layers.AveragePooling2D(2)(conv(1, 1)(pool()(y)))
    gated = conv(2, 1, activation="sigmoid")(pool()(conv(4, 1)(x)))
    softmax = conv(2, 1, activation="softmax")(layers.AveragePooling2D(2, strides=1)(x))
    rectified = layers.ReLU()(conv(2, 1)(pool()(conv(5, 1)(x))))
    padded = conv(2, 1)(layers.ZeroPadding2D(1)(pool()(conv(3, 1)(x))))
    return [chained, gated, softmax, rectified, padded, conv(2, 1)(taken), conv(5, 1)(taken)]


def dense_on_channels(x):
    y = layers.Dense(3, use_bias=False)(layers.Dense(7, activation="gelu")(x))
    y = layers.ReLU()(layers.Add()([x, layers.LayerScale(0.3, 3)(y)]))
    return layers.Dense(5, activation="softmax")(y)


def dense_on_vectors(x):
    first, _ = split(layers.GlobalAveragePooling2D()(x))
    y = layers.Dense(6, activation="relu")(layers.Dropout(0.5)(first))
    y = layers.Add()([y, layers.Dense(6, use_bias=False)(y)])
    return [layers.Dense(5, activation="softmax")(y), layers.Dense(3)(layers.Reshape((2, 3))(y))]


def split(x):
    """Every other number, which do not lie beside one another, and the others."""
    return x[:, ::2], x[:, 1::2]


def same_with_strides(x):
    for stride in (2, 1):
        x = layers.SeparableConv2D(6, 3, strides=stride, padding="same", depth_multiplier=2)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    return layers.DepthwiseConv2D(5, strides=2, padding="same", activation="relu6")(x)


def uneven_margins(x):
    x = layers.ZeroPadding2D(((0, 1), (2, 1)))(x)
    x = layers.DepthwiseConv2D(3, strides=2)(conv(4, 3, strides=2)(x))
    return layers.MaxPooling2D(2)(layers.ZeroPadding2D(1)(x))


def dilated_and_grouped(x):
    x = conv(6, 3, dilation_rate=2, padding="same")(x)
    return conv(9, 3, groups=3, padding="same")(x)


def own_layers_between(x):
    return conv(4, 1)(Shifted()(conv(4, 1, activation="relu")(x)))


def nested(x):
    image = layers.Input((None, None, 3))
    inner = kerastorch.Model(image, two_residuals(image), name="inner")
    outputs = sum_whose_addend_is_used_between(image)
    several = kerastorch.Model(image, outputs, name="several")
    total, pooled = several(x)
    return [inner(x), layers.ReLU()(total), pooled]


def the_input_itself(x):
    return [x, layers.ReLU()(x)]


NETWORKS = [
    two_residuals,
    sum_whose_addend_is_convolved,
    sum_of_convolutions,
    sum_then_relu6,
    sum_whose_addend_is_used_between,
    sum_whose_addend_is_used_after,
    sum_that_broadcasts,
    sum_with_itself,
    sum_of_three,
    sum_of_an_output,
    scaled_sum,
    one_convolution_twice,
    softmax,
    swish_and_others,
    normalized_in_front,
    normalized_along_rows,
    joined_and_activated,
    joined_and_activated_for_two,
    joined_and_activated_where_a_sum_was,
    joined_with_other_activations,
    grown,
    grown_for_others,
    grown_by_sums,
    pooled_for_several,
    averages_between,
    averages_in_front,
    dense_on_channels,
    dense_on_vectors,
    same_with_strides,
    uneven_margins,
    dilated_and_grouped,
    own_layers_between,
    nested,
    the_input_itself,
]


def flat(outputs):
    return outputs if isinstance(outputs, list) else [outputs]


@pytest.mark.parametrize("size", [(13, 16), (None, None)], ids=["fixed", "open"])
@pytest.mark.parametrize("network", NETWORKS)
def test_it_gives_the_models_outputs(network, size):
    image = layers.Input((*size, 3))
    model = randomize(kerastorch.Model(image, network(image)))
    optimized = optimize(model)
    for batch in (2, 1, 3, 2):
        x = torch.randn(batch, 3, 13, 16)
        kept = x.clone()
        with torch.inference_mode():
            expected = flat(model(x))
            for given in (optimized(x), optimized(x.to(memory_format=torch.channels_last))):
                for one, other in zip(flat(given), expected, strict=True):
                    assert one.shape == other.shape
                    assert differ_by(one, other) <= 2e-6
        assert torch.equal(x, kept)


@pytest.fixture
def only_onednn(monkeypatch):
    """Small convolutions are computed as large ones are."""
    monkeypatch.setattr(gemm, "saves_time", lambda *_: False)


def residual_model():
    image = layers.Input((13, 16, 3))
    return randomize(kerastorch.Model(image, two_residuals(image)))


@torch.inference_mode()
@pytest.mark.parametrize("window", [1, 3])
def test_images_are_broadcast_in_sums(window):
    """Where Keras cannot tell, as between batches and between open sizes."""
    for size in ((8, 8), (None, None)):
        first, second = layers.Input((*size, 3)), layers.Input((*size, 3))
        sums = layers.ReLU()(layers.Add()([conv(4, window)(first), conv(4, window)(second)]))
        model = kerastorch.Model([first, second], sums).eval()
        optimized = optimize(model)
        for few, many in ((1, 4), (4, 1)):
            x = [torch.randn(few, 3, 8, 8), torch.randn(many, 3, 8, 8)]
            assert differ_by(optimized(x), model(x)) <= 1e-6
    x = [torch.randn(1, 3, 6, 8), torch.randn(1, 3, 8, 6)]
    for one in (model, optimized):
        with pytest.raises(RuntimeError, match="size of tensor"):
            one(x)


@pytest.fixture
def rounded_products():
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision("highest")


@pytest.mark.usefixtures("rounded_products")
def test_convolutions_are_no_products_that_may_be_rounded():
    optimized, x = optimize(residual_model()), torch.randn(2, 3, 13, 16)
    optimized(x)
    products = {"aten::mm", "aten::addmm", "aten::addmm_"}
    assert not products & set(operations(optimized, x))
    torch.set_float32_matmul_precision("highest")
    optimized(x)
    assert products & set(operations(optimized, x))


@pytest.mark.usefixtures("only_onednn")
def test_sums_and_activations_are_computed_by_the_convolutions():
    optimized, x = optimize(residual_model()), torch.randn(2, 3, 13, 16)
    optimized(x)
    names = operations(optimized, x)
    assert names.count("mkldnn::_convolution_pointwise_") == 2  # onto the sum so far
    assert not {"aten::add", "aten::add_", "aten::relu", "aten::relu_", "aten::conv2d"} & set(names)


@pytest.mark.usefixtures("only_onednn")
def test_cells_pool_a_value_once_and_activate_no_joined_values():
    """NASNet's, where convolutions and sums make all that is joined."""
    image = layers.Input((13, 16, 3))
    first = conv(4, 1)(image)
    pools = [layers.AveragePooling2D(3, strides=1, padding="same")(first) for _ in range(2)]
    parts = [layers.Add()(pools), layers.Add()([conv(4, 1)(image), conv(4, 1)(image)])]
    joined = layers.ReLU()(layers.Concatenate()([*parts, first, conv(2, 1)(image)]))
    optimized = optimize(kerastorch.Model(image, conv(3, 1)(joined)))
    x = torch.randn(2, 3, 13, 16)
    optimized(x)
    names = operations(optimized, x)
    assert names.count("aten::avg_pool2d") == 1
    assert names.count("aten::relu_") == 2  # of what is pooled and of its sum
    assert "aten::relu" not in names


def dense_block(scales=(1.0, 0.5, 2.0), shifts=(0.0, 0.3, -0.2)):
    image = layers.Input((13, 16, 3))
    x = layers.Concatenate()([image, conv(3, 1)(image)])
    for _ in range(3):
        x = layers.Concatenate()([x, conv(3, 3, padding="same")(conv(6, 1)(normalized(x)))])
    model = kerastorch.Model(image, x).eval()
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            for parameter, values in ((layer.weight, scales), (layer.bias, shifts)):
                parameter.data = torch.tensor(values).repeat(len(parameter) // 3)
    return model


@pytest.mark.usefixtures("only_onednn")
def test_blocks_grow_in_one_tensor():
    model, x = dense_block(), torch.randn(2, 3, 13, 16)
    optimized = optimize(model)
    optimized(x)
    names = operations(optimized, x)
    assert names.count("aten::clamp") == 3  # in the place of normalisations
    assert names.count("mkldnn::_convolution_pointwise") == 7
    assert names.count("aten::as_strided") >= 4


@pytest.mark.parametrize(
    ("scales", "shifts"),
    [
        ((1.5, -0.7, 0.3), (0.5, -0.5, 2.0)),
        ((0.0, -0.0, 1e-42), (0.5, -0.5, 3.0)),
        ((1e-6, -1e-6, 1e6), (0.5, -0.5, 3.0)),
    ],
    ids=["of both signs", "zero", "far apart"],
)
def test_bounds_for_any_scale(scales, shifts):
    model, x = dense_block(scales, shifts), torch.randn(2, 3, 13, 16)
    with torch.inference_mode():
        assert differ_by(optimize(model)(x), model(x)) <= 2e-6


def test_what_is_not_a_number_stays_so():
    model, x = dense_block(), torch.randn(2, 3, 13, 16)
    x[0, 1, 3, 4] = torch.nan
    with torch.inference_mode():
        given, expected = optimize(model)(x), model(x)
    assert torch.equal(given.isnan(), expected.isnan())
    assert expected.isnan().any()


@pytest.mark.usefixtures("only_onednn")
def test_averages_are_taken_of_fewer_channels_and_leave_fewer_pixels():
    image = layers.Input((12, 16, 6))
    y = layers.AveragePooling2D(3, strides=1, padding="same")(image)
    y = layers.AveragePooling2D(2)(conv(5, 1)(conv(2, 1, activation="relu")(y)))
    optimized, x = optimize(kerastorch.Model(image, y)), torch.randn(2, 6, 12, 16)
    optimized(x)
    with torch.profiler.profile(record_shapes=True) as profile:
        optimized(x)
    names = ("aten::avg_pool2d", "mkldnn::_convolution_pointwise")
    shapes = [event.input_shapes[0] for event in profile.events() if event.name in names]
    assert shapes == [[2, 6, 12, 16], [2, 2, 12, 16], [2, 2, 12, 16], [2, 2, 6, 8]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_types(dtype):
    model = residual_model()
    optimized, x = optimize(model, dtype=dtype), torch.randn(2, 3, 13, 16)
    tolerance = {torch.bfloat16: 0.05, torch.float16: 5e-3, torch.float64: 1e-6}[dtype]
    with torch.no_grad():
        assert differ_by(optimized(x), model(x)) <= tolerance
    assert not (fuses(optimized, x) and dtype in (torch.float16, torch.float64))


def scale_weights(model):
    for parameter in model.parameters():
        with torch.no_grad():
            parameter.mul_(0.5)


def load_others(model):
    torch.manual_seed(1)
    others = {key: torch.randn_like(x) for key, x in model.state_dict().items()}
    model.load_state_dict(others)


def assign_others(model):
    others = {key: x + 0.1 for key, x in model.state_dict().items()}
    model.load_state_dict(others, assign=True)


def put_another_layer(model):
    model.conv2d_1 = nn.Conv2d(4, 4, 5, padding=2)


def leave_out_activations(model):
    for layer in model.layers:
        if hasattr(layer, "activation"):
            layer.activation = activations.linear


def put_another_forward(model):
    model.conv2d_1.forward = lambda x: x + 1


@pytest.mark.parametrize(
    "change",
    [
        scale_weights,
        load_others,
        assign_others,
        put_another_layer,
        leave_out_activations,
        put_another_forward,
    ],
)
def test_changes_are_seen(change):
    optimized, x = optimize(residual_model()), torch.randn(2, 3, 13, 16)
    assert fuses(optimized, x)
    before = optimized(x)
    change(optimized)
    with torch.no_grad():
        expected = optimized._run_steps([x])[0]
    assert differ_by(optimized(x), expected) <= 1e-6
    assert differ_by(before, expected) > 0.01
    optimized = optimized.double()
    assert optimized(x.double()).dtype == torch.float64


def test_hooks_are_called():
    optimized, x = optimize(residual_model()), torch.randn(2, 3, 13, 16)
    before, seen = optimized(x), []
    handle = optimized.get_layer("conv2d_1").register_forward_hook(lambda *call: seen.append(call))
    assert differ_by(optimized(x), before) <= 1e-6
    assert len(seen) == 1
    optimized.get_layer("conv2d_2").register_forward_hook(lambda *call: seen.append(call))
    optimized(x)
    assert len(seen) == 3
    handle.remove()
    optimized(x)
    assert len(seen) == 4


def test_operations_are_counted_and_autocast_is_heeded():
    model = residual_model()
    optimized, x = optimize(model), torch.randn(2, 3, 13, 16)
    with FlopCounterMode(display=False) as counter:
        optimized(x)
    assert counter.get_total_flops() == 2 * 2 * 13 * 16 * (3 * 4 + 2 * 4 * 4 * (1 + 9))
    exact = optimized(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert 1e-5 < differ_by(optimized(x).float(), exact) < 0.05
    assert fuses(optimized, x)


def test_threads_may_share_a_model():
    optimized = optimize(residual_model())
    images = [torch.randn(1 + number % 5, 3, 13, 16) for number in range(40)]
    expected = [optimized(x) for x in images]
    with ThreadPoolExecutor(8) as threads:
        for _ in range(5):
            for given, wanted in zip(threads.map(optimized, images), expected, strict=True):
                assert differ_by(given, wanted) <= 1e-6


def test_an_empty_batch_gives_an_empty_batch():
    assert optimize(residual_model())(torch.zeros(0, 3, 13, 16)).shape == (0, 4, 13, 16)
    vector = layers.Input((4,))
    dense = kerastorch.Model(vector, layers.Dense(3)(vector))
    assert optimize(dense)(torch.zeros(0, 4)).shape == (0, 3)


def test_without_onednn_the_layers_compute():
    optimized, x = optimize(residual_model()), torch.randn(2, 3, 13, 16)
    expected = optimized(x)
    with torch.backends.mkldnn.flags(enabled=False):
        assert not fuses(optimized, x)
        assert differ_by(optimized(x), expected) <= 1e-6


def test_changes_of_what_is_made_in_inference_mode_are_seen():
    x = torch.randn(2, 3, 13, 16)
    with torch.inference_mode():
        optimized = optimize(residual_model())
        before = optimized(x)
        load_others(optimized)
        assert differ_by(optimized(x), optimized._run_steps([x])[0]) <= 1e-6
        assert differ_by(optimized(x), before) > 0.1


def test_what_was_prepared_goes_when_it_is_moved():
    optimized, x = optimize(residual_model()), torch.randn(2, 3, 13, 16)
    expected = optimized(x)
    weight = weakref.ref(optimized._runs["eager"]._prepared[1])
    assert weight() is not None
    optimized.double()
    assert weight() is None
    assert differ_by(optimized(x), expected) <= 1e-5


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("backend", ["eager", "auto"])
def test_it_goes_with_its_last_user(backend, monkeypatch):
    monkeypatch.setattr(choosing, "_others", lambda inputs: [])
    optimized = optimize(residual_model(), backend=backend)
    optimized(torch.randn(2, 3, 13, 16))
    weight = weakref.ref(optimized.layers[1].weight)
    assert weight() is not None
    del optimized
    assert weight() is None
