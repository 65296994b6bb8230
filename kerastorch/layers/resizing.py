"""Images in other sizes, as TensorFlow computes them: from pixel centre to pixel centre.

TensorFlow interpolates in float32 whatever it takes; here the places between the pixels are its
float32 ones, from which torch's own differ by 1e-5 of a pixel hundreds of pixels from the corner,
and the values keep the precision of the images.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Size = tuple[int, int]


def _triangle(x: Tensor) -> Tensor:
    return 1 - x


def _keys_cubic(x: Tensor) -> Tensor:
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, far)


def _mitchell_cubic(x: Tensor) -> Tensor:
    near = (7 / 6 * x - 2) * x * x + 8 / 9
    far = ((-7 / 18 * x + 2) * x - 10 / 3) * x + 16 / 9
    return torch.where(x < 1, near, far)


def _gaussian(x: Tensor) -> Tensor:
    return torch.exp(-2 * x * x)  # of standard deviation 1/2


def _lanczos3(x: Tensor) -> Tensor:
    return torch.sinc(x) * torch.sinc(x / 3)


def _lanczos5(x: Tensor) -> Tensor:
    return torch.sinc(x) * torch.sinc(x / 5)


# Kernels on the distance from a pixel, with the radius beyond which they are 0.
_KERNELS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "bilinear": (_triangle, 1),
    "bicubic": (_keys_cubic, 2),
    "lanczos3": (_lanczos3, 3),
    "lanczos5": (_lanczos5, 5),
    "gaussian": (_gaussian, 1.5),
    "mitchellcubic": (_mitchell_cubic, 2),
}
# The last two are Keras 2's only.
INTERPOLATIONS = ("nearest", "area", *_KERNELS)


def check_resizing(interpolation: str, crops: bool, pads: bool, fill_mode: str) -> None:
    """Raises a ValueError for arguments of a resizing that Keras has not."""
    if interpolation not in INTERPOLATIONS:
        allowed = ", ".join(INTERPOLATIONS)
        raise ValueError(f"interpolation is one of {allowed}, not {interpolation!r}.")
    if crops and pads:
        raise ValueError("Only one of crop_to_aspect_ratio and pad_to_aspect_ratio can be True.")
    if fill_mode != "constant":
        raise ValueError(f"fill_mode is 'constant', not {fill_mode!r}.")


def resize_in_ratio(
    images: Tensor,
    size: Size,
    interpolation: str,
    antialias: bool,
    crops: bool,
    pads: bool,
    fill_value: float,
) -> Tensor:
    """`resize`, of images that are cropped or padded to the aspect ratio of the size before."""
    if crops:
        images = crop_to_ratio(images, size)
    elif pads:
        images = pad_to_ratio(images, size, fill_value)
    return resize(images, size, interpolation, antialias)


def resize(
    images: Tensor, size: Size, interpolation: str = "bilinear", antialias: bool = False
) -> Tensor:
    """Images of this height and width, in a new tensor.

    Args:
        images: (N, C, H, W); integers come back rounded.
        size: height and width.
        interpolation: one of `INTERPOLATIONS`.
        antialias: widen the kernel where images shrink, so that every pixel counts; without effect
            for `"nearest"` and `"area"`.
    """
    if not images.is_floating_point():
        return _in_integers(resize(images.float(), size, interpolation, antialias), images.dtype)
    if interpolation == "nearest":
        # Torch's "nearest" looks from the corner of a pixel, TensorFlow's from its centre.
        return F.interpolate(images, size, mode="nearest-exact")
    rows, columns = (
        _weights(images, given, wanted, interpolation, antialias)
        for given, wanted in zip(images.shape[2:], size, strict=True)
    )
    return in_layout_of(rows @ images @ columns.mT, images)


def _in_integers(values: Tensor, dtype: torch.dtype) -> Tensor:
    if dtype == torch.bool:
        return values.round().to(dtype)
    limits = torch.iinfo(dtype)
    return values.round().clamp(limits.min, limits.max).to(dtype)


def in_layout_of(y: Tensor, x: Tensor) -> Tensor:
    """`y` channels last in memory where `x` is."""
    if x.stride(1) == 1 and y.stride(1) != 1:
        return y.contiguous(memory_format=torch.channels_last)
    return y


def _weights(x: Tensor, given: int, wanted: int, interpolation: str, antialias: bool) -> Tensor:
    """(wanted, given): how much of each pixel of an axis is in each new one."""
    number = torch.arange(wanted, dtype=torch.float32, device=x.device)[:, None]
    pixels = torch.arange(given, dtype=torch.float32, device=x.device)
    if interpolation == "area":
        return _shares(number, pixels, _float32(given / wanted, x)).to(x.dtype)
    kernel, radius = _KERNELS[interpolation]
    if interpolation in ("bilinear", "bicubic") and not antialias:
        place, stretch = (number + 0.5) * _float32(given / wanted, x) - 0.5, 1
        if interpolation == "bicubic":
            place = _on_grid(place)
    else:
        step = 1 / _float32(wanted / given, x)  # rounded twice, as there
        place = (number + 0.5) * step - 0.5
        stretch = step.clamp(min=1) if antialias else 1
    distance = (pixels - place).abs() / stretch
    distance = distance.to(torch.promote_types(x.dtype, torch.float32))
    weights = torch.where(distance < radius, kernel(distance), 0)
    return (weights / weights.sum(1, keepdim=True)).to(x.dtype)


def _float32(value: float, like: Tensor) -> Tensor:
    return torch.full((), value, dtype=torch.float32, device=like.device)


def _shares(number: Tensor, pixels: Tensor, step: Tensor) -> Tensor:
    """What parts of new pixels the pixels cover, the last also what rounding puts behind it."""
    start, end = number * step, (number + 1) * step
    pixel_end = torch.where(pixels < pixels.shape[0] - 1, pixels + 1, torch.inf)
    shared = (torch.minimum(pixel_end, end) - torch.maximum(pixels, start)).clamp(min=0)
    is_within = (pixels < start) & (end < pixel_end)
    return torch.where(is_within, step, shared) / step


def _on_grid(place: Tensor) -> Tensor:
    """TensorFlow looks its cubic weights up in a table of 1024 places between two pixels."""
    whole = place.floor()
    return whole + ((place - whole) * 1024).round() / 1024


def window_of_ratio(images: Tensor, size: Size) -> tuple[int, int, int, int]:
    """Top, left, height and width of the largest window in the middle with a size's ratio."""
    height, width = images.shape[2:]
    rows = max(min(height, width * size[0] // size[1]), 1)
    columns = max(min(width, height * size[1] // size[0]), 1)
    return (height - rows) // 2, (width - columns) // 2, rows, columns


def crop_to_ratio(images: Tensor, size: Size) -> Tensor:
    """A view of the largest window, in the middle, with the aspect ratio of this size."""
    top, left, rows, columns = window_of_ratio(images, size)
    return images[:, :, top : top + rows, left : left + columns]


def pad_to_ratio(images: Tensor, size: Size, value: float) -> Tensor:
    """The images in the middle of a canvas with nearly the aspect ratio of this size.

    Both margins of an axis are equally wide.
    """
    height, width = images.shape[2:]
    vertical = (max(height, width * size[0] // size[1]) - height) // 2
    horizontal = (max(width, height * size[1] // size[0]) - width) // 2
    return F.pad(images, (horizontal, horizontal, vertical, vertical), value=value)


def smart_resize(images: Tensor, size: Size) -> Tensor:
    """The largest window with the aspect ratio of this size, in this size (bilinear)."""
    return resize(crop_to_ratio(images, size), size)


def affine_transform(
    images: Tensor, matrices: Tensor, interpolation: str, fill_mode: str, fill_value: float
) -> Tensor:
    """Images seen through a map of their pixels each (`keras.ops.image.affine_transform`).

    Args:
        images: (N, C, H, W).
        matrices: (N, 2, 3), which take (x, y, 1) of an output's pixel to (x, y) of the input's;
            TensorFlow computes with them in float32.
        interpolation: `"nearest"` or `"bilinear"`.
        fill_mode: what lies outside: `"constant"`, `"nearest"`, `"reflect"` or `"wrap"`.
        fill_value: the constant.
    """
    channels, height, width = images.shape[1:]
    columns = torch.arange(width, dtype=torch.float32, device=images.device)
    rows = torch.arange(height, dtype=torch.float32, device=images.device)[:, None]
    of_x, of_y, offset = matrices.float()[:, :, :, None, None].unbind(2)
    x, y = (of_x * columns + of_y * rows + offset).unbind(1)
    x, y = _FOLDS[fill_mode](x, width), _FOLDS[fill_mode](y, height)
    flat = images.flatten(2)

    def read(y: Tensor, x: Tensor) -> Tensor:
        place = y.clamp(0, height - 1) * width + x.clamp(0, width - 1)
        place = place.long().flatten(1)[:, None].expand(-1, channels, -1)
        values = flat.gather(2, place).unflatten(2, (height, width))
        if fill_mode != "constant":
            return values
        is_inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        return torch.where(is_inside[:, None], values, fill_value)

    if interpolation == "nearest":
        return in_layout_of(read(_rounded(y), _rounded(x)), images)
    top, left = y.floor(), x.floor()
    down, right = ((z - z.floor())[:, None].to(images.dtype) for z in (y, x))
    above = read(top, left) * (1 - right) + read(top, left + 1) * right
    below = read(top + 1, left) * (1 - right) + read(top + 1, left + 1) * right
    return in_layout_of(above * (1 - down) + below * down, images)


def _rounded(x: Tensor) -> Tensor:
    """The nearest whole numbers, halves away from 0."""
    return x.sign() * (x.abs() + 0.5).floor()


# Where TensorFlow looks, on an axis of a length, for what lies at a place.


def _reflected(place: Tensor, length: int) -> Tensor:
    period = 2 * length
    place = torch.where(place < 0, -place - 1, place)
    place = place - period * (place / period).floor()
    place = torch.where(place >= length, period - place - 1, place)
    return place.clamp(0, length - 1)


def _wrapped(place: Tensor, length: int) -> Tensor:
    last = max(length - 1, 1)
    before = place + length * ((-place / last).trunc() + 1)
    behind = place - length * (place / last).trunc()
    place = torch.where(place < 0, before, torch.where(place > length - 1, behind, place))
    return place.clamp(0, length - 1)


def _clamped(place: Tensor, length: int) -> Tensor:
    return place.clamp(0, length - 1)


def _kept(place: Tensor, length: int) -> Tensor:
    return place


_FOLDS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "reflect": _reflected,
    "wrap": _wrapped,
    "constant": _kept,
    "nearest": _clamped,
}
FILL_MODES = tuple(_FOLDS)
