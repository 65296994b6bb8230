"""Optimised copies compute what their models compute."""

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import kerastorch
from kerastorch import layers
from kerastorch.applications import get_record
from kerastorch.config import data_format_scope
from kerastorch.optimization import keep_memory, optimize
from kerastorch.optimization.backends import choosing
from tests.architectures import by_family
from tests.optimizing import differ_by, randomize, settle
from tests.oracle.client import ROOT

SIZE = 96
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


@pytest.mark.parametrize("name", by_family(kerastorch.list_models()))
def test_applications(name):
    model = randomize(kerastorch.create_model(name, input_shape=(SIZE, SIZE, 3), classes=7))
    images = torch.randn(2, 3, SIZE, SIZE)
    if get_record(name).own_preprocessing:
        images *= 255
        settle(model, images)
    for dtype in (torch.float32, torch.float64):
        model = model.to(dtype)
        optimized = optimize(model)
        for memory_format in (torch.contiguous_format, torch.channels_last):
            x = images.to(dtype, memory_format=memory_format)
            with torch.inference_mode():
                expected, given = model(x), optimized(x)
            assert given.dtype == dtype
            assert differ_by(given, expected) <= TOLERANCE[dtype]


def test_the_original_is_left_alone_and_layers_keep_their_names():
    model = randomize(kerastorch.create_model("mobilenet", alpha=0.25, classes=7))
    before = copy.deepcopy(model.state_dict())
    optimized = optimize(model)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in optimized.modules())
    assert {layer.name for layer in optimized.layers} < {layer.name for layer in model.layers}
    assert optimized.get_layer("conv_pw_3").bias is not None
    assert not any(parameter.requires_grad for parameter in optimized.parameters())
    assert not optimized.training
    x = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        maps = optimized.feature_maps("conv_pw_3", "conv_pw_11")(x)
        expected = model.feature_maps("conv_pw_3_relu", "conv_pw_11_relu")(x)
    for given, wanted in zip(maps.values(), expected.values(), strict=True):
        assert differ_by(given, wanted) <= 1e-5


def small_model(*parts, output=None):
    """A model of layers one after another; `output` gives its outputs from the values of all."""
    values = [layers.Input((9, 11, 3))]
    for part in parts:
        values.append(part(values[-1]))
    return randomize(kerastorch.Model(values[0], output(values) if output else values[-1]))


def kinds(model):
    return [type(layer).__name__ for layer in model.layers[1:]]


def shared():
    layer = layers.Conv2D(3, 3, padding="same", name="shared")
    return [layer, layers.BatchNormalization(), layer, layers.BatchNormalization()]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        pytest.param(
            lambda: small_model(
                layers.ZeroPadding2D(((0, 1), (2, 1))),
                layers.DepthwiseConv2D(3, strides=2, depth_multiplier=2),
                layers.BatchNormalization(scale=False),
                layers.ReLU(6),
                layers.Dropout(0.5),
            ),
            ["DepthwiseConv2D"],
            id="all",
        ),
        pytest.param(
            lambda: small_model(
                layers.Conv2D(4, 3, activation="relu"), layers.BatchNormalization()
            ),
            ["Conv2D", "BatchNormalization"],
            id="an activation between",
        ),
        pytest.param(
            lambda: small_model(
                layers.Conv2D(4, 3),
                layers.BatchNormalization(),
                output=lambda values: [values[1], values[2]],
            ),
            ["Conv2D", "BatchNormalization"],
            id="the value between is an output",
        ),
        pytest.param(
            lambda: small_model(
                layers.Conv2D(3, 3, padding="same"),
                layers.BatchNormalization(),
                output=lambda values: layers.Add()([values[1], values[2]]),
            ),
            ["Conv2D", "BatchNormalization", "Add"],
            id="another layer takes the value between",
        ),
        pytest.param(
            lambda: small_model(*shared()),
            ["Conv2D", "BatchNormalization", "BatchNormalization"],
            id="called twice",
        ),
        pytest.param(
            lambda: small_model(layers.Conv2D(4, 3), layers.BatchNormalization(axis=1)),
            ["Conv2D", "BatchNormalization"],
            id="rows are normalised",
        ),
        pytest.param(
            lambda: small_model(layers.Conv2D(4, 3), layers.ReLU(2), layers.ReLU(negative_slope=1)),
            ["Conv2D", "ReLU", "ReLU"],
            id="activations without a name",
        ),
        pytest.param(
            lambda: small_model(
                layers.Flatten(), layers.Dense(4), layers.BatchNormalization(), layers.Softmax()
            ),
            ["Flatten", "Dense", "Softmax"],
            id="dense",
        ),
        pytest.param(
            lambda: small_model(
                layers.Dense(4, activation="gelu"),
                layers.Dense(3),
                layers.LayerScale(0.3, 3),
                output=lambda values: layers.Add()([values[0], values[3]]),
            ),
            ["Dense", "Dense", "Add"],
            id="scaled",
        ),
        pytest.param(
            lambda: small_model(layers.Dense(3, activation="relu"), layers.LayerScale(-0.3, 3)),
            ["Dense", "LayerScale"],
            id="an activation is scaled",
        ),
        pytest.param(
            lambda: small_model(layers.ZeroPadding2D(1), layers.Conv2D(4, 3, padding="same")),
            ["ZeroPadding2D", "Conv2D"],
            id="padded twice",
        ),
        pytest.param(lambda: small_model(layers.Dropout(0.5)), [], id="nothing is left"),
    ],
)
def test_small_models(model, expected):
    model = model().double()
    optimized = optimize(model)
    assert kinds(optimized) == expected
    assert optimized.output_shape == model.output_shape
    x = torch.randn(2, 3, 9, 11, dtype=torch.float64)
    with torch.inference_mode():
        given, wanted = optimized(x), model(x)
    if not isinstance(given, list):
        given, wanted = [given], [wanted]
    for one, other in zip(given, wanted, strict=True):
        assert differ_by(one, other) <= 1e-12


class Doubled(layers.Conv2D):
    """A user's own layer."""

    def forward(self, x):
        return 2 * super().forward(x)


def test_layers_of_users_and_watched_ones_are_left_alone():
    model = small_model(Doubled(4, 3), layers.BatchNormalization(), layers.ReLU()).double()
    optimized = optimize(model)
    assert kinds(optimized) == ["Doubled", "BatchNormalization", "ReLU"]
    x = torch.randn(2, 3, 9, 11, dtype=torch.float64)
    with torch.inference_mode():
        assert differ_by(optimized(x), model(x)) <= 1e-12
    watched = small_model(layers.Conv2D(4, 3), layers.BatchNormalization())
    watched.layers[1].register_forward_hook(lambda *_: None)
    assert kinds(optimize(watched)) == ["Conv2D", "BatchNormalization"]


def test_models_within_are_optimised_too():
    base = kerastorch.create_model("mobilenet", alpha=0.25, include_top=False, pooling="avg")
    image = layers.Input((64, 64, 3))
    model = randomize(kerastorch.Model(image, layers.Dense(3)(base(image)))).double()
    optimized = optimize(model)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in optimized.modules())
    x = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    with torch.inference_mode():
        assert differ_by(optimized(x), model(x)) <= 1e-12


def cut_and_whole(normalized):
    """A model of a base and of what it is cut at, which share a convolution, on one image."""
    image = layers.Input((9, 11, 3))
    convolved = layers.Conv2D(4, 3, name="conv")(image)
    norm = layers.BatchNormalization(name="norm")(convolved)
    base = kerastorch.Model(image, layers.ReLU()(norm), name="base")
    cut = kerastorch.Model(image, norm if normalized else convolved, name="cut")
    other = layers.Input((9, 11, 3))
    return randomize(kerastorch.Model(other, [base(other), cut(other)]))


@pytest.mark.parametrize("normalized", [False, True])
def test_what_models_share_is_left_alone(normalized):
    assert_equal_outputs(cut_and_whole(normalized))


def test_one_module_in_two_places_is_left_alone():
    model = small_model(
        layers.Conv2D(3, 3, padding="same", name="first"),
        layers.BatchNormalization(),
        layers.Conv2D(3, 3, padding="same", name="second"),
        layers.BatchNormalization(),
    )
    model.second = model.first
    assert_equal_outputs(model)


class Twice(layers.Layer):
    """Of a user, with a layer of another's."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(self.layer(x))


def test_what_a_users_layer_has_too_is_left_alone():
    image = layers.Input((9, 11, 3))
    conv = layers.Conv2D(3, 3, padding="same")
    normalized = layers.BatchNormalization()(conv(image))
    assert_equal_outputs(randomize(kerastorch.Model(image, [normalized, Twice(conv)(image)])))


class DoubledPart(nn.Conv2d):
    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize(
    "put_in_place",
    [
        lambda conv: nn.Sequential(conv, nn.Sigmoid()),
        lambda conv: DoubledPart(conv.in_channels, conv.out_channels, 1, groups=conv.groups),
    ],
    ids=["other", "derived"],
)
def test_separable_convolutions_with_another_part(put_in_place):
    separable = layers.SeparableConv2D(3, 1, name="separable")
    model = small_model(
        layers.Rescaling(0.5), separable, layers.BatchNormalization(), layers.ReLU()
    )
    separable.pointwise = put_in_place(separable.pointwise)
    assert_equal_outputs(model)
    assert "Rescaling" in kinds(optimize(model, fold_preprocessing=True))


def test_an_identity_of_several_values():
    values = [layers.Input((4,)), layers.Input((4,))]
    model = kerastorch.Model(values, layers.Add()(layers.Identity()(values)))
    x = [torch.randn(2, 4), torch.randn(2, 4)]
    assert torch.equal(optimize(model)(x), x[0] + x[1])


def test_weights_of_any_rank():
    videos = layers.Input((4, 5, 6, 3))
    model = kerastorch.Model(videos, videos * np.random.rand(1, 4, 5, 6, 3).astype("float32"))
    x = torch.randn(2, 3, 4, 5, 6)
    assert torch.equal(optimize(model)(x), model(x))


def assert_equal_outputs(model):
    """In float64 by the layers' calls, in float32 by oneDNN's kernels."""
    for dtype, tolerance in TOLERANCE.items():
        model = model.to(dtype)
        x = torch.randn(2, 3, 9, 11, dtype=dtype)
        optimized = optimize(model)
        with torch.inference_mode():
            given, wanted = optimized(x), model(x)
        given, wanted = (y if isinstance(y, list) else [y] for y in (given, wanted))
        for one, other in zip(given, wanted, strict=True):
            assert differ_by(one, other) <= tolerance


@pytest.mark.parametrize("before", [layers.Flatten, lambda: layers.Reshape((27, 11)), None])
def test_dense_features_are_normalised_along_their_own_axis(before):
    """Which is the last, also where images have their channels first."""
    with data_format_scope("channels_first"):
        image = layers.Input((3, 9, 11))
        x = before()(image) if before else image
        x = layers.BatchNormalization(axis=1)(layers.Dense(x.shape[1])(x))
        assert_equal_outputs(randomize(kerastorch.Model(image, x)))


def test_models_called_in_training_mode_stay_as_they_are():
    image = layers.Input((9, 11, 3))
    norm = layers.BatchNormalization()(layers.Conv2D(4, 3)(image))
    base = kerastorch.Model(image, norm, name="base")
    other = layers.Input((9, 11, 3))
    model = randomize(kerastorch.Model(other, base(other, training=True)))
    assert_equal_outputs(model)


def test_inputs_by_name_reach_models_within():
    first, second = layers.Input((4,), name="z"), layers.Input((4,), name="a")
    difference = layers.Subtract()([first, layers.Dense(4)(second)])
    inner = kerastorch.Model([first, second], difference, name="inner")
    one, other = layers.Input((4,)), layers.Input((4,))
    model = kerastorch.Model([one, other], inner({"z": one, "a": other})).eval()
    x = [torch.randn(2, 4), torch.randn(2, 4)]
    with torch.inference_mode():
        assert differ_by(optimize(model)(x), model(x)) <= 1e-5


def test_parents_in_training_mode_leave_it_in_evaluation_mode():
    optimized = optimize(small_model(layers.BatchNormalization(), layers.Dropout(0.5)).double())
    state = copy.deepcopy(optimized.state_dict())
    x = torch.randn(2, 3, 9, 11, dtype=torch.float64)
    expected = optimized(x)
    assert torch.equal(nn.Sequential(optimized).train()(x), expected)
    assert all(torch.equal(value, state[key]) for key, value in optimized.state_dict().items())


class Negative(kerastorch.Model):
    """A user's own model."""

    def forward(self, inputs, training=None):
        return -super().forward(inputs, training)


def test_models_with_a_forward_of_their_own_are_refused():
    image = layers.Input((9, 11, 3))
    inner = Negative(image, layers.BatchNormalization()(layers.Conv2D(4, 3)(image)))
    for model in (inner, nn.Sequential(nn.Conv2d(3, 4, 3))):
        with pytest.raises(TypeError, match=f"not a {type(model).__name__}"):
            optimize(model)
    other = layers.Input((9, 11, 3))
    assert_equal_outputs(randomize(kerastorch.Model(other, layers.ReLU()(inner(other)))))


def test_other_sizes_than_the_models_are_computed_too():
    image = layers.Input((8, 8, 3))
    x = layers.Conv2D(3, 3)(image)
    pooled = layers.Conv2D(3, 1)(layers.AveragePooling2D(6)(x))
    model = randomize(kerastorch.Model(image, layers.Add()([pooled, layers.Conv2D(3, 6)(x)])))
    optimized = optimize(model)
    for size in (8, 10, 8):
        x = torch.randn(2, 3, size, size)
        with torch.inference_mode():
            assert differ_by(optimized(x), model(x)) <= 1e-5


def test_what_is_asked_to_be_random_stays_random():
    image = layers.Input((8, 8, 3))
    model = kerastorch.Model(image, layers.Dropout(0.5)(image, training=True)).eval()
    optimized = optimize(model)
    x = torch.ones(1, 3, 8, 8)
    assert (optimized(x) == 0).any()


def test_optimised_models_are_plain_modules():
    model = optimize(randomize(kerastorch.create_model("mobilenet", alpha=0.25, classes=3)))
    x = torch.randn(1, 3, 224, 224)
    with torch.inference_mode():
        expected = model(x)
        assert torch.equal(copy.deepcopy(model)(x), expected)
        exported = torch.export.export(model, (x,)).module()
        assert differ_by(exported(x), expected) <= 1e-5


@pytest.mark.parametrize("backend", ["eager", "inductor", "onnxruntime", "openvino", "auto"])
def test_every_backend_gives_the_models_outputs(backend):
    command = [sys.executable, "-m", "tests.backends", backend]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_cannot_be_is_refused():
    model = small_model(layers.Conv2D(4, 3))
    with pytest.raises(ValueError, match="backend is one of eager, .* not 'tensorrt'"):
        optimize(model, backend="tensorrt")
    with pytest.raises(ValueError, match="only computes in evaluation mode"):
        optimize(model)(torch.zeros(1, 3, 9, 11), training=True)


def test_a_backend_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'kerastorch\[openvino\]'"):
        optimize(small_model(layers.Conv2D(4, 3)), backend="openvino")


def test_auto_keeps_nothing_of_what_it_does_not_choose(monkeypatch):
    def run_steps(model, inputs):
        return model._run_steps(inputs)

    chosen = run_steps
    monkeypatch.setattr(choosing, "prepare", lambda *_: run_steps)
    monkeypatch.setattr(choosing, "_others", lambda inputs: ["inductor"])
    monkeypatch.setattr(choosing, "_seconds", lambda run, *_: run != chosen)
    optimized = optimize(small_model(layers.Conv2D(4, 3)), backend="auto")
    optimized(torch.randn(1, 3, 9, 11))
    assert "eager" not in optimized._runs
    chosen = type(optimized)._run_eagerly
    optimized(torch.randn(2, 3, 9, 11))
    program = optimized._runs["eager"]
    chosen = run_steps
    optimized(torch.randn(3, 3, 9, 11))
    assert optimized._runs["eager"] is program  # which still runs two images


def test_auto_leaves_out_what_disagrees_or_fails(monkeypatch, caplog):
    model = small_model(layers.Conv2D(4, 3), layers.BatchNormalization())
    optimized = optimize(model, backend="auto")

    def prepare(name, model, inputs):
        if name == "openvino":
            raise RuntimeError("no such instruction")
        return lambda model, inputs: [torch.zeros(1, 4, 7, 9)]

    monkeypatch.setattr(choosing, "prepare", prepare)
    monkeypatch.setattr(choosing, "_others", lambda inputs: ["inductor", "openvino"])
    x = torch.randn(1, 3, 9, 11)
    with torch.no_grad():
        assert differ_by(optimized(x), model(x)) <= 1e-5
    assert "inductor gives other outputs" in caplog.text
    assert "openvino cannot run" in caplog.text
    assert "no such instruction" in caplog.text


COUNT_FAULTS = """
import resource, sys
import torch
import kerastorch
from kerastorch.optimization import keep_memory, optimize

if sys.argv[1] == "keep":
    keep_memory()
model = optimize(kerastorch.create_model("mobilenet"))
images = torch.randn(16, 3, 224, 224)  # activations of over 32 MB, which glibc never keeps

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        model(images)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with torch.inference_mode():  # the least: once in a while an activation goes where none was yet
    print(min(faults() for _ in range(5)))
"""


def test_kept_memory_is_not_asked_for_again():
    """Each page that the system hands out anew is a fault, which it counts."""
    given_back, kept = (
        int(subprocess.check_output([sys.executable, "-c", COUNT_FAULTS, way]))
        for way in ("give back", "keep")
    )
    assert given_back > 10_000
    assert kept < given_back / 100


KEEP_AND_GIVE_BACK = """
import os
import torch
import kerastorch
from kerastorch.optimization import keep_memory, optimize

def megabytes():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") >> 20

keep_memory()
model = optimize(kerastorch.create_model("mobilenet"))
before = megabytes()
torch.ones(400 << 18)
print(megabytes() - before)
model(torch.zeros(1, 3, 32, 32))
print(megabytes() - before)
"""


def test_what_was_free_before_the_first_call_is_given_back():
    answer = subprocess.check_output([sys.executable, "-c", KEEP_AND_GIVE_BACK], text=True)
    kept, given_back = map(int, answer.split())
    assert kept > 350
    assert given_back < 100


def test_only_glibc_keeps_memory(monkeypatch):
    monkeypatch.setattr("platform.libc_ver", lambda: ("", ""))
    with pytest.raises(OSError, match="needs Linux with glibc"):
        keep_memory()


def preprocessed(*parts, **convolution):
    parts = (*parts, layers.Conv2D(4, 3, bias_initializer="random_normal", **convolution))
    return small_model(*parts, layers.BatchNormalization(), layers.ReLU()).double()


def normalization():
    return layers.Normalization(mean=[0.4, 0.5, 0.6], variance=[0.1, 0.2, 0.3])


FOLDED = {
    "a scale in front of zeros": lambda: preprocessed(layers.Rescaling(1 / 255), padding="same"),
    "an offset": lambda: preprocessed(layers.Rescaling(1 / 127.5, offset=-1)),
    "statistics": lambda: preprocessed(layers.Rescaling(1 / 255), normalization()),
    "groups": lambda: small_model(
        layers.Rescaling([1.0, 2.0, 3.0]), layers.Conv2D(6, 3, groups=3)
    ).double(),
    "one for each channel": lambda: small_model(
        normalization(), layers.SeparableConv2D(5, 3, depth_multiplier=2)
    ).double(),
}


@pytest.mark.parametrize("case", FOLDED)
def test_preprocessing_is_folded_on_request(case):
    model = FOLDED[case]()
    x = 255 * torch.rand(2, 3, 9, 11, dtype=torch.float64)
    assert {"Rescaling", "Normalization"} & set(kinds(optimize(model)))
    optimized = optimize(model, fold_preprocessing=True)
    assert not {"Rescaling", "Normalization"} & set(kinds(optimized))
    with torch.inference_mode():
        assert differ_by(optimized(x), model(x)) <= 1e-12
        pixels = x.to(torch.uint8)
        assert differ_by(optimized(pixels), model(pixels.double())) <= 1e-6


def test_preprocessing_stays_where_zeros_would_be_others():
    model = preprocessed(layers.Rescaling(1 / 127.5, offset=-1), padding="same")
    assert "Rescaling" in kinds(optimize(model, fold_preprocessing=True))
    padded = preprocessed(layers.Rescaling(2.0, offset=-1), layers.ZeroPadding2D(1))
    assert "Rescaling" in kinds(optimize(padded, fold_preprocessing=True))


def test_optimised_models_are_not_saved_for_keras(tmp_path):
    with pytest.raises(ValueError, match="save the model it is made from"):
        optimize(small_model(layers.Conv2D(4, 3))).save(tmp_path / "model.keras")
    assert not list(tmp_path.iterdir())
