"""Models under `image_data_format=channels_first` are those of Keras, with the same numbers.

TensorFlow convolves channels first on no CPU in float64, so the numbers come from the twin that
is channels last, and the shapes and configs from a twin that is built but not run.
"""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import kerastorch
from kerastorch import layers
from kerastorch.applications import get_record
from kerastorch.config import data_format_scope, image_data_format, set_image_data_format
from kerastorch.embedding import embedder
from tests import builders, parity
from tests.oracle.client import ROOT

pytestmark = pytest.mark.usefixtures("beside_oracle")

FAMILIES = {
    "Xception": (75, 78),
    "VGG16": (45, 38),
    "ResNet50": (45, 38),
    "ResNet50V2": (45, 38),
    "InceptionV3": (75, 78),
    "InceptionResNetV2": (75, 78),
    "MobileNet": (45, 38),
    "MobileNetV2": (45, 38),
    "MobileNetV3Small": (45, 38),
    "EfficientNetB0": (45, 38),
    "EfficientNetV2B0": (45, 38),
}

# What a user's program does when keras.json says channels first.
PROGRAM = """
import sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
import torch
import kerastorch
from kerastorch.applications.vgg16 import VGG16, preprocess_input

torch.set_default_dtype(torch.float64)
model = VGG16(weights="vgg16.weights.h5", input_shape=(3, 45, 38), classes=10)
images = np.load("images.npy")
np.save("preprocessed.npy", preprocess_input(images.copy()))
np.save("predictions.npy", model.predict(images))
np.save("features.npy", kerastorch.Model(model.input, model.layers[-6].output).predict(images))
"""


@pytest.mark.parametrize("name", FAMILIES)
def test_families(oracle, tmp_path, name):
    height, width = FAMILIES[name]
    arguments = {"name": name, "classes": 10}
    last = arguments | {"input_shape": (height, width, 3)}
    first = arguments | {"input_shape": (3, height, width)}

    oracle.ask("build", builder="application", arguments=first, data_format="channels_first")
    expected = list(oracle.stream("layers"))
    with data_format_scope("channels_first"):
        model = builders.application(kerastorch, **first)
    assert [describe(layer) for layer in model.layers] == [
        (name, shapes, layout(config)) for name, shapes, config in expected
    ]

    path = tmp_path / "twin.weights.h5"
    oracle.ask("build", builder="application", arguments=last)
    oracle.ask("save", path=str(path))
    model.load_weights(path)
    images = np.random.default_rng(0).uniform(-1, 1, (2, height, width, 3))
    if get_record(name).preprocessing == "none":  # it takes pixels
        images = 127.5 * (images + 1)
    parity.assert_layers_agree(model.eval(), oracle, [images])


def describe(layer):
    outputs = layer.output if isinstance(layer.output, list) else [layer.output]
    return layer.name, [symbol.shape for symbol in outputs], layout(layer.get_config())


def layout(config):
    """What of a layer's config follows the data format."""
    return {key: config[key] for key in ("data_format", "axis") if key in config}


@pytest.mark.parametrize("name", ["ResNetRS50", "RegNetY002"])
def test_families_of_keras_2(name):
    """These compute what their channels-last twins do, which are compared with Keras elsewhere."""
    arguments = {"name": name, "classes": 10}
    twin = builders.application(kerastorch, input_shape=(45, 38, 3), **arguments).eval()
    with data_format_scope("channels_first"):
        model = builders.application(kerastorch, input_shape=(3, 45, 38), **arguments).eval()
    assert model.input_shape == (None, 3, 45, 38)
    model.load_state_dict(twin.state_dict())
    images = parity.from_keras(np.random.default_rng(0).uniform(0, 255, (2, 45, 38, 3)))
    with torch.no_grad():
        parity.assert_close(model(images), twin(images), "output")


def test_keras_json(oracle, tmp_path):
    (tmp_path / "keras.json").write_text(json.dumps({"image_data_format": "channels_first"}))
    arguments = {"name": "VGG16", "input_shape": (45, 38, 3), "classes": 10}
    oracle.ask("build", builder="application", arguments=arguments)
    oracle.ask("save", path=str(tmp_path / "vgg16.weights.h5"))
    images = np.random.default_rng(0).uniform(0, 255, (2, 45, 38, 3))
    answers = {name: outputs[0] for name, _, outputs in oracle.stream("outputs", inputs=[images])}
    np.save(tmp_path / "images.npy", np.moveaxis(images, -1, 1))
    environment = os.environ | {"KERAS_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment, check=True)

    def result(name):
        return np.load(tmp_path / f"{name}.npy")

    def assert_equal(ours, theirs):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=parity.TOLERANCE * theirs.max())

    assert_equal(result("predictions"), answers["predictions"])
    assert_equal(result("features"), np.moveaxis(answers["block5_conv3"], -1, 1))
    caffe = images[..., ::-1] - [103.939, 116.779, 123.68]
    assert_equal(result("preprocessed"), np.moveaxis(caffe, -1, 1))


def test_rescaling_by_channel(oracle):
    """As EfficientNet does it with published weights. Keras takes offsets for the last axis."""
    arguments = {"shape": (3, 5, 4), "scale": [0.5, 2.0, 3.0], "offset": [1.0, 0.0, -1.0, 4.0]}
    build = {"builder": "rescaled", "arguments": arguments}
    oracle.ask("build", **build, data_format="channels_first")
    images = np.random.default_rng(0).uniform(0, 255, (2, 3, 5, 4))
    (expected,) = oracle.ask("predict", inputs=[images])
    with data_format_scope("channels_first"):
        model = builders.rescaled(kerastorch, **arguments)
    np.testing.assert_array_equal(model.predict(images), expected)


@pytest.mark.parametrize(
    "name", ["NASNetMobile", "NASNetLarge", "DenseNet121", "ConvNeXtTiny", "ResNeXt50"]
)
def test_refused_as_in_keras(name):
    with data_format_scope("channels_first"), pytest.raises(ValueError, match="channels_last"):
        builders.application(kerastorch, name)


def test_what_is_cut_from_a_model_has_its_data_format(tmp_path):
    with data_format_scope("channels_first"):
        image = layers.Input((3, 9, 8))
        x = layers.Conv2D(4, 3, name="maps")(layers.Rescaling(2.0, name="scaled")(image))
        x = layers.Dense(5, name="head")(layers.GlobalAveragePooling2D(name="pool")(x))
        kerastorch.Model(image, x).save(tmp_path / "first.keras")
    model = kerastorch.load_model(tmp_path / "first.keras")
    images = np.random.default_rng(0).uniform(0, 1, (2, 3, 9, 8))
    maps = kerastorch.Model(model.input, model.maps.output)
    assert maps.predict(images).shape == (2, 4, 7, 6)
    later = kerastorch.Model(model.scaled.output, model.maps.output)  # with an input of its own
    again = kerastorch.Model(later.input, later.output)
    np.testing.assert_array_equal(again.predict(2 * images), maps.predict(images))
    vectors = embedder(model, "maps").predict(images)
    np.testing.assert_allclose(vectors, maps.predict(images).mean((2, 3)), rtol=1e-12)

    model.reset_classifier(7, pooling="max")
    assert model.pool.data_format == "channels_first"
    assert model.predict(images).shape == (2, 7)
    maps.reset_classifier(6)
    assert maps.predict(images).shape == (2, 6)


def test_the_chosen_format_holds_in_all_threads():
    set_image_data_format("channels_first")
    try:
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(image_data_format).result() == "channels_first"
        with data_format_scope("channels_last"):
            assert image_data_format() == "channels_last"
    finally:
        set_image_data_format("channels_last")
