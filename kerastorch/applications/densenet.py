"""DenseNet: each layer takes the outputs of all before it in its block (Huang et al., 2016)."""

from ..config import image_data_format
from ..engine import Model
from ..layers import (
    Activation,
    AveragePooling2D,
    BatchNormalization,
    Concatenate,
    Conv2D,
    MaxPooling2D,
    ZeroPadding2D,
)
from . import imagenet_utils
from .construction import (
    channel_axis,
    image_input,
    loads_weights,
    pooled_or_classified,
    source_inputs,
)
from .imagenet_utils import decode_predictions as decode_predictions
from .published import with_and_without_top
from .registry import Family, register_model

FAMILY = Family(
    default_size=224,
    min_size=32,
    preprocessing="torch",
    weights_licence="BSD 3-clause",
    paper="https://arxiv.org/abs/1608.06993",
    citation=(
        "Huang, G., Liu, Z., van der Maaten, L. and Weinberger, K. Q. Densely Connected "
        "Convolutional Networks. CVPR 2017."
    ),
)
GROWTH_RATE = 32


@loads_weights
def DenseNet(
    blocks, include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None,
    classes=1000, classifier_activation="softmax", name="densenet", weights_name=None,
):  # fmt: skip
    """The network whose four dense blocks have `blocks` layers.

    All arguments that are not listed, the result and the errors are those of `DenseNet121`.

    Args:
        weights_name: whose published weights `"imagenet"` stands for, e.g. `"densenet121"`.
    """
    if image_data_format() == "channels_first":
        raise ValueError("DenseNet, as in Keras, takes the image data format 'channels_last' only")
    image = image_input(include_top, weights, input_tensor, input_shape, pooling, classes, FAMILY)

    x = ZeroPadding2D(3)(image)
    x = Conv2D(64, 7, strides=2, use_bias=False, name="conv1_conv")(x)
    x = _batch_norm_relu(x, "conv1_bn", "conv1_relu")
    x = ZeroPadding2D(1)(x)
    x = MaxPooling2D(3, strides=2, name="pool1")(x)

    x = _dense_block(x, blocks[0], name="conv2")
    x = _transition(x, name="pool2")
    x = _dense_block(x, blocks[1], name="conv3")
    x = _transition(x, name="pool3")
    x = _dense_block(x, blocks[2], name="conv4")
    x = _transition(x, name="pool4")
    x = _dense_block(x, blocks[3], name="conv5")
    x = _batch_norm_relu(x, "bn", "relu")

    x = pooled_or_classified(x, include_top, pooling, classes, classifier_activation, weights)
    return Model(source_inputs(image, input_tensor), x, name=name)


def _dense_block(x, layers, name):
    for i in range(1, layers + 1):
        y = _batch_norm_relu(x, f"{name}_block{i}_0_bn", f"{name}_block{i}_0_relu")
        y = Conv2D(4 * GROWTH_RATE, 1, use_bias=False, name=f"{name}_block{i}_1_conv")(y)
        y = _batch_norm_relu(y, f"{name}_block{i}_1_bn", f"{name}_block{i}_1_relu")
        y = Conv2D(GROWTH_RATE, 3, padding="same", use_bias=False, name=f"{name}_block{i}_2_conv")(
            y
        )
        x = Concatenate(axis=channel_axis(last=3), name=f"{name}_block{i}_concat")([x, y])
    return x


def _transition(x, name):
    """Halves the channels and the size."""
    x = _batch_norm_relu(x, f"{name}_bn", f"{name}_relu")
    x = Conv2D(x.shape[channel_axis(last=3)] // 2, 1, use_bias=False, name=f"{name}_conv")(x)
    return AveragePooling2D(2, strides=2, name=f"{name}_pool")(x)


def _batch_norm_relu(x, bn_name, relu_name):
    x = BatchNormalization(axis=channel_axis(last=3), epsilon=1.001e-5, name=bn_name)(x)
    return Activation("relu", name=relu_name)(x)


@register_model(
    "densenet121",
    FAMILY,
    size_mb=33,
    top1=0.750,
    top5=0.923,
    params=8_062_504,
    depth=121,
    weights=with_and_without_top(
        "densenet/densenet121_weights_tf_dim_ordering_tf_kernels",
        md5="9d60b8095a5708f2dcce2bca79d332c7",
        md5_without_top="30ee3e1110167f948a6b9946edeeb738",
    ),
)
def DenseNet121(
    include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None,
    classes=1000, classifier_activation="softmax", name="densenet121",
):  # fmt: skip
    """DenseNet121: 58 dense layers of two convolutions. It takes channels-last shapes only."""
    shared = include_top, weights, input_tensor, input_shape, pooling, classes
    return DenseNet([6, 12, 24, 16], *shared, classifier_activation, name, "densenet121")


@register_model(
    "densenet169",
    FAMILY,
    size_mb=57,
    top1=0.762,
    top5=0.932,
    params=14_307_880,
    depth=169,
    weights=with_and_without_top(
        "densenet/densenet169_weights_tf_dim_ordering_tf_kernels",
        md5="d699b8f76981ab1b30698df4c175e90b",
        md5_without_top="b8c4d4c20dd625c148057b9ff1c1176b",
    ),
)
def DenseNet169(
    include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None,
    classes=1000, classifier_activation="softmax", name="densenet169",
):  # fmt: skip
    """DenseNet169: 82 dense layers of two convolutions. It takes channels-last shapes only."""
    shared = include_top, weights, input_tensor, input_shape, pooling, classes
    return DenseNet([6, 12, 32, 32], *shared, classifier_activation, name, "densenet169")


@register_model(
    "densenet201",
    FAMILY,
    size_mb=80,
    top1=0.773,
    top5=0.936,
    params=20_242_984,
    depth=201,
    weights=with_and_without_top(
        "densenet/densenet201_weights_tf_dim_ordering_tf_kernels",
        md5="1ceb130c1ea1b78c3bf6114dbdfd8807",
        md5_without_top="c13680b51ded0fb44dff2d8f86ac8bb1",
    ),
)
def DenseNet201(
    include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None,
    classes=1000, classifier_activation="softmax", name="densenet201",
):  # fmt: skip
    """DenseNet201: 98 dense layers of two convolutions. It takes channels-last shapes only."""
    shared = include_top, weights, input_tensor, input_shape, pooling, classes
    return DenseNet([6, 12, 48, 32], *shared, classifier_activation, name, "densenet201")


def preprocess_input(x, data_format=None):
    """Scales pixels from [0, 255] to [0, 1], less ImageNet's mean, by its standard deviation.

    See `imagenet_utils.preprocess_input`.
    """
    return imagenet_utils.preprocess_input(x, data_format, mode="torch")
