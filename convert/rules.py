"""How each layer's arrays lie in Keras and in torch: one table, both directions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from kerastorch.engine.layer import Layer, is_ours, keras_class, stored_tensors
from kerastorch.engine.layout import from_keras_layout, to_keras_layout


class Rule(NamedTuple):
    """One array of a layer.

    Attributes:
        key: the tensor's key in the layer's `state_dict`.
        name: Keras's name for the array.
        to_torch: turns Keras's array into the tensor's layout; a view.
        to_keras: turns the layer's tensor into Keras's layout; a view.
    """

    key: str
    name: str
    to_torch: Callable[[Tensor], Tensor]
    to_keras: Callable[[Tensor], Tensor]


def _same(key: str, name: str) -> Rule:
    return Rule(key, name, lambda x: x, lambda x: x)


def _matrix(key: str, name: str = "kernel") -> Rule:
    """(in, out) <-> (out, in)"""
    return Rule(key, name, lambda x: x.t(), lambda x: x.t())


def _kernel(key: str, name: str = "kernel") -> Rule:
    """(height, width, in, out) <-> (out, in, height, width), or without one of the sizes"""
    return Rule(
        key,
        name,
        lambda x: x.permute(-1, -2, *range(x.ndim - 2)),
        lambda x: x.permute(*range(2, x.ndim), 1, 0),
    )


def _depthwise_kernel(key: str, name: str, multiplier: int) -> Rule:
    """(height, width, channels, multiplier) <-> (channels * multiplier, 1, height, width)"""
    return Rule(
        key,
        name,
        lambda x: x.permute(2, 3, 0, 1).flatten(0, 1).unsqueeze(1),
        lambda x: x.squeeze(1).unflatten(0, (-1, multiplier)).permute(2, 3, 0, 1),
    )


def _slopes(key: str, data_format: str) -> Rule:
    """An array of the shape of a sample; an image's channels go first."""
    return Rule(
        key,
        key,
        lambda x: from_keras_layout(x[None], data_format)[0],
        lambda x: to_keras_layout(x[None], data_format)[0],
    )


def _bias(layer: Layer, key: str = "bias") -> list[Rule]:
    return [_same(key, "bias")] if layer.use_bias else []


def _gamma_and_beta(layer: Layer) -> list[Rule]:
    return [
        *([_same("weight", "gamma")] if layer.scale else []),
        *([_same("bias", "beta")] if layer.center else []),
    ]


def _batch_normalization(layer: Layer) -> list[Rule]:
    return [
        *_gamma_and_beta(layer),
        _same("running_mean", "moving_mean"),
        _same("running_var", "moving_variance"),
    ]


# The arrays of each class in the order of Keras's `layer.weights`.
_RULES: dict[str, Callable[[Layer], list[Rule]]] = {
    "Conv1D": lambda layer: [_kernel("weight"), *_bias(layer)],
    "Conv2D": lambda layer: [_kernel("weight"), *_bias(layer)],
    # In Keras (height, width, out, in), in torch (in, out, height, width).
    "Conv2DTranspose": lambda layer: [_kernel("weight"), *_bias(layer)],
    "DepthwiseConv2D": lambda layer: [
        _depthwise_kernel("weight", "kernel", layer.depth_multiplier),
        *_bias(layer),
    ],
    "SeparableConv2D": lambda layer: [
        _depthwise_kernel("depthwise.weight", "depthwise_kernel", layer.depth_multiplier),
        _kernel("pointwise.weight", "pointwise_kernel"),
        *_bias(layer, "pointwise.bias"),
    ],
    "Dense": lambda layer: [_matrix("weight"), *_bias(layer)],
    "PReLU": lambda layer: [_slopes("alpha", layer.data_format)],
    "BatchNormalization": _batch_normalization,
    "LayerNormalization": _gamma_and_beta,
    "GroupNormalization": _gamma_and_beta,
    "LayerScale": lambda layer: [_same("gamma", "gamma")],
    "Normalization": lambda layer: [
        _same(key, key) for key in ("mean", "variance", "count") if layer.input_mean is None
    ],
}


def rules_for(layer: Layer) -> list[Rule]:
    """The layer's arrays in Keras's order; none for a layer without weights."""
    if layer._weight_order is not None:
        return [_registered_rule(item) for item in layer._weight_order]
    classes = [cls for cls in keras_class(type(layer)).__mro__ if is_ours(cls)]
    make_rules = next((_RULES[cls.__name__] for cls in classes if cls.__name__ in _RULES), None)
    rules = make_rules(layer) if make_rules else []
    return rules if is_ours(type(layer)) else _with_own(layer, rules)


def _with_own(layer: Layer, rules: list[Rule]) -> list[Rule]:
    """The rules of a user's class: also all that it has besides, as it is.

    The layers inside have their own rules; of all, Keras puts trainable weights first.
    """
    own = [_same(key, key) for key in stored_tensors(layer) if "." not in key]
    inner = [
        rule._replace(key=f"{name}.{rule.key}", name=f"{name}_{rule.name}")
        for name, module in layer.named_children()
        for rule in _rules_of_module(module)
    ]
    known = {rule.key for rule in rules}
    added = [rule for rule in [*own, *inner] if rule.key not in known]
    trained = {name for name, _ in layer.named_parameters()}
    return sorted([*rules, *added], key=lambda rule: rule.key not in trained)


def _rules_of_module(module: nn.Module) -> list[Rule]:
    if isinstance(module, Layer):
        return rules_for(module)
    return [_same(key, key.replace(".", "_")) for key in stored_tensors(module)]


def _registered_rule(item: str | tuple[str, Sequence[int]]) -> Rule:
    """A tensor by its key, or with the order that the axes of Keras's array take in it."""
    key, order = (item, None) if isinstance(item, str) else item
    name = key.replace(".", "_")
    if order is None:
        return _same(key, name)
    back = sorted(range(len(order)), key=order.__getitem__)
    return Rule(key, name, lambda x: x.permute(*order), lambda x: x.permute(*back))
