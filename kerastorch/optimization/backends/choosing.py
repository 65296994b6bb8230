"""The fastest of the backends that are installed, whose outputs agree with PyTorch's own."""

from __future__ import annotations

import logging
import statistics
import time
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...extras import MissingExtraError
from . import BACKENDS, EXTRAS, Run, are_on_cpu, check_backend, prepare

if TYPE_CHECKING:
    from ..optimized import OptimizedModel

ROUNDS, CALLS = 3, 3  # of a round the first call does not count
REST = 0.05  # seconds ahead of a round: threads that wait for more work keep a core for a while
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 0.1, torch.float16: 0.02}  # of the largest value

logger = logging.getLogger(__name__)


def prepare_fastest(model: OptimizedModel, inputs: list[Tensor]) -> Run:
    """Runs each backend on the inputs, in turn, and keeps the one with the least median time.

    Each has some calls to itself at a time, as it will have later: the threads of another that has
    just been called would take part of its time.
    """
    runs: dict[str, Run] = {"eager": type(model)._run_eagerly}
    expected = model._run_eagerly(inputs)
    for name in _others(inputs):
        try:
            run = prepare(name, model, inputs)
            if _agree(run(model, inputs), expected, TOLERANCE.get(model.compute_dtype, 1e-5)):
                runs[name] = run
            else:
                logger.warning("%s gives other outputs for %s", name, model.name)
        except Exception as error:  # it is the others' turn then
            logger.warning("%s cannot run %s: %s", name, model.name, error)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            time.sleep(REST)
            run(model, inputs)
            times[name] += [_seconds(run, model, inputs) for _ in range(CALLS - 1)]
    medians = {name: statistics.median(found) for name, found in times.items()}
    fastest = min(medians, key=medians.__getitem__)
    logger.info("%s: %s, of %s", model.name, fastest, medians)
    if fastest != "eager":
        model.forget_eager()
    return runs[fastest]


def _seconds(run: Run, model: OptimizedModel, inputs: list[Tensor]) -> float:
    """What a call takes."""
    start = time.perf_counter()
    run(model, inputs)
    if inputs[0].is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _others(inputs: list[Tensor]) -> list[str]:
    """The backends to try beside PyTorch's own calls."""
    installed = []
    for name in BACKENDS:
        if name in ("eager", "auto") or (name in EXTRAS and not are_on_cpu(inputs)):
            continue
        try:
            check_backend(name)
        except MissingExtraError:
            continue
        installed.append(name)
    return installed


def _agree(given: list[Tensor], expected: list[Tensor], tolerance: float) -> bool:
    return all(
        bool((one - other).abs().max() <= tolerance * other.abs().max())
        for one, other in zip(given, expected, strict=True)
    )
