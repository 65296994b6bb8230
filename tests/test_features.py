"""Feature maps of named layers are Keras's intermediate outputs, and only they are computed."""

import copy
from collections import OrderedDict

import pytest
import torch

import kerastorch
from kerastorch import layers
from tests import parity

pytestmark = pytest.mark.usefixtures("beside_oracle")

CASES = {
    "Xception": ((103, 90, 3), {"block13_pool": (1024, 32), "block3_sepconv2_bn": (256, 4)}),
    "ResNet50V2": (
        (75, 83, 3),
        {
            "conv2_block3_1_relu": (64, 4),
            "conv3_block4_1_relu": (128, 8),
            "conv4_block6_1_relu": (256, 16),
            "post_relu": (2048, 32),
        },
    ),
    "MobileNet": ((69, 64, 3), {"conv1_relu": (32, 2), "global_average_pooling2d": (1024, None)}),
    "EfficientNetB0": (
        (75, 66, 3),
        {
            "block2b_add": (24, 4),
            "block4a_expand_activation": (240, 8),
            "top_activation": (1280, 32),
        },
    ),
    "ConvNeXtTiny": (
        (75, 66, 3),
        {
            "convnext_tiny_stage_0_block_0_depthwise_conv": (96, 4),
            "convnext_tiny_stage_1_block_2_identity": (192, 8),
            "convnext_tiny_stage_3_block_2_layer_scale": (768, 32),
        },
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_maps_are_those_of_keras(oracle, tmp_path, name):
    shape, expected = CASES[name]
    arguments = {"name": name, "input_shape": shape, "classes": 4}
    model = parity.make_twins(oracle, "application", arguments, tmp_path / "twin.weights.h5")
    features = model.feature_maps(*expected)
    assert features.channels == {layer: channels for layer, (channels, _) in expected.items()}
    assert features.strides == {layer: stride for layer, (_, stride) in expected.items()}
    images = parity.random_arrays(model.inputs, batch=2)
    theirs = {layer: outputs for layer, _, outputs in oracle.stream("outputs", inputs=images)}
    with torch.no_grad():
        maps = features.eval()(parity.from_keras(images[0]))
    assert isinstance(maps, OrderedDict)
    assert list(maps) == list(expected)
    for layer, value in maps.items():
        assert value.shape[1] == features.channels[layer]
        keras_value = parity.from_keras(theirs[layer][0]).numpy()
        assert parity.relative_error([value.numpy()], [keras_value]) <= parity.TOLERANCE


def two_heads():
    image = layers.Input((None, None, 3))
    early = layers.Conv2D(4, 3, strides=2, name="early")(image)
    late = layers.Conv2D(5, 3, strides=3, name="late")(early)
    return kerastorch.Model(image, layers.UpSampling2D(2, name="up")(late))


def test_only_what_is_needed_is_run_and_layers_are_shared():
    model = two_heads()
    features = model.feature_maps("early", as_list=True)
    assert [layer.name for layer in features.body.layers] == [model.layers[0].name, "early"]
    assert features.body.get_layer("early") is model.get_layer("early")
    (found,) = features(torch.rand(2, 3, 20, 17))
    found.sum().backward()
    assert model.get_layer("early").weight.grad is not None
    assert copy.deepcopy(features)(torch.rand(1, 3, 9, 9))[0].shape == (1, 4, 4, 4)


def test_strides_count_what_is_enlarged():
    assert two_heads().feature_maps("up", "late").strides == {"up": 3, "late": 6}


def test_wrong_names_are_refused():
    model = two_heads()
    with pytest.raises(ValueError, match="has no layer 'lat'"):
        model.feature_maps("lat")
    for names in ((), ("late", "late")):
        with pytest.raises(ValueError, match="each once"):
            model.feature_maps(*names)
    vector = layers.Input((5,))
    with pytest.raises(ValueError, match="one image as input"):
        kerastorch.Model(vector, layers.Dense(2, name="dense")(vector)).feature_maps("dense")
