"""Which stored layer belongs to which layer of a model, and which array to which tensor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import count, takewhile
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from kerastorch.applications.registry import older_network
from kerastorch.engine import Layer, Model, Sequential
from kerastorch.engine.layer import is_ours

from .errors import KerasFileError, mismatch
from .keras_1 import arrays_in_keras_2
from .keras_files import KerasFile, StoredArray, StoredLayer
from .report import LoadReport
from .rules import Rule, rules_for


class Assignment(NamedTuple):
    """An array of the file and the tensor of the model that it fills."""

    key: str
    rule: Rule
    array: np.ndarray

    def tensor(self) -> Tensor:
        """The array in the tensor's layout: a view, unless torch does not know its byte order."""
        native = self.array.astype(self.array.dtype.newbyteorder("="), copy=False)
        return self.rule.to_torch(torch.from_numpy(native))


class Pairing(NamedTuple):
    """Layers of a model with the stored layers that fill them, and what is left on both sides."""

    matched_by: str
    pairs: list[tuple[Layer, StoredLayer]]
    missing: list[str]
    unexpected: list[str]
    epsilon: float | None = None


class Match(NamedTuple):
    """What of a file goes where in a model.

    Attributes:
        assignments: an array for each tensor.
        report: what is left on both sides.
        epsilon: that of the batch normalisations that the weights were trained with, where it is
            not the model's.
    """

    assignments: list[Assignment]
    report: LoadReport
    epsilon: float | None = None


def match(
    model: Model, file: KerasFile, name: str, by_name: bool = False, skip_mismatch: bool = False
) -> Match:
    """Assigns the arrays of a file to the tensors of a model.

    Args:
        model: the model.
        file: what the file holds.
        name: the file's name.
        by_name: fill the layers whose names are in the file, whatever else is on either side.
        skip_mismatch: leave layers that do not fit as they are.

    Raises:
        KerasFileError: something is missing, unexpected, or of another shape, and that was not
            allowed; the error lists it.
    """
    found = pair_layers(model, file, by_name)
    prefixes = module_keys(model)
    assignments: list[Assignment] = []
    loaded: list[str] = []
    mismatched: list[str] = []
    for layer, stored in found.pairs:
        rules = rules_for(layer)
        expected = [tuple(rule.to_keras(tensor_of(layer, rule.key)).shape) for rule in rules]
        arrays = arrays_of_today(layer, stored, file)
        given = [array.shape for array in arrays]
        if expected != given:
            mismatched.append(f"{layer.name} {_sizes(expected)} from {stored.name} {_sizes(given)}")
            continue
        loaded.append(layer.name)
        for rule, array in zip(rules, arrays, strict=True):
            assignments.append(Assignment(f"{prefixes[layer]}.{rule.key}", rule, array))
    report = LoadReport(
        model.name, name, found.matched_by, loaded, found.missing, found.unexpected, mismatched
    )
    check(report, by_name, skip_mismatch)
    if found.epsilon is not None:
        report.notes.append(
            f"The weights are of an older network of other names; epsilon is now {found.epsilon}."
        )
    return Match(assignments, report, found.epsilon)


def arrays_of_today(layer: Layer, stored: StoredLayer, file: KerasFile) -> list[np.ndarray]:
    """The arrays of a layer as Keras lays them out since version 2."""
    arrays = [stored_array.array for stored_array in stored.arrays]
    return arrays_in_keras_2(layer, arrays, file.is_keras_1, file.backend)


def check(report: LoadReport, by_name: bool, skip_mismatch: bool) -> None:
    """Raises `KerasFileError` for what was not allowed to be left over."""
    is_partial = by_name or skip_mismatch
    problems = {
        "missing": [] if is_partial else report.missing,
        "unexpected": [] if is_partial else report.unexpected,
        "shapes differ": [] if skip_mismatch else report.mismatched,
    }
    if any(problems.values()):
        raise mismatch(report.model, **problems)


def pair_layers(model: Model, file: KerasFile, by_name: bool) -> Pairing:
    """The layers of a model with those of a file; `match` has the arguments and the errors."""
    if by_name:
        return _pair_layers_of_one_name(model, file)
    return _pair_by_path(model, file) if file.by_path else _pair_by_name_or_order(model, file)


def module_keys(model: nn.Module) -> dict[nn.Module, str]:
    """Each module's key; a shared module's first."""
    return {module: key for key, module in model.named_modules()}


def layers_by_path(model: Model, once: bool = True) -> dict[str, Layer]:
    """The layers that have weights, under the paths that Keras 3's files give them.

    A path is made of class names, numbered in the order of the model's layers; a layer that is used
    in several places is stored in the first, unless it is not to be stored only once.
    """
    return dict(_walk_paths(model, "", set() if once else None))


def _walk_paths(
    model: Model, prefix: str, seen: set[nn.Module] | None
) -> Iterator[tuple[str, Layer]]:
    numbers: Counter = Counter()
    for layer in keras_layers(model):
        name = layer.default_name
        path = (
            f"{prefix}layers/{name}_{numbers[name]}" if numbers[name] else f"{prefix}layers/{name}"
        )
        numbers[name] += 1
        if seen is not None:
            if layer in seen:
                continue
            seen.add(layer)
        if isinstance(layer, Model):
            yield from _walk_paths(layer, f"{path}/", seen)
        elif rules_for(layer):
            yield path, layer


def places_by_path(layer: Layer, path: str) -> list[tuple[str, int]]:
    """Where each array of a layer lies in Keras 3's files: the path and the number there.

    Layers within a user's own have the attributes that hold them in their paths.
    """
    within: dict[str, tuple[str, int]] = {}
    for name, child in layer.named_children() if not is_ours(type(layer)) else ():
        if isinstance(child, Layer):
            places = places_by_path(child, f"{path}/{name}")
            keys = [f"{name}.{rule.key}" for rule in rules_for(child)]
            within.update(zip(keys, places, strict=True))
    numbers = count()
    return [within.get(rule.key) or (path, next(numbers)) for rule in rules_for(layer)]


def _pair_by_path(model: Model, file: KerasFile) -> Pairing:
    stored = {layer.name: layer for layer in file.layers}
    found = Pairing("path", [], [], [])
    used: set[str] = set()
    for path, layer in layers_by_path(model).items():
        places = places_by_path(layer, path)
        paths = {place for place, _ in places}
        used |= paths
        if not paths <= stored.keys():
            found.missing.append(f"{layer.name} ({path})")
        elif paths == {path}:
            found.pairs.append((layer, stored[path]))
        else:
            found.pairs.append((layer, _joined(path, places, stored)))
    return found._replace(unexpected=[path for path in stored if path not in used])


def _joined(
    path: str, places: list[tuple[str, int]], stored: dict[str, StoredLayer]
) -> StoredLayer:
    """The arrays of a layer and of those within it as one."""
    arrays = [stored[place].arrays[number:][:1] for place, number in places]
    return StoredLayer(path, tuple(array for some in arrays for array in some))


def _pair_by_name_or_order(model: Model, file: KerasFile) -> Pairing:
    """By name if the names agree entirely, else in Keras's order, each shape to be checked."""
    layers = [layer for layer in keras_layers(model) if _has_weights(layer)]
    names, stored_names = [x.name for x in layers], [x.name for x in file.layers]
    if set(names) == set(stored_names):
        stored = {layer.name: layer for layer in file.layers}
        return _open_nested("name", [(layer, stored[layer.name]) for layer in layers])
    older = older_network(stored_names)
    if older is not None:
        renamed = {older.name_today(layer.name): layer for layer in file.layers}
        if set(names) == set(renamed):
            pairs = [(layer, renamed[layer.name]) for layer in layers]
            return _open_nested("name", pairs)._replace(epsilon=older.epsilon)
    leaves = {layer.name: layer for layer in leaves_by_place(model).values()}
    if set(leaves) == set(stored_names):  # Keras 1 stored the layers of models within one by one.
        return Pairing("name", [(leaves[layer.name], layer) for layer in file.layers], [], [])
    if len(layers) == len(file.layers):
        return _open_nested("order", list(zip(layers, file.layers, strict=True)))
    raise mismatch(
        model.name,
        missing=[name for name in names if name not in stored_names],
        unexpected=[name for name in stored_names if name not in names],
    )


def _pair_layers_of_one_name(model: Model, file: KerasFile) -> Pairing:
    """The layers that stand under the same name on both sides, as Keras's `by_name=True`."""
    if file.by_path:
        layers = _by_name(leaves_by_place(model).values())
        stored = _by_name(file.layers, "layer_name")
        if None in stored:
            raise KerasFileError(
                "The file does not tell the names of its layers; it can be loaded only as a whole."
            )
    else:
        layers = _by_name(layer for layer in keras_layers(model) if _has_weights(layer))
        stored = _by_name(file.layers)
    both = [(layer, stored[name]) for name, layer in layers.items() if name in stored]
    found = _open_nested("name", both)
    return found._replace(
        missing=found.missing + [name for name in layers if name not in stored],
        unexpected=found.unexpected + [name for name in stored if name not in layers],
    )


def _by_name(layers: Iterable, attribute: str = "name") -> dict:
    named: dict = {}
    for layer in layers:
        name = getattr(layer, attribute)
        if name in named:
            raise KerasFileError(f"Two layers are named {name!r}: they cannot be told by name.")
        named[name] = layer
    return named


def _open_nested(matched_by: str, pairs: list[tuple[Layer, StoredLayer]]) -> Pairing:
    """The pairs with those of nested models in the place of the models."""
    opened = Pairing(matched_by, [], [], [])
    for layer, stored in pairs:
        if not isinstance(layer, Model):
            opened.pairs.append((layer, stored))
            continue
        nested = _match_nested(layer, stored)
        if nested.matched_by == "order":
            opened = opened._replace(matched_by="order")
        opened.pairs.extend(nested.pairs)
        opened.missing.extend(f"{layer.name}/{name}" for name in nested.missing)
        opened.unexpected.extend(f"{stored.name}/{name}" for name in nested.unexpected)
    return opened


def _match_nested(model: Model, stored: StoredLayer) -> Pairing:
    """By name if the names agree entirely, else in Keras's order where there are as many layers."""
    layers, parts = leaves_by_place(model), _parts_of(stored)
    named = _parts_by_place(stored, layers, parts)
    if named.keys() != layers.keys() and len(parts) == len(layers):
        ordered = dict.fromkeys(layer for _, layer, _ in in_legacy_order(model))
        return Pairing("order", list(zip(ordered, parts.values(), strict=True)), [], [])
    return Pairing(
        "name",
        [(layer, named[place]) for place, layer in layers.items() if place in named],
        [place for place in layers if place not in named],
        [place for place in named if place not in layers],
    )


def _parts_of(stored: StoredLayer) -> dict[str, StoredLayer]:
    """The layers of a stored model, under what their arrays' names say, in Keras's order.

    A nested model's arrays lie in one group, trainable ones first, named `layer/variable`. Where
    Keras made the layer in a Sequential, the names of the models around it come first.
    """
    arrays: dict[str, list[StoredArray]] = {}
    for array in stored.arrays:
        place = array.name.split(f"{stored.name}/", 1)[1].rpartition("/")[0]
        arrays.setdefault(place, []).append(array)
    return _named_parts(stored, arrays)


def _named_parts(
    stored: StoredLayer, arrays: dict[str, list[StoredArray]]
) -> dict[str, StoredLayer]:
    return {
        place: StoredLayer(f"{stored.name}/{place}", tuple(some)) for place, some in arrays.items()
    }


def _parts_by_place(
    stored: StoredLayer, layers: dict[str, Layer], parts: dict[str, StoredLayer]
) -> dict[str, StoredLayer]:
    """The layers of a stored model, under the places of those of a model that have their names."""
    places: dict[str, list[str]] = {}
    for place, layer in layers.items():
        places.setdefault(layer.name, []).append(place)
    arrays: dict[str, list[StoredArray]] = {}
    for name, part in parts.items():
        arrays.setdefault(_place_of_layer(name, places), []).extend(part.arrays)
    return _named_parts(stored, arrays)


def in_legacy_order(layer: Layer, once: bool = True) -> list[tuple[str, Layer, Rule]]:
    """Each array of a layer, or of those within a model, with its layer and that layer's place.

    As in legacy files, those that are trained come first. `once` is that of `leaves_by_place`.
    """
    parts = leaves_by_place(layer, once) if isinstance(layer, Model) else {layer.name: layer}
    found = [(place, part, rule) for place, part in parts.items() for rule in rules_for(part)]
    if layer.trainable or isinstance(layer, Sequential):  # whose own mode Keras does not restore
        found.sort(key=lambda entry: not _is_trained(*entry[1:]))
    return found


def _is_trained(layer: Layer, rule: Rule) -> bool:
    return layer.trainable and isinstance(tensor_of(layer, rule.key), nn.Parameter)


def leaves_by_place(model: Model, once: bool = True) -> dict[str, Layer]:
    """The layers within that have weights, under the names of the models around them and theirs.

    A layer in several places stands at the first, unless it is not to stand only once.
    """
    leaves: dict[str, Layer] = {}
    for place, layer in _walk_places(model, ""):
        if leaves.setdefault(place, layer) is not layer:
            raise KerasFileError(f"Two layers stand at {place!r}: they cannot be told by name.")
    if not once:
        return leaves
    first_places: dict[Layer, str] = {}
    for place, layer in leaves.items():
        first_places.setdefault(layer, place)
    return {place: layer for layer, place in first_places.items()}


def _walk_places(model: Model, prefix: str) -> Iterator[tuple[str, Layer]]:
    for layer in keras_layers(model):
        if isinstance(layer, Model):
            yield from _walk_places(layer, f"{prefix}{layer.name}/")
        elif rules_for(layer):
            yield f"{prefix}{layer.name}", layer


def _place_of_layer(stored: str, places: dict[str, list[str]]) -> str:
    """The place that a stored name stands for, or the stored name if there is none.

    The layer's name is its end, and may contain `/`. Of several layers of this name it is the one
    whose place has the longest end in common with it.
    """
    parts = stored.split("/")
    ends = ["/".join(parts[start:]) for start in range(len(parts))]
    name = next((end for end in ends if end in places), None)
    if name is None:
        return stored
    best, *others = sorted(places[name], key=lambda place: _common_end(place, stored), reverse=True)
    if others and _common_end(best, stored) == _common_end(others[0], stored):
        raise KerasFileError(f"Several layers may be the stored {stored!r}.")
    return best


def _common_end(place: str, other: str) -> int:
    pairs = zip(reversed(place.split("/")), reversed(other.split("/")), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def keras_layers(model: Model) -> Iterator[Layer]:
    for layer in model.layers:
        if not isinstance(layer, Layer):
            raise KerasFileError(
                f"{model.name!r} has a {type(layer).__name__} in the place of a layer: "
                "load Keras weights before you replace layers."
            )
        yield layer


def _has_weights(layer: Layer) -> bool:
    return bool(leaves_by_place(layer) if isinstance(layer, Model) else rules_for(layer))


def tensor_of(layer: Layer, key: str) -> Tensor:
    module, _, name = key.rpartition(".")
    return getattr(layer.get_submodule(module), name)


def _sizes(shapes: list[tuple[int, ...]]) -> str:
    return " ".join("x".join(map(str, shape)) or "scalar" for shape in shapes)
