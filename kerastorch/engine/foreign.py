"""The shapes that modules of torch among the layers give, which only layers say themselves."""

from __future__ import annotations

import torch
from torch import nn

from .layer import flatten_shapes, map_shapes
from .layout import Shape, keras_shape, tensor_shape
from .structure import flatten


class UnknownShape(ValueError):
    """Nobody can say what shape a module gives; its input may well fit it."""


def adapted_layer(module: nn.Module) -> nn.Module:
    """What an adapter of PEFT is put on, whose shapes it keeps; else the module itself."""
    return module.get_base_layer() if hasattr(module, "get_base_layer") else module


def output_shapes(module: nn.Module, arguments: list, known: list, data_format: str) -> list[Shape]:
    """What a module in evaluation mode gives, from a run without numbers, on the meta device.

    Args:
        module: a module of torch.
        arguments: structures of Keras's shapes, in which the batch may be unknown.
        known: shapes that the module is known to take, to tell what does not fit from what does
            not run so.
        data_format: how Keras shapes of images are written.

    Returns:
        Keras's shapes of the results, flat.

    Raises:
        UnknownShape: it does not run so, or more than the batch is unknown.
        ValueError: it does not take these shapes.
    """
    try:
        return _run_on_meta(module, arguments, data_format)
    except Exception as error:  # whatever a user's code may raise
        message = f"a {type(module).__name__} is not known to take {arguments}: {error}"
    try:
        _run_on_meta(module, known, data_format)
    except Exception as error:
        raise UnknownShape(message) from error
    raise ValueError(message)


def _run_on_meta(module: nn.Module, arguments: list, data_format: str) -> list[Shape]:
    shapes = flatten_shapes(arguments)
    if any(None in shape[1:] for shape in shapes):
        raise ValueError("sizes are open")
    batch = shapes[0][0]
    state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    state = {key: tensor.to("meta") for key, tensor in state.items()}
    dtype = next((x.dtype for x in state.values() if x.is_floating_point()), None)

    def stand_in(shape: Shape) -> torch.Tensor:
        sizes = tensor_shape((batch or 1, *shape[1:]), data_format)
        return torch.empty(sizes, dtype=dtype, device="meta")

    with torch.no_grad():
        given = torch.func.functional_call(module, state, tuple(map_shapes(stand_in, arguments)))
    results = [keras_shape(x.shape, data_format) for x in flatten(given)]
    return [(batch, *shape[1:]) for shape in results]
