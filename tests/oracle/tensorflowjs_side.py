"""Keras 2 as the source of TensorFlow.js layers models, laid out as its converter does it."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tf_keras
from tf_keras.src.saving.legacy import saving_utils

from tests.oracle import keras2_side


class Keras(keras2_side.Keras):
    """Holds one model at a time, in float64."""

    def put_into_sequentials(self) -> Iterator[None]:
        """Make of the model what Teachable Machine makes of its MobileNet."""
        layers = tf_keras.layers
        units = self.model.output_shape[-1]
        features = tf_keras.Sequential([self.model, layers.GlobalAveragePooling2D()])
        hidden = layers.Dense(10, activation="relu", input_shape=(units,))
        last = layers.Dense(3, use_bias=False, activation="softmax")
        self.model = tf_keras.Sequential([features, tf_keras.Sequential([hidden, last])])
        yield None

    def save_tensorflowjs(
        self,
        folder: str,
        quantization: str | None = None,
        shard_bytes: int = 4 << 20,
        bare: bool = False,
    ) -> Iterator[list[str]]:
        """Write `model.json` and its shards, give the model what they hold, and name the shards.

        Args:
            folder: where to.
            quantization: `uint8`, `uint16` or `float16`, for all weights.
            shard_bytes: the size of a shard.
            bare: write the topology as JavaScript does, not as the converter.
        """
        entries, data = [], b""
        for layer in sorted(self.model.layers, key=lambda layer: layer.name):  # as in HDF5
            for weight in [*layer.trainable_weights, *layer.non_trainable_weights]:
                entry, stored, held = encode(weight.numpy().astype(np.float32), quantization)
                weight.assign(held)
                entries.append({"name": weight.name.removesuffix(":0"), **entry})
                data += stored.tobytes()
        parts = [data[start : start + shard_bytes] for start in range(0, len(data), shard_bytes)]
        names = [f"group1-shard{i + 1}of{len(parts)}.bin" for i in range(len(parts))]
        for name, part in zip(names, parts, strict=True):
            (Path(folder) / name).write_bytes(part)
        if bare:
            topology = json.loads(self.model.to_json())
        else:  # as the attributes of an `.h5` file
            self.model.use_legacy_config = True
            topology = saving_utils.model_metadata(self.model, include_optimizer=False)
            del self.model.use_legacy_config
        content = {
            "format": "layers-model",
            "generatedBy": f"keras v{tf_keras.__version__}",
            "convertedBy": "TensorFlow.js Converter v4.22.0",
            "modelTopology": topology,
            "weightsManifest": [{"paths": names, "weights": entries}],
        }
        (Path(folder) / "model.json").write_text(json.dumps(content, default=np.ndarray.tolist))
        yield names


def encode(values: np.ndarray, quantization: str | None) -> tuple[dict, np.ndarray, np.ndarray]:
    """What the manifest says of a weight, what is stored, and the values that this stands for."""
    entry = {"shape": list(values.shape), "dtype": "float32"}
    if quantization is None:
        return entry, values, values
    if quantization == "float16":
        entry["quantization"] = {"dtype": "float16", "original_dtype": "float32"}
        stored = values.astype(np.float16)
        return entry, stored, stored.astype(np.float32)
    values, most = values.astype(np.float64), np.iinfo(quantization).max
    smallest, largest = float(values.min()), float(values.max())
    scale = (largest - smallest) / most if largest > smallest else 1.0
    if smallest <= 0 <= largest:  # zero stays zero
        smallest = -np.round(-smallest / scale) * scale
    stored = np.round((values - smallest) / scale).clip(0, most).astype(quantization)
    held = (stored * np.float64(scale) + smallest).astype(np.float32)
    range_ = {"min": smallest, "scale": scale, "dtype": quantization, "original_dtype": "float32"}
    return {**entry, "quantization": range_}, stored, held
