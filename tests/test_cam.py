"""Grad-CAM from Keras's own maps and gradients, and its picture."""

import numpy as np
import pytest
import torch
from PIL import Image

import kerastorch
from kerastorch import layers
from kerastorch.cam import grad_cam, overlay
from tests import parity

pytestmark = pytest.mark.usefixtures("beside_oracle")

CASES = {
    "Xception": ("block14_sepconv2_act", (99, 90, 3)),
    "MobileNetV2": ("block_13_expand_relu", (64, 75, 3)),
}


@pytest.mark.parametrize("name", CASES)
def test_maps_from_the_gradients_of_keras(oracle, tmp_path, name):
    layer, shape = CASES[name]
    arguments = {"name": name, "input_shape": shape, "classes": 7}
    model = parity.make_twins(oracle, "application", arguments, tmp_path / "twin.weights.h5")
    images = parity.random_arrays(model.inputs, batch=3)
    maps, slopes = oracle.ask("slopes", inputs=images, layer=layer, classes=[2, 0, 6])
    expected = np.maximum((maps * slopes.mean((1, 2), keepdims=True)).sum(-1), 0)
    expected = torch.from_numpy(expected)[:, None]
    expected = torch.nn.functional.interpolate(expected, shape[:2], mode="bilinear")[:, 0]
    expected /= expected.amax((1, 2), keepdim=True)

    model.train()
    model.trainable = False
    x = parity.from_keras(images[0])
    found = grad_cam(model, x, layer, [2, 0, 6])
    assert found.shape == (3, *shape[:2])
    assert parity.relative_error([found.numpy()], [expected.numpy()]) <= parity.TOLERANCE
    assert model.training
    assert model.layers[-1].activation is kerastorch.activations.get("softmax")

    best = model.eval()(x).argmax(1).tolist()
    assert torch.equal(grad_cam(model, x, layer), grad_cam(model, x, layer, best))


def quadrants():
    """Two classes: how bright the left half of a picture is, and the right half."""
    image = layers.Input((8, 8, 1))
    x = layers.Conv2D(1, 1, use_bias=False, name="grey")(image)
    x = layers.AveragePooling2D((8, 4), name="halves")(x)
    x = layers.Flatten()(x)
    model = kerastorch.Model(image, layers.Dense(2, activation="softmax", use_bias=False)(x))
    torch.nn.init.ones_(model.get_layer("grey").weight)
    torch.nn.init.eye_(model.layers[-1].weight)
    return model


@pytest.mark.filterwarnings("error")
def test_classes_may_be_a_tensor_and_gradients_off():
    model, images = quadrants(), torch.rand(2, 1, 8, 8)
    expected = grad_cam(model, images, "grey", [1, 0])
    assert torch.equal(grad_cam(model, images, "grey", torch.tensor([1, 0])), expected)
    for off in (torch.no_grad, torch.inference_mode):  # the latter is what Lightning predicts in
        with off():
            assert torch.equal(grad_cam(model, images.clone(), "grey", [1, 0]), expected)


def test_a_map_is_bright_where_the_picture_is():
    picture = torch.zeros(1, 1, 8, 8)
    picture[..., 2:4, 0:2] = 1
    (found,) = grad_cam(quadrants(), picture, "grey", [0])
    assert torch.equal(found, picture[0, 0])
    assert not grad_cam(quadrants(), torch.zeros(1, 1, 8, 8), "grey").any()


def test_a_single_score_is_of_two_classes():
    """What speaks for one of the two speaks against the other."""
    image = layers.Input((8, 8, 1))
    x = layers.Conv2D(1, 1, use_bias=False, name="grey")(image)
    x = layers.Flatten()(layers.AveragePooling2D((8, 4))(x))
    model = kerastorch.Model(image, layers.Dense(1, activation="sigmoid", use_bias=False)(x))
    torch.nn.init.ones_(model.get_layer("grey").weight)
    pictures = torch.zeros(2, 1, 8, 8)
    pictures[0, ..., :4] = pictures[1, ..., 4:] = 1
    for weights, best in (([2.0, -1.0], [1, 0]), ([-2.0, 1.0], [0, 1])):
        model.layers[-1].weight.data = torch.tensor([weights])
        found = grad_cam(model, pictures, "grey")
        assert torch.equal(found, grad_cam(model, pictures, "grey", best))
        assert found.flatten(1).any(1).tolist() == [True, False]
        other = grad_cam(model, pictures, "grey", [1 - one for one in best])
        assert other.flatten(1).any(1).tolist() == [False, True]


def test_wrong_arguments_are_refused():
    model, picture = quadrants(), torch.rand(2, 1, 8, 8)
    with pytest.raises(ValueError, match="2 images and 1 classes"):
        grad_cam(model, picture, "grey", [0])
    for unknown in ([0, 2], [-1, 0]):
        with pytest.raises(ValueError, match="Classes are numbers below 2"):
            grad_cam(model, picture, "grey", unknown)
    with pytest.raises(ValueError, match="no layer 'gray'"):
        grad_cam(model, picture, "gray")
    with pytest.raises(ValueError, match="'flatten' does not give one map"):
        grad_cam(model, picture, "flatten")
    with pytest.raises(ValueError, match="computes without gradients"):
        grad_cam(kerastorch.optimize(model), picture, "grey")


def test_an_overlay_has_the_pictures_size_and_the_maps_colours():
    heat = torch.zeros(4, 4)
    heat[:, 2:] = 1
    picture = overlay(Image.new("L", (40, 20), 0), heat, opacity=1)
    assert (picture.size, picture.mode) == ((40, 20), "RGB")
    assert picture.getpixel((0, 0)) == (25, 25, 112)  # midnight blue
    assert picture.getpixel((39, 19)) == (255, 215, 0)  # gold
    assert overlay(Image.new("RGB", (4, 4), "white"), heat, 0).getpixel((3, 3)) == (255, 255, 255)
