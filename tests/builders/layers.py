"""Layers of one kind beside each other."""

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
            layers.Normalization(axis=-1, mean=0.3, variance=2.0)(vector),
            layers.Normalization(axis=(1, 3))(image),
            layers.Normalization(axis=(1, 2, 3))(image),
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


def rescaled(k, shape, scale, offset):
    """A Rescaling with several scales and offsets."""
    image = k.layers.Input(shape)
    return k.models.Model(image, k.layers.Rescaling(scale, offset)(image))


def rescaled_by_arrays(k):
    """Numbers for the channels, and for each pixel, that are not those of float32."""
    image = k.layers.Input((4, 5, 3))
    given = np.random.default_rng(0).normal(size=(4, 5, 3))
    return k.models.Model(
        image,
        [
            k.layers.Rescaling(given[0, 0], given[1, 1])(image),
            k.layers.Rescaling(given[:1, :1], offset=given[:, :, :1])(image),
            k.layers.Rescaling(given.astype("float32"), offset=-1)(image),
        ],
    )


def activated_by_layers(k):
    """Layers whose activations are layers, and a Rescaling by arrays."""
    layers = k.layers
    image = layers.Input((9, 8, 3))
    x = layers.Rescaling(np.array([0.5, 2.0, 0.25]), offset=np.array([1.0, 0.0, -1.0]))(image)
    x = layers.Conv2D(4, 3, activation=layers.LeakyReLU(0.1), name="leaky")(x)
    x = layers.SeparableConv2D(5, 2, activation=layers.ReLU(6.0), name="bounded")(x)
    x = layers.Conv2DTranspose(4, 2, activation=layers.Softmax(), name="shares")(x)
    x = layers.Activation(layers.ELU(0.5), name="curved")(x)
    x = layers.Flatten()(layers.DepthwiseConv2D(3, activation=layers.LeakyReLU(), name="deep")(x))
    return k.models.Model(image, layers.Dense(3, activation=layers.ReLU(), name="head")(x))


def learned_activation(k):
    """A layer whose activation is a layer with weights."""
    vector = k.layers.Input((4,))
    return k.models.Model(vector, k.layers.Dense(3, activation=k.layers.PReLU())(vector))
