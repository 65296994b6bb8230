"""ResNet: residual networks of bottleneck blocks (He et al., 2015)."""

import re

from ..engine import Model
from ..layers import (
    Activation,
    Add,
    BatchNormalization,
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
from .registry import Family, OlderNetwork, register_model, register_older_network

FAMILY = Family(
    default_size=224,
    min_size=32,
    preprocessing="caffe",
    weights_licence="MIT (Kaiming He)",
    paper="https://arxiv.org/abs/1512.03385",
    citation=(
        "He, K., Zhang, X., Ren, S. and Sun, J. Deep Residual Learning for Image Recognition. "
        "CVPR 2016."
    ),
)


@loads_weights
def ResNet(
    stack_fn, preact, use_bias, include_top=True, weights="imagenet", input_tensor=None,
    input_shape=None, pooling=None, classes=1000, classifier_activation="softmax", name="resnet",
    weights_name=None, family=FAMILY,
):  # fmt: skip
    """The network around the blocks of ResNet, ResNetV2 and ResNeXt: stem, blocks, classifier.

    All arguments that are not listed, the result and the errors are those of `ResNet50`.

    Args:
        stack_fn: puts the residual blocks on a Symbol and returns the Symbol of their output.
        preact: whether the blocks normalise their input, as in ResNetV2. Batch norm and activation
            then follow the last block instead of the first convolution.
        use_bias: whether the first convolution has a bias.
        weights_name: whose published weights `"imagenet"` stands for, e.g. `"resnet50"`.
        family: what is known of the models of its paper.
    """
    image = image_input(include_top, weights, input_tensor, input_shape, pooling, classes, family)

    x = ZeroPadding2D(3, name="conv1_pad")(image)
    x = Conv2D(64, 7, strides=2, use_bias=use_bias, name="conv1_conv")(x)
    if not preact:
        x = batch_norm(x, name="conv1_bn")
        x = Activation("relu", name="conv1_relu")(x)
    x = ZeroPadding2D(1, name="pool1_pad")(x)
    x = MaxPooling2D(3, strides=2, name="pool1_pool")(x)

    x = stack_fn(x)

    if preact:
        x = batch_norm(x, name="post_bn")
        x = Activation("relu", name="post_relu")(x)

    end = include_top, pooling, classes, classifier_activation, weights
    x = pooled_or_classified(x, *end, name=family.classifier)
    return Model(source_inputs(image, input_tensor), x, name=name)


def batch_norm(x, name):
    """Batch normalisation with the epsilon of the ResNets."""
    return BatchNormalization(axis=channel_axis(last=3), epsilon=1.001e-5, name=name)(x)


def residual_block_v1(x, filters, kernel_size=3, stride=1, conv_shortcut=True, name=None):
    """A bottleneck block with the stride on its first convolution and biases in all of them."""
    shortcut = x
    if conv_shortcut:
        shortcut = Conv2D(4 * filters, 1, strides=stride, name=f"{name}_0_conv")(x)
        shortcut = batch_norm(shortcut, name=f"{name}_0_bn")

    x = Conv2D(filters, 1, strides=stride, name=f"{name}_1_conv")(x)
    x = batch_norm(x, name=f"{name}_1_bn")
    x = Activation("relu", name=f"{name}_1_relu")(x)

    x = Conv2D(filters, kernel_size, padding="same", name=f"{name}_2_conv")(x)
    x = batch_norm(x, name=f"{name}_2_bn")
    x = Activation("relu", name=f"{name}_2_relu")(x)

    x = Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x)
    x = batch_norm(x, name=f"{name}_3_bn")

    x = Add(name=f"{name}_add")([shortcut, x])
    return Activation("relu", name=f"{name}_out")(x)


def stack_v1(depths, widths=(64, 128, 256, 512), block=residual_block_v1):
    """The `stack_fn` of a ResNet whose four stages, conv2 to conv5, have `depths` blocks.

    The filters of the blocks are `widths`; the first of each stage has a convolution as shortcut.
    """

    def stack_fn(x):
        for stage, (depth, filters) in enumerate(zip(depths, widths, strict=True), 2):
            x = block(x, filters, stride=1 if stage == 2 else 2, name=f"conv{stage}_block1")
            for i in range(2, depth + 1):
                x = block(x, filters, conv_shortcut=False, name=f"conv{stage}_block{i}")
        return x

    return stack_fn


@register_model(
    "resnet50",
    FAMILY,
    size_mb=98,
    top1=0.749,
    top5=0.921,
    params=25_636_712,
    weights=with_and_without_top(
        "resnet/resnet50_weights_tf_dim_ordering_tf_kernels",
        md5="2cb95161c43110f7111970584f804107",
        md5_without_top="4d473c1dd8becc155b73f8504c6f6626",
    ),
)
def ResNet50(
    include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None,
    classes=1000, classifier_activation="softmax", name="resnet50",
):  # fmt: skip
    """ResNet50: 16 residual blocks of three convolutions, batch norm after each."""
    shared = include_top, weights, input_tensor, input_shape, pooling, classes
    stack_fn = stack_v1((3, 4, 6, 3))
    return ResNet(stack_fn, False, True, *shared, classifier_activation, name, "resnet50")


@register_model(
    "resnet101",
    FAMILY,
    size_mb=171,
    top1=0.764,
    top5=0.928,
    params=44_707_176,
    weights=with_and_without_top(
        "resnet/resnet101_weights_tf_dim_ordering_tf_kernels",
        md5="f1aeb4b969a6efcfb50fad2f0c20cfc5",
        md5_without_top="88cf7a10940856eca736dc7b7e228a21",
    ),
)
def ResNet101(
    include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None,
    classes=1000, classifier_activation="softmax", name="resnet101",
):  # fmt: skip
    """ResNet101: 33 residual blocks of three convolutions, batch norm after each."""
    shared = include_top, weights, input_tensor, input_shape, pooling, classes
    stack_fn = stack_v1((3, 4, 23, 3))
    return ResNet(stack_fn, False, True, *shared, classifier_activation, name, "resnet101")


@register_model(
    "resnet152",
    FAMILY,
    size_mb=232,
    top1=0.766,
    top5=0.931,
    params=60_419_944,
    weights=with_and_without_top(
        "resnet/resnet152_weights_tf_dim_ordering_tf_kernels",
        md5="100835be76be38e30d865e96f2aaae62",
        md5_without_top="ee4c566cf9a93f14d82f913c2dc6dd0c",
    ),
)
def ResNet152(
    include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None,
    classes=1000, classifier_activation="softmax", name="resnet152",
):  # fmt: skip
    """ResNet152: 50 residual blocks of three convolutions, batch norm after each."""
    shared = include_top, weights, input_tensor, input_shape, pooling, classes
    stack_fn = stack_v1((3, 8, 36, 3))
    return ResNet(stack_fn, False, True, *shared, classifier_activation, name, "resnet152")


def _name_since_keras_2_3(name):
    """`res4f_branch2c` is `conv4_block6_3_conv` today; the shortcut's `branch1` is its 0."""
    match = re.fullmatch(r"(res|bn)(\d)([a-z])_branch(\d[abc]?)", name)
    if match is None:
        return {
            "conv1": "conv1_conv",
            "bn_conv1": "conv1_bn",
            "fc1000": "predictions",
        }.get(name, name)
    kind, stage, block, branch = match.groups()
    number = {"1": 0, "2a": 1, "2b": 2, "2c": 3}[branch]
    return f"conv{stage}_block{ord(block) - ord('a') + 1}_{number}_{_KINDS[kind]}"


_KINDS = {"res": "conv", "bn": "bn"}

# ResNet50 as Keras had it before 2.3 (keras-applications before 1.0.8): the same convolutions, but
# Keras's default epsilon. Its published weights are stored under the file name of today's.
register_older_network(
    OlderNetwork(marker="res2a_branch2a", name_today=_name_since_keras_2_3, epsilon=1e-3)
)


def preprocess_input(x, data_format=None):
    """Turns RGB pixels into BGR less ImageNet's mean; see `imagenet_utils.preprocess_input`."""
    return imagenet_utils.preprocess_input(x, data_format, mode="caffe")
