"""Statistics that suit a model's weights, for the tests that run without Keras."""

import torch

from kerastorch.layers import BatchNormalization


@torch.no_grad()
def settle(model, images):
    """Gives batch norm the statistics of these images: signals that vanish compare as equal."""
    norms = [layer for layer in model.modules() if isinstance(layer, BatchNormalization)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 1.0
    model.train()(images)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
    outputs = model.eval()(images)
    assert outputs.std(0).max() > 0.01 * outputs.abs().max()
