"""What the tests of optimised models share."""

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


def differ_by(given, expected):
    return ((given - expected).abs().max() / expected.abs().max()).item()
