"""Models that are only run, by one backend or another."""

from __future__ import annotations

import threading
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..engine import Model
from ..engine.model import unpack_singleton
from ..engine.structure import flatten, map_structure
from .backends import Run, output_dtype, prepare
from .eager import EagerRun, RunPlan

if TYPE_CHECKING:
    from ..features import FeatureExtractor


_PREPARING = threading.RLock()  # one at a time: backends are timed meanwhile


class OptimizedModel(Model):
    """A model for inference; `optimize` makes it.

    It is a Model of the layers that are left, under Keras's names: `get_layer`, `feature_maps`,
    `predict` and `transforms` work. `forward` gives outputs in the type of its inputs, whatever it
    computes in, and in float32 for bytes (`torch.uint8`). Backends other than `"eager"` are
    prepared when inputs of a size first come, which may take a minute; copies and pickles are
    prepared anew.

    `"eager"` sees hooks, modules, weights and activations that come later, but not what is written
    into a weight's `data` after the first call, or other attributes of layers, such as strides; the
    other backends keep what they were prepared with. All are prepared anew when the model has been
    moved to another device or type.

    On the CPU, what is not a number in an image may become one in a fused ReLU, or spread to pixels
    around it.

    Attributes:
        backend: what runs it.
        winograd: see `optimize`.
    """

    backend = "eager"
    winograd = True

    @property
    def compute_dtype(self) -> torch.dtype | None:
        """What it computes in; None, the type of the inputs, where it has no weights."""
        return next((x.dtype for x in self.parameters()), None)

    def forward(self, inputs: Any, training: bool | None = None) -> Any:
        if training:
            raise ValueError(f"{self.name!r} is optimised: it only computes in evaluation mode.")
        values = [x.detach() for x in self._arrange(inputs)]
        if torch.compiler.is_compiling():
            outputs = self._run_steps(values)
        else:
            with torch.no_grad():
                outputs = self._run(values)
        outputs = iter(outputs)
        return unpack_singleton(map_structure(lambda _: next(outputs), self._plan.outputs))

    def _run(self, values: list[Tensor]) -> list[Tensor]:
        """The outputs, flat, by the backend."""
        if self.backend == "eager":
            return self._run_eagerly(values)
        key = tuple((tuple(x.shape), x.dtype, x.device) for x in values)
        # In the same mode whatever the caller's, and so that outputs may go into what is trained.
        with torch.inference_mode(False), torch.no_grad():
            run = self._runs.get(key) or self._prepared(key, values)
            return run(self, values)

    def _prepared(self, key: tuple, values: list[Tensor]) -> Run:
        with _PREPARING:
            if key not in self._runs:  # another thread may have seen to it
                self._runs[key] = prepare(self.backend, self, values)
            return self._runs[key]

    def _run_eagerly(self, values: list[Tensor]) -> list[Tensor]:
        """The outputs, flat, by PyTorch."""
        eager = self._runs.setdefault("eager", EagerRun())
        return self._cast_around(partial(eager, self, self._run_plan), values)

    def forget_eager(self) -> None:
        """Lets go what `_run_eagerly` has prepared, unless it runs inputs of another size."""
        if OptimizedModel._run_eagerly not in self._runs.values():
            self._runs.pop("eager", None)

    def _run_steps(self, values: list[Tensor]) -> list[Tensor]:
        """The outputs, flat, by the layers' own calls, which may become another engine's."""
        return self._cast_around(self._run_plan, values)

    def _run_plan(self, values: list[Tensor]) -> list[Tensor]:
        return flatten(super().forward(values))

    def _cast_around(self, run: RunPlan, values: list[Tensor]) -> list[Tensor]:
        dtype = self.compute_dtype
        given = run([_cast(x, dtype) for x in values])
        return [_cast(y, output_dtype(values)) for y in given]

    def _apply(self, *arguments: Any, **options: Any) -> OptimizedModel:
        self._runs = {}
        return super()._apply(*arguments, **options)

    def train(self, mode: bool = True) -> OptimizedModel:
        """Stays in evaluation mode, also where a module around it is trained."""
        return super().train(False)

    def feature_maps(self, *names: str, as_list: bool = False) -> FeatureExtractor:
        features = super().feature_maps(*names, as_list=as_list)
        become_optimized(features.body, self.backend, self.winograd)
        return features

    def save(self, filepath: str | PathLike) -> None:
        raise ValueError(
            f"{self.name!r} is optimised, which Keras has nothing for: save the model it is made "
            "from, and optimise that when it is loaded."
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_runs": {}}


def become_optimized(model: Model, backend: str, winograd: bool) -> None:
    """Turns a model, whose layers are as they should be, into one that a backend runs."""
    model.__class__ = OptimizedModel
    model.backend, model.winograd = backend, winograd
    model._runs = {}


def _cast(x: Tensor, dtype: torch.dtype | None) -> Tensor:
    is_number = x.is_floating_point() or x.dtype == torch.uint8  # others are indices
    return x.to(dtype) if dtype is not None and is_number else x
