"""Keras's initialisers, drawing into torch tensors.

An initialiser knows Keras's shapes only: the fans of a kernel come from the shape in which Keras
holds it, such as (height, width, in, out) for a convolution. `fill_` is what layers call; it fills
a tensor of torch's layout from there. Numbers come from torch's global generator, so
`torch.manual_seed` makes a model reproducible; they are distributed as Keras's but are not Keras's
numbers.
"""

import difflib
import math
import re
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor, nn

# The standard deviation of a standard normal cut off at -2 and 2.
_TRUNCATED_STDDEV = 0.87962566103423978


@torch.no_grad()
def fill_(
    tensor: Tensor,
    initializer: str | dict | Callable | None,
    keras_shape: Sequence[int],
    to_torch: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Fill `tensor` in place with values of `initializer` (anything `get` takes) and return it.

    `keras_shape` is the shape in which Keras holds the weight, and `to_torch` carries a tensor of
    that shape to the layout of `tensor`; None says that the layouts are the same. Most initialisers
    draw every element alike, straight into `tensor`; orthogonal, identity, array constants and the
    user's own functions go through `to_torch`. Without an initialiser the values are Glorot
    uniform, as for Keras's `add_weight`. A tensor on the meta device is left alone.

    Raises ValueError for an unknown initialiser, a shape it cannot fill, or a function's result of
    another shape.
    """
    if tensor.is_meta:
        return tensor
    initializer = GlorotUniform() if initializer is None else get(initializer)
    keras_shape = tuple(keras_shape)
    # Half precision is too coarse to draw in, and has no QR factorisation.
    dtype = torch.promote_types(tensor.dtype, torch.float32)
    if not isinstance(initializer, Initializer):
        value = torch.as_tensor(initializer(keras_shape))
    elif not initializer.elementwise:
        value = initializer(keras_shape, dtype)
    else:
        drawn = tensor if dtype == tensor.dtype else torch.empty_like(tensor, dtype=dtype)
        initializer.draw_(drawn, keras_shape)
        return tensor if drawn is tensor else tensor.copy_(drawn)
    if value.shape != keras_shape:
        raise ValueError(f"The initializer gave {tuple(value.shape)}, not Keras's {keras_shape}.")
    return tensor.copy_(value if to_torch is None else to_torch(value))


def compute_fans(
    shape: Sequence[int],
    input_axes: Sequence[int] | None = None,
    output_axes: Sequence[int] | None = None,
) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight of Keras's `shape`, by Keras's rules.

    A vector's length is both; a matrix is (in, out); of a kernel the last two axes are in and out,
    each times the receptive field. Where both lists of axes are given, they name the axes to
    multiply.
    """
    if input_axes is not None and output_axes is not None:
        return math.prod(shape[a] for a in input_axes), math.prod(shape[a] for a in output_axes)
    if len(shape) < 2:
        return (math.prod(shape),) * 2
    *field, inputs, outputs = shape
    return math.prod(field) * inputs, math.prod(field) * outputs


class Initializer:
    """Base of the initialisers: called with Keras's shape, it gives a new tensor of that shape.

    A subclass writes `draw_`. `elementwise` says that no element's distribution depends on where it
    stands, so that a tensor of any layout may be drawn into.
    """

    elementwise: ClassVar[bool] = True

    def __call__(self, shape: Sequence[int], dtype: torch.dtype | None = None) -> Tensor:
        tensor = torch.empty(tuple(shape), dtype=dtype)
        self.draw_(tensor, tuple(shape))
        return tensor

    def draw_(self, tensor: Tensor, shape: tuple[int, ...]) -> None:
        """Fill `tensor` in place for a weight that Keras holds in `shape`."""
        raise NotImplementedError

    def get_config(self) -> dict:
        """The constructor's arguments, under Keras's names."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True)
class Zeros(Initializer):
    """All zeros."""

    def draw_(self, tensor, shape):
        tensor.zero_()


@dataclass(frozen=True)
class Ones(Initializer):
    """All ones."""

    def draw_(self, tensor, shape):
        tensor.fill_(1.0)


@dataclass(frozen=True)
class Constant(Initializer):
    """`value` everywhere: a number, or an array that broadcasts to Keras's shape.

    An array may also be the dictionary that a Keras file holds for it.
    """

    value: object = 0.0

    @property
    def elementwise(self) -> bool:
        return isinstance(self.value, (int, float))

    def draw_(self, tensor, shape):
        if self.elementwise:
            tensor.fill_(self.value)
            return
        value = self.value["config"]["value"] if isinstance(self.value, dict) else self.value
        tensor.copy_(torch.as_tensor(value))

    def get_config(self):
        if self.elementwise or isinstance(self.value, dict):
            return {"value": self.value}
        array = torch.as_tensor(self.value)
        config = {"value": array.tolist(), "dtype": str(array.dtype).removeprefix("torch.")}
        return {"value": {"class_name": "__numpy__", "config": config}}


@dataclass(frozen=True)
class Identity(Initializer):
    """`gain` times the identity matrix; for matrices only."""

    gain: float = 1.0

    elementwise = False

    def draw_(self, tensor, shape):
        if len(shape) != 2:
            raise ValueError(f"The identity initializer fills matrices, not shape {shape}.")
        nn.init.eye_(tensor).mul_(self.gain)

    def get_config(self):
        # Keras 3.15 writes no gain, and reads one.
        return {} if self.gain == 1.0 else {"gain": self.gain}


@dataclass(frozen=True)
class RandomNormal(Initializer):
    """Normal with `mean` and `stddev`."""

    mean: float = 0.0
    stddev: float = 0.05
    seed: int | dict | None = None

    def draw_(self, tensor, shape):
        tensor.normal_(self.mean, self.stddev, generator=_generator(self.seed, tensor))


@dataclass(frozen=True)
class RandomUniform(Initializer):
    """Uniform in [`minval`, `maxval`)."""

    minval: float = -0.05
    maxval: float = 0.05
    seed: int | dict | None = None

    def draw_(self, tensor, shape):
        tensor.uniform_(self.minval, self.maxval, generator=_generator(self.seed, tensor))


@dataclass(frozen=True)
class TruncatedNormal(Initializer):
    """Normal with `mean` and `stddev` (before the cut), cut off at two standard deviations."""

    mean: float = 0.0
    stddev: float = 0.05
    seed: int | dict | None = None

    def draw_(self, tensor, shape):
        _truncated_normal_(tensor, self.stddev, self.seed).add_(self.mean)


class _FanScaling(Initializer):
    """Draws with variance `scale / n`, where n is the fan that `mode` names."""

    def draw_(self, tensor, shape):
        fan_in, fan_out = compute_fans(shape, self.input_axes, self.output_axes)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, fan)
        if self.distribution == "truncated_normal":
            _truncated_normal_(tensor, math.sqrt(variance) / _TRUNCATED_STDDEV, self.seed)
        elif self.distribution == "untruncated_normal":
            tensor.normal_(0.0, math.sqrt(variance), generator=_generator(self.seed, tensor))
        else:
            limit = math.sqrt(3.0 * variance)
            tensor.uniform_(-limit, limit, generator=_generator(self.seed, tensor))


@dataclass(frozen=True)
class VarianceScaling(_FanScaling):
    """Variance `scale / n`, n the fan that `mode` names: "fan_in", "fan_out" or "fan_avg".

    `distribution` is "truncated_normal" (or "normal"; cut off at two standard deviations, the
    variance being that after the cut), "untruncated_normal" or "uniform". `input_axes` and
    `output_axes` are as for `compute_fans`.
    """

    scale: float = 1.0
    mode: str = "fan_in"
    distribution: str = "truncated_normal"
    seed: int | dict | None = None
    input_axes: Sequence[int] | None = None
    output_axes: Sequence[int] | None = None

    def __post_init__(self):
        distribution = str(self.distribution).lower()
        distribution = "truncated_normal" if distribution == "normal" else distribution
        object.__setattr__(self, "distribution", distribution)
        if self.scale <= 0:
            raise ValueError(f"scale must be positive, not {self.scale!r}.")
        if self.mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ValueError(f"mode must be fan_in, fan_out or fan_avg, not {self.mode!r}.")
        if distribution not in ("truncated_normal", "untruncated_normal", "uniform"):
            raise ValueError(
                "distribution must be truncated_normal, untruncated_normal or uniform, "
                f"not {self.distribution!r}."
            )


@dataclass(frozen=True)
class _FixedScaling(_FanScaling):
    """A variance scaling whose scale, mode and distribution its class fixes."""

    seed: int | dict | None = None
    input_axes: Sequence[int] | None = None
    output_axes: Sequence[int] | None = None

    scale: ClassVar[float]
    mode: ClassVar[str]
    distribution: ClassVar[str]


class GlorotUniform(_FixedScaling):
    """Uniform with variance 2 / (fan_in + fan_out), also named after Xavier."""

    scale, mode, distribution = 1.0, "fan_avg", "uniform"


class GlorotNormal(_FixedScaling):
    """Truncated normal with variance 2 / (fan_in + fan_out)."""

    scale, mode, distribution = 1.0, "fan_avg", "truncated_normal"


class HeUniform(_FixedScaling):
    """Uniform with variance 2 / fan_in."""

    scale, mode, distribution = 2.0, "fan_in", "uniform"


class HeNormal(_FixedScaling):
    """Truncated normal with variance 2 / fan_in."""

    scale, mode, distribution = 2.0, "fan_in", "truncated_normal"


class LecunUniform(_FixedScaling):
    """Uniform with variance 1 / fan_in."""

    scale, mode, distribution = 1.0, "fan_in", "uniform"


class LecunNormal(_FixedScaling):
    """Truncated normal with variance 1 / fan_in."""

    scale, mode, distribution = 1.0, "fan_in", "truncated_normal"


@dataclass(frozen=True)
class Orthogonal(Initializer):
    """`gain` times a random orthogonal matrix, whose columns are the last of Keras's axes."""

    gain: float = 1.0
    seed: int | dict | None = None

    elementwise = False

    def draw_(self, tensor, shape):
        if len(shape) < 2:
            raise ValueError(f"The orthogonal initializer needs a rank of 2 or more: {shape}.")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        normal = tensor.new_empty(max(rows, columns), min(rows, columns))
        normal.normal_(generator=_generator(self.seed, tensor))
        q, r = torch.linalg.qr(normal)
        # Without the signs of r's diagonal q would not be uniform over the orthogonal matrices.
        q = q * r.diagonal().sign()
        q = q.T if rows < columns else q
        tensor.copy_(q.reshape(shape)).mul_(self.gain)


# ------------------------------------------------------------------------------------------ by name

_CLASSES = {
    cls.__name__: cls
    for cls in (
        Zeros,
        Ones,
        Constant,
        Identity,
        RandomNormal,
        RandomUniform,
        TruncatedNormal,
        VarianceScaling,
        GlorotUniform,
        GlorotNormal,
        HeUniform,
        HeNormal,
        LecunUniform,
        LecunNormal,
        Orthogonal,
    )
}
_SNAKE_CASE = {re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower(): cls for name, cls in _CLASSES.items()}
_ALIASES = {
    "zero": Zeros,
    "one": Ones,
    "normal": RandomNormal,
    "uniform": RandomUniform,
    "IdentityInitializer": Identity,
    "OrthogonalInitializer": Orthogonal,
}
_BY_NAME = {**_CLASSES, **_SNAKE_CASE, **_ALIASES}


def get(identifier: str | dict | Callable | None) -> Callable | None:
    """The initialiser that `identifier` stands for, as `keras.initializers.get` finds it.

    `identifier` is one of Keras's names ("glorot_uniform" or "GlorotUniform"), the config
    dictionary of a Keras file, an initialiser or its class, None (returned as it is), or a function
    of Keras's shape that gives a tensor of it. Anything else raises ValueError; an unknown name
    lists near matches.
    """
    if isinstance(identifier, dict):
        return _from_config(identifier)
    if isinstance(identifier, str):
        return _class_named(identifier)()
    if isinstance(identifier, type) and issubclass(identifier, Initializer):
        return identifier()
    if identifier is None or callable(identifier):
        return identifier
    raise ValueError(f"An initializer is a name, a callable or a Keras config: {identifier!r}")


def serialize(initializer: str | dict | Callable | None) -> dict | None:
    """What Keras 3 writes into a layer's config for `initializer` (anything `get` takes).

    A user's function is named there, as Keras names it. Raises ValueError for any other callable.
    """
    initializer = get(initializer)
    if initializer is None:
        return None
    if isinstance(initializer, types.FunctionType):
        return {
            "module": "builtins",
            "class_name": "function",
            "config": initializer.__name__,
            "registered_name": "function",
        }
    name = type(initializer).__name__
    if _CLASSES.get(name) is not type(initializer):
        raise ValueError(f"Only Keras's initializers and functions can be written: {initializer!r}")
    return {
        "module": "keras.initializers",
        "class_name": name,
        "config": initializer.get_config(),
        "registered_name": None,
    }


def _from_config(config: dict) -> Initializer:
    name, arguments = config.get("class_name"), config.get("config") or {}
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise ValueError(f"Not an initializer's Keras config: {config!r}.")
    cls = _class_named(name)
    # Keras 2 wrote the data type of the draw here.
    arguments = {key: value for key, value in arguments.items() if key != "dtype"}
    allowed = {field.name for field in fields(cls)}
    if unknown := arguments.keys() - allowed:
        raise ValueError(
            f"{cls.__name__} takes {', '.join(sorted(allowed)) or 'no arguments'}, "
            f"not {', '.join(map(str, sorted(unknown)))}."
        )
    return cls(**arguments)


def _class_named(name: str) -> type[Initializer]:
    if name in _BY_NAME:
        return _BY_NAME[name]
    near = difflib.get_close_matches(name, _BY_NAME) or sorted(_SNAKE_CASE)
    raise ValueError(f"Unknown initializer {name!r}; did you mean one of {', '.join(near)}?")


def _generator(seed: int | dict | None, tensor: Tensor) -> torch.Generator | None:
    """A generator that starts at an integer `seed`, or None for torch's global one.

    The config of a Keras SeedGenerator, which moves on from draw to draw, counts as no seed.
    """
    if not isinstance(seed, int):
        return None
    return torch.Generator(tensor.device).manual_seed(seed)


def _truncated_normal_(tensor: Tensor, stddev: float, seed: int | dict | None) -> Tensor:
    """Fill with a normal of `stddev` (before the cut) that is cut off at two of them."""
    generator = _generator(seed, tensor)
    return nn.init.trunc_normal_(tensor, 0.0, 1.0, -2.0, 2.0, generator=generator).mul_(stddev)
