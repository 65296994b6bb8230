"""Symbols and models: names, order, keys, graphs, memory, shapes, predict and summary."""

import copy
import pickle
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st

import kerastorch
from kerastorch import Input, Model, Sequential, layers
from kerastorch.config import data_format_scope
from kerastorch.engine.foreign import UnknownShape
from kerastorch.engine.layout import from_keras_layout, keras_shape
from kerastorch.engine.naming import RESERVED_KEYS
from kerastorch.engine.structure import flatten
from kerastorch.layers import (
    Activation,
    Add,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    ReLU,
    Rescaling,
)


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


@st.composite
def graphs(draw):
    """A model of layers that make new values, change them, or pass them on."""
    values = [Input((4, 4, 3))]
    for _ in range(draw(st.integers(3, 12))):
        taken = st.sampled_from(values[-3:])
        match draw(st.integers(0, 12)):
            case 0:
                values.append(Conv2D(3, 1)(draw(taken)))
            case 1:
                values.append(layers.SeparableConv2D(3, 1)(draw(taken)))
            case 2:
                values.append(BatchNormalization()(draw(taken)))
            case 3 | 4:
                layer = draw(st.sampled_from([ReLU(), ReLU(0.5), Activation("relu6")]))
                values.append(copy.deepcopy(layer)(draw(taken)))
            case 5:
                kind = draw(st.sampled_from([Add, layers.Average]))
                values.append(kind()(draw(st.lists(taken, min_size=2, max_size=3))))
            case 6:
                kind = draw(st.sampled_from([layers.Multiply, layers.Maximum, layers.Subtract]))
                values.append(kind()(draw(st.lists(taken, min_size=2, max_size=2))))
            case 7:
                values.append(Dropout(0.5)(draw(taken)))
            case 8:
                views = [layers.Reshape((4, 4, 3)), layers.Cropping2D(0), layers.ZeroPadding2D(0)]
                values.append(copy.deepcopy(draw(st.sampled_from(views)))(draw(taken)))
            case 9:
                kind = draw(st.sampled_from([layers.MaxPooling2D, layers.AveragePooling2D]))
                size = draw(st.integers(1, 3))
                values.append(kind(size, strides=1, padding="same")(draw(taken)))
            case 10:
                joined = Concatenate()(draw(st.lists(taken, min_size=1, max_size=2)))
                values.append(Conv2D(3, 1)(draw(st.sampled_from([ReLU(), Dropout(0)]))(joined)))
            case 11 | 12:
                padded = layers.ZeroPadding2D(((0, 1), (1, 1)))(draw(taken))
                convolutions = [
                    layers.DepthwiseConv2D((2, 3)),
                    layers.SeparableConv2D(3, (2, 3)),
                    Conv2D(3, (2, 3)),
                ]
                layer = copy.deepcopy(draw(st.sampled_from(convolutions)))
                values.append(layer(padded))
                if draw(st.booleans()):
                    values.append(Conv2D(3, (2, 3), activation="relu")(padded))
    return Model(values[0], [values[-1], *draw(st.lists(st.sampled_from(values), max_size=1))])


@settings(derandomize=True, deadline=None, max_examples=300)
@given(model=graphs(), data=st.data(), training=st.booleans(), autocast=st.booleans())
def test_values_are_overwritten_only_where_nobody_sees_it(model, data, training, autocast):
    """Not the caller, another layer, a hook or the backward pass.

    A hook on all modules has nothing overwritten, which gives what is expected.
    """
    watched = data.draw(st.lists(st.sampled_from([*model.modules()]), max_size=3))
    watched_backward = data.draw(st.lists(st.sampled_from([*model.modules()]), max_size=2))
    x = torch.randn(2, 3, 4, 4, requires_grad=True)
    given = x.detach().clone()
    seen = []
    for module in watched:
        module.register_forward_hook(lambda _, args, y: seen.extend(flatten([args, y])))
    for module in watched_backward:
        module.register_full_backward_hook(lambda *_: None)
    model.train(training)

    def run():
        torch.manual_seed(0)
        seen.clear()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            outputs = flatten(model(x))
        values = [y for y in [*outputs, *seen] if isinstance(y, torch.Tensor)]
        return [y.detach() for y in values], outputs

    def run_backward():
        values, outputs = run()
        model.zero_grad()
        x.grad = None
        sum(y.float().square().sum() for y in outputs).backward()
        gradients = [x.grad, *(parameter.grad for parameter in model.parameters())]
        return [*values, *(gradient for gradient in gradients if gradient is not None)]

    with torch.nn.modules.module.register_module_forward_hook(lambda *_: None):
        expected = run_backward()
    torch.testing.assert_close(run_backward(), expected, rtol=0, atol=0)
    with torch.no_grad():
        values, _ = run()
    torch.testing.assert_close(values, expected[: len(values)], rtol=0, atol=0)
    assert torch.equal(x, given)


def taken_before_it_is_added(x):
    return Add()([x, Conv2D(3, 1)(x)])


def rectified_after_it_is_taken(x):
    return Concatenate()([Conv2D(3, 1)(x), ReLU()(x)])


def added_and_rectified(x):
    y = ReLU()(BatchNormalization()(Conv2D(3, 1)(x)))
    return ReLU()(Add()([x, BatchNormalization()(Conv2D(3, 1)(y))]))


@pytest.mark.parametrize(
    ("network", "in_place"),
    [(taken_before_it_is_added, 0), (rectified_after_it_is_taken, 0), (added_and_rectified, 2)],
)
def test_gradients_where_values_are_overwritten(network, in_place):
    """What the backward pass needs stays as it is; batch norm and sums do not need their result."""
    image = Input((4, 4, 3))
    model = Model(image, network(BatchNormalization()(image))).train()
    x = torch.randn(2, 3, 4, 4)

    def gradients():
        model.zero_grad()
        model(x).square().sum().backward()
        return [parameter.grad for parameter in model.parameters()]

    with torch.nn.modules.module.register_module_forward_hook(lambda *_: None):
        expected = gradients()
    torch.testing.assert_close(gradients(), expected, rtol=0, atol=0)
    with torch.profiler.profile() as profile:
        model(x)
    assert [event.name for event in profile.events()].count("aten::relu_") == in_place


def test_gradients_of_what_others_put_into_a_layer():
    image = Input((4, 4, 3))
    model = Model(image, ReLU()(layers.SeparableConv2D(3, 1, name="conv")(image)))
    model.conv.pointwise = torch.nn.Sequential(model.conv.pointwise, torch.nn.Sigmoid())
    model(torch.randn(2, 3, 4, 4)).square().sum().backward()
    assert model.conv.depthwise.weight.grad.any()


@pytest.mark.parametrize(
    "passed_on",
    [Dropout(0.5), layers.Reshape((4, 4, 3)), layers.Cropping2D(0), Activation("linear")],
)
@torch.no_grad()
def test_a_value_that_is_also_passed_on_is_not_overwritten(passed_on):
    image = Input((4, 4, 3))
    value = Conv2D(3, 1, name="conv")(image)
    model = Model(image, Concatenate()([passed_on(value), ReLU()(value)])).eval()
    x = torch.randn(2, 3, 4, 4)
    value = model.get_layer("conv")(x)
    assert torch.equal(model(x), torch.cat([value, value.relu()], 1))


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    size=st.tuples(*[st.integers(1, 7)] * 2),
    padding=st.tuples(*[st.tuples(*[st.integers(0, 3)] * 2)] * 2),
    window=st.tuples(*[st.integers(1, 5)] * 2),
    strides=st.integers(1, 4),
    kind=st.sampled_from(
        [layers.MaxPooling2D, layers.AveragePooling2D, layers.DepthwiseConv2D, "conv", "separable"]
    ),
)
def test_zeros_left_to_the_next_layer_make_no_difference(size, padding, window, strides, kind):
    if kind == "conv":
        layer = Conv2D(2, window, strides, activation="relu")
    elif kind == "separable":
        layer = layers.SeparableConv2D(2, window, strides)
    else:
        layer = kind(window, strides)
    try:
        model = chain(layers.ZeroPadding2D(padding), layer, shape=(*size, 2)).double().eval()
    except ValueError:  # the window does not fit
        reject()
    x = torch.randn(2, 2, *size, dtype=torch.float64)
    expected = model(x)
    with torch.no_grad():
        torch.testing.assert_close(model(x), expected, rtol=1e-13, atol=1e-13)


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


def test_modules_of_others_see_whole_values():
    """A user's layer or function may keep what it takes and gives; no shortcut is taken there."""

    class Keeping(Conv2D):
        def forward(self, x):
            self.kept = x.mean((2, 3)) @ self.kernel
            return self.kept[:, :, None, None] * x

        def build(self, shape):
            self.kernel = torch.eye(3)
            self.built = True

        def compute_output_shape(self, shape):
            return shape

    image = Input((4, 4, 3))
    x = layers.ZeroPadding2D(1)(image)
    x = Keeping(3, 1, name="keeping")(x)
    model = Model(image, ReLU()(x)).eval()
    with torch.no_grad():
        model(-torch.ones(2, 3, 4, 4))
    assert torch.equal(model.keeping.kept, torch.full((2, 3), -16 / 36))

    model = chain(layers.ZeroPadding2D(1), Conv2D(2, 3, name="conv"), shape=(4, 4, 3)).eval()
    model.conv.forward = lambda x: x
    with torch.no_grad():
        assert model(torch.ones(1, 3, 4, 4)).shape == (1, 3, 6, 6)


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


# Shapes

SIZES = st.integers(1, 9)
WINDOWS = st.tuples(st.integers(1, 4), st.integers(1, 4))
PADDINGS = st.sampled_from(["valid", "same"])
MARGINS = st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * 2)


@st.composite
def convolutions(draw, kind):
    arguments = {"kernel_size": draw(WINDOWS), "padding": draw(PADDINGS)}
    arguments[draw(st.sampled_from(["strides", "dilation_rate"]))] = draw(WINDOWS)
    if kind is not Conv2D:
        arguments["depth_multiplier"] = draw(st.integers(1, 3))
    if kind is not layers.DepthwiseConv2D:
        arguments["filters"] = draw(st.integers(1, 5))
    return kind(**arguments)


@st.composite
def transposed_convolutions(draw):
    arguments = {"kernel_size": draw(WINDOWS), "padding": draw(PADDINGS)}
    arguments[draw(st.sampled_from(["strides", "dilation_rate"]))] = draw(WINDOWS)
    arguments["output_padding"] = draw(st.none() | st.integers(0, 2))
    try:
        return layers.Conv2DTranspose(2, **arguments)
    except ValueError:  # an output padding that no convolution has
        reject()


IMAGE_LAYERS = st.one_of(
    convolutions(Conv2D),
    convolutions(layers.DepthwiseConv2D),
    convolutions(layers.SeparableConv2D),
    st.builds(layers.MaxPooling2D, WINDOWS, st.none() | WINDOWS, PADDINGS),
    st.builds(layers.AveragePooling2D, WINDOWS, st.none() | WINDOWS, PADDINGS),
    st.builds(GlobalAveragePooling2D, keepdims=st.booleans()),
    st.builds(layers.GlobalMaxPooling2D, keepdims=st.booleans()),
    st.builds(layers.ZeroPadding2D, MARGINS),
    st.builds(layers.Cropping2D, MARGINS),
    st.builds(Dense, st.integers(1, 5)),
    st.builds(Flatten),
    st.builds(layers.Reshape, st.sampled_from([(-1,), (-1, 1), (1, -1, 1), (1, 1, -1, 1)])),
    st.builds(BatchNormalization, st.just(-1)),
    transposed_convolutions(),
    st.builds(layers.LayerNormalization, st.sampled_from([-1, 2, [1, 3]])),
    st.builds(layers.GroupNormalization, st.integers(1, 3)),
    st.builds(layers.UnitNormalization, st.sampled_from([-1, [1, 2]])),
    st.builds(Activation, st.sampled_from(["relu", "softmax", "glu"])),
    st.builds(layers.Softmax, st.sampled_from([-1, 1, [1, 2]])),
    st.builds(layers.Normalization, st.sampled_from([-1, None])),
    st.builds(Rescaling, st.just(2.0)),
    st.builds(Dropout, st.just(0.5)),
    st.builds(layers.SpatialDropout2D, st.just(0.5)),
    st.builds(layers.AlphaDropout, st.just(0.5), st.sampled_from([None, (None, 1, None, 1)])),
    st.builds(layers.GaussianDropout, st.just(0.5)),
    st.builds(layers.GaussianNoise, st.just(0.5)),
    st.sampled_from([layers.ActivityRegularization, layers.ELU, layers.Identity]).map(
        lambda c: c()
    ),
    st.builds(layers.LeakyReLU),
    st.builds(layers.PReLU, shared_axes=st.none() | st.lists(st.integers(1, 3), unique=True)),
    st.builds(layers.Permute, st.permutations([1, 2, 3])),
    st.builds(layers.UpSampling2D, WINDOWS, interpolation=st.sampled_from(["nearest", "bilinear"])),
)
SEQUENCE_LAYERS = st.one_of(
    st.builds(layers.Permute, st.permutations([1, 2])),
    st.builds(layers.PReLU, shared_axes=st.none() | st.just(1)),
    st.builds(layers.UpSampling1D, st.integers(1, 4)),
    st.builds(layers.Cropping1D, MARGINS.map(lambda margins: margins[0])),
    st.builds(layers.ZeroPadding1D, MARGINS.map(lambda margins: margins[0])),
    st.builds(layers.SpatialDropout1D, st.just(0.5)),
)
VECTOR_LAYERS = st.builds(layers.RepeatVector, st.integers(1, 4))


@settings(derandomize=True, deadline=None, max_examples=600)
@given(
    st.data(),
    st.sampled_from(["channels_last", "channels_first"]),
    st.sampled_from(
        [(4, IMAGE_LAYERS), (4, IMAGE_LAYERS), (3, SEQUENCE_LAYERS), (2, VECTOR_LAYERS)]
    ),
)
def test_the_shape_that_a_layer_says_is_the_shape_that_it_gives(data, data_format, kind):
    rank, layers_of_rank = kind
    with data_format_scope(data_format):
        layer = data.draw(layers_of_rank)
        shape = data.draw(st.tuples(*[SIZES] * rank))
        hidden = data.draw(st.tuples(*[st.booleans()] * rank))
        x = from_keras_layout(torch.zeros(shape), data_format)
        try:
            symbol = layer(Input(batch_shape=shape))
            y = layer(x)
        except ValueError:  # a window or a crop larger than the image, `glu` of an odd size
            reject()
        assert symbol.shape == keras_shape(y.shape, data_format)
        assert_agrees(layer, [shape], [hidden], y)


MERGES = [
    Add,
    layers.Average,
    layers.Maximum,
    layers.Minimum,
    layers.Multiply,
    layers.Subtract,
]


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.data(), st.sampled_from(["channels_last", "channels_first"]))
def test_the_shape_of_a_merge_is_the_shape_that_it_gives(data, data_format):
    ones_or_size = st.sampled_from([1, 3])
    rank = data.draw(st.integers(2, 4))
    with data_format_scope(data_format):
        if data.draw(st.booleans()):
            axis = data.draw(st.integers(1, rank - 1))
            layer = Concatenate(axis=axis)
            shape = data.draw(st.tuples(*[SIZES] * rank))
            others = data.draw(st.lists(SIZES, min_size=1, max_size=3))
            shapes = [(*shape[:axis], size, *shape[axis + 1 :]) for size in others]
        else:
            layer = data.draw(st.sampled_from(MERGES))()
            others = {"min_size": 1, "max_size": 1 if type(layer) is layers.Subtract else 2}
            ranks = [rank, *data.draw(st.lists(st.integers(2, 4), **others))]
            shapes = [(2, *data.draw(st.tuples(*[ones_or_size] * (r - 1)))) for r in ranks]
        hidden = [data.draw(st.tuples(*[st.booleans()] * len(shape))) for shape in shapes]
        tensors = [from_keras_layout(torch.zeros(shape), data_format) for shape in shapes]
        y = layer(tensors)
        symbol = layer([Input(batch_shape=shape) for shape in shapes])
        assert symbol.shape == keras_shape(y.shape, data_format)
        assert_agrees(layer, shapes, hidden, y)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.data(), st.sampled_from(["channels_last", "channels_first"]))
def test_the_shape_of_a_dot_product_is_the_shape_that_it_gives(data, data_format):
    with data_format_scope(data_format):
        ranks = data.draw(st.tuples(*[st.integers(2, 4)] * 2))
        axes = [data.draw(st.integers(1, rank - 1)) for rank in ranks]
        batch, summed = data.draw(SIZES), data.draw(SIZES)
        shapes = []
        for rank, axis in zip(ranks, axes, strict=True):
            sizes = [batch, *data.draw(st.tuples(*[SIZES] * (rank - 1)))]
            sizes[axis] = summed
            shapes.append(tuple(sizes))
        layer = layers.Dot(axes, normalize=data.draw(st.booleans()))
        hidden = [data.draw(st.tuples(*[st.booleans()] * len(shape))) for shape in shapes]
        y = layer([from_keras_layout(torch.zeros(shape), data_format) for shape in shapes])
        symbol = layer([Input(batch_shape=shape) for shape in shapes])
        assert symbol.shape == keras_shape(y.shape, data_format)
        assert_agrees(layer, shapes, hidden, y)


def assert_agrees(layer, shapes, hidden, y):
    """With some of the input's sizes unknown, what is known of the output's is right."""
    partial = [
        tuple(None if hide else size for size, hide in zip(shape, hides, strict=True))
        for shape, hides in zip(shapes, hidden, strict=True)
    ]
    is_merge = isinstance(layer, (Concatenate, layers.Dot, *MERGES))
    try:
        known = layer.compute_output_shape(partial if is_merge else partial[0])
    except ValueError:  # the layer's parameters hang on a size that is hidden
        return
    actual = keras_shape(y.shape, layer.data_format)
    assert len(known) == len(actual)
    assert all(size in (None, given) for size, given in zip(known, actual, strict=True))


def test_a_model_says_its_shape_at_other_sizes():
    model = kerastorch.applications.MobileNetV2(include_top=False, weights=None)
    assert model.output_shape == (None, None, None, 1280)
    assert model.compute_output_shape((2, 97, 65, 3)) == (2, 3, 2, 1280)
    assert model(torch.zeros(2, 3, 97, 65)).shape == (2, 1280, 3, 2)


def test_modules_of_torch_say_their_shapes_too():
    class Opaque(torch.nn.Module):
        def forward(self, x):
            return x * float(x.mean())

    image = Input((None, None, 3))
    x = Conv2D(4, 3, name="head")(Conv2D(4, 3, name="first")(image))
    model = Model(image, x)
    model.first = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3, 2), torch.nn.BatchNorm2d(4))
    before = copy.deepcopy(model.state_dict())
    assert model.train().compute_output_shape((None, 11, 13, 3)) == (None, 3, 4, 4)
    assert model.compute_output_shape((5, 11, 13, 3)) == (5, 3, 4, 4)
    assert all(tensor.equal(before[key]) for key, tensor in model.state_dict().items())
    assert all(module.training for module in model.modules())
    model.first = Opaque()
    with pytest.raises(UnknownShape, match="Opaque is not known to take"):
        model.compute_output_shape((None, 11, 13, 3))
    vector = Input((4,))
    model = Model(vector, Dense(2, name="head")(vector))
    model.head = torch.nn.Linear(4, 2)
    with pytest.raises(ValueError, match="Linear is not known to take") as caught:
        model.compute_output_shape((None, 5))
    assert not isinstance(caught.value, UnknownShape)


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
