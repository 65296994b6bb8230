"""What the tests of optimised models share."""

import torch
from torch import nn


def randomize(model):
    """Gives every batch normalisation statistics and weights that show."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(std=0.2)
            module.running_var.uniform_(0.5, 2)
            for parameter in module.parameters():
                parameter.data.uniform_(0.5, 1.5)
    return model.eval()


@torch.no_grad()
def settle(model, images):
    """Gives batch norm the statistics of these images: values keep their size from layer to layer.

    Signals that vanish compare as equal, and where they grow, the gates of squeeze-and-excitation
    jump between 0 and 1 at the last bit.
    """
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 1.0
    model.train()(images)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
    model.eval()


def differ_by(given, expected):
    return ((given - expected).abs().max() / expected.abs().max()).item()


def images(*shape):
    return torch.rand(shape).to(memory_format=torch.channels_last)
