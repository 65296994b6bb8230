"""Passes over the calls of a program: kernels take over what is around them."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from .. import activations, layers
from ..engine.plan import Plan
from ..engine.shortcuts import may_look
from .kernels import AFTER_SUM, ATTRIBUTES, Convolution
from .passes import activation_of


@dataclass
class Call:
    """One call of a program.

    Attributes:
        function: takes tensors and gives one, or a list of several.
        taken: the slots of the tensors.
        given: the slots of the results.
        module: the layer that it is of.
        kernel: the convolution that the function is, if it may have a tail.
        overwritable: the slots of those tensors that only this call will ever see.
    """

    function: Callable[..., Any]
    taken: list[int]
    given: tuple[int, ...]
    module: nn.Module | None = None
    kernel: Convolution | None = None
    overwritable: tuple[int, ...] = ()


def move_averages(calls: list[Call], outputs: list[int], new_slots: Iterator[int]) -> list[Call]:
    """Takes averages over windows where there is less to compute.

    That is in front of a convolution by single pixels that fewer are then left for, as between
    DenseNet's blocks, or behind one that leaves fewer channels, as in Inception's. Both are linear,
    and the average of what a bias adds everywhere is the bias.
    """
    takers = _sole_takers(calls, outputs)
    moved: dict[tuple[int, ...], list[Call]] = {}  # what comes where a call was
    for first in calls:
        last = takers.get(first.given[0])
        if last is None or first.given in moved:
            continue
        if _is_pointwise(first) and _takes_tail(first) and _skips_pixels(last):
            between = next(new_slots)
            moved[first.given] = [Call(last.function, first.taken, (between,), last.module)]
            moved[last.given] = [replace(first, taken=[between], given=last.given)]
        elif _averages_all(first) and _is_pointwise(last) and last.kernel.saves_channels:
            convolved, averaged = next(new_slots), next(new_slots)
            activate = activations.in_place(last.kernel.activation)
            last.kernel.activation = activations.linear
            moved[first.given] = [replace(last, taken=first.taken, given=(convolved,))]
            moved[last.given] = [
                Call(first.function, [convolved], (averaged,), first.module),
                Call(activate, [averaged], last.given, overwritable=(averaged,)),
            ]
    return [one for call in calls for one in moved.get(call.given, [call])]


def _is_pointwise(call: Call) -> bool:
    return call.kernel is not None and call.kernel.is_pointwise


def _averages(call: Call) -> bool:
    return isinstance(call.module, layers.AveragePooling2D) and not may_look(call.module)


def _skips_pixels(call: Call) -> bool:
    return _averages(call) and call.module.strides != (1, 1)


def _averages_all(call: Call) -> bool:
    return _averages(call) and call.module.strides == (1, 1)


def fuse_sums(calls: list[Call], plan: Plan, outputs: list[int]) -> list[Call]:
    """Has convolutions add what an `Add` layer adds to their result."""
    users = _count_users(calls, outputs)
    made = {slot: position for position, call in enumerate(calls) for slot in call.given}
    fused: dict[int, Call | None] = dict(enumerate(calls))
    for position, call in enumerate(calls):
        if not _is_sum_of_two(call, plan):
            continue
        other, last = sorted(call.taken, key=lambda slot: made.get(slot, -1))
        maker = fused.get(made.get(last, -1))
        if maker is None or not _takes_tail(maker) or users[last] != 1 or len(maker.taken) != 1:
            continue
        within = calls[made[last] : position]
        is_own = other in call.overwritable and not any(other in one.taken for one in within)
        is_certain = len(plan.sources) == 1 and None not in plan.shapes[other][1:]
        overwrites = is_own and is_certain
        fused[made[last]] = Call(
            maker.kernel.onto if overwrites else maker.kernel.plus,
            [*maker.taken, other],
            call.given,
            kernel=maker.kernel,
            overwritable=(other,) if overwrites else (),
        )
        fused[position], made[call.given[0]] = None, made[last]
    return [call for call in fused.values() if call is not None]


def _is_sum_of_two(call: Call, plan: Plan) -> bool:
    if not isinstance(call.module, layers.Add) or may_look(call.module):
        return False
    shapes = [plan.shapes[slot] for slot in call.taken]
    return len(set(call.taken)) == 2 == len(call.taken) and shapes[0] == shapes[1]


def _takes_tail(call: Call) -> bool:
    return call.kernel is not None and call.kernel.activation is activations.linear


def activate_before_joining(
    calls: list[Call], outputs: list[int], new_slots: Iterator[int]
) -> list[Call]:
    """Applies the activation that alone takes what a `Concatenate` layer gives to the parts.

    What makes a part can often apply it too, and in NASNet's cells some parts have it for others.
    """
    takers = _sole_takers(calls, outputs)
    overwritten = {slot for call in calls for slot in call.overwritable}
    activated: dict[tuple[Callable, int], int] = {}  # what an activation gives for a slot
    merged: set[tuple[int, ...]] = set()
    kept = []
    for call in calls:
        if call.given in merged:
            continue
        taker = takers.get(call.given[0]) if is_join(call) else None
        if taker is not None and (function := _elementwise(taker)):
            for slot in call.taken:
                if (function, slot) not in activated:
                    activated[function, slot] = given = next(new_slots)
                    kept.append(_activation(taker.module, slot, given, slot in call.overwritable))
            parts = [activated[function, slot] for slot in call.taken]
            call = Call(call.function, parts, taker.given, call.module)
            merged.add(taker.given)
        elif (function := _elementwise(call)) and call.given[0] not in overwritten:
            activated[function, call.taken[0]] = call.given[0]
        kept.append(call)
    return kept


def _sole_takers(calls: list[Call], outputs: list[int]) -> dict[int, Call]:
    """The call that alone takes what is in a slot."""
    users = _count_users(calls, outputs)
    return {slot: call for call in calls for slot in call.taken if users[slot] == 1}


def is_join(call: Call) -> bool:
    return isinstance(call.module, layers.Concatenate) and not may_look(call.module)


def _elementwise(call: Call) -> Callable | None:
    """The activation function of each number that a call is, if it is one."""
    function = _activation_of(call)
    return function if function in activations.IN_PLACE else None


def _activation_of(call: Call) -> Callable | None:
    return None if may_look(call.module) else activation_of(call.module)


def _activation(layer: nn.Module, taken: int, given: int, overwrites: bool) -> Call:
    """The call of an activation layer, in the place of what it takes or not."""
    function = functools.partial(layer.forward, overwrite=0 if overwrites else None)
    return Call(function, [taken], (given,), layer, overwritable=(taken,) if overwrites else ())


def fuse_activations(calls: list[Call], outputs: list[int]) -> list[Call]:
    """Has kernels apply the activation layer that alone takes their result."""
    users = _count_users(calls, outputs)
    makers: dict[int, Call] = {}
    kept = []
    for call in calls:
        maker = makers.get(call.taken[0])
        if maker is not None and users[call.taken[0]] == 1 and _takes_tail(maker):
            function = _activation_of(call)
            if function in (AFTER_SUM if len(maker.taken) > 1 else ATTRIBUTES):
                maker.kernel.activation = function
                maker.given = call.given
                makers[call.given[0]] = maker
                continue
        kept.append(call)
        makers.update(dict.fromkeys(call.given, call))
    return kept


def _count_users(calls: list[Call], outputs: list[int]) -> Counter[int]:
    return Counter(outputs) + Counter(slot for call in calls for slot in call.taken)
