"""NASNet-A: cells found by architecture search, stacked (Zoph et al., 2017)."""

from dataclasses import replace

from ..config import image_data_format
from ..engine import Model
from ..layers import (
    Activation,
    Add,
    AveragePooling2D,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Cropping2D,
    GlobalAveragePooling2D,
    MaxPooling2D,
    SeparableConv2D,
    ZeroPadding2D,
)
from . import imagenet_utils
from .construction import image_input, loads_weights, pool, predictions, source_inputs
from .imagenet_utils import correct_pad
from .imagenet_utils import decode_predictions as decode_predictions
from .published import PublishedWeights
from .registry import Family, register_model

LARGE = Family(
    default_size=331,
    min_size=32,
    preprocessing="tf",
    weights_licence="Apache 2.0",
    paper="https://arxiv.org/abs/1707.07012",
    citation=(
        "Zoph, B., Vasudevan, V., Shlens, J. and Le, Q. V. Learning Transferable "
        "Architectures for Scalable Image Recognition. CVPR 2018."
    ),
)
MOBILE = replace(LARGE, default_size=224, fixed_size=True)


@loads_weights
def NASNet(
    input_shape=None, penultimate_filters=4032, num_blocks=6, stem_block_filters=96,
    skip_reduction=True, filter_multiplier=2, include_top=True, weights="imagenet",
    input_tensor=None, pooling=None, classes=1000, default_size=None,
    classifier_activation="softmax", name="NASNet", weights_name=None,
):  # fmt: skip
    """The network NASNet-A (`num_blocks` @ `penultimate_filters`).

    The arguments that are not listed, the result and the errors are those of `NASNetLarge`.

    Args:
        penultimate_filters: filters of the last cells' output, a multiple of
            24 * `filter_multiplier` ** 2.
        num_blocks: number of normal cells at each of the three sizes.
        stem_block_filters: filters of the first convolution.
        skip_reduction: whether the cell after a reduction takes as its second input what the
            reduction took as its second, instead of its first.
        filter_multiplier: growth of the filters from one size to the next.
        default_size: height and width in pixels with the classifier if `input_shape` is not given,
            331 if None.
        weights_name: whose published weights `"imagenet"` stands for, e.g. `"nasnet_large"`.
    """
    if image_data_format() == "channels_first":
        raise ValueError("NASNet, as in Keras, takes the image data format 'channels_last' only")
    if penultimate_filters % (24 * filter_multiplier**2) != 0:
        raise ValueError(
            f"penultimate_filters must be a multiple of {24 * filter_multiplier**2}, "
            f"24 * filter_multiplier ** 2; got {penultimate_filters}"
        )
    family = LARGE if default_size is None else replace(LARGE, default_size=default_size)
    image = image_input(include_top, weights, input_tensor, input_shape, pooling, classes, family)
    if weights == "imagenet" and input_shape and None in input_shape:
        raise ValueError(f"weights='imagenet' takes a static input_shape; got {input_shape}")

    x = Conv2D(
        stem_block_filters,
        3,
        strides=2,
        use_bias=False,
        kernel_initializer="he_normal",
        name="stem_conv1",
    )(image)
    x = _batch_norm(x, name="stem_bn1")

    # Each cell takes the outputs of the two cells before it.
    filters = penultimate_filters // 24
    x, previous = _reduction_cell(x, None, filters // filter_multiplier**2, "stem_1"), x
    x, previous = _reduction_cell(x, previous, filters // filter_multiplier, "stem_2"), x
    for i in range(num_blocks):
        x, previous = _normal_cell(x, previous, filters, i), x
    for count in (num_blocks, 2 * num_blocks):
        filters *= filter_multiplier
        reduced = _reduction_cell(x, previous, filters, f"reduce_{count}")
        x, previous = reduced, previous if skip_reduction else x
        for i in range(count + 1, count + num_blocks + 1):
            x, previous = _normal_cell(x, previous, filters, i), x
    x = Activation("relu")(x)

    if include_top:
        x = GlobalAveragePooling2D()(x)
        x = predictions(x, classes, classifier_activation, weights)
    else:
        x = pool(x, pooling)
    return Model(source_inputs(image, input_tensor), x, name=name)


def _normal_cell(x, previous, filters, block):
    """The cell that keeps the size."""
    p = _adjust(previous, x, filters, block)
    h = _relu_conv(x, filters, f"normal_conv_1_{block}", f"normal_bn_1_{block}")

    left1 = _separable(h, filters, 5, f"normal_left1_{block}")
    right1 = _separable(p, filters, 3, f"normal_right1_{block}")
    x1 = Add(name=f"normal_add_1_{block}")([left1, right1])

    left2 = _separable(p, filters, 5, f"normal_left2_{block}")
    right2 = _separable(p, filters, 3, f"normal_right2_{block}")
    x2 = Add(name=f"normal_add_2_{block}")([left2, right2])

    left3 = AveragePooling2D(3, strides=1, padding="same", name=f"normal_left3_{block}")(h)
    x3 = Add(name=f"normal_add_3_{block}")([left3, p])

    left4 = AveragePooling2D(3, strides=1, padding="same", name=f"normal_left4_{block}")(p)
    right4 = AveragePooling2D(3, strides=1, padding="same", name=f"normal_right4_{block}")(p)
    x4 = Add(name=f"normal_add_4_{block}")([left4, right4])

    left5 = _separable(h, filters, 3, f"normal_left5_{block}")
    x5 = Add(name=f"normal_add_5_{block}")([left5, h])

    return Concatenate(axis=-1, name=f"normal_concat_{block}")([p, x1, x2, x3, x4, x5])


def _reduction_cell(x, previous, filters, block):
    """The cell that halves the size. Its pooling sees the zeros of the padding and counts them."""
    p = _adjust(previous, x, filters, block)
    h = _relu_conv(x, filters, f"reduction_conv_1_{block}", f"reduction_bn_1_{block}")
    padded = ZeroPadding2D(correct_pad(h, 3), name=f"reduction_pad_1_{block}")(h)

    left1 = _separable(h, filters, 5, f"reduction_left1_{block}", strides=2)
    right1 = _separable(p, filters, 7, f"reduction_right1_{block}", strides=2)
    x1 = Add(name=f"reduction_add_1_{block}")([left1, right1])

    left2 = MaxPooling2D(3, strides=2, name=f"reduction_left2_{block}")(padded)
    right2 = _separable(p, filters, 7, f"reduction_right2_{block}", strides=2)
    x2 = Add(name=f"reduction_add_2_{block}")([left2, right2])

    left3 = AveragePooling2D(3, strides=2, name=f"reduction_left3_{block}")(padded)
    right3 = _separable(p, filters, 5, f"reduction_right3_{block}", strides=2)
    x3 = Add(name=f"reduction_add3_{block}")([left3, right3])

    left4 = AveragePooling2D(3, strides=1, padding="same", name=f"reduction_left4_{block}")(x1)
    x4 = Add()([x2, left4])

    left5 = _separable(x1, filters, 3, f"reduction_left4_{block}")
    right5 = MaxPooling2D(3, strides=2, name=f"reduction_right5_{block}")(padded)
    x5 = Add(name=f"reduction_add4_{block}")([left5, right5])

    return Concatenate(axis=-1, name=f"reduction_concat_{block}")([x2, x3, x4, x5])


def _adjust(previous, x, filters, block):
    """The output of the cell before last, fitted to the width of `x` or to `filters`."""
    if previous is None:
        return x
    if previous.shape[-2] != x.shape[-2]:
        p = Activation("relu", name=f"adjust_relu_1_{block}")(previous)
        # Every second pixel, once from the first on and once from the second.
        p1 = AveragePooling2D(1, strides=2, name=f"adjust_avg_pool_1_{block}")(p)
        p1 = _conv(p1, filters // 2, f"adjust_conv_1_{block}")
        p2 = ZeroPadding2D(((0, 1), (0, 1)))(p)
        p2 = Cropping2D(((1, 0), (1, 0)))(p2)
        p2 = AveragePooling2D(1, strides=2, name=f"adjust_avg_pool_2_{block}")(p2)
        p2 = _conv(p2, filters // 2, f"adjust_conv_2_{block}")
        return _batch_norm(Concatenate(axis=-1)([p1, p2]), name=f"adjust_bn_{block}")
    if previous.shape[-1] != filters:
        names = f"adjust_conv_projection_{block}", f"adjust_bn_{block}"
        return _relu_conv(previous, filters, *names)
    return previous


def _separable(x, filters, kernel_size, block, strides=1):
    """ReLU, separable convolution and batch norm, twice."""
    x = Activation("relu")(x)
    padding = "same"
    if strides == 2:
        x = ZeroPadding2D(correct_pad(x, kernel_size), name=f"separable_conv_1_pad_{block}")(x)
        padding = "valid"
    x = SeparableConv2D(
        filters,
        kernel_size,
        strides=strides,
        padding=padding,
        use_bias=False,
        name=f"separable_conv_1_{block}",
    )(x)
    x = _batch_norm(x, name=f"separable_conv_1_bn_{block}")
    x = Activation("relu")(x)
    x = SeparableConv2D(
        filters, kernel_size, padding="same", use_bias=False, name=f"separable_conv_2_{block}"
    )(x)
    return _batch_norm(x, name=f"separable_conv_2_bn_{block}")


def _relu_conv(x, filters, conv_name, bn_name):
    return _batch_norm(_conv(Activation("relu")(x), filters, conv_name), name=bn_name)


def _conv(x, filters, name):
    return Conv2D(
        filters, 1, padding="same", use_bias=False, kernel_initializer="he_normal", name=name
    )(x)


def _batch_norm(x, name):
    return BatchNormalization(axis=-1, momentum=0.9997, name=name)(x)


@register_model(
    "nasnet_mobile",
    MOBILE,
    size_mb=23,
    top1=0.744,
    top5=0.919,
    params=5_326_716,
    weights=(
        PublishedWeights(
            "nasnet/NASNet-mobile.h5",
            "md5:020fb642bf7360b370c678b08e0adf61",
            include_top=True,
            cached_as="nasnet_mobile.h5",
        ),
        PublishedWeights(
            "nasnet/NASNet-mobile-no-top.h5",
            "md5:1ed92395b5b598bdda52abe5c0dbfd63",
            include_top=False,
            cached_as="nasnet_mobile_no_top.h5",
        ),
    ),
)
def NASNetMobile(
    input_shape=None, include_top=True, weights="imagenet", input_tensor=None, pooling=None,
    classes=1000, classifier_activation="softmax", name="nasnet_mobile",
):  # fmt: skip
    """NASNetMobile, NASNet-A (4 @ 1056). It takes channels-last shapes only."""
    if not include_top and input_shape is None:
        input_shape = (MOBILE.default_size, MOBILE.default_size, 3)
    shared = include_top, weights, input_tensor, pooling, classes, MOBILE.default_size
    return NASNet(
        input_shape, 1056, 4, 32, False, 2, *shared, classifier_activation, name, "nasnet_mobile"
    )


@register_model(
    "nasnet_large",
    LARGE,
    size_mb=343,
    top1=0.825,
    top5=0.960,
    params=88_949_818,
    weights=(
        PublishedWeights(
            "nasnet/NASNet-large.h5",
            "md5:11577c9a518f0070763c2b964a382f17",
            include_top=True,
            cached_as="nasnet_large.h5",
        ),
        PublishedWeights(
            "nasnet/NASNet-large-no-top.h5",
            "md5:d81d89dc07e6e56530c4e77faddd61b5",
            include_top=False,
            cached_as="nasnet_large_no_top.h5",
        ),
    ),
)
def NASNetLarge(
    input_shape=None, include_top=True, weights="imagenet", input_tensor=None, pooling=None,
    classes=1000, classifier_activation="softmax", name="nasnet_large",
):  # fmt: skip
    """NASNetLarge, NASNet-A (6 @ 4032). It takes channels-last shapes only."""
    shared = include_top, weights, input_tensor, pooling, classes, LARGE.default_size
    return NASNet(
        input_shape, 4032, 6, 96, True, 2, *shared, classifier_activation, name, "nasnet_large"
    )


def preprocess_input(x, data_format=None):
    """Scales pixels from [0, 255] to [-1, 1]; see `imagenet_utils.preprocess_input`."""
    return imagenet_utils.preprocess_input(x, data_format, mode="tf")
