"""The steps of a model's plan, of which passes take some out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Set

from torch import nn

from ..engine import Model
from ..engine.layout import Shape
from ..engine.plan import Step
from ..engine.shortcuts import may_look
from ..engine.structure import flatten, map_structure


class Steps:
    """The steps of a model, for passes that go over them.

    Args:
        model: is changed by `apply`, and its layers by the passes.
        shared: the modules that several steps call or several modules have, of this model or of
            others, by their `id`. They stay as they are.
    """

    def __init__(self, model: Model, shared: Set[int]):
        self._model, self._shared = model, shared
        self._steps = {step.outputs: step for step in model._plan.steps}
        self._outputs = model._plan.outputs
        self._stand_ins: dict[int, int] = {}  # for the values of steps that are left out

    def __iter__(self) -> Iterator[Step]:
        """The steps that passes may take out, also meanwhile: no layers of users, none watched."""
        return iter([step for step in self._steps.values() if not may_look(self.module(step))])

    def module(self, step: Step) -> nn.Module:
        return self._model._modules[step.key]

    def is_alone(self, step: Step) -> bool:
        """Whether no other step calls the module of this one, which can then be changed for it."""
        return id(self.module(step)) not in self._shared

    def shape(self, slot: int) -> Shape:
        """Keras's shape of the value in a slot."""
        return self._model._plan.shapes[slot]

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
        return {
            step.outputs[0]: step
            for step in self
            if len(step.outputs) == 1 == users[step.outputs[0]] and self.is_alone(step)
        }

    def pairs(self) -> list[tuple[Step, Step]]:
        """The steps of one value whose module is called only here, each behind its maker."""
        makers = self.makers()
        return [
            (makers[taken[0]], step)
            for step in self
            if len(taken := self.taken(step)) == 1 and taken[0] in makers and self.is_alone(step)
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


def computes_by_plan(module: nn.Module) -> bool:
    """Whether a module is a model that runs its steps and does nothing else."""
    if not isinstance(module, Model) or "forward" in vars(module):
        return False
    return type(module).forward.__module__.startswith("kerastorch.")


def parts_in_evaluation(model: Model) -> Iterator[Model]:
    """A model and those within it, but for what users have made or call in training mode."""
    yield model
    trained = {step.key for step in model._plan.steps if step.training}
    for key, child in model._modules.items():
        if computes_by_plan(child) and key not in trained:
            yield from parts_in_evaluation(child)


def shared_modules(model: Model) -> set[int]:
    """The modules that several steps of a model and of those within it call, or several modules
    have, by their `id`."""
    parts = list(model.modules())
    calls = Counter(
        id(part._modules[step.key])
        for part in parts
        if isinstance(part, Model)
        for step in part._plan.steps
    )
    owners = Counter(child for part in parts for child in set(map(id, part._modules.values())))
    return {module for counts in (calls, owners) for module, count in counts.items() if count > 1}
