"""Pictures to arrays and back, equal to `keras.preprocessing.image` to the bit.

Pillow does the decoding and resizing, as in Keras, and is imported when a function first needs it.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kerastorch.config import check_data_format, floatx

if TYPE_CHECKING:
    from PIL.Image import Image, Resampling

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "hamming", "box", "lanczos")
"""What `interpolation` may be: the names of Pillow's resampling filters."""

# The Pillow modes that a color mode accepts as they are, and the one it converts all others to.
_COLOR_MODES = {
    "grayscale": (("L", "I;16", "I"), "L"),
    "rgb": (("RGB",), "RGB"),
    "rgba": (("RGBA",), "RGBA"),
}


def load_img(
    path: str | bytes | Path | io.BytesIO,
    color_mode: str = "rgb",
    target_size: tuple[int, int] | None = None,
    interpolation: str = "nearest",
    keep_aspect_ratio: bool = False,
) -> Image:
    """Read a picture from a file or a `BytesIO`.

    `color_mode` is "grayscale", "rgb" or "rgba"; grayscale pictures of 16 and 32 bits stay as deep
    as they are. `target_size` is `(height, width)` in pixels, `None` for the picture's own size;
    `interpolation` is one of `INTERPOLATIONS`. With `keep_aspect_ratio` the picture is cropped
    around its centre to the target's proportions before it is resized.

    Raises `ValueError` for an unknown color mode or interpolation, `TypeError` for a `path` of
    another type. Source: `keras.utils.load_img`.
    """
    if color_mode not in _COLOR_MODES:
        raise ValueError('color_mode must be "grayscale", "rgb", or "rgba"')
    img = convert_img(_open(path), color_mode)
    return resize_img(img, target_size, interpolation, keep_aspect_ratio)


def read_img(path: str | Path) -> Image:
    """The picture in a file, decoded, in the file's own mode and size.

    Raises:
        ValueError: with the path, for what is no picture, or a broken or too large one.
        OSError: the file cannot be read.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        img = _open(path)
        img.load()
    except UnidentifiedImageError:
        raise ValueError(f"{path}: not a picture in a format that Pillow reads") from None
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path}: {error}") from None
    except (OSError, SyntaxError) as error:  # Pillow's, about a broken picture
        if getattr(error, "filename", None) is not None:
            raise
        raise ValueError(f"{path}: {error}") from None
    return img


def convert_img(img: Image, color_mode: str) -> Image:
    """`img` in a color mode of `load_img`."""
    accepted, converted = _COLOR_MODES[color_mode]
    return img if img.mode in accepted else img.convert(converted)


def resize_img(
    img: Image,
    target_size: tuple[int, int] | None,
    interpolation: str = "nearest",
    keep_aspect_ratio: bool = False,
) -> Image:
    """`img` in another size; the arguments are those of `load_img`."""
    if target_size is None or img.size == (target_size[1], target_size[0]):
        return img
    size = (target_size[1], target_size[0])
    box = centred_box(img.size, size) if keep_aspect_ratio else None
    return img.resize(size, resampling(interpolation), box=box)


def img_to_array(
    img: Image, data_format: str | None = None, dtype: str | None = None
) -> np.ndarray:
    """The pixels of `img`, 0 to 255 for 8 bit pictures, as a new array of rank 3.

    Its shape is `(height, width, channels)`, or `(channels, height, width)` for the data format
    "channels_first"; `None` means `kerastorch.config.image_data_format()`. Its type is `dtype`, or
    `kerastorch.config.floatx()` for `None`.

    Raises `ValueError` for an unknown data format. Source: `keras.utils.img_to_array`.
    """
    channels_first = check_data_format(data_format) == "channels_first"
    x = np.array(img, dtype=dtype or floatx())
    if x.ndim not in (2, 3):
        raise ValueError(f"Unsupported image shape: {x.shape}")
    if x.ndim == 2:
        return x[None] if channels_first else x[..., None]
    return x.transpose(2, 0, 1) if channels_first else x


def array_to_img(
    x: np.ndarray, data_format: str | None = None, scale: bool = True, dtype: str | None = None
) -> Image:
    """A picture from an array of shape `(height, width, channels)` or `(channels, height, width)`.

    One channel gives a grayscale picture, three RGB, four RGBA. `scale` stretches the values so
    that the smallest becomes 0 and the largest 255; without it they are taken as pixel values.
    It is computed in `dtype`, `None` for `kerastorch.config.floatx()`; `x` is left as it is.

    Raises `ValueError` for another rank, number of channels or data format.
    Source: `keras.utils.array_to_img`.
    """
    from PIL import Image

    channels_first = check_data_format(data_format) == "channels_first"
    x = np.asarray(x, dtype=dtype or floatx())
    if x.ndim != 3:
        raise ValueError(
            f"Expected image array to have rank 3 (single image). Got array with shape: {x.shape}"
        )
    if channels_first:
        x = x.transpose(1, 2, 0)
    if x.shape[2] not in (1, 3, 4):
        raise ValueError(f"Unsupported channel number: {x.shape[2]}")
    if scale:
        x = _stretched(x)
    if x.shape[2] == 1:
        # Deeper than 8 bits: Pillow's mode "I" holds 32 bit integers.
        return Image.fromarray(x[:, :, 0].astype("int32" if x.max() > 255 else "uint8"))
    return Image.fromarray(x.astype("uint8"))


def _open(path: str | bytes | Path | io.BytesIO) -> Image:
    from PIL import Image

    if isinstance(path, io.BytesIO):
        return Image.open(path)
    if not isinstance(path, (str, bytes, Path)):
        raise TypeError(f"path should be path-like or io.BytesIO, not {type(path)}")
    # Read whole, so that the file is closed again before Pillow decodes it.
    with open(path, "rb") as file:
        return Image.open(io.BytesIO(file.read()))


def resampling(interpolation: str) -> Resampling:
    from PIL.Image import Resampling

    if interpolation not in INTERPOLATIONS:
        raise ValueError(
            f"Invalid interpolation method {interpolation} specified. "
            f"Supported methods are {', '.join(INTERPOLATIONS)}"
        )
    return Resampling[interpolation.upper()]


def centred_box(size: tuple[int, int], target: tuple[int, int]) -> tuple[int, int, int, int]:
    """The largest box of the target's proportions around the centre; x before y, as in Pillow."""
    width, height = size
    target_width, target_height = target
    crop_width = min(width, height * target_width // target_height)
    crop_height = min(height, width * target_height // target_width)
    left, top = (width - crop_width) // 2, (height - crop_height) // 2
    return left, top, left + crop_width, top + crop_height


def _stretched(x: np.ndarray) -> np.ndarray:
    x = x - x.min()
    peak = x.max()
    if peak != 0:
        x /= peak
    x *= 255
    return x
