"""A model in Keras's terms: which Keras layer does what each of its modules does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from kerastorch import layers
from kerastorch.config import data_format_scope
from kerastorch.engine import InputLayer, Layer, Model, Sequential
from kerastorch.engine.layer import flatten_shapes, is_ours, stored_tensors
from kerastorch.engine.layout import Shape, join_shape, moves_channels, tensor_axis
from kerastorch.engine.structure import map_structure

from .dialects import RENAMED
from .errors import shorten
from .rules import rules_for


def in_keras_terms(model: Model, whole: bool) -> Model:
    """A view of the model in which each module is a layer that Keras has, too.

    Layers are shared with the model, and so are the tensors of the layers that stand for modules of
    torch. A layer that has never been called is built.

    Args:
        model: the model, which stays as it is.
        whole: whether Keras is to make the layers, not only to fill them.

    Raises:
        ValueError: Keras has nothing for some modules; all of them are named.
    """
    view = _View(whole)
    found = view.named(view.of_model(model, model.name, ""))
    if view.problems:
        listed = " ".join(
            f"{what}: {shorten(places, 30)}." for what, places in sorted(view.problems.items())
        )
        raise ValueError(f"{model.name!r} cannot go to Keras as it is. {listed}")
    return found


# What is said of modules that Keras has nothing for.
_ADAPTER = "Adapters (LoRA and others) are merged first, by merge_and_unload()"
_PARAMETRIZED = (
    "Parametrizations are made plain weights first, by "
    "torch.nn.utils.parametrize.remove_parametrizations"
)
_PRUNED = "Pruning is made permanent first, by torch.nn.utils.prune.remove"
_NO_LAYER = (
    "No layer of Keras does exactly the same; take one of kerastorch.layers, or name a class of "
    "your own by kerastorch.register_layer"
)
_OWN_CLASS = "Classes of your own are named first, by kerastorch.register_layer"
_CHANGED = "What the layers do is no longer what they were made for"
_SLASHES = "Keras 3 takes no / in a name, and with _ in its place these are no longer unique"
_NO_VALUES = "Weights on the meta device have no values"

# Classes that only Keras 2 had.
_NOT_IN_KERAS_3 = (layers.ResizedRandomCrop,)

# What torch computes with, and what Keras's config is written from.
_PAIRS = [
    ("stride", "strides"),
    ("dilation", "dilation_rate"),
    ("eps", "epsilon"),
    ("out_channels", "filters"),
    ("out_features", "units"),
    ("num_groups", "groups"),
]


class _View:
    def __init__(self, whole: bool):
        self.whole = whole
        self.done: dict[nn.Module, Layer] = {}  # a shared layer stays one
        self.problems: dict[str, list[str]] = defaultdict(list)

    def of_model(self, model: Model, place: str, prefix: str) -> Model:
        if self.whole and type(model) not in (Model, Sequential):
            self.problems[_OWN_CLASS].append(f"{place} ({type(model).__name__})")
        children: dict[str, nn.Module] = {}
        keys: dict[str, str] = {}
        shapes = _shapes_by_key(model)
        for name, key in model._keys.items():
            children[key] = self.of_module(
                model._modules[key], name, f"{prefix}{name}", shapes.get(key, []), model.data_format
            )
            if keys.setdefault(self.name_of(name), key) != key:
                self.problems[_SLASHES].append(f"{prefix}{name}")
        is_same = all(model._modules[key] is child for key, child in children.items())
        if is_same or len(keys) < len(children):  # then there is no such model, as is said above
            return model
        view = _shallow_copy(model)
        view.__dict__["_modules"] = children
        view._keys = keys
        view._link()
        view._infer_shapes()
        return view

    def of_module(
        self, module: nn.Module, name: str, place: str, shapes: list[Shape], data_format: str
    ) -> Layer:
        """The layer for a module that runs as `name` on inputs of these shapes."""
        if module not in self.done:
            if isinstance(module, Model):
                layer = self.of_model(module, place, f"{place}/")
            elif isinstance(module, Layer):
                layer = self.of_layer(module, place, shapes)
            else:
                layer = self.of_torch(module, name, place, shapes, data_format)
            self.done[module] = self.named(layer)
        return self.done[module]

    def named(self, layer: Layer) -> Layer:
        """The layer under a name that Keras 3 takes; Keras 2 had `conv1/conv` and the like."""
        name = self.name_of(layer.name)
        if name == layer.name:
            return layer
        layer = _shallow_copy(layer)
        layer._name = name
        return layer

    def name_of(self, name: str) -> str:
        return name.replace("/", "_") if self.whole else name

    def of_layer(self, layer: Layer, place: str, shapes: list[Shape]) -> Layer:
        if not layer.built:
            layer._build_once(shapes)
        problem = self._problem(layer)
        if problem:
            what, detail = problem
            self.problems[what].append(f"{place} ({detail})")
        if isinstance(layer, layers.ThresholdedReLU):
            return layers.ReLU(threshold=layer.theta, name=layer.name, trainable=layer.trainable)
        if layer._class_in_keras in RENAMED:
            layer = _shallow_copy(layer)
            layer._class_in_keras = None
        return layer

    def _problem(self, layer: Layer) -> tuple[str, str] | None:
        """What Keras has nothing for in a layer, and a word on the layer."""
        wrapped = _wrapped(layer)
        if wrapped:
            return wrapped
        kind = type(layer).__name__
        tensors = stored_tensors(layer)
        expected = {rule.key for rule in rules_for(layer)}
        if is_ours(type(layer)) and expected != tensors.keys():
            return _CHANGED, f"{kind}: {', '.join(sorted(expected ^ tensors.keys()))}"
        changed = [name for name, argument in _PAIRS if _differ(layer, name, argument)]
        if is_ours(type(layer)) and changed:
            return _CHANGED, f"{kind}: {', '.join(changed)}"
        if isinstance(layer, _NOT_IN_KERAS_3):
            return _NO_LAYER, kind
        if self.whole and not is_ours(type(layer)) and layer._registered_name is None:
            return _OWN_CLASS, kind
        return None

    def of_torch(
        self, module: nn.Module, name: str, place: str, shapes: list[Shape], data_format: str
    ) -> Layer:
        stand_in = layers.Identity(name=name)  # so that the rest is looked at, too
        if type(module) is nn.Sequential:
            if not len(module):
                return stand_in
            return self._of_sequence(module, name, place, shapes, data_format) or stand_in
        wrapped = _wrapped(module)
        if wrapped:
            what, detail = wrapped
            self.problems[what].append(f"{place} ({detail})")
            return stand_in
        kind = type(module).__name__
        make = _OF_TORCH.get(type(module))
        if make is None or len(shapes) != 1:
            self.problems[_NO_LAYER].append(f"{place} ({kind})")
            return stand_in
        try:
            with data_format_scope(data_format), torch.device("meta"):
                return _with_tensors_of(module, name, *make(module, shapes[0], data_format))
        except ValueError as error:
            self.problems[_NO_LAYER].append(f"{place} ({kind}: {error})")
            return stand_in

    def _of_sequence(
        self, sequence: nn.Sequential, name: str, place: str, shapes: list[Shape], data_format: str
    ) -> Layer | None:
        """The Sequential for one of torch's; None where what is in it has no layers."""
        with data_format_scope(data_format):
            symbol = InputLayer(batch_shape=shapes[0], name=f"{name}_input").output
            stack: list[Any] = [symbol]
            for key, module in sequence.named_children():
                layer = self.of_module(
                    module, f"{name}_{key}", f"{place}.{key}", [symbol.shape], data_format
                )
                stack.append(layer)
                try:
                    symbol = layer(symbol)
                except ValueError:
                    if self.problems:  # it may well be that something else belongs in front of it
                        return None
                    raise
            return Sequential(stack, name=name)


def _shallow_copy(module: nn.Module) -> Any:
    """A module of its own that shares all that it has."""
    twin = object.__new__(type(module))
    twin.__dict__.update(module.__dict__)
    return twin


def _shapes_by_key(model: Model) -> dict[str, list[Shape]]:
    """The shapes of what each child first takes."""
    plan = model._plan
    return {
        step.key: flatten_shapes(map_structure(plan.shapes.__getitem__, list(step.arguments)))
        for step in reversed(plan.steps)
    }


def _wrapped(module: nn.Module) -> tuple[str, str] | None:
    """What keeps a module's weights from being plain ones, and a word on the module."""
    kind = type(module).__name__
    tensors = stored_tensors(module)
    if any(map(is_parametrized, module.modules())):
        return _PARAMETRIZED, kind.removeprefix("Parametrized")
    if any(map(_is_adapter, module.modules())):
        return _ADAPTER, kind
    if any(key.endswith("_mask") and f"{key[:-5]}_orig" in tensors for key in tensors):
        return _PRUNED, kind
    if any(tensor.is_meta for tensor in tensors.values()):
        return _NO_VALUES, kind
    return None


def _is_adapter(module: nn.Module) -> bool:
    """Whether PEFT (or what is built like it) has wrapped a layer."""
    return type(module).__module__.startswith("peft.") or hasattr(module, "base_layer")


def _differ(layer: Layer, name: str, argument: str) -> bool:
    both = [getattr(layer, attribute, None) for attribute in (name, argument)]
    if None in both:
        return False
    value, written = (tuple(x) if isinstance(x, list | tuple) else x for x in both)
    return value != written


# Modules of torch


def _with_tensors_of(module: nn.Module, name: str, layer: Layer, shape: Shape) -> Layer:
    """The layer, built for inputs of a shape, with a module's own tensors."""
    layer._name = name
    if not layer.built:
        layer._build_once([shape])
    differing = stored_tensors(module).keys() ^ stored_tensors(layer).keys()
    if differing:
        raise ValueError(f"it differs in {', '.join(sorted(differing))}")
    for key, parameter in module._parameters.items():
        layer._parameters[key] = parameter
    for key, buffer in module._buffers.items():
        layer._buffers[key] = buffer
    parameters = list(module.parameters())
    layer._trainable = not parameters or any(p.requires_grad for p in parameters)
    return layer


_Made = tuple[Layer, Shape]


def _dense(module: nn.Linear, shape: Shape, data_format: str) -> _Made:
    if moves_channels(len(shape), data_format):
        raise ValueError("it works along another axis than Keras's last")
    layer = layers.Dense(module.out_features, use_bias=module.bias is not None)
    return layer, (*shape[:-1], module.in_features)


def _convolution(module: nn.Conv2d, shape: Shape, data_format: str) -> _Made:
    layer = layers.Conv2D(
        module.out_channels,
        module.kernel_size,
        strides=module.stride,
        padding=_padding(module),
        dilation_rate=module.dilation,
        groups=module.groups,
        use_bias=module.bias is not None,
    )
    return layer, join_shape(None, (None, None), module.in_channels, data_format)


def _padding(module: nn.Conv2d) -> str:
    """Keras's name for a padding; with steps of 1 half a window on both sides is its "same"."""
    if module.padding in ("valid", (0, 0)):
        return "valid"
    spans = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
    is_same = module.padding == "same" or [2 * p for p in module.padding] == spans
    if module.padding_mode != "zeros" or set(module.stride) != {1} or not is_same:
        raise ValueError(
            f"padding {module.padding}; take ZeroPadding2D and a convolution without padding"
        )
    return "same"


def _batch_norm(module: nn.modules.batchnorm._BatchNorm, shape: Shape, data_format: str) -> _Made:
    if module.running_mean is None or module.momentum is None:
        raise ValueError("its statistics are not moving averages")
    axis = -1 if moves_channels(len(shape), data_format) else 1
    layer = layers.BatchNormalization(
        axis=axis,
        momentum=1 - module.momentum,
        epsilon=module.eps,
        center=module.affine,
        scale=module.affine,
    )
    sizes: list[int | None] = [None] * len(shape)
    sizes[axis] = module.num_features
    return layer, tuple(sizes)


def _softmax(module: nn.Softmax, shape: Shape, data_format: str) -> _Made:
    rank = len(shape)
    if module.dim is None:
        raise ValueError("it does not say its axis")
    axes = [tensor_axis(axis, rank, data_format) for axis in range(rank)]
    return layers.Softmax(axis=axes.index(module.dim % rank)), shape


def _plain(make: Callable[[Any], Layer]) -> Callable[[nn.Module, Shape, str], _Made]:
    return lambda module, shape, data_format: (make(module), shape)


# By exact class, for a subclass may do something else. Not among them are GELU and LeakyReLU, whose
# constants Keras rounds to float32.
_OF_TORCH: dict[type[nn.Module], Callable[[Any, Shape, str], _Made]] = {
    nn.Linear: _dense,
    nn.Conv2d: _convolution,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.Softmax: _softmax,
    nn.ReLU: _plain(lambda module: layers.ReLU()),
    nn.ReLU6: _plain(lambda module: layers.Activation("relu6")),
    nn.ELU: _plain(lambda module: layers.ELU(module.alpha)),
    nn.Sigmoid: _plain(lambda module: layers.Activation("sigmoid")),
    nn.Tanh: _plain(lambda module: layers.Activation("tanh")),
    nn.SiLU: _plain(lambda module: layers.Activation("silu")),
    nn.Dropout: _plain(lambda module: layers.Dropout(module.p)),
    nn.Dropout2d: _plain(lambda module: layers.SpatialDropout2D(module.p)),
    nn.Identity: _plain(lambda module: layers.Identity()),
}
