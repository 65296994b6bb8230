"""What a classifier gives: for how many classes, and logits or probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from . import activations, layers, ops
from .engine import Layer, Model, Symbol

# What may stand behind a classifier, where it makes scores of logits or hands them on.
BEHIND = (
    layers.Activation,
    layers.Softmax,
    layers.Reshape,
    layers.Flatten,
    layers.Dropout,
    layers.Identity,
)

# What does by itself what an activation does.
_AS_MODULES = {
    layers.Softmax: activations.softmax,
    ops.Softmax: activations.softmax,
    ops.Sigmoid: activations.sigmoid,
    nn.Softmax: activations.softmax,
    nn.Sigmoid: activations.sigmoid,
}


def number_of_classes(model: Model) -> int:
    """For how many classes the model gives scores.

    Raises:
        ValueError: its output is not one row of scores.
    """
    if len(model.outputs) != 1 or len(model.output_shape) != 2:
        raise ValueError(f"{model.name!r} gives {model.output_shape}, not one row of scores.")
    return model.output_shape[1]


def number_of_told_classes(model: Model) -> int:
    """How many classes a model tells apart; a single score tells two.

    Raises:
        ValueError: its output is not one row of scores.
    """
    return max(2, number_of_classes(model))


def final_activation(model: Model) -> Callable | None:
    """`activations.softmax` or `activations.sigmoid` where the model ends with it, else None."""
    end = _end(model)
    own = _activation_of(end.node.module)
    if own is activations.softmax and sum(size != 1 for size in end.shape[1:]) > 1:
        return None  # it is of the channels at each of several places
    return own if own in activations.PROBABILITIES else None


def probabilities(model: Model, outputs: Tensor) -> Tensor:
    """A score for each class: the model's outputs, or what they stand for where they are logits.

    A single output is the score of the second of two classes.

    Args:
        model: gives one row of scores.
        outputs: of the model, `(batch, scores)`.

    Returns:
        `(batch, classes)`.
    """
    is_logits = final_activation(model) is None
    if outputs.shape[1] == 1:
        second = outputs.sigmoid() if is_logits else outputs
        return torch.cat([1 - second, second], dim=1)
    return outputs.softmax(1) if is_logits else outputs


@contextmanager
def logits(model: Model) -> Iterator[None]:
    """Lets the model leave out the softmax or sigmoid at its end, for a `with` block."""
    own, module = final_activation(model), _end(model).node.module
    if own is None:
        yield
    elif type(module) in _AS_MODULES:
        with module.register_forward_hook(lambda _, inputs, __: inputs[0]):
            yield
    else:
        module.activation = activations.linear
        try:
            yield
        finally:
            module.activation = own


def _end(model: Model) -> Symbol:
    """The model's output, before the layers that only hand it on."""
    value = model.outputs[0]
    while True:
        module = value.node.module
        if isinstance(module, Model):
            value = module.outputs[value.index]
        elif isinstance(module, BEHIND) and _activation_of(module) is None:
            value = value.node.inputs[0]
        else:
            return value


def _activation_of(module: nn.Module) -> Callable | None:
    """The function that a module ends with, if it is not linear."""
    if type(module) in _AS_MODULES:
        return _AS_MODULES[type(module)]
    own = getattr(module, "activation", None) if isinstance(module, Layer) else None
    return None if own is activations.linear else own
