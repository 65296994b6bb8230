"""What a classifier gives: for how many classes, and logits or probabilities."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from . import activations
from .engine import Layer, Model
from .layers import Softmax


def number_of_classes(model: Model) -> int:
    """For how many classes the model gives scores.

    Raises:
        ValueError: its output is not one row of scores.
    """
    if len(model.outputs) != 1 or len(model.output_shape) != 2:
        raise ValueError(f"{model.name!r} gives {model.output_shape}, not one row of scores.")
    return model.output_shape[1]


def final_activation(model: Model) -> Callable | None:
    """`activations.softmax` or `activations.sigmoid` where the model ends with it, else None."""
    last = _last_layer(model)
    if isinstance(last, Softmax):
        return activations.softmax
    own = getattr(last, "activation", None)
    return own if isinstance(last, Layer) and own in activations.PROBABILITIES else None


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
    last, own = _last_layer(model), final_activation(model)
    if own is None:
        yield
    elif isinstance(last, Softmax):
        with last.register_forward_hook(lambda _, inputs, __: inputs[0]):
            yield
    else:
        last.activation = activations.linear
        try:
            yield
        finally:
            last.activation = own


def _last_layer(model: Model) -> nn.Module:
    last = model.outputs[0].node.module
    return _last_layer(last) if isinstance(last, Model) else last
