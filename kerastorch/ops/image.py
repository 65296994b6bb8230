"""Operations on images, held as (N, C, H, W)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..engine.dtype import float_type
from ..engine.layout import Shape, join_shape, split_shape
from ..engine.operation import Operation
from ..layers.padding import per_axis, positive
from ..layers.resizing import check_resizing, resize_in_ratio


class _OfImages(Operation):
    def __init__(self, data_format: str | None, name: str | None):
        super().__init__(name=name)
        if data_format is not None:
            self._data_format = data_format

    def infer_shape(self, images: Shape) -> Shape:
        if len(images) != 4:
            raise ValueError(f"Operation {self.name!r} takes rank 4; got the shape {images}.")
        sizes, channels = split_shape(images, self.data_format)
        return join_shape(images[0], *self.sizes(sizes, channels), self.data_format)

    def sizes(self, sizes: Shape, channels: int | None) -> tuple[Shape, int | None]:
        """Height and width, and the channels, that the result has."""
        raise NotImplementedError


class Resize(_OfImages):
    """Images in another size (`keras.ops.image.resize`).

    Args:
        size: height and width.
        interpolation, antialias, crop_to_aspect_ratio, pad_to_aspect_ratio, fill_mode, fill_value:
            see `kerastorch.layers.Resizing`.
        data_format, name: see `Layer`.

    Raises:
        ValueError: an argument has another value.
    """

    keras_module = "keras.src.ops.image"
    makes_new_tensor = True

    def __init__(
        self,
        size: Sequence[int],
        interpolation: str = "bilinear",
        antialias: bool = False,
        crop_to_aspect_ratio: bool = False,
        pad_to_aspect_ratio: bool = False,
        fill_mode: str = "constant",
        fill_value: float = 0.0,
        data_format: str | None = None,
        name: str | None = None,
    ):
        super().__init__(data_format, name)
        check_resizing(interpolation, crop_to_aspect_ratio, pad_to_aspect_ratio, fill_mode)
        self.size = per_axis(size, 2, "size")
        self.interpolation = interpolation
        self.antialias = antialias
        self.crop_to_aspect_ratio = crop_to_aspect_ratio
        self.pad_to_aspect_ratio = pad_to_aspect_ratio
        self.fill_mode = fill_mode
        self.fill_value = fill_value

    def sizes(self, sizes: Shape, channels: int | None) -> tuple[Shape, int | None]:
        return self.size, channels

    def compute(self, images: Tensor) -> Tensor:
        return resize_in_ratio(
            images,
            self.size,
            self.interpolation,
            self.antialias,
            self.crop_to_aspect_ratio,
            self.pad_to_aspect_ratio,
            self.fill_value,
        )


class RGBToGrayscale(_OfImages):
    """The brightness of colours (`keras.ops.image.rgb_to_grayscale`)."""

    keras_module = "keras.src.ops.image"
    makes_new_tensor = True

    def __init__(self, data_format: str | None = None, name: str | None = None):
        super().__init__(data_format, name)

    def sizes(self, sizes: Shape, channels: int | None) -> tuple[Shape, int | None]:
        if channels not in (1, 3, None):
            raise ValueError(f"Operation {self.name!r} takes 3 channels or 1, not {channels}.")
        return sizes, 1

    def compute(self, images: Tensor) -> Tensor:
        if images.shape[1] == 1:
            return images.clone()
        weights = torch.tensor(
            [0.2989, 0.5870, 0.1140], dtype=float_type(images), device=images.device
        )
        return (images * weights[:, None, None]).sum(1, keepdim=True).to(images.dtype)


class _OfBlocks(_OfImages):
    keras_module = "keras.src.ops.nn"

    def __init__(
        self, block_size: int, data_format: str | None = "channels_last", name: str | None = None
    ):
        super().__init__(data_format, name)
        self.block_size = positive(block_size, "block_size")


class DepthToSpace(_OfBlocks):
    """Blocks of pixels from the channels, the outer ones first (`keras.ops.depth_to_space`)."""

    def sizes(self, sizes: Shape, channels: int | None) -> tuple[Shape, int | None]:
        block = self.block_size
        if channels is not None and channels % block**2:
            raise ValueError(f"Operation {self.name!r} cannot take {channels} channels.")
        return (
            tuple(size if size is None else size * block for size in sizes),
            channels and channels // block**2,
        )

    def compute(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        block = self.block_size
        x = x.reshape(batch, block, block, channels // block**2, height, width)
        return x.permute(0, 3, 4, 1, 5, 2).reshape(batch, -1, height * block, width * block)


class SpaceToDepth(_OfBlocks):
    """Channels from blocks of pixels, the opposite (`keras.ops.space_to_depth`)."""

    def sizes(self, sizes: Shape, channels: int | None) -> tuple[Shape, int | None]:
        block = self.block_size
        if any(size is not None and size % block for size in sizes):
            raise ValueError(f"Operation {self.name!r} cannot take images of {sizes}.")
        return (
            tuple(size if size is None else size // block for size in sizes),
            channels and channels * block**2,
        )

    def compute(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        block = self.block_size
        x = x.reshape(batch, channels, height // block, block, width // block, block)
        return x.permute(0, 3, 5, 1, 2, 4).reshape(batch, -1, height // block, width // block)
