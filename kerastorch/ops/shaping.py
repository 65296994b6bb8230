"""Operations that move, cut, repeat or join elements; axes, shapes and keys are Keras's."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine.layout import (
    Shape,
    concatenated_shape,
    from_keras_layout,
    keras_axes,
    keras_axis,
    tensor_axis,
    to_keras_layout,
)
from ..engine.operation import Operation, shape_of_operand, size_of


class _InKerasLayout(Operation):
    """Works on values in Keras's layout."""

    def compute(self, x: Tensor) -> Tensor:
        return from_keras_layout(self.move(to_keras_layout(x, self.data_format)), self.data_format)

    def move(self, x: Tensor) -> Tensor:
        """The result for a value in Keras's layout."""
        raise NotImplementedError


class GetItem(Operation):
    """Items by NumPy's rules (`x[..., ::-1]`): whole numbers, slices, None and one ellipsis."""

    settings = ("key",)

    def compute(self, x: Tensor, key: Any) -> Tensor:
        y = to_keras_layout(x, self.data_format)
        for axis, part in enumerate(_whole_key(key, y.ndim)):
            if isinstance(part, slice) and part.step is not None and part.step < 0:
                # Torch has no negative steps: turn the axis round and count from the other end.
                y = _take(y, axis, range(*part.indices(y.shape[axis])))
            elif isinstance(part, slice) and part != slice(None):
                y = y[(slice(None),) * axis + (part,)]
        y = y[tuple(slice(None) if isinstance(part, slice) else part for part in _spread(key, x))]
        return from_keras_layout(y, self.data_format)

    def infer_shape(self, shape: Shape, key: Any) -> Shape:
        sizes = iter(shape)
        result = []
        for part in _spread(key, shape):
            if part is None:
                result.append(1)
                continue
            size = next(sizes)
            if isinstance(part, slice):
                whole = part == slice(None)
                result.append(size if whole else _length(part, size))
            elif size is not None and not -size <= part < size:
                raise ValueError(f"Operation {self.name!r} takes item {part} of {size}.")
        return tuple(result)


def _length(part: slice, size: int | None) -> int | None:
    return None if size is None else len(range(*part.indices(size)))


def _take(x: Tensor, axis: int, places: range) -> Tensor:
    """The slices at places that are counted down."""
    if not places:
        return x.narrow(axis, 0, 0)
    up = places[::-1]
    return x[(slice(None),) * axis + (slice(up[0], up[-1] + 1, up.step),)].flip(axis)


def _spread(key: Any, value: Any) -> list:
    """The key's parts, with a slice for each axis that it does not name."""
    rank = value.ndim if isinstance(value, Tensor) else len(value)
    parts = list(key) if isinstance(key, list | tuple) else [key]
    for part in parts:
        if not (part is None or part is Ellipsis or type(part) is int or _is_slice(part)):
            raise ValueError(f"An item is a number, a slice, None or ...; got {part!r:.80}.")
    named = sum(part is not None and part is not Ellipsis for part in parts)
    if named > rank or sum(part is Ellipsis for part in parts) > 1:
        raise ValueError(f"The key {key!r:.80} does not fit a value of rank {rank}.")
    if Ellipsis not in parts:
        parts.append(Ellipsis)
    place = next(index for index, part in enumerate(parts) if part is Ellipsis)
    return [*parts[:place], *[slice(None)] * (rank - named), *parts[place + 1 :]]


def _is_slice(part: Any) -> bool:
    if not isinstance(part, slice):
        return False
    # Torch multiplies steps with strides: longer ones would overflow.
    is_step = part.step is None or (type(part.step) is int and abs(part.step) < 2**31)
    return is_step and all(n is None or type(n) is int for n in (part.start, part.stop))


def _whole_key(key: Any, rank: int) -> list:
    """The parts that name axes, one for each axis."""
    return [part for part in _spread(key, (None,) * rank) if part is not None]


class Reshape(_InKerasLayout):
    """Another shape for the same elements (`keras.ops.reshape`).

    Args:
        newshape: the shape in Keras's layout, with the batch; one size may be -1, and None in front
            is the batch's.
        name: see `Layer`.
    """

    def __init__(self, newshape: Sequence[int | None], name: str | None = None):
        super().__init__(name=name)
        self.newshape = tuple(newshape)
        known = [size for size in self.newshape if size is not None]
        if not all(isinstance(size, int) and size >= -1 for size in known) or (
            known.count(-1) > 1 or None in self.newshape[1:]
        ):
            raise ValueError(f"A shape is of sizes, one of them -1; got {self.newshape}.")

    def infer_shape(self, shape: Shape) -> Shape:
        target = list(self.newshape)
        if target and target[0] is None and shape[0] is not None:
            target[0] = shape[0]
        if -1 not in target:
            if len({size_of(shape), size_of(tuple(target)), None}) > 2:
                raise ValueError(f"Operation {self.name!r} cannot give {shape} the shape {target}.")
            return tuple(target)
        place = target.index(-1)
        others = target[:place] + target[place + 1 :]
        if target[0] is None:  # the batch is unknown on both sides
            shape, others = shape[1:], others[1:]
        before, known = size_of(shape), size_of(tuple(others))
        if before is None or not known:
            target[place] = None
        elif before % known:
            raise ValueError(f"Operation {self.name!r} cannot give {shape} the shape {target}.")
        else:
            target[place] = before // known
        return tuple(target)

    def move(self, x: Tensor) -> Tensor:
        return x.reshape([x.shape[0] if size is None else size for size in self.newshape])


class Transpose(_InKerasLayout):
    """Axes in another order, by default the opposite (`keras.ops.transpose`)."""

    def __init__(self, axes: Sequence[int] | None = None, name: str | None = None):
        super().__init__(name=name)
        self.axes = axes

    def _order(self, rank: int) -> list[int]:
        axes = keras_axes(self.axes, rank) if self.axes else list(range(rank))[::-1]
        if len(axes) != rank:
            raise ValueError(f"Operation {self.name!r} orders {len(axes)} axes, not {rank}.")
        return axes

    def infer_shape(self, shape: Shape) -> Shape:
        return tuple(shape[axis] for axis in self._order(len(shape)))

    def move(self, x: Tensor) -> Tensor:
        return x.permute(self._order(x.ndim))


class Swapaxes(_InKerasLayout):
    """Two axes in each other's place (`keras.ops.swapaxes`)."""

    def __init__(self, axis1: int, axis2: int, name: str | None = None):
        super().__init__(name=name)
        self.axis1 = axis1
        self.axis2 = axis2

    def infer_shape(self, shape: Shape) -> Shape:
        first, second = (keras_axis(axis, len(shape)) for axis in (self.axis1, self.axis2))
        sizes = list(shape)
        sizes[first], sizes[second] = sizes[second], sizes[first]
        return tuple(sizes)

    def move(self, x: Tensor) -> Tensor:
        return x.swapaxes(self.axis1, self.axis2)


class Moveaxis(_InKerasLayout):
    """Axes in other places, the rest in their order (`keras.ops.moveaxis`)."""

    def __init__(
        self,
        source: int | Sequence[int],
        destination: int | Sequence[int],
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.source = source
        self.destination = destination

    def infer_shape(self, shape: Shape) -> Shape:
        rank = len(shape)
        sources, places = keras_axes(self.source, rank), keras_axes(self.destination, rank)
        moved = dict(zip(places, sources, strict=True))
        others = (axis for axis in range(rank) if axis not in sources)
        order = [moved[place] if place in moved else next(others) for place in range(rank)]
        return tuple(shape[axis] for axis in order)

    def move(self, x: Tensor) -> Tensor:
        axes = keras_axes(self.source, x.ndim), keras_axes(self.destination, x.ndim)
        return x.movedim(*axes)


class ExpandDims(_InKerasLayout):
    """New axes of size 1, at their places in the result (`keras.ops.expand_dims`)."""

    def __init__(self, axis: int | Sequence[int], name: str | None = None):
        super().__init__(name=name)
        self.axis = axis

    def _places(self, rank: int) -> list[int]:
        count = 1 if isinstance(self.axis, int) else len(self.axis)
        return sorted(keras_axes(self.axis, rank + count))

    def infer_shape(self, shape: Shape) -> Shape:
        sizes = list(shape)
        for place in self._places(len(shape)):
            sizes.insert(place, 1)
        return tuple(sizes)

    def move(self, x: Tensor) -> Tensor:
        for place in self._places(x.ndim):
            x = x.unsqueeze(place)
        return x


class Squeeze(_InKerasLayout):
    """Without axes of size 1, all of them by default (`keras.ops.squeeze`)."""

    def __init__(self, axis: int | Sequence[int] | None = None, name: str | None = None):
        super().__init__(name=name)
        self.axis = axis

    def infer_shape(self, shape: Shape) -> Shape:
        if self.axis is None:
            return tuple(size for size in shape if size != 1)
        axes = keras_axes(self.axis, len(shape))
        if any(shape[axis] not in (1, None) for axis in axes):
            raise ValueError(f"Operation {self.name!r} drops axes {axes} of size 1 from {shape}.")
        return tuple(size for axis, size in enumerate(shape) if axis not in axes)

    def move(self, x: Tensor) -> Tensor:
        return x.squeeze() if self.axis is None else x.squeeze(keras_axes(self.axis, x.ndim))


class Flip(_InKerasLayout):
    """The other way round, along all axes by default (`keras.ops.flip`)."""

    def __init__(self, axis: int | Sequence[int] | None = None, name: str | None = None):
        super().__init__(name=name)
        self.axis = axis

    def infer_shape(self, shape: Shape) -> Shape:
        keras_axes(self.axis, len(shape))
        return shape

    def move(self, x: Tensor) -> Tensor:
        return x.flip(keras_axes(self.axis, x.ndim))


class Roll(_InKerasLayout):
    """Moved on, what leaves at one end coming in at the other (`keras.ops.roll`)."""

    def __init__(
        self,
        shift: int | Sequence[int],
        axis: int | Sequence[int] | None = None,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.shift = shift
        self.axis = axis

    def move(self, x: Tensor) -> Tensor:
        return x.roll(self.shift, () if self.axis is None else self.axis)


class Tile(_InKerasLayout):
    """Copies side by side (`keras.ops.tile`)."""

    def __init__(self, repeats: int | Sequence[int], name: str | None = None):
        super().__init__(name=name)
        self.repeats = repeats

    def _counts(self, rank: int) -> list[int]:
        counts = [self.repeats] if isinstance(self.repeats, int) else list(self.repeats)
        return [1] * (rank - len(counts)) + counts

    def infer_shape(self, shape: Shape) -> Shape:
        counts = self._counts(len(shape))
        sizes = (1,) * (len(counts) - len(shape)) + tuple(shape)
        return tuple(
            size if size is None else size * count
            for size, count in zip(sizes, counts, strict=True)
        )

    def move(self, x: Tensor) -> Tensor:
        return x.tile(self._counts(x.ndim))


class Repeat(_InKerasLayout):
    """Each element several times (`keras.ops.repeat`).

    Args:
        repeats: how many times.
        axis: an axis of Keras's layout; None to make one axis of all first.
        name: see `Layer`.
    """

    def __init__(self, repeats: int, axis: int | None = None, name: str | None = None):
        super().__init__(name=name)
        if not isinstance(repeats, int) or repeats < 0:
            raise ValueError(f"repeats is a number; got {repeats!r}.")
        self.repeats = repeats
        self.axis = axis

    def infer_shape(self, shape: Shape) -> Shape:
        if self.axis is None:
            total = size_of(shape)
            return (None if total is None else total * self.repeats,)
        sizes = list(shape)
        axis = keras_axis(self.axis, len(shape))
        if sizes[axis] is not None:
            sizes[axis] *= self.repeats
        return tuple(sizes)

    def move(self, x: Tensor) -> Tensor:
        return x.repeat_interleave(self.repeats, self.axis)


class Pad(Operation):
    """More elements around (`keras.ops.pad`).

    Args:
        pad_width: for each axis of Keras's layout how many before and after, or one such pair or
            number for all.
        mode: `"constant"`, `"reflect"` or `"symmetric"`.
        name: see `Layer`.
    """

    settings = ("constant_values",)

    def __init__(self, pad_width: int | Sequence, mode: str = "constant", name: str | None = None):
        super().__init__(name=name)
        if mode not in ("constant", "reflect", "symmetric"):
            raise ValueError(f"mode is 'constant', 'reflect' or 'symmetric', not {mode!r}.")
        self.pad_width = pad_width
        self.mode = mode

    def _widths(self, rank: int) -> list[tuple[int, int]]:
        given = self.pad_width
        if isinstance(given, int):
            given = [given, given]
        if isinstance(given[0], int):
            given = [given]
        pairs = [(pair[0], pair[-1]) for pair in given]
        if len(pairs) == 1:
            pairs *= rank
        if len(pairs) != rank or any(width < 0 for pair in pairs for width in pair):
            raise ValueError(f"Operation {self.name!r} pads {self.pad_width}, not rank {rank}.")
        return pairs

    def infer_shape(self, shape: Shape, constant_values: float | None = None) -> Shape:
        return tuple(
            size if size is None else size + sum(pair)
            for size, pair in zip(shape, self._widths(len(shape)), strict=True)
        )

    def compute(self, x: Tensor, constant_values: float | None = None) -> Tensor:
        y = to_keras_layout(x, self.data_format)
        widths = self._widths(x.ndim)
        if self.mode == "constant":
            flat = [width for pair in reversed(widths) for width in pair]
            y = F.pad(y, flat, value=constant_values or 0)
        else:
            for axis, pair in enumerate(widths):
                y = self._mirrored(y, axis, *pair)
        return from_keras_layout(y, self.data_format)

    def _mirrored(self, x: Tensor, axis: int, before: int, after: int) -> Tensor:
        size, edge = x.shape[axis], int(self.mode == "reflect")
        if max(before, after) > size - edge:
            raise ValueError(f"Operation {self.name!r} mirrors more than there is along an axis.")
        parts = [
            x.narrow(axis, edge, before).flip(axis),
            x,
            x.narrow(axis, size - edge - after, after).flip(axis),
        ]
        return torch.cat(parts, axis) if before or after else x


class Concatenate(Operation):
    """Its inputs one after another along an axis of Keras's layout (`keras.ops.concatenate`)."""

    makes_new_tensor = True

    def __init__(self, axis: int = 0, name: str | None = None):
        super().__init__(name=name)
        self.axis = axis

    def infer_shape(self, xs: list[Shape]) -> Shape:
        return concatenated_shape(xs, self.axis, self.name)

    def compute(self, xs: list[Tensor]) -> Tensor:
        return torch.cat(list(xs), tensor_axis(self.axis, xs[0].ndim, self.data_format))


class Stack(Operation):
    """Its inputs one after another along a new axis of Keras's layout (`keras.ops.stack`)."""

    makes_new_tensor = True

    def __init__(self, axis: int = 0, name: str | None = None):
        super().__init__(name=name)
        self.axis = axis

    def infer_shape(self, x: list[Shape]) -> Shape:
        if len({len(shape) for shape in x}) > 1:
            raise ValueError(f"Operation {self.name!r} stacks one rank; got {x}.")
        sizes = []
        for along in zip(*x, strict=True):
            known = {size for size in along if size is not None}
            if len(known) > 1:
                raise ValueError(f"Operation {self.name!r} stacks one shape; got {x}.")
            sizes.append(next(iter(known), None))
        sizes.insert(keras_axis(self.axis, len(sizes) + 1), len(x))
        return tuple(sizes)

    def compute(self, x: list[Tensor]) -> Tensor:
        values = [to_keras_layout(value, self.data_format) for value in x]
        return from_keras_layout(torch.stack(values, self.axis), self.data_format)


_MOST_PARTS = 100_000


def _check_count(count: int) -> None:
    """Refuses more results than a graph can hold: a file may ask for any number."""
    if count > _MOST_PARTS:
        raise ValueError(f"A value is split into at most {_MOST_PARTS} parts, not {count}.")


class Split(Operation):
    """Its parts along an axis of Keras's layout, a list (`keras.ops.split`).

    Args:
        indices_or_sections: how many equal parts, or where the parts after the first begin.
        axis: see above.
        name: see `Layer`.
    """

    def __init__(
        self, indices_or_sections: int | Sequence[int], axis: int = 0, name: str | None = None
    ):
        super().__init__(name=name)
        self.indices_or_sections = indices_or_sections
        self.axis = axis

    def _sizes(self, size: int | None) -> list[int | None]:
        given = self.indices_or_sections
        _check_count(given if isinstance(given, int) else len(given) + 1)
        if size is None:
            return [None] * (given if isinstance(given, int) else len(given) + 1)
        if isinstance(given, int):
            if given < 1 or size % given:
                raise ValueError(f"Operation {self.name!r} cannot make {given} parts of {size}.")
            return [size // given] * given
        places = [0, *given, size]
        sizes = [end - start for start, end in itertools.pairwise(places)]
        if min(sizes) < 0:
            raise ValueError(f"Operation {self.name!r} cannot split {size} at {given}.")
        return sizes

    def infer_shape(self, x: Shape) -> list[Shape]:
        axis = keras_axis(self.axis, len(x))
        return [(*x[:axis], size, *x[axis + 1 :]) for size in self._sizes(x[axis])]

    def compute(self, x: Tensor) -> list[Tensor]:
        axis = tensor_axis(self.axis, x.ndim, self.data_format)
        return list(x.split(self._sizes(x.shape[axis]), axis))


class Unstack(Operation):
    """Its slices along an axis of Keras's layout, a list (`keras.ops.unstack`).

    Args:
        num: how many; None for the size of the axis.
        axis: see above.
        name: see `Layer`.

    Raises:
        ValueError: the size is unknown or another.
    """

    keras_module = "keras.src.ops.core"

    def __init__(self, num: int | None = None, axis: int = 0, name: str | None = None):
        super().__init__(name=name)
        self.num = num
        self.axis = axis

    def infer_shape(self, x: Shape) -> list[Shape]:
        axis = keras_axis(self.axis, len(x))
        count = x[axis] if self.num is None else self.num
        if count is None or x[axis] not in (count, None):
            raise ValueError(f"Operation {self.name!r} needs {self.num} slices; got {x}.")
        _check_count(count)
        return [(*x[:axis], *x[axis + 1 :])] * count

    def compute(self, x: Tensor) -> list[Tensor]:
        parts = to_keras_layout(x, self.data_format).unbind(self.axis)
        return [from_keras_layout(part, self.data_format) for part in parts]


class Take(Operation):
    """The elements at indices along an axis of Keras's layout (`keras.ops.take`).

    Args:
        axis: see above; None to make one axis of all first.
        name: see `Layer`.
    """

    def __init__(self, axis: int | None = None, name: str | None = None):
        super().__init__(name=name)
        self.axis = axis

    def infer_shape(self, x: Shape, indices: Any) -> Shape:
        indices = shape_of_operand(indices)
        if self.axis is None:
            return indices
        axis = keras_axis(self.axis, len(x))
        return (*x[:axis], *indices, *x[axis + 1 :])

    def compute(self, x: Tensor, indices: Any) -> Tensor:
        x = to_keras_layout(x, self.data_format)
        if self.axis is None:
            x = x.flatten()
        axis = keras_axis(self.axis or 0, x.ndim)
        places = torch.as_tensor(indices, device=x.device)
        places = to_keras_layout(places, self.data_format).long()
        places = torch.where(places < 0, places + x.shape[axis], places)
        y = x.index_select(axis, places.flatten())
        return from_keras_layout(
            y.reshape(*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]), self.data_format
        )


class BroadcastTo(_InKerasLayout):
    """Repeated to a shape, by NumPy's rules (`keras.ops.broadcast_to`)."""

    def __init__(self, shape: Sequence[int | None], name: str | None = None):
        super().__init__(name=name)
        self.shape = tuple(shape)

    def infer_shape(self, shape: Shape) -> Shape:
        return self.shape

    def move(self, x: Tensor) -> Tensor:
        return x.expand(self.shape)
