"""Nested inputs and outputs: a leaf, or lists, tuples and dicts of structures.

Dicts count in the order of their sorted keys, as in Keras.
"""

from collections.abc import Callable
from typing import Any


def flatten(structure: Any) -> list:
    """The leaves of a structure, in order."""
    if isinstance(structure, dict):
        return [leaf for key in sorted(structure) for leaf in flatten(structure[key])]
    if isinstance(structure, list | tuple):
        return [leaf for item in structure for leaf in flatten(item)]
    return [structure]


def map_structure(function: Callable[[Any], Any], structure: Any) -> Any:
    """The same structure with `function` applied to each leaf."""
    if isinstance(structure, dict):
        return {key: map_structure(function, structure[key]) for key in sorted(structure)}
    if isinstance(structure, list | tuple):
        return type(structure)([map_structure(function, item) for item in structure])
    return function(structure)
