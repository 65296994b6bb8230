"""MobileNetV3: inverted residuals with squeeze and excitation (Howard et al., 2019)."""

from ..engine import Model
from ..layers import (
    Activation,
    Add,
    Conv2D,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    Multiply,
    ReLU,
    Rescaling,
)
from .construction import (
    channel_axis,
    check_classifier_activation,
    image_input,
    loads_weights,
    make_divisible,
    padded_depthwise,
    pool,
    source_inputs,
)
from .imagenet_utils import decode_predictions as decode_predictions
from .imagenet_utils import keep_pixels
from .mobilenet import check_published
from .mobilenet_v2 import batch_norm, check_width, shape_of
from .published import PublishedWeights
from .registry import Family, register_model

FAMILY = Family(
    default_size=224,
    min_size=32,
    preprocessing="none",
    own_preprocessing="tf",
    weights_licence="not stated",
    paper="https://arxiv.org/abs/1905.02244",
    citation="Howard, A. et al. Searching for MobileNetV3. ICCV 2019.",
    classifier="logits",
    marker="expanded_conv_1_expand",
    open_size=True,
)

# The paper's tables: expansion, filters, kernel, stride, and whether a block weighs its channels
# and has hard swish. Minimalistic models have kernels of 3 and ReLU only, and weigh nothing.
SMALL = (
    (1, 16, 3, 2, True, False),
    (72 / 16, 24, 3, 2, False, False),
    (88 / 24, 24, 3, 1, False, False),
    (4, 40, 5, 2, True, True),
    (6, 40, 5, 1, True, True),
    (6, 40, 5, 1, True, True),
    (3, 48, 5, 1, True, True),
    (3, 48, 5, 1, True, True),
    (6, 96, 5, 2, True, True),
    (6, 96, 5, 1, True, True),
    (6, 96, 5, 1, True, True),
)
LARGE = (
    (1, 16, 3, 1, False, False),
    (4, 24, 3, 2, False, False),
    (3, 24, 3, 1, False, False),
    (3, 40, 5, 2, True, False),
    (3, 40, 5, 1, True, False),
    (3, 40, 5, 1, True, False),
    (6, 80, 3, 2, False, True),
    (2.5, 80, 3, 1, False, True),
    (2.3, 80, 3, 1, False, True),
    (2.3, 80, 3, 1, False, True),
    (6, 112, 3, 1, True, True),
    (6, 112, 3, 1, True, True),
    (6, 160, 5, 2, True, True),
    (6, 160, 5, 1, True, True),
    (6, 160, 5, 1, True, True),
)


def _mobilenet_v3(
    blocks, last_filters, input_shape, alpha, minimalistic, include_top, weights, input_tensor,
    classes, pooling, dropout_rate, classifier_activation, include_preprocessing, name,
):  # fmt: skip
    """The network of `blocks`, whose last convolution but the classifier has `last_filters`."""
    check_width(input_tensor, input_shape)
    shape = input_shape or shape_of(input_tensor)  # Keras checks either
    image = image_input(include_top, weights, input_tensor, shape, pooling, classes, FAMILY)
    if weights == "imagenet":
        check_published("alpha", alpha, (1.0,) if minimalistic else (0.75, 1.0))
    activation = _relu if minimalistic else _hard_swish

    x = Rescaling(1.0 / 127.5, offset=-1.0)(image) if include_preprocessing else image
    x = Conv2D(16, 3, strides=2, padding="same", use_bias=False, name="conv")(x)
    x = activation(batch_norm(x, "conv_bn"))

    for number, (expansion, filters, kernel, stride, excites, is_hard) in enumerate(blocks):
        x = _block(
            x,
            expansion,
            make_divisible(filters * alpha),
            3 if minimalistic else kernel,
            stride,
            excites and not minimalistic,
            activation if is_hard else _relu,
            f"expanded_conv_{number}_" if number else "expanded_conv_",
        )

    filters = make_divisible(6 * x.shape[channel_axis()])
    x = Conv2D(filters, 1, padding="same", use_bias=False, name="conv_1")(x)
    x = activation(batch_norm(x, "conv_1_bn"))

    if include_top:
        filters = make_divisible(last_filters * alpha) if alpha > 1.0 else last_filters
        x = GlobalAveragePooling2D(keepdims=True)(x)
        x = activation(Conv2D(filters, 1, padding="same", name="conv_2")(x))
        if dropout_rate > 0:
            x = Dropout(dropout_rate)(x)
        x = Conv2D(classes, 1, padding="same", name="logits")(x)
        check_classifier_activation(classifier_activation, weights)
        x = Activation(classifier_activation, name="predictions")(Flatten()(x))
    else:
        x = pool(x, pooling, avg_name="avg_pool", max_name="max_pool")
    return Model(source_inputs(image, input_tensor), x, name=name)


def _block(x, expansion, filters, kernel_size, stride, excites, activation, prefix):
    """An inverted residual block; the first one of all, without a number, does not expand."""
    shortcut = x
    channels = x.shape[channel_axis()]
    width = make_divisible(channels * expansion)
    if prefix != "expanded_conv_":
        x = Conv2D(width, 1, padding="same", use_bias=False, name=f"{prefix}expand")(x)
        x = activation(batch_norm(x, f"{prefix}expand_bn"))

    name = f"{prefix}depthwise"
    x = padded_depthwise(x, kernel_size, stride, name, pad_name=f"{name}_pad")
    x = activation(batch_norm(x, f"{prefix}depthwise_bn"))
    if excites:
        x = _squeeze_excite(x, width, f"{prefix}squeeze_excite_")

    x = Conv2D(filters, 1, padding="same", use_bias=False, name=f"{prefix}project")(x)
    x = batch_norm(x, f"{prefix}project_bn")
    if stride == 1 and channels == filters:
        x = Add(name=f"{prefix}add")([shortcut, x])
    return x


def _squeeze_excite(x, width, prefix):
    """Squeeze and excitation with a hard sigmoid of arithmetic, under this family's names."""
    y = GlobalAveragePooling2D(keepdims=True, name=f"{prefix}avg_pool")(x)
    y = Conv2D(make_divisible(width / 4), 1, padding="same", name=f"{prefix}conv")(y)
    y = ReLU(name=f"{prefix}relu")(y)
    y = Conv2D(width, 1, padding="same", name=f"{prefix}conv_1")(y)
    y = ReLU(6.0)(y + 3.0) * (1.0 / 6.0)
    return Multiply(name=f"{prefix}mul")([x, y])


def _relu(x):
    return ReLU()(x)


def _hard_swish(x):
    return Activation("hard_swish")(x)


def _published(kind, alpha, md5, md5_without_top, minimalistic=False):
    """The two files of a width, of `"small"` or `"large"`."""
    kind = f"{kind}_minimalistic" if minimalistic else kind
    path = f"mobilenet_v3/weights_mobilenet_v3_{kind}_224_{alpha}_float"
    of = {"alpha": alpha, "minimalistic": minimalistic}
    return (
        PublishedWeights(f"{path}.h5", f"md5:{md5}", include_top=True, **of),
        PublishedWeights(f"{path}_no_top_v2.h5", f"md5:{md5_without_top}", include_top=False, **of),
    )


def _variant(alpha, minimalistic, **others):
    """The width and kind of the published file that the arguments ask for."""
    return {"alpha": alpha, "minimalistic": bool(minimalistic)}


@register_model(
    "mobilenet_v3_small",
    FAMILY,
    top1=0.681,
    params=2_554_968,
    weights=(
        *_published(
            "small",
            0.75,
            md5="cb65d4e5be93758266aa0a7f2c6708b7",
            md5_without_top="ebdb5cc8e0b497cd13a7c275d475c819",
        ),
        *_published(
            "small",
            1.0,
            md5="8768d4c2e7dee89b9d02b2d03d65d862",
            md5_without_top="d3e8ec802a04aa4fc771ee12a9a9b836",
        ),
        *_published(
            "small",
            1.0,
            md5="99cd97fb2fcdad2bf028eb838de69e37",
            md5_without_top="cde8136e733e811080d9fcd8a252f7e4",
            minimalistic=True,
        ),
    ),
)
@loads_weights(variant=_variant)
def MobileNetV3Small(
    input_shape=None, alpha=1.0, minimalistic=False, include_top=True, weights="imagenet",
    input_tensor=None, classes=1000, pooling=None, dropout_rate=0.2,
    classifier_activation="softmax", include_preprocessing=True, name="MobileNetV3Small",
):  # fmt: skip
    """MobileNetV3Small: 11 inverted residual blocks.

    Args:
        alpha: width multiplier, applied to the filters of every block. Weights are published for
            0.75 and 1, of minimalistic models for 1.
        minimalistic: whether it does without squeeze and excitation, hard swish and kernels of 5.
        dropout_rate: rate of the dropout in front of the classifier, from 0 to 1.
        include_preprocessing: whether the model takes pixels in [0, 255] and scales them to
            [-1, 1]; if not, they are in [-1, 1].
    """
    shared = alpha, minimalistic, include_top, weights, input_tensor, classes, pooling
    ends = dropout_rate, classifier_activation, include_preprocessing, name
    return _mobilenet_v3(SMALL, 1024, input_shape, *shared, *ends)


@register_model(
    "mobilenet_v3_large",
    FAMILY,
    top1=0.756,
    params=5_507_432,
    weights=(
        *_published(
            "large",
            0.75,
            md5="765b44a33ad4005b3ac83185abf1d0eb",
            md5_without_top="40af19a13ebea4e2ee0c676887f69a2e",
        ),
        *_published(
            "large",
            1.0,
            md5="59e551e166be033d707958cf9e29a6a7",
            md5_without_top="07fb09a5933dd0c8eaafa16978110389",
        ),
        *_published(
            "large",
            1.0,
            md5="675e7b876c45c57e9e63e6d90a36599c",
            md5_without_top="ec5221f64a2f6d1ef965a614bdae7973",
            minimalistic=True,
        ),
    ),
)
@loads_weights(variant=_variant)
def MobileNetV3Large(
    input_shape=None, alpha=1.0, minimalistic=False, include_top=True, weights="imagenet",
    input_tensor=None, classes=1000, pooling=None, dropout_rate=0.2,
    classifier_activation="softmax", include_preprocessing=True, name="MobileNetV3Large",
):  # fmt: skip
    """MobileNetV3Large: 15 inverted residual blocks.

    Args:
        alpha: width multiplier, applied to the filters of every block. Weights are published for
            0.75 and 1, of minimalistic models for 1.
        minimalistic: whether it does without squeeze and excitation, hard swish and kernels of 5.
        dropout_rate: rate of the dropout in front of the classifier, from 0 to 1.
        include_preprocessing: whether the model takes pixels in [0, 255] and scales them to
            [-1, 1]; if not, they are in [-1, 1].
    """
    shared = alpha, minimalistic, include_top, weights, input_tensor, classes, pooling
    ends = dropout_rate, classifier_activation, include_preprocessing, name
    return _mobilenet_v3(LARGE, 1280, input_shape, *shared, *ends)


preprocess_input = keep_pixels
