"""A layer that differs, and copies of it with something changed."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from ..reference import Call, Expected
from ..watching import Visit, to_array

Trial = tuple[str, Callable[[], Any]]


@dataclass(frozen=True)
class Case:
    """A layer that differs, and what is known of it.

    Attributes:
        visit: the call here.
        call: the call in the reference.
        data_format: of the model.
        peers: other layers of the model, by path.
        counterpart: the reference's layer as it is here, with its arguments and weights; None where
            they are not known.
    """

    visit: Visit
    call: Call
    data_format: str
    peers: Sequence[tuple[str, nn.Module]]
    counterpart: nn.Module | None

    @property
    def module(self) -> nn.Module:
        return self.visit.module

    @property
    def x(self) -> Any:
        """The layer's first argument."""
        return self.visit.arguments[0]

    @property
    def expected(self) -> Expected:
        return self.call.outputs[0]

    def run(self, module: nn.Module, *arguments: Any) -> Tensor:
        """The output of another module for other arguments, or the same."""
        return module(*(arguments or self.visit.arguments), **self.visit.keywords)

    def error_of_output(self, output: Tensor) -> float:
        return self.expected.error(to_array(output, self.data_format))

    def error_of_statistics(self, statistics: Sequence[np.ndarray]) -> float:
        pairs = zip(self.call.statistics, statistics, strict=True)
        return max(expected.error(array) for expected, array in pairs)


def twin(module: nn.Module, **attributes: Any) -> nn.Module:
    """A module that shares the tensors of another, without its hooks, with other attributes."""
    other = copy.copy(module)
    for name in ("_parameters", "_buffers"):
        other.__dict__[name] = dict(module.__dict__[name])
    for name in module.__dict__:
        if name.startswith(("_forward_hooks", "_forward_pre_hooks")):
            other.__dict__[name] = OrderedDict()
    other.__dict__["_modules"] = {name: twin(child) for name, child in module.named_children()}
    for name, value in attributes.items():
        setattr(other, name, value)
    return other


def with_tensor(module: nn.Module, key: str, value: Tensor | None) -> nn.Module:
    """The twin of a module with another tensor under a key of its `state_dict`."""
    other = twin(module)
    path, _, name = key.rpartition(".")
    owner = other.get_submodule(path)
    group = owner._buffers if name in owner._buffers else owner._parameters
    group[name] = None if value is None else value.detach()
    return other


def with_tensors(module: nn.Module, tensors: dict[str, Tensor]) -> nn.Module:
    for key, tensor in tensors.items():
        module = with_tensor(module, key, tensor)
    return module


def repeated(case: Case) -> Iterator[Trial]:
    """The layer unchanged, to tell what a change explains from what comes and goes."""
    yield (
        "Run once more, without its hooks, the layer agrees: a hook changes its output, or it is "
        "random or keeps a state.",
        lambda: case.run(twin(case.module)),
    )
