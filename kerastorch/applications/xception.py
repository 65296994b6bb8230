"""Xception: depthwise separable convolutions with residual connections (Chollet, 2016)."""

from ..engine import Model
from ..layers import (
    Activation,
    Add,
    BatchNormalization,
    Conv2D,
    GlobalAveragePooling2D,
    MaxPooling2D,
    SeparableConv2D,
)
from . import imagenet_utils
from .construction import channel_axis, image_input, loads_weights, pool, predictions, source_inputs
from .imagenet_utils import decode_predictions as decode_predictions
from .published import with_and_without_top
from .registry import Family, register_model

FAMILY = Family(
    default_size=299,
    min_size=71,
    preprocessing="tf",
    weights_licence="MIT",
    paper="https://arxiv.org/abs/1610.02357",
    citation=(
        "Chollet, F. Xception: Deep Learning with Depthwise Separable Convolutions. CVPR 2017."
    ),
)


@register_model(
    "xception",
    FAMILY,
    size_mb=88,
    top1=0.790,
    top5=0.945,
    params=22_910_480,
    depth=126,
    weights=with_and_without_top(
        "xception/xception_weights_tf_dim_ordering_tf_kernels",
        md5="0a58e3b7378bc2990ea3b43d5981f1f6",
        md5_without_top="b0042744bf5b25fce3cb969f33bebb97",
    ),
)
@loads_weights
def Xception(
    include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None,
    classes=1000, classifier_activation="softmax", name="xception",
):  # fmt: skip
    """Xception, whose convolutions after the first two are depthwise separable."""
    image = image_input(include_top, weights, input_tensor, input_shape, pooling, classes, FAMILY)

    # Entry flow
    x = _conv(image, 32, strides=2, name="block1_conv1")
    x = _conv(x, 64, strides=1, name="block1_conv2")

    shortcut = _projection(x, 128)
    x = _separable_conv(x, 128, name="block2_sepconv1")
    x = Activation("relu", name="block2_sepconv2_act")(x)
    x = _separable_conv(x, 128, name="block2_sepconv2")
    x = MaxPooling2D(3, strides=2, padding="same", name="block2_pool")(x)
    x = Add()([x, shortcut])

    x = _reduction(x, 256, 256, name="block3")
    x = _reduction(x, 728, 728, name="block4")

    # Middle flow
    for block in range(5, 13):
        shortcut = x
        for i in (1, 2, 3):
            x = Activation("relu", name=f"block{block}_sepconv{i}_act")(x)
            x = _separable_conv(x, 728, name=f"block{block}_sepconv{i}")
        x = Add()([x, shortcut])

    # Exit flow
    x = _reduction(x, 728, 1024, name="block13")

    x = _separable_conv(x, 1536, name="block14_sepconv1")
    x = Activation("relu", name="block14_sepconv1_act")(x)
    x = _separable_conv(x, 2048, name="block14_sepconv2")
    x = Activation("relu", name="block14_sepconv2_act")(x)

    if include_top:
        x = GlobalAveragePooling2D(name="avg_pool")(x)
        x = predictions(x, classes, classifier_activation, weights)
    else:
        x = pool(x, pooling)
    return Model(source_inputs(image, input_tensor), x, name=name)


def _reduction(x, filters1, filters2, name):
    """Two separable convolutions and a pooling that halves the size, beside a projection."""
    shortcut = _projection(x, filters2)
    x = Activation("relu", name=f"{name}_sepconv1_act")(x)
    x = _separable_conv(x, filters1, name=f"{name}_sepconv1")
    x = Activation("relu", name=f"{name}_sepconv2_act")(x)
    x = _separable_conv(x, filters2, name=f"{name}_sepconv2")
    x = MaxPooling2D(3, strides=2, padding="same", name=f"{name}_pool")(x)
    return Add()([x, shortcut])


def _projection(x, filters):
    """The shortcut around a reduction; Keras leaves its layers unnamed."""
    x = Conv2D(filters, 1, strides=2, padding="same", use_bias=False)(x)
    return BatchNormalization(axis=channel_axis())(x)


def _conv(x, filters, strides, name):
    x = Conv2D(filters, 3, strides=strides, use_bias=False, name=name)(x)
    x = BatchNormalization(axis=channel_axis(), name=f"{name}_bn")(x)
    return Activation("relu", name=f"{name}_act")(x)


def _separable_conv(x, filters, name):
    x = SeparableConv2D(filters, 3, padding="same", use_bias=False, name=name)(x)
    return BatchNormalization(axis=channel_axis(), name=f"{name}_bn")(x)


def preprocess_input(x, data_format=None):
    """Scales pixels from [0, 255] to [-1, 1]; see `imagenet_utils.preprocess_input`."""
    return imagenet_utils.preprocess_input(x, data_format, mode="tf")
