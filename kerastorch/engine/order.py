"""Keras's order of the calls and layers of a graph.

`model.layers`, its indices and old weight files follow it: by depth, the farthest from the outputs
first, ties in the order of a depth-first search (`map_graph` in Keras's `ops/function.py`).
"""

from collections.abc import Mapping, Sequence

from torch import nn

from .symbol import Node, Symbol


def sort_graph(
    inputs: Sequence[Symbol], outputs: Sequence[Symbol], stand_ins: Mapping[Symbol, Symbol]
) -> tuple[list[Node], list[nn.Module]]:
    """The calls behind `outputs` in Keras's order of execution, and their modules in Keras's order.

    `stand_ins` says which inputs take the place of values inside the graph; the search goes no
    further there. Inputs that lead nowhere are included.
    """
    calls, first_seen = _post_order(outputs, stand_ins)
    node_depth: dict[Node, int] = {}
    module_depth: dict[nn.Module, int] = {}
    for node in reversed(calls):
        # A layer that is called several times counts with its deepest call.
        depth = max(node_depth.setdefault(node, 0), module_depth.get(node.module, 0))
        node_depth[node] = module_depth[node.module] = depth
        for parent in _parents(node, stand_ins):
            node_depth[parent] = max(depth + 1, node_depth.get(parent, 0))
    for node in (symbol.node for symbol in inputs):
        if node not in node_depth:
            node_depth[node] = module_depth[node.module] = 0
            first_seen[node.module] = -1
    execution = sorted(node_depth, key=lambda node: -node_depth[node])
    modules = sorted(module_depth, key=lambda module: (-module_depth[module], first_seen[module]))
    return execution, modules


def _parents(node: Node, stand_ins: Mapping[Symbol, Symbol]) -> list[Node]:
    return [stand_ins.get(symbol, symbol).node for symbol in node.inputs]


def _post_order(
    outputs: Sequence[Symbol], stand_ins: Mapping[Symbol, Symbol]
) -> tuple[list[Node], dict[nn.Module, int]]:
    """The calls as a depth-first search leaves them, and when it first meets each module.

    The search keeps its own stack: a deep model would exhaust Python's.
    """
    calls: list[Node] = []
    entered: set[Node] = set()
    first_seen: dict[nn.Module, int] = {}
    for output in outputs:
        pending = [(None, iter([stand_ins.get(output, output).node]))]
        while pending:
            node, parents = pending[-1]
            parent = next(parents, None)
            if parent is None:
                pending.pop()
                if node is not None:
                    calls.append(node)
            elif parent not in entered:
                entered.add(parent)
                first_seen.setdefault(parent.module, len(first_seen))
                pending.append((parent, iter(_parents(parent, stand_ins))))
    return calls, first_seen
