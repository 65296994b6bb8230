"""EfficientNetV2: faster to train, with whole convolutions at its start (Tan and Le, 2021)."""

import math
import re
from dataclasses import replace

from ..engine import Model
from ..initializers import Constant
from ..layers import DepthwiseConv2D, Rescaling
from .construction import (
    FAN_OUT,
    channel_axis,
    image_input,
    imagenet_normalization,
    loads_weights,
    pooled_or_classified,
    source_inputs,
)
from .efficientnet import (
    CLASSIFIER_INITIALIZER,
    add_shortcut,
    batch_norm,
    batch_norm_activation,
    block_name,
    check_repeats,
    convolution,
    excite,
    inverted_residual,
)
from .imagenet_utils import decode_predictions as decode_predictions
from .imagenet_utils import keep_pixels
from .published import with_and_without_top
from .registry import Family, register_model

# B0 to B3, scaled as EfficientNet is, prepare pixels as it does; S, M and L scale them to [-1, 1].
SCALED = Family(
    default_size=224,
    min_size=32,
    preprocessing="none",
    own_preprocessing="torch",
    marker="block4a_dwconv2",
    weights_licence="not stated",
    paper="https://arxiv.org/abs/2104.00298",
    citation=(
        "Tan, M. and Le, Q. V. EfficientNetV2: Smaller Models and Faster Training. ICML 2021."
    ),
)
LARGE = replace(SCALED, default_size=480, own_preprocessing="tf")

# The stages: kind, kernel, blocks, filters before and after, expansion, stride of the first block,
# and squeeze-and-excitation's part of the filters. Kind 1 has whole convolutions, 0 depthwise ones.
COLUMNS = (
    *("conv_type", "kernel_size", "num_repeat", "input_filters", "output_filters"),
    *("expand_ratio", "strides", "se_ratio"),
)
_B = (
    (1, 3, 1, 32, 16, 1, 1, 0),
    (1, 3, 2, 16, 32, 4, 2, 0),
    (1, 3, 2, 32, 48, 4, 2, 0),
    (0, 3, 3, 48, 96, 4, 2, 0.25),
    (0, 3, 5, 96, 112, 6, 1, 0.25),
    (0, 3, 8, 112, 192, 6, 2, 0.25),
)
_S = (
    (1, 3, 2, 24, 24, 1, 1, 0),
    (1, 3, 4, 24, 48, 4, 2, 0),
    (1, 3, 4, 48, 64, 4, 2, 0),
    (0, 3, 6, 64, 128, 4, 2, 0.25),
    (0, 3, 9, 128, 160, 6, 1, 0.25),
    (0, 3, 15, 160, 256, 6, 2, 0.25),
)
_M = (
    (1, 3, 3, 24, 24, 1, 1, 0),
    (1, 3, 5, 24, 48, 4, 2, 0),
    (1, 3, 5, 48, 80, 4, 2, 0),
    (0, 3, 7, 80, 160, 4, 2, 0.25),
    (0, 3, 14, 160, 176, 6, 1, 0.25),
    (0, 3, 18, 176, 304, 6, 2, 0.25),
    (0, 3, 5, 304, 512, 6, 1, 0.25),
)
_L = (
    (1, 3, 4, 32, 32, 1, 1, 0),
    (1, 3, 7, 32, 64, 4, 2, 0),
    (1, 3, 7, 64, 96, 4, 2, 0),
    (0, 3, 10, 96, 192, 4, 2, 0.25),
    (0, 3, 19, 192, 224, 6, 1, 0.25),
    (0, 3, 25, 224, 384, 6, 2, 0.25),
    (0, 3, 7, 384, 640, 6, 1, 0.25),
)
BLOCKS = {"b0": _B, "b1": _B, "b2": _B, "b3": _B, "s": _S, "m": _M, "l": _L}


@loads_weights
def EfficientNetV2(
    width_coefficient, depth_coefficient, default_size, dropout_rate=0.2, drop_connect_rate=0.2,
    depth_divisor=8, min_depth=8, bn_momentum=0.9, activation="swish", blocks_args="default",
    name="efficientnetv2", include_top=True, weights="imagenet", input_tensor=None,
    input_shape=None, pooling=None, classes=1000, classifier_activation="softmax",
    include_preprocessing=True, weights_name=None,
):  # fmt: skip
    """The network of `blocks_args` in another width and depth.

    All arguments that are not listed, the result and the errors are those of `EfficientNetV2B0`.

    Args:
        width_coefficient: factor of the filters of every convolution.
        depth_coefficient: factor of the number of blocks of every stage.
        default_size: height and width in pixels with the classifier if `input_shape` is not given.
        dropout_rate: rate of the dropout in front of the classifier.
        drop_connect_rate: how often the last block is left out in training, for each image on its
            own, where `depth_coefficient` is 1; those before it are less and less often.
        depth_divisor: what the numbers of filters are multiples of.
        min_depth: the least number of filters.
        bn_momentum: of the moving statistics.
        activation: of all convolutions, by name or as a function.
        blocks_args: the stages, each a dictionary of `conv_type` (1 for whole convolutions, 0 for
            depthwise ones), `kernel_size`, `num_repeat` (its blocks), `input_filters`,
            `output_filters`, `expand_ratio`, `strides` (of its first block) and `se_ratio` (of the
            filters to those between squeeze and excitation; 0 for none); `"default"` for those of
            `weights_name` or, without it, of `name`. One that ends in `b` and a number also has
            pixels prepared as EfficientNet does.
        weights_name: whose published weights `"imagenet"` stands for, e.g. `"efficientnet_v2_b0"`.
    """
    family = replace(LARGE, default_size=default_size)
    image = image_input(include_top, weights, input_tensor, input_shape, pooling, classes, family)
    variant = re.split("[-_]", weights_name or name)[-1]
    if blocks_args == "default":
        if variant not in BLOCKS:
            raise ValueError(f"{name!r} has no stages of its own: blocks_args must give some")
        blocks_args = [dict(zip(COLUMNS, row, strict=True)) for row in BLOCKS[variant]]

    def width(filters):
        filters = int(filters * width_coefficient + depth_divisor / 2)
        return max(min_depth or depth_divisor, filters // depth_divisor * depth_divisor)

    x = image
    if include_preprocessing and variant.startswith("b") and x.shape[channel_axis()] == 3:
        x = Rescaling(1.0 / 255)(x)
        x = imagenet_normalization(x, axis=channel_axis(last=3))
    elif include_preprocessing:  # by 128, as in Keras, not by 127.5 as other families
        x = Rescaling(1.0 / 128.0, offset=-1)(x)

    x = convolution(x, width(blocks_args[0]["input_filters"]), 3, "stem_conv", strides=2)
    x = batch_norm_activation(x, activation, "stem_", bn_momentum)

    blocks, before = sum(stage["num_repeat"] for stage in blocks_args), 0
    for number, stage in enumerate(blocks_args, 1):
        check_repeats(stage["num_repeat"])
        filters = width(stage["output_filters"])
        stage = {**stage, "input_filters": width(stage["input_filters"]), "output_filters": filters}
        block = _whole_block if stage.pop("conv_type") else _depthwise_block
        for i in range(math.ceil(depth_coefficient * stage.pop("num_repeat"))):
            rate = drop_connect_rate * before / blocks
            x = block(x, activation, bn_momentum, rate, block_name(number, i), **stage)
            stage |= {"input_filters": filters, "strides": 1}
            before += 1

    x = convolution(x, width(1280), 1, "top_conv")
    x = batch_norm_activation(x, activation, "top_", bn_momentum)
    x = pooled_or_classified(
        x,
        include_top,
        pooling,
        classes,
        classifier_activation,
        weights,
        dropout_rate,
        kernel_initializer=CLASSIFIER_INITIALIZER,
        bias_initializer=Constant(0.0),
    )
    return Model(source_inputs(image, input_tensor), x, name=name)


def _depthwise_block(
    x, activation, momentum, drop_rate, name, input_filters, output_filters, **stage
):
    return inverted_residual(
        x,
        _depthwise,
        activation,
        drop_rate,
        name,
        input_filters,
        output_filters,
        momentum=momentum,
        **stage,
    )


def _depthwise(x, kernel_size, strides, name):
    return DepthwiseConv2D(
        kernel_size,
        strides=strides,
        padding="same",
        use_bias=False,
        depthwise_initializer=FAN_OUT,
        name=f"{name}dwconv2",
    )(x)


def _whole_block(
    x, activation, momentum, drop_rate, name, input_filters, output_filters, expand_ratio=1,
    kernel_size=3, strides=1, se_ratio=0.0,
):  # fmt: skip
    """A block whose one whole convolution expands and filters; without expansion also projects."""
    shortcut = x
    if expand_ratio != 1:
        x = convolution(
            x, input_filters * expand_ratio, kernel_size, f"{name}expand_conv", strides=strides
        )
        x = batch_norm_activation(x, activation, f"{name}expand_", momentum)
    x = excite(x, input_filters, se_ratio, activation, name)

    if expand_ratio != 1:
        x = convolution(x, output_filters, 1, f"{name}project_conv")
        x = batch_norm(x, f"{name}project_bn", momentum)
    else:
        x = convolution(x, output_filters, kernel_size, f"{name}project_conv", strides=strides)
        x = batch_norm_activation(x, activation, f"{name}project_", momentum)
    if strides == 1 and input_filters == output_filters:
        x = add_shortcut(x, shortcut, drop_rate, name)
    return x


# The models

_DOCUMENTATION = """EfficientNetV2{size}: {blocks}.

Args:
    include_preprocessing: whether the model takes pixels in [0, 255] and prepares them. {otherwise}
"""
_OTHERWISE = {
    SCALED.own_preprocessing: """If not,
        they are prepared as for DenseNet (mode "torch").""",
    LARGE.own_preprocessing: """Its own
        layer scales them as x / 128 - 1, as Keras's does; if not, they are in [-1, 1].""",
}


def _model(
    size, family, blocks, size_mb, top1, top5, params, md5, md5_without_top,
    width_coefficient=1.0, depth_coefficient=1.0,
):  # fmt: skip
    """The constructor of the EfficientNetV2 of a size such as "B0", entered in the registry.

    The arguments that are not listed are those of `EfficientNetV2` and of `ModelRecord`.

    Args:
        family: `SCALED` or `LARGE`, with its size of images.
        blocks: what it has of them, in words.
        md5, md5_without_top: of the published files with and without the classifier.
    """
    variant = size.lower()
    default_name = f"efficientnetv2-{variant}"
    own_name = f"efficientnet_v2_{variant}"
    path = f"efficientnet_v2/efficientnetv2-{variant}"

    @register_model(
        own_name,
        family,
        size_mb=size_mb,
        top1=top1,
        top5=top5,
        params=params,
        weights=with_and_without_top(path, md5, md5_without_top),
        keras_name=f"EfficientNetV2{size}",
        documentation=_DOCUMENTATION.format(
            size=size, blocks=blocks, otherwise=_OTHERWISE[family.own_preprocessing]
        ),
    )
    def constructor(
        include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None,
        classes=1000, classifier_activation="softmax", include_preprocessing=True,
        name=default_name,
    ):  # fmt: skip
        return EfficientNetV2(
            width_coefficient,
            depth_coefficient,
            family.default_size,
            name=name,
            include_top=include_top,
            weights=weights,
            input_tensor=input_tensor,
            input_shape=input_shape,
            pooling=pooling,
            classes=classes,
            classifier_activation=classifier_activation,
            include_preprocessing=include_preprocessing,
            weights_name=own_name,
        )

    return constructor


EfficientNetV2B0 = _model(
    "B0",
    SCALED,
    blocks="5 blocks of whole convolutions and 16 of depthwise ones",
    size_mb=29,
    top1=0.787,
    top5=0.943,
    params=7_200_312,
    md5="21ecbf6da12460d5c40bb2f29ceb2188",
    md5_without_top="893217f2bb855e2983157299931e43ff",
)
EfficientNetV2B1 = _model(
    "B1",
    replace(SCALED, default_size=240),
    width_coefficient=1.0,
    depth_coefficient=1.1,
    blocks="8 blocks of whole convolutions and 19 of depthwise ones",
    size_mb=34,
    top1=0.798,
    top5=0.950,
    params=8_212_124,
    md5="069f0534ff22adf035c89e2d9547a9dc",
    md5_without_top="0e80663031ca32d657f9caa404b6ec37",
)
EfficientNetV2B2 = _model(
    "B2",
    replace(SCALED, default_size=260),
    width_coefficient=1.1,
    depth_coefficient=1.2,
    blocks="28 blocks, 8 of them of whole convolutions, 1.1 times as wide as B0's",
    size_mb=42,
    top1=0.805,
    top5=0.951,
    params=10_178_374,
    md5="424e49f28180edbde1e94797771950a7",
    md5_without_top="1dfe2e7a5d45b6632553a8961ea609eb",
)
EfficientNetV2B3 = _model(
    "B3",
    replace(SCALED, default_size=300),
    width_coefficient=1.2,
    depth_coefficient=1.4,
    blocks="32 blocks, 8 of them of whole convolutions, 1.2 times as wide as B0's",
    size_mb=59,
    top1=0.820,
    top5=0.958,
    params=14_467_622,
    md5="1f1fc43bd98a6e4fd8fdfd551e02c7a0",
    md5_without_top="f6abf7b5849ac99a89b50dd3fd532856",
)
EfficientNetV2S = _model(
    "S",
    replace(LARGE, default_size=384),
    blocks="10 blocks of whole convolutions and 30 of depthwise ones",
    size_mb=88,
    top1=0.839,
    top5=0.967,
    params=21_612_360,
    md5="e1d88a8495beba45748fedd0cecbe016",
    md5_without_top="af0682fb74e8c54910f2d4393339c070",
)
EfficientNetV2M = _model(
    "M",
    LARGE,
    blocks="13 blocks of whole convolutions and 44 of depthwise ones",
    size_mb=220,
    top1=0.853,
    top5=0.974,
    params=54_431_388,
    md5="a3bf6aa3276309f4fc6a34aa114c95cd",
    md5_without_top="1b8dc055df72dde80d614482840fe342",
)
EfficientNetV2L = _model(
    "L",
    LARGE,
    blocks="18 blocks of whole convolutions and 61 of depthwise ones",
    size_mb=479,
    top1=0.857,
    top5=0.975,
    params=119_027_848,
    md5="27e6d408b53c7ebc868fefa357689935",
    md5_without_top="b0b66b5c863aef5b46e8608fe1711615",
)


preprocess_input = keep_pixels
