"""Augmentation and resizing."""


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
