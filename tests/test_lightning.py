"""`kerastorch.lightning`: the classifier, the recipe in two phases, and the examples of both."""

import copy
import re
import subprocess
import sys
from functools import partial

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import (
    LearningRateMonitor,
    ModelCheckpoint,
    StochasticWeightAveraging,
    WeightAveraging,
)
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn
from torch.utils.data import DataLoader, TensorDataset

import kerastorch
from examples import digits, distributed
from kerastorch import layers, ops
from kerastorch.lightning import Classifier, HeadFirst
from kerastorch.scores import final_activation, logits, probabilities

pytestmark = pytest.mark.filterwarnings("ignore")

CLASSES = 7


def make_model(*end, classes=CLASSES):
    """Two convolutions with batch normalisation, and a head that `end` completes."""
    torch.manual_seed(0)
    image = layers.Input((8, 8, 3))
    x = image
    for number in (1, 2):
        x = layers.Conv2D(6, 3, name=f"conv{number}")(x)
        x = layers.BatchNormalization(name=f"norm{number}")(x)
        x = layers.ReLU(name=f"relu{number}")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    for layer in end or [layers.Dense(classes, name="head")]:
        x = layer(x)
    return kerastorch.Model(image, x)


def make_data(count=22, classes=CLASSES):
    """Three batches, the last of them smaller."""
    generator = torch.manual_seed(1)
    images = torch.rand(count, 3, 8, 8, generator=generator)
    targets = torch.randint(0, classes, (count,), generator=generator)
    return DataLoader(TensorDataset(images, targets), 8)


def make_trainer(epochs, *callbacks):
    return lightning.Trainer(
        max_epochs=epochs,
        callbacks=list(callbacks),
        accelerator="cpu",
        logger=False,
        enable_checkpointing=any(isinstance(c, ModelCheckpoint) for c in callbacks),
        enable_model_summary=False,
        enable_progress_bar=False,
    )


def equal(state, other):
    return {key for key in state if torch.equal(state[key], other[key])}


def test_without_lightning_it_says_what_to_install():
    code = "import sys; sys.modules['lightning'] = None; import kerastorch.lightning"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = result.stderr.splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert "pip install 'kerastorch[lightning]'" in last


# Logits and probabilities


ENDS = {
    "logits": [layers.Dense(CLASSES, name="head")],
    "own softmax": [layers.Dense(CLASSES, activation="softmax", name="head")],
    "Activation": [layers.Dense(CLASSES, name="head"), layers.Activation("softmax")],
    "Softmax": [layers.Dense(CLASSES, name="head"), layers.Softmax()],
    "operation": [layers.Dense(CLASSES, name="head"), ops.Softmax()],
    "before others": [
        layers.Dense(CLASSES, activation="softmax", name="head"),
        *(layers.Dropout(0.5), layers.Identity(), layers.Activation("linear")),
    ],
    "of a convolution": [
        layers.Reshape((1, 1, 6)),
        layers.Conv2D(CLASSES, 1, activation="softmax", name="head"),
        layers.Flatten(),
    ],
    "as in older MobileNets": [
        layers.Reshape((1, 1, 6)),
        layers.Conv2D(CLASSES, 1, name="head"),
        *(layers.Activation("softmax"), layers.Reshape((CLASSES,))),
    ],
}


@pytest.mark.parametrize("end", ENDS)
def test_any_end_trains_and_predicts_as_logits_do(end):
    plain, model = make_model().eval(), make_model(*copy.deepcopy(ENDS[end])).eval()
    with torch.no_grad():
        for own, other in zip(model.head.parameters(), plain.head.parameters(), strict=True):
            own.copy_(other.view_as(own))
    data = make_data(8)
    images, targets = data.dataset.tensors
    given = model(images)
    module = Classifier(model)
    (probabilities,) = make_trainer(1).predict(module, data)
    torch.testing.assert_close(probabilities, plain(images).softmax(1))
    (found,) = make_trainer(1).test(module, data, verbose=False)
    loss = torch.nn.functional.cross_entropy(plain(images), targets)
    assert found["test_loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert torch.equal(module(images), given)  # which the classifier has left as it was
    assert (given.sum(1) - 1).abs().max() < 1e-6 or end == "logits"


def test_a_sure_mistake_still_has_a_slope():
    """The softmax of logits 400 apart is 0, whose logarithm has none."""
    model = make_model(layers.Dense(3, activation="softmax", name="head"))
    with torch.no_grad():
        model.head.bias.copy_(torch.tensor([400.0, 0.0, 0.0]))
    Classifier(model)._step((torch.rand(2, 3, 8, 8), torch.tensor([1, 1])), "val").backward()
    torch.testing.assert_close(model.head.bias.grad, torch.tensor([1.0, -1.0, 0.0]))


@pytest.mark.parametrize("module", [torch.nn.Softmax(1), torch.nn.Sigmoid()])
def test_modules_of_torch_end_models_too(module):
    model = make_model(layers.Dense(CLASSES, name="head"), layers.Softmax(name="scores")).eval()
    model.scores = module
    images = torch.rand(2, 3, 8, 8)
    given = model(images)
    assert final_activation(model) is kerastorch.activations.get(type(module).__name__.lower())
    assert torch.equal(probabilities(model, given), given)
    with logits(model):
        scores = model(images)
    assert torch.equal(module(scores), given)


def test_a_softmax_at_each_of_several_places_is_not_of_classes():
    image = layers.Input((2, 2, 3))
    x = layers.Flatten()(layers.Conv2D(3, 1, activation="softmax")(image))
    assert final_activation(kerastorch.Model(image, x)) is None


@pytest.mark.parametrize("behind", [[], [layers.Activation("linear")]])
@pytest.mark.parametrize(("units", "task"), [(1, "binary"), (4, "multilabel")])
def test_sigmoids_are_binary_and_multilabel(units, task, behind):
    head = layers.Dense(units, activation="sigmoid", name="head")
    model = make_model(head, *copy.deepcopy(behind))
    images = torch.rand(20, 3, 8, 8)
    targets = torch.randint(0, 2, (20, units)[: 2 if units > 1 else 1])
    module = Classifier(model)
    assert module.task == task
    data = DataLoader(TensorDataset(images, targets), 8)
    (found,) = make_trainer(1).test(module, data, verbose=False)
    with torch.no_grad():
        expected = model.eval()(images)
    loss = torch.nn.functional.binary_cross_entropy(expected, targets.view(-1, units).float())
    assert found["test_loss"] == pytest.approx(loss.item(), rel=1e-5)
    right = (expected > 0.5) == targets.view(-1, units)
    assert found["test_accuracy"] == pytest.approx(right.float().mean().item())


def test_what_does_not_fit_is_refused():
    softmax = make_model(layers.Dense(3, activation="softmax", name="head"))
    with pytest.raises(ValueError, match="3 outputs \\(softmax\\); that is not multilabel"):
        Classifier(softmax, "multilabel")
    with pytest.raises(ValueError, match="7 outputs \\(logits\\); that is not binary"):
        Classifier(make_model(), "binary")
    with pytest.raises(ValueError, match="task is one of"):
        Classifier(make_model(), "regression")
    image = layers.Input((8, 8, 3))
    with pytest.raises(ValueError, match="not one row of scores"):
        Classifier(kerastorch.Model(image, layers.Conv2D(4, 1)(image)))


def test_metrics_are_of_all_images_and_mixtures_count_by_their_largest_part():
    model, data = make_model(), make_data()
    images, targets = data.dataset.tensors
    (found,) = make_trainer(1).test(Classifier(model), data, verbose=False)
    with torch.no_grad():
        scores = model.eval()(images)
    best = scores.topk(5).indices
    assert found["test_accuracy"] == pytest.approx((best[:, 0] == targets).float().mean().item())
    hits = (best == targets[:, None]).any(1)
    assert found["test_top5"] == pytest.approx(hits.float().mean().item())
    loss = torch.nn.functional.cross_entropy(scores, targets).item()
    assert found["test_loss"] == pytest.approx(loss, rel=1e-5)

    mixed = torch.nn.functional.one_hot(targets, CLASSES) * 0.6 + 0.4 / CLASSES
    batches = DataLoader(TensorDataset(images, mixed), 8)
    (of_mixed,) = make_trainer(1).test(Classifier(model), batches, verbose=False)
    assert of_mixed["test_accuracy"] == found["test_accuracy"]

    one_hot = torch.nn.functional.one_hot(targets, CLASSES)  # whole numbers
    batches = DataLoader(TensorDataset(images, one_hot), 8)
    (of_one_hot,) = make_trainer(1).test(Classifier(model), batches, verbose=False)
    assert of_one_hot == pytest.approx(found)


def test_a_replaced_head_says_how_many_classes_it_has():
    model = make_model()
    model.head = torch.nn.Linear(6, 3)
    module = Classifier(model, classes=3)
    make_trainer(1).fit(module, make_data(classes=3))
    assert module.classes == 3


# Two phases


def head_first(**options):
    return HeadFirst(until="pool", since="conv2", epochs=2, **options)


class Watch(lightning.Callback):
    """What each epoch has trained with, and left."""

    def __init__(self):
        self.optimizers, self.states = [], []

    def on_train_epoch_end(self, trainer, pl_module):
        (optimizer,) = trainer.optimizers
        (group,) = optimizer.param_groups
        settings = [group[key] for key in ("lr", "momentum")]
        self.optimizers.append((type(optimizer).__name__, *settings, len(group["params"])))
        self.states.append(copy.deepcopy(pl_module.model.state_dict()))


FROZEN = {
    *(f"conv1.{name}" for name in ("weight", "bias")),
    *(f"norm1.{name}" for name in ("weight", "bias")),
    *(f"norm1.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")),
}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Four epochs in two phases, with a checkpoint of each and what was seen."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    start = copy.deepcopy(make_model().state_dict())
    module, watch = Classifier(make_model()), Watch()
    keeping = ModelCheckpoint(folder, "{epoch}", save_top_k=-1)
    data = make_data()
    make_trainer(4, head_first(), watch, keeping).fit(module, data, data)
    paths = [folder / f"epoch={epoch}.ckpt" for epoch in range(4)]
    return start, module, watch, paths


def test_the_phases_are_those_of_the_documentation(uninterrupted):
    start, module, watch, _ = uninterrupted
    of_head, of_rest = ("RMSprop", 1e-3, 0, 2), ("SGD", 1e-4, 0.9, 6)
    assert watch.optimizers == [of_head, of_head, of_rest, of_rest]
    first, second = watch.states[1], watch.states[3]
    assert first.keys() - equal(first, start) == {"head.weight", "head.bias"}
    assert equal(second, start) == FROZEN
    assert [layer.name for layer in module.model.layers if not layer.trainable] == [
        "input_layer",
        *("conv1", "norm1", "relu1"),
    ]


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_resumed_is_uninterrupted_to_the_bit(uninterrupted, epoch):
    """In the first phase, between the two, and in the second."""
    _, whole, expected, paths = uninterrupted
    resumed, watch, data = Classifier(make_model()), Watch(), make_data()
    with torch.no_grad():
        for tensor in resumed.model.state_dict().values():
            tensor.zero_()  # the checkpoint has it all
    trainer = make_trainer(4, head_first(), watch)
    trainer.fit(resumed, data, data, ckpt_path=paths[epoch])
    assert watch.optimizers == expected.optimizers[epoch + 1 :]
    state = resumed.model.state_dict()
    assert equal(state, whole.model.state_dict()) == state.keys()
    assert all(
        map(torch.equal, trainer.predict(resumed, data), make_trainer(1).predict(whole, data))
    )


def test_a_checkpoint_needs_no_model(uninterrupted):
    _, whole, _, paths = uninterrupted
    loaded = Classifier.load_from_checkpoint(paths[-1])
    frozen = [name for name, p in whole.named_parameters() if not p.requires_grad]
    assert [name for name, p in loaded.named_parameters() if not p.requires_grad] == frozen
    data, before = make_data(), copy.deepcopy(loaded.model.state_dict())
    trainer = make_trainer(1)
    assert all(map(torch.equal, trainer.predict(loaded, data), trainer.predict(whole, data)))
    trainer.fit(loaded, data)  # what was frozen still is
    assert equal(loaded.model.state_dict(), before) == FROZEN


def test_a_checkpoint_with_a_head_of_torch_needs_no_model(tmp_path):
    model = make_model()
    model.head = torch.nn.Linear(6, 3)
    trainer = make_trainer(1)
    trainer.fit(Classifier(model, classes=3), make_data(classes=3))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    loaded = Classifier.load_from_checkpoint(tmp_path / "last.ckpt")
    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(loaded.eval()(images), model.eval()(images))
    assert isinstance(loaded.model.head, layers.Dense)
    assert type(model.head) is torch.nn.Linear


def test_a_checkpoint_of_what_keras_lacks_takes_a_model(tmp_path):
    model = make_model()
    model.relu1 = torch.nn.Hardshrink()
    trainer = make_trainer(1)
    trainer.fit(Classifier(model, lr=0.5), make_data())
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    other = make_model()
    other.relu1 = torch.nn.Hardshrink()
    loaded = Classifier.load_from_checkpoint(tmp_path / "last.ckpt", model=other)
    assert loaded.hparams.lr == 0.5
    assert equal(other.state_dict(), model.state_dict()) == model.state_dict().keys()
    with pytest.raises(TypeError, match="'model'"):
        Classifier.load_from_checkpoint(tmp_path / "last.ckpt")


def test_another_fit_begins_with_the_head_again():
    recipe, data = HeadFirst(until="pool", since=0, epochs=1), make_data()
    for _ in range(2):
        module, watch = Classifier(make_model()), Watch()
        make_trainer(2, recipe, watch).fit(module, data)
        assert [name for name, *_ in watch.optimizers] == ["RMSprop", "SGD"]


def test_optimizers_may_be_others(tmp_path):
    watch = Watch()
    options = {
        "head_optimizer": partial(torch.optim.SGD, lr=0.5),
        "optimizer": partial(torch.optim.SGD, lr=0.25, momentum=0.5),
    }
    trainer = lightning.Trainer(
        max_epochs=3,
        callbacks=[head_first(**options), watch, LearningRateMonitor("epoch")],
        accelerator="cpu",
        default_root_dir=tmp_path,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        logger=lightning.pytorch.loggers.CSVLogger(tmp_path),
    )
    trainer.fit(Classifier(make_model()), make_data())
    assert watch.optimizers == [("SGD", 0.5, 0, 2)] * 2 + [("SGD", 0.25, 0.5, 6)]
    assert trainer.callback_metrics["lr-SGD"] == 0.25


class Scheduled(Classifier):
    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]


def test_what_the_recipe_cannot_do_is_refused():
    data = make_data()
    with pytest.raises(ValueError, match="no layer 'pol'.*Did you mean 'pool'"):
        make_trainer(1, HeadFirst(until="pol", since=0, epochs=1)).fit(
            Classifier(make_model()), data
        )
    watch = Watch()
    with pytest.raises(ValueError, match="no layer 'conv3'"):
        make_trainer(2, HeadFirst(until="pool", since="conv3", epochs=1), watch).fit(
            Classifier(make_model()), data
        )
    assert not watch.optimizers  # before any training
    with pytest.raises(ValueError, match="nothing is left"):
        make_trainer(1, HeadFirst(until="head", since=0, epochs=1)).fit(
            Classifier(make_model()), data
        )
    with pytest.raises(ValueError, match="schedulers have no effect"):
        make_trainer(1, head_first()).fit(Scheduled(make_model()), data)


def test_torchs_synchronised_batch_norm_is_refused():
    model = make_model()
    model.norm1 = torch.nn.SyncBatchNorm(6)
    with pytest.raises(ValueError, match="`synchronized = True`"):
        make_trainer(1).fit(Classifier(model), make_data())


# Averages of weights


def test_averages_leave_what_is_frozen_to_the_bit(tmp_path):
    """Lightning's, through both phases, validation (which swaps weights) and a resumed run."""
    data, start = make_data(), make_model().state_dict()

    def averaging():
        return WeightAveraging(multi_avg_fn=get_ema_multi_avg_fn(0.9))

    whole, resumed = Classifier(make_model()), Classifier(make_model())
    keeping = ModelCheckpoint(tmp_path, "{epoch}", save_top_k=-1)
    make_trainer(4, head_first(), averaging(), keeping).fit(whole, data, data)
    whole_numbers = {"norm2.num_batches_tracked"}  # where an average of 0 and 1 is 0
    assert equal(whole.model.state_dict(), start) - whole_numbers == FROZEN
    make_trainer(4, head_first(), averaging()).fit(
        resumed, data, data, ckpt_path=tmp_path / "epoch=2.ckpt"
    )
    state = resumed.model.state_dict()
    assert equal(state, whole.model.state_dict()) == state.keys()


@pytest.mark.parametrize("average", [None, get_ema_multi_avg_fn(0.9)])
def test_averages_of_torch_do_so_too(average):
    model = make_model()
    kerastorch.freeze(model, until="relu1")
    with torch.no_grad():
        model.norm1.running_var.uniform_(0.1, 3)
        model.norm1.num_batches_tracked.fill_(1234)
    averaged = AveragedModel(model, multi_avg_fn=average, use_buffers=True)
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for images, targets in list(make_data()) * 3:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model.train()(images), targets).backward()
        optimizer.step()
        averaged.update_parameters(model)
    averaged.train()(images)
    assert equal(averaged.module.state_dict(), before) == FROZEN


def test_update_bn_takes_the_mean_of_all_batches_but_where_frozen():
    model, data = make_model(), make_data(16)
    with torch.no_grad():
        model.norm1.running_var.uniform_(0.1, 3)
    kerastorch.freeze(model, until="relu1")
    before, twin = copy.deepcopy(model.state_dict()), copy.deepcopy(model)
    update_bn(data, model)
    assert equal(model.state_dict(), before) >= FROZEN
    twin.norm2.momentum = 1.0  # gives those of the last batch
    of_batches = []
    for images, _ in data:
        twin.train()(images)
        of_batches.append(twin.norm2.running_var.clone())
    torch.testing.assert_close(model.norm2.running_var, torch.stack(of_batches).mean(0))
    assert model.norm2.num_batches_tracked == len(data) == 2
    assert model.norm2.momentum == pytest.approx(0.01)


def test_what_would_reset_frozen_statistics_is_refused():
    data = make_data()
    averaging = partial(StochasticWeightAveraging, 1e-3, swa_epoch_start=1)
    make_trainer(2, averaging()).fit(Classifier(make_model()), data)
    with pytest.raises(ValueError, match="WeightAveraging keeps them"):
        make_trainer(2, head_first(), averaging()).fit(Classifier(make_model()), data)


# The examples


def run(example):
    result = subprocess.run(
        [sys.executable, example.__file__], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return [float(x) for x in re.findall(r"│ ([\d.]+(?:e[+-]\d+)?) +│\n", result.stdout)]


def test_half_of_the_digits_help_to_learn_the_others():
    known, before, head, thawed = run(digits)
    assert known > 0.9
    assert before < 0.4  # chance is 0.2
    assert head > 0.5
    assert thawed > 0.9


def test_two_processes_train_as_one():
    from_start, from_other, from_one = run(distributed)
    assert from_start > 0.1
    assert from_other == 0
    assert from_one < 1e-12
