"""What the ImageNet models share: pixels in, class names out, and build-time padding."""

import functools
import json
from importlib.resources import files

import numpy as np
import torch

from ..config import check_data_format, floatx, image_data_format

CLASSES = 1000

# RGB statistics of the ImageNet training set on pixels scaled to [0, 1], and BGR means on [0, 255].
TORCH_MEAN = (0.485, 0.456, 0.406)
TORCH_STD = (0.229, 0.224, 0.225)
CAFFE_MEAN = (103.939, 116.779, 123.68)


def keep_pixels(x, data_format=None):
    """Gives `x` as it is: the models that have this prepare pixels in [0, 255] themselves."""
    return x


def preprocess_input(x, data_format=None, mode="caffe"):
    """Turns RGB pixels into what a model was trained on. The input is left as it is.

    Args:
        x: numpy array or torch tensor of one image (rank 3) or a batch (rank 4), RGB values in
            [0, 255]. Integers become `floatx()`, floating types stay as they are.
        data_format: `"channels_last"` or `"channels_first"`: where `x` has its three channels.
            Defaults to `image_data_format()`, also for torch tensors, so an NCHW tensor needs
            `"channels_first"`.
        mode: `"tf"` scales to [-1, 1]. `"torch"` scales to [0, 1], then subtracts ImageNet's mean
            and divides by its standard deviation. `"caffe"` turns RGB into BGR and subtracts
            ImageNet's mean, without scaling.

    Returns:
        A new array or tensor of the shape of `x`.

    Raises:
        ValueError: for an unknown mode or data format, for another type, and for channels that are
            not three. (Mode `"tf"` treats all values alike and takes any shape.)
    """
    if mode not in ("caffe", "tf", "torch"):
        raise ValueError(f"mode must be 'caffe', 'tf' or 'torch'; got {mode!r}")
    data_format = check_data_format(data_format)
    x = _floating(x)
    if mode == "tf":
        return x / 127.5 - 1.0

    axis = _channel_axis(x.shape, data_format)
    if mode == "torch":
        return (x / 255.0 - _along(axis, TORCH_MEAN, x)) / _along(axis, TORCH_STD, x)
    flipped = torch.flip(x, (axis,)) if isinstance(x, torch.Tensor) else np.flip(x, axis)
    return flipped - _along(axis, CAFFE_MEAN, x)


def _floating(x):
    if isinstance(x, np.ndarray):
        return x if np.issubdtype(x.dtype, np.floating) else x.astype(floatx())
    if isinstance(x, torch.Tensor):
        return x if x.is_floating_point() else x.to(getattr(torch, floatx()))
    raise ValueError(f"x must be a numpy array or a torch tensor; got {type(x).__name__}")


def _channel_axis(shape, data_format):
    axis = -3 if data_format == "channels_first" else -1
    if len(shape) not in (3, 4) or shape[axis] != 3:
        raise ValueError(
            f"x must be one image or a batch with 3 channels, data_format={data_format!r}; "
            f"got shape {tuple(shape)}"
        )
    return axis


def _along(axis, values, x):
    """`values`, one for each channel, shaped to meet `x` along its channel axis and in its type."""
    shape = (3, 1, 1) if axis == -3 else (3,)
    if isinstance(x, torch.Tensor):
        return torch.tensor(values, dtype=x.dtype, device=x.device).reshape(shape)
    return np.array(values, dtype=x.dtype).reshape(shape)


def decode_predictions(preds, top=5):
    """Names the most probable ImageNet classes of every image.

    Args:
        preds: numpy array or torch tensor `(images, 1000)`, a score for each class.
        top: how many classes to name for an image.

    Returns:
        A list with, for each image, a list of `(WordNet id, class name, score)`, best first.

    Raises:
        ValueError: if `preds` is not of shape `(images, 1000)`.
    """
    if len(preds.shape) != 2 or preds.shape[1] != CLASSES:
        raise ValueError(
            f"preds must be scores of shape (images, {CLASSES}); got {tuple(preds.shape)}"
        )
    if isinstance(preds, torch.Tensor):
        preds = preds.detach().cpu()
        preds = (preds.float() if preds.dtype == torch.bfloat16 else preds).numpy()
    return [_best(scores, top) for scores in preds]


def best_labels(scores, labels=None, top=5):
    """Names the best classes of every image, whatever the classes are.

    Args:
        scores: numpy array `(images, classes)`.
        labels: the classes' names in order; None for ImageNet's where there are 1000.
        top: how many classes to name for an image.

    Returns:
        A list with, for each image, a list of `(name, score)`, best first.
    """
    if labels is None and scores.shape[1] == CLASSES:
        return [[entry[1:] for entry in best] for best in decode_predictions(scores, top)]
    labels = labels or [f"class {index}" for index in range(scores.shape[1])]
    best = scores.argsort(axis=1)[:, ::-1][:, :top]
    return [
        [(labels[index], row[index]) for index in indices]
        for row, indices in zip(scores, best, strict=True)
    ]


def _best(scores, top):
    best = [(*_class_index()[str(i)], scores[i]) for i in scores.argsort()[::-1][:top]]
    return sorted(best, key=lambda entry: entry[2], reverse=True)


def class_names():
    """The names of ImageNet's 1000 classes, a list in their order; "crane" and "maillot" twice."""
    return [_class_index()[str(i)][1] for i in range(CLASSES)]


def wordnet_ids():
    """The WordNet ids of ImageNet's 1000 classes, a list in their order, `"n01440764"` first."""
    return [_class_index()[str(i)][0] for i in range(CLASSES)]


@functools.cache
def _class_index():
    text = files(__package__).joinpath("imagenet_class_index.json").read_text(encoding="utf-8")
    return json.loads(text)


def correct_pad(inputs, kernel_size):
    """Zero padding for a stride-2 convolution, from the size that is known when the model is built.

    Args:
        inputs: Symbol of the image to be padded.
        kernel_size: the convolution's size in pixels, an integer or two.

    Returns:
        `((top, bottom), (left, right))`. Where the height or width is unknown, both count as even.
    """
    rows = slice(2, 4) if image_data_format() == "channels_first" else slice(1, 3)
    height, width = inputs.shape[rows]
    if isinstance(kernel_size, int):
        kernel_size = (kernel_size, kernel_size)
    even = (1, 1) if None in (height, width) else (1 - height % 2, 1 - width % 2)
    return tuple((k // 2 - e, k // 2) for k, e in zip(kernel_size, even, strict=True))
