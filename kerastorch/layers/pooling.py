"""Pooling."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from ..engine.layer import Layer
from ..engine.layout import Shape, join_shape, split_shape
from .padding import Pair, check_padding, output_sizes, pair, same_padding


class _Pooling2D(Layer):
    """Windows over images.

    Args:
        pool_size: height and width of the window, in pixels.
        strides: steps of the window; None for `pool_size`.
        padding: `"valid"` or `"same"`; what `same` adds never counts.
        data_format, name, trainable: see `Layer`.

    Raises:
        ValueError: an argument is out of range, or a window does not fit into the input.
    """

    def __init__(
        self,
        pool_size: int | Sequence[int] = (2, 2),
        strides: int | Sequence[int] | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        self._init_torch(pair(pool_size, "pool_size"), pair(strides or pool_size, "strides"))
        super().__init__(name=name, trainable=trainable, data_format=data_format)
        self.padding = check_padding(padding)

    def _init_torch(self, pool_size: Pair, strides: Pair) -> None:
        raise NotImplementedError

    @property
    def pool_size(self) -> Pair:
        return self.kernel_size

    @property
    def strides(self) -> Pair:
        return self.stride

    def compute_output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 4:
            raise ValueError(f"Layer {self.name!r} takes inputs of rank 4; got the shape {shape}.")
        spatial, channels = split_shape(shape, self.data_format)
        spatial = output_sizes(spatial, self.pool_size, self.strides, self.padding)
        return join_shape(shape[0], spatial, channels, self.data_format)

    def forward(self, x: Tensor) -> Tensor:
        if self.padding == "valid":
            return self._pool(x, (0, 0), ceil_mode=False)
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
        return y[:, :, skips[0] :, skips[1] :] if any(skips) else y

    def _pool(self, x: Tensor, padding: Pair, ceil_mode: bool) -> Tensor:
        raise NotImplementedError


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


class MaxPooling2D(_Pooling2D, nn.MaxPool2d):
    __doc__ = f"""Maximum over windows (`keras.layers.MaxPooling2D`).

    Takes (N, C, H, W) and gives (N, C, H', W'). An `nn.MaxPool2d`.
    {(_Pooling2D.__doc__ or "").partition("images.")[2]}"""

    def _init_torch(self, pool_size: Pair, strides: Pair) -> None:
        nn.MaxPool2d.__init__(self, pool_size, strides)

    def _pool(self, x: Tensor, padding: Pair, ceil_mode: bool) -> Tensor:
        return F.max_pool2d(x, self.pool_size, self.strides, padding, ceil_mode=ceil_mode)


class AveragePooling2D(_Pooling2D, nn.AvgPool2d):
    __doc__ = f"""Mean over windows (`keras.layers.AveragePooling2D`).

    Takes (N, C, H, W) and gives (N, C, H', W'). An `nn.AvgPool2d`.
    {(_Pooling2D.__doc__ or "").partition("images.")[2]}"""

    def _init_torch(self, pool_size: Pair, strides: Pair) -> None:
        nn.AvgPool2d.__init__(self, pool_size, strides)

    def _pool(self, x: Tensor, padding: Pair, ceil_mode: bool) -> Tensor:
        return F.avg_pool2d(
            x, self.pool_size, self.strides, padding, ceil_mode, count_include_pad=False
        )


class _GlobalPooling2D(Layer):
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
        if len(shape) != 4:
            raise ValueError(f"Layer {self.name!r} takes inputs of rank 4; got the shape {shape}.")
        _, channels = split_shape(shape, self.data_format)
        if self.keepdims:
            return join_shape(shape[0], (1, 1), channels, self.data_format)
        return (shape[0], channels)


class GlobalAveragePooling2D(_GlobalPooling2D):
    """Mean over height and width (`keras.layers.GlobalAveragePooling2D`).

    Takes (N, C, H, W) and gives (N, C), or (N, C, 1, 1) with `keepdims`.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3), keepdim=self.keepdims)


class GlobalMaxPooling2D(_GlobalPooling2D):
    """Maximum over height and width (`keras.layers.GlobalMaxPooling2D`).

    Takes (N, C, H, W) and gives (N, C), or (N, C, 1, 1) with `keepdims`.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x.amax((2, 3), keepdim=self.keepdims)
