"""InceptionResNetV2: inception blocks with residual connections (Szegedy et al., 2016)."""

from ..engine import Model
from ..layers import (
    Activation,
    AveragePooling2D,
    Conv2D,
    CustomScaleLayer,
    GlobalAveragePooling2D,
    MaxPooling2D,
)
from . import imagenet_utils
from .construction import channel_axis, image_input, loads_weights, pool, predictions, source_inputs
from .imagenet_utils import decode_predictions as decode_predictions
from .inception_v3 import concatenate, conv, stem
from .published import with_and_without_top
from .registry import Family, register_model

FAMILY = Family(
    default_size=299,
    min_size=75,
    preprocessing="tf",
    weights_licence="Apache 2.0",
    paper="https://arxiv.org/abs/1602.07261",
    citation=(
        "Szegedy, C., Ioffe, S., Vanhoucke, V. and Alemi, A. A. Inception-v4, Inception- "
        "ResNet and the Impact of Residual Connections on Learning. AAAI 2017."
    ),
)


@register_model(
    "inception_resnet_v2",
    FAMILY,
    size_mb=215,
    top1=0.803,
    top5=0.953,
    params=55_873_736,
    depth=572,
    weights=with_and_without_top(
        "inception_resnet_v2/inception_resnet_v2_weights_tf_dim_ordering_tf_kernels",
        md5="e693bd0210a403b3192acc6073ad2e96",
        md5_without_top="d19885ff4a710c122648d3b5c3b684e4",
    ),
)
@loads_weights
def InceptionResNetV2(
    include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None,
    classes=1000, classifier_activation="softmax", name="inception_resnet_v2",
):  # fmt: skip
    """InceptionResNetV2: 40 residual inception blocks at three sizes."""
    image = image_input(include_top, weights, input_tensor, input_shape, pooling, classes, FAMILY)

    x = stem(image)

    # 35 x 35 at the default size: inception-A
    branch_0 = conv(x, 96, 1)
    branch_1 = conv(x, 48, 1)
    branch_1 = conv(branch_1, 64, 5)
    branch_2 = conv(x, 64, 1)
    branch_2 = conv(branch_2, 96, 3)
    branch_2 = conv(branch_2, 96, 3)
    branch_3 = AveragePooling2D(3, strides=1, padding="same")(x)
    branch_3 = conv(branch_3, 64, 1)
    x = concatenate([branch_0, branch_1, branch_2, branch_3], name="mixed_5b")
    for i in range(1, 11):
        x = _residual(x, _block35(x), scale=0.17, name=f"block35_{i}")

    # 17 x 17: reduction-A
    branch_0 = conv(x, 384, 3, strides=2, padding="valid")
    branch_1 = conv(x, 256, 1)
    branch_1 = conv(branch_1, 256, 3)
    branch_1 = conv(branch_1, 384, 3, strides=2, padding="valid")
    branch_2 = MaxPooling2D(3, strides=2)(x)
    x = concatenate([branch_0, branch_1, branch_2], name="mixed_6a")
    for i in range(1, 21):
        x = _residual(x, _block17(x), scale=0.1, name=f"block17_{i}")

    # 8 x 8: reduction-B
    branch_0 = conv(x, 256, 1)
    branch_0 = conv(branch_0, 384, 3, strides=2, padding="valid")
    branch_1 = conv(x, 256, 1)
    branch_1 = conv(branch_1, 288, 3, strides=2, padding="valid")
    branch_2 = conv(x, 256, 1)
    branch_2 = conv(branch_2, 288, 3)
    branch_2 = conv(branch_2, 320, 3, strides=2, padding="valid")
    branch_3 = MaxPooling2D(3, strides=2)(x)
    x = concatenate([branch_0, branch_1, branch_2, branch_3], name="mixed_7a")
    for i in range(1, 10):
        x = _residual(x, _block8(x), scale=0.2, name=f"block8_{i}")
    x = _residual(x, _block8(x), scale=1.0, name="block8_10", activation=None)

    x = conv(x, 1536, 1, name="conv_7b")

    if include_top:
        x = GlobalAveragePooling2D(name="avg_pool")(x)
        x = predictions(x, classes, classifier_activation, weights)
    else:
        x = pool(x, pooling)
    return Model(source_inputs(image, input_tensor), x, name=name)


def _block35(x):
    branch_0 = conv(x, 32, 1)
    branch_1 = conv(x, 32, 1)
    branch_1 = conv(branch_1, 32, 3)
    branch_2 = conv(x, 32, 1)
    branch_2 = conv(branch_2, 48, 3)
    branch_2 = conv(branch_2, 64, 3)
    return [branch_0, branch_1, branch_2]


def _block17(x):
    branch_0 = conv(x, 192, 1)
    branch_1 = conv(x, 128, 1)
    branch_1 = conv(branch_1, 160, (1, 7))
    branch_1 = conv(branch_1, 192, (7, 1))
    return [branch_0, branch_1]


def _block8(x):
    branch_0 = conv(x, 192, 1)
    branch_1 = conv(x, 192, 1)
    branch_1 = conv(branch_1, 224, (1, 3))
    branch_1 = conv(branch_1, 256, (3, 1))
    return [branch_0, branch_1]


def _residual(x, branches, scale, name, activation="relu"):
    """`x` plus `scale` times the branches, which a plain convolution brings to its channels."""
    branches = concatenate(branches, name=f"{name}_mixed")
    up = Conv2D(x.shape[channel_axis(last=3)], 1, padding="same", name=f"{name}_conv")(branches)
    x = CustomScaleLayer(scale)([x, up])
    return x if activation is None else Activation(activation, name=f"{name}_ac")(x)


def preprocess_input(x, data_format=None):
    """Scales pixels from [0, 255] to [-1, 1]; see `imagenet_utils.preprocess_input`."""
    return imagenet_utils.preprocess_input(x, data_format, mode="tf")
