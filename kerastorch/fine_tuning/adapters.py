"""Where adapters go: the layers that LoRA can be put on without changing what it means."""

from __future__ import annotations

import re

from torch import nn

from ..activations import linear
from ..engine import Model
from ..engine.layout import tensor_axis
from ..layers.convolutional import SamePaddedDepthwiseConv2d
from .selection import LayerName, Place, chosen_places


def lora_targets(
    model: Model,
    *layers: LayerName,
    since: LayerName | None = None,
    with_activation: bool = False,
) -> str:
    """The layers for LoRA, as `target_modules` of PEFT's `LoraConfig` takes them.

        freeze(model)  # PEFT alone leaves batch normalisation its moving statistics
        tuned = get_peft_model(model, LoraConfig(target_modules=lora_targets(model), r=8))

    They are the convolutions of images, but for depthwise and other grouped ones, the pointwise
    halves of separable ones, and dense layers on vectors. A layer with an activation of its own
    applies it before PEFT adds the update, which then cannot be merged, and is left out.

    Args:
        model: the model that PEFT will wrap; the expression is of its modules' full keys.
        layers, since: the layers to choose from, as `unfreeze` takes them; none for all.
        with_activation: whether layers with an activation of their own are taken too.

    Returns:
        A regular expression that matches the chosen modules' keys, and no other.

    Raises:
        ValueError: the model has no such layer, or LoRA suits none of them.
    """
    keys = [
        key
        for place in chosen_places(model, layers, since=since)
        for key, module in place.module.named_modules(prefix=place.key)
        if _suits(module, place) and (with_activation or _is_linear(module))
    ]
    if not keys:
        raise ValueError(f"LoRA suits none of the chosen layers of {model.name!r}.")
    return "|".join(re.escape(key) for key in keys)


def _suits(module: nn.Module, place: Place) -> bool:
    """Whether PEFT's update of a module's weight is an update of what the module computes."""
    if isinstance(module, nn.Conv2d):
        return module.groups == 1 and not isinstance(module, SamePaddedDepthwiseConv2d)
    return isinstance(module, nn.Linear) and _features_come_last(place)


def _features_come_last(place: Place) -> bool:
    """Whether the features that a dense layer takes lie along a tensor's last axis too."""
    model = place.models[-1]
    calls = model._calls[model._keys[place.name]]
    ranks = {symbol.ndim for call in calls for symbol in call.inputs}
    return all(tensor_axis(-1, rank, model.data_format) == rank - 1 for rank in ranks)


def _is_linear(module: nn.Module) -> bool:
    return getattr(module, "activation", linear) is linear
