"""Giving a model another classifier."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from . import layers
from .config import data_format_scope
from .engine import Layer, Model, Symbol
from .engine.foreign import adapted_layer
from .engine.layout import split_shape
from .engine.symbol import Node
from .scores import BEHIND, final_activation

POOLING = {"avg": layers.GlobalAveragePooling2D, "max": layers.GlobalMaxPooling2D}


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
    with data_format_scope(model.data_format):
        new = _output_with_classifier(model, classes, pooling, activation)
    like, own = next(model.parameters(), torch.empty(())), set(model.modules())
    model._take_graph(model.input, new)
    for module in set(model.modules()) - own:
        module.to(device=like.device, dtype=like.dtype).train(model.training)


def _output_with_classifier(
    model: Model, classes: int, pooling: str | None, activation: Any
) -> Symbol:
    calls = _calls_from_classifier(model)
    if calls:
        arguments = calls[0].arguments
        if pooling is not None and not isinstance(calls[0].module, Model):
            arguments = (_pooled_again(calls[0], model, pooling),)
        return _again(calls, arguments, classes, pooling, activation)
    (output,) = model.outputs
    if may_give_scores(model):
        raise ValueError(
            f"the output of {model.name!r} may be scores already, though no Dense layer or "
            f"convolution gives them: replace {output.node.name!r} or what is before it by hand"
        )
    return _on_features(output, model, classes, pooling, activation)


def classifier_input(model: Model) -> Symbol | None:
    """What a model's classifier takes: its last features. None where no layer of it is one."""
    calls = _calls_from_classifier(model)
    return calls[0].inputs[0] if calls and not isinstance(calls[0].module, Model) else None


def may_give_scores(model: Model) -> bool:
    """Whether a model's output is no features for sure.

    It is not behind a classifier or an activation that makes scores, also within a model at the
    end, nor where a module of torch with weights of its own gives a vector.
    """
    call = _calls_to_end(model.outputs[0])[0]
    if _is_classifier(call, model.data_format) or final_activation(model) is not None:
        return True
    if isinstance(call.module, Model):
        return may_give_scores(call.module)
    if isinstance(call.module, Layer) or call.outputs[0].ndim != 2:
        return False
    return isinstance(call.module, nn.LogSoftmax) or any(True for _ in call.module.parameters())


def _calls_from_classifier(model: Model) -> list[Node]:
    """The call of the classifier and those behind it; none where there is none that is known."""
    if len(model.outputs) != 1:
        return []
    calls = _calls_to_end(model.outputs[0])
    return calls if _is_classifier(calls[0], model.data_format) else []


def _calls_to_end(output: Symbol) -> list[Node]:
    """The last call that may be of a classifier, and those behind it."""
    calls = [output.node]
    while isinstance(calls[0].module, BEHIND):
        calls.insert(0, calls[0].inputs[0].node)
    return calls


def _is_classifier(node: Node, data_format: str) -> bool:
    module = adapted_layer(node.module)
    if isinstance(module, Model):
        return bool(_calls_from_classifier(module))
    if isinstance(module, nn.Linear):
        return len(node.outputs[0].shape) == 2
    if not isinstance(module, nn.Conv2d):
        return False
    own_format = getattr(module, "data_format", data_format)  # torch's have none
    return split_shape(node.inputs[0].shape, own_format)[0] == (1, 1)


def _pooled_again(classifier: Node, model: Model, pooling: str) -> Symbol:
    """What the classifier takes, pooled in another way."""
    calls = [classifier.inputs[0].node]
    while not isinstance(calls[0].module, tuple(POOLING.values())):
        if not isinstance(calls[0].module, BEHIND):
            raise ValueError(
                f"{model.name!r} does not pool right before its classifier: pooling must be None"
            )
        calls.insert(0, calls[0].inputs[0].node)
    first, *others = calls
    old = first.module
    x = POOLING[pooling](old.data_format, old.keepdims, name=first.name)(*first.arguments)
    for call in others:
        x = _repeat(call, call.module, (x,))
    return x


def _again(
    calls: list[Node], arguments: tuple, classes: int, pooling: str | None, activation: Any
) -> Symbol:
    """The calls, the first of them on these arguments, with the layers of a new classifier."""
    activations = [c for c in calls if isinstance(c.module, layers.Activation | layers.Softmax)]
    activated = (activations or calls)[0]
    for call in calls:
        module, name = adapted_layer(call.module), call.name
        own = activation if call is activated else None
        match module:
            case Model():
                module.reset_classifier(classes, pooling, own)
            case nn.Linear():
                module = layers.Dense(classes, activation=own, name=name)
            case nn.Conv2d():
                module = layers.Conv2D(classes, 1, padding="same", activation=own, name=name)
            case layers.Reshape():
                module = layers.Reshape((classes,), name=name)
            case layers.Activation() | layers.Softmax():
                module = layers.Activation(own, name=name)
        arguments = (_repeat(call, module, arguments),)
    return arguments[0]


def _repeat(call: Node, module: nn.Module, arguments: tuple) -> Any:
    """A call of another module on other arguments."""
    asked = {} if call.training is None else {"training": call.training}
    return module(*arguments, **call.options, **asked)


def _on_features(
    x: Symbol, model: Model, classes: int, pooling: str | None, activation: Any
) -> Symbol:
    if len(x.shape) == 4:
        x = POOLING[pooling or "avg"]()(x)
    elif pooling is not None or len(x.shape) != 2:
        raise ValueError(f"{model.name!r} ends with features of shape {x.shape}, not with a map")
    return layers.Dense(classes, activation=activation, name="predictions")(x)
