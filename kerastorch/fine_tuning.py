"""Freezing and thawing layers of a model, and of the models within it; groups for optimizers.

`freeze` and `unfreeze` work on `trainable`, as Keras's recipes do: a frozen batch normalisation
stays in inference mode whatever `train()` says, and nothing but `unfreeze` (or `trainable = True`)
thaws it.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from torch import nn

from .engine import Model, Operation
from .engine.blocks import blocks
from .engine.layer import set_trainable
from .engine.naming import near_matches

LayerName = str | int


class _Place(NamedTuple):
    """A layer and where it stands: the name with those of the models around it, and these."""

    path: str
    module: nn.Module
    models: tuple[Model, ...]

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


def freeze(model: Model, *layers: LayerName, until: LayerName | None = None) -> list[str]:
    """Freezes layers: their parameters take no gradients and their statistics stay.

        freeze(model, until="mixed7")   # it and all before it
        freeze(model, until=249)        # model.layers[:249], as in Keras's recipe
        freeze(model, "block1_*", -1)   # by pattern, and the last one

    Args:
        model: the model. Layers of models within it are found by name too, or by path
            (`"base/conv1"`).
        layers: names, patterns with `*` and `?`, and indices of `model.layers`; none of them, and
            no `until`, for all layers. A model within stands for all of its layers.
        until: the last layer, in Keras's order, of those to freeze; or how many of `model.layers`.

    Returns:
        The paths of the layers that have been frozen, in Keras's order.

    Raises:
        ValueError: the model has no such layer.
    """
    chosen = _chosen(model, layers, until=until)
    for place in chosen:
        set_trainable(place.module, False)
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
    chosen = _chosen(model, layers, since=since)
    for place in chosen:
        set_trainable(place.module, True)
        for around in place.models:
            around._trainable = True  # of itself; its other layers keep theirs
    return [place.path for place in chosen]


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


def _chosen(
    model: Model,
    layers: tuple[LayerName, ...],
    until: LayerName | None = None,
    since: LayerName | None = None,
) -> list[_Place]:
    places = list(_places(model))
    if not layers and until is None and since is None:
        return places
    positions = {position for layer in layers for position in _positions(model, places, layer)}
    if until is not None:
        positions |= set(range(_end(model, places, until)))
    if since is not None:
        positions |= set(range(_start(model, places, since), len(places)))
    return [places[position] for position in sorted(positions)]


def _places(model: Model, above: str = "", around: tuple[Model, ...] = ()) -> Iterator[_Place]:
    """The layers in Keras's order, those of a model within in its place."""
    around = (*around, model)
    for name, key in model._keys.items():
        module, path = model._modules[key], f"{above}{name}"
        if isinstance(module, Model):
            yield from _places(module, f"{path}/", around)
        elif not isinstance(module, Operation):
            yield _Place(path, module, around)


def _positions(model: Model, places: list[_Place], layer: LayerName) -> list[int]:
    """Where the layers stand that a name, pattern or index means."""
    if isinstance(layer, int):
        layer = _path_of(model, layer)
    found = [
        position
        for position, place in enumerate(places)
        if fnmatchcase(place.name, layer)
        or fnmatchcase(place.path, layer)
        or any(fnmatchcase(name, layer) for name in place.path.split("/")[:-1])
    ]
    if not found:
        names = [place.name for place in places]
        raise ValueError(f"{model.name} has no layer {layer!r}.{near_matches(layer, names)}")
    return found


def _path_of(model: Model, index: int) -> str:
    wanted = model.get_layer(index=index)
    return next(name for name, key in model._keys.items() if model._modules[key] is wanted)


def _end(model: Model, places: list[_Place], until: LayerName) -> int:
    """Behind which position a range ends."""
    if isinstance(until, int):
        if not until:
            return 0
        until = _path_of(model, min(until, len(model.layers)) - 1)
    return max(_positions(model, places, until)) + 1


def _start(model: Model, places: list[_Place], since: LayerName) -> int:
    if isinstance(since, int) and since >= len(model.layers):
        return len(places)
    return min(_positions(model, places, since))
