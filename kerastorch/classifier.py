"""Giving a model another classifier."""

from __future__ import annotations

from typing import Any

from torch import nn

from . import layers
from .engine import Model, Symbol
from .engine.layout import split_shape
from .engine.symbol import Node

POOLING = {"avg": layers.GlobalAveragePooling2D, "max": layers.GlobalMaxPooling2D}
BEHIND = (layers.Activation, layers.Softmax, layers.Reshape, layers.Flatten, layers.Dropout)


def reset_classifier(
    model: Model, classes: int, pooling: str | None = None, activation: Any = None
) -> None:
    """Puts a new classifier on a model, in place of its own if it has one.

    The layers before it stay as they are, and what stands behind it takes the new number of
    classes. The new one has the old one's name, or else `"predictions"`.

    Args:
        model: a model of images that ends with a classifier or with features. What was built on
            its output before keeps the old classifier.
        classes: the number of classes.
        pooling: `"avg"` or `"max"`, to pool the last feature map in another way; None for the
            model's own, or `"avg"` where it ends with a map.
        activation: of the classifier, by name or as a function; None for logits.

    Raises:
        ValueError: for an unknown `pooling`, or one for a model that does not pool before its
            classifier, and for several outputs.
    """
    if pooling not in (None, *POOLING):
        raise ValueError(f"pooling must be None, 'avg' or 'max'; got {pooling!r}")
    if len(model.outputs) != 1:
        raise ValueError(f"{model.name!r} has {len(model.outputs)} outputs; a classifier has one")
    (output,) = model.outputs
    calls = _calls_from_classifier(output)
    if calls:
        if pooling is not None:
            calls = _calls_from_pooling(calls, model)
        new = _again(calls, classes, pooling, activation)
    else:
        new = _on_features(output, model, classes, pooling, activation)
    inputs, like, own = model.input, next(model.parameters()), set(model.modules())
    model._modules.clear()
    model._take_graph(inputs, new)
    for module in set(model.modules()) - own:
        module.to(device=like.device, dtype=like.dtype).train(model.training)


def classifier_input(model: Model) -> Symbol | None:
    """What a model's classifier takes: its last features. None where it ends with them."""
    calls = _calls_from_classifier(model.outputs[0]) if len(model.outputs) == 1 else []
    return calls[0].inputs[0] if calls else None


def _calls_from_classifier(output: Symbol) -> list[Node]:
    """The call of the classifier and those behind it; none where a model ends with features."""
    calls = [output.node]
    while isinstance(calls[0].module, BEHIND):
        calls.insert(0, calls[0].inputs[0].node)
    return calls if _is_classifier(calls[0]) else []


def _is_classifier(node: Node) -> bool:
    if isinstance(node.module, nn.Linear):
        return len(node.outputs[0].shape) == 2
    return isinstance(node.module, nn.Conv2d) and _is_pooled(node.inputs[0], node.module)


def _is_pooled(x: Symbol, layer: nn.Module) -> bool:
    """Whether a map has a single place."""
    return split_shape(x.shape, layer.data_format)[0] == (1, 1)


def _calls_from_pooling(calls: list[Node], model: Model) -> list[Node]:
    while not isinstance(calls[0].module, tuple(POOLING.values())):
        before = calls[0].inputs[0].node
        if not isinstance(before.module, (*POOLING.values(), *BEHIND)):
            raise ValueError(
                f"{model.name!r} does not pool before its classifier: pooling must be None"
            )
        calls = [before, *calls]
    return calls


def _again(calls: list[Node], classes: int, pooling: str | None, activation: Any) -> Symbol:
    """The calls on the same value with the layers of a new classifier."""
    x = calls[0].inputs[0]
    has_activation = any(isinstance(c.module, layers.Activation | layers.Softmax) for c in calls)
    for call in calls:
        module, name = call.module, call.name
        match module:
            case nn.Linear():
                own = None if has_activation else activation
                module = layers.Dense(classes, activation=own, name=name)
            case nn.Conv2d():
                module = layers.Conv2D(classes, 1, padding="same", name=name)
            case layers.Reshape():
                module = layers.Reshape((classes,), name=name)
            case layers.Activation() | layers.Softmax():
                module = layers.Activation(activation, name=name)
            case layers.GlobalAveragePooling2D() | layers.GlobalMaxPooling2D():
                module = POOLING[pooling](keepdims=module.keepdims, name=name)
        x = module(x)
    return x


def _on_features(
    x: Symbol, model: Model, classes: int, pooling: str | None, activation: Any
) -> Symbol:
    if len(x.shape) == 4:
        x = POOLING[pooling or "avg"]()(x)
    elif pooling is not None or len(x.shape) != 2:
        raise ValueError(f"{model.name!r} ends with features of shape {x.shape}, not with a map")
    return layers.Dense(classes, activation=activation, name="predictions")(x)
