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
        self._steps = {step.outputs: step for step in model._plan.steps}
        self._outputs = model._plan.outputs
        self._stand_ins: dict[int, int] = {}  # for the values of steps that are left out

    def __iter__(self) -> Iterator[Step]:
        """The steps that passes may take out, also meanwhile: no layers of users, none watched."""
        return iter([step for step in self._steps.values() if not may_look(self.module(step))])

    def module(self, step: Step) -> nn.Module:
        return self._model._modules[step.key]

    def replace(self, step: Step, module: nn.Module) -> None:
        """Puts a module in the place of the one that a step calls."""
        self._model._modules[step.key] = module

    def taken(self, step: Step) -> list[int]:
        """The slots of the values that a step takes now, flat and in order."""
        return list(map(self._now, step.taken))

    def makers(self) -> dict[int, Step]:
        """The steps that make a value for one other step, by the value's slot.

        Nothing else takes the value, and the module is called only here, so that it can be changed
        for the other.
        """
        users = Counter(slot for step in self._steps.values() for slot in self.taken(step))
        users.update(map(self._now, flatten(self._outputs)))
        calls = Counter(step.key for step in self._steps.values())
        return {
            step.outputs[0]: step
            for step in self
            if len(step.outputs) == 1 == users[step.outputs[0]] and calls[step.key] == 1
        }

    def pairs(self) -> list[tuple[Step, Step]]:
        """The steps of one value whose module is called only here, each behind its maker."""
        makers = self.makers()
        calls = Counter(step.key for step in self._steps.values())
        return [
            (makers[taken[0]], step)
            for step in self
            if len(taken := self.taken(step)) == 1 and taken[0] in makers and calls[step.key] == 1
        ]

    def leave_out(self, step: Step, stand_in: int | None = None) -> None:
        """Takes out a step of one value.

        Args:
            stand_in: the slot whose value stands for its result from now on; None for what it
                takes.
        """
        del self._steps[step.outputs]
        (given,) = step.outputs
        self._stand_ins[given] = self.taken(step)[0] if stand_in is None else stand_in

    def apply(self) -> None:
        """Has the model run the steps that are left."""
        steps = [
            step._replace(arguments=map_structure(self._now, step.arguments))
            for step in self._steps.values()
        ]
        self._model._keep_steps(steps, map_structure(self._now, self._outputs))

    def _now(self, slot: int) -> int:
        """The slot that stands for a slot now."""
        while slot in self._stand_ins:
            slot = self._stand_ins[slot]
        return slot
