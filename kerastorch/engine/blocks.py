"""Blocks: the stretches of a model between the places that all its values pass as one."""

from __future__ import annotations

from .images import example_shape
from .layout import split_shape
from .model import Model


def blocks(model: Model) -> list[list[str]]:
    """The layers of a model with one image as input in blocks, as papers draw them.

    A block ends where a single value is left: behind branches that come together, before the next
    branches, and before an image is made smaller. What has no weights belongs to the block before.

    Returns:
        The names of the layers in each block, in the order in which they run.

    Raises:
        ValueError: the model has other inputs than one image.
    """
    joined: list[list[str]] = []
    for keys in _between_single_values(model):
        if joined and not (_has_weights(model, keys) and _has_weights(model, joined[-1])):
            joined[-1].extend(keys)
        else:
            joined.append(keys)
    names = {key: name for name, key in model._keys.items()}
    return [[names[key] for key in keys] for keys in joined]


def _has_weights(model: Model, keys: list[str]) -> bool:
    return any(True for key in keys for _ in model._modules[key].parameters())


def _between_single_values(model: Model) -> list[list[str]]:
    """The children's keys, parted wherever a block may end."""
    areas = _areas(model)
    steps, alive = model._plan.steps, _numbers_of_values(model)
    parts: list[list[str]] = [[]]
    has_branches = False
    for position, step in enumerate(steps):
        parts[-1].append(step.key)
        has_branches = has_branches or alive[position] > 1
        if alive[position] > 1 or position + 1 == len(steps):
            continue
        following = steps[position + 1]
        is_smaller = areas[following.outputs[0]] < areas[step.outputs[0]]
        if has_branches or alive[position + 1] > 1 or is_smaller:
            parts.append([])
            has_branches = False
    return parts


def _numbers_of_values(model: Model) -> list[int]:
    """How many values later steps need, behind each step."""
    needed: set[int] = set()
    numbers = []
    for step in reversed(model._plan.steps):
        numbers.append(len(needed))
        needed = (needed - set(step.outputs)) | set(step.taken)
    return numbers[::-1]


def _areas(model: Model) -> list[int]:
    """How many places each value has; 1 where it is no image."""
    image = example_shape(model)
    shapes = list(model._plan.shapes)
    shapes[model._plan.sources[0][1]] = image
    model._fill_shapes(shapes)
    areas = []
    for shape in shapes:
        rows, columns = split_shape(shape, model.data_format)[0] if len(shape) == 4 else (1, 1)
        areas.append(rows * columns)
    return areas
