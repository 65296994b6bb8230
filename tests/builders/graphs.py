"""Models within models, shared layers, several inputs and outputs."""

import numpy as np


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


def named_ends(k):
    """Inputs and outputs in dictionaries, in another order than that of their names."""
    layers = k.layers
    z, a = layers.Input((8, 7, 3), name="z"), layers.Input((8, 7, 3), name="a")
    joined = layers.Subtract()([layers.Conv2D(4, 3)(z), layers.Conv2D(4, 3)(a)])
    outputs = {"y": layers.GlobalMaxPooling2D()(joined), "b": layers.Flatten()(joined)}
    return k.models.Model({"z": z, "a": a}, outputs)


def trained_within(k):
    """Models within that were trained themselves before they got their places."""
    layers = k.layers
    image = layers.Input((9, 7, 3))
    base = k.models.Model(image, layers.Conv2D(4, 3, name="optimizer")(image), name="base")
    head = k.models.Sequential(
        [layers.Input((7, 5, 4)), layers.Flatten(), layers.Dense(3, name="metrics")], name="head"
    )
    for model in (base, head) if hasattr(base, "train_on_batch") else ():
        model.compile("adam", "mse", metrics=["mae"], run_eagerly=True)
        ends = (np.zeros((2, *x.shape[1:])) for x in (model.inputs[0], model.outputs[0]))
        model.train_on_batch(*ends)
    photo = layers.Input((9, 7, 3))
    return k.models.Model(photo, head(base(photo)))


def called_by_names(k):
    """A model within that takes a dictionary, and that alone."""
    layers = k.layers
    a, b = layers.Input((5,), name="a"), layers.Input((5,), name="b")
    inner = k.models.Model(
        {"a": a, "b": b}, layers.Multiply()([layers.Dense(4)(a), layers.Dense(4)(b)]), name="inner"
    )
    left, right = layers.Input((5,)), layers.Input((5,))
    return k.models.Model([left, right], inner({"a": right, "b": left}))


def within(k, names):
    """A Sequential with two layers that are alike but for their names, in a model."""
    layers = k.layers
    stack = [layers.Input((4,)), *(layers.Dense(4, name=name) for name in names)]
    vector = layers.Input((4,))
    inner = k.models.Sequential(stack, name="inner")
    return k.models.Model(vector, layers.Dense(2, name="head")(inner(vector)))
