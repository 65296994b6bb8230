"""Layer: an `nn.Module` with Keras's name, `trainable` and symbolic calls."""

from __future__ import annotations

import functools
import inspect
import itertools
from collections import Counter
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from .. import activations, initializers
from ..config import check_data_format
from .layout import Shape, keras_shape
from .naming import snake_case
from .structure import flatten
from .symbol import Calls, Node, contains_symbol, shapes_of

_creation = itertools.count()

# Where `nn.Module` keeps tensors and children.
_HOLDERS = ("_parameters", "_buffers", "_non_persistent_buffers_set", "_modules")

# Arguments of `forward` that only a running model gives.
_ENGINES_OWN = ("overwrite", "postpone", "margins", "training")


class Layer(nn.Module):
    """The base of all layers.

    Called on tensors a layer computes; called on Symbols it records the call for a Model. Either
    way the first call builds its parameters from the shape of the input. Tensors of rank 4 and 5
    are channels first.

    A layer that has parameters and a torch twin comes in two classes. The one with Keras's
    signature makes unbuilt layers; `become` turns such a layer into its *native* class, a subclass
    of both it and the torch twin, which keeps torch's constructor and is what tools for torch
    modules know. Class attributes give the defaults of what only Keras's constructor sets.

    Args:
        name: the layer's name; None for the name that Keras would give it in the first Model that
            takes it.
        trainable: whether its parameters take gradients.
        data_format: how Keras shapes of images are written; None for `image_data_format()`.
    """

    built = True
    # What the layer does depends on the mode that a call asks for, so `forward` takes `training`.
    takes_training = False
    # The part of the layer in `shortcuts`: the output is a tensor that nothing else refers to;
    # `forward` takes `overwrite`, the input whose place the result may take, or `postpone`, which
    # leaves margins of zeros to a layer that takes `margins`; the gradient comes from the output,
    # which has to stay as it is until the backward pass.
    makes_new_tensor = False
    backward_takes_output = True
    takes_overwrite = False
    takes_postpone = False
    takes_margins = False

    # What `register_layer` says of the class, or of one layer: the name that files give it, the
    # name of its class in Keras, the order of its weights there, and what a function that was
    # registered has made the layer from.
    _registered_name: str | None = None
    _class_in_keras: str | None = None
    _weight_order: Any = None
    _source: dict[str, Any] | None = None
    _application: str | None = None  # whose first layer this is; see `applications.recognition`

    _name: str | None = None
    _trainable = True
    _data_format: str | None = None

    def __init__(
        self, *, name: str | None = None, trainable: bool = True, data_format: str | None = None
    ):
        nn.Module.__init__(self)
        self._name = name
        self._trainable = bool(trainable)
        self._data_format = check_data_format(data_format)
        self._created = next(_creation)
        self._name_counters: Counter = Counter()
        self._nodes = Calls()

    # Identity

    @property
    def name(self) -> str:
        """Keras's name; provisional until a Model takes the layer."""
        return self._name if self._name is not None else self.default_name

    @property
    def is_named(self) -> bool:
        return self._name is not None

    @property
    def default_name(self) -> str:
        return snake_case(self._class_in_keras or type(self).__name__)

    @property
    def data_format(self) -> str:
        """How Keras shapes of images are written, `"channels_last"` or `"channels_first"`."""
        return check_data_format(self._data_format)

    @property
    def trainable(self) -> bool:
        """Whether the parameters take gradients, as in Keras for this layer and all layers within.

        Batch normalisation that is not trainable also runs in inference mode; dropout stays active.
        """
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        for parameter in self._parameters.values():
            if parameter is not None:
                parameter.requires_grad_(self._trainable)
        for child in self.children():
            set_trainable(child, self._trainable, self.training)

    def train(self, mode: bool = True) -> Layer:
        """Sets the mode; batch normalisation of torch that is frozen stays in evaluation mode."""
        super().train(mode)
        for module in self.modules():
            if _is_torch_norm(module) and not getattr(module, "_trainable", True):
                module.training = False
        return self

    # Calls

    def __call__(self, *inputs, **kwargs):
        if contains_symbol((inputs, kwargs)):
            return self._record(*self._bind(inputs, kwargs))
        if not self.built:
            self._build_once([keras_shape(x.shape, self.data_format) for x in flatten(inputs)])
        return super().__call__(*inputs, **kwargs)

    def _bind(self, arguments: tuple, keywords: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        """A symbolic call's structures of Symbols, by position, and its other arguments by name."""
        options = dict(keywords)
        training = {"training": options.pop("training")} if "training" in options else {}
        if not arguments and "inputs" in options:  # what Keras calls the first
            arguments = (options.pop("inputs"),)
        if options or not all(map(contains_symbol, arguments)):
            signature = inspect.signature(self.forward)
            signature.bind(*arguments, **options)
            names = [name for name in signature.parameters if name not in _ENGINES_OWN]
            options |= dict(zip(names, arguments, strict=False))
            given = [name for name in names if contains_symbol(options.get(name))]
            if given != names[: len(given)] or not options.keys() <= set(names):
                raise ValueError(f"Layer {self.name!r} takes Symbols first, then {names[1:]}.")
            arguments = tuple(options.pop(name) for name in given)
        return arguments, options | training

    def _record(self, arguments: tuple, options: dict[str, Any]) -> Any:
        """Makes the Symbols of a symbolic call."""
        training = options.pop("training", None)
        shapes = shapes_of(arguments)
        if not self.built:
            self._build_once(flatten_shapes(shapes))
        output_shape = self.compute_output_shape(*shapes)
        node = Node(self, arguments, flatten_shapes(output_shape), training, options)
        self._nodes.add(node)
        outputs = iter(node.outputs)
        return map_shapes(lambda _: next(outputs), output_shape)

    def _build_once(self, shapes: list[Shape]) -> None:
        training = self.training
        self.build(*shapes)
        self.built = True
        self._pass_on(training)

    def _pass_on(self, training: bool) -> None:
        """Gives the mode and `trainable` to the parameters and children that have been made."""
        if not training:
            self.eval()
        if not self.trainable:
            self.trainable = False

    def build(self, *shapes: Shape) -> None:
        """Makes the parameters for inputs of these Keras shapes.

        A layer with parameters overrides it; it runs once, before the layer's first call.
        """

    def __init_subclass__(cls, **kwargs) -> None:
        super().__init_subclass__(**kwargs)
        if "build" in vars(cls) and "built" not in vars(cls):
            cls.built = False

    def become(self, native: type[Layer], *args, **kwargs) -> None:
        """Turns this layer into its native class, with these arguments of torch's constructor.

        A layer of a user's own subclass stays one: it becomes a native class derived from both, and
        keeps the parameters, buffers and children that it has.
        """
        hooks = {key: value for key, value in self.__dict__.items() if "_hook" in key}
        own = {key: self.__dict__[key] for key in _HOLDERS}
        self.__class__ = _native_of(type(self), native)
        native.__init__(self, *args, **kwargs)
        self.__dict__.update(hooks)
        self.__dict__.update({key: own[key] | self.__dict__[key] for key in _HOLDERS})

    def compute_output_shape(self, *shapes: Shape) -> Any:
        """Keras's shape of the output for inputs of these Keras shapes."""
        return shapes[0]

    # The graph

    @property
    def input(self) -> Any:
        """The Symbol (or structure of Symbols) of the layer's first call."""
        arguments = self._first_node("input").arguments
        return arguments[0] if len(arguments) == 1 else list(arguments)

    @property
    def output(self) -> Any:
        """The Symbol (or list of Symbols) that the layer's first call makes."""
        outputs = self._first_node("output").outputs
        return outputs[0] if len(outputs) == 1 else outputs

    def _first_node(self, attribute: str) -> Node:
        node = self._nodes.first
        if node is None:
            raise ValueError(
                f"Layer {self.name!r} has never been called on a Symbol, or nobody has kept what "
                f"it gave, so it has no {attribute}."
            )
        return node

    # State

    def count_params(self) -> int:
        """The number of scalars that Keras counts: parameters and moving statistics."""
        return sum(tensor.numel() for tensor in set(stored_tensors(self).values()))

    def get_config(self) -> dict[str, Any]:
        """The arguments of Keras's constructor, as plain data."""
        arguments = constructor_parameters(keras_class(type(self)))
        return {name: serialize_argument(name, getattr(self, name)) for name in arguments}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        """The layer of a config from `get_config`, or of Keras's own.

        Keras's `dtype`, a name or a policy, has no counterpart here: a layer's parameters say what
        it computes in, and the host's autocast what it computes with.
        """
        takes_dtype = "dtype" in constructor_parameters(keras_class(cls))
        return cls(**{k: v for k, v in config.items() if takes_dtype or k != "dtype"})

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._created = next(_creation)  # numbers of another process mean nothing here


def native(of: type[Layer]):
    """Makes the decorated class the native class of a Keras layer.

    It takes the Keras class's name, and stands in that class under its own (`Conv2D.Conv2d`), where
    pickle finds it.
    """

    def decorate(cls: type[Layer]) -> type[Layer]:
        setattr(of, cls.__name__, cls)
        cls.__qualname__ = f"{of.__qualname__}.{cls.__name__}"
        cls.__name__ = of.__name__
        cls.keras_class = of
        return cls

    return decorate


def _native_of(cls: type[Layer], native_class: type[Layer]) -> type[Layer]:
    """The native class for a Keras layer's class, or for a subclass of it, where it is kept."""
    if cls is native_class.keras_class:
        return native_class
    key = native_class.__qualname__.rpartition(".")[2]
    if key not in vars(cls):

        def reduce(self: Layer, protocol: int) -> tuple:
            """For pickle, in whose next process the derived class may not have been made."""
            _, _, *state = object.__reduce_ex__(self, max(protocol, 2))
            return _new_native, (cls, native_class), *state

        content = {
            "__module__": cls.__module__,
            "__qualname__": f"{cls.__qualname__}.{key}",
            "__init__": native_class.__init__,
            "__reduce_ex__": reduce,
            "built": True,
        }
        setattr(cls, key, type(cls.__name__, (cls, native_class), content))
    return vars(cls)[key]


def _new_native(cls: type[Layer], native_class: type[Layer]) -> Layer:
    """An empty layer of a subclass's native class."""
    derived = _native_of(cls, native_class)
    return derived.__new__(derived)


def is_ours(cls: type) -> bool:
    """Whether a class of layers is this package's, not a user's."""
    return cls.__module__.startswith("kerastorch.")


def keras_class(cls: type[Layer]) -> type[Layer]:
    """The class with Keras's constructor behind a layer's class."""
    return getattr(cls, "keras_class", cls)


@functools.cache
def constructor_parameters(cls: type[Layer]) -> Mapping[str, inspect.Parameter]:
    """The parameters of a class's constructor; a large model asks a thousand times."""
    return inspect.signature(cls).parameters


def stored_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The tensors that Keras knows too: all of `state_dict` but torch's counts of batches."""
    tensors = module.state_dict(keep_vars=True)
    return {key: x for key, x in tensors.items() if not is_batch_count(key)}


def is_batch_count(key: str) -> bool:
    """Whether a key of `state_dict` is of torch's count of batches, which Keras does not know."""
    return key.endswith("num_batches_tracked")


def serialize_argument(argument: str, value: Any) -> Any:
    """The value of a constructor's argument as Keras writes it into a config."""
    if argument == "activation":
        if isinstance(value, Layer) and not stored_tensors(value):
            from ..convert.config import layer_config

            return layer_config(value)
        return activations.serialize(value)
    if argument.endswith("_initializer"):
        return initializers.serialize(value)
    return value


def flatten_shapes(shapes: Any) -> list[Shape]:
    """The shapes in a structure of shapes, in order."""
    found: list[Shape] = []
    map_shapes(found.append, shapes)
    return found


def map_shapes(function, shapes: Any) -> Any:
    """Applies `function` to each shape in a structure of shapes."""
    if isinstance(shapes, dict):
        return {key: map_shapes(function, shapes[key]) for key in sorted(shapes)}
    if all(isinstance(size, int | None) for size in shapes):
        return function(shapes)
    return type(shapes)(map_shapes(function, shape) for shape in shapes)


def set_trainable(module: nn.Module, value: bool, training: bool) -> None:
    """Freezes or thaws a layer, or a module of torch in a layer's place or within one.

    Args:
        module: the layer or module.
        value: whether it is trainable from now on.
        training: the mode of what holds it, which thawed batch normalisation of torch takes.
    """
    if isinstance(module, Layer):
        module.trainable = value
        return
    for parameter in module.parameters(recurse=False):
        parameter.requires_grad_(value)
    for child in module.children():
        set_trainable(child, value, module.training)
    if _is_torch_norm(module) and getattr(module, "_trainable", True) != value:
        module._trainable = value
        module.training = training and value


def _is_torch_norm(module: nn.Module) -> bool:
    """Whether a module of torch's own has moving statistics, which move in training mode only."""
    return isinstance(module, nn.modules.batchnorm._NormBase) and not isinstance(module, Layer)
