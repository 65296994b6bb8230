"""What the oracle does with Keras 2 (`tf_keras`). Every public method generates its answers."""

import gc
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
import tf_keras

from tests import builders
from tests.oracle.filling import hash_of, values_for


class Keras:
    """Holds one model at a time, in float64 unless asked otherwise."""

    def build(
        self,
        builder: str,
        arguments: dict,
        seed: int = 0,
        data_format: str = "channels_last",
        floatx: str = "float64",
    ) -> Iterator[list]:
        """Build a model as a fresh session would, fill its weights, and name its layers."""
        self.model = None
        tf_keras.backend.clear_session()
        gc.collect()  # as Keras 3 itself does
        tf_keras.backend.set_floatx(floatx)
        tf_keras.backend.set_image_data_format(data_format)
        self.model = getattr(builders, builder)(tf_keras, **arguments)
        rng = np.random.default_rng(seed)
        for weight in self.model.weights:
            role = weight.name.rpartition("/")[2].removesuffix(":0")
            weight.assign(values_for(role, tuple(weight.shape), rng))
        yield [layer.name for layer in self.model.layers]

    def save(self, path: str, weights_only: bool = False) -> Iterator[None]:
        """Write a `.keras` or `.h5` file."""
        if weights_only:
            self.model.save_weights(path)
        else:
            self.model.save(path)
        yield None

    def load(self, path: str) -> Iterator[None]:
        """Load weights into the model as Keras itself does."""
        self.model.load_weights(path)
        yield None

    def clear(self) -> Iterator[None]:
        """Make every weight zero."""
        for weight in self.model.weights:
            weight.assign(np.zeros(weight.shape, weight.dtype.as_numpy_dtype))
        yield None

    def state(self) -> Iterator[dict]:
        """A hash of each weight."""
        yield {"weights": [hash_of(weight) for weight in self.model.get_weights()]}

    def predict(self, inputs: list, training: bool = False) -> Iterator[list]:
        """The model's outputs, without compiling it first."""
        outputs = self.model(self._structured(inputs), training=training)
        yield [np.asarray(x) for x in tf.nest.flatten(outputs)]

    def _structured(self, inputs: list):
        return tf.nest.pack_sequence_as(self.model.input, inputs)

    def fit(self, inputs: list) -> Iterator[None]:
        """Compile the model and train it a step, as a user would before saving it."""
        targets = [np.zeros_like(x) for x in next(self.predict(inputs))]
        self.model.compile(
            "adam", ["mse"] * len(targets), metrics=[["mae"]] * len(targets), run_eagerly=True
        )
        self.model.train_on_batch(self._structured(inputs), targets)
        yield None
