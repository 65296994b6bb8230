"""Running a model with an eye on each layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ..engine import Model
from ..engine.layout import from_keras_layout, to_keras_layout
from ..engine.structure import flatten


class Visit(NamedTuple):
    """One call of a layer in a running model.

    Attributes:
        path: the layer's name behind those of the models it stands in.
        module: the layer, or the module that stands in its place.
        arguments, keywords: what it was called with.
        outputs: what it gave, flat.
    """

    path: str
    module: nn.Module
    arguments: tuple
    keywords: dict[str, Any]
    outputs: list[Tensor]


def run_watched(
    model: Model,
    arrays: Sequence[np.ndarray],
    visit: Callable[[Visit], list[Tensor] | None],
    dtype: torch.dtype = torch.float64,
) -> list[np.ndarray]:
    """Runs a model in inference and calls `visit` after each layer, models within opened.

    Args:
        model: the model, on the CPU; it stays in the mode it is in.
        arrays: its inputs, flat and in Keras's layout.
        visit: what looks at a call. What it gives takes the place of the layer's outputs, and what
            it raises ends the run.
        dtype: of the inputs.

    Returns:
        The model's outputs, flat and in Keras's layout.
    """
    tensors = [to_tensor(array, dtype, model.data_format) for array in arrays]
    with _hooked(model, visit), torch.no_grad():
        outputs = model(tensors, training=False)
    return [to_array(output, model.data_format) for output in flatten(outputs)]


def to_tensor(array: np.ndarray, dtype: torch.dtype, data_format: str) -> Tensor:
    """The tensor of this type of an array in Keras's layout."""
    tensor = torch.from_numpy(np.ascontiguousarray(array)).to(dtype)
    return from_keras_layout(tensor, data_format)


def to_array(tensor: Tensor, data_format: str) -> np.ndarray:
    """The array in Keras's layout of a tensor."""
    tensor = tensor.detach().cpu()
    tensor = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    return to_keras_layout(tensor, data_format).numpy()


def places_of(model: Model, above: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The layers of a model and of those within, with their paths; models themselves left out."""
    for name, key in model._keys.items():
        module = model._modules[key]
        if isinstance(module, Model):
            yield from places_of(module, f"{above}{name}/")
        else:
            yield f"{above}{name}", module


@contextmanager
def _hooked(model: Model, visit: Callable[[Visit], list[Tensor] | None]) -> Iterator[None]:
    running: list[str] = []  # the models within, by name
    handles: list[Any] = []
    seen: set[nn.Module] = set()

    def enter(name: str) -> Callable:
        return lambda *_: running.append(name)

    def leave(*_: Any) -> None:
        running.pop()

    def look(name: str) -> Callable:
        def hook(module: nn.Module, arguments: tuple, keywords: dict, output: Any) -> Any:
            path = "/".join([*running, name])
            values = visit(Visit(path, module, arguments, keywords, flatten(output)))
            return values[0] if values is not None and len(values) == 1 else values

        return hook

    def hook_all(model: Model) -> None:
        for name, key in model._keys.items():
            module = model._modules[key]
            if module in seen:
                continue
            seen.add(module)
            if isinstance(module, Model):
                handles.append(module.register_forward_pre_hook(enter(name), prepend=True))
                handles.append(module.register_forward_hook(leave))
                hook_all(module)
            else:
                handles.append(module.register_forward_hook(look(name), with_kwargs=True))

    hook_all(model)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
