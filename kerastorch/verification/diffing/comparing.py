"""Comparing two models, or two sets of weights, layer by layer."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterator
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ...engine import Model
from .difference import Change, Difference, LayerDifference, ValueChange
from .sides import LayerContent, Place, read_sides

BLOCK = 16 * 2**20  # bytes, of the tensors that are compared at a time


def diff(a: Model | str | PathLike, b: Model | str | PathLike) -> Difference:
    """Compares two models layer by layer: structure, arguments, weights and trainability.

    Args:
        a, b: models, or files that hold whole models (`.keras`, legacy `.h5`, `.safetensors`,
            TensorFlow.js) or weights (`.weights.h5`, legacy `.h5`, `.safetensors`). A file of
            weights is compared with a model's weights, two of them with each other.

    Returns:
        What differs, which prints as a short table. Weights are equal if they are to the bit,
        whatever file holds them. Versions and formats of files are told but do not count; dtype
        policies and what files keep for training are not compared.

    Raises:
        KerasFileError: a file is missing or broken.
        ValueError: a model is not built yet or on the meta device, or two files of weights lie in
            layouts that only a model can tell.
    """
    sides = read_sides(a, b)
    pairing = _pair_by_name(sides.a, sides.b) if sides.matched_by else _pair(sides.a, sides.b)
    paths_in_a = {second.path: first.path for first, second in pairing.pairs}
    moved = None if sides.matched_by else _first_out_of_order(pairing.pairs, sides.b)
    found: dict[str, LayerDifference] = {
        layer.path: LayerDifference(layer.path, None, layer.class_name) for layer in pairing.only_a
    }
    for first, second in pairing.pairs:
        changes = [*_changes(first, second, paths_in_a), *_weight_changes(first, second)]
        if moved and moved[0] is first:
            changes.append(moved[1])
        if changes:
            found[first.path] = _difference(first, second, changes)
    return Difference(
        *sides.sources,
        equal_layers=sum(bool(a.path) and a.path not in found for a, _ in pairing.pairs),
        layers=(
            *(found[layer.path] for layer in sides.a if layer.path in found),
            *(LayerDifference(None, layer.path, layer.class_name) for layer in pairing.only_b),
        ),
        matched_by=sides.matched_by or pairing.matched_by,
        notes=sides.notes,
    )


def _difference(
    a: LayerContent, b: LayerContent, changes: list[Change | ValueChange]
) -> LayerDifference:
    return LayerDifference(
        a.path,
        b.path,
        a.class_name or b.class_name,
        tuple(change for change in changes if isinstance(change, Change)),
        tuple(change for change in changes if isinstance(change, ValueChange)),
    )


# Which layer is which


class _Pairing(NamedTuple):
    pairs: list[tuple[LayerContent, LayerContent]]
    only_a: list[LayerContent]
    only_b: list[LayerContent]
    matched_by: str


def _pair(a: list[LayerContent], b: list[LayerContent]) -> _Pairing:
    """By name if the names agree entirely; else in order if the classes do.

    If neither does, by name, and of the others those that stand behind the same layer and have the
    same class and shapes.
    """
    named = {layer.path: layer for layer in b}
    if named.keys() == {layer.path for layer in a}:
        return _pair_by_name(a, b)
    if [layer.class_name for layer in a] == [layer.class_name for layer in b]:
        return _Pairing(list(zip(a, b, strict=True)), [], [], "in order, as their names differ")
    common = named.keys() & {layer.path for layer in a}
    waiting: dict[tuple, deque[LayerContent]] = defaultdict(deque)
    for place, layer in _uncommon(b, common):
        waiting[place].append(layer)
    found = {path: named[path] for path in common}
    for place, layer in _uncommon(a, common):
        if waiting[place]:
            found[layer.path] = waiting[place].popleft()
    return _pairing(a, b, found, "by name, and renamed ones by their place")


def _pair_by_name(a: list[LayerContent], b: list[LayerContent]) -> _Pairing:
    return _pairing(a, b, {layer.path: layer for layer in b}, "by name")


def _pairing(
    a: list[LayerContent], b: list[LayerContent], found: dict[str, LayerContent], matched_by: str
) -> _Pairing:
    """The pairs of A's layers with those found for their paths."""
    pairs = [(layer, found[layer.path]) for layer in a if layer.path in found]
    taken = {second.path for _, second in pairs}
    return _Pairing(
        pairs,
        [layer for layer in a if layer.path not in found],
        [layer for layer in b if layer.path not in taken],
        matched_by,
    )


def _uncommon(layers: list[LayerContent], common: set[str]) -> Iterator[tuple[tuple, LayerContent]]:
    """The layers whose paths only one side has, each with what tells its counterpart."""
    before = None
    for layer in layers:
        if layer.path in common:
            before = layer.path
        else:
            shapes = tuple(tuple(array.shape) for array in layer.weights.values())
            yield (before, layer.class_name, shapes), layer


def _first_out_of_order(
    pairs: list[tuple[LayerContent, LayerContent]], b: list[LayerContent]
) -> tuple[LayerContent, Change] | None:
    """The first layer that has another place among the layers of both sides in B."""
    layers = [(first, second) for first, second in pairs if first.path]
    paths = {second.path for _, second in layers}
    shared = [layer.path for layer in b if layer.path in paths]
    for number, (first, second) in enumerate(layers):
        if shared[number] != second.path:
            place = shared.index(second.path)
            return first, Change("place among the layers", number + 1, place + 1)
    return None


# What differs in a layer


def _changes(a: LayerContent, b: LayerContent, paths_in_a: dict[str, str]) -> Iterator[Change]:
    """What differs besides the weights, where both sides know it."""
    if a.name != b.name and None not in (a.name, b.name):
        yield Change("name", a.name, b.name)
    if a.class_name != b.class_name and None not in (a.class_name, b.class_name):
        yield Change("class", a.class_name, b.class_name)
    elif a.arguments is not None and b.arguments is not None:
        yield from argument_changes(a.arguments, b.arguments)
    if a.trainable != b.trainable and None not in (a.trainable, b.trainable):
        yield Change("trainable", a.trainable, b.trainable)
    for what, link in a.links.items():
        if what in b.links and _plain(link) != _plain(b.links[what], paths_in_a):
            yield Change(what, _text(link), _text(b.links[what]))


def argument_changes(a: dict[str, Any], b: dict[str, Any]) -> Iterator[Change]:
    """What differs between the arguments of two layers of a class."""
    for name in dict.fromkeys([*a, *b]):
        first, second = _plain(a.get(name)), _plain(b.get(name))
        if first != second:
            yield Change(name, first, second)


def _plain(value: Any, paths_in_a: dict[str, str] | None = None) -> Any:
    """An argument or a structure of places as plain data, places of B under A's paths."""
    if isinstance(value, Place):
        path = value.path if paths_in_a is None else paths_in_a.get(value.path)
        return {"path": path, "call": value.call, "index": value.index}
    if isinstance(value, dict):
        return {key: _plain(item, paths_in_a) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, paths_in_a) for item in value]
    if isinstance(value, np.ndarray | np.generic | Tensor):
        return value.tolist()
    return value if isinstance(value, bool | int | float | str | None) else repr(value)


def _text(structure: Any) -> str:
    """A structure of places in words."""
    if isinstance(structure, dict):
        return ", ".join(f"{key}={_text(item)}" for key, item in structure.items())
    if isinstance(structure, list | tuple):
        return ", ".join(map(_text, structure))
    return str(structure)


# What differs in the weights


def _weight_changes(a: LayerContent, b: LayerContent) -> Iterator[Change | ValueChange]:
    first, second = a.weights, b.weights
    is_alone = a.class_name is b.class_name is None
    if is_alone and first.keys() != second.keys() and len(first) == len(second):
        second = dict(zip(first, second.values(), strict=True))  # formats have names of their own
    for name in dict.fromkeys([*first, *second]):
        if name not in first or name not in second:
            yield Change(name, _shape(first.get(name)), _shape(second.get(name)))
        else:
            yield from _array_changes(name, first[name], second[name])


def _shape(array: Tensor | None) -> Any:
    return "missing" if array is None else tuple(array.shape)


def _array_changes(name: str, a: Tensor, b: Tensor) -> Iterator[Change | ValueChange]:
    if a.shape != b.shape:
        yield Change(f"shape of {name}", _shape(a), _shape(b))
        return
    if a.dtype != b.dtype:
        yield Change(f"type of {name}", *(str(x.dtype).removeprefix("torch.") for x in (a, b)))
    found = _ValueCount()
    for block, other in _blocks(a, b):
        if not _is_equal(block, other):
            found.add(block, other)
    if found.differing:
        yield found.change(name, a)


def _blocks(a: Tensor, b: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Both tensors in blocks, along the axis that takes the longest steps in A's memory."""
    order = sorted(range(a.ndim), key=a.stride, reverse=True)
    a, b = (x.permute(order) if x.ndim else x.reshape(1) for x in (a, b))
    rows = max(1, BLOCK * len(a) // max(1, a.nbytes))
    return zip(a.split(rows), b.split(rows), strict=True)


_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def _bits(x: Tensor) -> Tensor:
    return x.view(_INTEGERS[x.itemsize]) if x.is_floating_point() else x


def _is_equal(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors of one type are equal to the bit."""
    return a.dtype == b.dtype and torch.equal(_bits(a), _bits(b))


class _ValueCount:
    """Adds up what differs in the blocks of an array."""

    def __init__(self):
        self.differing = self.nan_in_a = self.nan_in_b = 0
        self.absolute = 0.0

    def add(self, a: Tensor, b: Tensor) -> None:
        a, b = a.contiguous(), b.contiguous()
        if a.dtype == b.dtype:
            differing = _bits(a) != _bits(b)
        else:
            differing = (a.double() != b.double()) & ~(a.isnan() & b.isnan())
        self.differing += int(differing.count_nonzero())
        distances = a.double() - b
        largest = _largest(distances)
        if math.isnan(largest):
            a_is_nan, b_is_nan = a.isnan(), b.isnan()
            self.nan_in_a += int((a_is_nan & ~b_is_nan).count_nonzero())
            self.nan_in_b += int((b_is_nan & ~a_is_nan).count_nonzero())
            is_equal = a == b  # infinities too
            largest = _largest(distances.masked_fill(a_is_nan | b_is_nan | is_equal, 0.0))
        self.absolute = max(self.absolute, largest)

    def change(self, name: str, a: Tensor) -> ValueChange:
        largest = max(_largest_finite(block) for block, _ in _blocks(a, a))
        of_zeros = math.inf if self.absolute else 0.0
        return ValueChange(
            name,
            tuple(a.shape),
            self.differing,
            self.absolute,
            self.absolute / largest if largest else of_zeros,
            self.nan_in_a,
            self.nan_in_b,
        )


def _largest(x: Tensor) -> float:
    """The largest absolute value, in a fraction of the time of `abs().max()`."""
    return float(torch.linalg.vector_norm(x if x.is_floating_point() else x.double(), math.inf))


def _largest_finite(x: Tensor) -> float:
    largest = _largest(x)
    if math.isfinite(largest):
        return largest
    return _largest(x.masked_fill(~x.isfinite(), 0.0))
