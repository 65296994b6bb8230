"""Contenders in training: a step of SGD with momentum on the cross-entropy of random labels."""

from __future__ import annotations

import numpy as np

from . import Call, Contender, images, keras_model, timm_twin, torchvision_twin


def kerastorch(model: str, batch: int, size: int) -> Call:
    import kerastorch

    return _of_torch(kerastorch.create_model(model, classifier_activation=None), batch, size)


def timm(model: str, batch: int, size: int) -> Call:
    return _of_torch(timm_twin(model), batch, size)


def torchvision(model: str, batch: int, size: int) -> Call:
    return _of_torch(torchvision_twin(model), batch, size)


def keras(model: str, batch: int, size: int) -> Call:
    import keras

    made = keras_model(model)
    made.compile(
        keras.optimizers.SGD(1e-3, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(),
    )
    x, labels = images(batch, size), _labels(batch)
    return lambda: made.train_on_batch(x, labels)


def _labels(batch: int) -> np.ndarray:
    return np.random.default_rng(1).integers(1000, size=batch)


def _of_torch(model, batch: int, size: int) -> Call:
    import torch

    model = model.train().to(memory_format=torch.channels_last)
    x = torch.from_numpy(images(batch, size)).movedim(-1, 1)
    labels = torch.from_numpy(_labels(batch))
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)

    def call() -> None:
        optimizer.zero_grad(set_to_none=True)
        outputs = model(x)
        # torchvision's InceptionV3 also gives the outputs of its auxiliary classifier.
        logits = outputs if isinstance(outputs, torch.Tensor) else outputs[0]
        torch.nn.functional.cross_entropy(logits, labels).backward()
        optimizer.step()

    return call


CONTENDERS: dict[str, Contender] = {
    "kerastorch": kerastorch,
    "timm": timm,
    "torchvision": torchvision,
    "keras-tensorflow": keras,
    "keras-torch": keras,
}
