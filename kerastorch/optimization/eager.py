"""PyTorch itself as what runs an optimised model."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..engine.shortcuts import nobody_watches
from .kernels import has_exact_products, has_kernels
from .memory import give_back_memory
from .program import Program

if TYPE_CHECKING:
    from .optimized import OptimizedModel

RunPlan = Callable[[list[Tensor]], list[Tensor]]


class EagerRun:
    """Computes the outputs of a model, flat, from its inputs.

    The model has it, and is given with each call, so that both go with the last user.
    """

    def __init__(self):
        # In one piece, as threads may share the model.
        self._prepared: tuple[_Watch, Program | None] | None = None

    def __call__(
        self, model: OptimizedModel, run_plan: RunPlan, values: list[Tensor]
    ) -> list[Tensor]:
        """
        Args:
            model: the same one each time, in evaluation mode.
            run_plan: computes the outputs by the layers' own calls.
            values: the inputs.
        """
        if not _can_take_program(values):
            return run_plan(values)
        prepared = self._prepared
        if prepared is not None and not prepared[0].sees_a_change():
            _, program = prepared
            return _run(program, run_plan, values)
        watch = _Watch(model)
        program = Program(model, model.winograd) if watch.allows_program() else None
        self._prepared = watch, program
        outputs = _run(program, run_plan, values)
        give_back_memory()
        return outputs


def _run(program: Program | None, run_plan: RunPlan, values: list[Tensor]) -> list[Tensor]:
    fits = program is not None and program.fits(values)
    return program(values) if fits else run_plan(values)


def _can_take_program(values: list[Tensor]) -> bool:
    return (
        nobody_watches()
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and torch._C._get_mkldnn_enabled()
        and not torch._C._len_torch_dispatch_stack()  # as counters of operations have one
        and all(type(x) is Tensor and x.device.type == "cpu" for x in values)
    )


class _Watch:
    """Remembers a model's modules, weights, hooks and activations, and sees when they change, as
    also when products may be rounded from now on."""

    def __init__(self, model: nn.Module):
        modules = list(model.modules())
        self._children = [module._modules for module in modules if module._modules]
        self._tensors = [
            tensors
            for module in modules
            for tensors in (module._parameters, module._buffers)
            if tensors
        ]
        self._hooks = [
            hooks
            for module in modules
            for hooks in (module._forward_hooks, module._forward_pre_hooks)
        ]
        self._attributes = [vars(module) for module in modules[1:]]  # not what holds this
        self._state = self._look()

    def sees_a_change(self) -> bool:
        return self._look() != self._state

    def allows_program(self) -> bool:
        """Whether all computing is in one type, on the CPU, for which there are kernels."""
        floating = [x for x in self._all_tensors() if x.is_floating_point()]
        types = {x.dtype for x in floating}
        on_cpu = all(x.device.type == "cpu" and type(x.data) is Tensor for x in floating)
        return on_cpu and len(types) == 1 and has_kernels(*types)

    def _all_tensors(self) -> list[Tensor]:
        return [x for own in self._tensors for x in own.values() if x is not None]

    def _look(self) -> tuple:
        modules = [child for own in self._children for child in own.values()]
        weights = [(x.data_ptr(), _version(x)) for x in self._all_tensors()]
        ways = [(own.get("activation"), own.get("forward")) for own in self._attributes]
        return modules, weights, list(map(len, self._hooks)), ways, has_exact_products()


def _version(x: Tensor) -> int:
    """How often a tensor has been written to."""
    return -1 if x.is_inference() else x._version
