"""Single layers and small models equal Keras's, through each kind of file that Keras writes."""

import json

import pytest

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
    "merges": ("merges", {}),
    "normalisations": ("normalisations", {}),
    "aliases": ("aliases", {}),
    "nested": ("nested", {}),
    "sequential": ("sequential", {}),
    "stacked": ("stacked", {}),
    "towers": ("towers", {}),
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


@pytest.mark.parametrize("case", ["nested", "sequential", "stacked", "towers"])
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
