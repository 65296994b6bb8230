"""What the oracle does with Keras. Every public method of `Keras` generates its answers."""

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from unittest.mock import patch

import h5py
import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.tensorflow import nn as keras_nn
from keras.src.backend.tensorflow import random as keras_random
from keras.src.legacy.saving import legacy_h5_format
from keras.src.utils import file_utils

from tests import builders
from tests.oracle.filling import hash_of, values_for

_convolve_as_keras_does = keras_nn.conv


def convolve(
    inputs, kernel, strides=1, padding="valid", data_format=None, dilation_rate=1
) -> tf.Tensor:
    """Keras's convolution, but for those with groups, which Keras compiles at each call.

    It does so since TensorFlow once had none on the CPU, and still has no gradients of them. What
    it has today gives the same to the last bits, in a hundredth of the time.
    """
    is_last = (data_format or keras.config.image_data_format()) == "channels_last"
    if is_last and inputs.shape[-1] != kernel.shape[-2]:
        return tf.nn.convolution(inputs, kernel, strides, padding.upper(), dilations=dilation_rate)
    return _convolve_as_keras_does(inputs, kernel, strides, padding, data_format, dilation_rate)


def without_compiling() -> AbstractContextManager:
    """Grouped convolutions are not compiled, where no gradients are asked for."""
    return patch.object(keras_nn, "conv", convolve)


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
        self._forget()
        keras.config.set_floatx(floatx)
        keras.config.set_image_data_format(data_format)
        get_file = patch.object(file_utils, "get_file", lambda *_, **options: published)
        with without_initializers(), get_file:
            self.model = getattr(builders, builder)(keras, **arguments)
        rng = np.random.default_rng(seed)
        fill(self.model.weights, rng)
        for layer in self.model.layers:
            if isinstance(layer, keras.layers.Normalization):
                layer.finalize_state()  # it computes with copies of its weights
        if data_format == "channels_last":  # TensorFlow convolves no other on the CPU.
            settle(graph_of(self.model), rng)
        yield self._description()

    def rebuild(self, config: dict) -> Iterator[dict]:
        """Make a model from its `class_name` and `config`, and describe it."""
        self._forget()
        kind = keras.Sequential if config["class_name"] == "Sequential" else keras.Model
        self.model = kind.from_config(config["config"])
        yield self._description()

    def _forget(self) -> None:
        """Let go of the model before, whose memory the session collects and whose names it ends."""
        self.model = None
        keras.utils.clear_session()  # Else auto names continue those of the model before.

    def _description(self) -> dict:
        return {
            "layers": [(layer.name, type(layer).__name__) for layer in self.model.layers],
            "parameters": self.model.count_params(),
            "inputs": [tuple(x.shape) for x in self.model.inputs],
        }

    def layers(self) -> Iterator[tuple[str, list, dict]]:
        """Each layer's name, static output shapes and config, in the order of the layers."""
        for layer in self.model.layers:
            shapes = [tuple(x.shape) for x in keras.tree.flatten(layer.output)]
            yield layer.name, shapes, layer.get_config()

    def save(self, path: str, weights_only: bool = False) -> Iterator[None]:
        """Write a `.keras`, `.weights.h5` or legacy `.h5` file, the last as Keras 1 and 2 did.

        A `.weights.json` comes with shards of 4 KB.
        """
        if path.endswith(".weights.json"):
            self.model.save_weights(path, max_shard_size=4096 / 2**30)
        elif path.endswith(".weights.h5"):
            self.model.save_weights(path)
        elif weights_only:
            with h5py.File(path, "w") as file:
                legacy_h5_format.save_weights_to_hdf5_group(file, self.model)
        else:
            self.model.save(path)
        yield None

    def open(self, path: str, floatx: str = "float64") -> Iterator[dict]:
        """Open a whole model as Keras itself does, and describe it."""
        self._forget()
        keras.config.set_floatx(floatx)
        self.model = keras.models.load_model(path, compile=False)
        yield self._description()

    def load(self, path: str, **options) -> Iterator[None]:
        """Load weights into the model as Keras itself does."""
        self.model.load_weights(path, **options)
        yield None

    def clear(self) -> Iterator[None]:
        """Make every weight zero."""
        for weight in self.model.weights:
            weight.assign(np.zeros(weight.shape, weight.dtype))
        yield None

    def state(self) -> Iterator[dict]:
        """A hash of each weight, and what is trained."""
        yield {
            "weights": [hash_of(weight) for weight in self.model.get_weights()],
            "trainable": [x.trainable for x in self.model._flatten_layers() if x.weights],
            "trained": [weight.name for weight in self.model.trainable_weights],
        }

    def outputs(self, inputs: list) -> Iterator[tuple[str, str, list]]:
        """Run the model and stream each layer's name, class and outputs in the order of running."""
        for layer, results in run(graph_of(self.model), inputs):
            yield layer.name, type(layer).__name__, [np.asarray(x) for x in results]

    def predict(self, inputs: list, training: bool = False) -> Iterator[list]:
        """The model's outputs, without compiling it first."""
        with without_compiling():
            outputs = self.model(self._structured(inputs), training=training)
        yield [np.asarray(x) for x in keras.tree.flatten(outputs)]

    def slopes(self, inputs: list, layer: str, classes: list[int]) -> Iterator[list]:
        """A layer's output, and the gradient there of one of the classifier's logits an image."""
        classifier = self.model.layers[-1]
        classifier.activation, activation = keras.activations.linear, classifier.activation
        output = self.model.get_layer(layer).output
        both = keras.Model(self.model.inputs, [output, self.model.output])
        with tf.GradientTape() as tape:
            maps, logits = both(inputs)
            chosen = tf.gather(logits, classes, batch_dims=1)
        yield [np.asarray(maps), np.asarray(tape.gradient(chosen, maps))]
        classifier.activation = activation

    def _structured(self, inputs: list):
        return keras.tree.pack_sequence_as(graph_of(self.model)._inputs_struct, inputs)

    def fit(self, inputs: list) -> Iterator[None]:
        """Compile the model and train it a step, as a user would before saving it."""
        targets = [np.zeros_like(x) for x in next(self.predict(inputs))]
        self.model.compile(
            "adam", ["mse"] * len(targets), metrics=[["mae"]] * len(targets), run_eagerly=True
        )
        self.model.train_on_batch(self._structured(inputs), targets)
        yield None

    def step(
        self, inputs: list, targets: np.ndarray, rate: float, frozen: int, folder: str
    ) -> Iterator[dict]:
        """One step of SGD on the mean squared error, with the first `frozen` layers frozen.

        Writes the stepped model to `stepped.weights.h5`, and to `gradients.weights.h5` the same
        with the gradient of each trainable weight in the weight's place: a file has one layout
        for both, so whoever reads weights reads gradients.
        """
        model = self.model
        for layer in model.layers[:frozen]:
            layer.trainable = False
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(inputs, training=True) - targets) ** 2)
        gradients = tape.gradient(loss, [weight.value for weight in model.trainable_weights])
        keras.optimizers.SGD(rate).apply(gradients, model.trainable_weights)
        model.save_weights(Path(folder) / "stepped.weights.h5")
        for weight, gradient in zip(model.trainable_weights, gradients, strict=True):
            weight.assign(gradient)
        model.save_weights(Path(folder) / "gradients.weights.h5")
        yield {"loss": float(loss), "trained": len(gradients)}


def without_initializers() -> AbstractContextManager:
    """New weights are zero, as others take their place: drawing them takes as long."""

    def zeros(shape, *limits, dtype=None, **others) -> tf.Tensor:
        return tf.zeros(shape, dtype or keras.config.floatx())

    drawing = ("normal", "uniform", "truncated_normal")
    return patch.multiple(keras_random, **dict.fromkeys(drawing, zeros))


def fill(weights: list, rng: np.random.Generator) -> None:
    """Give every weight distinct random values."""
    for weight in weights:
        role = weight.path.rpartition("/")[2]
        weight.assign(values_for(role, tuple(weight.shape), rng))


def settle(model: keras.Model, rng: np.random.Generator) -> None:
    """Draw the moving statistics anew, near those of a random image.

    Otherwise a hundred residual blocks let activations grow a millionfold and the softmax at the
    end says 0 and 1 whatever happens before it.
    """

    def settle_layer(layer: keras.Layer, value: tf.Tensor) -> None:
        if isinstance(layer, keras.layers.BatchNormalization):
            scale = np.sqrt(np.mean(np.square(value)))
            shape = layer.moving_mean.shape
            layer.moving_mean.assign(scale * rng.normal(0, 0.1, shape))
            layer.moving_variance.assign(scale**2 * rng.uniform(0.5, 1.5, shape))

    if any(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers):
        shapes = [[size or 96 for size in (1, *x.shape[1:])] for x in model.inputs]
        most = largest_pixel(model)
        for _ in run(model, [rng.uniform(-most, most, shape) for shape in shapes], settle_layer):
            pass


def largest_pixel(model: keras.Model) -> int:
    """Of the images that a model takes: 255 where it scales them itself, else 1."""
    scales = any(isinstance(layer, keras.layers.Rescaling) for layer in model.layers)
    return 255 if scales else 1


def graph_of(model: keras.Model) -> keras.Model:
    """The functional graph of a model, which a Sequential one holds inside."""
    return model._functional if isinstance(model, keras.Sequential) else model


def run(model: keras.Model, inputs: list, before=None) -> Iterator[tuple[keras.Layer, list]]:
    """Run a functional model as Keras does, yielding each layer with its outputs.

    `before(layer, input)` is called ahead of each layer. Keras keeps every value to the end,
    gigabytes for a large model; here one lives until its last use.
    """
    depths = sorted(model._nodes_by_depth, reverse=True)
    nodes = [node for depth in depths for node in model._nodes_by_depth[depth]]
    uses = Counter(id(x) for node in nodes for x in node.input_tensors)
    values = {id(x): tf.constant(y) for x, y in zip(model.inputs, inputs, strict=True)}
    for node in nodes:
        if node.is_input:
            continue
        positional, named = node.arguments.fill_in(values)
        if before:
            before(node.operation, positional[0])
        if getattr(node.operation, "_call_has_training_arg", False):
            named["training"] = False  # as `predict` does, whatever the calls asked for
        with without_compiling():
            results = keras.tree.flatten(node.operation(*positional, **named))
        yield node.operation, results
        values |= {id(x): y for x, y in zip(node.outputs, results, strict=True)}
        uses.subtract(id(x) for x in node.input_tensors)
        values = {x: y for x, y in values.items() if uses[x] > 0}
