"""A model's steps as a flat list of calls, with `kernels` in the place of convolutions."""

from __future__ import annotations

import functools
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .. import activations, layers
from ..engine import Model
from ..engine.layout import Shape, tensor_axis, tensor_shape
from ..engine.model import unpack_singleton
from ..engine.plan import Plan, Step
from ..engine.shortcuts import Shortcuts, may_look
from ..engine.structure import flatten, map_structure
from ..layers.activation import activate_own
from ..layers.padding import Margins
from .fusing import (
    Call,
    activate_before_joining,
    fuse_activations,
    fuse_sums,
    move_averages,
)
from .growing import grow_joined
from .kernels import (
    ATTRIBUTES,
    Affine,
    Convolution,
    Kernel,
    Product,
    convolution,
    dense,
)
from .passes import LINEAR, is_plain, linear_parts, normalized_axis, scale_and_shift


class Program:
    """What the plan of an optimised model does, for tensors on the CPU and without gradients.

    Layers of users, and those with hooks, are called as by the plan.

    Args:
        model: in evaluation mode. Later changes of it, also of its weights, are not seen.
        winograd: whether convolutions may have fewer multiplications for more memory.
    """

    def __init__(self, model: Model, winograd: bool):
        plan = model._plan
        self._inputs = flatten(plan.inputs)
        self._shapes = [tensor_shape(plan.shapes[slot], model.data_format) for slot in self._inputs]
        self._outputs = flatten(plan.outputs)
        new_slots = itertools.count(len(plan.shapes))
        calls = list(_calls(plan, model._modules, new_slots, winograd))
        for call in calls:
            if call.kernel is not None:
                call.kernel.may_take_winograd = winograd
        calls = move_averages(calls, self._outputs, new_slots)
        calls = fuse_sums(calls, plan, self._outputs)
        calls = activate_before_joining(calls, self._outputs, new_slots)
        calls = fuse_activations(calls, self._outputs)
        calls = grow_joined(calls, plan, self._outputs)
        self._calls = _with_slots_to_free(calls, self._outputs)
        self._slots = 1 + max([len(plan.shapes) - 1, *(max(call.given) for call in calls)])

    def fits(self, inputs: list[Tensor]) -> bool:
        """Whether inputs have the sizes of the model's, by which sums are fused."""
        return all(
            extent in (None, size)
            for shape, x in zip(self._shapes, inputs, strict=True)
            for extent, size in zip(shape, x.shape, strict=True)
        )

    def __call__(self, inputs: list[Tensor]) -> list[Tensor]:
        """The outputs, flat, of inputs in order."""
        values: list[Any] = [None] * self._slots
        for slot, value in zip(self._inputs, inputs, strict=True):
            is_image = value.ndim == 4
            values[slot] = value.to(memory_format=torch.channels_last) if is_image else value
        for function, taken, given, free in self._calls:
            result = function(*[values[slot] for slot in taken])
            if len(given) == 1:
                values[given[0]] = result
            else:
                for slot, value in zip(given, result, strict=True):
                    values[slot] = value
            for slot in free:
                values[slot] = None
        return [values[slot] for slot in self._outputs]


def _calls(
    plan: Plan, children: Mapping[str, nn.Module], new_slots: Iterator[int], winograd: bool
) -> Iterator[Call]:
    """The calls that do what each step does."""
    shortcuts = Shortcuts(children)
    for step in plan.steps:
        module = children[step.key]
        overwritable = tuple(step.taken[index] for index in shortcuts.own_spares(step))
        options = step.options | shortcuts.options(step, module)
        mode = step.training
        if mode is not None and getattr(module, "takes_training", False):
            options["training"] = mode
        kernels = [] if mode else _kernels_of(module, step, plan, options.get("margins"))
        if kernels:
            yield from _chain(kernels, module, step, new_slots)
        else:
            function = _function(module, step, options, winograd)
            yield Call(function, step.taken, step.outputs, module, overwritable=overwritable)


def _kernels_of(module: nn.Module, step: Step, plan: Plan, margins: Margins | None) -> list[Kernel]:
    """The kernels that do, one after another, what a layer does before its activation, if any."""
    if may_look(module):
        return []
    is_of_images = len(plan.shapes[step.outputs[0]]) == 4
    if isinstance(module, layers.BatchNormalization):
        if not is_of_images or normalized_axis(module, 4) != 1:
            return []
        return [Affine(*(x.to(module.running_mean) for x in scale_and_shift(module)))]
    if not isinstance(module, LINEAR) or not is_plain(module):
        return []
    if isinstance(module, layers.Dense):
        return _kernels_of_dense(module, plan.shapes[step.outputs[0]])
    first, *others = linear_parts(module)
    return [
        convolution(first, module.margins if margins is None else margins),
        *(convolution(part, None) for part in others),
    ]


def _kernels_of_dense(layer: layers.Dense, shape: Shape) -> list[Kernel]:
    """Those for vectors, and for images whose features are the channels."""
    if len(shape) == 2:
        return [Product(layer.weight, layer.bias)]
    is_of_channels = len(shape) == 4 and tensor_axis(-1, 4, layer.data_format) == 1
    return [dense(layer)] if is_of_channels else []


def _chain(
    kernels: list[Kernel], module: nn.Module, step: Step, new_slots: Iterator[int]
) -> Iterator[Call]:
    """The calls of a layer's kernels, each on the result before, and of its activation."""
    functions: list[Callable] = list(kernels)
    activation = getattr(module, "activation", activations.linear)
    if activation in ATTRIBUTES:
        kernels[-1].activation = activation
    else:
        functions.append(
            functools.partial(activate_own, activation, data_format=module.data_format)
        )
    (taken,) = step.taken
    for function in functions:
        given = step.outputs[0] if function is functions[-1] else next(new_slots)
        kernel = function if isinstance(function, Convolution) else None
        yield Call(function, [taken], (given,), module, kernel)
        taken = given


def _function(
    module: nn.Module, step: Step, options: Mapping[str, Any], winograd: bool
) -> Callable[..., Any]:
    """What calls a module with the tensors that a step takes, flat."""
    call = functools.partial(module if may_look(module) else module.forward, **options)
    if isinstance(module, Model) and not may_look(module) and not options.get("training"):
        call = _nested(module, call, winograd)
    if all(isinstance(argument, int) for argument in step.arguments):
        regular = call
    else:

        def regular(*inputs: Tensor) -> Any:
            leaves = iter(inputs)
            return call(*map_structure(lambda _: next(leaves), step.arguments))

    return regular if len(step.outputs) == 1 else lambda *inputs: flatten(regular(*inputs))


def _nested(model: Model, call: Callable[[Any], Any], winograd: bool) -> Callable[[Any], Any]:
    """What calls a model within by a program of its own, where its inputs fit."""
    program = Program(model, winograd)

    def run(inputs: Any) -> Any:
        values = model._arrange(inputs)
        if not program.fits(values):
            return call(inputs)
        outputs = iter(program(values))
        return unpack_singleton(map_structure(lambda _: next(outputs), model._plan.outputs))

    return run


def _with_slots_to_free(calls: list[Call], outputs: list[int]) -> list[tuple]:
    """What is called, and the slots that it takes, gives and, as the last to need them, frees."""
    last_use = {}
    for position, call in enumerate(calls):
        last_use.update(dict.fromkeys([*call.given, *call.taken], position))
    free: dict[int, list[int]] = defaultdict(list)
    for slot, position in last_use.items():
        if slot not in outputs:
            free[position].append(slot)
    return [
        (call.function, call.taken, call.given, free[position])
        for position, call in enumerate(calls)
    ]
