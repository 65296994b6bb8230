"""MobileNetV2: inverted residual blocks with linear bottlenecks (Sandler et al., 2018)."""

from dataclasses import replace

from ..engine import Model, Symbol
from ..layers import (
    Add,
    BatchNormalization,
    Conv2D,
    GlobalAveragePooling2D,
    ReLU,
)
from . import imagenet_utils
from .construction import (
    channel_axis,
    image_input,
    image_shape,
    image_size,
    is_image_shape,
    loads_weights,
    make_divisible,
    padded_depthwise,
    pool,
    predictions,
    source_inputs,
)
from .imagenet_utils import decode_predictions as decode_predictions
from .mobilenet import check_published, published_size, size_in_name
from .published import for_widths_and_sizes
from .registry import Family, register_model

FAMILY = Family(
    default_size=224,
    min_size=32,
    preprocessing="tf",
    weights_licence="Apache 2.0",
    paper="https://arxiv.org/abs/1801.04381",
    citation=(
        "Sandler, M., Howard, A., Zhu, M., Zhmoginov, A. and Chen, L.-C. MobileNetV2: "
        "Inverted Residuals and Linear Bottlenecks. CVPR 2018."
    ),
)
PUBLISHED_ALPHAS = (0.35, 0.50, 0.75, 1.0, 1.3, 1.4)
PUBLISHED_SIZES = (96, 128, 160, 192, 224)

# The paper's table: expansion, filters, number of blocks, stride of the first.
BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def _path(alpha, size):
    """Where the published weights lie."""
    return f"mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_{alpha}_{size}"


def _variant(include_top, alpha, input_shape, input_tensor, **others):
    """The width and size of the published file that the arguments ask for."""
    shape = input_shape or (shape_of(input_tensor) if include_top else None)
    return {"alpha": alpha, "size": published_size(shape, PUBLISHED_SIZES)}


@register_model(
    "mobilenet_v2",
    FAMILY,
    size_mb=14,
    top1=0.713,
    top5=0.901,
    params=3_538_984,
    depth=88,
    weights=for_widths_and_sizes(_path, PUBLISHED_ALPHAS, PUBLISHED_SIZES),
)
@loads_weights(variant=_variant)
def MobileNetV2(
    input_shape=None, alpha=1.0, include_top=True, weights="imagenet", input_tensor=None,
    pooling=None, classes=1000, classifier_activation="softmax", name=None,
):  # fmt: skip
    """MobileNetV2: 17 inverted residual blocks.

    Args:
        alpha: width multiplier, applied to the filters of every layer, but the last convolution has
            at least 1280. Weights are published for 0.35, 0.5, 0.75, 1, 1.3 and 1.4.
    """
    check_width(input_tensor, input_shape)
    known_shape = input_shape or shape_of(input_tensor)
    family = replace(FAMILY, default_size=published_size(known_shape, PUBLISHED_SIZES))
    image = image_input(include_top, weights, input_tensor, input_shape, pooling, classes, family)
    shape = image_shape(include_top, weights, input_shape, family)
    if weights == "imagenet":
        check_published("alpha", alpha, PUBLISHED_ALPHAS)

    filters = make_divisible(32 * alpha)
    x = Conv2D(filters, 3, strides=2, padding="same", use_bias=False, name="Conv1")(image)
    x = batch_norm(x, name="bn_Conv1")
    x = ReLU(6.0, name="Conv1_relu")(x)

    block = 0
    for expansion, filters, count, first_stride in BLOCKS:
        for i in range(count):
            width, stride = make_divisible(int(filters * alpha)), first_stride if i == 0 else 1
            x = _inverted_residual(x, expansion, width, stride, block)
            block += 1

    filters = make_divisible(1280 * alpha) if alpha > 1.0 else 1280
    x = Conv2D(filters, 1, use_bias=False, name="Conv_1")(x)
    x = batch_norm(x, name="Conv_1_bn")
    x = ReLU(6.0, name="out_relu")(x)

    if include_top:
        x = GlobalAveragePooling2D()(x)
        x = predictions(x, classes, classifier_activation, weights)
    else:
        x = pool(x, pooling)
    if name is None:
        name = f"mobilenetv2_{alpha:0.2f}_{size_in_name(shape, weights, PUBLISHED_SIZES)}"
    return Model(source_inputs(image, input_tensor), x, name=name)


def _inverted_residual(x, expansion, filters, stride, block):
    """Expands (except in the first block), filters by depth and projects without activation."""
    shortcut = x
    channels = x.shape[channel_axis()]
    prefix = "expanded_conv_"
    if block > 0:
        prefix = f"block_{block}_"
        x = Conv2D(expansion * channels, 1, padding="same", use_bias=False, name=f"{prefix}expand")(
            x
        )
        x = batch_norm(x, name=f"{prefix}expand_BN")
        x = ReLU(6.0, name=f"{prefix}expand_relu")(x)

    x = padded_depthwise(x, 3, stride, f"{prefix}depthwise", f"{prefix}pad")
    x = batch_norm(x, name=f"{prefix}depthwise_BN")
    x = ReLU(6.0, name=f"{prefix}depthwise_relu")(x)

    x = Conv2D(filters, 1, padding="same", use_bias=False, name=f"{prefix}project")(x)
    x = batch_norm(x, name=f"{prefix}project_BN")
    if channels == filters and stride == 1:
        x = Add(name=f"{prefix}add")([shortcut, x])
    return x


def batch_norm(x, name):
    return BatchNormalization(axis=channel_axis(), momentum=0.999, name=name)(x)


def shape_of(input_tensor):
    """The shape of one image of `input_tensor`; None where it is no Symbol."""
    return input_tensor.shape[1:] if isinstance(input_tensor, Symbol) else None


def check_width(input_tensor, input_shape):
    """Raises `ValueError` if the two are given and differ in width."""
    shapes = shape_of(input_tensor), input_shape
    if all(map(is_image_shape, shapes)) and len({image_size(shape)[1] for shape in shapes}) > 1:
        raise ValueError(
            f"input_shape={input_shape} and input_tensor differ in width; "
            f"input_tensor has shape {input_tensor.shape}"
        )


def preprocess_input(x, data_format=None):
    """Scales pixels from [0, 255] to [-1, 1]; see `imagenet_utils.preprocess_input`."""
    return imagenet_utils.preprocess_input(x, data_format, mode="tf")
