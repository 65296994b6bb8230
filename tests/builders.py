"""Models for the parity tests, each written once and built by both sides.

Every function takes the namespace `k` to build with: Keras in the oracle's process, kerastorch in
the tests'. That one text serves both is itself a part of what the tests show.
"""

import numpy as np

ACTIVATIONS = [
    "celu",
    "elu",
    "exponential",
    "gelu",
    "glu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "soft_shrink",
    "softmax",
    "softplus",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "sparsemax",
    "squareplus",
    "swish",
    "tanh",
    "tanh_shrink",
]  # "threshold" is a name too, but Keras's own layer cannot call it without arguments.


def application(k, name, weights=None, **arguments):
    """One of the built-in architectures, by its Keras name."""
    return getattr(k.applications, name)(weights=weights, **arguments)


def application_on_input(k, name, shape):
    """An application on an `input_tensor` that is an Input."""
    image = k.layers.Input(shape, name="photograph")
    return application(k, name, include_top=False, input_tensor=image)


def application_behind_convolution(k, name, weights=None):
    """An application on an `input_tensor` that is a layer's output: 1 channel made into 3."""
    grey = k.layers.Input((45, 38, 1))
    colour = k.layers.Conv2D(3, 3, padding="same", name="colour")(grey)
    return application(k, name, weights, include_top=False, input_tensor=colour)


def same_padding(k, layer):
    """One layer for each kernel, stride and dilation that Keras takes with padding "same"."""
    image = k.layers.Input((None, None, 2))
    outputs = []
    for kernel in range(1, 6):
        for stride, dilation in [(1, 1), (2, 1), (3, 1), (1, 2)]:
            settings = {"strides": stride, "padding": "same"}
            settings["name"] = f"kernel_{kernel}_stride_{stride}_dilation_{dilation}"
            if dilation > 1:
                settings["dilation_rate"] = dilation
            if layer.endswith("Pooling2D"):
                if dilation == 1:
                    outputs.append(getattr(k.layers, layer)(kernel, **settings)(image))
            elif layer == "DepthwiseConv2D":
                outputs.append(k.layers.DepthwiseConv2D(kernel, **settings)(image))
            else:
                outputs.append(getattr(k.layers, layer)(3, kernel, **settings)(image))
    return k.models.Model(image, outputs)


def activations(k, shape):
    """Every activation of Keras's, on one input."""
    x = k.layers.Input(shape)
    return k.models.Model(x, [k.layers.Activation(name, name=name)(x) for name in ACTIVATIONS])


def activation_layers(k):
    """Activations with their arguments (Keras rounds those of ReLU to float32)."""
    layers = k.layers
    image, vector = layers.Input((4, 5, 6)), layers.Input((7,))
    return k.models.Model(
        [image, vector],
        [
            layers.ReLU()(image),
            layers.ReLU(max_value=0.5)(image),
            layers.ReLU(negative_slope=0.25)(image),
            layers.ReLU(max_value=0.75, negative_slope=0.25, threshold=0.125)(vector),
            layers.Softmax()(image),
            layers.Softmax(axis=1)(image),
            layers.Softmax(axis=2)(image),
            layers.Softmax(axis=[1, 2])(image),
            layers.Softmax()(vector),
            layers.LeakyReLU()(image),
            layers.LeakyReLU(0.2)(vector),
            layers.ELU()(image),
            layers.ELU(alpha=0.3)(vector),
            layers.PReLU()(image),
            layers.PReLU(shared_axes=[1, 2])(image),
            layers.PReLU(shared_axes=2)(image),
            layers.PReLU(shared_axes=[3])(image),
            layers.PReLU("he_normal")(vector),
        ],
    )


def convolutions(k):
    """The convolutions with strides, windows and dilations that differ by axis."""
    layers = k.layers
    image = layers.Input((11, 9, 4))
    return k.models.Model(
        image,
        [
            layers.Conv2D(5, (3, 2), strides=(2, 1))(image),
            layers.Conv2D(5, (2, 3), strides=(1, 3), padding="same", use_bias=False)(image),
            layers.Conv2D(6, 3, dilation_rate=(1, 2), padding="same", activation="gelu")(image),
            layers.Conv2D(6, 3, groups=2, activation="softmax")(image),
            layers.DepthwiseConv2D((2, 3), depth_multiplier=3)(image),
            layers.DepthwiseConv2D(3, strides=2, padding="same", use_bias=False)(image),
            layers.DepthwiseConv2D(3, dilation_rate=2, activation="relu6")(image),
            layers.SeparableConv2D(5, (3, 2), depth_multiplier=2)(image),
            layers.SeparableConv2D(5, 3, strides=2, padding="same", use_bias=False)(image),
            layers.SeparableConv2D(5, 2, dilation_rate=2, activation="tanh")(image),
        ],
    )


def dense_layers(k):
    """Dense on inputs of rank 2, 3 and 4; it works along Keras's last axis."""
    layers = k.layers
    vector, sequence, image = (layers.Input(shape) for shape in [(5,), (3, 5), (4, 3, 5)])
    return k.models.Model(
        [vector, sequence, image],
        [
            layers.Dense(4)(vector),
            layers.Dense(4, activation="softmax")(vector),
            layers.Dense(4, use_bias=False, activation="silu")(sequence),
            layers.Dense(4, activation="softmax")(image),
        ],
    )


def poolings(k):
    """Local and global pooling."""
    layers = k.layers
    image = layers.Input((9, 8, 3))
    return k.models.Model(
        image,
        [
            layers.MaxPooling2D()(image),
            layers.MaxPooling2D((3, 2), strides=(1, 3))(image),
            layers.MaxPooling2D((2, 3), strides=(3, 1), padding="same")(image),
            layers.AveragePooling2D(2)(image),
            layers.AveragePooling2D((3, 2), strides=(1, 3))(image),
            layers.AveragePooling2D((2, 3), strides=(3, 1), padding="same")(image),
            layers.GlobalAveragePooling2D()(image),
            layers.GlobalAveragePooling2D(keepdims=True)(image),
            layers.GlobalMaxPooling2D()(image),
            layers.GlobalMaxPooling2D(keepdims=True)(image),
        ],
    )


def reshapings(k):
    """Padding, cropping, and layers that show the order of elements."""
    layers = k.layers
    image, sequence, vector = (layers.Input(shape) for shape in [(6, 5, 4), (6, 5), (24,)])
    return k.models.Model(
        [image, sequence, vector],
        [
            layers.ZeroPadding2D()(image),
            layers.ZeroPadding2D((1, 2))(image),
            layers.ZeroPadding2D(((0, 1), (2, 3)))(image),
            layers.Cropping2D()(image),
            layers.Cropping2D((2, 1))(image),
            layers.Cropping2D(((0, 1), (2, 0)))(image),
            layers.Flatten()(image),
            layers.Flatten()(vector),
            layers.Reshape((30, 4))(image),
            layers.Reshape((-1,))(image),
            layers.Reshape((5, -1, 2))(image),
            layers.Reshape((2, 3, 4))(vector),
            layers.Reshape((4, -1))(vector),
            layers.Flatten()(layers.Reshape((4, 3, 2))(vector)),
            layers.Permute((2, 1, 3))(image),
            layers.Permute((3, 1, 2))(image),
            layers.Permute((2, 3, 1))(image),
            layers.Permute((2, 1))(sequence),
            layers.RepeatVector(3)(vector),
            layers.UpSampling2D()(image),
            layers.UpSampling2D((1, 3))(image),
            layers.UpSampling2D(7, interpolation="nearest")(image),
            layers.UpSampling1D()(sequence),
            layers.UpSampling1D(3)(sequence),
            layers.ZeroPadding1D()(sequence),
            layers.ZeroPadding1D((0, 2))(sequence),
            layers.ZeroPadding1D((3, 1), data_format="channels_last")(sequence),
            layers.Cropping1D()(sequence),
            layers.Cropping1D((2, 0))(sequence),
        ],
    )


def upsampling_between_pixels(k, size):
    """UpSampling2D with interpolation, which TensorFlow does in float32."""
    image = k.layers.Input((6, 5, 4))
    return k.models.Model(image, k.layers.UpSampling2D(size, interpolation="bilinear")(image))


def inactive(k):
    """What passes its input on in inference."""
    layers = k.layers
    image, sequence, vector = (layers.Input(shape) for shape in [(4, 5, 3), (4, 5), (6,)])
    return k.models.Model(
        [image, sequence, vector],
        [
            layers.Dropout(0.5)(image),
            layers.Dropout(0.5, noise_shape=(None, 1, 1, 3))(image),
            layers.SpatialDropout1D(0.5)(sequence),
            layers.SpatialDropout2D(0.5)(image),
            layers.SpatialDropout2D(0.5, data_format="channels_last", seed=1)(image),
            layers.GaussianDropout(0.5)(image),
            layers.GaussianNoise(0.5, seed=1)(vector),
            layers.AlphaDropout(0.5)(image),
            layers.AlphaDropout(0.5, noise_shape=(None, 1), seed=1)(vector),
            layers.Identity()(image),
            layers.ActivityRegularization(l1=0.5, l2=0.25)(vector),
        ],
    )


def merges(k):
    """Layers of several inputs, one input used twice among them."""
    layers = k.layers
    image, scale, row = (layers.Input(shape) for shape in [(4, 5, 3), (1, 1, 3), (4, 5, 2)])
    vector, other = layers.Input((6,)), layers.Input((2,))
    return k.models.Model(
        [image, scale, row, vector, other],
        [
            layers.Add()([image, image]),
            layers.Add()([image, scale]),
            layers.Multiply()([image, scale]),
            layers.Multiply()([vector, vector, vector]),
            layers.Concatenate()([image, row]),
            layers.Concatenate(axis=3)([row, image, row]),
            layers.Concatenate(axis=1)([image, image]),
            layers.Concatenate(axis=-2)([image, image]),
            layers.Concatenate()([vector, other]),
            layers.Subtract()([image, scale]),
            layers.Subtract()([scale, image]),
            layers.Average()([image, scale, image]),
            layers.Maximum()([image, scale]),
            layers.Maximum()([vector, vector, vector]),
            layers.Minimum()([scale, image, scale]),
            layers.Dot(axes=1)([vector, vector]),
            layers.Dot(axes=-1, normalize=True)([vector, vector]),
            layers.Dot(axes=(2, 2))([image, row]),
            layers.Dot(axes=(1, 1), normalize=True)([image, row]),
            layers.Dot(axes=(-1, 3))([image, scale]),
            layers.Dot(axes=(1, 3))([other, row]),
            layers.Dot(axes=(3, 1))([row, other]),
        ],
    )


def trained_layers(k):
    """For a training step: the layers around backbones whose gradients are more than copies."""
    layers = k.layers
    image = layers.Input((4, 6, 3))
    x = layers.PReLU(shared_axes=[1, 2])(layers.Conv2D(4, 3, padding="same")(image))
    a, b = (layers.Conv2D(4, 1, activation="relu")(x) for _ in range(2))
    pairs = [layer([a, b]) for layer in (layers.Maximum(), layers.Minimum(), layers.Average())]
    x = layers.PReLU()(layers.Concatenate()([*pairs, layers.Subtract()([a, x])]))
    x = layers.Permute((2, 1, 3))(layers.UpSampling2D((3, 2))(x))
    x = layers.LeakyReLU()(layers.Conv2D(5, 3, strides=3)(x))
    x = layers.Dot(axes=(1, 2), normalize=True)([x, layers.ELU(0.5)(x)])
    vector = layers.Dense(3)(layers.Flatten()(x))
    vector = layers.Flatten()(layers.UpSampling1D(2)(layers.RepeatVector(2)(vector)))
    return k.models.Model(image, layers.Dense(2)(vector))


def normalisations(k):
    """Batch normalisation, Normalization and Rescaling in inference."""
    layers = k.layers
    image, vector = layers.Input((4, 5, 3)), layers.Input((6,))
    return k.models.Model(
        [image, vector],
        [
            layers.BatchNormalization()(image),
            layers.BatchNormalization(scale=False, epsilon=1.001e-5)(image),
            layers.BatchNormalization(center=False)(image),
            layers.BatchNormalization(center=False, scale=False, epsilon=0.1)(image),
            layers.BatchNormalization()(vector),
            layers.Normalization()(image),
            layers.Normalization(axis=-1)(vector),
            layers.Normalization(axis=None)(image),
            layers.Normalization(axis=1)(image),
            layers.Normalization(axis=-1, mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0])(image),
            layers.Normalization(axis=None, mean=0.3, variance=2.0, invert=True)(image),
            layers.Rescaling(1 / 127.5, offset=-1)(image),
            layers.Rescaling(3.0)(vector),
        ],
    )


def batch_normalisations(k, shape):
    """Batch normalisation alone, for a training step: trained, unscaled, uncentred, frozen."""
    layers = k.layers
    x = layers.Input(shape)
    return k.models.Model(
        x,
        layers.Add()(
            [
                layers.BatchNormalization()(x),
                layers.BatchNormalization(scale=False, momentum=0.9)(x),
                layers.BatchNormalization(center=False, momentum=0.5, epsilon=0.01)(x),
                layers.BatchNormalization(trainable=False)(x),
            ]
        ),
    )


def aliases(k):
    """Values that share memory with others, which an activation in place would spoil."""
    layers = k.layers
    x = layers.Input((6,))
    outputs = []
    for share in [layers.Reshape((2, 3)), layers.Flatten(), layers.Dropout(0.5)]:
        value = layers.Dense(6)(x)
        same = share(value)
        outputs += [layers.ReLU()(value), layers.Flatten()(layers.Rescaling(2.0)(same))]
    value = layers.Dense(6)(x)
    outputs += [layers.Add()([value, x]), layers.Activation("relu")(value), value]
    return k.models.Model(x, outputs)


def _frozen_backbone(k):
    layers = k.layers
    image = layers.Input((10, 9, 3))
    x = layers.Conv2D(4, 3, strides=2, name="stem")(image)
    x = layers.BatchNormalization()(x)
    x = layers.SeparableConv2D(6, 3, padding="same", activation="relu")(x)
    backbone = k.models.Model(image, x, name="backbone")
    backbone.trainable = False
    return backbone


def fine_tuned(k):
    """A frozen backbone with a head to train, as fine-tuned models are made."""
    layers = k.layers
    image = layers.Input((10, 9, 3))
    x = _frozen_backbone(k)(image)
    x = layers.Conv2D(5, 2)(x)
    x = layers.BatchNormalization()(x)
    x = layers.GlobalAveragePooling2D()(x)
    return k.models.Model(image, layers.Dense(3, activation="softmax")(x))


def nested(k):
    """A backbone inside a model beside a shared layer, with two inputs and two outputs."""
    layers = k.layers
    backbone = _frozen_backbone(k)
    left, right = layers.Input((10, 9, 3), name="left"), layers.Input((10, 9, 3), name="right")
    shared = layers.Conv2D(6, 3, strides=2)
    joined = layers.Concatenate()([backbone(left), shared(left), backbone(right), shared(right)])
    score = layers.Dense(3, name="score")(layers.GlobalAveragePooling2D()(joined))
    return k.models.Model([left, right], [score, joined])


def sequential(k):
    """A Sequential model that begins with another model."""
    layers = k.layers
    image = layers.Input((12, 10, 3))
    x = layers.Conv2D(4, 3, padding="same")(image)
    base = k.models.Model(image, layers.MaxPooling2D()(x), name="base")
    head = [layers.Flatten(), layers.Dense(7, activation="relu"), layers.Dropout(0.3)]
    return k.models.Sequential([base, *head, layers.Dense(2, activation="softmax")])


def stacked(k):
    """A Sequential in a functional model in a Sequential."""
    layers = k.layers
    image = layers.Input((8, 7, 3))
    stem = [layers.Input((8, 7, 3)), layers.Conv2D(4, 3), layers.BatchNormalization()]
    x = k.models.Sequential(stem, name="stem")(image)
    base = k.models.Model(image, layers.Conv2D(5, 2, activation="relu")(x), name="base")
    return k.models.Sequential([base, layers.Flatten(), layers.Dense(2)])


def compared(
    k,
    *,
    epsilon=1e-3,
    bias=True,
    padding="same",
    frozen=False,
    base="base",
    size=9,
    dropout=True,
    activation=None,
    units=4,
    head="head",
):
    """A base with a head on it, in variants that differ in a thing or two."""
    layers = k.layers
    image = layers.Input((size, 8, 3), name="image")
    x = layers.Conv2D(5, 3, use_bias=bias, kernel_regularizer="l2", name="conv")(image)
    x = layers.BatchNormalization(epsilon=epsilon, name="norm")(x)
    x = layers.SeparableConv2D(6, 2, padding=padding, name="separable")(x)
    base = k.models.Model(image, x, name=base)
    base.trainable = not frozen
    photo = layers.Input((size, 8, 3), name="photo")
    x = layers.GlobalAveragePooling2D(name="pool")(base(photo))
    if dropout:
        x = layers.Dropout(0.25, name="drop")(x)
    return k.models.Model(photo, layers.Dense(units, activation, name=head)(x))


def towers(k):
    """Models within that take and give lists and dicts."""
    layers = k.layers
    a, b = layers.Input((5,), name="a"), layers.Input((5,), name="b")
    joined = layers.Add()([layers.Dense(4)(a), layers.Dense(4)(b)])
    by_place = k.models.Model([a, b], [joined, a], name="by_place")
    a, b = layers.Input((5,), name="a"), layers.Input((5,), name="b")
    joined = layers.Multiply()([layers.Dense(4, name="of_a")(a), layers.Dense(4, name="of_b")(b)])
    by_name = k.models.Model({"a": a, "b": b}, {"joined": joined, "first": a}, name="by_name")
    left, right = layers.Input((5,)), layers.Input((5,))
    one, same = by_place([left, right])
    two = by_name({"a": right, "b": left})
    return k.models.Model([left, right], [layers.Dense(3)(one), same, *two.values()])


def sequences(k):
    """Convolution and pooling along a length."""
    layers = k.layers
    x = layers.Input((11, 4))
    outputs = [
        layers.Conv1D(5, 3)(x),
        layers.Conv1D(5, 4, strides=2, padding="same", use_bias=False)(x),
        layers.Conv1D(6, 3, dilation_rate=2, padding="same", activation="softmax")(x),
        layers.Conv1D(5, 3, dilation_rate=2, padding="causal", activation="relu")(x),
        layers.Conv1D(5, 2, strides=3, padding="causal")(x),
        layers.GlobalAveragePooling1D()(x),
        layers.GlobalMaxPooling1D(keepdims=True)(x),
    ]
    for pooling in [layers.MaxPooling1D, layers.AveragePooling1D]:
        outputs += [pooling(2)(x), pooling(3, strides=2)(x), pooling(2, 1, padding="same")(x)]
        outputs += [pooling(3, 2, padding="same")(x), pooling(4, 3, padding="same")(x)]
    return k.models.Model(x, outputs)


def transposed_convolutions(k):
    """Transposed convolutions with each kernel, stride and `output_padding` that Keras takes."""
    layers = k.layers
    image = layers.Input((5, 4, 3))
    outputs = [
        layers.Conv2DTranspose(2, (2, 3), strides=(3, 1), use_bias=False)(image),
        layers.Conv2DTranspose(2, 3, strides=2, padding="same", activation="softmax")(image),
    ]
    for padding in ["valid", "same"]:
        for kernel in range(1, 5):
            for stride in range(1, 4):
                extras = [e for e in range(stride) if e or padding == "valid" or kernel % 2]
                for extra in [None, *extras]:
                    layer = layers.Conv2DTranspose(2, kernel, stride, padding, extra)
                    outputs.append(layer(image))
    return k.models.Model(image, outputs)


def sample_normalisations(k):
    """Normalisations within each sample."""
    layers = k.layers
    image, sequence, vector = layers.Input((4, 5, 6)), layers.Input((3, 4)), layers.Input((6,))
    return k.models.Model(
        [image, sequence, vector],
        [
            layers.LayerNormalization()(image),
            layers.LayerNormalization(axis=[1, 3], epsilon=0.1)(image),
            layers.LayerNormalization(axis=2, scale=False)(image),
            layers.LayerNormalization(center=False)(sequence),
            layers.LayerNormalization()(vector),
            layers.GroupNormalization(3)(image),
            layers.GroupNormalization(-1, scale=False)(image),
            layers.GroupNormalization(2, axis=1, center=False)(image),
            layers.GroupNormalization(2)(sequence),
            layers.GroupNormalization(1)(vector),
            layers.UnitNormalization()(image),
            layers.UnitNormalization(axis=[1, 2])(image),
            layers.UnitNormalization()(vector),
        ],
    )


def arithmetic(k):
    """Python's operators and items on inputs of several ranks, with constants and each other."""
    layers = k.layers
    image, other, vector = layers.Input((4, 5, 3)), layers.Input((4, 5, 3)), layers.Input((3,))
    sequence, volume = layers.Input((5, 3)), layers.Input((2, 4, 5, 3))
    colour = np.array([0.1, -0.2, 0.7])
    values = [
        image + other,
        image + 0.5,
        1 - image,
        image - 1,
        image * other,
        2.5 * image,
        image / 127.5 - 1,
        3 / (abs(image) + 1),
        image // 0.25,
        image % 0.3,
        -image,
        image**2,
        2**image,
        abs(image) ** 0.5,
        image + colour,
        image * colour.reshape(1, 1, 3),
        image - np.arange(20).reshape(4, 5, 1) / 7,
        (image / 255 - colour) / colour.reshape(1, 1, 1, 3),
        image * vector[:, None, None, :],
        image + sequence[:, None],
        sequence * 2 + colour,
        volume * image[:, None] + colour,
        volume - colour.reshape(1, 1, 1, 3),
        vector @ np.array([[1.0, -2.0], [3.0, 0.5], [0.0, 2.5]]),
        sequence @ sequence[:, :3],
        image[..., ::-1],
        image[:, 0],
        image[:, -1, 1:4],
        image[:, ::2, 3:0:-2],
        image[:, 1:3, None],
        image[:, :, :, 1],
        image[..., None],
        image[..., 1:, :],
        image[:, None, ..., 2],
        volume[:, 1],
        volume[:, :, ::-1, 1, -2:],
        vector[:, None],
        vector[:, None, None, None],
        sequence[:, ::-1, ::-1],
        image[:, 1:-1, -4:-1],
    ]
    return k.models.Model([image, other, vector, sequence, volume], values)


def comparisons(k):
    """Operators that give booleans, and what chooses by them."""
    image, other = k.layers.Input((4, 5, 3)), k.layers.Input((4, 5, 3))
    conditions = [image > 0.1, image >= other, image < other, image <= 0.2]
    return k.models.Model(
        [image, other],
        [
            *conditions,
            k.ops.where(conditions[0], image, other),
            k.ops.where(image < 0, 0.5, image),
            k.ops.logical_and(conditions[0], conditions[1]),
            k.ops.logical_or(conditions[0], conditions[1]),
            k.ops.logical_not(conditions[2]),
            k.ops.equal(image, other),
            k.ops.not_equal(image, 0),
            k.ops.cast(conditions[0], "float64") * image,
            k.ops.cast(image * 10, "int32"),
            k.ops.argmax(image, axis=-1),
            k.ops.argmin(image, axis=1, keepdims=True),
            k.ops.argmax(image),
        ],
    )


def functions(k):
    """Functions of `keras.ops` of one value or two."""
    ops = k.ops
    image, other, vector = (k.layers.Input(shape) for shape in [(4, 5, 3), (4, 5, 3), (3,)])
    positive = ops.exp(image)
    return k.models.Model(
        [image, other, vector],
        [
            *(getattr(ops, name)(image) for name in FUNCTIONS),
            *(getattr(ops, name)(positive) for name in POSITIVE_FUNCTIONS),
            ops.add(1.5, image),
            ops.subtract(image, other),
            ops.multiply(image, x2=other),
            ops.divide(image, 3),
            ops.true_divide(image, positive),
            ops.divide_no_nan(image, ops.relu(other)),
            ops.power(positive, other),
            ops.maximum(image, 0.1),
            ops.maximum(image, other),
            ops.minimum(0.1, image),
            ops.minimum(image, vector[:, None, None]),
            ops.clip(image, -0.5, 0.25),
            ops.leaky_relu(image, 0.1),
            ops.elu(image, 0.5),
            ops.celu(image, 0.5),
            ops.gelu(image),
            ops.gelu(image, approximate=False),
            ops.softmax(image),
            ops.softmax(image, axis=1),
            ops.log_softmax(vector),
            ops.log_softmax(image, axis=2),
            k.activations.relu(image),
            k.activations.relu(image, max_value=6),
            k.activations.relu(image, negative_slope=0.25, threshold=0.125),
            k.activations.softmax(image),
        ],
    )


FUNCTIONS = ["abs", "ceil", "cos", "erf", "exp", "expm1", "floor", "hard_sigmoid", "hard_silu"]
FUNCTIONS += ["hard_tanh", "log_sigmoid", "negative", "ones_like", "relu", "relu6", "selu"]
FUNCTIONS += ["sigmoid", "sign", "silu", "sin", "softplus", "softsign", "sparse_plus", "square"]
FUNCTIONS += ["sparse_sigmoid", "stop_gradient", "tan", "tanh", "tanh_shrink", "zeros_like"]
POSITIVE_FUNCTIONS = ["log", "log10", "log1p", "log2", "reciprocal", "rsqrt", "sqrt"]


def reductions(k):
    """Functions of `keras.ops` along axes, and products."""
    ops = k.ops
    image, sequence, vector = (k.layers.Input(shape) for shape in [(4, 5, 3), (5, 3), (3,)])
    values = []
    for name in ["mean", "sum", "max", "min", "prod", "std", "var", "logsumexp"]:
        function = getattr(ops, name)
        values += [
            function(image, axis=(1, 2)),
            function(image, axis=-1),
            function(image, axis=1),
            function(image, axis=[1, 2], keepdims=True),
            function(sequence, axis=-1, keepdims=True),
            function(vector, axis=1),
            function(image),
        ]
    values += [
        ops.max(image, axis=1, initial=0.5),
        ops.min(image, axis=1, initial=-0.5),
        ops.norm(image, axis=-1),
        ops.norm(image, axis=-1, ord=1, keepdims=True),
        ops.norm(vector, axis=1, ord=3),
        ops.normalize(image),
        ops.normalize(vector, axis=1),
        ops.normalize(image, axis=(1, 2), epsilon=0.5),
        ops.normalize(sequence, axis=1, order=1),
        vector / ops.sqrt(ops.maximum(ops.sum(vector**2, axis=-1, keepdims=True), 1e-12)),
        ops.matmul(sequence, ops.transpose(sequence, (0, 2, 1))),
        ops.matmul(image, np.arange(12.0).reshape(3, 4)),
        ops.matmul(image, ops.transpose(image, (0, 1, 3, 2))),
        ops.dot(image, np.arange(12.0).reshape(3, 4)),
        ops.dot(sequence, np.array([0.5, 0.25, -1.0])),
        ops.einsum("bij,bkj->bik", sequence, sequence),
        ops.einsum("bhwc,bc->bhw", image, vector),
    ]
    return k.models.Model([image, sequence, vector], values)


def shapings(k):
    """Functions of `keras.ops` that move elements."""
    ops = k.ops
    image, other, vector = (k.layers.Input(shape) for shape in [(4, 6, 3), (4, 6, 3), (24,)])
    deep, sequence = k.layers.Input((4, 6, 8)), k.layers.Input((4, 6))
    return k.models.Model(
        [image, other, vector, deep, sequence],
        [
            ops.reshape(image, (-1, 24, 3)),
            ops.reshape(image, (-1, 72)),
            ops.reshape(vector, (-1, 2, 3, 4)),
            ops.reshape(image, (-1, 3, 4, 6)),
            image.reshape((-1, 2, 12, 3)),
            ops.transpose(image, (0, 3, 1, 2)),
            ops.transpose(image, (0, 2, 1, 3)),
            ops.transpose(sequence, (0, 2, 1)),
            ops.swapaxes(image, 1, -1),
            ops.moveaxis(image, -1, 1),
            ops.moveaxis(image, (1, 2), (2, 3)),
            ops.expand_dims(vector, 1),
            ops.expand_dims(sequence, -1),
            ops.expand_dims(vector, (1, 2)),
            ops.squeeze(ops.expand_dims(sequence, -1), -1),
            ops.squeeze(ops.expand_dims(image, (1, 3)), (1, 3)),
            ops.flip(image, axis=2),
            ops.flip(image, axis=(1, -1)),
            ops.roll(image, 2, axis=1),
            ops.tile(vector, (1, 2)),
            ops.tile(image, (1, 1, 2, 3)),
            ops.repeat(image, 2, axis=-1),
            ops.repeat(vector, 3, axis=1),
            ops.pad(image, [[0, 0], [1, 0], [2, 1], [0, 0]]),
            ops.pad(image, [[0, 0], [1, 2], [2, 2], [0, 0]], constant_values=0.5),
            ops.pad(image, [[0, 0], [1, 3], [2, 2], [0, 0]], mode="reflect"),
            ops.pad(image, [[0, 0], [1, 3], [2, 2], [0, 0]], mode="symmetric"),
            ops.concatenate([image, other], axis=-1),
            ops.concatenate([image, other, image], axis=1),
            ops.stack([image, other], axis=1),
            ops.stack([image, other], axis=-1),
            ops.stack([vector, vector * 2], axis=1),
            *ops.split(image, 2, axis=1),
            *ops.split(image, [1, 3], axis=2),
            *ops.split(image, 3, axis=-1),
            *ops.unstack(image, axis=-1),
            ops.take(image, np.array([2, 0, 1]), axis=-1),
            ops.take(vector, np.array([2, -1]), axis=1),
            ops.broadcast_to(ops.expand_dims(ops.sum(image, axis=0), 0), (3, 4, 6, 3)),
            ops.image.rgb_to_grayscale(image),
            ops.depth_to_space(deep, 2),
            ops.space_to_depth(image, 2),
            ops.image.resize(image, (9, 5), interpolation="nearest"),
        ],
    )


def preprocessed(k, name):
    """An application behind its own `preprocess_input`, as transfer learning writes it."""
    module = getattr(k.applications, name)
    image = k.layers.Input((33, 35, 3))
    return k.models.Model(image, k.layers.Conv2D(4, 3)(module.preprocess_input(image)))


def tensorflow_functions(k):
    """What Keras 2 records as layers of functions; only its own process can build it."""
    import tensorflow as tf

    image, other, vector = (k.layers.Input(shape) for shape in [(4, 6, 3), (4, 6, 3), (12,)])
    sequence, deep = k.layers.Input((4, 6)), k.layers.Input((4, 6, 8))
    colour = np.array([0.1, -0.2, 0.7])
    positive = tf.exp(image)
    math, nn, backend = tf.math, tf.nn, k.backend
    values = [
        image + other,
        image * 0.5,
        image / 127.5 - 1.0,
        image + colour,
        image - tf.constant(colour),
        image**2,
        image // 0.25,
        image % 0.25,
        -image,
        abs(image),
        image[..., ::-1],
        image[:, 0],
        image[:, 1:3, tf.newaxis],
        image[:, ::2, 1:-1],
        vector[:, tf.newaxis],
        tf.add(x=image, y=other),
        tf.multiply(image, 2.0),
        tf.divide(image, positive),
        math.divide_no_nan(image, nn.relu(other)),
        tf.maximum(image, 0.125),
        tf.minimum(image, other),
        tf.pow(positive, other),
        tf.clip_by_value(image, -0.5, 0.25),
        tf.where(image > 0, image, other),
        tf.where(math.logical_and(image > 0, other <= 0.25), image, 0.0),
        tf.cast(image > 0, tf.float64),
        tf.cast(tf.argmax(image, axis=-1), tf.float64),
        *(getattr(math, name)(image) for name in ["ceil", "cos", "erf", "expm1", "floor"]),
        *(getattr(math, name)(image) for name in ["sigmoid", "sign", "sin", "softplus", "square"]),
        *(getattr(math, name)(image) for name in ["tan", "tanh"]),
        *(getattr(math, name)(positive) for name in ["log", "log1p", "reciprocal", "rsqrt"]),
        math.sqrt(positive),
        *(getattr(nn, name)(image) for name in ["elu", "gelu", "leaky_relu", "log_softmax"]),
        *(getattr(nn, name)(image) for name in ["relu", "relu6", "selu", "softmax", "softsign"]),
        nn.gelu(image, approximate=True),
        nn.leaky_relu(image, alpha=0.1),
        nn.softmax(image, axis=1),
        nn.swish(image),
        nn.bias_add(image, colour),
        *(
            getattr(math, f"reduce_{name}")(image, axis=[1, 2], keepdims=keepdims)
            for name in ["mean", "sum", "max", "min", "prod", "std", "variance", "logsumexp"]
            for keepdims in [False, True]
        ),
        tf.reduce_mean(vector, -1),
        tf.norm(vector, axis=-1, keepdims=True),
        tf.norm(image, axis=3),
        math.l2_normalize(vector, axis=1),
        math.l2_normalize(image, axis=[1, 2], epsilon=0.25),
        tf.matmul(sequence, tf.transpose(sequence, [0, 2, 1])),
        tf.reshape(image, (-1, 24, 3)),
        tf.reshape(vector, [-1, 2, 2, 3]),
        tf.transpose(image, perm=(0, 3, 1, 2)),
        tf.expand_dims(sequence, -1),
        tf.squeeze(tf.expand_dims(vector, 1), [1]),
        tf.squeeze(tf.expand_dims(vector, 1), axis=1),
        tf.concat([image, other], axis=-1),
        tf.concat([image, other, image], 1),
        tf.stack([image, other], axis=1),
        *tf.unstack(image, axis=-1),
        *tf.split(image, 2, axis=1),
        *tf.split(image, [1, 3, 2], axis=2),
        tf.reverse(image, axis=[-1]),
        tf.tile(vector, [1, 2]),
        tf.gather(image, [2, 1, 0], axis=-1),
        tf.slice(image, [0, 1, 2, 0], [-1, 2, 3, 2]),
        tf.pad(image, [[0, 0], [1, 0], [2, 1], [0, 0]]),
        tf.pad(image, [[0, 0], [1, 3], [2, 2], [0, 0]], mode="REFLECT"),
        tf.pad(vector, [[0, 0], [1, 3]], constant_values=0.5),
        tf.identity(image),
        tf.stop_gradient(image),
        math.add_n([image, other]),
        tf.ones_like(image),
        nn.depth_to_space(deep, 2),
        nn.space_to_depth(image, 2),
        tf.image.resize(image, (9, 5), method="nearest"),
        backend.mean(image, axis=-1),
        backend.concatenate([image, other], axis=-1),
        backend.sqrt(backend.sum(backend.square(vector), axis=-1, keepdims=True)),
        backend.permute_dimensions(image, (0, 2, 1, 3)),
        k.activations.relu(image, max_value=6.0),
        k.applications.vgg16.preprocess_input(image),
        k.applications.densenet.preprocess_input(image),
    ]
    values = [value if value.dtype.is_floating else tf.cast(value, tf.float64) for value in values]
    return k.models.Model([image, other, vector, sequence, deep], values)


def tensorflow_functions_in_float32(k):
    """Those that compute in float32 whatever they take."""
    import tensorflow as tf

    image = k.layers.Input((4, 6, 3))
    return k.models.Model(
        image,
        [
            tf.cast(tf.image.rgb_to_grayscale(image), tf.float64),
            tf.cast(tf.image.resize(image, (9, 5)), tf.float64),
            tf.cast(tf.image.resize(image, (3, 7), "bicubic", antialias=True), tf.float64),
            tf.cast(tf.image.resize(image, (3, 7), method="area"), tf.float64),
        ],
    )


def resized_between_pixels(k):
    """`keras.ops.image.resize`, which TensorFlow does in float32."""
    image = k.layers.Input((4, 6, 3))
    return k.models.Model(image, k.ops.image.resize(image, (9, 5)))


def _own_blur(k):
    @k.saving.register_keras_serializable("shop")
    class Blur(k.layers.Layer):
        def __init__(self, strength, **kwargs):
            super().__init__(**kwargs)
            self.strength = strength

        def build(self, shape):
            self.gain = self.add_weight(shape=shape[-1:], name="gamma")
            self.shift = self.add_weight(shape=shape[-1:], name="mean", trainable=False)

        def call(self, x, power=1):
            return (x * self.gain * self.strength + self.shift) ** power

        def get_config(self):
            return {**super().get_config(), "strength": self.strength}

    return Blur


def own_layers(k):
    """A layer of a user's own among Keras's; only Keras can build it."""
    blur = _own_blur(k)
    image = k.layers.Input((6, 5, 3))
    x = k.layers.Conv2D(4, 3)(blur(0.5)(image, power=3))
    return k.models.Model(image, k.layers.Dense(2)(blur(2.0, name="second")(x)))


def own_convolution(k):
    """A layer of a user's own that means the same as one of Keras's."""

    @k.saving.register_keras_serializable("shop")
    class Mix(k.layers.Layer):
        def __init__(self, channels, **kwargs):
            super().__init__(**kwargs)
            self.channels = channels

        def build(self, shape):
            self.kernel = self.add_weight(shape=(1, 1, shape[-1], self.channels), name="kernel")
            self.bias = self.add_weight(shape=(self.channels,), name="bias")

        def call(self, x):
            return x @ self.kernel[0, 0] + self.bias

        def get_config(self):
            return {**super().get_config(), "channels": self.channels}

    image = k.layers.Input((6, 5, 3))
    x = k.layers.Conv2D(5, 3)(image)
    return k.models.Model(image, k.layers.Conv2D(2, 3)(Mix(4)(x)))


def _half_frozen_encoder(k, shape=(45, 38, 3)):
    """A small MobileNetV2 whose first half is frozen."""
    base = k.applications.MobileNetV2(
        alpha=0.35, weights=None, include_top=False, input_shape=shape
    )
    for layer in base.layers[: len(base.layers) // 2]:
        layer.trainable = False
    return base


def transferred(k, shape=(45, 38, 3)):
    """The shape of Keras's guide to transfer learning: the base within, in inference mode."""
    layers = k.layers
    base = _half_frozen_encoder(k, shape)
    image = layers.Input(shape)
    x = layers.Rescaling(scale=1 / 127.5, offset=-1)(image)
    x = layers.GlobalAveragePooling2D()(base(x, training=False))
    return k.models.Model(image, layers.Dense(3)(layers.Dropout(0.2)(x)))


def transferred_under_policy(k, policy):
    """The same, made under a dtype policy."""
    k.mixed_precision.set_global_policy(policy)
    try:
        return transferred(k)
    finally:
        k.mixed_precision.set_global_policy(k.backend.floatx())


def stacked_base(k):
    """A Sequential: a nested one that prepares the image, a frozen base, and a head."""
    layers = k.layers
    prepare = [layers.Input((45, 38, 3)), layers.Rescaling(1 / 255), layers.Cropping2D((1, 0))]
    base = k.applications.MobileNet(
        alpha=0.25, weights=None, include_top=False, pooling="avg", input_shape=(43, 38, 3)
    )
    base.trainable = False
    stack = [layers.Input((45, 38, 3)), k.models.Sequential(prepare, name="preparation"), base]
    return k.models.Sequential([*stack, layers.Dense(6, activation="relu"), layers.Dense(3)])


def flattened_base(k):
    """A new head on a base's own layers."""
    base = _half_frozen_encoder(k)
    x = k.layers.BatchNormalization()(k.layers.GlobalMaxPooling2D()(base.output))
    return k.models.Model(base.input, k.layers.Dense(3, name="head")(x))


def vgg_with_flatten(k):
    """The shape of many tutorials: VGG16 on 150 x 150 pixels, frozen, and two dense layers."""
    layers = k.layers
    base = k.applications.VGG16(weights=None, include_top=False, input_shape=(150, 150, 3))
    base.trainable = False
    head = [layers.Flatten(), layers.Dense(256, activation="relu"), layers.Dropout(0.5)]
    return k.models.Sequential([base, *head, layers.Dense(3)])


def siamese(k):
    """One base for two images, which are given by name; distances from its features."""
    layers = k.layers
    base = _half_frozen_encoder(k)
    x = layers.GlobalAveragePooling2D()(base.output)
    features = k.models.Model(base.input, x, name="features")
    images = {name: layers.Input((45, 38, 3), name=name) for name in ("left", "right")}
    left, right = features(images["left"]), features(images["right"])
    distance = layers.Dense(1, name="distance")(layers.Subtract()([left, right]))
    cosine = layers.Dot(axes=1, normalize=True, name="cosine")([left, right])
    return k.models.Model(images, [distance, cosine])


def segmented(k, nested):
    """A U-Net on the skips of MobileNetV2, whose layers stand in it or in a model within."""
    layers = k.layers
    base = _half_frozen_encoder(k, (64, 96, 3))
    names = ["block_1_expand_relu", "block_3_expand_relu", "block_6_expand_relu"]
    skips = [base.get_layer(name).output for name in [*names, "block_13_expand_relu"]]
    image, values = base.input, [*skips, base.get_layer("block_16_project").output]
    if nested:
        encoder = k.models.Model(image, values, name="encoder")
        image = layers.Input((64, 96, 3))
        values = encoder(image)
    *skips, x = values
    for filters, skip in zip([12, 10, 8, 6], reversed(skips), strict=True):
        if filters > 8:
            x = layers.Conv2DTranspose(filters, 3, strides=2, padding="same", use_bias=False)(x)
        else:
            x = layers.Conv2D(filters, 3, padding="same")(layers.UpSampling2D()(x))
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.Concatenate()([x, skip])
    return k.models.Model(image, layers.Conv2DTranspose(3, 3, strides=2, padding="same")(x))


def renamed(k):
    """Two bases in one graph, the layers of one renamed out of the other's way."""
    layers = k.layers
    image, features = layers.Input((45, 38, 3)), []
    for side in ("left", "right"):
        base = k.applications.MobileNet(
            alpha=0.25, weights=None, include_top=False, input_tensor=image
        )
        for layer in base.layers[1:]:
            setattr(layer, "_name" if hasattr(layer, "_name") else "name", f"{side}_{layer.name}")
        features.append(layers.GlobalAveragePooling2D()(base.output))
    return k.models.Model(image, layers.Dense(3)(layers.Concatenate()(features)))


def own_block(k):
    """A layer of a user's own with layers inside, some of their weights not trained."""

    @k.saving.register_keras_serializable("shop")
    class Block(k.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.first = k.layers.BatchNormalization()
            self.dense = k.layers.Dense(3)
            self.second = k.layers.BatchNormalization()

        def build(self, shape):
            self.gain = self.add_weight(shape=shape[-1:], name="gamma")
            self.first.build(shape)
            self.dense.build(shape)
            self.second.build(shape)

        def call(self, x):
            return self.second(self.dense(self.first(x * self.gain)))

    image = k.layers.Input((6, 5, 3))
    return k.models.Model(image, k.layers.Dense(2)(Block()(image)))


def both_layouts(k):
    """A channels-first layer in a channels-last model, with its input permuted by hand."""
    layers = k.layers
    image = layers.Input((9, 8, 3))
    x = layers.Permute((3, 1, 2))(layers.Conv2D(4, 3)(image))
    x = layers.GlobalAveragePooling2D(data_format="channels_first")(x)
    return k.models.Model(image, layers.Dense(2)(x))


def with_head(k, classes, names):
    """A small network whose layers are named by the caller."""
    layers = k.layers
    stem, norm, features, head = names
    image = layers.Input((9, 7, 3))
    x = layers.Conv2D(4, 3, activation="relu", name=stem)(image)
    x = layers.BatchNormalization(name=norm)(x)
    x = layers.Conv2D(6, 2, name=features)(x)
    x = layers.GlobalAveragePooling2D()(x)
    return k.models.Model(image, layers.Dense(classes, name=head)(x))


def _brightness(k, *arguments, **keywords):
    """Keras cannot write into a file the list that this layer keeps."""
    layer = k.layers.RandomBrightness(*arguments, **keywords)
    layer.value_range = tuple(layer.value_range)
    return layer


def augmentations(k):
    """Random layers, which pass their input on in inference."""
    layers = k.layers
    image = layers.Input((6, 5, 3))
    return k.models.Model(
        image,
        [
            layers.RandomFlip()(image),
            layers.RandomFlip("horizontal", seed=1)(image),
            layers.RandomRotation(0.2)(image),
            layers.RandomRotation((-0.1, 0.3), fill_mode="constant", fill_value=0.5)(image),
            layers.RandomZoom(0.2)(image),
            layers.RandomZoom((-0.3, 0.2), 0.1, interpolation="nearest", seed=3)(image),
            layers.RandomTranslation(0.2, (-0.1, 0.3), fill_mode="wrap")(image),
            layers.RandomContrast(0.2)(image),
            layers.RandomContrast((0.1, 0.9), value_range=(0, 1))(image),
            _brightness(k, 0.2)(image),
            _brightness(k, (-0.1, 0.3), value_range=(0, 1), seed=4)(image),
            layers.RandomCrop(4, 3)(image),
        ],
    )


# Ranges of one number leave nothing to chance.
_MOVEMENTS = [
    ("RandomRotation", {"factor": (0.13, 0.13)}),
    ("RandomRotation", {"factor": (-0.38, -0.38)}),
    ("RandomZoom", {"height_factor": (0.83, 0.83)}),
    ("RandomZoom", {"height_factor": (-0.36, -0.36), "width_factor": (0.57, 0.57)}),
    ("RandomTranslation", {"height_factor": (0.27, 0.27), "width_factor": (-0.83, -0.83)}),
    ("RandomTranslation", {"height_factor": (-0.93, -0.93), "width_factor": (0.44, 0.44)}),
]


def movements(k):
    """Augmentation by affine maps, which TensorFlow does in float32."""
    image, outputs = k.layers.Input((8, 7, 3)), []
    for fill in ("reflect", "wrap", "constant", "nearest"):
        for interpolation in ("bilinear", "nearest"):
            how = {"fill_mode": fill, "interpolation": interpolation, "fill_value": 0.5}
            for name, arguments in _MOVEMENTS:
                layer = getattr(k.layers, name)(**arguments, **how)
                outputs.append(layer(image))
    return k.models.Model(image, outputs)


def recolourings(k):
    """Augmentation of colours, whose ranges leave nothing to chance; Keras draws in float32."""
    layers = k.layers
    image = layers.Input((8, 7, 3))
    return k.models.Model(
        image,
        [
            layers.RandomContrast((-0.25, 0.25), (0.1, 0.8))(image),
            _brightness(k, (0.25, 0.25), (1, 0))(image),
            _brightness(k, (-0.125, -0.125))(image),
        ],
    )


def croppings(k):
    """The middle of images, and resizing that repeats or leaves out pixels."""
    layers = k.layers
    image = layers.Input((9, 8, 3))
    how = {"interpolation": "nearest"}
    return k.models.Model(
        image,
        [
            layers.CenterCrop(4, 3)(image),
            layers.CenterCrop(9, 8)(image),
            layers.CenterCrop(6, 7)(image),
            layers.Resizing(5, 13, **how)(image),
            layers.Resizing(20, 4, antialias=True, **how)(image),
            layers.Resizing(5, 6, crop_to_aspect_ratio=True, **how)(image),
            layers.Resizing(11, 6, crop_to_aspect_ratio=True, **how)(image),
            layers.Resizing(5, 6, pad_to_aspect_ratio=True, fill_value=0.5, **how)(image),
            layers.Resizing(11, 6, pad_to_aspect_ratio=True, **how)(image),
        ],
    )


def resizings(k):
    """Resizing between pixels, which TensorFlow does in float32."""
    layers, is_keras_2 = k.layers, not hasattr(k, "ops")
    image = layers.Input((9, 8, 3))
    sizes, kernels = [(7, 9), (13, 6), (9, 8)], ["bilinear", "bicubic", "area"]
    kernels += ["lanczos3", "lanczos5"]
    outputs = [layers.CenterCrop(*size)(image) for size in [(12, 5), (4, 10), (11, 14)]]
    if is_keras_2:
        kernels += ["gaussian", "mitchellcubic"]
        settings = [{}, {"crop_to_aspect_ratio": True}]
        outputs += [layers.RandomCrop(*size)(image) for size in [(5, 7), (12, 5)]]
    else:
        crops, pads = {"crop_to_aspect_ratio": True}, {"pad_to_aspect_ratio": True}
        settings = [{}, {"antialias": True}, crops, {**pads, "fill_value": 0.5}]
        resize = k.ops.image.resize
        outputs += [resize(image, (7, 9), "bicubic", antialias=True)]
        outputs += [resize(image, (7, 9), "area", **crops), resize(image, (13, 6), **pads)]
    for kernel in kernels:
        for size in sizes:
            for setting in settings:
                outputs.append(layers.Resizing(*size, interpolation=kernel, **setting)(image))
    return k.models.Model(image, outputs)


def layers_of_keras_2(k):
    """Layers that Keras 3 has not, or whose configs it writes in another way."""
    layers = k.layers
    image, vector = layers.Input((6, 5, 3)), layers.Input((6,))
    return k.models.Model(
        [image, vector],
        [
            layers.ThresholdedReLU()(image),
            layers.ThresholdedReLU(theta=0.25)(vector),
            layers.LeakyReLU()(image),
            layers.LeakyReLU(alpha=0.2)(vector),
            layers.ReLU(max_value=6.0, negative_slope=0.25, threshold=0.125)(image),
            layers.ELU(alpha=0.3)(image),
            layers.Softmax(axis=1)(image),
            layers.PReLU(shared_axes=[1, 2])(image),
            layers.Activation("swish")(image),
            layers.ReLU(6.0)(image),
            layers.Activation(k.activations.softplus)(image),
            layers.Dense(3, activation=k.activations.gelu)(vector),
            layers.SpatialDropout1D(0.5)(layers.Reshape((2, 3))(vector)),
            layers.SpatialDropout2D(0.5)(image),
            layers.UpSampling2D((2, 3))(image),
            layers.experimental.SyncBatchNormalization()(image),
            layers.BatchNormalization(synchronized=True)(image),
            layers.CenterCrop(4, 3)(image),
            layers.Resizing(5, 13, interpolation="nearest")(image),
            layers.Rescaling(1 / 255, offset=-0.5)(image),
        ],
    )


def of_the_time_of_keras_1(k):
    """Layers that Keras 1 had, in its functional form."""
    layers = k.layers
    image, vector = layers.Input((13, 11, 3), name="image"), layers.Input((4,), name="vector")
    x = layers.ZeroPadding2D(((1, 0), (2, 1)), name="pad")(image)
    x = layers.Conv2D(4, (3, 2), strides=(2, 1), padding="same", name="conv")(x)
    x = layers.BatchNormalization(epsilon=1e-4, name="norm")(x)
    x = layers.LeakyReLU(0.2, name="leaky")(x)
    y = layers.Conv2D(4, 3, dilation_rate=(2, 2), padding="same", activation="tanh", name="wide")(x)
    x = layers.Average(name="ave")(
        [layers.Add(name="sum")([x, y]), layers.Maximum(name="max")([x, y])]
    )
    x = layers.SeparableConv2D(5, 3, use_bias=False, depth_multiplier=2, name="separable")(x)
    x = layers.MaxPooling2D((2, 2), name="pool")(x)
    x = layers.Dropout(0.25, name="drop")(x)
    x = layers.Conv2DTranspose(5, (2, 3), name="transposed")(x)
    x = layers.UpSampling2D((2, 1), name="larger")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(4, activation="relu", name="features")(x)
    x = layers.Multiply(name="mul")([x, layers.ELU(0.5, name="elu")(vector)])
    x = layers.Concatenate(name="concat")([x, layers.Dense(3, name="other")(vector)])
    return k.models.Model([image, vector], layers.Dense(2, activation="softmax", name="end")(x))


def sequence_of_the_time_of_keras_1(k):
    """A Sequential over sequences, with 1-D layers that Keras 1 had."""
    layers = k.layers
    return k.models.Sequential(
        [
            layers.Input((17, 4)),
            layers.Conv1D(6, 3, strides=2, activation="relu", name="conv"),
            layers.MaxPooling1D(2, strides=1, name="pool"),
            layers.Conv1D(6, 2, padding="same", name="square"),
            layers.UpSampling1D(2, name="larger"),
            layers.GlobalMaxPooling1D(name="largest"),
            layers.RepeatVector(3, name="repeat"),
            layers.Permute((2, 1), name="turn"),
            layers.Flatten(name="flat"),
            layers.Dense(3, name="end"),
        ],
        name="sequence",
    )


def in_both_orders_of_keras_1(k):
    """What means the same with channels last and, in Keras 1, with channels first."""
    layers = k.layers
    image = layers.Input((9, 7, 3), name="image")
    x = layers.Conv2D(4, (3, 2), activation="relu", name="conv")(image)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Conv2DTranspose(4, (2, 3), name="transposed")(x)
    return k.models.Model(image, layers.MaxPooling2D((2, 2), name="pool")(x))


def modes(k):
    """Layers that act in training, and one that was asked to always."""
    layers = k.layers
    image = layers.Input((6, 5, 3))
    outputs = [
        layer(image)
        for layer in (layers.Dropout(0.5), layers.GaussianNoise(0.5), layers.RandomRotation(0.3))
    ]
    return k.models.Model(image, [*outputs, layers.Dropout(0.5)(image, training=True)])


def resnet50_before_keras_2_3(k, include_top):
    """ResNet50 with the names, the epsilon and the order of layers of its first years."""
    layers = k.layers

    def convolved(x, filters, size, name, **arguments):
        x = layers.Conv2D(filters, size, name=f"res{name}", **arguments)(x)
        return layers.BatchNormalization(name=f"bn{name}")(x)

    image = layers.Input((45, 38, 3))
    x = layers.ZeroPadding2D(3, name="conv1_pad")(image)
    x = layers.Conv2D(64, 7, strides=2, name="conv1")(x)
    x = layers.Activation("relu")(layers.BatchNormalization(name="bn_conv1")(x))
    x = layers.MaxPooling2D(3, strides=2)(layers.ZeroPadding2D(1, name="pool1_pad")(x))
    for stage, blocks in zip((2, 3, 4, 5), ("abc", "abcd", "abcdef", "abc"), strict=True):
        filters = 2 ** (stage + 4)
        for block in blocks:
            strides = 2 if block == "a" and stage > 2 else 1
            branch = f"{stage}{block}_branch"
            y = convolved(x, filters, 1, f"{branch}2a", strides=strides)
            y = convolved(layers.Activation("relu")(y), filters, 3, f"{branch}2b", padding="same")
            y = convolved(layers.Activation("relu")(y), 4 * filters, 1, f"{branch}2c")
            if block == "a":
                x = convolved(x, 4 * filters, 1, f"{branch}1", strides=strides)
            x = layers.Activation("relu")(layers.add([y, x]))
    if include_top:
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = layers.Dense(1000, activation="softmax", name="fc1000")(x)
    return k.models.Model(image, x, name="resnet50")


def same_names_within(k):
    """Two Sequentials with layers of the same names in a model that stands in another."""
    layers = k.layers
    outer, inner = layers.Input((9, 7, 3)), layers.Input((9, 7, 3))
    branches = [
        k.models.Sequential(
            [
                layers.Input((9, 7, 3)),
                layers.Conv2D(3, 1, name="conv"),
                layers.BatchNormalization(name="norm"),
            ],
            name=name,
        )
        for name in ("left", "right")
    ]
    base = k.models.Model(inner, layers.Add()([branch(inner) for branch in branches]), name="base")
    return k.models.Model(outer, layers.GlobalAveragePooling2D()(base(outer)))


def augmentations_of_keras_2(k):
    """Random layers with arguments that Keras 3 would refuse or take for others."""
    layers = k.layers
    image = layers.Input((6, 5, 3))
    return k.models.Model(
        image,
        [
            layers.RandomFlip("vertical")(image),
            layers.RandomRotation(1.5)(image),
            layers.RandomZoom((-0.3, 0.2), (0.1, 1.5))(image),
            layers.RandomTranslation(0.2, (-0.1, 0.3), fill_mode="wrap")(image),
            layers.RandomContrast(0.2)(image),
            layers.RandomContrast((0.1, 0.9), seed=3)(image),
            layers.RandomBrightness(0.2)(image),
            layers.RandomBrightness((-0.1, 0.3), value_range=(0, 1))(image),
        ],
    )


def augmented(k, nested):
    """Augmentation and Rescaling in front of a base, in the model or in a Sequential within.

    The augmentation is made in float32: in float64 Keras 2 cannot rotate.
    """
    layers, floatx = k.layers, k.backend.floatx()
    base = _half_frozen_encoder(k)
    k.backend.set_floatx("float32")
    image = layers.Input((45, 38, 3))
    changes = [layers.RandomFlip("horizontal"), layers.RandomRotation(0.1), layers.RandomZoom(0.2)]
    changes = [k.models.Sequential(changes, name="data_augmentation")] if nested else changes
    x = image
    for change in changes:
        x = change(x)
    k.backend.set_floatx(floatx)
    x = base(layers.Rescaling(1 / 127.5, offset=-1)(x), training=False)
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    return k.models.Model(image, layers.Dense(3)(x))


def suspects(k):
    """A small network with a place for each of the usual mistakes in porting one."""
    layers = k.layers
    image = layers.Input((24, 20, 3), name="image")
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="stem")(image)
    x = layers.BatchNormalization(epsilon=1.001e-5, momentum=0.997, name="stem_bn")(x)
    x = layers.Activation("silu", name="stem_silu")(x)
    one = layers.Conv2D(8, 3, padding="same", activation="relu", name="one")(x)
    other = layers.Conv2D(8, 3, padding="same", activation="relu", name="other")(x)
    x = layers.Concatenate(name="joined")([one, other])
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(x)
    pooled = layers.MaxPooling2D(3, 2, padding="same", name="largest")(x)
    averaged = layers.AveragePooling2D(3, 2, padding="same", name="average")(x)
    x = layers.Subtract(name="difference")([pooled, averaged])
    base = k.models.Model(image, x, name="base")
    photograph = layers.Input((24, 20, 3), name="photograph")
    x = layers.Flatten(name="flat")(base(photograph))
    x = layers.Dense(6, activation="tanh", name="hidden")(x)
    return k.models.Model(photograph, layers.Dense(4, activation="softmax", name="classes")(x))
