"""ConvNeXt: convolutional networks in the manner of vision transformers (Liu et al., 2022)."""

from dataclasses import replace

import numpy as np

from ..config import image_data_format
from ..engine import Model, Sequential
from ..layers import (
    Activation,
    Conv2D,
    Dense,
    GlobalAveragePooling2D,
    LayerNormalization,
    LayerScale,
    StochasticDepth,
)
from .construction import (
    image_input,
    imagenet_normalization,
    loads_weights,
    pool,
    predictions,
    source_inputs,
)
from .imagenet_utils import decode_predictions as decode_predictions
from .imagenet_utils import keep_pixels
from .published import checked_by
from .registry import Family, register_model

FAMILY = Family(
    default_size=224,
    min_size=32,
    preprocessing="none",
    own_preprocessing="torch",
    weights_licence="not stated",
    paper="https://arxiv.org/abs/2201.03545",
    citation=(
        "Liu, Z., Mao, H., Wu, C.-Y., Feichtenhofer, C., Darrell, T. and Xie, S. A ConvNet for "
        "the 2020s. CVPR 2022."
    ),
)


@loads_weights
def ConvNeXt(
    depths, projection_dims, drop_path_rate=0.0, layer_scale_init_value=1e-6, default_size=224,
    name="convnext", include_preprocessing=True, include_top=True, weights=None, input_tensor=None,
    input_shape=None, pooling=None, classes=1000, classifier_activation="softmax",
    weights_name=None,
):  # fmt: skip
    """A ConvNeXt of any depths and widths.

    The arguments that are not listed, the result and the errors are those of `ConvNeXtTiny`.

    Args:
        depths: number of blocks at each of the four sizes.
        projection_dims: channels at each of the four sizes.
        drop_path_rate: how often training skips the last block; the others less often, the first
            never.
        layer_scale_init_value: what each block's output is scaled with at first; None for blocks
            without scales.
        default_size: height and width in pixels with the classifier if `input_shape` is not given;
            224 in all published ones.
        weights_name: whose published weights `"imagenet"` stands for, e.g. `"convnext_tiny"`.
    """
    if image_data_format() == "channels_first":
        raise ValueError("ConvNeXt, as in Keras, takes the image data format 'channels_last' only")
    family = replace(FAMILY, default_size=default_size)
    image = image_input(include_top, weights, input_tensor, input_shape, pooling, classes, family)
    if weights == "imagenet" and weights_name is not None and weights_name not in name:
        raise ValueError(f"with weights='imagenet' name must contain {weights_name!r}; got {name}")

    x = image
    if include_preprocessing and x.shape[-1] == 3:
        x = imagenet_normalization(x, largest=255, name=f"{name}_prestem_normalization")

    rates = iter(np.linspace(0.0, drop_path_rate, sum(depths)).tolist())
    for stage, (depth, channels) in enumerate(zip(depths, projection_dims, strict=True)):
        x = _stem(channels, name)(x) if stage == 0 else _downsampling(channels, stage - 1, name)(x)
        for i in range(depth):
            x = _block(x, next(rates), layer_scale_init_value, f"{name}_stage_{stage}_block_{i}")

    if include_top:
        x = GlobalAveragePooling2D(name=f"{name}_head_gap")(x)
        x = _layer_norm(f"{name}_head_layernorm")(x)
        x = predictions(x, classes, classifier_activation, weights, name=f"{name}_head_dense")
    else:
        x = pool(x, pooling)
        x = _layer_norm()(x)
    return Model(source_inputs(image, input_tensor), x, name=name)


def _stem(channels, name):
    conv = Conv2D(channels, 4, strides=4, name=f"{name}_stem_conv")
    return Sequential([conv, _layer_norm(f"{name}_stem_layernorm")], name=f"{name}_stem")


def _downsampling(channels, number, name):
    norm = _layer_norm(f"{name}_downsampling_layernorm_{number}")
    conv = Conv2D(channels, 2, strides=2, name=f"{name}_downsampling_conv_{number}")
    return Sequential([norm, conv], name=f"{name}_downsampling_block_{number}")


def _block(x, drop_path_rate, layer_scale_init_value, name):
    """Filters each channel by itself, then mixes the channels of each place in two layers."""
    shortcut, channels = x, x.shape[-1]
    x = Conv2D(channels, 7, padding="same", groups=channels, name=f"{name}_depthwise_conv")(x)
    x = _layer_norm(f"{name}_layernorm")(x)
    x = Dense(4 * channels, name=f"{name}_pointwise_conv_1")(x)
    x = Activation("gelu", name=f"{name}_gelu")(x)
    x = Dense(channels, name=f"{name}_pointwise_conv_2")(x)
    if layer_scale_init_value is not None:
        x = LayerScale(layer_scale_init_value, channels, name=f"{name}_layer_scale")(x)
    if drop_path_rate:
        x = StochasticDepth(drop_path_rate, name=f"{name}_stochastic_depth")(x)
    else:
        x = Activation("linear", name=f"{name}_identity")(x)
    return shortcut + x


def _layer_norm(name=None):
    return LayerNormalization(epsilon=1e-6, name=name)


_DOCUMENTATION = """ConvNeXt{size}: {blocks} blocks, up to {channels} channels.

Args:
    include_preprocessing: whether the model itself normalises pixels in [0, 255]. Without it,
        and for images with other channels than three, it takes pixels normalised by ImageNet's
        mean and standard deviation.
"""


def _model(size, depths, projection_dims, size_mb, top1, params, hashes):
    """The constructor of the ConvNeXt of a size, entered in the registry."""
    own_name = f"convnext_{size.lower()}"

    @register_model(
        own_name,
        FAMILY,
        size_mb=size_mb,
        top1=top1,
        params=params,
        weights=checked_by(f"convnext/{own_name}", tuple(f"sha256:{h}" for h in hashes)),
        classifier=f"{own_name}_head_dense",
        marker=f"{own_name}_stage_0_block_0_depthwise_conv",
        keras_name=f"ConvNeXt{size}",
        documentation=_DOCUMENTATION.format(
            size=size, blocks=sum(depths), channels=projection_dims[-1]
        ),
    )
    def constructor(
        include_top=True, include_preprocessing=True, weights="imagenet", input_tensor=None,
        input_shape=None, pooling=None, classes=1000, classifier_activation="softmax",
        name=own_name,
    ):  # fmt: skip
        return ConvNeXt(
            depths,
            projection_dims,
            name=name,
            include_preprocessing=include_preprocessing,
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


ConvNeXtTiny = _model(
    "Tiny",
    (3, 3, 9, 3),
    (96, 192, 384, 768),
    size_mb=109,
    top1=0.813,
    params=28_589_128,
    hashes=(
        "8ae6e78ce2933352b1ef4008e6dd2f17bc40771563877d156bc6426c7cf503ff",
        "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1",
    ),
)
ConvNeXtSmall = _model(
    "Small",
    (3, 3, 27, 3),
    (96, 192, 384, 768),
    size_mb=192,
    top1=0.823,
    params=50_223_688,
    hashes=(
        "ce1277d8f1ee5a0ef0e171469089c18f5233860ceaf9b168049cb9263fd7483c",
        "6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab",
    ),
)
ConvNeXtBase = _model(
    "Base",
    (3, 3, 27, 3),
    (128, 256, 512, 1024),
    size_mb=339,
    top1=0.853,
    params=88_591_464,
    hashes=(
        "52cbb006d3dadd03f6e095a8ca1aca47aecdd75acb4bc74bce1f5c695d0086e6",
        "40a20c5548a5e9202f69735ecc06c990e6b7c9d2de39f0361e27baeb24cb7c45",
    ),
)
ConvNeXtLarge = _model(
    "Large",
    (3, 3, 27, 3),
    (192, 384, 768, 1536),
    size_mb=755,
    top1=0.863,
    params=197_767_336,
    hashes=(
        "070c5ed9ed289581e477741d3b34beffa920db8cf590899d6d2c67fba2a198a6",
        "96f02b6f0753d4f543261bc9d09bed650f24dd6bc02ddde3066135b63d23a1cd",
    ),
)
ConvNeXtXLarge = _model(
    "XLarge",
    (3, 3, 27, 3),
    (256, 512, 1024, 2048),
    size_mb=1310,
    top1=0.867,
    params=350_196_968,
    hashes=(
        "c1f5ccab661354fc3a79a10fa99af82f0fbf10ec65cb894a3ae0815f17a889ee",
        "de3f8a54174130e0cecdc71583354753d557fcf1f4487331558e2a16ba0cfe05",
    ),
)


preprocess_input = keep_pixels
