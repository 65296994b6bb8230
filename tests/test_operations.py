"""Operations: arithmetic on Symbols, and what Keras's files hold of `keras.ops`."""

import json

import numpy as np
import pytest
import torch

import kerastorch
from kerastorch.convert.config import model_config
from tests import parity
from tests.oracle.client import Oracle

pytestmark = pytest.mark.usefixtures("beside_oracle")

CASES = ["arithmetic", "comparisons", "functions", "reductions", "shapings"]


@pytest.mark.parametrize("file", ["twin.keras", "twin.h5"])
@pytest.mark.parametrize("case", CASES)
def test_operations_in_files(oracle, tmp_path, case, file):
    model = parity.make_twins(oracle, case, {}, tmp_path / file, parity.by_load_model)
    parity.assert_layers_agree(model, oracle, parity.random_arrays(model.inputs, batch=3))


@pytest.mark.parametrize("name", ["mobilenet_v2", "vgg16", "densenet"])
def test_preprocessing_in_front(oracle, tmp_path, name):
    """`preprocess_input` in a model: the three kinds of it."""
    case = ("preprocessed", {"name": name})
    model = parity.make_twins(oracle, *case, tmp_path / "twin.keras", parity.by_load_model)
    parity.assert_layers_agree(model, oracle, parity.random_arrays(model.inputs, batch=2))


def test_resizing_between_pixels(oracle, tmp_path):
    """To the precision of float32, in which TensorFlow does it."""
    case = ("resized_between_pixels", {})
    model = parity.make_twins(oracle, *case, tmp_path / "twin.keras", parity.by_load_model)
    images = parity.random_arrays(model.inputs, batch=3)
    ((_, _, (expected,)),) = oracle.stream("outputs", inputs=images)
    ours, theirs = model([parity.from_keras(x) for x in images]), parity.from_keras(expected)
    parity.assert_close(ours, theirs.to(ours.dtype), "resized image", 1e-6)


def test_arithmetic_on_symbols(oracle, tmp_path):
    """The same source makes the same model, names and order included."""
    path = tmp_path / "twin.weights.h5"
    model = parity.make_twins(oracle, "arithmetic", {}, path)
    inputs = parity.random_arrays(model.inputs, batch=2)
    names = [layer.name for layer in parity.calculating_layers(model)]
    parity.assert_layers_agree(model, oracle, inputs)
    assert len(set(names)) == len(names) > 40


@pytest.mark.parametrize("case", CASES)
def test_keras_opens_our_configs_of_operations(oracle, tmp_path, case):
    """Ours is what Keras wrote, but for what it is told again; and Keras computes the same."""
    description = oracle.ask("build", builder=case, arguments={})
    oracle.ask("save", path=str(tmp_path / "twin.keras"))
    model = kerastorch.load_model(tmp_path / "twin.keras")
    config = json.loads(json.dumps(model_config(model)))
    inputs = parity.random_arrays(model.inputs, batch=2)
    assert oracle.ask("rebuild", config=config) == description
    parity.assert_layers_agree(model, oracle, inputs)


@pytest.mark.parametrize("case", CASES)
def test_operations_come_back(oracle, tmp_path, case):
    """Through our own files, with their constants."""
    oracle.ask("build", builder=case, arguments={})
    oracle.ask("save", path=str(tmp_path / "twin.keras"))
    model = kerastorch.load_model(tmp_path / "twin.keras")
    model.save_weights(tmp_path / "ours.safetensors")
    again = kerastorch.load_model(tmp_path / "ours.safetensors")
    inputs = [parity.from_keras(x) for x in parity.random_arrays(model.inputs, batch=2)]
    for ours, theirs in zip(again(inputs), model(inputs), strict=True):
        assert torch.equal(ours, theirs)
    assert json.dumps(again.get_config()) == json.dumps(model.get_config())


# Files of Keras 2


@pytest.mark.parametrize(
    ("builder", "tolerance"),
    [("tensorflow_functions", parity.TOLERANCE), ("tensorflow_functions_in_float32", 1e-6)],
)
def test_functions_of_keras_2(tmp_path, builder, tolerance):
    """Its layers of TensorFlow's functions become the operations that mean the same."""
    with Oracle("keras2_side") as keras2:
        names = keras2.ask("build", builder=builder, arguments={})
        keras2.ask("save", path=str(tmp_path / "twin.h5"))
        model = kerastorch.load_model(tmp_path / "twin.h5")
        assert [operation.name for operation in model.operations] == names
        inputs = parity.random_arrays(model.inputs, batch=2)
        expected = keras2.ask("predict", inputs=inputs)
    outputs = model.predict(inputs)
    for symbol, ours, theirs in zip(model.outputs, outputs, expected, strict=True):
        assert ours.shape == theirs.shape, symbol
        assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max(), symbol
