"""Which application a model is, or has in it."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

import torch

from ..config import data_format_scope
from ..engine import Model
from .registry import ModelRecord, get_record, list_models


def mark_application(model: Model, name: str) -> None:
    """Notes on the first layer with weights, which takes the pixels, whose layer it is.

    So the application is also known in models that are made of this one.
    """
    first = next(layer for layer in model.layers if any(True for _ in layer.parameters()))
    first._application = name


def layers_before_weights(model: Model) -> Iterator[torch.nn.Module]:
    """What a model runs in Keras's order before its first layer with weights."""
    for layer in _without_models(model):
        if any(True for _ in layer.parameters()):
            return
        yield layer


def _without_models(model: Model) -> Iterator[torch.nn.Module]:
    """What a model runs in Keras's order, with what runs in models within in their places."""
    for layer in model.operations:
        if isinstance(layer, Model):
            yield from _without_models(layer)
        else:
            yield layer


def application_in(model: Model) -> ModelRecord | None:
    """The application that `model` is, or that is in it; None if there is none, or several.

    In models from files it is told by their names, or by the names and weights of their layers.
    """
    marks = {module.__dict__.get("_application") for module in model.modules()} - {None}
    if marks:
        return get_record(marks.pop()) if len(marks) == 1 else None
    models = [part for part in model.modules() if isinstance(part, Model)]
    return _by_name(models) or _by_layers(models)


def _by_name(models: list[Model]) -> ModelRecord | None:
    for model in models:
        try:
            return get_record(re.sub(r"_\d.*", "", model.name))  # as in mobilenetv2_1.00_224
        except ValueError:
            continue
    return None


def _by_layers(models: list[Model]) -> ModelRecord | None:
    """The largest application all of whose layers with weights, but its classifier, are there.

    Of those that are equally large, the one that has more of the model's widths.
    """
    for model in models:
        own = _weights(model)
        names = {key.rpartition(".")[0] for key, _ in own}
        found = {
            name: (len(weights), sum(own[key] == widths for key, widths in weights.items()))
            for name in list_models()
            if get_record(name).marker in (None, *names)
            and (weights := _weights_of_application(name)).keys() <= own.keys()
        }
        if found:
            return get_record(max(found, key=found.__getitem__))
    return None


@functools.cache
def _weights_of_application(name: str) -> dict[tuple, tuple]:
    """What `_weights` gives of an application; it takes a second to find out of all."""
    with torch.device("meta"), data_format_scope("channels_last"):
        return _weights(get_record(name).constructor(include_top=False, weights=None))


def _weights(model: Model) -> dict[tuple, tuple]:
    """The layers' weights: names with shapes but for the widths, which may vary; and these."""
    return {
        (key, tuple(parameter.shape[2:])): tuple(parameter.shape[:2])
        for key, parameter in model.named_parameters()
    }
