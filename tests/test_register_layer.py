"""Files with layers of a user's own, written by Keras, and what the user says of them."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import kerastorch
from kerastorch import Input, Layer, Model, layers, registration
from kerastorch.convert.config import model_config
from tests import parity
from tests.registered import register_block

pytestmark = pytest.mark.usefixtures("beside_oracle")


@pytest.fixture(autouse=True)
def _registered_for_one_test(monkeypatch):
    monkeypatch.setattr(registration, "_registered", {})


def register_blur(name="shop>Blur", weights=None):
    @kerastorch.register_layer(name, weights)
    class Blur(Layer):
        """The twin of `builders.own_layers`' Blur."""

        def __init__(self, strength, **kwargs):
            super().__init__(**kwargs)
            self.strength = strength

        def build(self, shape):
            channels = shape[-1]
            self.gain = nn.Parameter(torch.zeros(channels))
            self.register_buffer("shift", torch.zeros(channels))
            self.built = True

        def forward(self, x, power=1):
            gain, shift = (value.view(-1, 1, 1) for value in (self.gain, self.shift))
            return (x * gain * self.strength + shift) ** power

        def get_config(self):
            return {"name": self.name, "trainable": self.trainable, "strength": self.strength}

    return Blur


@pytest.mark.parametrize("file", ["twin.keras", "twin.h5"])
@pytest.mark.parametrize("name", ["shop>Blur", "Blur"])
def test_classes_are_registered(oracle, tmp_path, file, name):
    """By the whole name or by the class's alone, with weights and an argument of the call."""
    blur = register_blur(name)
    model = parity.make_twins(oracle, "own_layers", {}, tmp_path / file, parity.by_load_model)
    assert isinstance(model.get_layer("blur"), blur)
    parity.assert_layers_agree(model, oracle, parity.random_arrays(model.inputs, batch=2))


def test_functions_are_registered(oracle, tmp_path):
    """That give layers of this package, whose weights lie as in Keras's class."""

    @kerastorch.register_layer("shop>Mix", weights=[("weight", (3, 2, 0, 1)), "bias"])
    def mix(config):
        return layers.Conv2D(config["channels"], 1)

    path = tmp_path / "twin.keras"
    oracle.ask("build", builder="own_convolution", arguments={})
    oracle.ask("save", path=str(path))
    model = kerastorch.load_model(path)
    assert type(model.get_layer("mix")).__name__ == "Conv2D"
    images = parity.random_arrays(model.inputs, batch=2)
    answers = [values for _, _, (values,) in oracle.stream("outputs", inputs=images)]
    ours = model.eval()([parity.from_keras(x) for x in images])
    parity.assert_close(ours, parity.from_keras(answers[-1]), "output")


def test_layers_inside_have_their_own_rules(oracle, tmp_path):
    """In Keras's order: a layer's trainable weights first, then the others."""

    register_block()
    path = tmp_path / "twin.h5"
    model = parity.make_twins(oracle, "own_block", {}, path, parity.by_load_model)
    parity.assert_layers_agree(model, oracle, parity.random_arrays(model.inputs, batch=2))


def test_registered_layers_come_back(tmp_path):
    blur = register_blur()
    image = Input((4, 5, 3))
    model = Model(image, layers.Conv2D(2, 3)(blur(2.0)(image, power=3)))
    with torch.no_grad():
        model.get_layer("blur").gain.uniform_()
    model.save_weights(tmp_path / "model.safetensors")
    again = kerastorch.load_model(tmp_path / "model.safetensors")
    x = torch.randn(2, 3, 4, 5)
    assert torch.equal(again(x), model(x))
    saved = model_config(model)["config"]["layers"][1]
    assert (saved["registered_name"], saved["class_name"]) == ("shop>Blur", "Blur")
    assert saved["inbound_nodes"][0]["kwargs"] == {"power": 3}


def test_errors_say_what_to_register(oracle, tmp_path):
    for file in ("twin.keras", "twin.h5"):
        oracle.ask("build", builder="own_layers", arguments={})
        oracle.ask("save", path=str(tmp_path / file))
        with pytest.raises(ValueError, match="Blur") as caught:
            kerastorch.load_model(tmp_path / file)
        name = "shop>Blur"
        assert f'@kerastorch.register_layer("{name}")' in str(caught.value)


def lambda_config(name="halve"):
    """As Keras 3 writes a Lambda, with code that would show if it ran."""
    code = "raise SystemExit"
    config = {
        "class_name": "Functional",
        "config": Model(x := Input((3,)), layers.Activation("relu", name=name)(x)).get_config(),
    }
    config = json.loads(json.dumps(config))
    layer = config["config"]["layers"][1]
    layer["class_name"] = "Lambda"
    layer["config"] = {
        "name": name,
        "trainable": True,
        "dtype": "float32",
        "function": {"class_name": "__lambda__", "config": {"value": [code, None, None]}},
        "arguments": {},
    }
    return config


def test_lambdas_are_registered_by_their_own_names():
    from kerastorch.convert.config import model_from_config

    with pytest.raises(ValueError, match="Lambda 'halve'") as caught:
        model_from_config(lambda_config())
    assert '@kerastorch.register_layer("halve")' in str(caught.value)

    @kerastorch.register_layer("halve")
    def halve(config):
        return layers.Rescaling(0.5, name=config["name"])

    model = model_from_config(lambda_config())
    x = torch.randn(2, 3)
    assert torch.equal(model(x), x * 0.5)
    with pytest.raises(ValueError, match="Lambda 'double'"):
        model_from_config(lambda_config("double"))


def test_what_cannot_be_registered():
    with pytest.raises(ValueError, match="name"):
        kerastorch.register_layer("")
    with pytest.raises(TypeError, match="Layer subclass or a function"):
        kerastorch.register_layer("shop>Blur")(nn.Linear)

    @kerastorch.register_layer("halve")
    def halve(config):
        return np.float64(0.5)

    from kerastorch.convert.config import model_from_config

    with pytest.raises(ValueError, match="not a Layer"):
        model_from_config(lambda_config())


def test_a_name_of_keras_stays_keras_unless_it_is_registered_itself():
    from kerastorch.convert.config import model_from_config

    class Dense(Layer):
        def __init__(self, units, **kwargs):
            super().__init__(**{key: kwargs.get(key) for key in ("name",)})

        @classmethod
        def from_config(cls, config):
            return cls(config["units"], name=config["name"])

    config = {"class_name": "Functional"}
    config["config"] = Model(x := Input((3,)), layers.Dense(3)(x)).get_config()
    kerastorch.register_layer("shop>Dense")(Dense)
    assert type(model_from_config(config).layers[1]) is not Dense
    kerastorch.register_layer("Dense")(Dense)
    assert type(model_from_config(config).layers[1]) is Dense
