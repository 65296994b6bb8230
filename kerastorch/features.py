"""Feature maps of named layers, as detection and segmentation heads take them."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from .engine import Model
from .engine.images import example_shape, input_image
from .engine.layout import split_shape

_FAR = 2**20  # pixels: far enough to tell any stride from two output sizes


class FeatureExtractor(nn.Module):
    """The outputs of layers of a model by the layers' names, in the order that was asked for.

    It shares its layers with the model and runs only those that the outputs need.

    Args:
        model: a model of one image.
        names: the layers, whose outputs are images or, where globally pooled, vectors.
        as_list: whether `forward` gives a list of maps, not a dict.

    Attributes:
        names: the layers' names.
        channels: of each map, by name.
        strides: how many pixels of the image lie between two neighbours in each map, by name; None
            for what is globally pooled.

    `forward` takes tensors (batch, channels, height, width) and gives maps (batch, channels, rows,
    columns).

    Raises:
        ValueError: the model has no layer of a name, or it has other inputs than one image.
    """

    def __init__(self, model: Model, *names: str, as_list: bool = False):
        super().__init__()
        if not names or len(set(names)) < len(names):
            raise ValueError(f"Name one or more layers, each once; got {list(names)}.")
        self.names = names
        self.as_list = as_list
        input_image(model)  # or it raises
        outputs = {name: model.get_layer(name).output for name in names}
        self.body = Model(model.input, outputs, name=f"{model.name}_features")
        self.channels = {name: _channels(outputs[name].shape, model) for name in names}
        strides = _strides(self.body, model)
        self.strides = {name: strides[name] for name in names}

    def forward(self, x: Tensor) -> dict[str, Tensor] | list[Tensor]:
        maps = self.body(x)
        if self.as_list:
            return [maps[name] for name in self.names]
        return OrderedDict((name, maps[name]) for name in self.names)


def _channels(shape: tuple, model: Model) -> int:
    return split_shape(shape, model.data_format)[1] if len(shape) == 4 else shape[-1]


def _strides(body: Model, model: Model) -> dict[str, int | None]:
    """By how much the image outgrows each map; padding makes one size alone inexact."""
    near = example_shape(body)
    maps = body.compute_output_shape(near)
    try:
        far = example_shape(body, _FAR)
        maps_far = body.compute_output_shape(far)
    except ValueError:  # It takes images of one size only.
        return {name: _ratio(_rows(near, model), _rows(maps[name], model)) for name in maps}
    grown = _rows(far, model) - _rows(near, model)
    return {
        name: _ratio(grown, _rows(maps_far[name], model) - _rows(maps[name], model))
        for name in maps
    }


def _rows(shape: tuple, model: Model) -> int:
    return split_shape(shape, model.data_format)[0][0] if len(shape) == 4 else 0


def _ratio(pixels: int, rows: int) -> int | None:
    return round(pixels / rows) if rows > 0 else None
