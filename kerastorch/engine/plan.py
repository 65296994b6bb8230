"""Plans: what `Model.forward` does, as plain data that is copied and pickled without the graph."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .layout import Shape
from .shortcuts import Shortcuts, nobody_watches, runs_eagerly
from .structure import flatten, map_structure
from .symbol import Node, Symbol


class Step(NamedTuple):
    """One call of a child.

    Attributes:
        key: the child's key.
        arguments: the positional arguments, each the slot of a value or a structure of slots.
        training: the mode that the call asked for, None where it follows the model's.
        options: the other keyword arguments.
        outputs: the slots that the results go to.
        free: the slots whose values no later step needs.
        spares: the positions of the values that the call takes once and no later step needs.
        taker: the key of the child that takes the result and nothing else, if it goes nowhere else.
    """

    key: str
    arguments: tuple
    training: bool | None
    options: dict[str, Any]
    outputs: tuple[int, ...]
    free: tuple[int, ...]
    spares: tuple[int, ...]
    taker: str | None

    @property
    def taken(self) -> list[int]:
        """The slots of the values that the call takes, flat and in order."""
        return flatten(list(self.arguments))


class Segment(NamedTuple):
    """Steps that the backward pass runs again, so that what is computed between is not kept.

    Attributes:
        start, stop: the range of steps.
        taken: the slots of values from before that they need.
        given: the slots of their results that later steps need, or the user.
    """

    start: int
    stop: int
    taken: tuple[int, ...]
    given: tuple[int, ...]


class Plan(NamedTuple):
    """What `Model.forward` does.

    Attributes:
        sources: key and slot of each input layer.
        steps: the calls, in Keras's order of execution.
        inputs: the structure of slots that the arguments of `forward` go to.
        outputs: the structure of slots that `forward` gives back.
        shapes: Keras's shape of the value in each slot.
        segments: what the backward pass runs again, in order.
    """

    sources: tuple[tuple[str, int], ...]
    steps: tuple[Step, ...]
    inputs: Any
    outputs: Any
    shapes: tuple[Shape, ...]
    segments: tuple[Segment, ...] = ()


def make_plan(
    nodes: Sequence[Node],
    keys: Mapping[str, str],
    inputs: Any,
    outputs: Any,
    slots: Mapping[Symbol, int],
    stand_ins: Mapping[Symbol, Symbol],
) -> Plan:
    """The plan of calls that are sorted already.

    Args:
        nodes: the calls, those of input layers among them.
        keys: the child key of each layer name.
        inputs, outputs: structures of the model's Symbols.
        slots: the slot of each Symbol that a call makes.
        stand_ins: the inputs that take the place of Symbols within the graph.
    """

    def slots_of(structure: Any) -> Any:
        return map_structure(lambda symbol: slots[stand_ins.get(symbol, symbol)], structure)

    calls = [node for node in nodes if not node.is_input]
    kept = set(flatten(slots_of(outputs)))
    takers: dict[int, list[tuple[Node, int]]] = defaultdict(list)  # with their inputs' number
    last_use: dict[int, int] = {}
    for position, node in enumerate(calls):
        last_use.update((slots[symbol], position) for symbol in node.outputs)
        taken = slots_of(node.inputs)
        for slot in taken:
            takers[slot].append((node, len(taken)))
            last_use[slot] = position
    free: dict[int, list[int]] = defaultdict(list)
    for slot, position in last_use.items():
        if slot not in kept:
            free[position].append(slot)

    def only_taker(result: int) -> str | None:
        if result in kept or len(takers[result]) != 1:
            return None
        ((node, inputs),) = takers[result]
        return keys[node.name] if inputs == 1 else None

    steps = []
    for position, node in enumerate(calls):
        taken = slots_of(node.inputs)
        uses, dying = Counter(taken), set(free[position])
        results = tuple(slots[symbol] for symbol in node.outputs)
        steps.append(
            Step(
                keys[node.name],
                slots_of(node.arguments),
                node.training,
                node.options,
                results,
                tuple(free[position]),
                spares=tuple(
                    index for index, slot in enumerate(taken) if slot in dying and uses[slot] == 1
                ),
                taker=only_taker(results[0]),
            )
        )
    sources = tuple((keys[node.name], slots[node.outputs[0]]) for node in nodes if node.is_input)
    shapes = tuple(symbol.shape for symbol in slots)
    return Plan(sources, tuple(steps), slots_of(inputs), slots_of(outputs), shapes)


def recompute(plan: Plan, ranges: Iterable[range]) -> Plan:
    """The plan with these ranges of steps, and no others, to be run again by the backward pass."""
    kept = set(flatten(plan.outputs))
    segments = []
    for steps in ranges:
        within = plan.steps[steps.start : steps.stop]
        made = {slot for step in within for slot in step.outputs}
        needed = kept.union(*(step.taken for step in plan.steps[steps.stop :]))
        taken = set().union(*(step.taken for step in within)) - made
        segments.append(
            Segment(steps.start, steps.stop, tuple(sorted(taken)), tuple(sorted(made & needed)))
        )
    return plan._replace(segments=tuple(segments))


def execute(
    plan: Plan,
    children: Mapping[str, nn.Module],
    values: list[Tensor | None],
    training: bool | None,
) -> None:
    """Computes the values of the steps' outputs from those of the inputs.

    Args:
        plan: the calls, in order.
        children: the modules by key.
        values: a value or None for each slot; filled, and emptied of what no later step needs.
        training: the mode for layers that take one; None for what the calls have asked for.
    """
    segments = plan.segments if torch.is_grad_enabled() and runs_eagerly() else ()
    position = 0
    for segment in segments:
        _run(plan.steps[position : segment.start], children, values, training)
        steps, position = plan.steps[segment.start : segment.stop], segment.stop
        _run_again_in_backward(steps, segment, children, values, training)
    _run(plan.steps[position:], children, values, training)


def _run(
    steps: Sequence[Step],
    children: Mapping[str, nn.Module],
    values: list[Tensor | None],
    training: bool | None,
) -> None:
    shortcuts = Shortcuts(children) if nobody_watches() else None
    for step in steps:
        module = children[step.key]
        arguments = [map_structure(values.__getitem__, argument) for argument in step.arguments]
        options = dict(step.options)
        if shortcuts is not None:
            options |= shortcuts.options(step, module)
        mode = step.training if training is None else training
        if mode is not None and getattr(module, "takes_training", False):
            options["training"] = mode
        result = module(*arguments, **options)
        if len(step.outputs) == 1:
            values[step.outputs[0]] = result
        else:
            for slot, value in zip(step.outputs, flatten(result), strict=True):
                values[slot] = value
        for slot in step.free:
            values[slot] = None


def _run_again_in_backward(
    steps: Sequence[Step],
    segment: Segment,
    children: Mapping[str, nn.Module],
    values: list[Tensor | None],
    training: bool | None,
) -> None:
    """Runs a segment's steps, and keeps none of what autograd wants of the values between."""
    count, is_first = len(values), True

    def compute(*taken: Any) -> list:
        nonlocal is_first
        own: list[Any] = [None] * count
        for slot, value in zip(segment.taken, taken, strict=True):
            own[slot] = value
        if is_first:
            is_first = False
            _run(steps, children, own, training)
        else:
            with _copies_of_buffers(children[step.key] for step in steps):
                _run(steps, children, own, training)
        return [own[slot] for slot in segment.given]

    taken = [values[slot] for slot in segment.taken]
    given = checkpoint(compute, *taken, use_reentrant=False)
    for step in steps:
        for slot in step.free:
            values[slot] = None
    for slot, value in zip(segment.given, given, strict=True):
        values[slot] = value


@contextmanager
def _copies_of_buffers(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Lets what modules write into their buffers, as moving statistics, be lost at the end."""
    owners = [part for module in modules for part in module.modules() if part._buffers]
    originals = [(owner, dict(owner._buffers)) for owner in owners]
    for owner, buffers in originals:
        copies = {name: x if x is None else x.clone() for name, x in buffers.items()}
        owner._buffers.update(copies)
    try:
        yield
    finally:
        for owner, buffers in originals:
            owner._buffers.update(buffers)
