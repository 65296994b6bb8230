"""A model run beside a reference, layer by layer."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from ..engine import InputLayer, Model
from ..engine.layer import keras_class
from ..engine.structure import flatten
from .keras_client import KerasProcessError
from .reference import Call, Expected, RunReference
from .verdict import LayerResult, Subject
from .watching import Visit, places_of, run_watched, to_array, to_tensor

# TensorFlow computes these in float32 whatever it is asked for, which explains such a difference.
ROUNDED_CLASSES = ("CenterCrop", "Resize", "Resizing", "UpSampling2D")
ROUNDED_FUNCTIONS = "tf.image."
ROUNDING = 1e-6
BEHIND_ROUNDING = 1e-4  # where the reference's own values cannot take the place of ours

# Sums, in which values can cancel: what is left is to be measured by what goes in.
SUMS = (
    "Add", "Average", "AveragePooling1D", "AveragePooling2D", "GlobalAveragePooling1D",
    "GlobalAveragePooling2D", "Mean", "Subtract", "Sum",
)  # fmt: skip


@dataclass
class Comparison:
    """What came of running a model beside a reference in float64.

    Attributes:
        names: the reference's path for each of the model's.
        results: a result for each call of a layer that both ran, in the model's order.
        calls: the reference's calls, sampled, in its order.
        first: the result of the first layer that differs, its call, and the reference's.
        unmatched: the paths of layers that only one side ran.
        outputs: the model's outputs, in Keras's layout.
        rounded: the layers that the reference computes in float32.
        failure: why the model did not run to its end behind the first layer that differs.
    """

    names: dict[str, str]
    results: list[LayerResult] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    first: tuple[LayerResult, Visit, Call] | None = None
    unmatched: list[str] = field(default_factory=list)
    outputs: list[np.ndarray] = field(default_factory=list)
    rounded: list[str] = field(default_factory=list)
    failure: str | None = None


def compare(
    model: Model, names: dict[str, str], calls: Iterator[Call], arrays: list, tolerance: float
) -> Comparison:
    """Runs a model and takes the reference's calls as it goes, so that few values are kept.

    Args:
        model: the model, in float64 and in evaluation mode.
        names: the reference's path for each of the model's, see `pair_paths`.
        calls: the reference's calls for the same inputs.
        arrays: the inputs in Keras's layout.
        tolerance: the largest relative difference of layers that count as equal.
    """
    found = Comparison(names)
    waiting = _Waiting(calls, found.calls)
    allowed = None  # other than the tolerance, from some layer on

    def look(visit: Visit) -> list[Tensor] | None:
        nonlocal allowed
        call = waiting.take(names.get(visit.path, visit.path))
        if call is None:
            found.unmatched.append(f"{visit.path} (here)")
            return None
        error = error_of(visit, call, model.data_format)
        values = None
        own = allowed
        if tolerance < error <= ROUNDING and _is_rounded(call):
            found.rounded.append(visit.path)
            own = ROUNDING
            values = _values_of(call, model.data_format)
            allowed = BEHIND_ROUNDING if values is None else allowed
        found.results.append(_result(len(found.results) + 1, visit, call, error, own))
        if not error <= max(tolerance, own or 0) and found.first is None:
            found.first = (found.results[-1], visit, call)
        return values

    try:
        found.outputs = run_watched(model, arrays, look)
    except KerasProcessError:
        raise
    except Exception as error:  # of any kind, as the modules may be anybody's
        if found.first is None:
            raise
        found.failure = f"{type(error).__name__}: {error}"
        return found
    found.unmatched += [f"{path} (in the reference)" for path in waiting.rest()]
    return found


def _result(
    number: int, visit: Visit, call: Call, error: float, tolerance: float | None
) -> LayerResult:
    largest = max((expected.largest for expected in call.outputs), default=0.0)
    shape = call.outputs[0].shape if call.outputs else ()
    return LayerResult(
        number, visit.path, call.class_name, shape, largest, error, tolerance=tolerance
    )


def _is_rounded(call: Call) -> bool:
    """Whether a layer is of those that TensorFlow computes in float32, and what it gives is so."""
    name = call.path.rpartition("/")[2]
    is_known = call.class_name in ROUNDED_CLASSES or name.startswith(ROUNDED_FUNCTIONS)
    return is_known and all(
        np.array_equal(expected.values, expected.values.astype(np.float32), equal_nan=True)
        for expected in call.outputs
    )


def _values_of(call: Call, data_format: str) -> list[Tensor] | None:
    """The reference's own outputs, to go on with; None where only samples are known."""
    if any(expected.positions is not None for expected in call.outputs):
        return None
    return [
        to_tensor(expected.values.reshape(expected.shape), torch.float64, data_format)
        for expected in call.outputs
    ]


def pair_paths(model: Model, layers: Sequence[tuple[str, str]]) -> tuple[dict[str, str], bool]:
    """The reference's path for each of the model's, and whether the names told it.

    By name; but where the names differ and the classes in Keras's order of layers do not, as
    between two models of which the second continues the first's numbers, by order.

    Args:
        model: the model.
        layers: the paths and classes of the reference's layers, in its order.
    """
    ours = [(path, _class_of(module)) for path, module in places_of(model) if not _is_input(module)]
    theirs = [pair for pair in layers if pair[1] != "InputLayer"]
    names, other_names = [path for path, _ in ours], [path for path, _ in theirs]
    is_by_order = set(names) != set(other_names) and (
        [kind for _, kind in ours] == [kind for _, kind in theirs]
    )
    return dict(zip(names, other_names if is_by_order else names, strict=True)), not is_by_order


def _class_of(module: nn.Module) -> str:
    return getattr(module, "_class_in_keras", None) or keras_class(type(module)).__name__


def _is_input(module: nn.Module) -> bool:
    return isinstance(module, InputLayer)


class _Waiting:
    """The reference's calls, those that the model has not come to yet kept back.

    Args:
        calls: the calls.
        samples: gets a sample of each.
    """

    def __init__(self, calls: Iterator[Call], samples: list[Call]):
        self._calls, self._samples = calls, samples
        self._kept: dict[str, deque[Call]] = defaultdict(deque)

    def take(self, path: str) -> Call | None:
        """The next call of the layer at a path, None if there is no more.

        Those that were passed over on the way to another are kept as samples.
        """
        if self._kept[path]:
            return self._kept[path].popleft()
        for call in self._calls:
            self._samples.append(call.sampled())
            if call.path == path:
                return call
            self._kept[call.path].append(self._samples[-1])
        return None

    def rest(self) -> list[str]:
        """The paths of all calls that nobody has taken."""
        for call in self._calls:
            self._samples.append(call.sampled())
            self._kept[call.path].append(self._samples[-1])
        return [path for path, calls in self._kept.items() for _ in calls]


def error_of(visit: Visit, call: Call, data_format: str) -> float:
    """The error of a layer's outputs and of its moving statistics after a step of training."""
    error = error_of_outputs(visit, call, data_format)
    if call.statistics:
        statistics = moving_statistics(visit.module, visit.arguments[0]) or ()
        pairs = zip(call.statistics, statistics, strict=False)
        error = max([error, *(expected.error(array) for expected, array in pairs)])
    return error


def error_of_outputs(visit: Visit, call: Call, data_format: str) -> float:
    """The error of a layer's outputs alone; infinite where it gives other than tensors."""
    is_alike = len(visit.outputs) == len(call.outputs)
    if not is_alike or not all(isinstance(output, Tensor) for output in visit.outputs):
        return float("inf")
    scale = 0.0
    if call.class_name in SUMS:
        tensors = [x for x in flatten(list(visit.arguments)) if isinstance(x, Tensor)]
        scale = max((float(x.abs().max()) for x in tensors if x.numel()), default=0.0)
    return max(
        (
            expected.error(to_array(output, data_format), scale)
            for expected, output in zip(call.outputs, visit.outputs, strict=True)
        ),
        default=0.0,
    )


def moving_statistics(module: nn.Module, x: Tensor) -> tuple[np.ndarray, np.ndarray] | None:
    """What a batch normalisation's moving statistics would be after a step of training on `x`.

    None for modules that keep none, and where torch's own refuses the batch.
    """
    if getattr(module, "running_mean", None) is None:
        return None
    kept = {name: buffer.clone() for name, buffer in module.named_buffers()}
    training = module.training
    module.train()
    try:
        module.forward(x)  # past the hooks
        after = module.running_mean.cpu().numpy(), module.running_var.cpu().numpy()
        return tuple(statistic.copy() for statistic in after)
    except ValueError:  # one value for each channel
        return None
    finally:
        module.train(training)
        for name, buffer in module.named_buffers():
            buffer.copy_(kept[name])


def compare_float32(
    model: Model, float32_calls: Iterator[Call], arrays: list, found: Comparison
) -> list[LayerResult]:
    """The results with the errors of float32 runs, both against the reference's float64 one.

    Args:
        model: the model, in float32 and in evaluation mode.
        float32_calls: the reference's own calls in float32; empty where there are none.
        arrays: the inputs.
        found: the comparison in float64.
    """
    exact = _by_place(found.calls)
    theirs = {
        place: _error_of_samples(call, exact[place])
        for place, call in _by_place(call.sampled() for call in float32_calls).items()
        if place in exact
    }
    ours: dict[tuple[str, int], float] = {}
    counts: dict[str, int] = defaultdict(int)

    def look(visit: Visit) -> None:
        place = (visit.path, counts[visit.path])
        counts[visit.path] += 1
        call = exact.get((found.names.get(visit.path, visit.path), place[1]))
        if call is not None:
            ours[place] = error_of_outputs(visit, call, model.data_format)

    run_watched(model, arrays, look, torch.float32)
    counts.clear()
    results = []
    for result in found.results:
        place = (result.path, counts[result.path])
        counts[result.path] += 1
        reference = theirs.get((found.names.get(result.path, result.path), place[1]))
        results.append(replace(result, error_float32=ours.get(place), reference_float32=reference))
    return results


def _by_place(calls: Iterator[Call] | Sequence[Call]) -> dict[tuple[str, int], Call]:
    """The calls by path and number of the call of that layer."""
    counts: dict[str, int] = defaultdict(int)
    placed = {}
    for call in calls:
        placed[call.path, counts[call.path]] = call
        counts[call.path] += 1
    return placed


def _error_of_samples(call: Call, exact: Call) -> float:
    """The largest error of a layer's sampled outputs, as far as samples of both are known."""
    return max(
        (
            replace(expected, shape=ours.values.shape, positions=None).error(ours.values)
            for ours, expected in zip(call.outputs, exact.outputs, strict=False)
        ),
        default=0.0,
    )


def record(model: Model, arrays: list[np.ndarray], subject: Subject) -> RunReference:
    """A run of a model here, as a reference for others."""
    calls: list[Call] = []

    def look(visit: Visit) -> None:
        outputs = [to_array(output, model.data_format) for output in visit.outputs]
        statistics = moving_statistics(visit.module, visit.arguments[0]) or ()
        call = Call(
            visit.path,
            type(visit.module).__name__,
            tuple(map(Expected.of, outputs)),
            visit.module.get_config() if hasattr(visit.module, "get_config") else {},
            tuple(map(Expected.of, statistics)),
        )
        calls.append(call.sampled())

    outputs = run_watched(model, arrays, look)
    layers = [(path, _class_of(module)) for path, module in places_of(model)]
    return RunReference(subject, arrays, layers, calls, outputs)
