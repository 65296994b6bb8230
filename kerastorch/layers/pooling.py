"""Pooling."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ..engine.layer import Layer
from ..engine.layout import Shape, join_shape, split_shape, transpose_sequence
from .padding import Margins, check_padding, output_sizes, pad_images, per_axis, same_padding

Sizes = tuple[int, ...]


class _Pooling(Layer):
    """Windows over images.

    Args:
        pool_size: size of the window, for both axes of an image or for each.
        strides: steps of the window; None for `pool_size`.
        padding: `"valid"` or `"same"`; what `same` adds never counts.
        data_format, name, trainable: see `Layer`.

    Raises:
        ValueError: an argument is out of range, or a window does not fit into the input.
    """

    makes_new_tensor = True
    spatial_axes = 2

    def __init__(
        self,
        pool_size: int | Sequence[int] = 2,
        strides: int | Sequence[int] | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        self._init_torch(
            per_axis(pool_size, self.spatial_axes, "pool_size"),
            per_axis(strides or pool_size, self.spatial_axes, "strides"),
        )
        super().__init__(name=name, trainable=trainable, data_format=data_format)
        self.padding = check_padding(padding)

    def _init_torch(self, pool_size: Sizes, strides: Sizes) -> None:
        raise NotImplementedError

    @property
    def pool_size(self) -> Sizes:
        return self.kernel_size

    @property
    def strides(self) -> Sizes:
        return self.stride

    def compute_output_shape(self, shape: Shape) -> Shape:
        spatial, channels = _split_input(self, shape)
        spatial = output_sizes(spatial, self.pool_size, self.strides, self.padding)
        return join_shape(shape[0], spatial, channels, self.data_format)

    def forward(self, x: Tensor) -> Tensor:
        if self.padding == "valid":
            return self._pool(x, 0, ceil_mode=False)
        pads, skips, ceil_mode = zip(
            *(
                _same_pooling(size, window, stride)
                for size, window, stride in zip(
                    x.shape[2:], self.pool_size, self.strides, strict=True
                )
            ),
            strict=True,
        )
        y = self._pool(x, pads, ceil_mode=any(ceil_mode))
        return y[(..., *(slice(skip, None) for skip in skips))] if any(skips) else y

    def _pool(self, x: Tensor, padding: int | Sizes, ceil_mode: bool) -> Tensor:
        raise NotImplementedError


class _Pooling1D(_Pooling):
    spatial_axes = 1

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(transpose_sequence(x, self.data_format))
        return transpose_sequence(y, self.data_format)


def _split_input(layer: Layer, shape: Shape) -> tuple[Shape, int | None]:
    """The spatial sizes and the channels of an input of the layer's rank."""
    rank = layer.spatial_axes + 2
    if len(shape) != rank:
        raise ValueError(
            f"Layer {layer.name!r} takes inputs of rank {rank}; got the shape {shape}."
        )
    return split_shape(shape, layer.data_format)


def _same_pooling(size: int, window: int, stride: int) -> tuple[int, int, bool]:
    """How torch's pooling does `same` along an axis without padding a copy of the input.

    Returns its padding on both sides, how many outputs to skip at the start, and whether windows
    may reach over the end. With a stride the extra row at the end is such a reach; without one it
    is had by padding the larger half on both sides and skipping the first output.
    """
    before, after = same_padding(size, window, stride)
    if before == after:
        return before, 0, False
    return (after, 1, False) if stride == 1 else (before, 0, True)


_ARGUMENTS = (_Pooling.__doc__ or "").partition("images.")[2]


class MaxPooling1D(_Pooling1D, nn.MaxPool1d):
    __doc__ = f"""Maximum over windows (`keras.layers.MaxPooling1D`).

    Takes (N, L, C) and gives (N, L', C), channels first (N, C, L). An `nn.MaxPool1d`.
    {_ARGUMENTS}"""

    def _init_torch(self, pool_size: Sizes, strides: Sizes) -> None:
        nn.MaxPool1d.__init__(self, pool_size, strides)

    def _pool(self, x: Tensor, padding: int | Sizes, ceil_mode: bool) -> Tensor:
        return F.max_pool1d(x, self.pool_size, self.strides, padding, ceil_mode=ceil_mode)


class AveragePooling1D(_Pooling1D, nn.AvgPool1d):
    __doc__ = f"""Mean over windows (`keras.layers.AveragePooling1D`).

    Takes (N, L, C) and gives (N, L', C), channels first (N, C, L). An `nn.AvgPool1d`.
    {_ARGUMENTS}"""

    def _init_torch(self, pool_size: Sizes, strides: Sizes) -> None:
        nn.AvgPool1d.__init__(self, pool_size, strides)

    def _pool(self, x: Tensor, padding: int | Sizes, ceil_mode: bool) -> Tensor:
        return F.avg_pool1d(
            x, self.pool_size, self.strides, padding, ceil_mode, count_include_pad=False
        )


class MaxPooling2D(_Pooling, nn.MaxPool2d):
    __doc__ = f"""Maximum over windows (`keras.layers.MaxPooling2D`).

    Takes (N, C, H, W) and gives (N, C, H', W'). An `nn.MaxPool2d`.
    {_ARGUMENTS}"""

    def _init_torch(self, pool_size: Sizes, strides: Sizes) -> None:
        nn.MaxPool2d.__init__(self, pool_size, strides)

    @property
    def takes_margins(self) -> bool:
        return self.padding == "valid"

    def forward(self, x: Tensor, margins: Margins | None = None) -> Tensor:
        if margins is None:
            return super().forward(x)
        return _max_pool_with_zeros(x, self.pool_size, self.strides, margins)

    def _pool(self, x: Tensor, padding: int | Sizes, ceil_mode: bool) -> Tensor:
        return F.max_pool2d(x, self.pool_size, self.strides, padding, ceil_mode=ceil_mode)


def _max_pool_with_zeros(x: Tensor, window: Sizes, strides: Sizes, margins: Margins) -> Tensor:
    """The maximum over windows of an image with margins of zeros, in inference.

    torch's own padding never wins; where a window reaches over the border, zero may.
    """
    is_even = all(before == after for before, after in margins)
    padding = tuple(before for before, _ in margins)
    if not is_even or any(2 * pad > size for pad, size in zip(padding, window, strict=True)):
        vertical, horizontal = margins
        return F.max_pool2d(pad_images(x, (*horizontal, *vertical)), window, strides)
    y = F.max_pool2d(x, window, strides, padding)
    for axis, (pad, size, stride) in enumerate(zip(padding, window, strides, strict=True), 2):
        count = y.shape[axis]
        before = min(-(-pad // stride), count)
        first_beyond = max((x.shape[axis] + pad - size) // stride + 1, 0)
        y.narrow(axis, 0, before).clamp_(min=0)
        y.narrow(axis, first_beyond, count - first_beyond).clamp_(min=0)
    return y


class AveragePooling2D(_Pooling, nn.AvgPool2d):
    __doc__ = f"""Mean over windows (`keras.layers.AveragePooling2D`).

    Takes (N, C, H, W) and gives (N, C, H', W'). An `nn.AvgPool2d`.
    {_ARGUMENTS}"""

    def _init_torch(self, pool_size: Sizes, strides: Sizes) -> None:
        nn.AvgPool2d.__init__(self, pool_size, strides)

    def _pool(self, x: Tensor, padding: int | Sizes, ceil_mode: bool) -> Tensor:
        return F.avg_pool2d(
            x, self.pool_size, self.strides, padding, ceil_mode, count_include_pad=False
        )


class _GlobalPooling(Layer):
    spatial_axes = 2

    def __init__(
        self,
        data_format: str | None = None,
        keepdims: bool = False,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, data_format=data_format)
        self.keepdims = keepdims

    def compute_output_shape(self, shape: Shape) -> Shape:
        spatial, channels = _split_input(self, shape)
        if self.keepdims:
            return join_shape(shape[0], (1,) * len(spatial), channels, self.data_format)
        return (shape[0], channels)


class GlobalAveragePooling2D(_GlobalPooling):
    """Mean over height and width (`keras.layers.GlobalAveragePooling2D`).

    Takes (N, C, H, W) and gives (N, C), or (N, C, 1, 1) with `keepdims`.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3), keepdim=self.keepdims)


class GlobalMaxPooling2D(_GlobalPooling):
    """Maximum over height and width (`keras.layers.GlobalMaxPooling2D`).

    Takes (N, C, H, W) and gives (N, C), or (N, C, 1, 1) with `keepdims`.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x.amax((2, 3), keepdim=self.keepdims)


class _GlobalPooling1D(_GlobalPooling):
    spatial_axes = 1

    @property
    def _length_axis(self) -> int:
        return 1 if self.data_format == "channels_last" else 2


class GlobalAveragePooling1D(_GlobalPooling1D):
    """Mean over the length (`keras.layers.GlobalAveragePooling1D`).

    Takes (N, L, C), channels first (N, C, L), and gives (N, C); with `keepdims` the length is 1.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(self._length_axis, keepdim=self.keepdims)


class GlobalMaxPooling1D(_GlobalPooling1D):
    """Maximum over the length (`keras.layers.GlobalMaxPooling1D`).

    Takes (N, L, C), channels first (N, C, L), and gives (N, C); with `keepdims` the length is 1.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x.amax(self._length_axis, keepdim=self.keepdims)
