"""Engines that run the steps of an optimised model.

Each is a function from the model and a list of example inputs to what runs it: a function from the
model and such a list to the list of outputs. That does not hold the model, which holds it.
`compiler` is PyTorch's, `onnx` has onnxruntime and OpenVINO, `choosing` takes the fastest.
`"eager"`, the model's own steps, needs none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...extras import need

if TYPE_CHECKING:
    from ..optimized import OptimizedModel

Run = Callable[["OptimizedModel", list[Tensor]], list[Tensor]]
Prepare = Callable[["OptimizedModel", list[Tensor]], Run]

BACKENDS = ("eager", "inductor", "onnxruntime", "openvino", "auto")
EXTRAS = ("onnxruntime", "openvino")  # each needs its own package, and what writes ONNX


def check_backend(name: str) -> None:
    """Raises for an unknown backend, and for one that is not installed.

    Raises:
        ValueError: there is none of this name.
        MissingExtraError: it is not installed; a `ModuleNotFoundError`.
    """
    if name not in BACKENDS:
        raise ValueError(f"backend is one of {', '.join(BACKENDS)}, not {name!r}.")
    if name in EXTRAS:
        need(name, name)
        need("onnxscript", name)


def prepare(name: str, model: OptimizedModel, inputs: list[Tensor]) -> Run:
    """What runs the model by a backend, for inputs of these shapes and types.

    Raises:
        ValueError: the backend cannot run this model, or not where its inputs are.
    """
    if name in EXTRAS and not are_on_cpu(inputs):
        raise ValueError(f"{name} runs on the CPU here, and not on {inputs[0].device}.")
    return _function(name)(model, inputs)


def are_on_cpu(inputs: list[Tensor]) -> bool:
    return all(x.device.type == "cpu" for x in inputs)


def output_dtype(inputs: list[Tensor]) -> torch.dtype:
    """The type of floating point outputs: that of the inputs, float32 for bytes."""
    return next((x.dtype for x in inputs if x.is_floating_point()), torch.float32)


def _function(name: str) -> Prepare:
    match name:
        case "inductor":
            from .compiler import prepare
        case "onnxruntime":
            from .onnx import prepare_onnxruntime as prepare
        case "openvino":
            from .onnx import prepare_openvino as prepare
        case "auto":
            from .choosing import prepare_fastest as prepare
    return prepare
