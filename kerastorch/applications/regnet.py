"""RegNet: networks from a simple space of designs (Radosavovic et al., 2020).

X and Y are the kinds of blocks, without and with squeeze-and-excitation, and the number says how
many hundred million multiplications an image of 224 x 224 takes.
"""

from itertools import count

from ..engine import Model
from ..layers import (
    Add,
    BatchNormalization,
    Conv2D,
    Dense,
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
    pool,
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
    own_preprocessing="unit",
    weights_licence="not stated",
    paper="https://arxiv.org/abs/2003.13678",
    citation=(
        "Radosavovic, I., Kosaraju, R. P., Girshick, R., He, K. and Dollár, P. Designing Network "
        "Design Spaces. CVPR 2020."
    ),
    classifier="1head_dense",
)


@loads_weights
def _regnet(
    depths, widths, group_width, block_type, model_name, include_preprocessing, include_top,
    weights, input_tensor, input_shape, pooling, classes, classifier_activation, weights_name,
):  # fmt: skip
    """A RegNet whose four stages have `depths` blocks of `widths` channels.

    The arguments that are not listed, the result and the errors are those of `RegNetX002`.

    Args:
        group_width: how many channels the grouped convolutions see at a time.
        block_type: `"X"` or `"Y"`.
        weights_name: whose published weights `"imagenet"` stands for, e.g. `"regnet_x002"`.
    """
    image = image_input(include_top, weights, input_tensor, input_shape, pooling, classes, FAMILY)

    x = image
    if include_preprocessing:
        x = Rescaling(1 / 255, name=f"{model_name}_prestem_rescaling")(x)
    x = _conv(x, 32, 3, name=f"{model_name}_stem_conv", strides=2)
    x = _batch_norm(x, name=f"{model_name}_stem_bn")
    x = ReLU(name=f"{model_name}_stem_relu")(x)

    numbers = count()
    for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
        for i in range(depth):
            name = f"{model_name}_Stage_{stage}_{block_type}Block_{i}"
            stride = 2 if i == 0 else 1
            x = _block(x, width, group_width, stride, block_type == "Y", name, next(numbers))

    if include_top:
        # The names are those that Keras gives to a head without a name.
        check_classifier_activation(classifier_activation, weights)
        x = GlobalAveragePooling2D(name="1_head_gap")(x)
        x = Dense(classes, name="1head_dense")(x)
    else:
        x = pool(x, pooling)
    return Model(source_inputs(image, input_tensor), x, name=model_name)


def _block(x, width, group_width, stride, has_squeeze_excite, name, number):
    """A residual block around a grouped convolution, the one of this number in the model."""
    skip, squeezed = x, x.shape[channel_axis()] // 4
    if stride != 1:
        skip = _conv(x, width, 1, strides=stride, name=f"{name}_skip_1x1")
        skip = _batch_norm(skip, name=f"{name}_skip_bn")

    x = _conv(x, width, 1, name=f"{name}_conv_1x1_1")
    x = _batch_norm(x, name=f"{name}_conv_1x1_1_bn")
    x = ReLU(name=f"{name}_conv_1x1_1_relu")(x)

    groups = max(width // group_width, 1)  # RegNetX080 is narrower at first than its groups
    x = _conv(x, width, 3, strides=stride, groups=groups, name=f"{name}_conv_3x3")
    x = _batch_norm(x, name=f"{name}_conv_3x3_bn")
    x = ReLU(name=f"{name}_conv_3x3_relu")(x)

    if has_squeeze_excite:
        x = _squeeze_excite(x, squeezed, f"{name}_squeeze_and_excite", number)

    x = _conv(x, width, 1, name=f"{name}_conv_1x1_2")
    x = _batch_norm(x, name=f"{name}_conv_1x1_2_bn")
    x = Add(name=_function_name("__operators__.add", number))([x, skip])
    return ReLU(name=f"{name}_exit_relu")(x)


def _squeeze_excite(x, squeezed, name, number):
    """Squeeze-and-excitation in fewer layers than `construction.squeeze_excite` has."""
    y = GlobalAveragePooling2D(keepdims=True, name=f"{name}_gap")(x)
    y = Conv2D(
        squeezed, 1, activation="relu", kernel_initializer="he_normal", name=f"{name}_squeeze"
    )(y)
    y = Conv2D(
        x.shape[channel_axis()],
        1,
        activation="sigmoid",
        kernel_initializer="he_normal",
        name=f"{name}_excite",
    )(y)
    return Multiply(name=_function_name("math.multiply", number))([y, x])


def _function_name(function, number):
    """The name of a layer that is a function of TensorFlow in Keras, the one of this number."""
    return f"tf.{function}_{number}" if number else f"tf.{function}"


def _conv(x, filters, kernel_size, name, strides=1, groups=1):
    return Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding="same" if kernel_size > 1 else "valid",
        groups=groups,
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)


def _batch_norm(x, name):
    return BatchNormalization(axis=channel_axis(), momentum=0.9, epsilon=1e-5, name=name)(x)


_DOCUMENTATION = """RegNet{kind}: {blocks} residual blocks, up to {channels} channels.

As in Keras the classifier gives logits, whatever `classifier_activation` says.

Args:
    model_name: the model's name, which those of its layers begin with.
    include_preprocessing: whether the model itself scales pixels in [0, 255] to [0, 1].
"""


def _model(kind, depths, widths, group_width, params, hashes):
    """The constructor of the RegNet of a kind such as "X002", entered in the registry."""
    own_name = f"regnet{kind.lower()}"

    @register_model(
        f"regnet_{kind.lower()}",
        FAMILY,
        params=params,
        weights=checked_by(f"regnet/{own_name}", tuple(f"sha256:{h}" for h in hashes)),
        marker=f"{own_name}_stem_conv",
        keras_name=f"RegNet{kind}",
        documentation=_DOCUMENTATION.format(kind=kind, blocks=sum(depths), channels=widths[-1]),
    )
    def constructor(
        model_name=own_name, include_top=True, include_preprocessing=True, weights="imagenet",
        input_tensor=None, input_shape=None, pooling=None, classes=1000,
        classifier_activation="softmax",
    ):  # fmt: skip
        return _regnet(
            depths,
            widths,
            group_width,
            kind[0],
            model_name,
            include_preprocessing,
            include_top,
            weights,
            input_tensor,
            input_shape,
            pooling,
            classes,
            classifier_activation,
            weights_name=own_name,
        )

    return constructor


RegNetX002 = _model(
    "X002",
    (1, 1, 4, 7),
    (24, 56, 152, 368),
    group_width=8,
    params=2_705_640,
    hashes=(
        "49fb46e56cde07fdaf57bffd851461a86548f6a3a4baef234dd37290b826c0b8",
        "5445b66cd50445eb7ecab094c1e78d4d3d29375439d1a7798861c4af15ffff21",
    ),
)
RegNetX004 = _model(
    "X004",
    (1, 2, 7, 12),
    (32, 64, 160, 384),
    group_width=16,
    params=5_194_184,
    hashes=(
        "3523c7f5ac0dbbcc2fd6d83b3570e7540f7449d3301cc22c29547302114e4088",
        "de139bf07a66c9256f2277bf5c1b6dd2d5a3a891a5f8a925a10c8a0a113fd6f3",
    ),
)
RegNetX006 = _model(
    "X006",
    (1, 3, 5, 7),
    (48, 96, 240, 528),
    group_width=24,
    params=6_229_320,
    hashes=(
        "340216ef334a7bae30daac9f414e693c136fac9ab868704bbfcc9ce6a5ec74bb",
        "a43ec97ad62f86b2a96a783bfdc63a5a54de02eef54f26379ea05e1bf90a9505",
    ),
)
RegNetX008 = _model(
    "X008",
    (1, 3, 7, 5),
    (64, 128, 288, 672),
    group_width=16,
    params=7_296_968,
    hashes=(
        "8f145d6a5fae6da62677bb8d26eb92d0b9dfe143ec1ebf68b24a57ae50a2763d",
        "3c7e4b0917359304dc18e644475c5c1f5e88d795542b676439c4a3acd63b7207",
    ),
)
RegNetX016 = _model(
    "X016",
    (2, 4, 10, 2),
    (72, 168, 408, 912),
    group_width=24,
    params=9_233_640,
    hashes=(
        "31c386f4c7bfef4c021a583099aa79c1b3928057ba1b7d182f174674c5ef3510",
        "1b8e3d545d190271204a7b2165936a227d26b79bb7922bac5ee4d303091bf17a",
    ),
)
RegNetX032 = _model(
    "X032",
    (2, 6, 15, 2),
    (96, 192, 432, 1008),
    group_width=48,
    params=15_359_112,
    hashes=(
        "6c025df1409e5ea846375bc9dfa240956cca87ef57384d93fef7d6fa90ca8c7f",
        "9cd4522806c0fcca01b37874188b2bd394d7c419956d77472a4e072b01d99041",
    ),
)
RegNetX040 = _model(
    "X040",
    (2, 5, 14, 2),
    (80, 240, 560, 1360),
    group_width=40,
    params=22_194_312,
    hashes=(
        "ba128046c588a26dbd3b3a011b26cb7fa3cf8f269c184c132372cb20b6eb54c1",
        "b4ed0ca0b9a98e789e05000e830403a7ade4d8afa01c73491c44610195198afe",
    ),
)
RegNetX064 = _model(
    "X064",
    (2, 4, 10, 1),
    (168, 392, 784, 1624),
    group_width=56,
    params=26_283_464,
    hashes=(
        "0f4489c3cd3ad979bd6b0324213998bcb36dc861d178f977997ebfe53c3ba564",
        "3e706fa416a18dfda14c713423eba8041ae2509db3e0a611d5f599b5268a46c4",
    ),
)
RegNetX080 = _model(
    "X080",
    (2, 5, 15, 1),
    (80, 240, 720, 1920),
    group_width=120,
    params=39_663_112,
    hashes=(
        "76320e43272719df648db37271a247c22eb6e810fe469c37a5db7e2cb696d162",
        "7b1ce8e29ceefec10a6569640ee329dba7fbc98b5d0f6346aabade058b66cf29",
    ),
)
RegNetX120 = _model(
    "X120",
    (2, 5, 11, 1),
    (224, 448, 896, 2240),
    group_width=112,
    params=46_202_440,
    hashes=(
        "5cafc461b78897d5e4f24e68cb406d18e75f31105ef620e7682b611bb355eb3a",
        "36174ddd0299db04a42631d028abcb1cc7afec2b705e42bd28fcd325e5d596bf",
    ),
)
RegNetX160 = _model(
    "X160",
    (2, 6, 13, 1),
    (256, 512, 896, 2048),
    group_width=128,
    params=54_389_704,
    hashes=(
        "8093f57a5824b181fb734ea21ae34b1f7ee42c5298e63cf6d587c290973195d2",
        "9d1485050bdf19531ffa1ed7827c75850e0f2972118a996b91aa9264b088fd43",
    ),
)
RegNetX320 = _model(
    "X320",
    (2, 7, 13, 1),
    (336, 672, 1344, 2520),
    group_width=168,
    params=107_973_576,
    hashes=(
        "91fb3e6f4e9e44b3687e80977f7f4412ee9937c0c704232664fc83e4322ea01e",
        "9db7eacc37b85c98184070e1a172e6104c00846f44bcd4e727da9e50d9692398",
    ),
)
RegNetY002 = _model(
    "Y002",
    (1, 1, 4, 7),
    (24, 56, 152, 368),
    group_width=8,
    params=3_183_844,
    hashes=(
        "1e8091c674532b1a61c04f6393a9c570113e0197f22bd1b98cc4c4fe800c6465",
        "f63221f63d625b8e201221499682587bfe29d33f50a4c4f4d53be00f66c0f12c",
    ),
)
RegNetY004 = _model(
    "Y004",
    (1, 3, 6, 6),
    (48, 104, 208, 440),
    group_width=8,
    params=4_371_296,
    hashes=(
        "752fdbad21c78911bf1dcb8c513e5a0e14697b068e5d9e73525dbaa416d18d8e",
        "45e6ba8309a17a77e67afc05228454b2e0ee6be0dae65edc0f31f1da10cc066b",
    ),
)
RegNetY006 = _model(
    "Y006",
    (1, 3, 7, 4),
    (48, 112, 256, 608),
    group_width=16,
    params=6_084_920,
    hashes=(
        "98942e07b273da500ff9699a1f88aca78dfad4375faabb0bab784bb0dace80a9",
        "b70261cba4e60013c99d130cc098d2fce629ff978a445663b6fa4f8fc099a2be",
    ),
)
RegNetY008 = _model(
    "Y008",
    (1, 3, 8, 2),
    (64, 128, 320, 768),
    group_width=16,
    params=6_293_056,
    hashes=(
        "1b099377cc9a4fb183159a6f9b24bc998e5659d25a449f40c90cbffcbcfdcae4",
        "b11f5432a216ee640fe9be6e32939defa8d08b8d136349bf3690715a98752ca1",
    ),
)
RegNetY016 = _model(
    "Y016",
    (2, 6, 17, 2),
    (48, 120, 336, 888),
    group_width=24,
    params=11_255_102,
    hashes=(
        "b7ce1f5e223f0941c960602de922bcf846288ce7a4c33b2a4f2e4ac4b480045b",
        "d7404f50205e82d793e219afb9eb2bfeb781b6b2d316a6128c6d7d7dacab7f57",
    ),
)
RegNetY032 = _model(
    "Y032",
    (2, 5, 13, 1),
    (72, 216, 576, 1512),
    group_width=24,
    params=19_502_498,
    hashes=(
        "6a6a545cf3549973554c9b94f0cd40e25f229fffb1e7f7ac779a59dcbee612bd",
        "eb3ac1c45ec60f4f031c3f5180573422b1cf7bebc26c004637517372f68f8937",
    ),
)
RegNetY040 = _model(
    "Y040",
    (2, 6, 12, 2),
    (128, 192, 512, 1088),
    group_width=64,
    params=20_708_928,
    hashes=(
        "98d00118b335162bbffe8f1329e54e5c8e75ee09b2a5414f97b0ddfc56e796f6",
        "b5be2a5e5f072ecdd9c0b8a437cd896df0efa1f6a1f77e41caa8719b7dfcb05d",
    ),
)
RegNetY064 = _model(
    "Y064",
    (2, 7, 14, 2),
    (144, 288, 576, 1296),
    group_width=72,
    params=30_665_684,
    hashes=(
        "65c948c7a18aaecaad2d1bd4fd978987425604ba6669ef55a1faa0069a2804b7",
        "885c4b7ed7ea339daca7dafa1a62cb7d41b1068897ef90a5a3d71b4a2e2db31a",
    ),
)
RegNetY080 = _model(
    "Y080",
    (2, 4, 10, 1),
    (168, 448, 896, 2016),
    group_width=56,
    params=39_265_812,
    hashes=(
        "7a2c62da2982e369a4984d3c7c3b32d6f8d3748a71cb37a31156c436c37f3e95",
        "3d119577e1e3bf8d153b895e8ea9e4ec150ff2d92abdca711b6e949c3fd7115d",
    ),
)
RegNetY120 = _model(
    "Y120",
    (2, 5, 11, 1),
    (224, 448, 896, 2240),
    group_width=112,
    params=51_918_928,
    hashes=(
        "a96ab0d27d3ae35a422ee7df0d789069b3e3217a99334e0ce861a96595bc5986",
        "4a6fa387108380b730b71feea2ad80b5224b5ea9dc21dc156c93fe3c6186485c",
    ),
)
RegNetY160 = _model(
    "Y160",
    (2, 4, 11, 1),
    (224, 448, 1232, 3024),
    group_width=112,
    params=83_712_956,
    hashes=(
        "45067240ffbc7ca2591313fee2f80dbdda6d66ec1a7451446f9a6d00d8f7ac6e",
        "ead1e6b568be8f34447ec8941299a9df4368736ba9a8205de5427fa20a1fb316",
    ),
)
RegNetY320 = _model(
    "Y320",
    (2, 5, 12, 1),
    (232, 696, 1392, 3712),
    group_width=232,
    params=145_205_058,
    hashes=(
        "b05e173e4ae635cfa22d06392ee3741284d17dadfee68f2aa6fd8cb2b7561112",
        "cad78f74a586e24c61d38be17f3ae53bb9674380174d2585da1a526b8c20e1fd",
    ),
)


preprocess_input = keep_pixels
