"""The reference's own layer in the place of the model's: what its arguments and weights explain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from ...engine import Layer
from ...engine.layer import keras_class
from ..diffing import argument_changes
from .case import Case, Trial

# What says nothing of the numbers in inference.
_SILENT = ("name", "trainable", "dtype", "momentum", "synchronized")
_SILENT_ENDINGS = ("_initializer", "_regularizer", "_constraint")


def another_class(case: Case) -> Iterator[Trial]:
    """Another kind of layer."""
    theirs = case.counterpart
    if theirs is not None and _class_name(theirs) != _class_name(case.module):
        yield (
            f"The reference has a {_class_name(theirs)} here, this model a "
            f"{_class_name(case.module)}.",
            lambda: case.run(theirs),
        )


def arguments(case: Case) -> Iterator[Trial]:
    """Other arguments, or arguments and weights."""
    changes = argument_differences(case.module, case.counterpart)
    if changes:
        listed = ", ".join([*changes, *_differing_weights(case)])
        yield f"The reference differs in {listed}.", lambda: case.run(case.counterpart)


def weights(case: Case) -> Iterator[Trial]:
    """Other weights."""
    ours, theirs = case.module, case.counterpart
    is_alike = theirs is not None and _class_name(theirs) == _class_name(ours)
    differing = list(_differing_weights(case))
    if is_alike and differing and not argument_differences(ours, theirs):
        yield (
            f"The weights are not the reference's: {', '.join(differing)} differ.",
            lambda: case.run(case.counterpart),
        )


def _class_name(module: nn.Module) -> str:
    return keras_class(type(module)).__name__


def argument_differences(ours: nn.Module, theirs: nn.Module | None) -> list[str]:
    """The arguments that differ, with both values, where the classes do not.

    Those are left out that say nothing of the numbers in inference.
    """
    are_alike = isinstance(ours, Layer) and isinstance(theirs, Layer)
    if not are_alike or _class_name(ours) != _class_name(theirs):
        return []
    return [
        f"{change.what} ({change.b!r}, here {change.a!r})"
        for change in argument_changes(_telling(ours), _telling(theirs))
    ]


def _telling(layer: Layer) -> dict[str, Any]:
    return {
        name: value
        for name, value in layer.get_config().items()
        if name not in _SILENT and not name.endswith(_SILENT_ENDINGS)
    }


def _differing_weights(case: Case) -> Iterator[str]:
    if case.counterpart is None:
        return
    ours, theirs = case.module.state_dict(), case.counterpart.state_dict()
    for key, tensor in theirs.items():
        if key not in ours or ours[key].shape != tensor.shape:
            yield f"the shape of {key}"
        elif tensor.is_floating_point():
            yield from _counted(key, ours[key], tensor)


def _counted(key: str, ours: Tensor, theirs: Tensor) -> Iterator[str]:
    differing = int((ours != theirs).sum())
    if differing:
        yield f"{differing:,} of {theirs.numel():,} values of {key}"
