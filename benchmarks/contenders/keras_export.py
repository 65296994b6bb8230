"""Writes a Keras model as ONNX by Keras's own export.

python -m benchmarks.contenders.keras_export MODEL BATCH SIZE FILE
"""

import os
import sys

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras

from . import keras_model


def main() -> None:
    model, batch, size, path = sys.argv[1:]
    shape = (int(batch), int(size), int(size), 3)
    signature = [keras.InputSpec(shape=shape, dtype="float32")]
    keras_model(model).export(path, format="onnx", input_signature=signature, verbose=False)


if __name__ == "__main__":
    main()
