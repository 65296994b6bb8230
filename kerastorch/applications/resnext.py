"""ResNeXt: residual networks of grouped convolutions (Xie et al., 2017).

As keras-applications had it to its end with version 1.0.8; no Keras has exported it since. Its
Lambda layers are operations here, which are not among a model's `layers`.
"""

from ..config import image_data_format
from ..layers import Activation, Add, Conv2D, DepthwiseConv2D, Reshape, ZeroPadding2D
from ..ops import Sum
from . import imagenet_utils
from .construction import image_size
from .imagenet_utils import decode_predictions as decode_predictions
from .published import with_and_without_top
from .registry import Family, register_model
from .resnet import ResNet, batch_norm, stack_v1

FAMILY = Family(
    default_size=224,
    min_size=32,
    preprocessing="torch",
    weights_licence="not stated",
    paper="https://arxiv.org/abs/1611.05431",
    citation=(
        "Xie, S., Girshick, R., Dollár, P., Tu, Z. and He, K. Aggregated Residual Transformations "
        "for Deep Neural Networks. CVPR 2017."
    ),
    classifier="probs",
    fixed_size=True,
)


def _resnext(
    depths, include_top, weights, input_tensor, input_shape, pooling, classes,
    classifier_activation, name, weights_name,
):  # fmt: skip
    """A ResNeXt whose four stages, conv2 to conv5, have `depths` blocks."""
    if image_data_format() == "channels_first":
        raise ValueError(
            "ResNeXt, as in keras-applications, takes the image data format 'channels_last' only"
        )
    return ResNet(
        stack_v1(depths, (128, 256, 512, 1024), _block),
        preact=False,
        use_bias=False,
        include_top=include_top,
        weights=weights,
        input_tensor=input_tensor,
        input_shape=input_shape,
        pooling=pooling,
        classes=classes,
        classifier_activation=classifier_activation,
        name=name,
        weights_name=weights_name,
        family=FAMILY,
    )


def _block(x, filters, stride=1, conv_shortcut=True, name=None, groups=32):
    """A bottleneck block whose middle convolution is in groups.

    The grouped convolution is one of each channel by itself, once for each output of its group,
    whose results are summed over the channels of the group.
    """
    shortcut = x
    if conv_shortcut:
        shortcut = Conv2D(2 * filters, 1, strides=stride, use_bias=False, name=f"{name}_0_conv")(x)
        shortcut = batch_norm(shortcut, name=f"{name}_0_bn")

    x = Conv2D(filters, 1, use_bias=False, name=f"{name}_1_conv")(x)
    x = batch_norm(x, name=f"{name}_1_bn")
    x = Activation("relu", name=f"{name}_1_relu")(x)

    width = filters // groups
    x = ZeroPadding2D(1, name=f"{name}_2_pad")(x)
    x = DepthwiseConv2D(
        3, strides=stride, depth_multiplier=width, use_bias=False, name=f"{name}_2_conv"
    )(x)
    size = image_size(x.shape[1:])
    if None in size:
        raise ValueError("ResNeXt, as in keras-applications, takes images of a size it knows")
    x = Reshape((*size, groups, width, width))(x)
    x = Sum(axis=4, name=f"{name}_2_reduce")(x)
    x = Reshape((*size, filters))(x)
    x = batch_norm(x, name=f"{name}_2_bn")
    x = Activation("relu", name=f"{name}_2_relu")(x)

    x = Conv2D(2 * filters, 1, use_bias=False, name=f"{name}_3_conv")(x)
    x = batch_norm(x, name=f"{name}_3_bn")

    x = Add(name=f"{name}_add")([shortcut, x])
    return Activation("relu", name=f"{name}_out")(x)


@register_model(
    "resnext50",
    FAMILY,
    params=25_097_128,
    weights=with_and_without_top(
        "resnet/resnext50_weights_tf_dim_ordering_tf_kernels",
        md5="67a5b30d522ed92f75a1f16eef299d1a",
        md5_without_top="62527c363bdd9ec598bed41947b379fc",
    ),
)
def ResNeXt50(
    include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None,
    classes=1000, classifier_activation="softmax", name="resnext50",
):  # fmt: skip
    """ResNeXt50: 16 residual blocks of 32 groups. It takes channels-last shapes only.

    Its layers depend on the size of the images.
    """
    shared = include_top, weights, input_tensor, input_shape, pooling, classes
    return _resnext((3, 4, 6, 3), *shared, classifier_activation, name, "resnext50")


@register_model(
    "resnext101",
    FAMILY,
    params=44_315_560,
    weights=with_and_without_top(
        "resnet/resnext101_weights_tf_dim_ordering_tf_kernels",
        md5="34fb605428fcc7aa4d62f44404c11509",
        md5_without_top="0f678c91647380debd923963594981b3",
    ),
)
def ResNeXt101(
    include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None,
    classes=1000, classifier_activation="softmax", name="resnext101",
):  # fmt: skip
    """ResNeXt101: 33 residual blocks of 32 groups. It takes channels-last shapes only.

    Its layers depend on the size of the images.
    """
    shared = include_top, weights, input_tensor, input_shape, pooling, classes
    return _resnext((3, 4, 23, 3), *shared, classifier_activation, name, "resnext101")


def preprocess_input(x, data_format=None):
    """Normalises pixels by ImageNet's statistics; see `imagenet_utils.preprocess_input`."""
    return imagenet_utils.preprocess_input(x, data_format, mode="torch")
