"""What only Keras 2 has, and what Keras 1 had."""


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
