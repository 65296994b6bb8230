"""Models pretrained on RGB images, for images with other channels than three.

An image with one channel stands for a grey RGB image, and the model gives what it would give for
that one, but for the margins that its first convolution pads. Of several channels each takes the
part of red, green or blue in turn, as if they were an RGB image and further ones that agree with
it, which is where training starts from.

The modes of `preprocess_input` mean the same for such images, on the values in [0, 255] of the
channels in the order in which they are given: nothing is turned around for `"caffe"`, and the means
and deviations go in turn too; one channel has their averages.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..engine import Model
from .imagenet_utils import CAFFE_MEAN, TORCH_MEAN, TORCH_STD, preprocess_input


def normalize(x: Tensor, mode: str) -> Tensor:
    """Pixels as a model was trained on them.

    Args:
        x: `(batch, channels, height, width)`, values in [0, 255].
        mode: of `preprocess_input`, or `"none"`.
    """
    if mode == "none":
        return x
    if mode == "tf" or x.shape[1] == 3:
        return preprocess_input(x, "channels_first", mode)
    mean, deviation = (
        torch.tensor(values, dtype=x.dtype, device=x.device).reshape(-1, 1, 1)
        for values in statistics(mode, x.shape[1])
    )
    return (x - mean) / deviation


def statistics(mode: str, channels: int) -> tuple[list[float], list[float]]:
    """The mean and deviation of each channel's values in [0, 255], as `normalize` takes them."""
    means = {
        "tf": [127.5] * 3,
        "caffe": list(reversed(CAFFE_MEAN)),
        "torch": [255 * mean for mean in TORCH_MEAN],
    }[mode]
    deviations = {
        "tf": [127.5] * 3,
        "caffe": [1.0] * 3,
        "torch": [255 * deviation for deviation in TORCH_STD],
    }[mode]
    if channels == 1:
        return [sum(means) / 3], [sum(deviations) / 3]
    return tuple([values[i % 3] for i in range(channels)] for values in (means, deviations))


def state_for_channels(model: Model, mode: str, channels: int) -> dict[str, Tensor]:
    """The state of a model of RGB images, for images with other channels.

    Args:
        model: takes RGB images; its first layer with weights is a convolution.
        mode: of `preprocess_input`, as the model was trained with it.
        channels: how many there are to be, other than 3.
    """
    state = model.state_dict()
    stem, key = next(
        (layer, key) for key, layer in model.named_modules() if isinstance(layer, nn.Conv2d)
    )
    kernel = stem.weight.detach().double()
    red_green_blue = kernel.flip(1) if mode == "caffe" else kernel
    if channels == 1:
        kernel, offset = _for_grey(red_green_blue, mode)
        _add_offset(state, model, key, offset)
    else:
        turns = [i % 3 for i in range(channels)]
        kernel = red_green_blue[:, turns] * 3 / channels
    state[f"{key}.weight"] = kernel.to(stem.weight.dtype)
    return state


def _for_grey(kernel: Tensor, mode: str) -> tuple[Tensor, Tensor]:
    """The kernel for one channel, and what to add to its output, of a kernel for red, green, blue.

    With z = (grey - m) / s, each channel's own (grey - mean) / deviation is
    (s z + m - mean) / deviation.
    """
    means, deviations = (
        torch.tensor(values, dtype=kernel.dtype).reshape(3, 1, 1) for values in statistics(mode, 3)
    )
    ((mean,), (deviation,)) = statistics(mode, 1)
    grey = (kernel * deviation / deviations).sum(1, keepdim=True)
    return grey, (kernel * (mean - means) / deviations).sum((1, 2, 3))


def _add_offset(state: dict[str, Tensor], model: Model, key: str, offset: Tensor) -> None:
    """Adds to a convolution's bias or, where it has none, to what is normalised behind it."""
    if f"{key}.bias" in state:
        state[f"{key}.bias"] = (state[f"{key}.bias"].double() + offset).to(state[f"{key}.bias"])
    elif offset.any():
        following = next(
            name for name, layer in model.named_modules() if isinstance(layer, nn.BatchNorm2d)
        )
        mean = state[f"{following}.running_mean"]
        state[f"{following}.running_mean"] = (mean.double() - offset).to(mean)
