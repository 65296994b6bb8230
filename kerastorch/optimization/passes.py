"""Passes over a model's steps that leave its outputs as they are, up to rounding.

Each takes the steps of a model that will only be run in evaluation mode, changes layers and takes
steps out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .. import activations, layers
from .steps import Steps

CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D)
IDENTITIES = (
    layers.Dropout,
    layers.GaussianNoise,
    layers.GaussianDropout,
    layers.AlphaDropout,
    layers.StochasticDepth,
    layers.ActivityRegularization,
    layers.Identity,
)


def drop_identities(steps: Steps) -> None:
    """Takes out what does nothing in evaluation mode, such as dropout."""
    for step in steps:
        module = steps.module(step)
        is_linear = (
            isinstance(module, layers.Activation) and module.activation is activations.linear
        )
        if (is_linear or isinstance(module, IDENTITIES)) and not step.training:
            steps.leave_out(step)


def fold_normalizations(steps: Steps) -> None:
    """Folds each batch normalisation into the convolution or dense layer in front of it."""
    for maker, step in steps.pairs():
        layer, norm = steps.module(maker), steps.module(step)
        is_norm = isinstance(norm, layers.BatchNormalization) and not step.training
        if is_norm and _is_linear(layer) and _normalizes_features(norm):
            _fold(norm, layer.pointwise if isinstance(layer, layers.SeparableConv2D) else layer)
            steps.leave_out(step)


def _is_linear(layer: nn.Module) -> bool:
    foldable = (*CONVOLUTIONS, layers.Dense)
    return isinstance(layer, foldable) and layer.activation is activations.linear


def _normalizes_features(norm: layers.BatchNormalization) -> bool:
    features = 1 if norm.data_format == "channels_first" else -1
    return norm.axis in (features, features % 4)


def _fold(norm: nn.Module, layer: nn.Module) -> None:
    """Puts what a batch normalisation does into the weights of the layer before it."""
    scale, shift = scale_and_shift(norm)
    weight = layer.weight.double() * scale.reshape(-1, *[1] * (layer.weight.ndim - 1))
    bias = shift if layer.bias is None else layer.bias.double() * scale + shift
    layer.weight = nn.Parameter(weight.to(layer.weight), requires_grad=False)
    layer.bias = nn.Parameter(bias.to(layer.weight), requires_grad=False)


def scale_and_shift(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """What a batch normalisation multiplies features with and adds to them, in float64."""
    scale = torch.rsqrt(norm.running_var.double() + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    return scale, shift if norm.bias is None else shift + norm.bias.double()


def fold_padding(steps: Steps) -> None:
    """Leaves the zeros around an image to the convolution that takes it."""
    for maker, step in steps.pairs():
        pad, layer = steps.module(maker), steps.module(step)
        takes = isinstance(layer, CONVOLUTIONS) and layer.takes_margins
        if takes and isinstance(pad, layers.ZeroPadding2D):
            layer.margins = pad.padding
            steps.leave_out(maker)


def fuse_activations(steps: Steps) -> None:
    """Has convolutions and dense layers apply the activation behind them themselves."""
    for maker, step in steps.pairs():
        layer = steps.module(maker)
        function = _activation_of(steps.module(step))
        if function is not None and _is_linear(layer):
            layer.activation = function
            steps.leave_out(step)


def _activation_of(module: nn.Module):
    if isinstance(module, layers.Activation):
        return module.activation
    if isinstance(module, layers.ReLU) and not module.negative_slope and not module.threshold:
        return {None: activations.relu, 6: activations.relu6}.get(module.max_value)
    return None
