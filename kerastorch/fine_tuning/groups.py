"""Parameter groups for optimizers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from .. import layers
from ..engine import Model
from ..engine.blocks import blocks
from ..engine.images import takes_one_image

# What learns scales and offsets of features, whatever the shape they are kept in.
_WITHOUT_DECAY = (
    layers.BatchNormalization,
    layers.LayerNormalization,
    layers.GroupNormalization,
    layers.LayerScale,
    layers.PReLU,
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.PReLU,
)


def parameter_groups(
    model: Model, lr: float, *, weight_decay: float = 0.0, layer_decay: float = 1.0
) -> list[dict[str, Any]]:
    """The trainable parameters in groups for an optimizer of torch.

        optimizer = torch.optim.AdamW(parameter_groups(model, 1e-3, weight_decay=0.05))

    Args:
        model: a model with one image as input; such a model within, as the base that a new head
            stands on, is parted into blocks of its own.
        lr: the learning rate of the last block; see `engine.blocks`.
        weight_decay: of kernels. Biases, other vectors and scalars, and what normalisation layers,
            LayerScale and PReLU learn, have none.
        layer_decay: by how much the learning rate falls from each block to the one before.

    Returns:
        Groups with `params`, `lr`, `weight_decay` and `name`, from the first block to the last, but
        none that would be empty.

    Raises:
        ValueError: the model has other inputs than one image.
    """
    groups, seen = [], set()
    parts = [part for part in _parts(model) if any(map(_has_weights, part))]
    for number, part in enumerate(parts):
        rate = lr * layer_decay ** (len(parts) - 1 - number)
        kernels, others = [], []
        for module in (module for layer in part for module in layer.modules()):
            for name, parameter in module.named_parameters(recurse=False):
                if parameter.requires_grad and parameter not in seen:
                    (kernels if _is_kernel(module, name, parameter) else others).append(parameter)
                    seen.add(parameter)
        for kind, decay, chosen in (("kernels", weight_decay, kernels), ("others", 0.0, others)):
            if chosen:
                name = f"block {number}: {kind}"
                groups.append({"params": chosen, "lr": rate, "weight_decay": decay, "name": name})
    return groups


def _is_kernel(module: nn.Module, name: str, parameter: nn.Parameter) -> bool:
    return parameter.ndim > 1 and name != "bias" and not isinstance(module, _WITHOUT_DECAY)


def _parts(model: Model) -> Iterator[list[nn.Module]]:
    """The layers of each block, and of those of a model of one image that stands alone in one."""
    for names in blocks(model):
        block = [model.get_layer(name) for name in names]
        within = [i for i, layer in enumerate(block) if _is_parted(layer)]
        if len(within) != 1:  # of several, none need be before another
            yield block
            continue
        (position,) = within
        yield block[:position]
        yield from _parts(block[position])
        yield block[position + 1 :]


def _is_parted(layer: nn.Module) -> bool:
    return isinstance(layer, Model) and takes_one_image(layer) and _has_weights(layer)


def _has_weights(layer: nn.Module) -> bool:
    return any(True for _ in layer.parameters())
