"""Parameter groups for optimizers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from ..engine import Model
from ..engine.blocks import blocks
from ..engine.images import takes_one_image


def parameter_groups(
    model: Model, lr: float, *, weight_decay: float = 0.0, layer_decay: float = 1.0
) -> list[dict[str, Any]]:
    """The trainable parameters in groups for an optimizer of torch.

        optimizer = torch.optim.AdamW(parameter_groups(model, 1e-3, weight_decay=0.05))

    Args:
        model: a model with one image as input; such a model within, as the base that a new head
            stands on, is parted into blocks of its own.
        lr: the learning rate of the last block; see `engine.blocks`.
        weight_decay: of kernels. Biases, and what normalisation layers learn, have none.
        layer_decay: by how much the learning rate falls from each block to the one before.

    Returns:
        Groups with `params`, `lr`, `weight_decay` and `name`, from the first block to the last, but
        none that would be empty.

    Raises:
        ValueError: the model has other inputs than one image.
    """
    groups, seen = [], set()
    parts = [layers for layers in _parts(model) if any(map(_has_weights, layers))]
    for number, layers in enumerate(parts):
        rate = lr * layer_decay ** (len(parts) - 1 - number)
        parameters = [
            parameter
            for layer in layers
            for parameter in layer.parameters()
            if parameter.requires_grad and parameter not in seen
        ]
        seen.update(parameters)
        for kind, decay, chosen in (
            ("kernels", weight_decay, [p for p in parameters if p.ndim > 1]),
            ("vectors", 0.0, [p for p in parameters if p.ndim <= 1]),
        ):
            if chosen:
                name = f"block {number}: {kind}"
                groups.append({"params": chosen, "lr": rate, "weight_decay": decay, "name": name})
    return groups


def _parts(model: Model) -> Iterator[list[nn.Module]]:
    """The layers of each block, and of those of a model of one image that stands alone in one."""
    for names in blocks(model):
        layers = [model.get_layer(name) for name in names]
        within = [i for i, layer in enumerate(layers) if _is_parted(layer)]
        if len(within) != 1:  # of several, none need be before another
            yield layers
            continue
        (position,) = within
        yield layers[:position]
        yield from _parts(layers[position])
        yield layers[position + 1 :]


def _is_parted(layer: nn.Module) -> bool:
    return isinstance(layer, Model) and takes_one_image(layer) and _has_weights(layer)


def _has_weights(layer: nn.Module) -> bool:
    return any(True for _ in layer.parameters())
