"""Normalisation: epsilon, and the moving statistics that a step of training leaves."""

from __future__ import annotations

from collections.abc import Iterator

from ...layers import BatchNormalization
from ..comparison import moving_statistics
from .case import Case, Trial, twin

EPSILONS = (1e-3, 1.001e-5, 1e-5, 1e-6, 1e-7, 1e-8, 1e-12, 1e-4, 1e-2, 0.0)


def epsilon(case: Case) -> Iterator[Trial]:
    own = getattr(case.module, "eps", None)
    if own is None:
        return
    for epsilon in dict.fromkeys([case.call.config.get("epsilon"), *EPSILONS]):
        if epsilon is not None and epsilon != own:
            other = twin(case.module, eps=epsilon)
            yield (
                f"The reference's epsilon is {epsilon:g}, this layer's {own:g}.",
                lambda other=other: case.run(other),
            )


MOMENTA = (0.99, 0.999, 0.9997, 0.9, 0.95, 0.997, 0.98)


def momentum(case: Case) -> Iterator[Trial]:
    own = 1 - case.module.momentum
    for momentum in dict.fromkeys([case.call.config.get("momentum"), *MOMENTA]):
        if momentum is not None and abs(momentum - own) > 1e-9:
            other = twin(case.module, momentum=1 - momentum)
            yield (
                f"The reference's momentum is {momentum:g} in Keras's sense, this layer's {own:g}.",
                lambda other=other: moving_statistics(other, case.x),
            )


def variance(case: Case) -> Iterator[Trial]:
    """Keras's moving variance takes the mean of the squares, torch's a little more."""
    own, x = case.module.momentum, case.x
    axes = [axis for axis in range(x.ndim) if axis != 1]
    for correction, name in ((0, "n"), (1, "n - 1")):
        batch = x.mean(axes), x.var(axes, correction=correction)
        kept = case.module.running_mean, case.module.running_var
        updated = [old + own * (new - old) for old, new in zip(kept, batch, strict=True)]
        yield (
            f"The reference's variance of a batch divides by {name}, this layer's does not.",
            lambda updated=updated: [statistic.cpu().numpy() for statistic in updated],
        )


def trainable(case: Case) -> Iterator[Trial]:
    kept = [case.module.running_mean, case.module.running_var]
    yield (
        "The reference's layer is frozen and keeps its moving statistics; this one is not.",
        lambda: [statistic.cpu().numpy() for statistic in kept],
    )
    if isinstance(case.module, BatchNormalization) and not case.module.trainable:
        other = twin(case.module, _trainable=True)
        yield (
            "This layer is frozen and keeps its moving statistics; the reference's is not.",
            lambda: moving_statistics(other, case.x),
        )
