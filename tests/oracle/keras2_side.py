"""What the oracle does with Keras 2 (`tf_keras`). Every public method generates its answers."""

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from unittest.mock import patch

import keras_applications.resnext
import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras.src.backend import RandomGenerator
from tf_keras.src.engine.functional import Functional
from tf_keras.src.layers.convolutional.base_conv import Conv
from tf_keras.src.utils import data_utils

from tests import builders
from tests.oracle.filling import hash_of, values_for


def _resnext(
    name: str, classifier_activation: str | None = "softmax", **arguments
) -> tf_keras.Model:
    """A ResNeXt of keras-applications, which knows only one activation for its classifier."""
    make = getattr(keras_applications.resnext, name)
    keras = {key: getattr(tf_keras, key) for key in ("backend", "layers", "models", "utils")}
    model = make(**arguments, **keras)
    if arguments.get("include_top", True):
        model.layers[-1].activation = tf_keras.activations.get(classifier_activation)
    return model


for _name in ("ResNeXt50", "ResNeXt101"):
    setattr(tf_keras.applications, _name, partial(_resnext, _name))

sys.setrecursionlimit(10_000)  # for the deepest models, as their constructors ask for themselves


class Keras:
    """Holds one model at a time, in float64 unless asked otherwise."""

    def build(
        self,
        builder: str,
        arguments: dict,
        seed: int = 0,
        data_format: str = "channels_last",
        floatx: str = "float64",
        published: str | None = None,
    ) -> Iterator[dict]:
        """Build a model as a fresh session would, fill its weights, and describe it.

        `published` is the file that `weights="imagenet"` stands for.
        """
        self.model = None
        tf_keras.backend.clear_session()
        gc.collect()  # as Keras 3 itself does
        tf_keras.backend.set_floatx(floatx)
        tf_keras.backend.set_image_data_format(data_format)
        get_file = patch.object(data_utils, "get_file", lambda *_, **options: published)
        with without_initializers(), get_file:
            self.model = getattr(builders, builder)(tf_keras, **arguments)
        rng = np.random.default_rng(seed)
        for weight in self.model.weights:
            role = weight.name.rpartition("/")[2].removesuffix(":0")
            weight.assign(values_for(role, tuple(weight.shape), rng))
        for layer in self.model.layers:
            if not isinstance(layer, tf_keras.layers.Normalization):
                continue
            if layer.input_mean is None:
                layer.finalize_state()  # it computes with copies of its weights
            else:
                layer.mean, layer.variance = (  # as exact as in Keras 3, which this goes by
                    tf.cast(tf.cast(x, "float32"), floatx) for x in (layer.mean, layer.variance)
                )
        is_graph = isinstance(self.model, Functional)
        is_graph &= not isinstance(self.model, tf_keras.Sequential)
        # TensorFlow has no convolutions with channels first on the CPU.
        if is_graph and data_format == "channels_last":
            settle(self.model, rng)
        yield {
            "layers": [(layer.name, type(layer).__name__) for layer in self.model.layers],
            "parameters": self.model.count_params(),
            "inputs": [tuple(x.shape) for x in self.model.inputs],
        }

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

    def outputs(self, inputs: list) -> Iterator[tuple[str, str, list]]:
        """Run the model and stream each layer's name, class and outputs in the order of running."""
        for layer, results in run(self.model, inputs):
            yield layer.name, type(layer).__name__, [np.asarray(x) for x in results]

    def predict(self, inputs: list, training: bool = False) -> Iterator[list]:
        """The model's outputs, without compiling it first."""
        with without_compiling():
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


def without_initializers() -> AbstractContextManager:
    """New weights are zero, as others take their place: drawing them takes half the time."""

    def zeros(generator, shape, *others, dtype=None, **named) -> tf.Tensor:
        dtype = others[2] if len(others) > 2 else dtype  # behind the two limits
        return tf.zeros(shape, dtype or tf_keras.backend.floatx())

    drawing = ("random_normal", "random_uniform", "truncated_normal")
    return patch.multiple(RandomGenerator, **dict.fromkeys(drawing, zeros))


def without_compiling() -> AbstractContextManager:
    """Grouped convolutions are not compiled, as `keras_side.convolve` does not in Keras 3."""
    return patch.object(Conv, "_jit_compiled_convolution_op", Conv.convolution_op)


def settle(model: tf_keras.Model, rng: np.random.Generator) -> None:
    """Draw the moving statistics anew, as `keras_side.settle` does for Keras 3."""

    def settle_layer(layer: tf_keras.layers.Layer, value: tf.Tensor) -> None:
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            scale = np.sqrt(np.mean(np.square(value)))
            shape = layer.moving_mean.shape
            layer.moving_mean.assign(scale * rng.normal(0, 0.1, shape))
            layer.moving_variance.assign(scale**2 * rng.uniform(0.5, 1.5, shape))

    if any(isinstance(layer, tf_keras.layers.BatchNormalization) for layer in model.layers):
        shapes = [[size or 96 for size in (1, *x.shape[1:])] for x in model.inputs]
        most = largest_pixel(model)
        for _ in run(model, [rng.uniform(-most, most, shape) for shape in shapes], settle_layer):
            pass


def largest_pixel(model: tf_keras.Model) -> int:
    """Of the images that a model takes: 255 where it scales them itself, else 1."""
    scales = any(isinstance(layer, tf_keras.layers.Rescaling) for layer in model.layers)
    return 255 if scales else 1


def run(
    model: tf_keras.Model, inputs: list, before: Callable | None = None
) -> Iterator[tuple[tf_keras.layers.Layer, list]]:
    """Run a functional model as Keras 2 does, yielding each layer with its outputs.

    `before(layer, input)` is called ahead of each layer.
    """
    uses = model._tensor_usage_count
    values: dict[str, list] = {}

    def keep(symbols: list, tensors: list) -> None:
        for symbol, tensor in zip(symbols, tensors, strict=True):
            values[symbol] = [tensor] * uses[symbol]  # `map_arguments` takes them out one by one

    keep([str(id(x)) for x in model.inputs], [tf.constant(x) for x in inputs])
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if node.is_input:
                continue
            positional, named = node.map_arguments(values)
            if before:
                before(node.layer, positional[0])
            if node.layer._expects_training_arg:
                named["training"] = False  # as `predict` does, whatever the calls asked for
            with without_compiling():
                results = tf.nest.flatten(node.layer(*positional, **named))
            yield node.layer, results
            keep(node.flat_output_ids, results)
