"""`input_tensor`: an architecture that starts from an Input or from another layer's output."""

import pytest

import kerastorch
from tests import builders, parity

pytestmark = pytest.mark.usefixtures("beside_oracle")


def test_input(oracle, tmp_path):
    case = ("application_on_input", {"name": "VGG16", "shape": (40, 50, 3)})
    model = parity.make_twins(oracle, *case, tmp_path / "twin.weights.h5")
    assert model.layers[0].name == "photograph"
    parity.assert_layers_agree(model, oracle, parity.random_arrays(model.inputs, 2))


@pytest.mark.parametrize("name", ["VGG16", "MobileNetV2"])
def test_behind_a_convolution(oracle, tmp_path, name):
    """The model includes the convolution, as Keras's does."""
    case = ("application_behind_convolution", {"name": name})
    model = parity.make_twins(oracle, *case, tmp_path / "twin.weights.h5")
    assert [layer.name for layer in model.layers[:2]] == ["input_layer", "colour"]
    parity.assert_layers_agree(model, oracle, parity.random_arrays(model.inputs, 2))


def test_its_size_is_checked_as_in_keras():
    image = kerastorch.Input((20, 20, 3))
    with pytest.raises(ValueError, match="at least 32 x 32"):
        kerastorch.applications.MobileNetV3Small(weights=None, input_tensor=image)


@pytest.mark.parametrize("name", ["VGG16", "MobileNetV2"])
def test_weights_go_to_the_backbone(oracle, tmp_path, name):
    """Weights of the bare architecture, as they are published, fill what follows the tensor."""
    path = tmp_path / "bare.h5"
    arguments = {"name": name, "include_top": False, "input_shape": (45, 38, 3)}
    oracle.ask("build", builder="application", arguments=arguments)
    oracle.ask("save", path=str(path), weights_only=True)
    model = builders.application_behind_convolution(kerastorch, name, weights=path)
    colour = model.get_layer("colour").output
    backbone = kerastorch.Model(colour, model.output).eval()
    parity.assert_layers_agree(backbone, oracle, parity.random_arrays([colour], 2))
