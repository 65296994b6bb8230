"""Convolutions and dense layers by oneDNN, as PyTorch has them on the CPU, called directly.

The layers' own calls lay the weights out anew each time, and pass over the result once more for an
activation and again for a sum. Here the weights are laid out once, and what follows is computed
while the result is at hand.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import activations
from ..layers.convolutional import SamePaddedConv2d
from ..layers.padding import Margins, Placement, can_widen_kernel, place_margins, same_margins

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


class Convolution:
    """A convolution of images, what is added to it, and the activation of that.

    Args:
        weight, bias: those of `F.conv2d`.
        strides, dilation, groups: those of `F.conv2d`.
        margins_of: gives the zeros around an image of a height and width.
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
        self._laid_out: dict[torch.Size, tuple[Placement, Tensor]] = {}
        self.activation: Callable = activations.linear

    def __call__(self, x: Tensor) -> Tensor:
        x, weight, padding = self._place(x)
        return torch.ops.mkldnn._convolution_pointwise(
            x, weight, self._bias, padding, self._strides, self._dilation, self._groups,
            *ATTRIBUTES[self.activation],
        )  # fmt: skip

    def plus(self, x: Tensor, addend: Tensor) -> Tensor:
        """The sum with another tensor, and its activation."""
        x, weight, padding = self._place(x)
        return torch.ops.mkldnn._convolution_pointwise.binary(
            x, addend, weight, self._bias, padding, self._strides, self._dilation, self._groups,
            "add", 1.0, AFTER_SUM[self.activation], [], "",
        )  # fmt: skip

    def onto(self, x: Tensor, addend: Tensor) -> Tensor:
        """The same in the place of the other tensor, which has the shape of the result."""
        x, weight, padding = self._place(x)
        return torch.ops.mkldnn._convolution_pointwise_.binary(
            addend, x, weight, self._bias, padding, self._strides, self._dilation, self._groups,
            "add", 1.0, AFTER_SUM[self.activation], [], "",
        )  # fmt: skip

    def _place(self, x: Tensor) -> tuple[Tensor, Tensor, tuple[int, int]]:
        """The image, the weight and the padding of the operation."""
        found = self._laid_out.get(x.shape)
        if found is None:
            found = self._lay_out(x.shape)
            others = list(self._laid_out.items())[1 - LAYOUTS :]
            self._laid_out = dict([*others, (x.shape, found)])  # other threads read the old one
        placement, weight = found
        if placement.image:
            x = F.pad(x, placement.image)
        return x, weight, placement.padding

    def _lay_out(self, shape: torch.Size) -> tuple[Placement, Tensor]:
        """Where the zeros go, and the weight as oneDNN wants it for images of this shape."""
        batch, channels, height, width = shape
        widens_kernel = can_widen_kernel(self._groups, channels, self._dilation)
        placement = place_margins(self._margins_of(shape[2:]), widens_kernel)
        left, right, top, bottom = placement.image or (0, 0, 0, 0)
        weight = F.pad(self._weight, placement.kernel) if placement.kernel else self._weight
        packed = torch.ops.mkldnn._reorder_convolution_weight(
            weight.contiguous(memory_format=torch.channels_last),
            placement.padding,
            self._strides,
            self._dilation,
            self._groups,
            [batch, channels, height + top + bottom, width + left + right],
        )
        return placement, packed


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


Kernel = Convolution | Product


def dense(layer: nn.Linear) -> Convolution:
    """The kernel of a dense layer on the channels of images: a window of one pixel."""
    return Convolution(layer.weight[:, :, None, None], layer.bias, _no_margins)


def affine(scale: Tensor, shift: Tensor) -> Convolution:
    """What multiplies each channel with a number and adds another."""
    return Convolution(scale.reshape(-1, 1, 1, 1), shift, _no_margins, groups=len(scale))


def _no_margins(size: torch.Size) -> Margins:
    return (0, 0), (0, 0)
