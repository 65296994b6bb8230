"""A new classifier on any model: all before it stays, and what is saved opens in Keras."""

import copy

import numpy as np
import pytest
import torch

import kerastorch
from kerastorch import layers
from tests import parity

pytestmark = pytest.mark.usefixtures("beside_oracle")

NAMES = ["xception", "mobilenet", "mobilenet_v2", "vgg16", "resnet50_v2", "nasnet_mobile"]
SMALL = {"input_shape": (75, 75, 3), "classes": 6}


@pytest.fixture(scope="module")
def xception():
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield kerastorch.create_model("xception", **SMALL)
    torch.set_default_dtype(dtype)


@pytest.fixture
def model(xception):
    return copy.deepcopy(xception)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_what_the_constructor_would_have_made(name):
    with torch.device("meta"):
        model = kerastorch.create_model(name, **SMALL)
        expected = kerastorch.create_model(name, **SMALL | {"classes": 4})
        model.reset_classifier(4)
    assert [layer.name for layer in model.layers] == [layer.name for layer in expected.layers]
    shapes, theirs = ({k: v.shape for k, v in m.state_dict().items()} for m in (model, expected))
    assert shapes == theirs
    assert model.output_shape == (None, 4)


def test_all_before_it_stays(model, xception):
    features = kerastorch.Model(xception.input, xception.get_layer("avg_pool").output).eval()
    model.eval().reset_classifier(3, activation="softmax")
    x = torch.rand(2, 3, 75, 75)
    with torch.no_grad():
        expected = model.predictions(features(x))
        assert torch.equal(model(x), expected)
        assert expected.sum(1).allclose(torch.ones(2))
    own = xception.state_dict()
    assert all(torch.equal(v, own[k]) for k, v in model.state_dict().items() if "pred" not in k)
    assert not model.predictions.training


def test_another_pooling(model, xception):
    maps = kerastorch.Model(xception.input, xception.get_layer("block14_sepconv2_act").output)
    model.eval().reset_classifier(3, pooling="max")
    assert isinstance(model.get_layer("avg_pool"), layers.GlobalMaxPooling2D)
    x = torch.rand(2, 3, 75, 75)
    with torch.no_grad():
        assert torch.equal(model(x), model.predictions(maps.eval()(x).amax((2, 3))))


@pytest.mark.parametrize(("pooling", "kind"), [(None, "Average"), ("max", "Max")])
def test_features_get_one(pooling, kind):
    model = kerastorch.create_model("mobilenet", include_top=False, input_shape=(64, 64, 3))
    model.float().reset_classifier(3, pooling)
    assert type(model.layers[-2]).__name__ == f"Global{kind}Pooling2D"
    assert model(torch.rand(2, 3, 64, 64, dtype=torch.float32)).shape == (2, 3)
    assert model.predictions.weight.dtype == torch.float32
    pooled = kerastorch.create_model("mobilenet", include_top=False, pooling="avg")
    pooled.reset_classifier(3)
    assert pooled.output_shape == (None, 3)


def test_heads_of_users_and_their_modules():
    image = layers.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(image))
    x = layers.Dropout(0.5)(layers.Dense(5, activation="relu", name="hidden")(x))
    x = layers.Activation("softmax", name="scores")(layers.Dense(2, name="head")(x))
    model = kerastorch.Model(image, x)
    model.head = torch.nn.Linear(5, 2)
    for classes in (7, 3):
        model.reset_classifier(classes)
        assert model(torch.rand(1, 3, 8, 8)).shape == (1, classes)
    assert [layer.name for layer in model.layers[-3:]] == ["dropout", "head", "scores"]
    assert (model(100 * torch.rand(4, 3, 8, 8)) < 0).any()
    sequential = kerastorch.Sequential([layers.Input((5,)), layers.Dense(2, name="head")])
    sequential.reset_classifier(4)
    assert sequential(torch.rand(2, 5)).shape == (2, 4)


def test_it_goes_home(oracle, model, tmp_path):
    model.eval().reset_classifier(3, pooling="max", activation="softmax")
    model.save(tmp_path / "model.keras")
    oracle.ask("open", path=str(tmp_path / "model.keras"))
    images = [np.random.default_rng(0).uniform(-1, 1, (2, 75, 75, 3))]
    theirs = oracle.ask("predict", inputs=images)
    assert parity.relative_error([model.predict(images[0])], theirs) <= parity.TOLERANCE
    again = kerastorch.load_model(tmp_path / "model.keras")
    assert again.state_dict().keys() == copy.deepcopy(model).state_dict().keys()


def test_what_has_no_classifier_of_this_kind_is_refused(model):
    with pytest.raises(ValueError, match="pooling must be None, 'avg' or 'max'"):
        model.reset_classifier(3, pooling="average")
    with torch.device("meta"):
        vgg = kerastorch.create_model("vgg16", input_shape=(32, 32, 3))
    with pytest.raises(ValueError, match="does not pool before its classifier"):
        vgg.reset_classifier(3, pooling="avg")
    vector = layers.Input((5,))
    two = kerastorch.Model(vector, [layers.Dense(2)(vector), layers.Dense(3)(vector)])
    with pytest.raises(ValueError, match="has 2 outputs"):
        two.reset_classifier(3)
