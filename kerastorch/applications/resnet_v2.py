"""ResNetV2: residual networks that normalise before they convolve (He et al., 2016)."""

from ..layers import Activation, Add, Conv2D, MaxPooling2D, ZeroPadding2D
from . import imagenet_utils
from .imagenet_utils import decode_predictions as decode_predictions
from .published import with_and_without_top
from .registry import Family, register_model
from .resnet import ResNet, batch_norm

FAMILY = Family(
    default_size=224,
    min_size=32,
    preprocessing="tf",
    weights_licence="BSD (Facebook)",
    paper="https://arxiv.org/abs/1603.05027",
    citation=(
        "He, K., Zhang, X., Ren, S. and Sun, J. Identity Mappings in Deep Residual Networks. "
        "ECCV 2016."
    ),
)


def stack_v2(depths):
    """The `stack_fn` of a ResNetV2 whose four stages, conv2 to conv5, have `depths` blocks."""

    def stack_fn(x):
        for stage, (depth, filters) in enumerate(zip(depths, (64, 128, 256, 512), strict=True), 2):
            x = stack_residual_blocks_v2(
                x, filters, depth, stride1=1 if stage == 5 else 2, name=f"conv{stage}"
            )
        return x

    return stack_fn


def stack_residual_blocks_v2(x, filters, blocks, stride1=2, name=None):
    """One stage: `blocks` blocks of `4 * filters` channels; the last has stride `stride1`."""
    x = residual_block_v2(x, filters, conv_shortcut=True, name=f"{name}_block1")
    for i in range(2, blocks):
        x = residual_block_v2(x, filters, name=f"{name}_block{i}")
    return residual_block_v2(x, filters, stride=stride1, name=f"{name}_block{blocks}")


def residual_block_v2(x, filters, kernel_size=3, stride=1, conv_shortcut=False, name=None):
    """A bottleneck block with pre-activation. The stride is on its 3x3 convolution."""
    preact = batch_norm(x, name=f"{name}_preact_bn")
    preact = Activation("relu", name=f"{name}_preact_relu")(preact)

    shortcut = x
    if conv_shortcut:
        shortcut = Conv2D(4 * filters, 1, strides=stride, name=f"{name}_0_conv")(preact)
    elif stride > 1:
        shortcut = MaxPooling2D(1, strides=stride)(x)

    x = Conv2D(filters, 1, use_bias=False, name=f"{name}_1_conv")(preact)
    x = batch_norm(x, name=f"{name}_1_bn")
    x = Activation("relu", name=f"{name}_1_relu")(x)

    x = ZeroPadding2D(1, name=f"{name}_2_pad")(x)
    x = Conv2D(filters, kernel_size, strides=stride, use_bias=False, name=f"{name}_2_conv")(x)
    x = batch_norm(x, name=f"{name}_2_bn")
    x = Activation("relu", name=f"{name}_2_relu")(x)

    x = Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x)
    return Add(name=f"{name}_out")([shortcut, x])


@register_model(
    "resnet50_v2",
    FAMILY,
    size_mb=98,
    top1=0.760,
    top5=0.930,
    params=25_613_800,
    weights=with_and_without_top(
        "resnet/resnet50v2_weights_tf_dim_ordering_tf_kernels",
        md5="3ef43a0b657b3be2300d5770ece849e0",
        md5_without_top="fac2f116257151a9d068a22e544a4917",
    ),
)
def ResNet50V2(
    include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None,
    classes=1000, classifier_activation="softmax", name="resnet50v2",
):  # fmt: skip
    """ResNet50V2: 16 residual blocks of three convolutions, batch norm before each."""
    shared = include_top, weights, input_tensor, input_shape, pooling, classes
    stack_fn = stack_v2((3, 4, 6, 3))
    return ResNet(stack_fn, True, True, *shared, classifier_activation, name, "resnet50v2")


@register_model(
    "resnet101_v2",
    FAMILY,
    size_mb=171,
    top1=0.772,
    top5=0.938,
    params=44_675_560,
    weights=with_and_without_top(
        "resnet/resnet101v2_weights_tf_dim_ordering_tf_kernels",
        md5="6343647c601c52e1368623803854d971",
        md5_without_top="c0ed64b8031c3730f411d2eb4eea35b5",
    ),
)
def ResNet101V2(
    include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None,
    classes=1000, classifier_activation="softmax", name="resnet101v2",
):  # fmt: skip
    """ResNet101V2: 33 residual blocks of three convolutions, batch norm before each."""
    shared = include_top, weights, input_tensor, input_shape, pooling, classes
    stack_fn = stack_v2((3, 4, 23, 3))
    return ResNet(stack_fn, True, True, *shared, classifier_activation, name, "resnet101v2")


@register_model(
    "resnet152_v2",
    FAMILY,
    size_mb=232,
    top1=0.780,
    top5=0.942,
    params=60_380_648,
    weights=with_and_without_top(
        "resnet/resnet152v2_weights_tf_dim_ordering_tf_kernels",
        md5="a49b44d1979771252814e80f8ec446f9",
        md5_without_top="ed17cf2e0169df9d443503ef94b23b33",
    ),
)
def ResNet152V2(
    include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None,
    classes=1000, classifier_activation="softmax", name="resnet152v2",
):  # fmt: skip
    """ResNet152V2: 50 residual blocks of three convolutions, batch norm before each."""
    shared = include_top, weights, input_tensor, input_shape, pooling, classes
    stack_fn = stack_v2((3, 8, 36, 3))
    return ResNet(stack_fn, True, True, *shared, classifier_activation, name, "resnet152v2")


def preprocess_input(x, data_format=None):
    """Scales pixels from [0, 255] to [-1, 1]; see `imagenet_utils.preprocess_input`."""
    return imagenet_utils.preprocess_input(x, data_format, mode="tf")
