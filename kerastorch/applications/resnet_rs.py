"""ResNet-RS: ResNets with squeeze-and-excitation, trained and scaled anew (Bello et al., 2021)."""

from itertools import chain

from ..engine import Model
from ..layers import (
    Activation,
    Add,
    AveragePooling2D,
    BatchNormalization,
    Conv2D,
    Dropout,
    Rescaling,
    ZeroPadding2D,
)
from .construction import (
    FAN_OUT,
    channel_axis,
    image_input,
    imagenet_normalization,
    loads_weights,
    pooled_or_classified,
    source_inputs,
    squeeze_excite,
)
from .imagenet_utils import decode_predictions as decode_predictions
from .imagenet_utils import keep_pixels
from .published import checked_by
from .registry import Family, get_record, register_model

FAMILY = Family(
    default_size=224,
    min_size=32,
    preprocessing="none",
    own_preprocessing="torch",
    weights_licence="not stated",
    marker="stem_1_stem_conv_1",
    weights_of_any_size=True,
    paper="https://arxiv.org/abs/2103.07579",
    citation=(
        "Bello, I., Fedus, W., Du, X., Cubuk, E. D., Srinivas, A., Lin, T.-Y., Shlens, J. and "
        "Zoph, B. Revisiting ResNets: Improved Training and Scaling Strategies. NeurIPS 2021."
    ),
)


@loads_weights(variant=lambda weights_size, **others: {"size": weights_size})
def _resnet_rs(
    depths, dropout_rate, drop_connect_rate, include_top, weights, classes, input_shape,
    input_tensor, pooling, classifier_activation, include_preprocessing, name, weights_name,
    weights_size,
):  # fmt: skip
    """A ResNet-RS whose four stages have `depths` blocks.

    The arguments that are not listed, the result and the errors are those of `ResNetRS50`.

    Args:
        dropout_rate: in front of the classifier.
        drop_connect_rate: how often training skips a block of the last stage; less often one of
            the earlier stages.
        weights_name, weights_size: the model whose published weights `"imagenet"` stands for, and
            the size of the images that they were trained on.
    """
    image = image_input(include_top, weights, input_tensor, input_shape, pooling, classes, FAMILY)

    x = image
    if include_preprocessing:
        x = Rescaling(1 / 255)(x)
        if x.shape[channel_axis()] == 3:
            x = imagenet_normalization(x, axis=channel_axis(3))

    for i, (filters, stride) in enumerate(((32, 2), (32, 1), (64, 1), (64, 2)), 1):
        x = _conv(x, filters, 3, stride, name=f"stem_1_stem_conv_{i}")
        x = _batch_norm(x, name=f"stem_1_stem_batch_norm_{i}")
        x = Activation("relu", name=f"stem_1_stem_act_{i}")(x)

    for stage, (depth, filters) in enumerate(zip(depths, (64, 128, 256, 512), strict=True), 2):
        drop_rate = drop_connect_rate * stage / 5
        for i in range(depth):
            stride = 2 if stage > 2 and i == 0 else 1
            x = _block(x, filters, stride, i == 0, drop_rate, f"BlockGroup{stage}__block_{i}_")

    end = include_top, pooling, classes, classifier_activation, weights
    x = pooled_or_classified(x, *end, dropout_rate)
    return Model(source_inputs(image, input_tensor), x, name=name)


def _block(x, filters, stride, conv_shortcut, drop_rate, name):
    """A bottleneck block with the stride on its second convolution; the shortcut pools."""
    shortcut = x
    if conv_shortcut:
        if stride == 2:
            shortcut = AveragePooling2D(
                2, strides=2, padding="same", name=f"{name}_projection_pooling"
            )(shortcut)
        shortcut = _conv(shortcut, 4 * filters, 1, 1, name=f"{name}_projection_conv")
        shortcut = _batch_norm(shortcut, name=f"{name}_projection_batch_norm")

    x = _conv(x, filters, 1, 1, name=f"{name}_conv_1")
    x = _batch_norm(x, name=f"{name}batch_norm_1")
    x = Activation("relu", name=f"{name}_act_1")(x)

    x = _conv(x, filters, 3, stride, name=f"{name}_conv_2")
    x = _batch_norm(x, name=f"{name}_batch_norm_2")
    x = Activation("relu", name=f"{name}_act_2")(x)

    x = _conv(x, 4 * filters, 1, 1, name=f"{name}_conv_3")
    x = _batch_norm(x, name=f"{name}_batch_norm_3")
    x = squeeze_excite(x, filters, "relu", FAN_OUT, name=f"{name}_se_se_")
    if drop_rate:
        x = Dropout(drop_rate, noise_shape=(None, 1, 1, 1), name=f"{name}_drop")(x)

    x = Add()([x, shortcut])
    return Activation("relu", name=f"{name}_output_act")(x)


def _conv(x, filters, kernel_size, stride, name):
    """A convolution without bias whose padding does not depend on the image's size."""
    if stride > 1:
        x = ZeroPadding2D(kernel_size // 2)(x)
    return Conv2D(
        filters,
        kernel_size,
        strides=stride,
        padding="same" if stride == 1 else "valid",
        use_bias=False,
        kernel_initializer=FAN_OUT,
        name=name,
    )(x)


def _batch_norm(x, name):
    """Batch normalisation whose statistics are those of the last batch, as in Keras."""
    return BatchNormalization(axis=channel_axis(3), momentum=0.0, epsilon=1e-5, name=name)(x)


def _published_size(weights, own_name):
    """`weights` without the size that `"imagenet-i192"` names, and that size, or the largest."""
    sizes = get_record(own_name).weights_names
    if weights in sizes:
        return "imagenet", sizes[weights]
    if isinstance(weights, str) and weights.startswith("imagenet-"):
        allowed = ", ".join(map(repr, sizes))
        raise ValueError(f"weights must be {allowed}, None or a path; got {weights!r}")
    return weights, None


_DOCUMENTATION = """ResNetRS{depth}: {blocks} blocks with squeeze-and-excitation.

`weights` may also say how large the images were that they were trained on:
{sizes}.
`"imagenet"` stands for the largest of these. All of them take images of any size.

Args:
    include_preprocessing: whether the model itself scales pixels in [0, 255] and normalises
        those of three channels. Without it, it takes pixels normalised by ImageNet's mean and
        standard deviation.
"""


def _model(depth, depths, params, md5s, dropout_rate=0.25, drop_connect_rate=0.1):
    """The constructor of the ResNet-RS of a depth, entered in the registry.

    `md5s` are those of the published files with and without the classifier, for each size of the
    images they were trained on.
    """
    own_name = f"resnet_rs{depth}"

    files = (
        checked_by(
            f"resnet_rs/resnet-rs-{depth}-i{size}", tuple(f"md5:{md5}" for md5 in both), size
        )
        for size, both in md5s.items()
    )

    @register_model(
        own_name,
        FAMILY,
        params=params,
        weights=tuple(chain.from_iterable(files)),
        keras_name=f"ResNetRS{depth}",
        documentation=_DOCUMENTATION.format(
            depth=depth,
            blocks=sum(depths),
            sizes=" or ".join(f'`"imagenet-i{size}"`' for size in md5s),
        ),
    )
    def constructor(
        include_top=True, weights="imagenet", classes=1000, input_shape=None, input_tensor=None,
        pooling=None, classifier_activation="softmax", include_preprocessing=True,
    ):  # fmt: skip
        weights, weights_size = _published_size(weights, own_name)
        return _resnet_rs(
            depths,
            dropout_rate,
            drop_connect_rate,
            include_top,
            weights,
            classes,
            input_shape,
            input_tensor,
            pooling,
            classifier_activation,
            include_preprocessing,
            name=f"resnet-rs-{depth}",
            weights_name=own_name,
            weights_size=weights_size,
        )

    return constructor


ResNetRS50 = _model(
    50,
    (3, 4, 6, 3),
    params=35_745_288,
    md5s={160: ("69d9d925319f00a8bdd4af23c04e4102", "90daa68cd26c95aa6c5d25451e095529")},
    drop_connect_rate=0.0,
)
ResNetRS101 = _model(
    101,
    (3, 4, 23, 3),
    params=63_724_296,
    md5s={
        160: ("544b3434d00efc199d66e9058c7f3379", "82d5b90c5ce9d710da639d6216d0f979"),
        192: ("eb285be29ab42cf4835ff20a5e3b5d23", "f9a0f6b85faa9c3db2b6e233c4eebb5b"),
    },
    drop_connect_rate=0.0,
)
ResNetRS152 = _model(
    152,
    (3, 8, 36, 3),
    params=86_773_256,
    md5s={
        192: ("8d72a301ed8a6f11a47c4ced4396e338", "5fbf7ac2155cb4d5a6180ee9e3aa8704"),
        224: ("31a46a92ab21b84193d0d71dd8c3d03b", "dc8b2cba2005552eafa3167f00dc2133"),
        256: ("ba6271b99bdeb4e7a9b15c05964ef4ad", "fa79794252dbe47c89130f65349d654a"),
    },
    drop_connect_rate=0.0,
)
ResNetRS200 = _model(
    200,
    (3, 24, 36, 3),
    params=93_386_248,
    md5s={256: ("a76930b741884e09ce90fa7450747d5f", "bbdb3994718dfc0d1cd45d7eff3f3d9c")},
)
ResNetRS270 = _model(
    270,
    (4, 29, 53, 4),
    params=130_104_520,
    md5s={256: ("20d575825ba26176b03cb51012a367a8", "2c42ecb22e35f3e23d2f70babce0a2aa")},
)
ResNetRS350 = _model(
    350,
    (4, 36, 72, 4),
    params=164_268_360,
    md5s={
        256: ("f4a039dc3c421321b7fc240494574a68", "6e44b55025bbdff8f51692a023143d66"),
        320: ("7ccb858cc738305e8ceb3c0140bee393", "ab0c1f9079d2f85a9facbd2c88aa6079"),
    },
    dropout_rate=0.4,
)
ResNetRS420 = _model(
    420,
    (4, 44, 87, 4),
    params=192_262_216,
    md5s={320: ("ae0eb9bed39e64fc8d7e0db4018dc7e8", "fe6217c32be8305b1889657172b98884")},
    dropout_rate=0.4,
)


preprocess_input = keep_pixels
