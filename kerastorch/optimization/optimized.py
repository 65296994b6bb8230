"""Models that are only run, by one backend or another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..engine import Model
from ..engine.model import unpack_singleton
from ..engine.structure import flatten, map_structure
from .backends import Run, prepare
from .eager import EagerRun

if TYPE_CHECKING:
    from ..features import FeatureExtractor


class OptimizedModel(Model):
    """A model for inference; `optimize` makes it.

    It is a Model of the layers that are left, under Keras's names: `get_layer`, `feature_maps`,
    `predict` and `transforms` work. `forward` gives outputs in the type of its inputs, whatever it
    computes in. Backends other than `"eager"` are prepared when inputs of a size first come, which
    may take a minute; copies and pickles are prepared anew.

    Attributes:
        backend: what runs it.
        compute_dtype: what it computes in; None, the type of the inputs, where it has no weights.
    """

    backend = "eager"
    compute_dtype: torch.dtype | None = None

    def forward(self, inputs: Any, training: bool | None = None) -> Any:
        if training:
            raise ValueError(f"{self.name!r} is optimised: it only computes in evaluation mode.")
        values = [x.detach() for x in self._arrange(inputs)]
        if torch.compiler.is_compiling():
            outputs = self._run_steps(values)
        elif self.backend == "eager":
            outputs = self._run_eagerly(values)
        else:
            with torch.inference_mode():
                outputs = self._prepared(values)(values)
        outputs = iter(outputs)
        return unpack_singleton(map_structure(lambda _: next(outputs), self._plan.outputs))

    def _run_eagerly(self, values: list[Tensor]) -> list[Tensor]:
        """The outputs, flat, by PyTorch."""
        eager = self._runs.setdefault("eager", EagerRun(self, self._run_plan))
        return self._cast_around(eager, values)

    def _run_steps(self, values: list[Tensor]) -> list[Tensor]:
        """The outputs, flat, by the layers' own calls, which may become another engine's."""
        return self._cast_around(self._run_plan, values)

    def _run_plan(self, values: list[Tensor]) -> list[Tensor]:
        return flatten(super().forward(values))

    def _cast_around(self, run: Run, values: list[Tensor]) -> list[Tensor]:
        given = run([_cast(x, self.compute_dtype) for x in values])
        return [_cast(y, values[0].dtype) for y in given]

    def _prepared(self, values: list[Tensor]) -> Run:
        key = tuple((tuple(x.shape), x.dtype, x.device) for x in values)
        if key not in self._runs:
            self._runs[key] = prepare(self.backend, self, values)
        return self._runs[key]

    def feature_maps(self, *names: str, as_list: bool = False) -> FeatureExtractor:
        features = super().feature_maps(*names, as_list=as_list)
        become_optimized(features.body, self.backend, self.compute_dtype)
        return features

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_runs": {}}


def become_optimized(model: Model, backend: str, dtype: torch.dtype | None) -> None:
    """Turns a model, whose layers are as they should be, into one that a backend runs."""
    model.__class__ = OptimizedModel
    model.backend = backend
    model.compute_dtype = dtype
    model._runs = {}


def _cast(x: Tensor, dtype: torch.dtype | None) -> Tensor:
    return x.to(dtype) if dtype is not None and x.is_floating_point() else x
