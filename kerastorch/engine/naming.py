"""Names as Keras gives them, and the child keys that carry them in an `nn.Module`."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .layer import Layer

# Names that mean something on a Model or any nn.Module, so a child cannot be reached under them.
# The list is fixed: a method that is added later must not change the keys of files that exist
# already. `add`, which only a Sequential has, is what Keras calls every first sum.
RESERVED_KEYS = frozenset(
    [
        "T_destination",
        "add_module",
        "apply",
        "backward_takes_output",
        "become",
        "bfloat16",
        "bool",
        "buffers",
        "build",
        "built",
        "call_super_init",
        "children",
        "compile",
        "compute_output_shape",
        "count_params",
        "cpu",
        "cuda",
        "data_format",
        "default_name",
        "double",
        "dump_patches",
        "eval",
        "extra_repr",
        "feature_maps",
        "float",
        "forward",
        "from_config",
        "get_buffer",
        "get_config",
        "get_extra_state",
        "get_layer",
        "get_parameter",
        "get_submodule",
        "half",
        "input",
        "input_names",
        "input_shape",
        "inputs",
        "ipu",
        "is_named",
        "layers",
        "load_state_dict",
        "load_weights",
        "makes_new_tensor",
        "modules",
        "mtia",
        "name",
        "named_buffers",
        "named_children",
        "named_modules",
        "named_parameters",
        "operations",
        "output",
        "output_names",
        "output_shape",
        "outputs",
        "parameters",
        "predict",
        "register_backward_hook",
        "register_buffer",
        "register_forward_hook",
        "register_forward_pre_hook",
        "register_full_backward_hook",
        "register_full_backward_pre_hook",
        "register_load_state_dict_post_hook",
        "register_load_state_dict_pre_hook",
        "register_module",
        "register_parameter",
        "register_state_dict_post_hook",
        "register_state_dict_pre_hook",
        "requires_grad_",
        "reset_classifier",
        "save",
        "save_weights",
        "set_extra_state",
        "set_submodule",
        "share_memory",
        "state_dict",
        "summary",
        "takes_margins",
        "takes_overwrite",
        "takes_postpone",
        "takes_training",
        "to",
        "to_empty",
        "train",
        "trainable",
        "training",
        "transforms",
        "type",
        "weights",
        "xpu",
        "zero_grad",
    ]
)


def snake_case(class_name: str) -> str:
    """A class name as Keras spells it in layer names: `ZeroPadding2D` -> `zero_padding2d`."""
    name = re.sub(r"\W+", "", class_name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def number_name(prefix: str, taken: Counter, used: set[str]) -> str:
    """The next name for a prefix: `add`, `add_1`, ...; `taken` counts those given out so far."""
    name = None
    while name is None or name in used:
        name = f"{prefix}_{taken[prefix]}" if taken[prefix] else prefix
        taken[prefix] += 1
    used.add(name)
    return name


def name_layers(layers: Iterable[Layer]) -> Counter:
    """Names the unnamed among the layers of one graph, as a fresh Keras session would have.

    Keras numbers layers when they are made, so the order of creation decides. Layers that belonged
    to a graph before bring its counters along, and nested models those of their own graphs, for
    layers that were made after them. The joint counters are returned, and shared by all from then
    on.
    """
    layers = sorted(layers, key=lambda layer: layer._created)
    used = {layer.name for layer in layers if layer.is_named}
    taken: Counter = Counter()
    for layer in layers:
        taken |= layer._name_counters  # the larger count of each prefix
        if not layer.is_named:
            layer._name = number_name(layer.default_name, taken, used)
    for layer in layers:
        layer._name_counters = taken
    return taken


def child_keys(names: Iterable[str]) -> dict[str, str]:
    """The key of each layer's child module: its name, escaped where nn.Module cannot carry it."""
    keys: dict[str, str] = {}
    used: set[str] = set()
    for name in names:
        key = name.replace(".", "__")
        if key in RESERVED_KEYS or key.startswith("_") or not key:
            key = f"layer_{key}"
        while key in used:
            key += "_"
        used.add(key)
        keys[name] = key
    return keys


def near_matches(name: str, known: Iterable[str]) -> str:
    """What to add to an error about an unknown name: the known names that look like it, if any."""
    matches = difflib.get_close_matches(name, list(known), n=3)
    return f" Did you mean {', '.join(map(repr, matches))}?" if matches else ""
