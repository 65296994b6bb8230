"""The arguments of calls as Keras 3's configs hold them: places in the graph, and constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

_TYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")


def encode(value: Any) -> Any:
    """Plain data for a structure of arguments; what is plain stays."""
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, slice):
        return _tagged("__slice__", start=value.start, stop=value.stop, step=value.step)
    if value is Ellipsis:
        return _tagged("__ellipsis__")
    if isinstance(value, np.ndarray):
        return _tagged("__tensor__", value=value.tolist(), dtype=value.dtype.name)
    return value


def decode(value: Any, tensor_of: Callable[[dict], Any] | None = None) -> Any:
    """The arguments, with `tensor_of` applied to what stands for tensors, if there may be any.

    Raises:
        ValueError: there is an object of another kind, code among them.
    """
    if isinstance(value, list | tuple):
        return [decode(item, tensor_of) for item in value]
    if not isinstance(value, dict):
        return value
    if "class_name" not in value:
        return {key: decode(item, tensor_of) for key, item in value.items()}
    config = value.get("config", {})
    match value["class_name"]:
        case "__keras_tensor__" if tensor_of is not None:
            return tensor_of(value)
        case "__slice__":
            return slice(config.get("start"), config.get("stop"), config.get("step"))
        case "__ellipsis__":
            return Ellipsis
        case "__numpy__" | "__tensor__" if config["dtype"] in _TYPES:
            return np.array(config["value"], config["dtype"])
        case "__numpy__" | "__tensor__" if config["dtype"] == "bfloat16":
            return np.array(config["value"], "float32")
    raise ValueError(f"A layer is given {str(value)!r:.80}, which is not supported.")


def is_keras_tensor(value: Any) -> bool:
    return isinstance(value, dict) and value.get("class_name") == "__keras_tensor__"


def leaves_of(arguments: Any) -> list:
    """The leaves of a structure of arguments; what Keras writes as a tagged dict is one."""
    if isinstance(arguments, list | tuple):
        return [leaf for argument in arguments for leaf in leaves_of(argument)]
    if isinstance(arguments, dict) and "class_name" not in arguments:
        return [leaf for argument in arguments.values() for leaf in leaves_of(argument)]
    return [arguments]


def map_places(function: Callable[[list], Any], places: Any) -> Any:
    """`map_structure`, where a place in the graph, [name, number, index], is a leaf."""
    if isinstance(places, dict):
        return {key: map_places(function, value) for key, value in places.items()}
    if len(places) == 3 and isinstance(places[0], str):
        return function(places)
    return [map_places(function, place) for place in places]


def _tagged(tag: str, **config: Any) -> dict[str, Any]:
    return {"class_name": tag, "config": config}
