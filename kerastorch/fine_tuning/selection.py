"""Layers by name, path, pattern and index, in a model and in the models within it."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple

from torch import nn

from ..engine import Model, Operation
from ..engine.naming import near_matches

LayerName = str | int


class Place(NamedTuple):
    """A layer and where it stands.

    Attributes:
        names: those of the models around it, the outermost first, and its own.
        key: its key in `named_modules`.
        module: the layer, or the module that has taken its place.
        models: the models around it, the outermost first.
    """

    names: tuple[str, ...]
    key: str
    module: nn.Module
    models: tuple[Model, ...]

    @property
    def name(self) -> str:
        return self.names[-1]

    @property
    def path(self) -> str:
        return "/".join(self.names)


def chosen_places(
    model: Model,
    layers: tuple[LayerName, ...],
    until: LayerName | None = None,
    since: LayerName | None = None,
) -> list[Place]:
    """The layers that names, patterns and indices and the ends of ranges mean, in Keras's order.

    All layers where nothing is given; see `freeze` and `unfreeze`.

    Raises:
        ValueError: the model has no such layer.
    """
    places = list(_places(model))
    if not layers and until is None and since is None:
        return places
    positions = {position for layer in layers for position in _positions(model, places, layer)}
    if until is not None:
        positions |= set(range(_end(model, places, until)))
    if since is not None:
        positions |= set(range(_start(model, places, since), len(places)))
    return [places[position] for position in sorted(positions)]


def _places(
    model: Model, above: tuple[str, ...] = (), prefix: str = "", around: tuple[Model, ...] = ()
) -> Iterator[Place]:
    """The layers in Keras's order, those of a model within in its place."""
    around = (*around, model)
    for name, key in model._keys.items():
        module, names, key = model._modules[key], (*above, name), f"{prefix}{key}"
        if isinstance(module, Model):
            yield from _places(module, names, f"{key}.", around)
        elif not isinstance(module, Operation):
            yield Place(names, key, module, around)


def _positions(model: Model, places: list[Place], layer: LayerName) -> list[int]:
    """Where the layers stand that a name, pattern or index means."""
    if isinstance(layer, int):
        outermost = _name_at(model, layer)
        return [i for i, place in enumerate(places) if place.names[0] == outermost]
    found = [
        position
        for position, place in enumerate(places)
        if any(fnmatchcase(name, layer) for name in (*place.names, place.path))
    ]
    if not found:
        names = [place.name for place in places]
        raise ValueError(f"{model.name} has no layer {layer!r}.{near_matches(layer, names)}")
    return found


def _name_at(model: Model, index: int) -> str:
    wanted = model.get_layer(index=index)
    return next(name for name, key in model._keys.items() if model._modules[key] is wanted)


def _end(model: Model, places: list[Place], until: LayerName) -> int:
    """Behind which position a range ends."""
    if isinstance(until, int):
        if not until:
            return 0
        until = min(until, len(model.layers)) - 1
    return max(_positions(model, places, until)) + 1


def _start(model: Model, places: list[Place], since: LayerName) -> int:
    if isinstance(since, int) and since >= len(model.layers):
        return len(places)
    return min(_positions(model, places, since))
