"""Fine-tuned models of the usual shapes."""


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


def convnext(k):
    """A new head on a ConvNeXt in most of whose blocks all is frozen."""
    base = k.applications.ConvNeXtTiny(
        weights=None, include_top=False, input_shape=(45, 38, 3), pooling="avg"
    )
    for layer in base.layers:
        if "block" in layer.name and "stage_3" not in layer.name:
            layer.trainable = "downsampling" in layer.name
    return k.models.Model(base.input, k.layers.Dense(3, name="head")(base.output))


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


def both_layouts(k):
    """A channels-first layer in a channels-last model, with its input permuted by hand."""
    layers = k.layers
    image = layers.Input((9, 8, 3))
    x = layers.Permute((3, 1, 2))(layers.Conv2D(4, 3)(image))
    x = layers.GlobalAveragePooling2D(data_format="channels_first")(x)
    return k.models.Model(image, layers.Dense(2)(x))


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


def tuned_efficientnet(k, weights=None):
    """The recipe of Keras's guide to EfficientNet: a head, and the last layers but batch norm."""
    layers = k.layers
    image = layers.Input((45, 38, 3))
    base = k.applications.EfficientNetB0(weights=weights, include_top=False, input_tensor=image)
    base.trainable = False
    x = layers.GlobalAveragePooling2D(name="avg_pool")(base.output)
    x = layers.Dropout(0.2, name="top_dropout")(layers.BatchNormalization()(x))
    model = k.models.Model(image, layers.Dense(3, name="pred")(x))
    for layer in model.layers[-20:]:
        if not isinstance(layer, layers.BatchNormalization):
            layer.trainable = True
    return model
