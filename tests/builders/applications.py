"""The built-in architectures."""


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


def preprocessed(k, name):
    """An application behind its own `preprocess_input`, as transfer learning writes it."""
    module = getattr(k.applications, name)
    image = k.layers.Input((33, 35, 3))
    return k.models.Model(image, k.layers.Conv2D(4, 3)(module.preprocess_input(image)))


def resnet50_before_keras_2_3(k, include_top, image_size=(45, 38)):
    """ResNet50 with the names, the epsilon and the order of layers of its first years."""
    layers = k.layers

    def convolved(x, filters, size, name, **arguments):
        x = layers.Conv2D(filters, size, name=f"res{name}", **arguments)(x)
        return layers.BatchNormalization(name=f"bn{name}")(x)

    image = layers.Input((*image_size, 3))
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
