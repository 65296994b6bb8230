"""A model run beside a reference, layer by layer."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from ..engine import Model
from ..layers import BatchNormalization
from .reference import Call, RunReference, Subject
from .verdict import LayerResult
from .watching import Visit, run_watched, to_array

# Relative differences that float32 explains: in a layer, and in all behind it.
ROUNDING = 1e-6
BEHIND_ROUNDING = 1e-4


def is_rounded(call: Call) -> bool:
    """Whether all that a layer gives is exact in float32, as TensorFlow resizes images."""
    return all(
        np.array_equal(expected.values, expected.values.astype(np.float32), equal_nan=True)
        for expected in call.outputs
    )


@dataclass
class Comparison:
    """What came of running a model beside a reference in float64.

    Attributes:
        results: a result for each call of a layer that both ran, in the model's order.
        calls: the reference's calls, sampled, in its order.
        first: the result of the first layer that differs, its call, and the reference's.
        unmatched: the paths of layers that only one side ran.
        outputs: the model's outputs, in Keras's layout.
        rounded: the first layer that the reference computes in float32, whatever it is asked for.
        failure: why the model did not run to its end behind the first layer that differs.
    """

    results: list[LayerResult] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    first: tuple[LayerResult, Visit, Call] | None = None
    unmatched: list[str] = field(default_factory=list)
    outputs: list[np.ndarray] = field(default_factory=list)
    rounded: str | None = None
    failure: str | None = None


def compare(model: Model, calls: Iterator[Call], arrays: list, tolerance: float) -> Comparison:
    """Runs a model and takes the reference's calls as it goes, so that few values are kept.

    Args:
        model: the model, in float64 and in evaluation mode.
        calls: the reference's calls for the same inputs.
        arrays: the inputs in Keras's layout.
        tolerance: the largest relative difference of layers that count as equal.
    """
    found = Comparison()
    waiting = _Waiting(calls, found.calls)

    def look(visit: Visit) -> None:
        call = waiting.take(visit.path)
        if call is None:
            found.unmatched.append(f"{visit.path} (here)")
            return
        error = error_of(visit, call, model.data_format)
        number = len(found.results) + 1
        largest = max((expected.largest for expected in call.outputs), default=0.0)
        shape = call.outputs[0].shape if call.outputs else ()
        if found.rounded is None and tolerance < error <= ROUNDING and is_rounded(call):
            found.rounded = visit.path
        own = None if found.rounded is None else max(tolerance, BEHIND_ROUNDING)
        result = LayerResult(
            number, visit.path, call.class_name, shape, largest, error, tolerance=own
        )
        found.results.append(result)
        allowed = tolerance if own is None else own
        if not error <= allowed and found.first is None:
            found.first = (result, visit, call)

    try:
        found.outputs = run_watched(model, arrays, look)
    except (RuntimeError, ValueError) as error:
        if found.first is None:
            raise
        found.failure = str(error)
        return found
    found.unmatched += [f"{path} (in the reference)" for path in waiting.rest()]
    return found


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
        """The next call of the layer at a path, None if there is no more."""
        if self._kept[path]:
            return self._kept[path].popleft()
        for call in self._calls:
            self._samples.append(call.sampled())
            if call.path == path:
                return call
            self._kept[call.path].append(call.sampled())
        return None

    def rest(self) -> list[str]:
        """The paths of all calls that nobody has taken."""
        for call in self._calls:
            self._samples.append(call.sampled())
            self._kept[call.path].append(self._samples[-1])
        return [path for path, calls in self._kept.items() for _ in calls]


def error_of(visit: Visit, call: Call, data_format: str) -> float:
    """The error of a layer's outputs and of its moving statistics after a step of training."""
    if len(visit.outputs) != len(call.outputs):
        return float("inf")
    arrays = [to_array(output, data_format) for output in visit.outputs]
    pairs = list(zip(call.outputs, arrays, strict=True))
    if call.statistics:
        statistics = moving_statistics(visit.module, visit.arguments[0]) or ()
        pairs += zip(call.statistics, statistics, strict=False)
    return max((expected.error(array) for expected, array in pairs), default=0.0)


def moving_statistics(module: nn.Module, x: Tensor) -> tuple[np.ndarray, np.ndarray] | None:
    """What a batch normalisation's moving statistics would be after a step of training on `x`.

    None for other modules, and where torch's own refuses the batch.
    """
    if not isinstance(module, BatchNormalization | nn.modules.batchnorm._BatchNorm):
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
        place: _float32_error(
            [expected.values for expected in call.outputs], exact[place], sampled=True
        )
        for place, call in _by_place(call.sampled() for call in float32_calls).items()
        if place in exact
    }
    ours: dict[tuple[str, int], float] = {}
    counts: dict[str, int] = defaultdict(int)

    def look(visit: Visit) -> None:
        place = (visit.path, counts[visit.path])
        counts[visit.path] += 1
        if place in exact:
            outputs = [to_array(output, model.data_format) for output in visit.outputs]
            ours[place] = _float32_error(outputs, exact[place])

    run_watched(model, arrays, look, torch.float32)
    counts.clear()
    results = []
    for result in found.results:
        place = (result.path, counts[result.path])
        counts[result.path] += 1
        results.append(
            replace(result, error_float32=ours.get(place), reference_float32=theirs.get(place))
        )
    return results


def _by_place(calls: Iterator[Call] | Sequence[Call]) -> dict[tuple[str, int], Call]:
    """The calls by path and number of the call of that layer."""
    counts: dict[str, int] = defaultdict(int)
    placed = {}
    for call in calls:
        placed[call.path, counts[call.path]] = call
        counts[call.path] += 1
    return placed


def _float32_error(arrays: list[np.ndarray], exact: Call, sampled: bool = False) -> float:
    """The largest error of a layer's outputs; if `sampled`, of a sample like the exact one."""
    errors = []
    for array, expected in zip(arrays, exact.outputs, strict=False):
        if sampled:
            expected = replace(expected, shape=array.shape, positions=None)
        errors.append(expected.error(array))
    return max(errors, default=0.0)


def record(model: Model, arrays: list[np.ndarray], subject: Subject) -> RunReference:
    """A run of a model here, as a reference for others."""
    from .reference import Expected

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
    return RunReference(subject, arrays, calls, outputs)
