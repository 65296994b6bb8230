"""What eager execution leaves out where nobody can see it: copies of images and of dying values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.modules import module as nn_module

from .layer import Layer, is_ours

if TYPE_CHECKING:
    from .plan import Step


class Shortcuts:
    """The shortcuts of one run of a plan.

    A result may take the place of a value that no later call needs (`overwrite`, the value's
    position among the inputs), if the value is a tensor that only this run knows, and not the
    backward pass. Without gradients the zeros around an image may be left to the convolution or
    pooling that alone takes it (`postpone`, then `margins`). Layers say what they take part in.

    Args:
        children: the modules by key.
    """

    def __init__(self, children: Mapping[str, nn.Module]):
        self._children = children
        self._has_backward = torch.is_grad_enabled()
        self._own: set[int] = set()  # slots of tensors that only this run knows
        self._margins: dict[int, Any] = {}  # the zeros still to be put around the value in a slot

    def options(self, step: Step, module: nn.Module) -> dict[str, Any]:
        """The arguments that tell a module's `forward` what to leave out."""
        taken = step.taken
        if may_look(module):
            self._own.difference_update(taken)
            return {}
        options: dict[str, Any] = {}
        spares = self.own_spares(step)
        overwrites = module.takes_overwrite and bool(spares)
        if overwrites:
            options["overwrite"] = spares[0]
        if taken[0] in self._margins:
            options["margins"] = self._margins.pop(taken[0])
        if self._can_postpone(step, module):
            options["postpone"] = True
            self._margins[step.outputs[0]] = module.padding
        makes_new_tensor = overwrites or module.makes_new_tensor
        if self._has_backward or not makes_new_tensor:
            # The backward pass may need what it takes, and what it gives may be a view of that.
            self._own.difference_update(taken)
        if makes_new_tensor and not (self._has_backward and module.backward_takes_output):
            self._own.add(step.outputs[0])
        return options

    def own_spares(self, step: Step) -> list[int]:
        """The positions of the values that a call takes and that nobody else will ever see."""
        return [index for index in step.spares if step.taken[index] in self._own]

    def _can_postpone(self, step: Step, module: nn.Module) -> bool:
        if step.taker is None or not module.takes_postpone or self._has_backward:
            return False
        taker = self._children[step.taker]
        return not may_look(taker) and taker.takes_margins


def runs_eagerly() -> bool:
    """Whether each call computes, here and now, and nobody makes another program of the calls."""
    return not (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or torch._C._are_functorch_transforms_active()  # vmap adds nothing to an unbatched value
    )


def nobody_watches() -> bool:
    """Whether shortcuts are unseen: in eager execution without global hooks."""
    return runs_eagerly() and not (
        nn_module._global_forward_hooks
        or nn_module._global_forward_pre_hooks
        or nn_module._global_backward_hooks
        or nn_module._global_backward_pre_hooks
    )


def may_look(module: nn.Module) -> bool:
    """Whether somebody may see, in or around this module, what it takes and gives."""
    is_own = isinstance(module, Layer) and is_ours(type(module))
    return not is_own or "forward" in vars(module) or _has_hooks(module)


def _has_hooks(module: nn.Module) -> bool:
    if (
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    ):
        return True
    return any(map(_has_hooks, module.children()))
