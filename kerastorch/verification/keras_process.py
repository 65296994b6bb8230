"""The program that runs a model in Keras and tells each layer's output: a process of its own.

`python keras_process.py keras FOLDER` answers questions on standard input, one at a time, until it
is closed. It imports nothing of this package, whose process in turn never imports Keras; only the
functions that carry messages serve on both sides. Messages are JSON with arrays in NumPy's format,
never pickles, since the model comes from a file.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import io
import json
import os
import shutil
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

# Messages


def send(stream: BinaryIO, message: dict[str, Any], arrays: Sequence[np.ndarray] = ()) -> None:
    """Writes a message and the arrays that belong to it."""
    _send_bytes(stream, json.dumps({**message, "arrays": len(arrays)}, default=str).encode())
    for array in arrays:
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        _send_bytes(stream, buffer.getbuffer())
    stream.flush()


def receive(stream: BinaryIO) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Reads a message and its arrays.

    Raises:
        EOFError: the other side has ended.
    """
    message = json.loads(_receive_bytes(stream))
    arrays = [
        np.load(io.BytesIO(_receive_bytes(stream)), allow_pickle=False)
        for _ in range(message.pop("arrays"))
    ]
    return message, arrays


def _send_bytes(stream: BinaryIO, data: bytes | memoryview) -> None:
    stream.write(struct.pack("<Q", len(data)))
    stream.write(data)


def _receive_bytes(stream: BinaryIO) -> bytes:
    (length,) = struct.unpack("<Q", _read(stream, 8))
    return _read(stream, length)


def _read(stream: BinaryIO, length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise EOFError("The other process has ended.")
    return data


# Answers


class Runner:
    """Holds one model. Every public method is a question and tells its answers.

    Args:
        keras: the module, `keras` or `tf_keras`.
        tell: takes a message and its arrays.
        folder: for files that it writes; whoever started the process removes it.
    """

    def __init__(self, keras: Any, tell: Callable, folder: Path):
        self.keras = keras
        self.tell = tell
        self.folder = folder
        self.is_keras_3 = not keras.__version__.startswith("2.")
        self.is_running = False
        self._models: list[str] = []  # the models within that are running, by name

    def open(self, path: str, floatx: str) -> None:
        """Opens a whole model to compute in a type of numbers."""
        self._set_floatx(floatx)
        source = Path(path)
        copy = self.folder / source.name
        rewrite = _retyped_archive if zipfile.is_zipfile(source) else _retyped_hdf5
        try:
            rewrite(source, copy, floatx)
            model = self.keras.models.load_model(copy, compile=False)
        finally:
            copy.unlink(missing_ok=True)
        self._take(model)

    def build(self, application: str, arguments: dict, path: str, floatx: str) -> None:
        """Makes one of Keras's applications and loads its weights from a file.

        With `weights="imagenet"` among the arguments the file is taken for the published one.
        """
        self._set_floatx(floatx)
        constructor = getattr(self.keras.applications, application)
        if "input_shape" in arguments:  # JSON has no tuples
            arguments["input_shape"] = tuple(arguments["input_shape"])
        if arguments.get("weights") == "imagenet":
            with self._published_at(path):
                model = constructor(**arguments)
        else:
            model = constructor(weights=None, **arguments)
            model.load_weights(path)
        self._take(model)

    @contextlib.contextmanager
    def _published_at(self, path: str) -> Iterator[None]:
        """What Keras would download is the file at `path`."""
        file_utils = importlib.import_module("keras.src.utils.file_utils")
        get_file = file_utils.get_file
        file_utils.get_file = lambda *arguments, **options: path
        try:
            yield
        finally:
            file_utils.get_file = get_file

    def run(self, arrays: Sequence[np.ndarray]) -> None:
        """Tells the outputs of each layer as it runs, and at the end those of the model."""
        self.is_running = True
        try:
            outputs = self.model(self._structured(arrays), training=False)
        finally:
            self.is_running = False
        self.tell({"outputs": True}, self._arrays(outputs))

    # The model

    def _set_floatx(self, floatx: str) -> None:
        self.model = None
        self.keras.backend.clear_session()
        gc.collect()  # which Keras 2 leaves to the collector
        self.keras.backend.set_floatx(floatx)

    def _take(self, model: Any) -> None:
        self.model = model
        self._leaves: list[tuple[str, str]] = []  # paths and classes
        self._watch(model, [], set())
        versions = {
            name: sys.modules[name].__version__ for name in (self.keras.__name__, "tensorflow")
        }
        description = {"layers": self._leaves, "parameters": model.count_params()}
        self.tell({**description, "versions": versions})

    def _structured(self, arrays: Sequence[np.ndarray]) -> Any:
        import tensorflow as tf

        tensors = [tf.convert_to_tensor(array) for array in arrays]
        model = self.model
        functional = getattr(model, "_functional", None) or model
        is_struct = hasattr(functional, "_inputs_struct")
        structure = functional._inputs_struct if is_struct else functional.input
        return tf.nest.pack_sequence_as(structure, tensors)

    def _arrays(self, outputs: Any) -> list[np.ndarray]:
        import tensorflow as tf

        return [_plain(np.asarray(x)) for x in tf.nest.flatten(outputs)]

    # Watching

    def _watch(self, model: Any, above: list[str], seen: set[int]) -> None:
        """Has each layer within tell its outputs when it is called.

        A layer's `call` is replaced, as Keras has no hooks. It is what runs for every call of the
        graph, also for those of operations.
        """
        functional = getattr(model, "_functional", None) or model
        for layer in getattr(functional, "operations", model.layers):
            path, class_name = [*above, layer.name], type(layer).__name__
            is_model = isinstance(layer, self.keras.Model)
            if not is_model:
                self._leaves.append(("/".join(path), class_name))
            if id(layer) in seen:
                continue
            seen.add(id(layer))
            if is_model:
                layer.call = self._entering(layer, layer.call)
                self._watch(layer, path, seen)
            elif class_name != "InputLayer":
                layer.call = self._telling(layer, layer.call)

    def _entering(self, model: Any, call: Any) -> Any:
        def enter(*arguments, **keywords):
            self._models.append(model.name)
            try:
                return call(*arguments, **keywords)
            finally:
                self._models.pop()

        return enter

    def _telling(self, layer: Any, call: Any) -> Any:
        def tell(*arguments, **keywords):
            outputs = call(*arguments, **keywords)
            if self.is_running:
                arrays = self._arrays(outputs)
                statistics = self._moving_statistics(layer, call, arguments)
                message = {
                    "path": "/".join([*self._models, layer.name]),
                    "class_name": type(layer).__name__,
                    "config": layer.get_config(),
                    "statistics": len(statistics),
                }
                self.tell(message, [*arrays, *statistics])
            return outputs

        return tell

    def _moving_statistics(self, layer: Any, call: Any, arguments: tuple) -> list[np.ndarray]:
        """What a batch normalisation's moving statistics would be after a step of training.

        Keras 2 counts the variance otherwise, and is not asked.
        """
        if not (self.is_keras_3 and type(layer).__name__ == "BatchNormalization"):
            return []
        variables = (layer.moving_mean, layer.moving_variance)
        before = [np.asarray(variable) for variable in variables]
        call(*arguments, training=True)
        after = [np.asarray(variable) for variable in variables]
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        return after


def _plain(array: np.ndarray) -> np.ndarray:
    """The array in a type that NumPy itself knows: not bfloat16."""
    return array if array.dtype.kind in "fiub" else array.astype(np.float64)


# Files in another type of numbers


def _retyped(config: Any, floatx: str) -> Any:
    """A config whose layers all compute in `floatx`."""
    if isinstance(config, list):
        return [_retyped(item, floatx) for item in config]
    if not isinstance(config, dict):
        return config
    return {
        key: floatx if key == "dtype" and _is_float(value) else _retyped(value, floatx)
        for key, value in config.items()
    }


def _is_float(dtype: Any) -> bool:
    name = dtype.get("config", {}).get("name") if isinstance(dtype, dict) else dtype
    return isinstance(name, str) and "float" in name


def _retyped_archive(source: Path, target: Path, floatx: str) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            if name == "config.json":
                new.writestr(name, json.dumps(_retyped(json.loads(old.read(name)), floatx)))
            else:
                with old.open(name) as member, new.open(name, "w", force_zip64=True) as output:
                    shutil.copyfileobj(member, output, 1 << 20)


def _retyped_hdf5(source: Path, target: Path, floatx: str) -> None:
    import h5py

    shutil.copyfile(source, target)
    with h5py.File(target, "r+") as file:
        config = file.attrs["model_config"]
        text = config.decode() if isinstance(config, bytes) else config
        file.attrs["model_config"] = json.dumps(_retyped(json.loads(text), floatx)).encode()


# The process


def main(module: str, folder: str) -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print goes elsewhere
    questions = sys.stdin.buffer
    tell = functools.partial(send, answers)
    runner = Runner(importlib.import_module(module), tell, Path(folder))
    # The collector would walk a large model again and again while Keras makes it, which takes as
    # long as making it. The runner collects a model before it opens the next one.
    gc.freeze()
    gc.disable()
    with contextlib.suppress(EOFError, BrokenPipeError):  # the other side has closed its end
        while True:
            question, arrays = receive(questions)
            if arrays:
                question["arrays"] = arrays
            try:
                getattr(runner, question.pop("question"))(**question)
            except BrokenPipeError:
                raise
            except Exception as error:
                tell({"error": f"{type(error).__name__}: {error}"})
            else:
                tell({"end": True})


if __name__ == "__main__":
    # The folder of this file holds modules of this package, which have common names.
    here = Path(__file__).resolve().parent
    sys.path[:] = [path for path in sys.path if Path(path).resolve() != here]
    main(*sys.argv[1:])
