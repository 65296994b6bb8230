"""TensorFlow's `same` padding, and the output sizes that it and `valid` give.

`same` keeps ceil(size / stride) outputs; the padding depends on the size at run time and its larger
half goes to the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..engine.shortcuts import runs_eagerly

Pair = tuple[int, int]
Margins = tuple[Pair, Pair]


_COUNTS = {1: "one", 2: "two"}
LEAST_FILLED = 1 << 20  # numbers of images, for which filling all takes longer than more calls
_MOST = 2**31 - 1  # of a window or a step: torch multiplies them with sizes without a check


def per_axis(value: int | Sequence[int], axes: int, what: str, least: int = 1) -> tuple[int, ...]:
    """The value for each spatial axis."""
    values = tuple(value) if isinstance(value, list | tuple) else (value,) * axes
    is_right = all(isinstance(v, Integral) and least <= v <= _MOST for v in values)
    if len(values) != axes or not is_right:
        kind = "a positive integer" if least else "an integer that is not negative,"
        raise ValueError(f"{what} is {kind} or {_COUNTS[axes]} of them, not {value!r}.")
    return tuple(map(int, values))


def positive(value: int, what: str) -> int:
    """The value itself, if it is a positive integer."""
    if not isinstance(value, Integral) or not 0 < value <= _MOST:
        raise ValueError(f"{what} is a positive integer, not {value!r}.")
    return int(value)


def check_padding(padding: str, allowed: Sequence[str] = ("valid", "same")) -> str:
    """The padding's name in lower case."""
    name = padding.lower() if isinstance(padding, str) else padding
    if name not in allowed:
        raise ValueError(f"padding must be one of {', '.join(allowed)}, not {padding!r}.")
    return name


def output_size(
    size: int | None, kernel: int, stride: int, padding: str, dilation: int = 1
) -> int | None:
    """How many outputs a convolution or pooling has along an axis of this size."""
    if size is None:
        return None
    if padding in ("same", "causal"):
        return -(-size // stride)
    span = (kernel - 1) * dilation + 1
    if span > size:
        raise ValueError(f"A window of {span} does not fit into an input of size {size}.")
    return (size - span) // stride + 1


def output_sizes(
    sizes: Sequence[int | None],
    kernel: Sequence[int],
    strides: Sequence[int],
    padding: str,
    dilation: Sequence[int] | None = None,
) -> tuple[int | None, ...]:
    """`output_size` for each axis."""
    dilation = dilation or (1,) * len(sizes)
    return tuple(
        output_size(size, k, s, padding, d)
        for size, k, s, d in zip(sizes, kernel, strides, dilation, strict=True)
    )


def transposed_size(
    size: int | None,
    kernel: int,
    stride: int,
    padding: str,
    dilation: int = 1,
    extra: int | None = None,
) -> int | None:
    """How many outputs a transposed convolution has along an axis of this size.

    Args:
        extra: Keras's `output_padding`; None for Keras's default.
    """
    if size is None:
        return None
    span = (kernel - 1) * dilation + 1
    if extra is None:
        return size * stride if padding == "same" else (size - 1) * stride + max(span, stride)
    return (size - 1) * stride + (span % 2 if padding == "same" else span) + extra


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> Pair:
    """The padding before and after."""
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def same_margins(
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int] = (1, 1),
) -> Margins:
    """`same_padding` of height and width."""
    height, width = map(same_padding, sizes, kernel, strides, dilation)
    return height, width


class Placement(NamedTuple):
    """How a convolution gets margins of zeros that may be larger at the end.

    Attributes:
        image: what `F.pad` puts around the image first; None for nothing.
        kernel: what `F.pad` puts around the kernel; None for nothing.
        padding: the operation's own, on both sides.
    """

    image: tuple[int, ...] | None
    kernel: tuple[int, ...] | None
    padding: Pair


def place_margins(margins: Margins, widens_kernel: bool) -> Placement:
    """How a convolution gets its margins, without a padded copy of the image where it can be.

    Args:
        margins: ((top, bottom), (left, right)) in pixels.
        widens_kernel: whether the kernel may rather be padded than the image.
    """
    (top, bottom), (left, right) = margins
    more_below, more_right = bottom - top, right - left
    if not more_below and not more_right:
        return Placement(None, None, (bottom, right))
    if widens_kernel and {more_below, more_right} <= {0, 1}:
        # A zero row before the kernel's first lets it begin a row earlier, where the padding of
        # the operation begins, and computes the same.
        return Placement(None, (more_right, 0, more_below, 0), (bottom, right))
    return Placement((left, right, top, bottom), None, (0, 0))


def convolve_padded(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    strides: Pair,
    margins: Margins,
    dilation: Pair,
    groups: int,
) -> Tensor:
    """The convolution of an image with margins of zeros.

    Args:
        x: (N, C, H, W).
        margins: ((top, bottom), (left, right)) in pixels.
        weight, bias, strides, dilation, groups: those of `F.conv2d`.
    """
    widens_kernel = (
        can_widen_kernel(groups, x.shape[1], dilation)
        and x.device.type == "cpu"
        # In ONNX a convolution takes such margins itself, and onnxruntime loses padded kernels.
        and not torch.onnx.is_in_onnx_export()
    )
    placement = place_margins(margins, widens_kernel)
    if placement.image:
        x = pad_images(x, placement.image)
    if placement.kernel:
        weight = F.pad(weight, placement.kernel)
    return F.conv2d(x, weight, bias, strides, placement.padding, dilation, groups)


def pad_images(x: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Zeros around images, as `F.pad` puts them.

    Args:
        x: (N, C, H, W).
        sizes: how many, left, right, top and bottom.
    """
    is_simple = type(x) is Tensor and x.device.type == "cpu" and runs_eagerly()
    if is_simple and x.numel() >= LEAST_FILLED:
        return _PaddedImages.apply(x, *sizes)
    return F.pad(x, sizes)


class _PaddedImages(torch.autograd.Function):
    """The same without two passes: `F.pad` first fills all with zeros, and copies the gradient."""

    @staticmethod
    def forward(x: Tensor, left: int, right: int, top: int, bottom: int) -> Tensor:
        batch, channels, height, width = x.shape
        padded = torch.empty(
            (batch, channels, top + height + bottom, left + width + right),
            dtype=x.dtype,
            device=x.device,
            memory_format=torch.channels_last if x.stride(1) == 1 else torch.contiguous_format,
        )
        padded[:, :, :top] = 0
        padded[:, :, top + height :] = 0
        padded[..., :left] = 0
        padded[..., left + width :] = 0
        padded[:, :, top : top + height, left : left + width] = x
        return padded

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        x, *ctx.sizes = inputs
        ctx.height, ctx.width = x.shape[2:]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        left, _, top, _ = ctx.sizes
        within = gradient[:, :, top : top + ctx.height, left : left + ctx.width]
        return within, None, None, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        return F.pad(tangent, ctx.sizes)


def can_widen_kernel(groups: int, channels: int, dilation: Pair) -> bool:
    """Whether a padded kernel costs less than a padded image: where each channel is on its own."""
    return groups == channels and max(dilation) == 1
