"""What random layers do to images in training, and layers that resize, as PyTorch modules."""

import copy
import pickle

import numpy as np
import pytest
import torch

import kerastorch
from kerastorch import Input, Model, layers
from kerastorch.config import data_format_scope
from kerastorch.convert.config import model_from_config
from tests import parity
from tests.oracle.client import Oracle

RANDOM_LAYERS = {
    "RandomFlip": {},
    "RandomRotation": {"factor": 0.3},
    "RandomZoom": {"height_factor": 0.5},
    "RandomTranslation": {"height_factor": 0.4, "width_factor": 0.4},
    "RandomContrast": {"factor": 0.8, "value_range": (-9, 9)},
    "RandomBrightness": {"factor": 0.3, "value_range": (-9, 9)},
}
WITHOUT_EFFECT = {
    "RandomRotation": {"factor": 0.0},
    "RandomZoom": {"height_factor": 0, "width_factor": 0},
    "RandomTranslation": {"height_factor": 0.0, "width_factor": (0.0, 0.0)},
    "RandomContrast": {"factor": 0.0, "value_range": (-9, 9)},
    "RandomBrightness": {"factor": 0, "value_range": (-9, 9)},
}


def images(batch=8, dtype=torch.float32, size=(6, 5)):
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(0)).to(dtype)


# In training


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", RANDOM_LAYERS)
def test_each_image_is_changed_in_its_own_way(name, dtype):
    torch.manual_seed(0)
    layer = getattr(layers, name)(**RANDOM_LAYERS[name])
    x = images(1, dtype).repeat(16, 1, 1, 1)
    y = layer.train()(x)
    assert y.shape == x.shape
    assert y.dtype == dtype
    assert len(y.unique(dim=0)) == (2 if name == "RandomFlip" else 16)
    assert layer.eval()(x) is x


@pytest.mark.parametrize("fill_mode", ["reflect", "wrap", "constant", "nearest"])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("name", WITHOUT_EFFECT)
def test_factors_of_0_change_nothing(name, interpolation, fill_mode):
    is_movement = name in ("RandomRotation", "RandomZoom", "RandomTranslation")
    how = {"interpolation": interpolation, "fill_mode": fill_mode} if is_movement else {}
    layer, x = getattr(layers, name)(**WITHOUT_EFFECT[name], **how), images(dtype=torch.float64)
    torch.testing.assert_close(layer.train()(x), x, rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("mode", "axes"),
    [("horizontal", [3]), ("vertical", [2]), ("horizontal_and_vertical", [2, 3])],
)
def test_images_are_flipped_or_not(mode, axes):
    torch.manual_seed(0)
    x = images(64)
    y = layers.RandomFlip(mode).train()(x)
    is_flipped = (y == x.flip(axes)).all((1, 2, 3))
    assert ((y == x).all((1, 2, 3)) ^ is_flipped).all()
    assert 16 < is_flipped.sum() < 48


def test_a_quarter_turn_is_anticlockwise():
    x = images(size=(5, 5))
    y = layers.RandomRotation((0.25, 0.25), interpolation="nearest").train()(x)
    assert torch.equal(y, torch.rot90(x, 1, (2, 3)))


def test_the_window_is_the_same_for_the_batch_and_anywhere():
    torch.manual_seed(0)
    layer, x = layers.RandomCrop(4, 3).train(), images()
    windows = [x[:, :, top : top + 4, left : left + 3] for top in range(3) for left in range(3)]
    seen = set()
    for _ in range(100):
        y = layer(x)
        (found,) = (i for i, window in enumerate(windows) if torch.equal(y, window))
        seen.add(found)
    assert len(seen) == 9
    assert layer(images(size=(3, 9))).shape == (8, 3, 4, 3)


def test_gradients_reach_the_images():
    torch.manual_seed(0)
    for name, arguments in RANDOM_LAYERS.items():
        x = images().requires_grad_()
        getattr(layers, name)(**arguments).train()(x).square().sum().backward()
        assert x.grad.abs().sum((1, 2, 3)).all(), name


# Resizing


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "area", "lanczos3"])
def test_integers_come_back_rounded(interpolation):
    x = torch.randint(0, 256, (2, 3, 9, 8), dtype=torch.uint8)
    layer = layers.Resizing(5, 11, interpolation)
    y = layer(x)
    assert y.dtype == torch.uint8
    assert torch.equal(y, layer(x.float()).round().clamp(0, 255).to(torch.uint8))


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("name", ["CenterCrop", "Resizing", "RandomCrop"])
def test_shapes(name, data_format):
    with data_format_scope(data_format):
        last = data_format == "channels_last"
        x = Input((None, None, 3) if last else (3, None, None))
        symbol = getattr(layers, name)(4, 5)(x)
        assert symbol.shape == ((None, 4, 5, 3) if last else (None, 3, 4, 5))
        for size in [(7, 9), (3, 9), (2, 3)]:
            assert Model(x, symbol).train()(images(2, size=size)).shape == (2, 3, 4, 5)


# As PyTorch modules


def augmented(training):
    image = Input((6, 5, 3))
    outputs = [getattr(layers, name)(**RANDOM_LAYERS[name])(image) for name in RANDOM_LAYERS]
    outputs += [layers.RandomCrop(4, 3)(image), layers.CenterCrop(4, 3)(image)]
    outputs += [layers.CenterCrop(9, 3)(image)]
    for kernel in ("nearest", "bilinear", "bicubic", "area", "lanczos5"):
        outputs.append(layers.Resizing(4, 7, kernel, crop_to_aspect_ratio=True)(image))
        outputs.append(layers.Resizing(4, 7, kernel, pad_to_aspect_ratio=True)(image))
    return Model(image, outputs).train(training)


@pytest.mark.parametrize("training", [True, False])
def test_compilers_and_copies(training):
    model, x = augmented(training), images()
    others = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    torch.compiler.reset()
    others.append(torch.compile(model, fullgraph=True, backend="eager"))
    if not training:
        batch = ({0: torch.export.Dim("batch")},)
        others.append(torch.export.export(model, (images(3),), dynamic_shapes=batch).module())
    torch.manual_seed(0)
    expected = model(x)
    for other in others:
        torch.manual_seed(0)
        torch.testing.assert_close(other(x), expected, rtol=0, atol=0)


@pytest.mark.parametrize("training", [True, False])
def test_images_stay_channels_last(training):
    x = images().contiguous(memory_format=torch.channels_last)
    assert all(y.stride(1) == 1 for y in augmented(training)(x))


# Files of Keras 2


@pytest.fixture(scope="module")
def keras2():
    with Oracle("keras2_side") as oracle:
        yield oracle


@pytest.mark.parametrize("file", ["twin.h5", "twin.keras"])
@pytest.mark.parametrize(
    ("case", "floatx", "tolerance"),
    [
        ("layers_of_keras_2", "float64", parity.TOLERANCE),
        ("resizings", "float64", 1e-6),  # TensorFlow does it in float32
        ("augmentations_of_keras_2", "float32", 0),  # Keras cannot rotate in another type
    ],
)
def test_files_of_keras_2(keras2, tmp_path, case, floatx, tolerance, file):
    names = [
        name for name, _ in keras2.ask("build", builder=case, arguments={}, floatx=floatx)["layers"]
    ]
    keras2.ask("save", path=str(tmp_path / file))
    model = kerastorch.load_model(tmp_path / file)
    assert [layer.name for layer in model.layers] == names
    rng = np.random.default_rng(0)
    inputs = [rng.uniform(0, 1, (3, *x.shape[1:])).astype(floatx) for x in model.inputs]
    expected = keras2.ask("predict", inputs=inputs)
    outputs = model.predict(inputs if len(inputs) > 1 else inputs[0])
    for symbol, ours, theirs in zip(model.outputs, outputs, expected, strict=True):
        assert ours.shape == theirs.shape, symbol
        assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max(), symbol


def test_ranges_of_keras_2(keras2, tmp_path):
    """A number is another range of contrasts there."""
    keras2.ask("build", builder="augmentations_of_keras_2", arguments={}, floatx="float32")
    keras2.ask("save", path=str(tmp_path / "twin.h5"))
    model = kerastorch.load_model(tmp_path / "twin.h5")
    ranges = [layer.factor for layer in model.layers if isinstance(layer, layers.RandomContrast)]
    assert ranges == [(0.2, 0.2), (0.1, 0.9)]


def config_of(layer):
    """A model of one layer on an image, in Keras 2's dialect."""
    source = {"class_name": "InputLayer", "name": "x", "inbound_nodes": []}
    source["config"] = {"batch_input_shape": [None, 6, 5, 3], "name": "x"}
    layer = {**layer, "name": "y", "inbound_nodes": [[["x", 0, 0, {}]]]}
    layer["config"] = {"name": "y", "trainable": True, **layer["config"]}
    graph = {"layers": [source, layer], "input_layers": [["x", 0, 0]]}
    graph["output_layers"] = [["y", 0, 0]]
    return {"class_name": "Functional", "config": {"name": "model", **graph}}


@pytest.mark.parametrize(
    ("name", "config", "synchronized"),
    [
        ("BatchNormalizationV1", {"axis": [3], "fused": None, "virtual_batch_size": 4}, False),
        ("BatchNormalizationV2", {"axis": 3, "epsilon": 0.1, "adjustment": None}, False),
        ("SyncBatchNormalization", {"axis": [3], "epsilon": 0.1}, True),
    ],
)
def test_batch_normalisations_of_keras_2(name, config, synchronized):
    model = model_from_config(config_of({"class_name": name, "config": config}))
    layer = model.get_layer("y")
    assert isinstance(layer, layers.BatchNormalization)
    assert layer.synchronized is synchronized
    assert layer.epsilon == config.get("epsilon", 1e-3)


@pytest.mark.parametrize(
    "activation",
    [
        "relu6",
        {"class_name": "function", "config": "relu6"},
        {"class_name": "function", "config": "relu6", "module": "builtins"},
        {"class_name": "function", "config": "relu6", "module": "keras.activations"},
        {
            "class_name": "function",
            "config": "relu6",
            "module": "builtins",
            "registered_name": "relu6",
        },
        {"class_name": "function", "config": "relu6", "registered_name": "function"},
    ],
)
def test_activations_as_files_write_them(activation):
    layer = {"class_name": "Activation", "config": {"activation": activation}}
    y = model_from_config(config_of(layer))(9 * images())
    assert torch.equal(y, (9 * images()).clamp(0, 6))


# Errors


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.RandomFlip("both"), "mode is one of"),
        (lambda: layers.RandomRotation("0.1"), "factor is a number or two"),
        (lambda: layers.RandomRotation((1, 2, 3)), "factor is a number or two"),
        (lambda: layers.RandomRotation(0.1, "mirror"), "fill_mode is one of"),
        (lambda: layers.RandomRotation(0.1, "wrap", "bicubic"), "'nearest' or 'bilinear'"),
        (lambda: layers.RandomZoom((-1.5, 0)), "height_factor lies from -1"),
        (lambda: layers.RandomZoom(0.1, (-1.5, 0)), "width_factor lies from -1"),
        (lambda: layers.RandomTranslation(1.5, 0), "height_factor lies from -1 to 1"),
        (lambda: layers.RandomTranslation(0, (0, 1.5)), "width_factor lies from -1 to 1"),
        (lambda: layers.RandomContrast(-0.5), "factor lies from 0 to 1"),
        (lambda: layers.RandomContrast((2, 3)), "factor lies from 0 to 1"),
        (lambda: layers.RandomBrightness(1.5), "factor lies from -1 to 1"),
        (lambda: layers.RandomBrightness(0.5, 255), "value_range is two numbers"),
        (lambda: layers.RandomCrop(0, 1), "height is a positive integer"),
        (lambda: layers.CenterCrop(1, 2.5), "width is a positive integer"),
        (lambda: layers.Resizing(0, 1), "height is a positive integer"),
        (lambda: layers.Resizing(1, 1, "cubic"), "interpolation is one of"),
        (lambda: layers.Resizing(1, 1, fill_mode="wrap"), "fill_mode is 'constant'"),
        (lambda: layers.Resizing(1, 1, "area", True, True), "Only one of"),
        (lambda: layers.ThresholdedReLU(-1.0), "theta is not negative"),
    ],
)
def test_arguments_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", ["RandomFlip", "RandomCrop", "CenterCrop", "Resizing"])
def test_inputs_are_images(name):
    arguments = () if name == "RandomFlip" else (2, 2)
    with pytest.raises(ValueError, match="rank 4"):
        getattr(layers, name)(*arguments)(Input((4, 5)))
