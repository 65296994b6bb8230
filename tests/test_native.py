"""The models as PyTorch modules: copies, files, compilers, layouts, surgery and training."""

import copy
import io
import os
import pickle
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import pytest
import torch
import torch.distributed as dist
from torch import nn

import kerastorch
from kerastorch import Input, Model
from kerastorch.applications import get_record
from kerastorch.layers import (
    Activation,
    Add,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    GlobalAveragePooling2D,
    SeparableConv2D,
)
from tests.architectures import by_family
from tests.optimizing import settle

# Over the registry


@pytest.fixture(scope="module", params=by_family(kerastorch.list_models()))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def shared_model(name):
    return make_model(name)


@pytest.fixture
def model(shared_model):
    """In evaluation mode; one for all tests of an architecture, so they leave it as it was."""
    return shared_model.eval()


@pytest.fixture
def images(name):
    return make_images(name, 2)


def make_images(name, count):
    """Not of the least size, so that odd sizes meet `same` padding on the way."""
    size = get_record(name).min_size + 11
    largest = 255 if get_record(name).own_preprocessing else 1
    generator = torch.Generator().manual_seed(count)
    return largest * torch.rand(count, 3, size, size, generator=generator)


def make_model(name):
    images = make_images(name, 8)
    torch.manual_seed(0)
    model = kerastorch.create_model(name, classes=7, input_shape=(*images.shape[2:], 3))
    settle(model, images)
    with torch.no_grad():
        outputs = model(images)
    assert outputs.std(0).max() > 0.01 * outputs.abs().max()
    return model


def through_pickle(model):
    return pickle.loads(pickle.dumps(model))


def through_torch_save(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("again", [copy.deepcopy, through_pickle, through_torch_save])
@torch.no_grad()
def test_copies_are_the_same_model(model, images, again):
    copied = again(model)
    assert type(copied) is type(model)
    assert [(x.name, type(x)) for x in copied.layers] == [(x.name, type(x)) for x in model.layers]
    pairs = zip(copied.parameters(), model.parameters(), strict=True)
    assert all(ours.data_ptr() != theirs.data_ptr() for ours, theirs in pairs)
    assert torch.equal(copied(images), model(images))


def test_keys_begin_with_layer_names(model):
    of_layers = [key.partition(".")[0] for key in model.state_dict()]
    with_weights = [layer.name for layer in model.layers if layer.state_dict()]
    assert list(dict.fromkeys(of_layers)) == with_weights


@pytest.fixture(scope="module")
def compilations(request):
    """Futures of `compile_and_export` for what is tested: a process sees to it meanwhile."""
    tests = [item for item in request.session.items if "compilations" in item.fixturenames]
    names = dict.fromkeys(item.callspec.params["name"] for item in tests)
    with ProcessPoolExecutor(1, torch.multiprocessing.get_context("spawn")) as pool:
        yield {name: pool.submit(compile_and_export, name) for name in names}
        pool.shutdown(cancel_futures=True)


@torch.no_grad()
def compile_and_export(name):
    """(outputs of the compiler's, the model's own) for `torch.compile` and `torch.export`."""
    model, images = make_model(name), make_images(name, 2)
    torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=True, backend="eager")(images), model(images)

    batch = torch.export.Dim("batch")
    exported = torch.export.export(model, (images,), dynamic_shapes=({0: batch},)).module()
    batches = [images, images[:1], make_images(name, 5)]
    return compiled, [(exported(given), model(given)) for given in batches]


def test_compilers_give_equal_outputs(compilations, name):
    """Without breaks; `torch.export` for any size of the batch."""
    compiled, exported = compilations[name].result()
    # The ResNeXts sum in the order of the memory, which compilers lay out in their own way.
    assert_near(*compiled, 1e-4 if name.startswith("resnext") else 0)
    for ours, expected in exported:
        assert_near(ours, expected, 1e-4)


def assert_near(ours, expected, tolerance):
    """Within a share of the largest value, as roundings go through many layers."""
    atol = tolerance * expected.abs().max().item()
    torch.testing.assert_close(ours, expected, rtol=0, atol=atol)


@torch.no_grad()
def test_every_value_stays_channels_last(model, images):
    moved = []

    def check(layer, _, output):
        _, channels, height, width = output.shape if output.ndim == 4 else (0, 1, 1, 1)
        if channels > 1 and height * width > 1 and output.stride(1) != 1:
            moved.append(f"{layer.name}: {tuple(output.shape)} has strides {output.stride()}")

    hooks = [layer.register_forward_hook(check) for layer in model.layers]
    try:
        expected = model(images)
        assert moved  # the check sees the other layout
        moved.clear()
        model.to(memory_format=torch.channels_last)
        outputs = model(images.to(memory_format=torch.channels_last))
    finally:
        model.to(memory_format=torch.contiguous_format)
        for hook in hooks:
            hook.remove()
    assert not moved
    assert_near(outputs, expected, 1e-2)


def test_every_parameter_gets_a_gradient(model, images):
    model.train()
    model(images).square().sum().backward()
    gradients = {key: parameter.grad for key, parameter in model.named_parameters()}
    model.zero_grad(set_to_none=True)
    assert [key for key, gradient in gradients.items() if gradient is None] == []
    assert [key for key, gradient in gradients.items() if not gradient.isfinite().all()] == []


@torch.no_grad()
def test_a_replaced_child_is_used(model, images):
    """By the model, and by a model that is cut from it afterwards."""
    before = model(images)
    index, convolution = next(
        (index, layer) for index, layer in enumerate(model.layers) if isinstance(layer, nn.Conv2d)
    )
    following = model.layers[index + 1]
    setattr(model, convolution.name, nn.Sequential(convolution, nn.Tanh()))
    try:
        assert model.layers[index] is model.get_submodule(convolution.name)
        values = []
        hook = following.register_forward_hook(lambda _, args, output: values.append(args[0]))
        after = model(images)
        Model(model.input, following.output)(images)
        hook.remove()
    finally:
        setattr(model, convolution.name, convolution)
    assert not torch.equal(after, before)
    assert all(value.abs().max() <= 1 for value in values)
    assert torch.equal(*values)
    assert torch.equal(model(images), before)


# Layers and modes


def small_model(batch_norm=None):
    """An image classifier with the layers that matter here."""
    image = Input((9, 9, 3))
    x = Conv2D(8, 3, strides=2, name="plain", use_bias=False)(image)
    x = (batch_norm or BatchNormalization(name="norm"))(x)
    x = Activation("relu")(x)
    x = Conv2D(8, 3, strides=2, padding="same", name="same")(x)
    x = SeparableConv2D(8, 3, padding="same", activation="relu", name="separable")(x)
    x = GlobalAveragePooling2D()(x)
    return Model(image, Dense(4, name="head")(x))


def test_hooks_from_before_a_layer_is_built_stay():
    layer, calls = Conv2D(4, 3), []
    layer.register_forward_pre_hook(lambda *_: calls.append("before"))
    layer.register_forward_hook(lambda *_: calls.append("after"))
    layer.register_full_backward_hook(lambda *_: calls.append("backward"))
    layer.register_state_dict_post_hook(lambda *_: calls.append("state"))
    y = Model(image := Input((5, 5, 3)), layer(image))(torch.randn(1, 3, 5, 5, requires_grad=True))
    y.sum().backward()
    layer.state_dict()
    assert isinstance(layer, nn.Conv2d)
    assert calls == ["before", "after", "backward", "state"]


def test_layers_are_their_torch_twins():
    model = small_model()
    assert isinstance(model.get_layer("plain"), nn.Conv2d)
    assert isinstance(model.get_layer("separable").depthwise, nn.Conv2d)
    assert isinstance(model.get_layer("norm"), nn.BatchNorm2d)
    assert isinstance(model.get_layer("head"), nn.Linear)


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1), (1, 3, 1, 1, 1)])
def test_one_value_per_channel_gives_beta(shape):
    layer = BatchNormalization(beta_initializer="random_normal", moving_mean_initializer="ones")
    x = torch.randn(shape, requires_grad=True)
    y = layer(x)
    torch.testing.assert_close(y.flatten(), layer.bias, rtol=0, atol=1e-5)
    y.sum().backward()
    assert x.grad.isfinite().all()
    torch.testing.assert_close(layer.running_mean, 0.99 + 0.01 * x.detach().flatten())
    torch.testing.assert_close(layer.running_var, torch.full((3,), 0.99))


def test_frozen_batch_norm_stays_in_inference_mode():
    layer = BatchNormalization(moving_mean_initializer="ones")
    image = Input((4, 4, 3))
    model = Model(image, layer(Dropout(0.5)(image))).train()
    layer.trainable = False
    for candidate in (model, copy.deepcopy(model).train(), through_pickle(model).train()):
        norm = candidate.layers[-1]
        x = torch.randn(8, 3, 4, 4)
        torch.testing.assert_close(norm(x), (x - 1) / 1.001**0.5)
        assert (norm.running_mean == 1).all()
        assert norm.training
        assert (candidate.get_layer("dropout")(x) == 0).any()  # as in Keras


def test_trainable_reaches_all_within_and_stays():
    backbone = small_model()
    image = Input((9, 9, 3))
    model = Model(image, Dense(2, name="top")(backbone(image)))
    backbone.trainable = False
    for candidate in (model, copy.deepcopy(model), through_pickle(model), model.train()):
        trained = {key for key, p in candidate.named_parameters() if p.requires_grad}
        assert trained == {"top.weight", "top.bias"}
        inner = candidate.get_layer(index=1)
        assert not inner.trainable
        assert not any(layer.trainable for layer in inner.layers)
    backbone.trainable = True
    assert all(p.requires_grad for p in model.parameters())


def test_trainable_from_before_a_layer_is_built():
    layer = SeparableConv2D(4, 3, trainable=False)
    layer(Input((5, 5, 3)))
    assert not any(p.requires_grad for p in layer.parameters())


def test_autocast():
    model, images = small_model().train(), torch.randn(4, 3, 9, 9)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = model(images)
    assert outputs.dtype == torch.bfloat16
    assert model.get_layer("norm").running_mean.dtype == torch.float32
    outputs.float().square().sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_training_compiles():
    """Batch normalisation's own update of its statistics too."""
    model = small_model().train()
    twin = copy.deepcopy(model)
    images = torch.randn(4, 3, 9, 9)
    torch.compiler.reset()
    torch.compile(model, fullgraph=True, backend="aot_eager")(images).sum().backward()
    twin(images).sum().backward()
    torch.testing.assert_close(model.state_dict(), twin.state_dict())
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
@torch.no_grad()
def test_traces_and_maps_over_models():
    """Where values would be overwritten in inference, but for the tracer or the map."""
    model, images = small_model().eval(), torch.randn(4, 3, 9, 9)
    expected = model(images)
    with torch.enable_grad():  # the tracer repeats the call without, and compares
        traced = torch.jit.trace(model, images)
    assert torch.equal(traced(images), expected)
    one = torch.func.vmap(lambda image: model(image[None])[0])(images)
    torch.testing.assert_close(one, expected)

    image = Input((9, 9, 3))
    branches = [BatchNormalization()(image), Conv2D(3, 1, name="conv")(image)]
    model = Model(image, Add()(branches)).eval()
    weights = torch.randn(5, *model.get_layer("conv").weight.shape)
    call = partial(torch.func.functional_call, model)
    outputs = torch.func.vmap(lambda weight: call({"conv.weight": weight}, images))(weights)
    torch.testing.assert_close(outputs[2], call({"conv.weight": weights[2]}, images))


def test_parametrized_layers_are_copied():
    model, images = small_model(), torch.randn(2, 3, 9, 9)
    nn.utils.parametrizations.weight_norm(model.get_layer("plain"))
    copied = copy.deepcopy(model)
    assert torch.equal(copied(images), model(images))
    assert Model(copied.input, copied.get_layer("norm").output)(images).shape == (2, 8, 4, 4)


# With other libraries


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_lora_attaches_trains_and_merges():
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    model, images = small_model(), torch.randn(8, 3, 9, 9)
    plain = copy.deepcopy(model).eval()
    targets = ["plain", "same", "head"]
    tuned = get_peft_model(model, LoraConfig(target_modules=targets, r=2, init_lora_weights=True))
    assert torch.equal(tuned.eval()(images), plain(images))

    trained = [key for key, p in tuned.named_parameters() if p.requires_grad]
    assert len(trained) == 2 * len(targets)
    assert all("lora_" in key for key in trained)
    optimizer = torch.optim.SGD((p for p in tuned.parameters() if p.requires_grad), lr=0.1)
    for _ in range(2):  # the first moves only the factor that starts at zero
        optimizer.zero_grad()
        tuned(images).square().sum().backward()
        optimizer.step()
    adapted = tuned(images)
    assert not torch.allclose(adapted, plain(images), atol=1e-3)
    cut = Model(model.input, model.get_layer("separable").output)
    assert not torch.allclose(cut(images), Model(plain.input, plain.layers[-3].output)(images))

    merged = tuned.merge_and_unload()
    assert merged is model
    assert [type(layer) for layer in merged.layers] == [type(layer) for layer in plain.layers]
    torch.testing.assert_close(merged(images), adapted, rtol=1e-4, atol=1e-5)
    assert merged.state_dict().keys() == plain.state_dict().keys()


@pytest.mark.filterwarnings("ignore")
def test_lightning_trains_a_head_on_a_frozen_backbone(tmp_path):
    import lightning

    backbone = small_model()
    backbone.trainable = False
    image = Input((9, 9, 3))
    model = Model(image, Dense(3, name="top")(backbone(image)))

    class Classifier(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = model

        def training_step(self, batch, _):
            return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    before = copy.deepcopy(model.state_dict())
    data = torch.utils.data.TensorDataset(torch.randn(4, 3, 9, 9), torch.tensor([0, 1, 2, 0]))
    trainer = lightning.Trainer(
        max_steps=2,
        accelerator="cpu",
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Classifier(), torch.utils.data.DataLoader(data, batch_size=2))
    after = model.state_dict()
    changed = {key for key in after if not torch.equal(after[key], before[key])}
    assert changed == {"top.weight", "top.bias"}
    assert not any(p.requires_grad for p in backbone.parameters())


# In several processes


def in_two_processes(work, folder):
    """Runs `work(rank)` in two processes of a gloo group; gives back what each returns."""
    torch.multiprocessing.spawn(_join_and_work, (work, folder), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def _join_and_work(rank, work, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    try:
        torch.save(work(rank), folder / f"{rank}.pt")
        dist.barrier()  # neither leaves the group while the other still talks to it
    finally:
        dist.destroy_process_group()
    os._exit(0)  # gloo's and autograd's threads may abort an interpreter that takes itself down


def train_in_parallel(rank):
    torch.manual_seed(rank)  # the first process's parameters are everybody's
    model = nn.parallel.DistributedDataParallel(small_model())
    start = copy.deepcopy(model.module.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.randn(4, 3, 9, 9)).square().mean().backward()
        optimizer.step()
    return {"start": start, "end": dict(model.module.named_parameters())}


def test_distributed_training(tmp_path):
    first, second = in_two_processes(train_in_parallel, tmp_path)
    for key, parameter in first["end"].items():
        assert torch.equal(parameter, second["end"][key])
        assert not torch.equal(parameter, first["start"][key])


def normalize(images, weights, synchronized):
    """Output, gradients and statistics of a batch norm for a loss that weights its outputs."""
    torch.manual_seed(0)
    layer = BatchNormalization(
        synchronized=synchronized, gamma_initializer="random_normal", momentum=0.7
    )
    layer(torch.zeros(2, 3, 4, 4))  # builds it, and moves the statistics
    layer.double()
    images = images.clone().requires_grad_()
    outputs = layer(images)
    (outputs * weights).sum().backward()
    return {
        "outputs": outputs.detach(),
        "of images": images.grad,
        "of gamma": layer.weight.grad,
        "of beta": layer.bias.grad,
        "mean": layer.running_mean,
        "variance": layer.running_var,
    }


def batch_to_share():
    return torch.randn(2, 8, 3, 4, 4, dtype=torch.float64, generator=torch.manual_seed(5))


def normalize_a_part(rank, parts=(slice(0, 3), slice(3, 8))):
    images, weights = batch_to_share()
    return normalize(images[parts[rank]], weights[parts[rank]], synchronized=True)


def test_synchronized_batch_norm_is_that_of_the_joint_batch(tmp_path):
    first, second = in_two_processes(normalize_a_part, tmp_path)
    joint = normalize(*batch_to_share(), synchronized=False)
    close = partial(torch.testing.assert_close, rtol=1e-10, atol=1e-10)
    for key in ("outputs", "of images"):
        close(torch.cat([first[key], second[key]]), joint[key])
    for key in ("of gamma", "of beta"):
        close(first[key] + second[key], joint[key])
    for key in ("mean", "variance"):
        close(first[key], joint[key])
        close(second[key], joint[key])
