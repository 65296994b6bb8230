"""Operations: arithmetic on Symbols, and what Keras's files hold of `keras.ops`."""

import json

import pytest
import torch

import kerastorch
from kerastorch.convert.config import model_config
from tests import parity

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
