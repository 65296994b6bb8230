"""Convolutions and dense layers on the CPU, with the activation and the sum behind them.

Most are oneDNN's, as PyTorch has them, called directly: the layers' own calls lay the weights out
anew each time, and pass over the result once more for an activation and again for a sum. Here the
weights are laid out once, and what follows is computed while the result is at hand. Others have
faster ways, see `gemm` and `winograd`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import activations
from ..layers.convolutional import SamePaddedConv2d
from ..layers.padding import (
    Margins,
    can_widen_kernel,
    output_size,
    pad_images,
    place_margins,
    same_margins,
)
from . import gemm, winograd
from .gemm import Gemm
from .winograd import Winograd

# oneDNN's names for activations, and their arguments.
ATTRIBUTES = {
    activations.linear: ("none", [], ""),
    activations.relu: ("relu", [], ""),
    activations.relu6: ("hardtanh", [0.0, 6.0], ""),
    activations.silu: ("swish", [], ""),
    activations.hard_silu: ("hardswish", [], ""),
    activations.sigmoid: ("sigmoid", [], ""),
    activations.tanh: ("tanh", [], ""),
    activations.gelu: ("gelu", [], "none"),
}
LAYOUTS = 2  # of a weight that are kept, say for full batches and the last one
AFTER_SUM = {activations.linear: None, activations.relu: "relu"}


def has_kernels(dtype: torch.dtype) -> bool:
    """Whether PyTorch has these convolutions here for weights of this type."""
    ops = torch.ops.mkldnn
    if not torch.backends.mkldnn.is_available() or not hasattr(ops, "_convolution_pointwise"):
        return False
    return dtype == torch.float32 or (
        dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


def has_exact_products() -> bool:
    """Whether products of float32 are of float32: PyTorch can be told to round them, though not
    those of convolutions."""
    matmul = getattr(torch.backends.mkldnn, "matmul", None)
    if matmul is None:  # before PyTorch 2.9
        return torch.get_float32_matmul_precision() == "highest"
    return matmul.fp32_precision in ("none", "ieee")


def _no_margins(size: torch.Size) -> Margins:
    return (0, 0), (0, 0)


class Convolution:
    """A convolution of images, what is added to it, and the activation of that.

    Args:
        weight, bias: those of `F.conv2d`.
        margins_of: gives the zeros around an image of a height and width.
        strides, dilation, groups: those of `F.conv2d`.

    Attributes:
        activation: the function.
        may_take_winograd: whether it may, where that is faster, for more memory.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        margins_of: Callable[[torch.Size], Margins],
        strides: tuple[int, int] = (1, 1),
        dilation: tuple[int, int] = (1, 1),
        groups: int = 1,
    ):
        self._weight, self._bias = weight.detach(), None if bias is None else bias.detach()
        self._margins_of = margins_of
        self._strides, self._dilation, self._groups = strides, dilation, groups
        self._ways: dict[torch.Size, tuple[Way, torch.Size]] = {}
        self.activation: Callable = activations.linear
        self.may_take_winograd = True

    @property
    def dtype(self) -> torch.dtype:
        return self._weight.dtype

    @property
    def is_pointwise(self) -> bool:
        """Whether each pixel of the result is computed from the same one alone."""
        return self._takes_single_pixels and self._strides == (1, 1)

    @property
    def takes_scales(self) -> bool:
        """Whether scales and shifts of channels in front can go into its weights."""
        return self._takes_single_pixels and self._groups == 1

    @property
    def _takes_single_pixels(self) -> bool:
        margins = self._margins_of(torch.Size((1, 1)))
        return self._weight.shape[2:] == (1, 1) and not any(map(any, margins))

    @property
    def saves_channels(self) -> bool:
        """Whether the result has fewer than what it takes."""
        features, channels = self._weight.shape[:2]
        return features < channels * self._groups

    def take_scales(self, scale: Tensor, shift: Tensor) -> None:
        """Has it multiply each channel with a number and add another before.

        Args:
            scale, shift: (C,), in float64.
        """
        weight, bias = self._weight, self._bias
        shifted = weight.double().flatten(1) @ shift
        self._bias = (shifted if bias is None else shifted + bias).to(weight)
        self._weight = (weight * scale[:, None, None]).to(weight)

    def __call__(self, x: Tensor) -> Tensor:
        way, _ = self._prepared(x.shape)
        return way(x, self.activation)

    def plus(self, x: Tensor, addend: Tensor) -> Tensor:
        """The sum with another tensor, which may be broadcast, and its activation."""
        way, shape = self._prepared(x.shape)
        if addend.shape != shape:
            return activations.in_place(self.activation)(way(x, activations.linear) + addend)
        return way.plus(x, addend, self.activation)

    def onto(self, x: Tensor, addend: Tensor) -> Tensor:
        """The same in the place of the other tensor, which has the shape of the result."""
        way, _ = self._prepared(x.shape)
        return way.onto(x, addend, self.activation)

    def _prepared(self, shape: torch.Size) -> tuple[Way, torch.Size]:
        """What computes it for images of a shape, and the shape of the result."""
        found = self._ways.get(shape)
        if found is None:
            found = self._way(shape), self._result_shape(shape)
            others = list(self._ways.items())[1 - LAYOUTS :]
            self._ways = dict([*others, (shape, found)])  # other threads read the old one
        return found

    def _way(self, shape: torch.Size) -> Way:
        margins = self._margins_of(shape[2:])
        options = self._strides, self._dilation, self._groups
        if options == ((1, 1), (1, 1), 1) and has_exact_products():
            if gemm.saves_time(self._weight, margins, shape):
                return self._gemm
            if self.may_take_winograd and winograd.saves_time(self._weight, margins, shape):
                return Winograd(self._values, self._bias, margins, shape)
        return Direct(self._weight, self._bias, margins, *options, shape)

    @functools.cached_property
    def _gemm(self) -> Gemm:
        return Gemm(self._weight, self._bias)

    @functools.cached_property
    def _values(self) -> Tensor:
        """The weight as `Winograd` takes it, for images of any shape."""
        return winograd.values_of(self._weight)

    def _result_shape(self, shape: torch.Size) -> torch.Size:
        extents = map(sum, zip(shape[2:], map(sum, self._margins_of(shape[2:])), strict=True))
        axes = zip(extents, self._weight.shape[2:], self._strides, self._dilation, strict=True)
        size = (
            output_size(extent, window, stride, "valid", dilation)
            for extent, window, stride, dilation in axes
        )
        return torch.Size((shape[0], len(self._weight), *size))


class Affine(Convolution):
    """What multiplies each channel with a number and adds another.

    Args:
        scale, shift: (C,).
    """

    def __init__(self, scale: Tensor, shift: Tensor):
        super().__init__(scale.reshape(-1, 1, 1, 1), shift, _no_margins, groups=len(scale))

    @property
    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """Those numbers, (C,), in float64."""
        return self._weight.double().flatten(), self._bias.double()


class Bound:
    """What a ReLU of scaled and shifted channels is, but for a scale and a shift behind it.

    That is relu(s x + t) = s max(x, -t / s) + t for s above zero, and the same with the minimum for
    s below. Where s is next to nothing beside t, it is relu(t).

    Args:
        scale, shift: s and t, (C,), in float64.

    Attributes:
        scale, shift: those behind it, alike.
    """

    def __init__(self, scale: Tensor, shift: Tensor):
        turn = -shift / scale  # where the ReLU begins
        is_constant = ~turn.float().isfinite()
        self.scale = torch.where(is_constant, 1.0, scale)
        self.shift = torch.where(is_constant, 0.0, shift)
        least = torch.where(scale > 0, turn, -torch.inf)
        most = torch.where(scale < 0, turn, torch.inf)
        self._least, self._most = (
            torch.where(is_constant, torch.relu(shift), bound).float()[:, None, None]
            for bound in (least, most)
        )

    def __call__(self, x: Tensor) -> Tensor:
        return torch.clamp(x, self._least, self._most)


class Direct:
    """A convolution by oneDNN, for images of one shape, with the weight as it wants it for them.

    Args:
        margins: the zeros around each image.
        shape: that of the images, (N, C, H, W).
        the others: see `Convolution`.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        margins: Margins,
        strides: tuple[int, int],
        dilation: tuple[int, int],
        groups: int,
        shape: torch.Size,
    ):
        batch, channels, height, width = shape
        widens_kernel = can_widen_kernel(groups, channels, dilation)
        image, kernel, padding = place_margins(margins, widens_kernel)
        left, right, top, bottom = image or (0, 0, 0, 0)
        weight = F.pad(weight, kernel) if kernel else weight
        weight = torch.ops.mkldnn._reorder_convolution_weight(
            weight.contiguous(memory_format=torch.channels_last),
            padding,
            strides,
            dilation,
            groups,
            [batch, channels, height + top + bottom, width + left + right],
        )
        self._pad = image
        self._arguments = weight, bias, padding, strides, dilation, groups

    def __call__(self, x: Tensor, activation: Callable) -> Tensor:
        return torch.ops.mkldnn._convolution_pointwise(
            self._padded(x), *self._arguments, *ATTRIBUTES[activation]
        )

    def plus(self, x: Tensor, addend: Tensor, activation: Callable) -> Tensor:
        return torch.ops.mkldnn._convolution_pointwise.binary(
            self._padded(x), addend, *self._arguments, "add", 1.0, AFTER_SUM[activation], [], ""
        )

    def onto(self, x: Tensor, addend: Tensor, activation: Callable) -> Tensor:
        return torch.ops.mkldnn._convolution_pointwise_.binary(
            addend, self._padded(x), *self._arguments, "add", 1.0, AFTER_SUM[activation], [], ""
        )

    def _padded(self, x: Tensor) -> Tensor:
        return pad_images(x, self._pad) if self._pad else x


def convolution(layer: SamePaddedConv2d, margins: Margins | None) -> Convolution:
    """The kernel of a convolution layer, or of a part of one.

    Args:
        margins: the zeros around each image that the layer does not add of its own.
    """

    def same(size: torch.Size) -> Margins:
        return same_margins(size, layer.kernel_size, layer.stride, layer.dilation)

    if layer.padding != "same":
        rows, columns = (0, 0) if layer.padding == "valid" else layer.padding
        margins = margins or ((rows, rows), (columns, columns))
    return Convolution(
        layer.weight,
        layer.bias,
        same if layer.padding == "same" else lambda _: margins,
        layer.stride,
        layer.dilation,
        layer.groups,
    )


class Product:
    """A product of vectors and a matrix, what is added to it, and the activation of that.

    The matrix stays as it lies: of a large one, as VGG's, another layout takes as much memory again
    and saves little time.

    Args:
        weight, bias: those of `F.linear`.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None):
        self._weight, self._bias = weight.detach(), None if bias is None else bias.detach()
        self.activation: Callable = activations.linear

    def __call__(self, x: Tensor) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(
            x.contiguous(), self._weight, self._bias, *ATTRIBUTES[self.activation]
        )


Way = Direct | Gemm | Winograd
Kernel = Convolution | Product


def dense(layer: nn.Linear) -> Convolution:
    """The kernel of a dense layer on the channels of images: a window of one pixel."""
    return Convolution(layer.weight[:, :, None, None], layer.bias, _no_margins)
