"""Giving a model another classifier."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from . import layers
from .config import image_data_format
from .engine import Layer, Model, Symbol
from .engine.foreign import adapted_layer
from .engine.layout import split_shape
from .engine.symbol import Node
from .scores import final_activation

POOLING = {"avg": layers.GlobalAveragePooling2D, "max": layers.GlobalMaxPooling2D}
BEHIND = (layers.Activation, layers.Softmax, layers.Reshape, layers.Flatten, layers.Dropout)
TORCH_SCORES = (nn.Softmax, nn.LogSoftmax, nn.Sigmoid)


def reset_classifier(
    model: Model, classes: int, pooling: str | None = None, activation: Any = None
) -> None:
    """Puts a new classifier on a model, in place of its own if it has one.

    The layers before it stay as they are, and what stands behind it takes the new number of
    classes. The new one has the old one's name, or else `"predictions"`. Where a model within ends
    with the classifier, that model gets the new one.

    Args:
        model: a model of images that ends with a classifier or with features. What was built on
            its output before keeps the old classifier.
        classes: the number of classes.
        pooling: `"avg"` or `"max"`, to pool the last feature map in another way; None for the
            model's own, or `"avg"` where it ends with a map.
        activation: of the classifier, by name or as a function; None for logits.

    Raises:
        ValueError: for an unknown `pooling`, or one for a model that does not pool right before its
            classifier; for several outputs; and where the output may be scores already, though no
            Dense layer or convolution gives them. Then the model stays as it was.
    """
    if pooling not in (None, *POOLING):
        raise ValueError(f"pooling must be None, 'avg' or 'max'; got {pooling!r}")
    if len(model.outputs) != 1:
        raise ValueError(f"{model.name!r} has {len(model.outputs)} outputs; a classifier has one")
    (output,) = model.outputs
    calls = _calls_from_classifier(output)
    if calls:
        if pooling is not None and not isinstance(calls[0].module, Model):
            calls = _calls_from_pooling(calls, model)
        new = _again(calls, classes, pooling, activation)
    elif may_give_scores(model):
        raise ValueError(
            f"the output of {model.name!r} may be scores already, though no Dense layer or "
            f"convolution gives them: replace {output.node.name!r} or what is before it by hand"
        )
    else:
        new = _on_features(output, model, classes, pooling, activation)
    like, own = next(model.parameters(), torch.empty(())), set(model.modules())
    model._take_graph(model.input, new)
    for module in set(model.modules()) - own:
        module.to(device=like.device, dtype=like.dtype).train(model.training)


def classifier_input(model: Model) -> Symbol | None:
    """What a model's classifier takes: its last features. None where no layer of it is one."""
    calls = _calls_from_classifier(model.outputs[0]) if len(model.outputs) == 1 else []
    return calls[0].inputs[0] if calls and not isinstance(calls[0].module, Model) else None


def may_give_scores(model: Model) -> bool:
    """Whether a model's output is no features for sure.

    It is not behind a classifier or an activation that makes scores, also within a model at the
    end, nor where a module of torch with weights of its own gives a vector.
    """
    call = _calls_to_end(model.outputs[0])[0]
    if _is_classifier(call) or final_activation(model) is not None:
        return True
    if isinstance(call.module, Model):
        return may_give_scores(call.module)
    if isinstance(call.module, Layer) or call.outputs[0].ndim != 2:
        return False
    return isinstance(call.module, TORCH_SCORES) or any(True for _ in call.module.parameters())


def _calls_from_classifier(output: Symbol) -> list[Node]:
    """The call of the classifier and those behind it; none where there is none that is known."""
    calls = _calls_to_end(output)
    return calls if _is_classifier(calls[0]) else []


def _calls_to_end(output: Symbol) -> list[Node]:
    """The last call that may be of a classifier, and those behind it."""
    calls = [output.node]
    while isinstance(calls[0].module, BEHIND):
        calls.insert(0, calls[0].inputs[0].node)
    return calls


def _is_classifier(node: Node) -> bool:
    module = adapted_layer(node.module)
    if isinstance(module, Model):
        return len(module.outputs) == 1 and bool(_calls_from_classifier(module.outputs[0]))
    if isinstance(module, nn.Linear):
        return len(node.outputs[0].shape) == 2
    return isinstance(module, nn.Conv2d) and _is_pooled(node.inputs[0], module)


def _is_pooled(x: Symbol, layer: nn.Module) -> bool:
    """Whether a map has a single place."""
    data_format = layer.data_format if isinstance(layer, Layer) else image_data_format()
    return split_shape(x.shape, data_format)[0] == (1, 1)


def _calls_from_pooling(calls: list[Node], model: Model) -> list[Node]:
    while not isinstance(calls[0].module, tuple(POOLING.values())):
        before = calls[0].inputs[0].node
        if not isinstance(before.module, (*POOLING.values(), *BEHIND)):
            raise ValueError(
                f"{model.name!r} does not pool right before its classifier: pooling must be None"
            )
        calls = [before, *calls]
    return calls


def _again(calls: list[Node], classes: int, pooling: str | None, activation: Any) -> Symbol:
    """The calls on the same values with the layers of a new classifier."""
    arguments = calls[0].arguments
    has_activation = any(isinstance(c.module, layers.Activation | layers.Softmax) for c in calls)
    for call in calls:
        module, name = adapted_layer(call.module), call.name
        match module:
            case Model():
                module.reset_classifier(classes, pooling, None if has_activation else activation)
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
        asked = {} if call.training is None else {"training": call.training}
        arguments = (module(*arguments, **call.options, **asked),)
    return arguments[0]


def _on_features(
    x: Symbol, model: Model, classes: int, pooling: str | None, activation: Any
) -> Symbol:
    if len(x.shape) == 4:
        x = POOLING[pooling or "avg"]()(x)
    elif pooling is not None or len(x.shape) != 2:
        raise ValueError(f"{model.name!r} ends with features of shape {x.shape}, not with a map")
    return layers.Dense(classes, activation=activation, name="predictions")(x)
