"""Parameter groups for optimizers."""

from __future__ import annotations

from typing import Any

from ..engine import Model
from ..engine.blocks import blocks


def parameter_groups(
    model: Model, lr: float, *, weight_decay: float = 0.0, layer_decay: float = 1.0
) -> list[dict[str, Any]]:
    """The trainable parameters in groups for an optimizer of torch.

        optimizer = torch.optim.AdamW(parameter_groups(model, 1e-3, weight_decay=0.05))

    Args:
        model: a model with one image as input; a model within counts as one block.
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
    parts = blocks(model)
    for number, names in enumerate(parts):
        rate = lr * layer_decay ** (len(parts) - 1 - number)
        parameters = [
            parameter
            for name in names
            for parameter in model.get_layer(name).parameters()
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
