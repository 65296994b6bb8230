"""Padding: of windows, and by layers that only pad."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...engine import Layer
from ...layers import ZeroPadding2D
from ...layers.padding import same_padding
from .case import Case, Trial, twin


def padding(case: Case) -> Iterator[Trial]:
    """Other paddings of a convolution or pooling, done by hand around one without padding."""
    x, module = case.x, case.module
    key = "depthwise" if hasattr(module, "depthwise") else ""
    window = module.get_submodule(key)
    if not (isinstance(x, Tensor) and x.ndim == 4 and hasattr(window, "kernel_size")):
        return
    if isinstance(window, nn.ConvTranspose2d):
        return
    open_window = twin(module)
    bare = open_window.get_submodule(key)
    bare.padding = "valid" if isinstance(bare, Layer) else 0
    bare.ceil_mode = False
    kernel, stride, dilation = (
        _pair(getattr(window, name, 1)) for name in ("kernel_size", "stride", "dilation")
    )
    is_average = isinstance(window, nn.AvgPool2d)
    fills = (-torch.inf, 0.0) if isinstance(window, nn.MaxPool2d) else (0.0,)
    for name, margins in _margins(x.shape[2:], kernel, stride, dilation).items():
        (top, bottom), (left, right) = margins
        for fill in fills:
            padded = F.pad(x, (left, right, top, bottom), value=fill)
            with_what = " with zeros" if len(fills) > 1 and not fill else ""
            yield (
                f"The reference pads {name}{with_what}; this layer pads {_own_padding(window)}.",
                lambda padded=padded: case.run(open_window, padded),
            )
        if is_average:  # whose fill is zeros
            inside = F.pad(torch.ones_like(x), (left, right, top, bottom))
            yield (
                f"The reference pads {name} and leaves the padding out of its averages; this layer "
                f"pads {_own_padding(window)}.",
                lambda padded=padded, inside=inside: (
                    case.run(open_window, padded) / case.run(open_window, inside)
                ),
            )


def _pair(value: Any) -> tuple[int, int]:
    return tuple(value) if isinstance(value, list | tuple) else (value, value)


def _own_padding(window: nn.Module) -> str:
    padding = window.padding
    if isinstance(padding, str):
        return f"by the rule {padding!r}"
    height, width = _pair(padding)
    return f"{height} on every side" if height == width else f"{height} and {width} on both sides"


def _margins(
    sizes: Sequence[int], kernel: tuple, stride: tuple, dilation: tuple
) -> dict[str, tuple]:
    """Paddings in front and behind along both axes, by what they are called."""
    same = [same_padding(*axis) for axis in zip(sizes, kernel, stride, dilation, strict=True)]
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    (before, after), _ = same
    half = [(span // 2, span // 2) for span in spans]
    return {
        f"as TensorFlow's 'same', {before} in front and {after} behind": tuple(same),
        "nothing": ((0, 0), (0, 0)),
        f"{half[0][0]} on every side": tuple(half),
        f"{after} in front and {before} behind": tuple((b, a) for a, b in same),
    }


def zero_padding(case: Case) -> Iterator[Trial]:
    """Other places for the rows and columns of a layer that only pads."""
    x, shape = case.x, case.expected.shape
    is_padding = isinstance(case.module, nn.ZeroPad2d | ZeroPadding2D | nn.Identity)
    if not (is_padding and isinstance(x, Tensor) and x.ndim == len(shape) == 4):
        return
    sizes = shape[2:] if case.data_format == "channels_first" else shape[1:3]
    extra = [wanted - size for wanted, size in zip(sizes, x.shape[2:], strict=True)]
    if min(extra) < 0 or max(extra) > 8:
        return
    for top, left in itertools.product(range(extra[0] + 1), range(extra[1] + 1)):
        margins = (left, extra[1] - left, top, extra[0] - top)
        yield (
            f"The reference pads {top} rows above and {margins[3]} below, {left} columns left and "
            f"{margins[1]} right.",
            lambda margins=margins: F.pad(x, margins),
        )
