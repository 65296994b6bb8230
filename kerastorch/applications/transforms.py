"""From pictures to the batch that a model was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..preprocessing.image import INTERPOLATIONS, convert_img, img_to_array, resize_img
from .imagenet_utils import CAFFE_MEAN, TORCH_MEAN, TORCH_STD, preprocess_input

if TYPE_CHECKING:
    from PIL.Image import Image

MODES_IN_WORDS = {
    "tf": "RGB, scaled to [-1, 1] as x / 127.5 - 1",
    "torch": f"RGB, scaled to [0, 1], less the means {TORCH_MEAN}, divided by {TORCH_STD}",
    "caffe": f"BGR, less the means {CAFFE_MEAN}, not scaled",
}
"""What each mode of `preprocess_input` makes of RGB pixels in [0, 255]."""


class Preprocessing(torch.nn.Module):
    """Turns pictures into a batch as Keras does, to the bit.

    A picture file so becomes `preprocess_input(img_to_array(load_img(path, target_size=size)))`.

    Args:
        size: height and width in pixels.
        mode: of `imagenet_utils.preprocess_input`.
        interpolation: how pictures are resized, one of Pillow's filters; Keras's default is
            `"nearest"`.

    Raises:
        ValueError: for an unknown mode or interpolation.
    """

    def __init__(self, size: tuple[int, int], mode: str, interpolation: str = "nearest"):
        super().__init__()
        for value, known in ((mode, tuple(MODES_IN_WORDS)), (interpolation, INTERPOLATIONS)):
            if value not in known:
                raise ValueError(f"{value!r} is none of {', '.join(known)}")
        self.size = tuple(size)
        self.mode = mode
        self.interpolation = interpolation

    def forward(
        self, pictures: Image | torch.Tensor | Sequence[Image | torch.Tensor]
    ) -> torch.Tensor:
        """The batch of a picture, or of several.

        Args:
            pictures: a PIL image in any mode, a tensor `(3, height, width)` of RGB values in
                [0, 255], uint8 or floating, or a list of them, of any sizes; or a tensor
                `(batch, 3, height, width)`. Tensors stay on their device; those of uint8 are
                resized as pictures of 8 bits are, without rounding otherwise.

        Returns:
            A float32 tensor `(batch, 3, *size)`.

        Raises:
            TypeError: for anything else.
            ValueError: for a tensor of another shape or type, and for an empty list.
        """
        if isinstance(pictures, torch.Tensor) and pictures.ndim == 4:
            batch = self._resized(pictures)
        else:
            several = pictures if isinstance(pictures, list | tuple) else [pictures]
            if not several:
                raise ValueError("a batch needs at least one picture")
            batch = torch.stack([self._pixels(picture) for picture in several])
        return preprocess_input(batch, "channels_first", self.mode)

    def _pixels(self, picture: Image | torch.Tensor) -> torch.Tensor:
        """A picture at the model's size, `(3, height, width)` in [0, 255]."""
        if isinstance(picture, torch.Tensor):
            if picture.ndim != 3:
                raise ValueError(f"a picture is a tensor (3, height, width), not {picture.shape}")
            return self._resized(picture)

        from PIL.Image import Image

        if not isinstance(picture, Image):
            raise TypeError(
                "pictures are PIL images, RGB tensors or a list of them; "
                f"got {type(picture).__name__}"
            )
        picture = resize_img(convert_img(picture, "rgb"), self.size, self.interpolation)
        return torch.from_numpy(img_to_array(picture, "channels_first", "float32"))

    def _resized(self, x: torch.Tensor) -> torch.Tensor:
        """One picture or a batch at the model's size, in float32."""
        if x.shape[-3] != 3 or not (x.dtype == torch.uint8 or x.is_floating_point()):
            raise ValueError(
                "pictures are tensors (3, height, width) or (batch, 3, height, width), uint8 or "
                f"floating; got {tuple(x.shape)} of {x.dtype}"
            )
        if x.is_floating_point():
            x = x.float()
        if x.shape[-2:] != self.size:
            resize = _nearest if self.interpolation == "nearest" else _resized_by_pillow
            x = resize(x, self.size, self.interpolation)
        return x.float()

    def extra_repr(self) -> str:
        return f"size={self.size}, mode={self.mode!r}, interpolation={self.interpolation!r}"


def _nearest(x: torch.Tensor, size: tuple[int, int], interpolation: str) -> torch.Tensor:
    """The pixels that Pillow takes, which are not always PyTorch's, on the device of `x`."""
    from PIL import Image

    def taken(old: int, new: int) -> torch.Tensor:
        positions = Image.fromarray(np.arange(old, dtype=np.int32)[None])
        positions = np.array(resize_img(positions, (1, new), interpolation))[0]
        return torch.from_numpy(positions).to(x.device)

    rows, columns = map(taken, x.shape[-2:], size)
    return x[..., rows[:, None], columns]


def _resized_by_pillow(x: torch.Tensor, size: tuple[int, int], interpolation: str) -> torch.Tensor:
    """Each channel as a picture of its own, of 8 bits or of floating point numbers."""
    from PIL import Image

    channels = x.detach().cpu().numpy().reshape(-1, *x.shape[-2:])
    resized = [resize_img(Image.fromarray(one), size, interpolation) for one in channels]
    return torch.from_numpy(np.stack(resized)).reshape(*x.shape[:-2], *size).to(x.device)
