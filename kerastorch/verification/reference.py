"""What a model is held against: Keras in a process of its own, a stored run, or a model here."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..convert import keras_files
from ..convert.loading import sha256_of
from .keras_process import receive, send
from .verdict import Subject

PROGRAM = Path(__file__).with_name("keras_process.py")
SAMPLE = 4096  # values of an output that a stored run keeps


class KerasProcessError(ChildProcessError):
    """Keras could not run the model; the message is Keras's own."""


class KerasMissingError(KerasProcessError):
    """Keras is not installed beside this package."""


class InputSpec(NamedTuple):
    """Keras's shape of an input, with the batch, and its type of numbers."""

    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class Expected:
    """An array that a layer gives in the reference, in Keras's layout, or a sample of its values.

    Attributes:
        shape: the shape of the whole array.
        largest: the largest absolute value in it.
        values: all values, or those at `positions` of the flat array.
        positions: None for all.
    """

    shape: tuple[int, ...]
    largest: float
    values: np.ndarray
    positions: np.ndarray | None = None

    @classmethod
    def of(cls, array: np.ndarray) -> Expected:
        flat = array.reshape(-1)
        largest = float(np.abs(flat.astype(np.float64, copy=False)).max()) if flat.size else 0.0
        return cls(array.shape, largest, flat)

    def sampled(self) -> Expected:
        """The same with `SAMPLE` values at most."""
        positions = positions_for(self.values.size)
        if self.positions is not None or positions is None:
            return self
        return Expected(self.shape, self.largest, self.values[positions], positions)

    def of_another(self, array: np.ndarray) -> np.ndarray:
        """The values of another array at the same places."""
        flat = array.reshape(-1)
        return flat if self.positions is None else flat[self.positions]

    def error(self, array: np.ndarray) -> float:
        """The largest difference of another array, relative to the largest value here.

        Infinite for another shape, and where one has a value that is not finite and the other not
        the same.
        """
        if array.shape != self.shape:
            return float("inf")
        ours, theirs = (
            x.astype(np.float64, copy=False) for x in (self.of_another(array), self.values)
        )
        if not ours.size:
            return 0.0
        with np.errstate(invalid="ignore"):
            difference = np.abs(ours - theirs)
        same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
        difference[same] = 0
        worst = float(np.where(np.isnan(difference), np.inf, difference).max())
        return worst / self.largest if worst and 0 < self.largest < np.inf else worst


def positions_for(size: int) -> np.ndarray | None:
    """Which values of an array a sample has, the same for every array of a size; None for all."""
    if size <= SAMPLE:
        return None
    return np.unique(np.random.default_rng(0).integers(0, size, SAMPLE))


@dataclass(frozen=True)
class Call:
    """A call of a layer in the reference.

    Attributes:
        path: the layer's name behind those of the models it stands in.
        class_name: the layer's class.
        outputs: what it gives.
        config: its config, as far as it is known.
        statistics: what moving statistics would be after a step of training; none where unknown.
    """

    path: str
    class_name: str
    outputs: tuple[Expected, ...]
    config: dict[str, Any] = field(default_factory=dict)
    statistics: tuple[Expected, ...] = ()

    def sampled(self) -> Call:
        outputs, statistics = (
            tuple(expected.sampled() for expected in group)
            for group in (self.outputs, self.statistics)
        )
        return Call(self.path, self.class_name, outputs, self.config, statistics)


class KerasReference:
    """A file that Keras itself runs, on TensorFlow, in a process of its own.

    Args:
        path: a whole model, or with `application` a file of weights.
        application: the name of a constructor in `keras.applications` and its arguments.

    Raises:
        KerasMissingError: Keras or TensorFlow is not installed.
        KerasProcessError: Keras does not open the file.
    """

    def __init__(self, path: Path, application: tuple[str, dict[str, Any]] | None = None):
        self._path, self._application = path, application
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), _keras_for(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=os.environ | _ENVIRONMENT,
        )
        self.outputs: list[np.ndarray] = []
        self.floatx: str | None = None
        self._open("float64")

    def __enter__(self) -> KerasReference:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            stream.close()

    def _open(self, floatx: str) -> None:
        if floatx == self.floatx:
            return
        path = str(self._path.resolve())
        if self._application is None:
            ((message, _),) = self._ask("open", path=path, floatx=floatx)
        else:
            name, arguments = self._application
            ((message, _),) = self._ask(
                "build", application=name, arguments=arguments, path=path, floatx=floatx
            )
        self.floatx = floatx
        self.versions: dict[str, str] = message["versions"]
        self.inputs = [InputSpec(tuple(shape), dtype) for shape, dtype in message["inputs"]]
        runs_on = " on ".join(_VERSION.format(*item) for item in self.versions.items())
        self.subject = Subject(
            self._path.name, runs_on, sha256_of(self._path), message["parameters"]
        )

    def run(self, arrays: Sequence[np.ndarray], floatx: str = "float64") -> Iterator[Call]:
        """The calls of the model's layers, as they are computed; then `outputs` are there."""
        self._open(floatx)
        arrays = [a.astype(floatx) if a.dtype.kind == "f" else a for a in arrays]
        for message, answered in self._ask("run", arrays):
            if "outputs" in message:
                self.outputs = answered
                continue
            expected = [Expected.of(array) for array in answered]
            count = len(expected) - message["statistics"]
            yield Call(
                message["path"],
                message["class_name"],
                tuple(expected[:count]),
                message["config"],
                tuple(expected[count:]),
            )

    def run_float32(self, arrays: Sequence[np.ndarray]) -> Iterator[Call]:
        """The same computed in float32."""
        yield from self.run(arrays, "float32")

    def weights(self, path: str) -> list[np.ndarray]:
        """The weights of the layer at a path, in Keras's order and layout."""
        ((_, arrays),) = self._ask("weights", path=path)
        return arrays

    def _ask(
        self, question: str, arrays: Sequence[np.ndarray] = (), **arguments: Any
    ) -> Iterator[tuple[dict[str, Any], list[np.ndarray]]]:
        try:
            send(self._process.stdin, {"question": question, **arguments}, arrays)
            while True:
                message, answered = receive(self._process.stdout)
                if "end" in message:
                    return
                if "error" in message:
                    raise KerasProcessError(f"Keras does not run the model: {message['error']}")
                yield message, answered
        except (EOFError, BrokenPipeError):
            raise KerasProcessError(
                f"The process that runs Keras ended: {self._last_words()}"
            ) from None

    def _last_words(self) -> str:
        self._process.wait()
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").strip()[-500:]


_ENVIRONMENT = {
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",  # its float32 kernels reorder sums
    "CUDA_VISIBLE_DEVICES": "",
}
_VERSION = "{} {}"


def _keras_for(path: Path) -> str:
    """The package that runs a file: the Keras that wrote it, as far as it is installed.

    Raises:
        KerasMissingError: there is none.
    """
    version = keras_files.read_keras_file(path).keras_version or ""
    wanted = ("tf_keras", "keras") if version.startswith("2.") else ("keras",)
    if importlib.util.find_spec("tensorflow"):
        for name in wanted:
            if importlib.util.find_spec(name):
                return name
    raise KerasMissingError(
        "Keras with TensorFlow is not installed: pip install 'kerastorch[verify]', or compare with "
        "another file or a stored reference."
    )


class RunReference:
    """A run whose outputs have been kept, of a model here or from a file.

    Args:
        subject: what was run.
        inputs: the arrays that it was given, in Keras's layout.
        calls: the calls of its layers, sampled.
        outputs: the model's outputs.
    """

    versions: dict[str, str] = {}

    def __init__(
        self,
        subject: Subject,
        arrays: Sequence[np.ndarray],
        calls: Sequence[Call],
        outputs: list[np.ndarray],
    ):
        self.subject = subject
        self.arrays = list(arrays)
        self.inputs = [InputSpec(array.shape, str(array.dtype)) for array in arrays]
        self.calls = tuple(calls)
        self.outputs = outputs

    def run(self, arrays: Sequence[np.ndarray]) -> Iterator[Call]:
        """The calls that have been kept."""
        yield from self.calls

    def run_float32(self, arrays: Sequence[np.ndarray]) -> Iterator[Call]:
        """None: only float64 is kept."""
        yield from ()

    def weights(self, path: str) -> None:
        """None: weights are not kept."""
