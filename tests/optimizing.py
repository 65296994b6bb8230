"""What the tests of optimised models share."""

import torch
from torch import nn


def randomize(model):
    """Gives every batch normalisation statistics and weights that show."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.2)
            module.running_var.uniform_(0.5, 2)
            for parameter in module.parameters():
                parameter.data.uniform_(0.5, 1.5)
    return model.eval()


def settle(model, images):
    """Draws the statistics near those of images, so that values keep their size.

    Where they grow from block to block, the gates of squeeze-and-excitation jump between 0 and 1 at
    the last bit.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.running_var *= torch.empty_like(norm.running_var).uniform_(0.5, 2)
    model.eval()


def differ_by(given, expected):
    return ((given - expected).abs().max() / expected.abs().max()).item()
