"""Fine-tuning classifiers in Lightning (`pip install 'kerastorch[lightning]'`).

    model = kerastorch.create_model("inception_v3", pretrained=True, classes=200)
    recipe = HeadFirst(until="avg_pool", epochs=5, since="mixed8")
    trainer = lightning.Trainer(max_epochs=20, callbacks=[recipe])
    trainer.fit(Classifier(model), training_data, validation_data)

`Classifier` is the LightningModule, `HeadFirst` a callback: first the new head, then more layers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

try:
    import lightning.pytorch as pl
    from lightning.pytorch.callbacks import StochasticWeightAveraging
    from torchmetrics import Accuracy, MetricCollection
except ImportError as error:
    raise ImportError(
        "kerastorch.lightning needs Lightning and torchmetrics: pip install 'kerastorch[lightning]'"
    ) from error

from . import activations
from .convert.config import model_config, model_from_config, to_json
from .convert.keras_terms import in_keras_terms
from .engine import Model
from .fine_tuning import freeze, parameter_groups, unfreeze
from .fine_tuning.selection import LayerName, chosen_places
from .layers import BatchNormalization
from .scores import final_activation, logits, number_of_classes

TASKS = ("multiclass", "binary", "multilabel")

# Keras's "rmsprop", and the SGD of its recipe.
RMSPROP = partial(torch.optim.RMSprop, lr=1e-3, alpha=0.9, eps=1e-7)
SGD = partial(torch.optim.SGD, lr=1e-4, momentum=0.9)


class Classifier(pl.LightningModule):
    """A classifier of images as a LightningModule.

    The loss is the cross-entropy of the logits, also where the model ends with a softmax or
    sigmoid: training leaves that out, and nothing is lost in a logarithm. `predict_step` gives
    probabilities, whatever the model ends with; `forward` gives what the model gives.

    It logs `train_loss`, `train_accuracy` and, of more than 5 classes, `train_top5` for each epoch,
    and the same for `val` and `test`, over all processes. Batches are pairs of prepared images
    (batch, channels, height, width) and targets: class indices (batch,), or (batch, classes) for
    several labels each and for mixtures as of CutMix. To predict, images alone will do.

    A checkpoint holds the model's config too, so `Classifier.load_from_checkpoint(path)` needs no
    model; for one with modules that Keras has no layer for (an adapter, say) give it `model=`.

    Args:
        model: the model; or its config, as checkpoints hold it.
        task: `"multiclass"`, `"binary"` (one output) or `"multilabel"`; None for what the model's
            outputs say, where several logits mean `"multiclass"`.
        classes: the number of outputs, where the model does not know it, as behind a replaced head.
        lr: the learning rate of AdamW.
        weight_decay: of kernels; see `fine_tuning.parameter_groups`.
        layer_decay: by how much the learning rate falls from each block to the one before.
        label_smoothing: how much of each target goes to all classes; for `"multiclass"`.

    Raises:
        ValueError: the model does not give one row of scores, or its end does not fit the task.
    """

    def __init__(
        self,
        model: Model | str,
        task: str | None = None,
        *,
        classes: int | None = None,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        layer_decay: float = 1.0,
        label_smoothing: float = 0.0,
    ):
        super().__init__()
        if isinstance(model, str):
            model = model_from_config(json.loads(model))
        self.model = model
        self.classes = classes or number_of_classes(model)
        self.task = _task_of(model, self.classes, task)
        self.lr = lr
        self.weight_decay = weight_decay
        self.layer_decay = layer_decay
        self.label_smoothing = label_smoothing
        self.save_hyperparameters(ignore="model")
        self.metrics = nn.ModuleDict(  # which takes no key "train", the name of a method
            {f"of_{stage}": self.make_metrics(f"{stage}_") for stage in ("train", "val", "test")}
        )

    def make_metrics(self, prefix: str) -> MetricCollection:
        """The metrics of probabilities and targets that are logged; for subclasses to change."""
        if self.task != "multiclass":
            accuracy = Accuracy(task=self.task, num_labels=self.classes)
            return MetricCollection({"accuracy": accuracy}, prefix=prefix)
        of_classes = partial(Accuracy, task=self.task, num_classes=self.classes, average="micro")
        metrics = {"accuracy": of_classes()}
        if self.classes > 5:
            metrics["top5"] = of_classes(top_k=5)
        return MetricCollection(metrics, prefix=prefix)

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self._step(batch, "train")

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self._step(batch, "val")

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self._step(batch, "test")

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """Probabilities (batch, classes) in float32 or wider."""
        images = batch[0] if isinstance(batch, list | tuple) else batch
        return self._probabilities(self._logits(images))

    def _step(self, batch: Any, stage: str) -> Tensor:
        images, targets = batch
        scores = self._logits(images)
        loss = self._loss(scores, targets)
        self.log(
            f"{stage}_loss",
            loss,
            on_step=False,
            on_epoch=True,
            batch_size=len(images),
            sync_dist=True,
        )
        metrics = self.metrics[f"of_{stage}"]
        metrics.update(self._probabilities(scores.detach()), self._labels(targets, scores))
        self.log_dict(metrics, on_step=False, on_epoch=True, batch_size=len(images))
        return loss

    def _logits(self, images: Tensor) -> Tensor:
        with logits(self.model):
            return self.model(images)

    def _probabilities(self, scores: Tensor) -> Tensor:
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        return scores.softmax(1) if self.task == "multiclass" else scores.sigmoid()

    def _loss(self, scores: Tensor, targets: Tensor) -> Tensor:
        if self.task == "multiclass":
            targets = targets.to(scores.dtype) if targets.ndim == 2 else targets
            return F.cross_entropy(scores, targets, label_smoothing=self.label_smoothing)
        targets = targets.reshape(scores.shape).to(scores.dtype)
        return F.binary_cross_entropy_with_logits(scores, targets)

    def _labels(self, targets: Tensor, scores: Tensor) -> Tensor:
        """The targets as metrics take them."""
        if self.task != "multiclass":
            return targets.reshape(scores.shape).long()
        return targets.argmax(1) if targets.ndim == 2 else targets

    def configure_optimizers(self) -> Optimizer:
        groups = parameter_groups(
            self.model, self.lr, weight_decay=self.weight_decay, layer_decay=self.layer_decay
        )
        return torch.optim.AdamW(groups)

    def on_fit_start(self) -> None:
        if any(isinstance(module, nn.SyncBatchNorm) for module in self.model.modules()):
            raise ValueError(
                "Trainer(sync_batchnorm=True) puts torch's batch normalisation in the place of "
                "Keras's. Leave it out, and set `synchronized = True` on those layers."
            )
        if any(isinstance(c, StochasticWeightAveraging) for c in self.trainer.callbacks) and any(
            isinstance(m, BatchNormalization) and not m.trainable for m in self.model.modules()
        ):
            raise ValueError(
                "StochasticWeightAveraging takes the moving statistics from frozen batch "
                "normalisation. WeightAveraging keeps them."
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        config = _config_of(self.model)
        if config is not None:
            checkpoint.setdefault(self.CHECKPOINT_HYPER_PARAMS_KEY, {})["model"] = config


def _config_of(model: Model) -> str | None:
    """The config of a model that takes the same state; None where there is none."""
    with suppress(ValueError):  # it has modules of torch in layers' places
        return to_json(model_config(model))
    with suppress(ValueError):  # and not all of them are known to Keras
        view = in_keras_terms(model, whole=False)
        if view.state_dict().keys() == model.state_dict().keys():
            return to_json(model_config(view))
    return None


def _task_of(model: Model, classes: int, task: str | None) -> str:
    end = final_activation(model)
    if task is None:
        several = "multilabel" if end is activations.sigmoid else "multiclass"
        task = "binary" if classes == 1 else several
    if task not in TASKS:
        raise ValueError(f"task is one of {TASKS}, not {task!r}.")
    fitting = activations.softmax if task == "multiclass" else activations.sigmoid
    if end not in (None, fitting) or (task == "binary") != (classes == 1):
        name = "logits" if end is None else end.__name__
        raise ValueError(f"{model.name!r} gives {classes} outputs ({name}); that is not {task}.")
    return task


class HeadFirst(pl.Callback):
    """The two phases of the Keras documentation's recipe: a new head first, then more layers.

        HeadFirst(until="mixed10", epochs=5, since=249)  # for InceptionV3 without its top

    For some epochs the layers up to `until` are frozen and an optimizer trains the rest. Then those
    from `since` on are thawed and go on with another optimizer. Both take the place of what
    `configure_optimizers` gives. A checkpoint of either phase resumes in it.

    Averages of weights leave what is frozen to the bit where they move by differences, as
    `WeightAveraging(multi_avg_fn=get_ema_multi_avg_fn(0.999))` does, with the function of
    `torch.optim.swa_utils`; the sums of `EMAWeightAveraging` round.

    It is for a LightningModule whose `model` is a `kerastorch.Model`, as `Classifier` is, on one
    device or under DDP.

    Args:
        until: the last layer of the base, or how many of `model.layers` it has; see `freeze`.
        since: the first layer that the second phase trains; see `unfreeze`.
        epochs: how many epochs the first phase has.
        head_optimizer: makes the first phase's optimizer from an iterable of parameters; Keras's
            RMSprop by default (1e-3), but for where epsilon stands.
        optimizer: makes that of the second phase; SGD with 1e-4 and momentum 0.9 by default.

    Raises:
        ValueError: in `fit`, for layers that the model does not have, if nothing is left to train,
            under other strategies, or if `configure_optimizers` gives schedulers, which would have
            no effect.
    """

    def __init__(
        self,
        *,
        until: LayerName,
        since: LayerName,
        epochs: int,
        head_optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] = RMSPROP,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] = SGD,
    ):
        self.until = until
        self.since = since
        self.epochs = epochs
        self.head_optimizer = head_optimizer
        self.optimizer = optimizer
        self.has_thawed = False

    def state_dict(self) -> dict[str, Any]:
        return {"has_thawed": self.has_thawed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.has_thawed = state_dict["has_thawed"]

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage == "fit":
            self.has_thawed = False  # until a checkpoint or the epoch says otherwise
            freeze(pl_module.model, until=self.until)
            chosen_places(pl_module.model, (), since=self.since)  # raises now, not an epoch later
            if not any(parameter.requires_grad for parameter in pl_module.parameters()):
                raise ValueError(f"With all layers until {self.until!r} frozen, nothing is left.")

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Behind `configure_optimizers`, and before the optimizer's state is restored.
        if not isinstance(trainer.strategy.model, DistributedDataParallel | pl.LightningModule):
            raise ValueError("HeadFirst is for one device and for DDP.")
        if trainer.lr_scheduler_configs:
            raise ValueError("HeadFirst brings its own optimizers; schedulers have no effect.")
        if self.has_thawed:
            self._thaw(trainer, pl_module)
        self._set_optimizer(trainer, pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.has_thawed and trainer.current_epoch >= self.epochs:
            self.has_thawed = True
            self._thaw(trainer, pl_module)
            self._set_optimizer(trainer, pl_module)

    def _thaw(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        unfreeze(pl_module.model, since=self.since)
        strategy = trainer.strategy
        if isinstance(strategy.model, DistributedDataParallel):
            # It only ever knows the parameters that took gradients when it was made.
            strategy.model = pl_module
            strategy.configure_ddp()

    def _set_optimizer(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        make = self.optimizer if self.has_thawed else self.head_optimizer
        trained = [parameter for parameter in pl_module.parameters() if parameter.requires_grad]
        trainer.strategy.optimizers = [make(trained)]
