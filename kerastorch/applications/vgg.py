"""VGG16 and VGG19: stacks of 3x3 convolutions (Simonyan and Zisserman, 2014)."""

from ..engine import Model
from ..layers import Conv2D, Dense, Flatten, MaxPooling2D
from . import imagenet_utils
from .construction import image_input, loads_weights, pool, predictions, source_inputs
from .imagenet_utils import decode_predictions as decode_predictions
from .published import with_and_without_top
from .registry import Family, register_model

FAMILY = Family(
    default_size=224,
    min_size=32,
    preprocessing="caffe",
    weights_licence="Creative Commons Attribution (released by VGG at Oxford)",
    paper="https://arxiv.org/abs/1409.1556",
    citation=(
        "Simonyan, K. and Zisserman, A. Very Deep Convolutional Networks for Large-Scale "
        "Image Recognition. ICLR 2015."
    ),
)


@loads_weights
def VGG(
    depths, include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None,
    classes=1000, classifier_activation="softmax", name="vgg", weights_name=None,
):  # fmt: skip
    """The network whose five blocks have `depths` convolutions.

    All arguments that are not listed, the result and the errors are those of `VGG16`.

    Args:
        weights_name: whose published weights `"imagenet"` stands for, e.g. `"vgg16"`.
    """
    image = image_input(include_top, weights, input_tensor, input_shape, pooling, classes, FAMILY)

    x = image
    for block, (depth, filters) in enumerate(zip(depths, (64, 128, 256, 512, 512), strict=True), 1):
        for i in range(1, depth + 1):
            name_i = f"block{block}_conv{i}"
            x = Conv2D(filters, 3, activation="relu", padding="same", name=name_i)(x)
        x = MaxPooling2D(2, strides=2, name=f"block{block}_pool")(x)

    if include_top:
        x = Flatten(name="flatten")(x)
        x = Dense(4096, activation="relu", name="fc1")(x)
        x = Dense(4096, activation="relu", name="fc2")(x)
        x = predictions(x, classes, classifier_activation, weights)
    else:
        x = pool(x, pooling)
    return Model(source_inputs(image, input_tensor), x, name=name)


@register_model(
    "vgg16",
    FAMILY,
    size_mb=528,
    top1=0.713,
    top5=0.901,
    params=138_357_544,
    depth=23,
    module="kerastorch.applications.vgg16",
    weights=with_and_without_top(
        "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels",
        md5="64373286793e3c8b2b4e3219cbf3544b",
        md5_without_top="6d6bbae143d832006294945121d1f1fc",
    ),
)
def VGG16(
    include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None,
    classes=1000, classifier_activation="softmax", name="vgg16",
):  # fmt: skip
    """VGG16: 13 convolutions and three dense layers, configuration D of the paper."""
    shared = include_top, weights, input_tensor, input_shape, pooling, classes
    return VGG((2, 2, 3, 3, 3), *shared, classifier_activation, name, "vgg16")


@register_model(
    "vgg19",
    FAMILY,
    size_mb=549,
    top1=0.713,
    top5=0.900,
    params=143_667_240,
    depth=26,
    module="kerastorch.applications.vgg19",
    weights=with_and_without_top(
        "vgg19/vgg19_weights_tf_dim_ordering_tf_kernels",
        md5="cbe5617147190e668d6c5d5026f83318",
        md5_without_top="253f8cb515780f3b799900260a226db6",
    ),
)
def VGG19(
    include_top=True, weights="imagenet", input_tensor=None, input_shape=None, pooling=None,
    classes=1000, classifier_activation="softmax", name="vgg19",
):  # fmt: skip
    """VGG19: 16 convolutions and three dense layers, configuration E of the paper."""
    shared = include_top, weights, input_tensor, input_shape, pooling, classes
    return VGG((2, 2, 4, 4, 4), *shared, classifier_activation, name, "vgg19")


def preprocess_input(x, data_format=None):
    """Turns RGB pixels into BGR less ImageNet's mean; see `imagenet_utils.preprocess_input`."""
    return imagenet_utils.preprocess_input(x, data_format, mode="caffe")
