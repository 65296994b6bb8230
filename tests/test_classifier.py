"""A new classifier on any model: all before it stays, and what is saved opens in Keras."""

import copy

import numpy as np
import pytest
import torch

import kerastorch
from kerastorch import layers
from kerastorch.embedding.cutting import embedder
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
    torch.nn.init.constant_(model.head.bias, -1000)
    assert (model(torch.rand(4, 3, 8, 8)) < 0).all()  # logits
    sequential = kerastorch.Sequential([layers.Input((5,)), layers.Dense(2, name="head")])
    sequential.reset_classifier(4)
    assert sequential(torch.rand(2, 5)).shape == (2, 4)


def test_what_stands_between_pooling_and_classifier_stays():
    image = layers.Input((8, 8, 3))
    maps = layers.Conv2D(4, 3, name="conv")(image)
    x = layers.Activation("relu", name="relu")(layers.GlobalAveragePooling2D(name="pool")(maps))
    model = kerastorch.Model(image, layers.Dense(10, name="head")(x))
    model.reset_classifier(3, pooling="max", activation="softmax")
    images = torch.rand(2, 3, 8, 8)
    expected = model.head(model.conv(images).amax((2, 3)).relu())
    assert torch.equal(model(images), expected)
    assert expected.sum(1).allclose(torch.ones(2))
    assert [layer.name for layer in model.layers[1:]] == ["conv", "pool", "relu", "head"]


def test_older_mobilenets_get_another_pooling():
    image = layers.Input((8, 8, 3))
    maps = layers.Conv2D(4, 3, name="conv")(image)
    x = layers.Reshape((1, 1, 4))(layers.GlobalAveragePooling2D()(maps))
    x = layers.Conv2D(10, 1, name="conv_preds")(layers.Dropout(0.5)(x))
    x = layers.Reshape((10,))(layers.Activation("softmax")(x))
    model = kerastorch.Model(image, x).eval()
    model.reset_classifier(5, pooling="max", activation="softmax")
    images = torch.rand(2, 3, 8, 8)
    logits = model.conv_preds(model.conv(images).amax((2, 3), keepdim=True)).flatten(1)
    assert model(images).allclose(logits.softmax(1))
    assert model.output_shape == (None, 5)


def test_convolutions_take_the_activation():
    image = layers.Input((8, 8, 3))
    x = layers.Conv2D(10, 1, name="head")(layers.GlobalAveragePooling2D(keepdims=True)(image))
    model = kerastorch.Model(image, layers.Flatten()(x))
    model.reset_classifier(3, activation="softmax")
    assert model(torch.rand(2, 3, 8, 8)).sum(1).allclose(torch.ones(2))


@pytest.mark.parametrize("end", [["softmax", "linear"], ["linear", "softmax"]])
def test_of_several_activations_one_is_the_new_one(end):
    image = layers.Input((8, 8, 3))
    x = layers.Dense(10, name="head")(layers.GlobalAveragePooling2D()(image))
    for activation in end:
        x = layers.Activation(activation)(x)
    model = kerastorch.Model(image, x)
    model.reset_classifier(1, activation="sigmoid")
    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(model(images), model.head(images.mean((2, 3))).sigmoid())


def test_it_goes_home(oracle, model, tmp_path):
    model.eval().reset_classifier(3, pooling="max", activation="softmax")
    model.save(tmp_path / "model.keras")
    oracle.ask("open", path=str(tmp_path / "model.keras"))
    images = [np.random.default_rng(0).uniform(-1, 1, (2, 75, 75, 3))]
    theirs = oracle.ask("predict", inputs=images)
    assert parity.relative_error([model.predict(images[0])], theirs) <= parity.TOLERANCE
    again = kerastorch.load_model(tmp_path / "model.keras")
    assert again.state_dict().keys() == copy.deepcopy(model).state_dict().keys()


def small(activation="softmax", name="predictions"):
    image = layers.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D(name="pool")(layers.Conv2D(4, 3, name="conv")(image))
    x = layers.Dense(10, activation=activation, name=name)(x)
    return kerastorch.Model(image, x, name="small")


def around(model):
    image = layers.Input((8, 8, 3))
    return kerastorch.Model(image, model(layers.Rescaling(2.0)(image), training=False))


@pytest.mark.parametrize("activation", [None, "softmax"])
def test_a_model_within_gets_the_new_one(activation):
    inner = small(activation)
    model = around(around(inner))
    images = torch.rand(2, 3, 8, 8)
    maps = kerastorch.Model(inner.input, inner.conv.output)
    model.reset_classifier(3, pooling="max", activation="sigmoid")
    assert model.output_shape == (None, 3)
    assert inner.output_shape == (None, 3)
    expected = inner.predictions(maps(4 * images).amax((2, 3)))
    assert torch.equal(model(images), expected)
    assert (expected >= 0).all()
    assert [layer.name for layer in inner.layers[1:]] == ["conv", "pool", "predictions"]
    assert model._plan.steps[-1].training is False
    behind = kerastorch.Model(inner.input, layers.Softmax(name="scores")(inner(inner.input)))
    behind.reset_classifier(4, activation="softmax")
    assert behind(images).sum(1).allclose(torch.ones(2))
    assert inner.output_shape == (None, 4)


def squeezed():
    """The end of SqueezeNet: no weights stand behind the pooling."""
    image = layers.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D(name="pool")(layers.Conv2D(10, 1, name="conv")(image))
    return kerastorch.Model(image, layers.Activation("softmax")(x), name="squeezed")


def with_head_of_torch():
    model = small(None, "head")
    model.head = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(4, 10))
    return model


def with_softmax_of_torch():
    model = squeezed()
    model.activation = torch.nn.Softmax(1)
    return model


@pytest.mark.parametrize("make", [squeezed, with_head_of_torch, with_softmax_of_torch])
@pytest.mark.parametrize("where", [lambda model: model, around])
def test_nothing_is_put_on_what_may_be_scores(make, where):
    model = where(make()).eval()
    images = torch.rand(2, 3, 8, 8)
    before = model(images)
    with pytest.raises(ValueError, match="may be scores already"):
        model.reset_classifier(3)
    with pytest.raises(ValueError, match="does not end with a classifier of its own"):
        embedder(model)
    assert torch.equal(model(images), before)


def test_features_of_a_model_within_are_asked_for():
    with pytest.raises(ValueError, match="does not end with a classifier of its own"):
        embedder(around(small(None)))
    features = embedder(around(kerastorch.Model(*features_of(small()))))
    assert features.output_shape == (None, 4)


def features_of(model):
    return model.input, model.get_layer("pool").output


def test_heads_with_adapters_are_known():
    from peft import LoraConfig, get_peft_model

    model = small(None)
    get_peft_model(model, LoraConfig(target_modules=["predictions"], r=2))
    assert embedder(model).output_shape == (None, 4)
    model.reset_classifier(3)
    assert isinstance(model.predictions, layers.Dense)
    assert model(torch.rand(2, 3, 8, 8)).shape == (2, 3)


def test_a_model_that_is_refused_stays_as_it_was():
    image = layers.Input((8, 8, 3))
    model = kerastorch.Model(image, layers.Conv2D(4, 3, name="predictions")(image))
    model.extra = torch.nn.Linear(2, 2)
    images = torch.rand(1, 3, 8, 8)
    before, keys = model(images), model.state_dict().keys()
    with pytest.raises(ValueError, match=r"must be unique .* \['predictions'\]"):
        model.reset_classifier(3)
    assert torch.equal(model(images), before)
    assert model.state_dict().keys() == keys


def test_models_without_parameters_get_one():
    image = layers.Input((8, 8, 3))
    model = kerastorch.Model(image, layers.Rescaling(2.0)(image))
    model.reset_classifier(3)
    assert model(torch.rand(2, 3, 8, 8)).shape == (2, 3)


def test_convolutions_of_torch_may_be_classifiers():
    image = layers.Input((8, 8, 3))
    x = layers.Conv2D(6, 1, name="logits")(layers.GlobalAveragePooling2D(keepdims=True)(image))
    model = kerastorch.Model(image, layers.Flatten()(x))
    model.logits = torch.nn.Conv2d(3, 6, 1)
    model.reset_classifier(4)
    assert model(torch.rand(2, 3, 8, 8)).shape == (2, 4)


def test_what_has_no_classifier_of_this_kind_is_refused(model):
    with pytest.raises(ValueError, match="pooling must be None, 'avg' or 'max'"):
        model.reset_classifier(3, pooling="average")
    with torch.device("meta"):
        vgg = kerastorch.create_model("vgg16", input_shape=(32, 32, 3))
    with pytest.raises(ValueError, match="does not pool right before its classifier"):
        vgg.reset_classifier(3, pooling="avg")
    vector = layers.Input((5,))
    two = kerastorch.Model(vector, [layers.Dense(2)(vector), layers.Dense(3)(vector)])
    with pytest.raises(ValueError, match="has 2 outputs"):
        two.reset_classifier(3)
