"""Layers of a user's own, so that files which hold them open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .engine import Layer

WeightOrder = Sequence[str | tuple[str, Sequence[int]]]


class _Registration(NamedTuple):
    """How a layer is made from Keras's config, and in what order Keras has its weights."""

    make: Callable[[dict[str, Any]], Layer]
    weights: WeightOrder | None


_registered: dict[str, _Registration] = {}


def register_layer(name: str, weights: WeightOrder | None = None) -> Callable:
    """Says what a layer of your own in a Keras file becomes.

    Decorates a `Layer` subclass, which is made by its `from_config`, or a function that takes the
    layer's config and gives a `Layer`:

        @kerastorch.register_layer("shop>Blur")
        class Blur(kerastorch.Layer):
            def __init__(self, size, **kwargs):
                super().__init__(**kwargs)
                ...

        @kerastorch.register_layer("shop>Swish")
        def swish(config):
            return kerastorch.layers.Activation("swish", name=config["name"])

    Args:
        name: the layer's `registered_name` in Keras (`"package>Class"`) or the name of its class;
            for a Lambda, whose code is never run, the name of the layer in its model.
        weights: the layer's tensors, by their keys in its `state_dict`, in the order of Keras's
            `layer.weights`. A key may come with the order that Keras's axes take in the tensor,
            `("kernel", (3, 2, 0, 1))`. None: all parameters, then all buffers, laid out as in
            Keras; those of layers of this package, derived or inside, by these layers' own rules.

    The class must say its `compute_output_shape` where the shape changes, and make its parameters
    in its constructor or in `build`. A name that is registered again means the new layer.

    Raises:
        ValueError: the name is empty.
        TypeError: what is decorated is neither a `Layer` subclass nor a function.
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"A layer is registered under its name; got {name!r}.")

    def decorate(target: Any) -> Any:
        if isinstance(target, type) and issubclass(target, Layer):
            target._registered_name = name
            target._class_in_keras = _class_name(name)
            target._weight_order = weights
            _registered[name] = _Registration(target.from_config, None)
        elif callable(target) and not isinstance(target, type):
            _registered[name] = _Registration(target, weights)
        else:
            raise TypeError(f"register_layer takes a Layer subclass or a function, not {target!r}.")
        return target

    return decorate


def find_registered(names: Sequence[str | None], exactly: bool = True) -> _Registration | None:
    """What is registered under the first of the names that is.

    Args:
        names: the names that a file has for a layer.
        exactly: False also takes those that agree only behind the package.
    """
    if exactly:
        return next((_registered[name] for name in names if name in _registered), None)
    by_class = {_class_name(name): registration for name, registration in _registered.items()}
    known = (_class_name(name) for name in names if name)
    return next((by_class[name] for name in known if name in by_class), None)


def make_registered(registration: _Registration, class_name: str, config: dict[str, Any]) -> Layer:
    """The layer for the name of its class in Keras and its config, called as it is there.

    Raises:
        ValueError: what is registered gives something else.
    """
    layer = registration.make(dict(config))
    if not isinstance(layer, Layer):
        raise ValueError(
            f"What is registered for layer {config.get('name')!r} gives a {type(layer).__name__}, "
            "not a Layer."
        )
    layer._class_in_keras = _class_name(class_name)
    layer._name = config.get("name")
    if registration.weights is not None:
        layer._weight_order = registration.weights
    return layer


def _class_name(name: str) -> str:
    return name.rpartition(">")[2]
