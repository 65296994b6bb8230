"""From pictures to the batch that a model was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..engine import Model, Operation
from ..engine.foreign import UnknownShape
from ..engine.images import input_image
from ..engine.layout import join_shape
from ..layers import Normalization, Rescaling
from ..ops import KEEPING_SCALE
from ..preprocessing.image import INTERPOLATIONS, convert_img, img_to_array, resize_img
from .imagenet_utils import CAFFE_MEAN, TORCH_MEAN, TORCH_STD
from .input_channels import normalize
from .recognition import application_in, layers_before_weights
from .registry import ModelRecord

if TYPE_CHECKING:
    from PIL.Image import Image

MODES_IN_WORDS = {
    "tf": "RGB, scaled to [-1, 1] as x / 127.5 - 1",
    "torch": f"RGB, scaled to [0, 1], less the means {TORCH_MEAN}, divided by {TORCH_STD}",
    "caffe": f"BGR, less the means {CAFFE_MEAN}, not scaled",
    "unit": "RGB, scaled to [0, 1] as x / 255",
    "none": "as they are, in [0, 255]",
}
"""What each mode of `preprocess_input` makes of RGB pixels in [0, 255], `"unit"` and `"none"`."""

COLOR_MODES = {1: "grayscale", 3: "rgb", 4: "rgba"}
"""What pictures are read as, by the number of channels a model takes."""

# Of a random crop: its part of the picture's area, and its width by its height.
CROP_AREA, CROP_RATIO = (0.25, 1.0), (3 / 4, 4 / 3)


class Preprocessing(torch.nn.Module):
    """Turns pictures into a batch as Keras does, to the bit.

    A picture file so becomes `preprocess_input(img_to_array(load_img(path, target_size=size)))`.

    Args:
        size: height and width in pixels.
        mode: of `imagenet_utils.preprocess_input`, `"unit"` for pixels in [0, 1], or `"none"` for
            pixels as they are.
        interpolation: how pictures are resized, one of Pillow's filters; Keras's default is
            `"nearest"`.
        channels: of the images; PIL images become RGB for 3, grayscale for 1 and RGBA for 4. See
            `input_channels` for what the modes are where it is not 3.
        augment: whether each picture is cropped at random, to at least a quarter of its area, and
            flipped at random, for training.
        batch: False for one image `(channels, *size)` of one picture, as datasets give it.

    Raises:
        ValueError: for an unknown mode or interpolation, and a size that is none.
    """

    def __init__(
        self,
        size: tuple[int, int],
        mode: str,
        interpolation: str = "nearest",
        *,
        channels: int = 3,
        augment: bool = False,
        batch: bool = True,
    ):
        super().__init__()
        for value, known in ((mode, tuple(MODES_IN_WORDS)), (interpolation, INTERPOLATIONS)):
            if value not in known:
                raise ValueError(f"{value!r} is none of {', '.join(known)}")
        self.size = height_and_width(size)
        self.mode = mode
        self.interpolation = interpolation
        self.channels = channels
        self.augment = augment
        self.batch = batch

    def forward(
        self, pictures: Image | torch.Tensor | Sequence[Image | torch.Tensor]
    ) -> torch.Tensor:
        """The batch of a picture, or of several.

        Args:
            pictures: a PIL image in any mode, a tensor `(channels, height, width)` of values in
                [0, 255] (RGB where there are three), uint8 or floating, or a list of them, of any
                sizes; or a tensor `(batch, channels, height, width)`. Tensors stay on their device;
                those of uint8 are resized as pictures of 8 bits are, without rounding otherwise.

        Returns:
            A float32 tensor `(batch, channels, *size)`; of one picture `(channels, *size)` where
            `self.batch` is False.

        Raises:
            TypeError: for anything else.
            ValueError: for a tensor of another shape or type, an empty list, and PIL images where
                there are other than 1, 3 or 4 channels.
        """
        is_batch = isinstance(pictures, torch.Tensor) and pictures.ndim == 4
        is_one = not is_batch and not isinstance(pictures, list | tuple)
        several = [pictures] if is_one else pictures
        if not len(several):
            raise ValueError("a batch needs at least one picture")
        if is_batch and not self.augment:
            batch = self._resized(pictures)
        else:
            batch = torch.stack([self._pixels(picture) for picture in several])
        batch = normalize(batch, self.mode)
        return batch[0] if is_one and not self.batch else batch

    def _pixels(self, picture: Image | torch.Tensor) -> torch.Tensor:
        """A picture at the model's size, `(channels, height, width)` in [0, 255]."""
        from PIL.Image import Image

        is_tensor = isinstance(picture, torch.Tensor)
        if not is_tensor and not isinstance(picture, Image):
            raise TypeError(
                "pictures are PIL images, RGB tensors or a list of them; "
                f"got {type(picture).__name__}"
            )
        if is_tensor and picture.ndim != 3:
            shape = tuple(picture.shape)
            raise ValueError(f"a picture is a tensor (channels, height, width), not {shape}")
        if self.augment:
            picture = augmented(picture)
        if is_tensor:
            return self._resized(picture)
        if self.channels not in COLOR_MODES:
            raise ValueError(f"PIL images have 1, 3 or 4 channels, not {self.channels}")
        picture = convert_img(picture, COLOR_MODES[self.channels])
        picture = resize_img(picture, self.size, self.interpolation)
        return torch.from_numpy(img_to_array(picture, "channels_first", "float32"))

    def _resized(self, x: torch.Tensor) -> torch.Tensor:
        """One picture or a batch at the model's size, in float32."""
        if (
            x.ndim not in (3, 4)
            or x.shape[-3] != self.channels
            or not (x.dtype == torch.uint8 or x.is_floating_point())
        ):
            shape = f"({self.channels}, height, width)"
            raise ValueError(
                f"pictures are tensors {shape} or a batch of them, uint8 or floating; "
                f"got {tuple(x.shape)} of {x.dtype}"
            )
        if x.is_floating_point():
            x = x.float()
        if x.shape[-2:] != self.size:
            resize = _nearest if self.interpolation == "nearest" else _resized_by_pillow
            x = resize(x, self.size, self.interpolation)
        return x.float()

    def extra_repr(self) -> str:
        parts = [f"size={self.size}, mode={self.mode!r}, interpolation={self.interpolation!r}"]
        parts += [f"channels={self.channels}"] if self.channels != 3 else []
        parts += ["augment=True"] if self.augment else []
        parts += ["batch=False"] if not self.batch else []
        return ", ".join(parts)


def height_and_width(size: Sequence[int]) -> tuple[int, int]:
    """A size as a tuple of two.

    Raises:
        ValueError: it is something else.
    """
    if (
        not isinstance(size, Sequence)
        or len(size) != 2
        or not all(_is_length(pixels) for pixels in size)
    ):
        raise ValueError(f"size is (height, width) in pixels, not {size!r}")
    return tuple(size)


def _is_length(pixels: Any) -> bool:
    return isinstance(pixels, Integral) and not isinstance(pixels, bool) and pixels > 0


def augmented(picture: Image | torch.Tensor) -> Image | torch.Tensor:
    """A random crop of a picture, of another size than the picture's, flipped or not."""
    from torchvision.transforms import v2

    top, left, height, width = v2.RandomResizedCrop.get_params(picture, CROP_AREA, CROP_RATIO)
    picture = v2.functional.crop(picture, top, left, height, width)
    return v2.functional.horizontal_flip(picture) if torch.rand(()) < 0.5 else picture


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


def preprocessing_of(model: Model) -> tuple[str, str] | None:
    """The mode of `Preprocessing` that a model's pictures need, and why; None if that is unknown.

    It is `"none"` where the model does it itself, by a Rescaling, a Normalization or by arithmetic
    in front of its first weights; else that of the application that it is or has in it. What only
    moves, resizes or retypes pixels does not do it.
    """
    for layer in layers_before_weights(model):
        is_able = isinstance(layer, Rescaling | Normalization | Operation)
        if is_able and not isinstance(layer, KEEPING_SCALE):
            return "none", f"as the model's own layer {layer.name} does it"
    record = application_in(model)
    if record is not None:
        mode = record.own_preprocessing or record.preprocessing
        return mode, f"as {record.keras_name} was trained with"
    return None


def transforms(
    model: Model,
    training: bool = False,
    *,
    batch: bool = True,
    size: tuple[int, int] | None = None,
    mode: str | None = None,
    interpolation: str = "nearest",
) -> Preprocessing:
    """What turns pictures into a model's input; see `Model.transforms`."""
    known_size, channels = input_image(model)
    if mode is None:
        known = preprocessing_of(model)
        if known is None:
            raise ValueError(
                f"how pictures were prepared for {model.name} cannot be told: give mode, one of "
                f"{', '.join(map(repr, MODES_IN_WORDS))}"
            )
        mode, _ = known
    if size is not None:
        size = height_and_width(size)
    elif None in known_size:
        size = _default_size(application_in(model), model)
    else:
        size = known_size
    _check_fits(size, channels, model)
    return Preprocessing(
        size, mode, interpolation, channels=channels, augment=training, batch=batch
    )


def _check_fits(size: tuple[int, int], channels: int | None, model: Model) -> None:
    try:
        model.compute_output_shape(join_shape(None, size, channels, model.data_format))
    except UnknownShape:  # some module of torch does not say what fits
        return
    except ValueError as error:
        height, width = size
        raise ValueError(
            f"pictures of {height} x {width} do not fit {model.name}: {error}"
        ) from None


def _default_size(record: ModelRecord | None, model: Model) -> tuple[int, int]:
    if record is None:
        raise ValueError(f"{model.name} takes pictures of any size: give size")
    return record.default_size, record.default_size
