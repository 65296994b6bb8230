"""Axes, orders and layouts of values, and the preprocessing of inputs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ...engine import Layer
from ...engine.layout import to_keras_layout
from .case import Case, Trial, twin

_AXES = ("height", "width", "channels")


def axis_order(case: Case) -> Iterator[Trial]:
    """The values of an input in other orders, for layers that only arrange them."""
    x, shape = case.x, case.expected.shape
    if not isinstance(x, Tensor) or x.ndim not in (4, 5) or [*case.module.parameters()]:
        return
    if x.numel() != int(np.prod(shape)):
        return
    image = to_keras_layout(x, "channels_last")
    names = _AXES if x.ndim == 4 else ("depth", *_AXES)
    own = case.run(twin(case.module)).reshape(-1)
    orders = list(itertools.permutations(range(1, x.ndim)))
    here = next((o for o in orders if torch.equal(_arranged(image, o), own)), None)
    for order in orders:
        text = f"The reference takes the values in the order ({_named(order, names)})"
        if here is not None:
            text += f", this layer in the order ({_named(here, names)})"
        yield f"{text}.", lambda order=order: _in_shape(_arranged(image, order), case)


def _arranged(image: Tensor, order: Sequence[int]) -> Tensor:
    return image.permute(0, *order).reshape(-1)


def _named(order: Sequence[int], names: Sequence[str]) -> str:
    return ", ".join(names[axis - 1] for axis in order)


def _in_shape(values: Tensor, case: Case) -> Tensor:
    """The values in the expected shape; a tensor, so channels first from rank 4."""
    y = values.reshape(case.expected.shape)
    return y.movedim(-1, 1) if y.ndim >= 4 and case.data_format == "channels_last" else y


def axis(case: Case) -> Iterator[Trial]:
    """Other axes for layers that work along one."""
    own = getattr(case.module, "axis", None)
    if not isinstance(own, int):
        return
    for axis in range(-1, -len(case.expected.shape), -1):
        if axis != own:
            other = twin(case.module, axis=axis)
            yield (
                f"The reference works along axis {axis} of Keras's layout, this layer along {own}.",
                lambda other=other: case.run(other),
            )


def exchanged_axes(case: Case) -> Iterator[Trial]:
    """The layer's own output with its axes in another order."""
    y = case.run(twin(case.module))
    if not isinstance(y, Tensor) or y.ndim < 3:
        return
    for order in itertools.permutations(range(1, y.ndim)):
        if list(order) != list(range(1, y.ndim)):
            yield (
                f"The reference's output is this one's with its axes in the order {(0, *order)}.",
                lambda order=order: y.permute(0, *order),
            )


def data_format(case: Case) -> Iterator[Trial]:
    if not isinstance(case.module, Layer):
        return
    own = case.module.data_format
    (other,) = {"channels_last", "channels_first"} - {own}
    changed = twin(case.module, _data_format=other)
    yield (
        f"The reference's data format is {other}, this layer's {own}.",
        lambda: case.run(changed),
    )


def scaling(case: Case) -> Iterator[Trial]:
    """Other preprocessing of an input: a factor and an offset for each channel."""
    x, expected = case.x, case.expected
    if case.call.class_name != "InputLayer" or len(expected.shape) != 4:
        return
    axis = 1 if case.data_format == "channels_first" else 3
    wanted = torch.from_numpy(expected.values.reshape(expected.shape)).movedim(axis, 1)
    for turned, order in ((x, "as they are"), (x.flip(1), "in the opposite order")):
        lines = [
            np.polyfit(ours.flatten().numpy(), theirs.flatten().numpy(), 1)
            for ours, theirs in zip(turned.unbind(1), wanted.unbind(1), strict=True)
        ]
        factors, offsets = (torch.tensor(column) for column in zip(*lines, strict=True))
        scaled = turned * factors.view(-1, 1, 1) + offsets.view(-1, 1, 1)
        yield (
            f"The reference's channels are these, {order}, times {_listed(factors)} plus "
            f"{_listed(offsets)}.",
            lambda scaled=scaled: scaled,
        )


def _listed(numbers: Tensor) -> str:
    return ", ".join(f"{number:.4g}" for number in numbers.tolist())


def order_of_inputs(case: Case) -> Iterator[Trial]:
    values = case.x
    if not isinstance(values, list | tuple) or not 1 < len(values) <= 4:
        return
    for order in itertools.permutations(range(len(values))):
        if list(order) != list(range(len(values))):
            yield (
                f"The reference takes the inputs in the order {tuple(i + 1 for i in order)}.",
                lambda order=order: case.run(twin(case.module), [values[i] for i in order]),
            )


def interpolation(case: Case) -> Iterator[Trial]:
    own = getattr(case.module, "interpolation", None)
    for name in ("nearest", "bilinear", "bicubic") if isinstance(own, str) else ():
        if name != own:
            other = twin(case.module, interpolation=name)
            yield (
                f"The reference's interpolation is {name}, this layer's {own}.",
                lambda other=other: case.run(other),
            )
