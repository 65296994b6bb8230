"""What a model is held against: a file that Keras runs, or a run that has been kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..convert.loading import sha256_of
from .keras_client import KerasProcess
from .verdict import Subject

SAMPLE = 4096  # values of an output that a stored run keeps


@dataclass(frozen=True)
class Expected:
    """An array that a layer gives in the reference, in Keras's layout, or a sample of its values.

    Attributes:
        shape: the shape of the whole array.
        largest: the largest absolute value in it that is finite.
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
        sizes = np.abs(flat.astype(np.float64, copy=False))
        return cls(array.shape, float(sizes.max(where=np.isfinite(sizes), initial=0.0)), flat)

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

    def error(self, array: np.ndarray, scale: float = 0.0) -> float:
        """The largest difference of another array, relative to the largest value here.

        Or relative to `scale` if that is larger.

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
        largest = max(self.largest, scale)
        return worst / largest if worst and largest else worst


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
        process: where it runs.
        path: a whole model, or with `application` a file of weights.
        application: the name of a constructor in `keras.applications` and its arguments.

    Raises:
        KerasProcessError: Keras does not open the file.
    """

    def __init__(
        self,
        process: KerasProcess,
        path: Path,
        application: tuple[str, dict[str, Any]] | None = None,
    ):
        self._process, self._path, self._application = process, path, application
        self.floatx: str | None = None
        self.outputs: list[np.ndarray] = []
        message = self._open("float64")
        self.layers: list[tuple[str, str]] = [tuple(pair) for pair in message["layers"]]
        self.versions: dict[str, str] = message["versions"]
        runs_on = " on ".join(f"{name} {version}" for name, version in self.versions.items())
        self.subject = Subject(path.name, runs_on, sha256_of(path), message["parameters"])

    def _open(self, floatx: str) -> dict[str, Any]:
        """Has Keras hold the model in a type of numbers; gives its description."""
        self.floatx = floatx
        where = {"path": str(self._path.resolve()), "floatx": floatx}
        if self._application is None:
            message, _ = self._process.ask("open", **where)
        else:
            name, arguments = self._application
            message, _ = self._process.ask("build", application=name, arguments=arguments, **where)
        return message

    def run(self, arrays: Sequence[np.ndarray], floatx: str = "float64") -> Iterator[Call]:
        """The calls of the model's layers, as they are computed; then `outputs` are there."""
        if floatx != self.floatx:
            self._open(floatx)
        arrays = [a.astype(floatx) if a.dtype.kind == "f" else a for a in arrays]
        for message, answered in self._process.stream("run", arrays):
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


class RunReference:
    """A run whose outputs have been kept, of a model here or from a file.

    Args:
        subject: what was run.
        arrays: the inputs that it was given, in Keras's layout.
        layers: the paths and classes of its layers, in Keras's order.
        calls: the calls of its layers, sampled.
        outputs: the model's outputs.
    """

    versions: dict[str, str] = {}

    def __init__(
        self,
        subject: Subject,
        arrays: Sequence[np.ndarray],
        layers: Sequence[tuple[str, str]],
        calls: Sequence[Call],
        outputs: list[np.ndarray],
    ):
        self.subject = subject
        self.arrays = list(arrays)
        self.calls = tuple(calls)
        self.layers = list(layers)
        self.outputs = outputs

    def run(self, arrays: Sequence[np.ndarray]) -> Iterator[Call]:
        """The calls that have been kept."""
        yield from self.calls

    def run_float32(self, arrays: Sequence[np.ndarray]) -> Iterator[Call]:
        """None: only float64 is kept."""
        yield from ()
