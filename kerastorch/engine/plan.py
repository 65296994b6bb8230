"""Plans: what `Model.forward` does, as plain data that is copied and pickled without the graph."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .layout import Shape
from .structure import flatten, map_structure
from .symbol import Node, Symbol


class Step(NamedTuple):
    """One call of a child.

    Attributes:
        key: the child's key.
        arguments: the positional arguments, each the slot of a value or a structure of slots.
        training: the mode that the call asked for, None where it follows the model's.
        outputs: the slots that the results go to.
        free: the slots whose values no later step needs.
    """

    key: str
    arguments: tuple
    training: bool | None
    outputs: tuple[int, ...]
    free: tuple[int, ...]


class Plan(NamedTuple):
    """What `Model.forward` does.

    Attributes:
        sources: key and slot of each input layer.
        steps: the calls, in Keras's order of execution.
        inputs: the structure of slots that the arguments of `forward` go to.
        outputs: the structure of slots that `forward` gives back.
        shapes: Keras's shape of the value in each slot.
    """

    sources: tuple[tuple[str, int], ...]
    steps: tuple[Step, ...]
    inputs: Any
    outputs: Any
    shapes: tuple[Shape, ...]


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
    last_use = {
        slots_of(symbol): position
        for position, node in enumerate(calls)
        for symbol in (*node.outputs, *node.inputs)
    }
    kept = set(flatten(slots_of(outputs)))
    free: dict[int, list[int]] = defaultdict(list)
    for slot, position in last_use.items():
        if slot not in kept:
            free[position].append(slot)
    steps = tuple(
        Step(
            keys[node.name],
            slots_of(node.arguments),
            node.training,
            tuple(slots[symbol] for symbol in node.outputs),
            tuple(free[position]),
        )
        for position, node in enumerate(calls)
    )
    sources = tuple((keys[node.name], slots[node.outputs[0]]) for node in nodes if node.is_input)
    shapes = tuple(symbol.shape for symbol in slots)
    return Plan(sources, steps, slots_of(inputs), slots_of(outputs), shapes)
