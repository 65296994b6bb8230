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
        path: its name with those of the models around it.
        key: its key in `named_modules`.
        module: the layer, or the module that has taken its place.
        models: the models around it, the outermost first.
    """

    path: str
    key: str
    module: nn.Module
    models: tuple[Model, ...]

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


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
    model: Model, above: str = "", prefix: str = "", around: tuple[Model, ...] = ()
) -> Iterator[Place]:
    """The layers in Keras's order, those of a model within in its place."""
    around = (*around, model)
    for name, key in model._keys.items():
        module, path, key = model._modules[key], f"{above}{name}", f"{prefix}{key}"
        if isinstance(module, Model):
            yield from _places(module, f"{path}/", f"{key}.", around)
        elif not isinstance(module, Operation):
            yield Place(path, key, module, around)


def _positions(model: Model, places: list[Place], layer: LayerName) -> list[int]:
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


def _end(model: Model, places: list[Place], until: LayerName) -> int:
    """Behind which position a range ends."""
    if isinstance(until, int):
        if not until:
            return 0
        until = _path_of(model, min(until, len(model.layers)) - 1)
    return max(_positions(model, places, until)) + 1


def _start(model: Model, places: list[Place], since: LayerName) -> int:
    if isinstance(since, int) and since >= len(model.layers):
        return len(places)
    return min(_positions(model, places, since))
