"""Activation checkpointing by block: the same numbers from less memory."""

import copy
import pickle

import pytest
import torch

import kerastorch
from kerastorch import layers
from kerastorch.cam import grad_cam
from kerastorch.fine_tuning import checkpoint_blocks


def branching(batch_norm=layers.BatchNormalization):
    """Blocks with branches, dropout, batch normalisation and a layer that is called twice."""
    image = layers.Input((12, 12, 3))
    x = image
    shared = layers.Conv2D(8, 3, padding="same", name="shared")
    for number in range(4):
        x = layers.Conv2D(8, 3, padding="same", name=f"conv{number}")(x)
        x = batch_norm(name=f"norm{number}")(x)
        y = layers.Dropout(0.3, name=f"drop{number}")(layers.ReLU(name=f"relu{number}")(x))
        x = layers.Add(name=f"add{number}")([x, shared(y)])
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return kerastorch.Model(image, layers.Dense(3, name="head")(x), name="branching")


def nested():
    outer = layers.Input((12, 12, 3))
    x = branching()(layers.Rescaling(2.0, name="rescaling")(outer))
    return kerastorch.Model(outer, layers.Dense(2, name="outer_head")(x))


def several_outputs():
    base = branching()
    outputs = {name: base.get_layer(name).output for name in ("add0", "add2", "head")}
    return kerastorch.Model(base.input, outputs)


def two_inputs():
    image, vector = layers.Input((12, 12, 3)), layers.Input((4,))
    x = layers.Concatenate()([branching()(image), vector])
    return kerastorch.Model([image, vector], layers.Dense(2)(x))


def application(name, **options):
    return kerastorch.create_model(name, classes=5, **options)


MODELS = {
    "branching": branching,
    "nested": nested,
    "several outputs": several_outputs,
    "two inputs": two_inputs,
    "resnet50_v2": lambda: application("resnet50_v2", input_shape=(48, 48, 3)),
    "mobilenet_v2": lambda: application("mobilenet_v2", input_shape=(48, 48, 3)),
    "nasnet_mobile": lambda: application("nasnet_mobile", input_shape=(48, 48, 3)),
    "vgg16": lambda: application("vgg16", include_top=False, input_shape=(48, 48, 3)),
}


def inputs_of(model):
    generator = torch.manual_seed(1)
    shapes = [s[-1:] + s[1:-1] for s in (symbol.shape for symbol in model.inputs)]
    inputs = [torch.rand(3, *shape, generator=generator) for shape in shapes]
    return inputs if len(inputs) > 1 else inputs[0]


def step(model, inputs):
    """Outputs, gradients and buffers of a training step, and the bytes kept for its backward."""
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    for parameter in model.parameters():
        parameter.grad = None
    torch.manual_seed(2)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = model.train()(inputs)
    outputs = list(outputs.values()) if isinstance(outputs, dict) else [outputs]
    sum(x.square().sum() for x in outputs).backward()
    gradients = [p.grad for p in model.parameters() if p.requires_grad]
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    size = sum(size for place, size in kept.items() if place not in parameters)
    return outputs, gradients, [x.clone() for x in model.buffers()], size


def assert_equal_steps(one, other):
    for ours, theirs in zip(one[:3], other[:3], strict=True):
        assert all(map(torch.equal, ours, theirs))
        assert len(ours) == len(theirs)


@pytest.mark.parametrize("name", MODELS)
def test_the_same_to_the_bit_from_less_memory(name):
    torch.manual_seed(0)
    model = MODELS[name]()
    checkpointed = copy.deepcopy(model)
    checkpoint_blocks(checkpointed)
    inputs = inputs_of(model)
    for _ in range(2):  # the second on statistics that have moved
        plain, saving = step(model, inputs), step(checkpointed, inputs)
        assert_equal_steps(saving, plain)
        assert saving[3] < 0.6 * plain[3]
    checkpoint_blocks(checkpointed, enabled=False)
    assert step(checkpointed, inputs)[3] == step(model, inputs)[3]


def test_dropout_and_batch_norm_take_part():
    """So the test above sees a mask that changes and statistics that move twice."""
    model = branching()
    one, other = model.train()(x := inputs_of(model)), model(x)
    assert not torch.equal(one, other)
    assert model.norm0.num_batches_tracked == 2
    assert not torch.equal(model.norm0.running_var, torch.ones(8))


def test_statistics_move_once_also_in_modules_of_torch():
    model = branching()
    model.norm1 = torch.nn.BatchNorm2d(8)
    twin = copy.deepcopy(model)
    checkpoint_blocks(twin)
    assert_equal_steps(step(twin, inputs_of(model)), step(model, inputs_of(model)))
    assert twin.norm1.num_batches_tracked == 1


def test_frozen_layers_and_gradients_of_the_image():
    model = branching()
    kerastorch.freeze(model, until="add1")
    before = copy.deepcopy(model.state_dict())
    twin = copy.deepcopy(model)
    checkpoint_blocks(twin)
    image = inputs_of(model)
    gradients = []
    for each in (model, twin):
        given = image.clone().requires_grad_()
        torch.manual_seed(2)
        each.train()(given).square().sum().backward()
        gradients.append(given.grad)
    assert torch.equal(*gradients)
    assert torch.equal(twin.norm1.running_mean, before["norm1.running_mean"])
    assert_equal_steps(step(twin, image), step(model, image))


def test_the_backward_pass_twice():
    model = branching()
    checkpoint_blocks(model)
    loss = model.train()(inputs_of(model)).square().sum()
    once = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True)
    twice = torch.autograd.grad(loss, list(model.parameters()))
    assert all(map(torch.equal, once, twice))
    assert model.norm0.num_batches_tracked == 1


@pytest.mark.parametrize("again", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_save_memory_too_and_nothing_else_shows(again):
    model = branching()
    inputs, keys = inputs_of(model), model.state_dict().keys()
    (*_, whole) = step(model, inputs)
    checkpoint_blocks(model)
    copied = again(model)
    assert copied.state_dict().keys() == keys
    (*_, size) = step(copied, inputs)
    assert size < 0.6 * whole


def test_inference_compilers_and_transforms_do_as_before():
    model = branching().eval()
    inputs = inputs_of(model)
    expected = model(inputs)
    checkpoint_blocks(model)
    with torch.no_grad():
        torch.testing.assert_close(model(inputs), expected)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(inputs), expected)
    exported = torch.export.export(model, (inputs,)).module()
    torch.testing.assert_close(exported(inputs), expected)
    jacobian = torch.func.jacrev(model)(inputs[:1])
    assert jacobian.shape == (1, 3, *inputs[:1].shape)
    plain = copy.deepcopy(model)
    checkpoint_blocks(plain, enabled=False)
    assert torch.equal(grad_cam(model, inputs, "add1"), grad_cam(plain, inputs, "add1"))


def test_models_of_vectors_are_refused():
    vector = layers.Input((4,))
    model = kerastorch.Model(vector, layers.Dense(2)(vector), name="dense")
    with pytest.raises(ValueError, match="'dense' and the models within"):
        checkpoint_blocks(model)
