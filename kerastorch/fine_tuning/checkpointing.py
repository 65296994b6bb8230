"""Activation checkpointing: less memory in training, for some of the forward pass done twice."""

from __future__ import annotations

from itertools import accumulate, pairwise

from ..engine import Model
from ..engine.blocks import blocks
from ..engine.images import takes_one_image
from ..engine.plan import recompute


def checkpoint_blocks(model: Model, enabled: bool = True) -> None:
    """Lets a model keep, of each of its blocks, only what goes in until the backward pass.

        checkpoint_blocks(model)
        loss(model.train()(images)).backward()  # runs the blocks again, the last one first

    Outputs and gradients are the same to the bit: dropout drops the same again, and moving
    statistics and other buffers take the first run only. The last block, which the backward pass
    needs first, is kept. Forward hooks see both runs. Nothing changes without gradients, nor in
    what `torch.compile` and `torch.export` make of the model: compilers choose for themselves.

    Copies and pickles of the model do as it does; models cut from it, and itself after
    `reset_classifier`, do not.

    Args:
        model: a model with one image as input, or with such models within, which are then parted
            into blocks of their own; see `engine.blocks`.
        enabled: False to keep everything again.

    Raises:
        ValueError: there is no model with one image as input.
    """
    models = [part for part in model.modules() if isinstance(part, Model)]
    parted = [part for part in models if takes_one_image(part)]
    if not parted:
        raise ValueError(f"{model.name!r} and the models within have other inputs than one image.")
    for part in parted:
        part._plan = recompute(part._plan, _ranges(part) if enabled else [])


def _ranges(model: Model) -> list[range]:
    """The steps of each block but the last; blocks with models in them are left to these."""
    ends = accumulate((len(names) for names in blocks(model)), initial=0)
    *ranges, _ = [range(start, stop) for start, stop in pairwise(ends)]
    steps, children = model._plan.steps, model._modules
    return [
        steps_of_block
        for steps_of_block in ranges
        if not any(isinstance(children[steps[i].key], Model) for i in steps_of_block)
    ]
