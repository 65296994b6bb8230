"""Symbols and models: names, order, keys, graphs, memory, predict and summary."""

import copy
import os
import pickle
import subprocess
import sys
import weakref

import numpy as np
import pytest
import torch

import kerastorch
from kerastorch import Input, Model, Sequential, layers
from kerastorch.config import data_format_scope
from kerastorch.engine.naming import RESERVED_KEYS
from kerastorch.layers import (
    Activation,
    Add,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Dense,
    Dropout,
    GlobalAveragePooling2D,
    Rescaling,
)
from tests.oracle.client import ROOT


def chain(*stack, shape=(4,)):
    """A model of these layers, one after another."""
    image = x = Input(shape)
    for layer in stack:
        x = layer(x)
    return Model(image, x)


def names(model):
    return [layer.name for layer in model.layers]


# Names


def test_unnamed_layers_are_numbered_in_order_of_creation():
    last, first = Dense(2), Dense(4)
    model = chain(BatchNormalization(), first, Activation("relu"), last)
    assert names(model) == ["input_layer", "batch_normalization", "dense_1", "activation", "dense"]
    assert model.name == "functional"


def test_every_model_starts_counting_anew():
    assert names(chain(Dense(2))) == names(chain(Dense(2))) == ["input_layer", "dense"]


def test_a_given_name_is_not_given_again():
    assert names(chain(Dense(2, name="dense"), Dense(2))) == ["input_layer", "dense", "dense_1"]


def test_a_cut_model_goes_on_counting():
    base = kerastorch.applications.InceptionV3(include_top=False, weights=None)
    assert sum(type(layer) is type(base.layers[1]) for layer in base.layers) == 94
    cut = base.get_layer("mixed5").output
    head = Conv2D(8, 1)
    Model(base.input, GlobalAveragePooling2D()(head(cut)))
    assert head.name == "conv2d_94"


def test_layers_of_two_graphs_count_together():
    left, right = chain(Dense(2), Dense(4)), chain(Dense(2, name="other"), Dense(2))
    head = Dense(3)
    Model(left.input, head(right.get_layer("other")(left.output)))
    assert head.name == "dense_2"


def test_repeated_names_are_refused():
    with pytest.raises(ValueError, match="unique.*'twice'"):
        chain(Dense(2, name="twice"), Dense(2, name="twice"))


# Keys

AWKWARD_NAMES = ["a.b", "a__b", "_x", "", "conv1/bn", "ünïcode", "0", "input", "train", "float"]


@pytest.mark.parametrize("name", AWKWARD_NAMES)
def test_any_name_survives(name):
    model = chain(Dense(3, name=name), Dense(2, name="last"))
    assert model.get_layer(name).name == name
    state = {key: torch.randn_like(tensor) for key, tensor in model.state_dict().items()}
    again = pickle.loads(pickle.dumps(copy.deepcopy(model)))
    again.load_state_dict(state)
    assert names(again) == names(model)
    assert torch.equal(again.get_layer(name).weight, state[f"{again._keys[name]}.weight"])
    x = torch.randn(2, 4)
    assert torch.equal(again(x), again.get_layer("last")(again.get_layer(name)(x)))


def test_names_of_a_models_own_attributes_survive():
    """All of them at once, whatever the version of torch has."""
    plain = chain(Dense(2))
    children = {*dict(plain.named_children())}
    attributes = [name for name in dir(plain) if name[0] != "_" and name not in children]
    model = chain(*(Dense(4, name=name) for name in attributes))
    assert names(model) == ["input_layer", *attributes]
    assert [model.get_layer(name).name for name in attributes] == attributes
    assert len(model.state_dict()) == 2 * len(attributes)

    again = copy.deepcopy(model).train().float()
    again.load_state_dict(model.state_dict())
    x = torch.randn(2, 4)
    assert torch.equal(again(x), model(x))
    assert again.input.shape == (None, 4)
    assert again.count_params() == 20 * len(attributes)


def test_reserved_names_are_reached_as_submodules():
    """By the tools that go by keys, as PEFT and FSDP do."""
    model = chain(*(Dense(4, name=name) for name in sorted(RESERVED_KEYS)))
    for name, module in model.named_modules():
        assert model.get_submodule(name) is module


def test_all_names_that_mean_something_are_reserved():
    """But for `add`, a common layer name, which only a Sequential has."""
    functional, sequential = chain(Dense(4)), Sequential([Input((4,)), Dense(4)])
    for model in (functional, sequential):
        names = {name for name in dir(model) if not name.startswith("_")}
        assert names - set(model._modules) - RESERVED_KEYS <= {"add"}


def test_awkward_names_do_not_collide():
    model = chain(*(Dense(4, name=name) for name in ["a.b", "a__b", "train", "layer_train"]))
    assert len(set(model._keys.values())) == 5
    assert len(model.state_dict()) == 8


def test_keys_are_layer_names():
    inner = chain(Dense(3, name="first"), shape=(4,))
    model = chain(inner, layers.Reshape((1, 1, 3)), layers.SeparableConv2D(2, 1, name="sep"))
    assert list(model.state_dict()) == [
        "functional.first.weight",
        "functional.first.bias",
        "sep.depthwise.weight",
        "sep.pointwise.weight",
        "sep.pointwise.bias",
    ]


# Graphs


def test_a_shared_layer_is_one_child():
    shared, left, right = Dense(3), Input((4,)), Input((4,))
    model = Model([left, right], Add()([shared(left), shared(right)]))
    x, y = torch.randn(2, 2, 4)
    assert torch.equal(model([x, y]), shared(x) + shared(y))
    assert len(list(model.parameters())) == 2
    assert model.count_params() == 15


def test_models_within_take_their_inputs_by_name():
    """Whatever the order of the names."""
    wide, narrow = Input((5,), name="b"), Input((2,), name="a")
    within = Model([wide, narrow], layers.Concatenate()([Dense(3)(wide), narrow]), name="within")
    x, y = Input((2,)), Input((5,))
    model = Model([x, y], within({"a": x, "b": y}))
    x, y = torch.randn(4, 2), torch.randn(4, 5)
    assert torch.equal(model([x, y]), within([y, x]))


def test_lists_and_dicts_go_in_and_out():
    a, b = Input((4,), name="a"), Input((4,), name="b")
    total, both = Add()([a, b]), Concatenate()([a, b])
    x, y = torch.randn(2, 2, 4)
    expected_total, expected_both = x + y, torch.cat([x, y], 1)

    of_lists = Model([a, b], [total, both])
    for inputs in ([x, y], (x, y), {"b": y, "a": x}):
        outputs = of_lists(inputs)
        assert isinstance(outputs, list)
        assert torch.equal(outputs[0], expected_total)
        assert torch.equal(outputs[1], expected_both)

    of_dicts = Model({"left": a, "right": b}, {"total": total, "both": both})
    outputs = of_dicts({"right": y, "left": x})
    assert torch.equal(outputs["total"], expected_total)
    assert torch.equal(outputs["both"], expected_both)
    assert of_dicts.output_shape == {"total": (None, 4), "both": (None, 8)}
    assert torch.equal(Model([a, b], [both])([x, y]), expected_both)

    with pytest.raises(ValueError, match="takes 2 inputs; got 1"):
        of_lists(x)
    with pytest.raises(ValueError, match=r"2 dimensions.* the batch; got one of shape \(4,\)"):
        of_lists([x, y[0]])


def test_models_nest():
    inner = Model(x := Input((4,)), [Dense(3)(x), Dense(2)(x)], name="inner")
    image = Input((4,))
    three, two = inner(Rescaling(2.0)(image))
    outer = Model(image, Concatenate()([three, two]))
    assert names(outer) == ["input_layer_1", "rescaling", "inner", "concatenate"]
    assert outer.output_shape == (None, 5)

    again = copy.deepcopy(outer)
    for model in (outer, again):
        x = torch.randn(2, 4)
        assert torch.equal(model(x), torch.cat(model.get_layer("inner")(2 * x), 1))
    tail = Model(again.get_layer("inner").input, again.get_layer("inner").output[0])
    assert torch.equal(tail(x), again.get_layer("inner")(x)[0])


def test_a_nested_model_is_called_several_times():
    twin = chain(Dense(4, activation="tanh"))
    model = chain(twin, twin)
    x = torch.randn(2, 4)
    assert torch.equal(model(x), twin(twin(x)))
    assert model.count_params() == twin.count_params() == 20
    copied = copy.deepcopy(model)
    assert torch.equal(copied(x), model(x))


def test_a_call_keeps_the_mode_that_it_asked_for():
    base = chain(Dropout(0.5), BatchNormalization())
    image = Input((4,))
    model = Model(image, Dropout(0.5)(base(image, training=False)))
    x = torch.ones(8, 4)
    for candidate in (model, copy.deepcopy(model)):
        candidate.train()
        inner = candidate.get_layer(index=1)
        seen = []
        inner.register_forward_hook(lambda module, args, output, seen=seen: seen.append(output))
        dropped = candidate(x)
        assert torch.equal(seen[0], base.eval()(x))
        assert (dropped == 0).any()
        assert inner.get_layer(index=2).num_batches_tracked == 0


def test_a_model_starts_anywhere():
    model = chain(Dense(3, name="one"), Dense(4, name="two"), Dense(5, name="three"))
    tail = Model(model.get_layer("one").output, model.output)
    assert names(tail) == ["input_layer_1", "two", "three"]
    assert tail.get_layer("two") is model.get_layer("two")
    x = torch.randn(2, 3)
    y = model.get_layer("three")(model.get_layer("two")(x))
    assert torch.equal(tail(x), y)

    head = Dense(2)
    longer = Model(tail.input, head(tail.output))
    assert longer.layers[0] is tail.layers[0]
    assert torch.equal(longer(x), head(y))
    assert torch.equal(Model(model.input, model.output)(x.new_ones(2, 4)), model(x.new_ones(2, 4)))


def test_an_input_beside_an_intermediate_value_stays():
    left, right = Input((4,), name="left"), Input((4,), name="right")
    middle = Rescaling(2.0)(left)
    model = Model([middle, right], Add()([middle, right]))
    assert model.input_names[1] == "right"
    longer = Model([*model.inputs], Rescaling(3.0)(model.output))
    assert longer.inputs[1] is right
    assert (longer([torch.ones(1, 4), torch.ones(1, 4)]) == 6).all()


def test_a_cut_model_runs_only_what_it_needs():
    model = chain(Dense(3, name="one"), Dense(4, name="two"))
    model.get_layer("two").register_forward_hook(lambda *_: pytest.fail("ran the second layer"))
    cut = Model(model.input, model.get_layer("one").output)
    assert names(cut) == ["input_layer", "one"]
    assert cut(torch.randn(2, 4)).shape == (2, 3)


def test_get_layer_names_what_comes_near():
    model = chain(Dense(3, name="block1_conv1"), Dense(3, name="block1_conv2"))
    with pytest.raises(ValueError, match="no layer 'block1_convl'.*'block1_conv1'"):
        model.get_layer("block1_convl")
    assert model.get_layer(index=-1) is model.get_layer("block1_conv2")
    with pytest.raises(ValueError, match="3 layers; there is no index 3"):
        model.get_layer(index=3)
    for arguments in ({}, {"name": "block1_conv1", "index": 0}):
        with pytest.raises(ValueError, match="either a name or an index"):
            model.get_layer(**arguments)


def test_graphs_that_are_no_models():
    a, b = Input((4,), name="here"), Input((4,), name="elsewhere")
    with pytest.raises(ValueError, match="not given.*'elsewhere'"):
        Model(a, Add()([a, b]))
    with pytest.raises(ValueError, match="Symbols.*Tensor"):
        Model(a, torch.ones(2))
    with pytest.raises(ValueError, match="never been called"):
        Dense(3).output  # noqa: B018


def test_symbols_and_layers_of_other_sizes_are_refused():
    layer = Dense(3)
    layer(Input((4,)))
    with pytest.raises(ValueError, match="takes 4 features; got 5"):
        layer(Input((5,)))
    with pytest.raises(ValueError, match="cannot combine"):
        Add()([Input((4,)), Input((5,))])


@pytest.mark.parametrize(
    ("what", "make"),
    [
        ("units", lambda size: Dense(size)),
        ("filters", lambda size: Conv2D(size, 3)),
        ("groups", lambda size: Conv2D(4, 3, groups=size)),
        ("kernel_size", lambda size: Conv2D(4, (3, size))),
        ("depth_multiplier", lambda size: layers.DepthwiseConv2D(3, depth_multiplier=size)),
        ("filters", lambda size: layers.SeparableConv2D(size, 3)),
        ("pool_size", lambda size: layers.MaxPooling2D(size)),
    ],
)
@pytest.mark.parametrize("size", [0, -1, "3"])
def test_sizes_are_positive_integers(what, make, size):
    with pytest.raises(ValueError, match=f"{what} is a positive integer"):
        make(size)


@pytest.mark.parametrize("size", [0, -1, 2.5, "3", (1, 2, 3)])
def test_windows_are_one_or_two_positive_integers(size):
    with pytest.raises(ValueError, match="kernel_size is a positive integer or two"):
        Conv2D(4, size)
    assert Conv2D(4, np.int64(3)).kernel_size == (3, 3)


@pytest.mark.parametrize(
    "layer",
    [
        BatchNormalization(axis=4),
        layers.Softmax(axis=[1, -5]),
        layers.Normalization(axis=4),
        Concatenate(axis=4),
    ],
)
def test_axes_are_those_of_the_input(layer):
    image = Input((4, 5, 6))
    with pytest.raises(ValueError, match="out of range for a value of rank 4"):
        layer([image, image] if isinstance(layer, Concatenate) else image)


@pytest.mark.parametrize("layer", [layers.ZeroPadding2D(1), layers.Cropping2D(1)])
def test_borders_are_those_of_images(layer):
    with pytest.raises(ValueError, match="rank 4"):
        layer(Input((4, 5)))


@pytest.mark.parametrize("size", [-1, 1.5, "3"])
def test_inputs_have_counts_for_sizes(size):
    with pytest.raises(ValueError, match="sizes of an input"):
        Input((size, 3))


# Memory


def test_values_are_freed_after_their_last_use():
    """A chain needs two values at a time; a shortcut keeps a third until it is added."""
    image = Input((4,))
    x = shortcut = Rescaling(0.5, name="start")(image)
    for index in range(6):
        x = Rescaling(0.5, name=f"step_{index}")(x)
    x = Add(name="end")([x, shortcut])
    for index in range(6):
        x = Rescaling(0.5, name=f"later_{index}")(x)
    model = Model(image, x)

    made = []
    living = {}

    def count(layer, _, output):
        made.append(weakref.ref(output))
        living[layer.name] = sum(value() is not None for value in made)

    for layer in model.layers[1:]:
        layer.register_forward_hook(count)
    model(torch.randn(2, 4))
    assert [living[f"step_{index}"] for index in range(6)] == [2, 3, 3, 3, 3, 3]
    assert [living[f"later_{index}"] for index in range(6)] == [2] * 6


class Doubled(Dense):
    """A user's layer on top of one of ours."""

    def forward(self, x):
        return 2 * super().forward(x)


class Gained(kerastorch.Layer):
    """A user's layer written as for Keras."""

    def build(self, shape):
        self.gain = torch.nn.Parameter(torch.full((shape[-1],), 3.0))

    def forward(self, x):
        return x * self.gain


def test_a_users_subclass_keeps_its_class():
    model = chain(Doubled(3, name="doubled"))
    layer = model.doubled
    assert isinstance(layer, Doubled)
    assert isinstance(layer, torch.nn.Linear)
    assert type(layer).__name__ == "Doubled"
    x = torch.randn(2, 4)
    expected = 2 * torch.nn.functional.linear(x, layer.weight, layer.bias)
    for again in (model, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(again(x), expected)
    assert type(chain(Dense(3, name="plain")).plain) is Dense.Linear


class GainedDense(Dense):
    """A user's layer on top of one of ours, with tensors and a child of its own."""

    def __init__(self, units, **options):
        super().__init__(units, **options)
        self.gain = torch.nn.Parameter(torch.tensor(3.0))
        self.register_buffer("shift", torch.tensor(0.5), persistent=False)
        self.inner = torch.nn.Identity()

    def forward(self, x):
        return self.inner(super().forward(x)) * self.gain + self.shift


def test_a_users_subclass_keeps_its_tensors():
    layer, x = GainedDense(3), torch.randn(2, 4)
    given = layer(x)
    expected = torch.nn.functional.linear(x, layer.weight, layer.bias) * 3 + 0.5
    assert torch.equal(given, expected)
    assert list(layer.state_dict()) == ["gain", "weight", "bias"]
    for again in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(again(x), expected)


USERS_MODULE = """
import torch
from kerastorch import Input, Model, layers

class Doubled(layers.Dense):
    def forward(self, x):
        return 2 * super().forward(x)

def save(file):
    image = Input((4,))
    model = Model(image, Doubled(3, name="doubled")(image))
    torch.save((model, model(torch.ones(1, 4))), file)

def check(file):
    model, expected = torch.load(file, weights_only=False)
    assert isinstance(model.doubled, Doubled)
    assert torch.equal(model(torch.ones(1, 4)), expected)
"""


def test_a_users_subclass_keeps_its_class_in_another_process(tmp_path):
    (tmp_path / "users_module.py").write_text(USERS_MODULE)
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    for task in ("save", "check"):
        code = f"import users_module; users_module.{task}('model.pt')"
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)


def test_a_sequential_is_built_once():
    model = Sequential([Input((4,)), Dense(3)])
    weight = model.layers[0].weight
    model.build((None, 4))
    assert model.layers[0].weight is weight
    assert model(torch.ones(2, 4)).shape == (2, 3)


@pytest.mark.parametrize(
    "build",
    [
        lambda model: model.build((None, 3)),
        lambda model: model.predict(np.ones((2, 3))),
        lambda model: model(torch.ones(2, 3)),
    ],
    ids=["build", "predict", "call"],
)
def test_what_a_sequential_builds_has_its_mode(build):
    model = Sequential([Dense(4), Dropout(0.5)], trainable=False).eval()
    build(model)
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert len(list(model.parameters())) == 2


def test_replicas_leave_the_graph_alone():
    """What `torch.nn.parallel.replicate` does."""
    model = chain(Dense(3, name="dense"), layers.PReLU(name="prelu"))
    replica = model._replicate_for_data_parallel()
    replica._parameters = {}
    for key, child in model._modules.items():
        child_replica = child._replicate_for_data_parallel()
        child_replica._parameters = {}
        setattr(replica, key, child_replica)
    assert model.get_layer("prelu").output.node.module is model.prelu
    assert len(list(Model(model.input, model.prelu.output).parameters())) == 3


def test_a_layer_in_anothers_place_has_parameters_at_once():
    model = chain(Dense(5, name="first"), Dense(3, name="head"))
    model.head = Dense(7)
    assert model.head.weight.shape == (7, 5)
    model.head = Sequential([Dropout(0.2), Dense(2)])
    assert model.output_shape == (None, 2)
    assert Dense(4)(model.output).shape == (None, 4)
    model.first = layers.Normalization()
    assert model.first.mean.shape == (4,)


def test_a_layer_that_does_not_fit_yet_is_built_when_it_does():
    model = chain(layers.Flatten(name="flat"), Dense(3, name="head"), shape=(4, 4, 2))
    model.head = Conv2D(3, 2)
    assert not model.head.built
    model.flat = Activation("relu")
    assert model(torch.ones(1, 2, 4, 4)).shape == (1, 3, 3, 3)


def test_a_users_layer_is_built_once():
    layer = Gained()
    assert not layer.built
    model = chain(layer)
    gain = layer.gain
    assert torch.equal(model(torch.ones(2, 4)), torch.full((2, 4), 3.0))
    assert torch.equal(layer(torch.ones(2, 4)), torch.full((2, 4), 3.0))
    assert layer.gain is gain
    assert list(model.parameters()) == [gain]


@pytest.mark.parametrize(
    "use",
    [
        lambda model, file: model.input,
        lambda model, file: model.summary(),
        lambda model, file: model.get_layer("dense"),
        lambda model, file: model.save_weights(file),
        lambda model, file: model.load_weights(file),
    ],
)
def test_a_sequential_without_input_says_so(use, tmp_path):
    model = Sequential([Dense(3), Dense(2)])
    with pytest.raises(ValueError, match="'sequential' is not built yet"):
        use(model, tmp_path / "weights.safetensors")
    assert model.predict(np.ones((5, 4))).shape == (5, 2)
    assert model.get_layer("dense").in_features == 4


def test_replacing_a_layer_brings_shapes_up_to_date():
    model = chain(Dense(3, name="body"), Dense(4, name="head"))
    model.head = Dense(7)
    assert model.output_shape == (None, 7)
    assert Model(model.input, Dense(2)(model.output))(torch.randn(5, 4)).shape == (5, 2)
    built = model.head
    model.body = Dense(6)  # the head, built for 3, no longer fits: surgery goes on
    assert model.output_shape == (None, 7)
    assert model.head is built
    model.head = Dense(8)
    assert model.get_layer("body").output.shape == (None, 6)
    assert model(torch.randn(5, 4)).shape == (5, 8)


def test_a_model_does_not_live_on_in_its_layers_symbols():
    model = chain(Dense(3))
    gone = weakref.ref(model)
    del model
    assert gone() is None


@pytest.mark.parametrize("again", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_very_deep_model_is_copied(again):
    model = chain(*(Rescaling(1.0, offset=1.0) for _ in range(2000)))
    copied = again(model)
    assert names(copied) == names(model)
    assert torch.equal(copied(torch.zeros(1, 4)), torch.full((1, 4), 2000.0))
    assert Model(copied.input, copied.layers[1000].output)(torch.zeros(1, 4))[0, 0] == 1000


# Sequential


def test_sequential_grows_and_is_built_by_its_first_input():
    model = Sequential([Dense(3), Dense(2)])
    assert not model.built
    x = torch.randn(5, 4)
    y = model(x)
    assert names(model) == ["dense", "dense_1"]
    assert model.get_layer(index=0) is model.layers[0]
    model.add(Dense(6))
    assert names(model) == ["dense", "dense_1", "dense_2"]
    assert torch.equal(model(x), model.layers[2](y))
    assert torch.equal(copy.deepcopy(model)(x), model(x))
    with pytest.raises(ValueError, match="takes layers, not int"):
        model.add(3)


# Predict and summary


def test_predict_works_in_batches_and_restores_the_modes():
    model = chain(Conv2D(5, 3), BatchNormalization(), Dropout(0.5), shape=(6, 7, 2))
    model.train()
    model.layers[1].eval()
    modes = [module.training for module in model.modules()]
    sizes = []
    model.layers[1].register_forward_hook(lambda _, args, __: sizes.append(len(args[0])))

    images = np.random.default_rng(0).normal(size=(5, 6, 7, 2))
    outputs = model.predict(images, batch_size=2)
    assert sizes == [2, 2, 1]
    assert isinstance(outputs, np.ndarray)
    assert outputs.shape == (5, 4, 5, 5)
    assert outputs.dtype == np.float32
    assert [module.training for module in model.modules()] == modes

    with torch.no_grad():
        direct = model.eval()(torch.from_numpy(images).float().permute(0, 3, 1, 2))
    np.testing.assert_allclose(outputs, direct.permute(0, 2, 3, 1).numpy(), atol=1e-6)


def test_predict_is_inference_whatever_a_call_asked_for():
    image = Input((4,))
    model = Model(image, Dropout(0.5)(image, training=True))
    assert (model.predict(np.ones((8, 4))) == 1).all()
    assert not (model.eval()(torch.ones(8, 4)) == 1).all()


def test_predict_takes_dicts_and_gives_the_structure_of_the_output():
    a, b = Input((4,), name="a"), Input((4,), name="b")
    model = Model([a, b], {"sum": Add()([a, b]), "both": Concatenate()([a, b])})
    x, y = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    outputs = model.predict({"b": y, "a": x}, batch_size=2)
    assert (outputs["sum"] == x + y).all()
    assert (outputs["both"] == np.concatenate([x, y], 1)).all()


def test_predict_follows_the_data_format():
    with data_format_scope("channels_first"):
        model = chain(Conv2D(5, 3), shape=(2, 6, 7))
        assert model.predict(np.zeros((3, 2, 6, 7))).shape == (3, 5, 4, 5)


def test_predict_refuses_other_shapes():
    model = chain(Dense(2))
    with pytest.raises(ValueError, match=r"takes arrays of shape \(None, 4\); got \(3, 5\)"):
        model.predict(np.zeros((3, 5)))


def test_predict_refuses_no_samples_unequal_numbers_and_missing_inputs():
    x, y = Input((4,), name="x"), Input((4,), name="y")
    model = Model([x, y], Add()([x, y]))
    few, many = np.zeros((1, 4)), np.zeros((3, 4))
    for arrays in ([few[:0], few[:0]], [few, many]):
        with pytest.raises(ValueError, match="samples"):
            model.predict(arrays)
    with pytest.raises(ValueError, match="'y'"):
        model.predict({"x": few})


@pytest.mark.filterwarnings("error")
def test_predict_takes_any_array():
    model = chain(Rescaling(2.0))
    array = np.arange(8.0, dtype="float32").reshape(2, 4)
    array.setflags(write=False)
    assert (model.predict(array) == 2 * array).all()
    assert (model.predict(array[..., ::-1], batch_size=None) == 2 * array[..., ::-1]).all()
    assert (model.predict(array.astype(">f4")) == 2 * array).all()
    model = chain(Dense(3)).to(torch.bfloat16)
    assert model.predict(array).dtype == np.float32  # NumPy has no bfloat16


def test_summary_has_keras_columns_and_totals():
    image = Input((8, 8, 3))
    x = Conv2D(4, 3, name="conv")(image)
    x = BatchNormalization(trainable=False, name="norm")(x)
    model = Model(image, Add(name="sum")([x, x]), name="little")
    text = []
    model.summary(print_fn=text.append)
    (text,) = text
    for part in (
        'Model: "little"',
        "Layer (type)",
        "Output Shape",
        "Param #",
        "Connected to",
        "conv (Conv2D)",
        "(None, 6, 6, 4)",
        "norm, norm",
        "Total params: 128",
        "Trainable params: 112",
        "Non-trainable params: 16",
    ):
        assert part in text


def test_summary_of_a_chain_and_of_what_is_nested():
    inner = chain(Dense(3, name="hidden"))
    text = []
    chain(inner).summary(print_fn=text.append)
    chain(inner).summary(expand_nested=True, print_fn=text.append)
    assert "Connected to" not in text[0]
    assert "hidden" not in text[0]
    assert "hidden (Dense)" in text[1]


@pytest.mark.usefixtures("no_collector")
def test_weights_go_with_the_last_model_that_has_them():
    model = chain(Dense(5), Dense(3))
    headless = Model(model.inputs, model.layers[1].output)
    kept, head = (weakref.ref(layer.weight) for layer in model.layers[1:])
    copied = copy.deepcopy(model)
    in_copy = weakref.ref(copied.layers[1].weight)
    del model, copied
    assert head() is None
    assert in_copy() is None
    assert headless.layers[1].output is headless.output
    assert kept() is headless.layers[1].weight
    del headless
    assert kept() is None


@pytest.mark.usefixtures("no_collector")
def test_weights_go_with_the_last_symbol():
    x = layers.Flatten()(Dense(5)(Input((3,))))
    weight = weakref.ref(x.node.inputs[0].node.module.weight)
    assert weight().shape == (5, 3)
    del x
    assert weight() is None


class InHalves(kerastorch.Layer):
    def compute_output_shape(self, shape):
        return [(*shape[:-1], shape[-1] // 2)] * 2

    def forward(self, x):
        return list(x.chunk(2, 1))


def test_symbols_are_the_same_as_long_as_somebody_has_them():
    first, second = InHalves()(Input((4,)))
    node = first.node
    assert node.outputs[0] is first
    assert node.outputs[1] is second
    del second
    model = Model(node.inputs, node.outputs)
    assert model.outputs[0] is first
    assert [output.shape for output in model.outputs] == [(None, 2), (None, 2)]
    assert torch.equal(torch.cat(model(torch.eye(4)), 1), torch.eye(4))
