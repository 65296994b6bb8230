"""The steps of a model's plan, of which passes take some out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from torch import nn

from ..engine import Model
from ..engine.plan import Step
from ..engine.shortcuts import may_look
from ..engine.structure import flatten, map_structure


class Steps:
    """The steps of a model, for passes that go over them.

    Args:
        model: is changed by `apply`, and its layers by the passes.
    """

    def __init__(self, model: Model):
        self._model = model
        self._steps = list(model._plan.steps)
        self._outputs = model._plan.outputs

    def __iter__(self) -> Iterator[Step]:
        """The steps that passes may take out, also meanwhile: no layers of users, none watched."""
        return iter([step for step in self._steps if not may_look(self.module(step))])

    def module(self, step: Step) -> nn.Module:
        return self._model._modules[step.key]

    def pairs(self) -> list[tuple[Step, Step]]:
        """The steps that take one value, each with the step that makes it in front.

        Nothing else takes the value, and both modules are called only here, so that they can be
        changed for one another.
        """
        makers = {step.outputs: step for step in self}
        users = Counter(slot for step in self._steps for slot in step.taken)
        users.update(flatten(self._outputs))
        calls = Counter(step.key for step in self._steps)
        found = []
        for step in self:
            taken = step.taken
            maker = makers.get(tuple(taken))
            is_only = maker is not None and users[taken[0]] == 1
            if is_only and calls[step.key] == calls[maker.key] == 1:
                found.append((maker, step))
        return found

    def leave_out(self, step: Step) -> None:
        """Takes out a step of one value; from now on the value stands for its result."""
        # What it takes may have changed since, when a step before it was left out.
        (position,) = (i for i, now in enumerate(self._steps) if now.outputs == step.outputs)
        (taken,), (given,) = self._steps.pop(position).taken, step.outputs

        def renamed(slot: int) -> int:
            return taken if slot == given else slot

        self._steps = [
            other._replace(arguments=map_structure(renamed, other.arguments))
            for other in self._steps
        ]
        self._outputs = map_structure(renamed, self._outputs)

    def apply(self) -> None:
        """Has the model run the steps that are left."""
        self._model._keep_steps(self._steps, self._outputs)
