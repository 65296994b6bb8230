"""EfficientNet: one network scaled in width, depth and size of images (Tan and Le, 2019)."""

import math
from dataclasses import replace

from ..engine import Model
from ..initializers import VarianceScaling
from ..layers import (
    Activation,
    Add,
    BatchNormalization,
    Conv2D,
    Dropout,
    Normalization,
    Rescaling,
    ZeroPadding2D,
)
from .construction import (
    FAN_OUT,
    channel_axis,
    image_input,
    is_for_published_weights,
    loads_weights,
    make_divisible,
    padded_depthwise,
    pooled_or_classified,
    source_inputs,
    squeeze_excite,
)
from .imagenet_utils import correct_pad, keep_pixels
from .imagenet_utils import decode_predictions as decode_predictions
from .input_channels import colours
from .published import with_and_without_top
from .registry import Family, register_model

FAMILY = Family(
    default_size=224,
    min_size=32,
    preprocessing="none",
    own_preprocessing="torch",
    marker="block1a_dwconv",
    weights_licence="not stated",
    paper="https://arxiv.org/abs/1905.11946",
    citation=(
        "Tan, M. and Le, Q. V. EfficientNet: Rethinking Model Scaling for Convolutional Neural "
        "Networks. ICML 2019."
    ),
)
ADDRESS = "https://storage.googleapis.com/keras-applications"

# The paper's table for B0: kernel, blocks, filters before and after, expansion, first stride.
BLOCKS = (
    (3, 1, 32, 16, 1, 1),
    (3, 2, 16, 24, 6, 2),
    (5, 2, 24, 40, 6, 2),
    (3, 3, 40, 80, 6, 2),
    (5, 3, 80, 112, 6, 1),
    (5, 4, 112, 192, 6, 2),
    (3, 1, 192, 320, 6, 1),
)
COLUMNS = ("kernel_size", "repeats", "filters_in", "filters_out", "expand_ratio", "strides")

CLASSIFIER_INITIALIZER = VarianceScaling(1.0 / 3.0, "fan_out", "uniform")


@loads_weights
def EfficientNet(
    width_coefficient, depth_coefficient, default_size, dropout_rate=0.2, drop_connect_rate=0.2,
    depth_divisor=8, activation="swish", blocks_args="default", name="efficientnet",
    include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None,
    classes=1000, classifier_activation="softmax", weights_name=None,
):  # fmt: skip
    """The network of B0 in another width and depth.

    All arguments that are not listed, the result and the errors are those of `EfficientNetB0`.

    Args:
        width_coefficient: factor of the filters of every convolution.
        depth_coefficient: factor of the number of blocks of every stage.
        default_size: height and width in pixels with the classifier if `input_shape` is not given.
        dropout_rate: rate of the dropout in front of the classifier.
        drop_connect_rate: how often the last block is left out in training, for each image on its
            own; those before it are less and less often.
        depth_divisor: what the numbers of filters are multiples of.
        activation: of all convolutions, by name or as a function.
        blocks_args: the stages, each a dictionary of `kernel_size`, `repeats` (its blocks),
            `filters_in`, `filters_out`, `expand_ratio`, `strides` (of its first block), `se_ratio`
            (of the filters to those between squeeze and excitation; 0 for none) and `id_skip`
            (whether a block's input is added to its output).
        weights_name: whose published weights `"imagenet"` stands for, e.g. `"efficientnet_b0"`.
    """
    family = replace(FAMILY, default_size=default_size)
    image = image_input(include_top, weights, input_tensor, input_shape, pooling, classes, family)
    if blocks_args == "default":
        blocks_args = [
            {**dict(zip(COLUMNS, row, strict=True)), "se_ratio": 0.25, "id_skip": True}
            for row in BLOCKS
        ]

    def width(filters):
        return make_divisible(filters * width_coefficient, depth_divisor)

    def repeats(count):
        return math.ceil(depth_coefficient * count)

    x = Rescaling(1.0 / 255.0)(image)
    x = Normalization(axis=channel_axis(last=3))(x)
    if is_for_published_weights(weights):
        # What they hold as the variance is the deviation: its root divides a second time.
        deviations = colours((0.229, 0.224, 0.225), image.shape[channel_axis()])
        x = Rescaling([1.0 / math.sqrt(deviation) for deviation in deviations])(x)

    x = ZeroPadding2D(correct_pad(x, 3), name="stem_conv_pad")(x)
    x = convolution(x, width(32), 3, "stem_conv", strides=2, padding="valid")
    x = batch_norm_activation(x, activation, "stem_")

    blocks, before = sum(repeats(stage["repeats"]) for stage in blocks_args), 0
    for number, stage in enumerate(blocks_args, 1):
        check_repeats(stage["repeats"])
        filters_in, filters_out = width(stage["filters_in"]), width(stage["filters_out"])
        stage = {**stage, "filters_in": filters_in, "filters_out": filters_out}
        for i in range(repeats(stage.pop("repeats"))):
            rate = drop_connect_rate * before / blocks
            x = inverted_residual(x, _depthwise, activation, rate, block_name(number, i), **stage)
            stage |= {"filters_in": filters_out, "strides": 1}
            before += 1

    x = convolution(x, width(1280), 1, "top_conv")
    x = batch_norm_activation(x, activation, "top_")
    end = include_top, pooling, classes, classifier_activation, weights
    x = pooled_or_classified(x, *end, dropout_rate, kernel_initializer=CLASSIFIER_INITIALIZER)
    return Model(source_inputs(image, input_tensor), x, name=name)


def _depthwise(x, kernel_size, strides, name):
    return padded_depthwise(
        x, kernel_size, strides, f"{name}dwconv", f"{name}dwconv_pad", depthwise_initializer=FAN_OUT
    )


# What EfficientNetV2 is made of too.


def block_name(stage, i):
    """What the names of the layers of a stage's block begin with: `block1a_`, `block1b_`, ..."""
    return f"block{stage}{chr(ord('a') + i)}_"


def check_repeats(count):
    if count <= 0:
        raise ValueError(f"every stage has at least one block; got {count}")


def inverted_residual(
    x, depthwise, activation, drop_rate, name, filters_in, filters_out, kernel_size=3, strides=1,
    expand_ratio=1, se_ratio=0.0, id_skip=True, momentum=0.99,
):  # fmt: skip
    """A block that expands, filters by depth, weighs the channels and projects.

    `depthwise` puts the depthwise convolution on a Symbol, by its kernel, stride and name.
    """
    shortcut = x
    if expand_ratio != 1:
        x = convolution(x, filters_in * expand_ratio, 1, f"{name}expand_conv")
        x = batch_norm_activation(x, activation, f"{name}expand_", momentum)

    x = depthwise(x, kernel_size, strides, name)
    x = batch_norm_activation(x, activation, name, momentum)
    x = excite(x, filters_in, se_ratio, activation, name)

    x = convolution(x, filters_out, 1, f"{name}project_conv")
    x = batch_norm(x, f"{name}project_bn", momentum)
    if id_skip and strides == 1 and filters_in == filters_out:
        x = add_shortcut(x, shortcut, drop_rate, name)
    return x


def convolution(x, filters, kernel_size, name, strides=1, padding="same"):
    return Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding=padding,
        use_bias=False,
        kernel_initializer=FAN_OUT,
        name=name,
    )(x)


def batch_norm(x, name, momentum=0.99):
    return BatchNormalization(axis=channel_axis(last=3), momentum=momentum, name=name)(x)


def batch_norm_activation(x, activation, name, momentum=0.99):
    x = batch_norm(x, f"{name}bn", momentum)
    return Activation(activation, name=f"{name}activation")(x)


def excite(x, filters, se_ratio, activation, name):
    """Squeeze and excitation by way of `se_ratio` of a block's filters before it expands them."""
    if not 0 < se_ratio <= 1:
        return x
    reduced = max(1, int(filters * se_ratio))
    return squeeze_excite(x, reduced, activation, FAN_OUT, f"{name}se_")


def add_shortcut(x, shortcut, drop_rate, name):
    """Adds a block's input to its output, which training leaves out for some of the images."""
    if drop_rate > 0:
        x = Dropout(drop_rate, noise_shape=(None, 1, 1, 1), name=f"{name}drop")(x)
    return Add(name=f"{name}add")([x, shortcut])


# The models


def _model(
    size, width_coefficient, depth_coefficient, default_size, dropout_rate, blocks, size_mb, top1,
    top5, params, depth, md5, md5_without_top,
):  # fmt: skip
    """The constructor of the EfficientNet of a size such as "B0", entered in the registry.

    The arguments that are not listed are those of `EfficientNet` and of `ModelRecord`.

    Args:
        blocks: what it has of them, in words.
        md5, md5_without_top: of the published files with and without the classifier.
    """
    variant = size.lower()
    default_name = f"efficientnet{variant}"
    own_name = f"efficientnet_{variant}"
    files = with_and_without_top(f"efficientnet{variant}", md5, md5_without_top)

    @register_model(
        own_name,
        replace(FAMILY, default_size=default_size),
        size_mb=size_mb,
        top1=top1,
        top5=top5,
        params=params,
        depth=depth,
        weights=tuple(replace(file, address=ADDRESS) for file in files),
        keras_name=f"EfficientNet{size}",
        documentation=f"EfficientNet{size}: {blocks}.",
    )
    def constructor(
        include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None,
        classes=1000, classifier_activation="softmax", name=default_name,
    ):  # fmt: skip
        return EfficientNet(
            width_coefficient,
            depth_coefficient,
            default_size,
            dropout_rate,
            name=name,
            include_top=include_top,
            weights=weights,
            input_tensor=input_tensor,
            input_shape=input_shape,
            pooling=pooling,
            classes=classes,
            classifier_activation=classifier_activation,
            weights_name=own_name,
        )

    return constructor


EfficientNetB0 = _model(
    "B0",
    width_coefficient=1.0,
    depth_coefficient=1.0,
    default_size=224,
    dropout_rate=0.2,
    blocks="16 inverted residual blocks",
    size_mb=29,
    top1=0.771,
    top5=0.933,
    params=5_330_571,
    depth=132,
    md5="902e53a9f72be733fc0bcb005b3ebbac",
    md5_without_top="50bc09e76180e00e4465e1a485ddc09d",
)
EfficientNetB1 = _model(
    "B1",
    width_coefficient=1.0,
    depth_coefficient=1.1,
    default_size=240,
    dropout_rate=0.2,
    blocks="23 inverted residual blocks",
    size_mb=31,
    top1=0.791,
    top5=0.944,
    params=7_856_239,
    depth=186,
    md5="1d254153d4ab51201f1646940f018540",
    md5_without_top="74c4e6b3e1f6a1eea24c589628592432",
)
EfficientNetB2 = _model(
    "B2",
    width_coefficient=1.1,
    depth_coefficient=1.2,
    default_size=260,
    dropout_rate=0.3,
    blocks="23 inverted residual blocks, 1.1 times as wide as those of B0",
    size_mb=36,
    top1=0.801,
    top5=0.949,
    params=9_177_569,
    depth=186,
    md5="b15cce36ff4dcbd00b6dd88e7857a6ad",
    md5_without_top="111f8e2ac8aa800a7a99e3239f7bfb39",
)
EfficientNetB3 = _model(
    "B3",
    width_coefficient=1.2,
    depth_coefficient=1.4,
    default_size=300,
    dropout_rate=0.3,
    blocks="26 inverted residual blocks, 1.2 times as wide as those of B0",
    size_mb=48,
    top1=0.816,
    top5=0.957,
    params=12_320_535,
    depth=210,
    md5="ffd1fdc53d0ce67064dc6a9c7960ede0",
    md5_without_top="af6d107764bb5b1abb91932881670226",
)
EfficientNetB4 = _model(
    "B4",
    width_coefficient=1.4,
    depth_coefficient=1.8,
    default_size=380,
    dropout_rate=0.4,
    blocks="32 inverted residual blocks, 1.4 times as wide as those of B0",
    size_mb=75,
    top1=0.829,
    top5=0.964,
    params=19_466_823,
    depth=258,
    md5="18c95ad55216b8f92d7e70b3a046e2fc",
    md5_without_top="ebc24e6d6c33eaebbd558eafbeedf1ba",
)
EfficientNetB5 = _model(
    "B5",
    width_coefficient=1.6,
    depth_coefficient=2.2,
    default_size=456,
    dropout_rate=0.4,
    blocks="39 inverted residual blocks, 1.6 times as wide as those of B0",
    size_mb=118,
    top1=0.836,
    top5=0.967,
    params=30_562_527,
    depth=312,
    md5="ace28f2a6363774853a83a0b21b9421a",
    md5_without_top="38879255a25d3c92d5e44e04ae6cec6f",
)
EfficientNetB6 = _model(
    "B6",
    width_coefficient=1.8,
    depth_coefficient=2.6,
    default_size=528,
    dropout_rate=0.5,
    blocks="45 inverted residual blocks, 1.8 times as wide as those of B0",
    size_mb=166,
    top1=0.840,
    top5=0.968,
    params=43_265_143,
    depth=360,
    md5="165f6e37dce68623721b423839de8be5",
    md5_without_top="9ecce42647a20130c1f39a5d4cb75743",
)
EfficientNetB7 = _model(
    "B7",
    width_coefficient=2.0,
    depth_coefficient=3.1,
    default_size=600,
    dropout_rate=0.5,
    blocks="55 inverted residual blocks, twice as wide as those of B0",
    size_mb=256,
    top1=0.843,
    top5=0.970,
    params=66_658_687,
    depth=438,
    md5="8c03f828fec3ef71311cd463b6759d99",
    md5_without_top="cbcfe4450ddf6f3ad90b1b398090fe4a",
)


preprocess_input = keep_pixels
