"""Passes over a model's steps that leave its outputs as they are, up to rounding.

Each takes the steps of a model that will only be run in evaluation mode, changes layers and takes
steps out.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch
from torch import Tensor, nn

from .. import activations, layers
from ..engine.layer import is_ours
from ..engine.layout import tensor_axis
from ..engine.plan import Step
from ..layers.convolutional import SamePaddedConv2d
from .steps import Steps

CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D)
LINEAR = (*CONVOLUTIONS, layers.Dense)
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
        is_identity = is_linear or isinstance(module, IDENTITIES)
        if is_identity and not step.training and len(step.outputs) == 1:
            steps.leave_out(step)


def fold_preprocessing(steps: Steps) -> None:
    """Leaves Rescaling and Normalization to the convolution that takes their images.

    That is exact where the convolution puts no zeros around what they give, or where they give zero
    for zero.
    """
    while any(_fold_preprocessing(steps, *pair) for pair in steps.pairs()):
        pass


def _fold_preprocessing(steps: Steps, maker: Step, step: Step) -> bool:
    """Leaves out one layer of preprocessing, if it can be."""
    preprocessing, layer = steps.module(maker), steps.module(step)
    if not isinstance(preprocessing, layers.Rescaling | layers.Normalization):
        return False
    if not isinstance(layer, CONVOLUTIONS) or not is_plain(layer):
        return False
    first, *_ = linear_parts(layer)
    with torch.no_grad():  # what it multiplies with and adds shows at 0 and 1
        black, white = (
            preprocessing(torch.full((1, first.in_channels, 1, 1), value, dtype=torch.double))
            for value in (0, 1)
        )
    if black.numel() != first.in_channels or (black.any() and _has_padding(layer)):
        return False
    scale, shift = (white - black).flatten(), black.flatten()
    weight = first.weight.double()
    groups, size = first.groups, weight.shape[1]
    scale, shift = (
        x.view(groups, 1, size).expand(-1, len(weight) // groups, -1).reshape(-1, size, 1, 1)
        for x in (scale, shift)
    )
    bias = (weight * shift).sum((1, 2, 3))
    first.weight = _constant((weight * scale).to(first.weight))
    first.bias = _constant((bias if first.bias is None else bias + first.bias).to(first.weight))
    steps.leave_out(maker)
    return True


def _has_padding(layer: nn.Module) -> bool:
    if layer.margins is not None:
        return any(map(any, layer.margins))
    return layer.padding not in ("valid", 0, (0, 0))


def fold_normalizations(steps: Steps) -> None:
    """Folds each batch normalisation into the convolution or dense layer in front of it."""
    for maker, step in steps.pairs():
        layer, norm = steps.module(maker), steps.module(step)
        if not isinstance(norm, layers.BatchNormalization) or step.training:
            continue
        rank = len(steps.shape(step.outputs[0]))
        if _is_linear(layer) and normalized_axis(norm, rank) == _features_axis(layer, rank):
            _fold(*scale_and_shift(norm), layer)
            steps.leave_out(step)


def _is_linear(layer: nn.Module) -> bool:
    """Whether it is a convolution or dense layer, as it was made, without an activation."""
    return isinstance(layer, LINEAR) and is_plain(layer) and layer.activation is activations.linear


def linear_parts(layer: nn.Module) -> list[nn.Module]:
    """The modules that have the weights of a convolution or dense layer."""
    is_separable = isinstance(layer, layers.SeparableConv2D)
    return [layer.depthwise, layer.pointwise] if is_separable else [layer]


def is_plain(layer: nn.Module) -> bool:
    """Whether a convolution or dense layer is as it was made, and nothing, such as an adapter, has
    been put in the place of a part."""
    return all(
        isinstance(part, SamePaddedConv2d | layers.Dense)
        and is_ours(type(part))
        and not part._modules
        and getattr(part, "padding_mode", "zeros") == "zeros"
        for part in linear_parts(layer)
    )


def normalized_axis(norm: layers.BatchNormalization, rank: int) -> int:
    """The axis that a batch normalisation has statistics along, in tensors of a rank."""
    return tensor_axis(norm.axis, rank, norm.data_format)


def _features_axis(layer: nn.Module, rank: int) -> int:
    """The axis along which a convolution or dense layer has its features."""
    if isinstance(layer, layers.Dense):
        return tensor_axis(-1, rank, layer.data_format)
    return 1


def _fold(scale: Tensor, shift: Tensor, layer: nn.Module) -> None:
    """Has a convolution or dense layer multiply its features with a scale, and add a shift.

    Args:
        scale, shift: a number for each feature, or one for all.
    """
    *_, layer = linear_parts(layer)
    features = len(layer.weight)
    scale, shift = scale.expand(features), shift.expand(features)
    weight = layer.weight.double() * scale.reshape(-1, *[1] * (layer.weight.ndim - 1))
    bias = shift if layer.bias is None else layer.bias.double() * scale + shift
    layer.weight = _constant(weight.to(layer.weight))
    layer.bias = _constant(bias.to(layer.weight))


def _constant(x: Tensor) -> nn.Parameter:
    return nn.Parameter(x.detach(), requires_grad=False)


def scale_and_shift(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """What a batch normalisation multiplies features with and adds to them, in float64."""
    scale = torch.rsqrt(norm.running_var.double() + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    return scale, shift if norm.bias is None else shift + norm.bias.double()


def fold_scales(steps: Steps) -> None:
    """Folds the scales of residual branches into the convolution or dense layer in front of them.

    ConvNeXt scales them in a layer of its own, InceptionResNetV2 where it adds them.
    """
    for maker, step in steps.pairs():
        layer, scale = steps.module(maker), steps.module(step)
        if isinstance(scale, layers.LayerScale) and _is_linear(layer):
            gamma = scale.gamma.double()
            _fold(gamma, torch.zeros_like(gamma), layer)
            steps.leave_out(step)
    makers = steps.makers()
    for step in steps:
        module = steps.module(step)
        if not isinstance(module, layers.CustomScaleLayer) or not steps.is_alone(step):
            continue
        _, scaled = steps.taken(step)
        layer = steps.module(makers[scaled]) if scaled in makers else None
        if _is_linear(layer):
            scale, none = torch.tensor([module.scale, 0.0], dtype=torch.double)
            _fold(scale, none, layer)
            steps.replace(step, layers.Add(name=module.name))


def fold_padding(steps: Steps) -> None:
    """Leaves the zeros around an image to the convolution that takes it."""
    for maker, step in steps.pairs():
        pad, layer = steps.module(maker), steps.module(step)
        takes = isinstance(layer, CONVOLUTIONS) and is_plain(layer) and layer.takes_margins
        if takes and isinstance(pad, layers.ZeroPadding2D):
            layer.margins = pad.padding
            steps.leave_out(maker)


def fuse_activations(steps: Steps) -> None:
    """Has convolutions and dense layers apply the activation behind them themselves."""
    for maker, step in steps.pairs():
        layer = steps.module(maker)
        function = activation_of(steps.module(step))
        if function is not None and _is_linear(layer):
            layer.activation = function
            steps.leave_out(step)


def share_results(steps: Steps) -> None:
    """Computes once what several activations or poolings give for a value, as in NASNet."""
    first: dict[tuple, Step] = {}
    for step in steps:
        operation = _operation_of(steps.module(step))
        if operation is None:
            continue
        same = first.setdefault((operation, *steps.taken(step)), step)
        if same is not step:
            steps.leave_out(step, stand_in=same.outputs[0])


def _operation_of(module: nn.Module) -> Hashable | None:
    """What an activation or a pooling does, the same for all that do the same."""
    if isinstance(module, layers.AveragePooling2D | layers.MaxPooling2D):
        return type(module), module.pool_size, module.strides, module.padding
    return activation_of(module)


def activation_of(module: nn.Module) -> Callable | None:
    """The activation function that a layer is, if it is one."""
    if isinstance(module, layers.Activation):
        return module.activation
    if isinstance(module, layers.ReLU) and not module.negative_slope and not module.threshold:
        return {None: activations.relu, 6: activations.relu6}.get(module.max_value)
    return None
