"""Where Keras's axes lie in a tensor.

Keras writes shapes of images as (batch, height, width, channels) or, channels first, as (batch,
channels, height, width). Tensors of rank 4 and 5 are always held channels first; of lower rank as
in Keras. Everything that translates between the two stands here.
"""

from collections.abc import Sequence

from torch import Tensor

Shape = tuple[int | None, ...]


def moves_channels(rank: int, data_format: str) -> bool:
    """Whether Keras keeps the channels of such a value elsewhere than the tensor does."""
    return rank >= 4 and data_format == "channels_last"


def keras_axis(axis: int, rank: int) -> int:
    """The axis counted from the first, if a value of this rank has it."""
    if not -rank <= axis < rank:
        raise ValueError(f"axis {axis} is out of range for a value of rank {rank}.")
    return axis % rank


def keras_axes(axis: int | Sequence[int] | None, rank: int) -> list[int]:
    """The axes of an argument `axis`, counted from the first; all where it is None."""
    if axis is None:
        return list(range(rank))
    axes = [keras_axis(one, rank) for one in ([axis] if isinstance(axis, int) else axis)]
    if len(set(axes)) < len(axes):
        raise ValueError(f"The axes {axis} name one twice.")
    return axes


def tensor_axis(axis: int, rank: int, data_format: str) -> int:
    """The tensor's axis for an axis of Keras's layout; the result is not negative."""
    axis = keras_axis(axis, rank)
    if axis == 0 or not moves_channels(rank, data_format):
        return axis
    return 1 if axis == rank - 1 else axis + 1


def tensor_shape(shape: Sequence, data_format: str) -> tuple:
    """Keras's shape in the tensor's order."""
    if moves_channels(len(shape), data_format):
        return (shape[0], shape[-1], *shape[1:-1])
    return tuple(shape)


def keras_shape(shape: Sequence, data_format: str) -> tuple:
    """The tensor's shape in Keras's order."""
    if moves_channels(len(shape), data_format):
        return (shape[0], *shape[2:], shape[1])
    return tuple(shape)


def to_keras_layout(x: Tensor, data_format: str) -> Tensor:
    """A view of the tensor with its axes in Keras's order."""
    return x.movedim(1, -1) if moves_channels(x.ndim, data_format) else x


def from_keras_layout(x: Tensor, data_format: str) -> Tensor:
    """A view of a value in Keras's layout with its axes in the tensor's order."""
    return x.movedim(-1, 1) if moves_channels(x.ndim, data_format) else x


def with_rank(x: Tensor, rank: int, data_format: str) -> Tensor:
    """A view with as many axes of size 1 in front, in Keras's layout, as NumPy's rules add."""
    if x.ndim == rank:
        return x
    x = to_keras_layout(x, data_format)[(None,) * (rank - x.ndim)]
    return from_keras_layout(x, data_format)


def broadcast_shapes(*shapes: Shape) -> Shape:
    """Keras's shape of values that are combined element by element, by NumPy's rules.

    Raises:
        ValueError: they cannot be combined.
    """
    rank = max(map(len, shapes))
    aligned = [(*[1] * (rank - len(shape)), *shape) for shape in shapes]
    return tuple(_common_size(sizes, shapes) for sizes in zip(*aligned, strict=True))


def _common_size(sizes: tuple[int | None, ...], shapes: tuple[Shape, ...]) -> int | None:
    wider = {size for size in sizes if size != 1}
    known = wider - {None}
    if len(known) > 1:
        raise ValueError(f"Values of shapes {shapes} cannot be combined.")
    return next(iter(known or wider or {1}))


def concatenated_shape(shapes: Sequence[Shape], axis: int, name: str) -> Shape:
    """Keras's shape of values one after another along an axis of Keras's layout.

    Raises:
        ValueError: the ranks or the other sizes differ; `name` says whose inputs they are.
    """
    if len({len(shape) for shape in shapes}) > 1:
        raise ValueError(f"Layer {name!r} cannot join inputs of different ranks: {shapes}.")
    axis = keras_axis(axis, len(shapes[0]))
    result = []
    for position, sizes in enumerate(zip(*shapes, strict=True)):
        known = {size for size in sizes if size is not None}
        if position == axis:
            result.append(None if None in sizes else sum(sizes))
        elif len(known) > 1:
            raise ValueError(f"Layer {name!r} joins along axis {axis}; got {shapes}.")
        else:
            result.append(next(iter(known), None))
    return tuple(result)


def transpose_sequence(x: Tensor, data_format: str) -> Tensor:
    """A view of a sequence, from Keras's layout to (N, C, length) or from there to Keras's."""
    return x.transpose(1, 2) if data_format == "channels_last" else x


def split_shape(shape: Shape, data_format: str) -> tuple[Shape, int | None]:
    """The spatial sizes and the channels of an image shape (with its batch)."""
    _, channels, *spatial = (
        shape if data_format == "channels_first" else (shape[0], shape[-1], *shape[1:-1])
    )
    return tuple(spatial), channels


def join_shape(batch: int | None, spatial: Shape, channels: int | None, data_format: str) -> Shape:
    """The image shape of these parts."""
    if data_format == "channels_first":
        return (batch, channels, *spatial)
    return (batch, *spatial, channels)
