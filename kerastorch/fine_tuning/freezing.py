"""Freezing and thawing layers of a model, and of the models within it.

They work on `trainable`, as Keras's recipes do: a frozen batch normalisation stays in inference
mode whatever `train()` says, and nothing but `unfreeze` (or `trainable = True`) thaws it.
"""

from __future__ import annotations

from ..engine import Model
from ..engine.layer import set_trainable
from .selection import LayerName, chosen_places


def freeze(model: Model, *layers: LayerName, until: LayerName | None = None) -> list[str]:
    """Freezes layers: their parameters take no gradients and their statistics stay.

        freeze(model, until="mixed7")    # it and all before it
        freeze(model, until=249)         # model.layers[:249], as in Keras's recipe
        freeze(model, "mixed[0-4]", -1)  # by pattern, and the last one

    Args:
        model: the model. Layers of models within it are found by name too, or by path
            (`"base/conv1"`).
        layers: names, patterns with `*`, `?` and `[3-6]`, and indices of `model.layers`; none of
            them, and no `until`, for all layers. A model within stands for all of its layers.
        until: the last layer, in Keras's order, of those to freeze; or how many of `model.layers`.

    Returns:
        The paths of the layers that have been frozen, in Keras's order.

    Raises:
        ValueError: the model has no such layer.
    """
    chosen = chosen_places(model, layers, until=until)
    for place in chosen:
        set_trainable(place.module, False, place.models[-1].training)
    return [place.path for place in chosen]


def unfreeze(model: Model, *layers: LayerName, since: LayerName | None = None) -> list[str]:
    """Thaws layers, as `freeze` freezes them.

        unfreeze(model, since="conv2d_80")  # it and all behind it
        unfreeze(model, since=249)          # model.layers[249:]

    Args:
        model: the model.
        layers: see `freeze`.
        since: the first layer to thaw; or the index of the first of `model.layers`.

    Returns:
        The paths of the layers that have been thawed, in Keras's order.

    Raises:
        ValueError: the model has no such layer.
    """
    chosen = chosen_places(model, layers, since=since)
    for place in chosen:
        set_trainable(place.module, True, place.models[-1].training)
        for around in place.models:
            around._trainable = True  # of itself; its other layers keep theirs
    return [place.path for place in chosen]
