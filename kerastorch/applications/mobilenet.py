"""MobileNet: depthwise separable convolutions in one straight line (Howard et al., 2017)."""

from dataclasses import replace

from ..engine import Model
from ..layers import (
    Activation,
    BatchNormalization,
    Conv2D,
    DepthwiseConv2D,
    Dropout,
    GlobalAveragePooling2D,
    ReLU,
    Reshape,
    ZeroPadding2D,
)
from . import imagenet_utils
from .construction import (
    channel_axis,
    check_classifier_activation,
    image_input,
    image_shape,
    image_size,
    is_image_shape,
    loads_weights,
    pool,
    source_inputs,
)
from .imagenet_utils import decode_predictions as decode_predictions
from .published import for_widths_and_sizes
from .registry import Family, register_model

FAMILY = Family(
    default_size=224,
    min_size=32,
    preprocessing="tf",
    weights_licence="Apache 2.0",
    paper="https://arxiv.org/abs/1704.04861",
    citation=(
        "Howard, A. G. et al. MobileNets: Efficient Convolutional Neural Networks for Mobile "
        "Vision Applications. arXiv:1704.04861, 2017."
    ),
    classifier="conv_preds",
)
PUBLISHED_ALPHAS = (0.25, 0.50, 0.75, 1.0)
PUBLISHED_SIZES = (128, 160, 192, 224)


def _path(alpha, size):
    """Where the published weights lie."""
    width = f"{10 * alpha:.1f}" if alpha < 1 else "1.0"  # the names count tenths, but for the whole
    return f"mobilenet/mobilenet_{width.replace('.', '_')}_{size}_tf"


def _variant(alpha, input_shape, **others):
    """The width and size of the published file that the arguments ask for."""
    return {"alpha": alpha, "size": published_size(input_shape, PUBLISHED_SIZES)}


@register_model(
    "mobilenet",
    FAMILY,
    size_mb=16,
    top1=0.704,
    top5=0.895,
    params=4_253_864,
    depth=88,
    weights=for_widths_and_sizes(_path, PUBLISHED_ALPHAS, PUBLISHED_SIZES),
)
@loads_weights(variant=_variant)
def MobileNet(
    input_shape=None, alpha=1.0, depth_multiplier=1, dropout=1e-3, include_top=True,
    weights="imagenet", input_tensor=None, pooling=None, classes=1000,
    classifier_activation="softmax", name=None,
):  # fmt: skip
    """MobileNet: 13 depthwise separable blocks.

    Args:
        alpha: width multiplier, applied to the filters of every layer. Weights are published for
            0.25, 0.5, 0.75 and 1.
        depth_multiplier: depthwise outputs for each channel; 1 with `"imagenet"`.
        dropout: rate of the dropout in front of the classifier, from 0 to 1.
    """
    family = replace(FAMILY, default_size=published_size(input_shape, PUBLISHED_SIZES))
    image = image_input(include_top, weights, input_tensor, input_shape, pooling, classes, family)
    shape = image_shape(include_top, weights, input_shape, family)
    if weights == "imagenet":
        check_published("depth_multiplier", depth_multiplier, (1,))
        check_published("alpha", alpha, PUBLISHED_ALPHAS)

    x = Conv2D(int(32 * alpha), 3, strides=2, padding="same", use_bias=False, name="conv1")(image)
    x = _batch_norm_relu6(x, name="conv1")

    blocks = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)]
    blocks += [(512, 1)] * 5 + [(1024, 2), (1024, 1)]
    for block, (filters, stride) in enumerate(blocks, 1):
        x = _block(x, int(filters * alpha), depth_multiplier, stride, block)

    if include_top:
        check_classifier_activation(classifier_activation, weights)
        x = GlobalAveragePooling2D(keepdims=True)(x)
        x = Dropout(dropout, name="dropout")(x)
        x = Conv2D(classes, 1, padding="same", name="conv_preds")(x)
        x = Reshape((classes,), name="reshape_2")(x)
        x = Activation(classifier_activation, name="predictions")(x)
    else:
        x = pool(x, pooling)
    if name is None:
        name = f"mobilenet_{alpha:0.2f}_{size_in_name(shape, weights, PUBLISHED_SIZES)}"
    return Model(source_inputs(image, input_tensor), x, name=name)


def _block(x, filters, depth_multiplier, stride, block):
    """A depthwise and a 1x1 convolution, each with batch norm and ReLU6."""
    padding = "same"
    if stride == 2:
        # One row and column at the end whatever the size: on odd sizes this is not `same`.
        x = ZeroPadding2D(((0, 1), (0, 1)), name=f"conv_pad_{block}")(x)
        padding = "valid"
    x = DepthwiseConv2D(
        3,
        strides=stride,
        padding=padding,
        depth_multiplier=depth_multiplier,
        use_bias=False,
        name=f"conv_dw_{block}",
    )(x)
    x = _batch_norm_relu6(x, name=f"conv_dw_{block}")
    x = Conv2D(filters, 1, padding="same", use_bias=False, name=f"conv_pw_{block}")(x)
    return _batch_norm_relu6(x, name=f"conv_pw_{block}")


def _batch_norm_relu6(x, name):
    x = BatchNormalization(axis=channel_axis(), name=f"{name}_bn")(x)
    return ReLU(6.0, name=f"{name}_relu")(x)


def published_size(shape, sizes):
    """The size of the images behind the published weights that suit `shape`: its own, or 224."""
    if not is_image_shape(shape):
        return FAMILY.default_size
    height, width = image_size(shape)
    return height if height == width and height in sizes else FAMILY.default_size


def size_in_name(shape, weights, sizes):
    """The size in Keras's name of the model: that of the published weights, or else the height."""
    return published_size(shape, sizes) if weights == "imagenet" else image_size(shape)[0]


def check_published(argument, value, published):
    """Raises `ValueError` if there are no published weights for the value of an argument."""
    if value not in published:
        raise ValueError(
            f"{argument} must be {' or '.join(map(str, published))} with weights='imagenet'; "
            f"got {value}"
        )


def preprocess_input(x, data_format=None):
    """Scales pixels from [0, 255] to [-1, 1]; see `imagenet_utils.preprocess_input`."""
    return imagenet_utils.preprocess_input(x, data_format, mode="tf")
