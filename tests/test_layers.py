"""Single layers and small models equal Keras's, through each kind of file that Keras writes."""

import json

import numpy as np
import pytest
import torch

import kerastorch
from kerastorch.convert.config import model_config
from tests import builders, parity

pytestmark = pytest.mark.usefixtures("beside_oracle")

SMALL_MODELS = {
    "activations of vectors": ("activations", {"shape": (6,)}),
    "activations of images": ("activations", {"shape": (4, 5, 6)}),
    "activation layers": ("activation_layers", {}),
    "convolutions": ("convolutions", {}),
    "dense layers": ("dense_layers", {}),
    "poolings": ("poolings", {}),
    "reshapings": ("reshapings", {}),
    "inactive": ("inactive", {}),
    "merges": ("merges", {}),
    "normalisations": ("normalisations", {}),
    "sequences": ("sequences", {}),
    "transposed convolutions": ("transposed_convolutions", {}),
    "rescaled by arrays": ("rescaled_by_arrays", {}),
    "normalisations within samples": ("sample_normalisations", {}),
    "aliases": ("aliases", {}),
    "nested": ("nested", {}),
    "sequential": ("sequential", {}),
    "stacked": ("stacked", {}),
    "towers": ("towers", {}),
    "augmentations": ("augmentations", {}),
    "croppings": ("croppings", {}),
}
FILES = {
    "twin.weights.h5": parity.by_load_weights,
    "twin.keras": parity.by_load_model,
    "twin.h5": parity.by_load_weights,
}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("case", SMALL_MODELS)
def test_small_models(oracle, tmp_path, case, file):
    model = parity.make_twins(oracle, *SMALL_MODELS[case], tmp_path / file, FILES[file])
    parity.assert_layers_agree(model, oracle, parity.random_arrays(model.inputs, batch=3))


@pytest.mark.parametrize("size", [(2, 2), (4, 1), (1, 8)])
def test_upsampling_between_pixels(oracle, tmp_path, size):
    """With values and weights that have few binary digits, so that float32 is exact as well."""
    case = ("upsampling_between_pixels", {"size": size})
    model = parity.make_twins(oracle, *case, tmp_path / "twin.keras", parity.by_load_model)
    images = [np.round(256 * x) / 256 for x in parity.random_arrays(model.inputs, batch=3)]
    parity.assert_layers_agree(model, oracle, images)


@pytest.mark.parametrize("size", [3, (5, 7)])
def test_upsampling_between_pixels_to_the_precision_of_float32(oracle, tmp_path, size):
    case = ("upsampling_between_pixels", {"size": size})
    model = parity.make_twins(oracle, *case, tmp_path / "twin.keras", parity.by_load_model)
    images = parity.random_arrays(model.inputs, batch=3)
    ((_, _, (expected,)),) = oracle.stream("outputs", inputs=images)
    ours, theirs = model([parity.from_keras(x) for x in images]), parity.from_keras(expected)
    parity.assert_close(ours, theirs, "enlarged image", 1e-6)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("case", "floatx", "tolerance"),
    [
        ("movements", "float32", 1e-6),  # Keras cannot rotate in another type
        ("recolourings", "float64", parity.TOLERANCE),
        ("resizings", "float64", 1e-6),  # TensorFlow does it in float32
    ],
)
@pytest.mark.parametrize("file", ["twin.keras", "twin.h5"])
def test_images_that_change(oracle, tmp_path, file, case, floatx, tolerance, training):
    """What random layers do where their ranges leave nothing to chance, and resizing."""
    oracle.ask("build", builder=case, arguments={}, floatx=floatx)
    oracle.ask("save", path=str(tmp_path / file))
    model = kerastorch.load_model(tmp_path / file).train(training)
    image = np.random.default_rng(0).uniform(0, 1, (3, *model.input_shape[1:])).astype(floatx)
    expected = oracle.ask("predict", inputs=[image], training=training)
    outputs = model(parity.from_keras(image))
    for symbol, ours, theirs in zip(model.outputs, outputs, expected, strict=True):
        theirs = parity.from_keras(theirs).to(ours.dtype)
        parity.assert_close(ours, theirs, str(symbol), tolerance)
        is_same = ours.shape[2:] == image.shape[1:3] and torch.equal(ours, parity.from_keras(image))
        assert case == "resizings" or is_same is not training, symbol


@pytest.mark.parametrize("file", ["twin.keras", "twin.h5"])
def test_files_leave_the_mode_to_the_model(oracle, tmp_path, file):
    """Keras writes a mode for every call; only that of Dropout's last call here was asked for."""
    model = parity.make_twins(oracle, "modes", {}, tmp_path / file, parity.by_load_model)
    image = parity.from_keras(parity.random_arrays(model.inputs, batch=3)[0])
    for training in (True, False):
        torch.manual_seed(0)
        *outputs, asked = model.train(training)(image)
        assert all(torch.equal(y, image) is not training for y in outputs)
        assert not torch.equal(asked, image)


LAYERS = ["activation_layers", "augmentations", "croppings", "inactive", "merges", "reshapings"]


@pytest.mark.parametrize("case", [*LAYERS, "nested", "sequential", "stacked", "towers"])
def test_keras_opens_our_configs(oracle, case):
    config = json.loads(json.dumps(model_config(getattr(builders, case)(kerastorch))))
    assert oracle.ask("rebuild", config=config) == oracle.ask("build", builder=case, arguments={})


@pytest.mark.parametrize(
    "layer",
    ["Conv2D", "DepthwiseConv2D", "SeparableConv2D", "MaxPooling2D", "AveragePooling2D"],
)
def test_same_padding(oracle, tmp_path, layer):
    """Every height and width from 1 to 12, kernel to 5, stride to 3 and dilation to 2."""
    case = ("same_padding", {"layer": layer})
    model = parity.make_twins(oracle, *case, tmp_path / "same.weights.h5")
    for height in range(1, 13):
        for width in range(1, 13):
            images = parity.random_arrays(model.inputs, batch=1, size=(height, width))
            parity.assert_layers_agree(model, oracle, images)


def test_stochastic_depth_drops_whole_samples_in_training():
    layer = kerastorch.layers.StochasticDepth(0.25)
    x = torch.ones(4000, 2, 3, 1)
    assert layer.eval()(x) is x
    torch.manual_seed(0)
    y = layer.train()(x)
    assert torch.equal(y, y[:, :1, :1].expand_as(y))
    assert set(y.unique().tolist()) == {0, torch.tensor(1 / 0.75).item()}
    assert (y[:, 0, 0, 0] == 0).float().mean().item() == pytest.approx(0.25, abs=0.03)


def test_layer_scale_knows_its_channels():
    layer = kerastorch.layers.LayerScale(0.5, 3)
    assert torch.equal(layer(torch.ones(2, 3, 4, 5)), torch.full((2, 3, 4, 5), 0.5))
    with pytest.raises(ValueError, match="takes 3 channels"):
        layer(kerastorch.Input((4, 5, 4)))
