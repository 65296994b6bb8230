"""Layers of a user's own."""


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


def own_block(k):
    """A layer of a user's own with layers inside, some of their weights not trained."""

    @k.saving.register_keras_serializable("shop")
    class Block(k.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.first = k.layers.BatchNormalization()
            self.dense = k.layers.Dense(3)
            self.optimizer = k.layers.BatchNormalization()

        def build(self, shape):
            self.gain = self.add_weight(shape=shape[-1:], name="gamma")
            self.first.build(shape)
            self.dense.build(shape)
            self.optimizer.build(shape)

        def call(self, x):
            return self.optimizer(self.dense(self.first(x * self.gain)))

    image = k.layers.Input((6, 5, 3))
    return k.models.Model(image, k.layers.Dense(2)(Block()(image)))


def with_code(k, path):
    """A Lambda that makes a file of this name."""
    image = k.layers.Input((24, 20, 3))
    made = k.layers.Lambda(lambda x, path=path: (open(path, "w").close(), x)[1])(image)
    return k.models.Model(image, k.layers.Flatten()(made))
