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

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..engine import Model
from ..engine.images import input_image
from ..layers import Normalization, Rescaling
from .imagenet_utils import CAFFE_MEAN, TORCH_MEAN, TORCH_STD, preprocess_input
from .recognition import layers_before_weights


def normalize(x: Tensor, mode: str) -> Tensor:
    """Pixels as a model was trained on them.

    Args:
        x: `(batch, channels, height, width)`, values in [0, 255].
        mode: of `preprocess_input`, `"unit"` or `"none"`.
    """
    if mode == "none":
        return x
    if mode == "unit":
        return x / 255
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
        "unit": [0.0] * 3,
        "tf": [127.5] * 3,
        "caffe": list(reversed(CAFFE_MEAN)),
        "torch": [255 * mean for mean in TORCH_MEAN],
    }[mode]
    deviations = {
        "unit": [255.0] * 3,
        "tf": [127.5] * 3,
        "caffe": [1.0] * 3,
        "torch": [255 * deviation for deviation in TORCH_STD],
    }[mode]
    return colours(means, channels), colours(deviations, channels)


def colours(values: Sequence[float], channels: int) -> list[float]:
    """The values of red, green and blue for channels that take them in turn, or one for grey."""
    return [sum(values) / 3] if channels == 1 else [values[i % 3] for i in range(channels)]


def state_for_channels(published: Model, model: Model, mode: str) -> dict[str, Tensor]:
    """The state of a model of RGB images, for one of images with other channels.

    Args:
        published: takes RGB images; its first layer with weights is a convolution.
        model: the same network for other channels than three; it may be on the meta device. A
            normalisation of its own is filled.
        mode: of `preprocess_input`, as the pixels of both are prepared where they do not do it.
    """
    state = published.state_dict()
    stem, key = next(
        (layer, key) for key, layer in published.named_modules() if isinstance(layer, nn.Conv2d)
    )
    _, channels = input_image(model)
    kernel = stem.weight.detach().double()
    kernel = kernel.flip(1) if mode == "caffe" else kernel
    turns = [0, 1, 2] if channels == 1 else [i % 3 for i in range(channels)]
    kernel = kernel[:, turns] * 3 / len(turns)
    _turn_normalization(state, published, model, channels)
    mean, deviation = (values[turns] for values in _seen_statistics(published, mode, 3))
    own_mean, own_deviation = _seen_statistics(model, mode, channels)
    # With z = (x - own mean) / own deviation of the model's own, what the kernel knows as
    # (x - mean) / deviation is (own deviation z + own mean - mean) / deviation.
    offset = (kernel * ((own_mean - mean) / deviation)).sum((1, 2, 3))
    kernel = kernel * (own_deviation / deviation)
    if channels == 1:
        kernel = kernel.sum(1, keepdim=True)
    _add_offset(state, published, key, offset)
    state[f"{key}.weight"] = kernel.to(stem.weight.dtype)
    return state


def _turn_normalization(
    state: dict[str, Tensor], published: Model, model: Model, channels: int
) -> None:
    """Gives a model's own normalisation, if it has weights, those of the colours in turn."""
    for own in layers_before_weights(model):
        if not isinstance(own, Normalization) or own.input_mean is not None:
            continue
        for statistic in ("mean", "variance"):
            values = getattr(published.get_layer(own.name), statistic)
            turned = torch.tensor(colours(values.tolist(), channels)).to(values)
            setattr(own, statistic, turned)
            state[f"{own.name}.{statistic}"] = turned


def _seen_statistics(model: Model, mode: str, channels: int) -> tuple[Tensor, Tensor]:
    """Mean and deviation, `(channels, 1, 1)`, in what the first convolution sees of a pixel."""
    inside = [
        layer
        for layer in layers_before_weights(model)
        if isinstance(layer, Rescaling | Normalization)
    ]
    if not inside:
        return tuple(
            torch.tensor(values, dtype=torch.float64).reshape(-1, 1, 1)
            for values in statistics(mode, channels)
        )
    seen = torch.tensor([0.0, 255.0], dtype=torch.float64).reshape(2, 1, 1, 1)
    seen = seen.expand(2, channels, 1, 1)
    for layer in inside:
        seen = layer(seen)
    black, white = seen
    deviation = 255 / (white - black)
    return -black * deviation, deviation


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
