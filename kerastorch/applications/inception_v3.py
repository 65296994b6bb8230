"""InceptionV3: factorised convolutions in parallel branches (Szegedy et al., 2015)."""

from ..engine import Model
from ..layers import (
    Activation,
    AveragePooling2D,
    BatchNormalization,
    Concatenate,
    Conv2D,
    GlobalAveragePooling2D,
    MaxPooling2D,
)
from . import imagenet_utils
from .construction import channel_axis, image_input, loads_weights, pool, predictions, source_inputs
from .imagenet_utils import decode_predictions as decode_predictions
from .published import with_and_without_top
from .registry import Family, register_model

FAMILY = Family(
    default_size=299,
    min_size=75,
    preprocessing="tf",
    weights_licence="Apache 2.0",
    paper="https://arxiv.org/abs/1512.00567",
    citation=(
        "Szegedy, C., Vanhoucke, V., Ioffe, S., Shlens, J. and Wojna, Z. Rethinking the "
        "Inception Architecture for Computer Vision. CVPR 2016."
    ),
)


@register_model(
    "inception_v3",
    FAMILY,
    size_mb=92,
    top1=0.779,
    top5=0.937,
    params=23_851_784,
    depth=159,
    weights=with_and_without_top(
        "inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels",
        md5="9a0d58056eeedaa3f26cb7ebd46da564",
        md5_without_top="bcbd6486424b2319ff4ef7d526e38f63",
    ),
)
@loads_weights
def InceptionV3(
    include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None,
    classes=1000, classifier_activation="softmax", name="inception_v3",
):  # fmt: skip
    """InceptionV3: a stem of five convolutions and eleven inception blocks."""
    image = image_input(include_top, weights, input_tensor, input_shape, pooling, classes, FAMILY)

    # Only what joins the branches of a block has a name; Keras numbers the other layers.
    x = stem(image)

    # 35 x 35 at the default size
    x = _block35(x, pool_filters=32, name="mixed0")
    x = _block35(x, pool_filters=64, name="mixed1")
    x = _block35(x, pool_filters=64, name="mixed2")

    # 17 x 17
    x = _reduction_to_17(x, name="mixed3")
    x = _block17(x, filters=128, name="mixed4")
    x = _block17(x, filters=160, name="mixed5")
    x = _block17(x, filters=160, name="mixed6")
    x = _block17(x, filters=192, name="mixed7")

    # 8 x 8
    x = _reduction_to_8(x, name="mixed8")
    x = _block8(x, inner_name="mixed9_0", name="mixed9")
    x = _block8(x, inner_name="mixed9_1", name="mixed10")

    if include_top:
        x = GlobalAveragePooling2D(name="avg_pool")(x)
        x = predictions(x, classes, classifier_activation, weights)
    else:
        x = pool(x, pooling)
    return Model(source_inputs(image, input_tensor), x, name=name)


def _block35(x, pool_filters, name):
    branch1x1 = conv(x, 64, 1)

    branch5x5 = conv(x, 48, 1)
    branch5x5 = conv(branch5x5, 64, 5)

    branch3x3 = conv(x, 64, 1)
    branch3x3 = conv(branch3x3, 96, 3)
    branch3x3 = conv(branch3x3, 96, 3)

    return concatenate([branch1x1, branch5x5, branch3x3, _pooled(x, pool_filters)], name)


def _reduction_to_17(x, name):
    branch3x3 = conv(x, 384, 3, strides=2, padding="valid")

    branch3x3dbl = conv(x, 64, 1)
    branch3x3dbl = conv(branch3x3dbl, 96, 3)
    branch3x3dbl = conv(branch3x3dbl, 96, 3, strides=2, padding="valid")

    return concatenate([branch3x3, branch3x3dbl, MaxPooling2D(3, strides=2)(x)], name)


def _block17(x, filters, name):
    branch1x1 = conv(x, 192, 1)

    branch7x7 = conv(x, filters, 1)
    branch7x7 = conv(branch7x7, filters, (1, 7))
    branch7x7 = conv(branch7x7, 192, (7, 1))

    branch7x7dbl = conv(x, filters, 1)
    branch7x7dbl = conv(branch7x7dbl, filters, (7, 1))
    branch7x7dbl = conv(branch7x7dbl, filters, (1, 7))
    branch7x7dbl = conv(branch7x7dbl, filters, (7, 1))
    branch7x7dbl = conv(branch7x7dbl, 192, (1, 7))

    return concatenate([branch1x1, branch7x7, branch7x7dbl, _pooled(x, 192)], name)


def _reduction_to_8(x, name):
    branch3x3 = conv(x, 192, 1)
    branch3x3 = conv(branch3x3, 320, 3, strides=2, padding="valid")

    branch7x7x3 = conv(x, 192, 1)
    branch7x7x3 = conv(branch7x7x3, 192, (1, 7))
    branch7x7x3 = conv(branch7x7x3, 192, (7, 1))
    branch7x7x3 = conv(branch7x7x3, 192, 3, strides=2, padding="valid")

    return concatenate([branch3x3, branch7x7x3, MaxPooling2D(3, strides=2)(x)], name)


def _block8(x, inner_name, name):
    branch1x1 = conv(x, 320, 1)

    branch3x3 = conv(x, 384, 1)
    branch3x3 = concatenate(
        [conv(branch3x3, 384, (1, 3)), conv(branch3x3, 384, (3, 1))], inner_name
    )

    branch3x3dbl = conv(x, 448, 1)
    branch3x3dbl = conv(branch3x3dbl, 384, 3)
    branch3x3dbl = concatenate([conv(branch3x3dbl, 384, (1, 3)), conv(branch3x3dbl, 384, (3, 1))])

    return concatenate([branch1x1, branch3x3, branch3x3dbl, _pooled(x, 192)], name)


def _pooled(x, filters):
    x = AveragePooling2D(3, strides=1, padding="same")(x)
    return conv(x, filters, 1)


# What InceptionResNetV2 is made of too.


def stem(x):
    """Five convolutions, which bring 299 x 299 pixels to 35 x 35."""
    x = conv(x, 32, 3, strides=2, padding="valid")
    x = conv(x, 32, 3, padding="valid")
    x = conv(x, 64, 3)
    x = MaxPooling2D(3, strides=2)(x)
    x = conv(x, 80, 1, padding="valid")
    x = conv(x, 192, 3, padding="valid")
    return MaxPooling2D(3, strides=2)(x)


def conv(x, filters, kernel_size, strides=1, padding="same", name=None):
    bn_name, ac_name = (f"{name}_bn", f"{name}_ac") if name else (None, None)
    x = Conv2D(filters, kernel_size, strides=strides, padding=padding, use_bias=False, name=name)(x)
    x = BatchNormalization(axis=channel_axis(last=3), scale=False, name=bn_name)(x)
    return Activation("relu", name=ac_name)(x)


def concatenate(branches, name=None):
    return Concatenate(axis=channel_axis(last=3), name=name)(branches)


def preprocess_input(x, data_format=None):
    """Scales pixels from [0, 255] to [-1, 1]; see `imagenet_utils.preprocess_input`."""
    return imagenet_utils.preprocess_input(x, data_format, mode="tf")
