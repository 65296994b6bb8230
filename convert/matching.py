"""Which stored layer belongs to which layer of a model, and which array to which tensor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator
from typing import NamedTuple

import h5py
from torch import Tensor, nn

from kerastorch.engine import Layer, Model

from .errors import WeightsError, mismatch
from .keras_files import KerasFile, StoredLayer
from .rules import Rule, rules_for


class Assignment(NamedTuple):
    """An array of the file and the tensor of the model that it fills."""

    key: str
    rule: Rule
    array: h5py.Dataset


def match(model: Model, file: KerasFile, file_name: str) -> list[Assignment]:
    """Assigns every array of the file to a tensor of the model.

    Raises:
        WeightsError: something is missing, unexpected, or of another shape; the error lists it.
    """
    pairs = (
        _match_by_path(model, file, file_name)
        if file.by_path
        else _match_by_name(model, file, file_name)
    )
    prefixes = module_keys(model)
    assignments: list[Assignment] = []
    mismatched: list[str] = []
    for layer, stored in pairs:
        rules = rules_for(layer)
        expected = [tuple(rule.to_keras(_tensor(layer, rule.key)).shape) for rule in rules]
        given = [array.shape for array in stored.arrays]
        if expected != given:
            mismatched.append(f"{layer.name} {_sizes(expected)} from {stored.name} {_sizes(given)}")
            continue
        prefix = prefixes[layer]
        for rule, array in zip(rules, stored.arrays, strict=True):
            assignments.append(Assignment(f"{prefix}.{rule.key}", rule, array))
    if mismatched:
        raise mismatch(model.name, file_name, **{"shapes differ": mismatched})
    return assignments


def module_keys(model: nn.Module) -> dict[nn.Module, str]:
    """Each module's key; a shared module's first."""
    return {module: key for key, module in model.named_modules()}


def layers_by_path(model: Model) -> dict[str, Layer]:
    """The layers that have weights, under the paths that Keras 3's files give them.

    A path is made of class names, numbered in the order of the model's layers; a layer that is used
    in several places is stored in the first.
    """
    return dict(_walk_paths(model, "", set()))


def _walk_paths(model: Model, prefix: str, seen: set[nn.Module]) -> Iterator[tuple[str, Layer]]:
    numbers: Counter = Counter()
    for layer in _keras_layers(model):
        name = layer.default_name
        path = (
            f"{prefix}layers/{name}_{numbers[name]}" if numbers[name] else f"{prefix}layers/{name}"
        )
        numbers[name] += 1
        if layer in seen:
            continue
        seen.add(layer)
        if isinstance(layer, Model):
            yield from _walk_paths(layer, f"{path}/", seen)
        elif rules_for(layer):
            yield path, layer


def _match_by_path(
    model: Model, file: KerasFile, file_name: str
) -> list[tuple[Layer, StoredLayer]]:
    layers = layers_by_path(model)
    stored = {layer.name: layer for layer in file.layers}
    missing = [f"{layer.name} ({path})" for path, layer in layers.items() if path not in stored]
    unexpected = [path for path in stored if path not in layers]
    if missing or unexpected:
        raise mismatch(model.name, file_name, missing=missing, unexpected=unexpected)
    return [(layer, stored[path]) for path, layer in layers.items()]


def _match_by_name(
    model: Model, file: KerasFile, file_name: str
) -> list[tuple[Layer, StoredLayer]]:
    """By name if the names agree entirely, else in Keras's order, each shape to be checked."""
    layers = [layer for layer in _keras_layers(model) if _has_weights(layer)]
    names, stored_names = [x.name for x in layers], [x.name for x in file.layers]
    if set(names) == set(stored_names):
        stored = {layer.name: layer for layer in file.layers}
        pairs = [(layer, stored[layer.name]) for layer in layers]
    elif len(layers) == len(file.layers):
        pairs = list(zip(layers, file.layers, strict=True))
    else:
        raise mismatch(
            model.name,
            file_name,
            missing=[name for name in names if name not in stored_names],
            unexpected=[name for name in stored_names if name not in names],
        )
    return [
        inner
        for layer, stored in pairs
        for inner in (
            _match_nested(layer, stored, file_name)
            if isinstance(layer, Model)
            else [(layer, stored)]
        )
    ]


def _match_nested(
    model: Model, stored: StoredLayer, file_name: str
) -> list[tuple[Layer, StoredLayer]]:
    """A nested model's arrays lie in one group, trainable ones first, named `layer/variable`.

    Where Keras made the layer in a Sequential, the names of the models around it come first.
    """
    layers = {layer.name: layer for layer in _leaves(model)}
    arrays: dict[str, list[h5py.Dataset]] = {}
    for array in stored.arrays:
        place = array.name.split(f"/{stored.name}/", 1)[1].rpartition("/")[0]
        arrays.setdefault(_last_name(place, layers), []).append(array)
    if set(layers) != set(arrays):
        raise mismatch(
            model.name,
            file_name,
            missing=[name for name in layers if name not in arrays],
            unexpected=[name for name in arrays if name not in layers],
        )
    return [
        (layer, StoredLayer(f"{stored.name}/{name}", tuple(arrays[name])))
        for name, layer in layers.items()
    ]


def _last_name(place: str, known: Container[str]) -> str:
    """The layer's name at the end of a place; names of models come first, and some contain `/`."""
    parts = place.split("/")
    ends = ["/".join(parts[start:]) for start in range(len(parts))]
    return next((end for end in ends if end in known), place)


def _keras_layers(model: Model) -> Iterator[Layer]:
    for layer in model.layers:
        if not isinstance(layer, Layer):
            raise WeightsError(
                f"{model.name!r} has a {type(layer).__name__} in the place of a layer: "
                "load Keras weights before you replace layers."
            )
        yield layer


def _leaves(model: Model) -> Iterator[Layer]:
    """The layers within that have weights, also those of models within."""
    for layer in _keras_layers(model):
        if isinstance(layer, Model):
            yield from _leaves(layer)
        elif rules_for(layer):
            yield layer


def _has_weights(layer: Layer) -> bool:
    return any(True for _ in _leaves(layer)) if isinstance(layer, Model) else bool(rules_for(layer))


def _tensor(layer: Layer, key: str) -> Tensor:
    module, _, name = key.rpartition(".")
    return getattr(layer.get_submodule(module), name)


def _sizes(shapes: list[tuple[int, ...]]) -> str:
    return " ".join("x".join(map(str, shape)) or "scalar" for shape in shapes)
