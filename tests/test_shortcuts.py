"""What eager execution leaves out makes no difference that anybody could see."""

import copy

import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from kerastorch import Input, Model, Sequential, layers
from kerastorch.engine.structure import flatten
from kerastorch.layers import (
    Activation,
    Add,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Dropout,
    ReLU,
)


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
        stack = [Input((*size, 2)), layers.ZeroPadding2D(padding), layer]
        model = Sequential(stack).double().eval()
    except ValueError:  # the window does not fit
        reject()
    x = torch.randn(2, 2, *size, dtype=torch.float64)
    expected = model(x)
    with torch.no_grad():
        torch.testing.assert_close(model(x), expected, rtol=1e-13, atol=1e-13)


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

    stack = [Input((4, 4, 3)), layers.ZeroPadding2D(1), Conv2D(2, 3, name="conv")]
    model = Sequential(stack).eval()
    model.conv.forward = lambda x: x
    with torch.no_grad():
        assert model(torch.ones(1, 3, 4, 4)).shape == (1, 3, 6, 6)
