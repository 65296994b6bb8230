"""A bound on the graphs of the models that a file asks for, however few bytes it does so in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# How many more values there may be, in a list of one; None where anybody may have any number.
_left: ContextVar[list[int] | None] = ContextVar("values_left", default=None)


@contextmanager
def at_most(values: int) -> Iterator[None]:
    """Lets models be made in a `with` block for as long as their values are not more than this.

    What a model within gives is counted anew, with all that it takes, at each call of the model.
    """
    token = _left.set([values])
    try:
        yield
    finally:
        _left.reset(token)


def spend(values: int) -> None:
    """Counts values of a graph.

    Raises:
        ValueError: they are more than there may be.
    """
    left = _left.get()
    if left is None:
        return
    left[0] -= values
    if left[0] < 0:
        raise ValueError("The graphs of the models have too many values.")
