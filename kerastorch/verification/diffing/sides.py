"""The two sides of a comparison as plain layers, whatever holds them: a model, or a file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ...convert.errors import KerasFileError, reading, shorten
from ...convert.keras_files import KerasFile, StoredLayer, is_sharded
from ...convert.loading import open_unfilled, read_file, sha256_of
from ...convert.matching import arrays_of_today, module_keys, pair_layers
from ...convert.rules import Rule, rules_for
from ...convert.safetensors_files import read_header, read_tensors
from ...convert.tensorflowjs_files import is_tensorflowjs
from ...engine import InputLayer, Layer, Model, Operation, Sequential
from ...engine.layer import keras_class, stored_tensors
from ...engine.layout import keras_axes
from ...engine.structure import flatten, map_structure
from .difference import Source


@dataclass(frozen=True, eq=False)
class LayerContent:
    """What is known of a layer.

    Attributes:
        path: its name behind those of the models it stands in; "" for the whole model.
        name: its name, None where a file goes by paths and does not tell it.
        weights: its arrays by name, in Keras's layout.
        class_name, arguments, trainable: None where they are not known, or do not count.
        links: what it is called on and the like, in structures whose leaves are `Place`s and plain
            values.
    """

    path: str
    name: str | None
    weights: dict[str, Tensor]
    class_name: str | None = None
    arguments: dict[str, Any] | None = None
    trainable: bool | None = None
    links: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """A result within a model: which layer's, of which of its calls, and which of the results."""

    path: str
    call: int
    index: int

    def __str__(self) -> str:
        call = f" (call {self.call + 1})" if self.call else ""
        result = f" (result {self.index + 1})" if self.index else ""
        return f"{self.path}{call}{result}"


class Sides(NamedTuple):
    """Both sides of a comparison.

    Attributes:
        sources: what was compared.
        a, b: the layers, of which both sides tell the same.
        matched_by: how the layers are matched, whose paths then say it; None where that is still
            to be done, by paths and order.
        notes: sentences on what could not be compared.
    """

    sources: tuple[Source, Source]
    a: list[LayerContent]
    b: list[LayerContent]
    matched_by: str | None = None
    notes: tuple[str, ...] = ()


def read_sides(a: Model | str | PathLike, b: Model | str | PathLike) -> Sides:
    """The layers of two models, or of files.

    Nothing is copied: the weights of a file are views of it.

    Raises:
        KerasFileError: a file is missing or broken, or holds weights that cannot be compared with
            the other's.
        ValueError: a model is not built yet, or has no values.
    """
    opened = _open(a), _open(b)
    sources = opened[0].source, opened[1].source
    contents = [
        None if side.model is None else list(_layers_of_model(side.model, side.weights))
        for side in opened
    ]
    if None not in contents:
        return Sides(sources, *contents, notes=_unknown_arguments(contents))
    if contents == [None, None]:
        return _sides_of_weights(*opened)
    known = contents.index(None) ^ 1
    with_weights = [_weights_of(layer) for layer in contents[known] if layer.weights]
    fitted, matched_by = _layers_on_model(opened[known ^ 1], opened[known].model)
    both = [with_weights, fitted] if known == 0 else [fitted, with_weights]
    note = f"{sources[known ^ 1].name} holds only weights: nothing else is compared."
    return Sides(sources, *both, matched_by=matched_by, notes=(note,))


# Opening


@dataclass(frozen=True, eq=False)
class _Opened:
    """A model and its weights by their keys; or, without the model, `file`, else the weights."""

    source: Source
    model: Model | None
    weights: dict[str, Tensor]
    file: KerasFile | None = None


def _open(source: Model | str | PathLike) -> _Opened:
    if not isinstance(source, Model):
        path = Path(source)
        with reading(path), ThreadPoolExecutor(1) as hashing:
            sha256 = hashing.submit(sha256_of, path)  # while the file is parsed
            return _open_file(path, sha256)
    if not source.built:
        raise ValueError(f"{source.name!r} is not built yet: give it an Input, or call it once.")
    weights = stored_tensors(source)
    if any(tensor.is_meta for tensor in weights.values()):
        raise ValueError(f"{source.name!r} is on the meta device: its weights have no values.")
    weights = {key: tensor.detach().cpu() for key, tensor in weights.items()}
    return _Opened(Source(source.name, "memory"), source, weights)


def _open_file(path: Path, sha256: Any) -> _Opened:
    file = read_file(path)
    header = read_header(path) if file is None else None
    holds_model = header is not None if file is None else file.model_config is not None
    if holds_model:
        model, weights = open_unfilled(path, file)
    else:
        model, weights = None, read_tensors(path) if file is None else {}
    converted_from = header["source"] if header else None
    source = Source(
        path.name,
        _format(path, file),
        holds_model,
        file.keras_version if file else None,
        file.backend if file else None,
        sha256.result(),
        converted_from if isinstance(converted_from, dict) else None,
    )
    return _Opened(source, model, weights, file)


def _format(path: Path, file: KerasFile | None) -> str:
    if file is None:
        return "safetensors"
    if is_tensorflowjs(path) and not is_sharded(path):
        return "tensorflowjs"
    if not file.by_path:
        return "h5"
    return "weights.h5" if file.model_config is None else "keras"


# Models


class _Walked(NamedTuple):
    """A layer where it stands in a model."""

    path: str
    name: str
    layer: nn.Module
    links: dict[str, Any]


def _layers_of_model(model: Model, weights: dict[str, Tensor]) -> Iterator[LayerContent]:
    """The model, and its layers and operations in Keras's order, those of models within too."""
    keys = module_keys(model)
    for path, name, layer, links in _walk(model):
        arrays = {} if isinstance(layer, Model) else _arrays(layer, keys[layer], weights)
        yield LayerContent(
            path,
            name,
            arrays,
            keras_class(type(layer)).__name__,
            _arguments(layer),
            _is_trainable(layer) if arrays else None,
            links,
        )


def _walk(model: Model) -> Iterator[_Walked]:
    yield _Walked("", "", model, _ends(model, ""))
    yield from _walk_within(model, "")


def _walk_within(model: Model, prefix: str) -> Iterator[_Walked]:
    calls = {} if isinstance(model, Sequential) else _calls(model, prefix)
    for name, key in model._keys.items():
        layer, path = model._modules[key], f"{prefix}{name}"
        if isinstance(model, Sequential) and isinstance(layer, InputLayer):
            continue  # Keras does not count it; the model's input shape tells of it
        links = {"inputs": calls[key]} if key in calls else {}
        if isinstance(layer, Model):
            yield _Walked(path, name, layer, links | _ends(layer, f"{path}/"))
            yield from _walk_within(layer, f"{path}/")
        else:
            yield _Walked(path, name, layer, links)


def _calls(model: Model, prefix: str) -> dict[str, list]:
    """What each child is called on, by its key: a list for each call."""
    places = _places(model, prefix)
    calls = defaultdict(list)
    for step in model._plan.steps:
        module = model._modules[step.key]
        arguments = [map_structure(places.__getitem__, slots) for slots in step.arguments]
        if isinstance(module, Operation):
            arguments = module.keras_arguments(arguments)
        options = step.options | ({} if step.training is None else {"training": step.training})
        calls[step.key].append([*arguments, options] if options else arguments)
    return calls


def _places(model: Model, prefix: str) -> dict[int, Place]:
    """Where the value in each slot of a model's plan comes from."""
    paths = {key: f"{prefix}{name}" for name, key in model._keys.items()}
    places = {slot: Place(paths[key], 0, 0) for key, slot in model._plan.sources}
    numbers: dict[str, int] = defaultdict(int)
    for step in model._plan.steps:
        for index, slot in enumerate(step.outputs):
            places[slot] = Place(paths[step.key], numbers[step.key], index)
        numbers[step.key] += 1
    return places


def _ends(model: Model, prefix: str) -> dict[str, Any]:
    """Where values enter and leave a model, or what a Sequential calls one after another."""
    places, plan = _places(model, prefix), model._plan
    if isinstance(model, Sequential):
        return {"the model's layers": [places[step.outputs[0]] for step in plan.steps]}
    ends = {"the model's inputs": plan.inputs, "the model's outputs": plan.outputs}
    return {
        what: map_structure(places.__getitem__, slots[0] if _is_list_of_one(slots) else slots)
        for what, slots in ends.items()
    }


def _is_list_of_one(structure: Any) -> bool:
    """Keras takes it for its item, and some writers write it as such."""
    return isinstance(structure, list) and len(structure) == 1


def _rules(layer: nn.Module) -> list[Rule]:
    """The rules of a layer, also of a module that has been put in the place of one."""
    if isinstance(layer, Layer):
        return rules_for(layer)
    return [Rule(key, key, lambda x: x, lambda x: x) for key in stored_tensors(layer)]


def _arrays(layer: nn.Module, key: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The arrays of a layer among a model's weights."""
    arrays = {}
    for rule in _rules(layer):
        tensor = weights.get(f"{key}.{rule.key}")
        if tensor is not None:
            arrays[rule.name] = _in_keras_layout(tensor, rule)
    return arrays


def _in_keras_layout(tensor: Tensor, rule: Rule) -> Tensor:
    try:
        return rule.to_keras(tensor)
    except (RuntimeError, IndexError):  # of a shape that such an array does not have
        return tensor


def _arguments(layer: nn.Module) -> dict[str, Any] | None:
    """The arguments of a layer's class; None for one that does not tell them."""
    if isinstance(layer, Sequential):
        return {"data_format": layer.data_format, "input_shape": layer.input_shape}
    if isinstance(layer, Model):
        return {"data_format": layer.data_format}
    if not isinstance(layer, Layer):
        return None
    try:
        config = layer.get_config()
    except AttributeError:  # a user's class that does not keep them
        return None
    arguments = {key: value for key, value in config.items() if key not in ("name", "trainable")}
    if arguments.get("axis") is not None and layer._nodes:
        arguments["axis"] = _from_the_first(arguments["axis"], flatten(layer.input)[0].ndim)
    return arguments


def _from_the_first(axis: Any, rank: int) -> Any:
    """Axes counted from the first, as writers count them from either end."""
    try:
        return keras_axes(axis, rank)
    except (TypeError, ValueError):  # a user's class means something else by it
        return axis


def _is_trainable(layer: nn.Module) -> bool:
    if isinstance(layer, Layer):
        return layer.trainable
    return any(parameter.requires_grad for parameter in layer.parameters())


def _unknown_arguments(contents: Iterable[list[LayerContent]]) -> tuple[str, ...]:
    paths = [layer.path for side in contents for layer in side if layer.arguments is None]
    if not paths:
        return ()
    return (f"Layers that do not tell their arguments: {shorten(list(dict.fromkeys(paths)))}.",)


# Weights on a model


def _weights_of(layer: LayerContent) -> LayerContent:
    """The layer without what a file of weights does not know."""
    return LayerContent(layer.path, layer.name, layer.weights, layer.class_name)


def _layers_on_model(opened: _Opened, model: Model) -> tuple[list[LayerContent], str]:
    """The layers of a file of weights, under the paths of the model's, and how they were matched.

    Layers that the model does not have come last.
    """
    walked = [layer for layer in _walk(model) if not isinstance(layer.layer, Model)]
    if opened.file is None:
        return _tensors_on_model(opened.weights, model, walked), "by key"
    places = {layer.layer: layer for layer in reversed(walked)}  # a shared one's first
    try:
        found = pair_layers(model, opened.file, by_name=False)
    except KerasFileError:  # neither names nor the number of layers agree
        found = pair_layers(model, opened.file, by_name=True)
    contents = []
    for layer, stored in found.pairs:
        arrays = map(_tensor, arrays_of_today(layer, stored, opened.file))
        names = [rule.name for rule in rules_for(layer)]
        path, name = places[layer].path, places[layer].name
        contents.append(LayerContent(path, name, _named(names, arrays)))
    others = [LayerContent(name, name, {}) for name in found.unexpected]
    matched_by = f"by {found.matched_by}"
    if found.epsilon is not None:
        matched_by += f", as those of an older network, whose epsilon was {found.epsilon}"
    return [*contents, *others], matched_by


def _tensors_on_model(
    tensors: dict[str, Tensor], model: Model, walked: list[_Walked]
) -> list[LayerContent]:
    keys = module_keys(model)
    others, contents = dict(tensors), []
    for path, name, layer, _ in walked:
        arrays = _arrays(layer, keys[layer], tensors)
        if arrays:
            contents.append(LayerContent(path, name, arrays))
        for rule in _rules(layer):
            others.pop(f"{keys[layer]}.{rule.key}", None)
    return [*contents, *_layers_of_tensors(others)]


def _named(names: list[str], arrays: Iterable[Tensor]) -> dict[str, Tensor]:
    """The arrays by name, by number where there are more of them than names."""
    named = {}
    for number, array in enumerate(arrays):
        named[names[number] if number < len(names) else f"array {number + 1}"] = array
    return named


def _tensor(array: np.ndarray) -> Tensor:
    """A view, unless torch does not know the array's byte order."""
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))


# Weights alone


def _sides_of_weights(a: _Opened, b: _Opened) -> Sides:
    """The stored layers of two files of weights. Only legacy files have them in Keras's order."""
    sources = a.source, b.source
    if a.file is None and b.file is None:
        sides = _layers_of_tensors(a.weights), _layers_of_tensors(b.weights)
        return Sides(sources, *sides, matched_by="by key")
    if a.file is None or b.file is None:
        raise ValueError(
            "Weights in the layouts of Keras and of torch can be compared only if one of the files "
            "holds a whole model."
        )
    sides = [[part for layer in x.file.layers for part in _parts(layer, x.file)] for x in (a, b)]
    if a.file.by_path and b.file.by_path:
        return Sides(sources, *sides, matched_by="by path")
    if a.file.by_path or b.file.by_path:
        named = map(_under_their_names, sides, sources)
        return Sides(sources, *named, matched_by="by name")
    return Sides(sources, *sides)


def _under_their_names(layers: list[LayerContent], source: Source) -> list[LayerContent]:
    """The layers with their names for paths, as formats differ in these."""
    names = [layer.name for layer in layers]
    if None in names or len(set(names)) < len(names):
        raise ValueError(
            f"{source.name} does not tell its layers' names, or has a name twice: it can be "
            "compared with a file of another format only if one of them holds a whole model."
        )
    return [replace(layer, path=layer.name) for layer in layers]


def _layers_of_tensors(tensors: dict[str, Tensor]) -> list[LayerContent]:
    layers: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for key, tensor in tensors.items():
        path, _, name = key.rpartition(".")
        layers[path][name] = tensor
    return [LayerContent(path, path, weights) for path, weights in layers.items()]


def _parts(layer: StoredLayer, file: KerasFile) -> Iterator[LayerContent]:
    """A stored layer, or those of the nested model that it is in a legacy file."""
    if file.by_path:
        arrays = (_tensor(stored.array) for stored in layer.arrays)
        yield LayerContent(layer.name, layer.layer_name, _named([], arrays))
        return
    parts: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for stored in layer.arrays:
        place, _, name = stored.name.split(f"{layer.name}/", 1)[1].rpartition("/")
        part, name = parts[place.removeprefix(f"{layer.name}/")], name.removesuffix(":0")
        while name in part:  # layers of one name in several models within
            name += "'"
        part[name] = _tensor(stored.array)
    for place, weights in parts.items():
        if place in ("", layer.name):
            yield LayerContent(layer.name, layer.name, weights)
        else:
            yield LayerContent(f"{layer.name}/{place}", place.rpartition("/")[2], weights)
