"""onnxruntime and OpenVINO, on the CPU, which read the model as ONNX."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from . import Run, output_dtype

if TYPE_CHECKING:
    from ..optimized import OptimizedModel

OPENVINO_PRECISIONS = {None: "f32", torch.float32: "f32", torch.bfloat16: "bf16"}


def prepare_onnxruntime(model: OptimizedModel, inputs: list[Tensor]) -> Run:
    import onnxruntime

    if model.compute_dtype not in (None, torch.float32):
        raise ValueError(f"onnxruntime computes in float32 here, not in {model.compute_dtype}.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with exported(model, inputs) as path:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]

    def run(_: OptimizedModel, inputs: list[Tensor]) -> list[Tensor]:
        feed = dict(zip(names, map(_array, inputs), strict=True))
        return _tensors(session.run(None, feed), inputs)

    return run


def prepare_openvino(model: OptimizedModel, inputs: list[Tensor]) -> Run:
    import openvino

    if model.compute_dtype not in OPENVINO_PRECISIONS:
        raise ValueError(f"OpenVINO does not compute in {model.compute_dtype} here.")
    settings = {
        # Left to itself it rounds to bfloat16 where the processor has instructions for it.
        "INFERENCE_PRECISION_HINT": OPENVINO_PRECISIONS[model.compute_dtype],
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    core = openvino.Core()
    with exported(model, inputs) as path:
        compiled = core.compile_model(core.read_model(path), "CPU", settings)
    request, calling = compiled.create_infer_request(), threading.Lock()

    def run(_: OptimizedModel, inputs: list[Tensor]) -> list[Tensor]:
        with calling:
            results = request.infer(list(map(_array, inputs)), share_inputs=True)
            # Copies, as the next call writes into the same memory.
            arrays = [results[output].copy() for output in compiled.outputs]
        return _tensors(arrays, inputs)

    return run


def _array(x: Tensor) -> np.ndarray:
    """A tensor as an array, channels first in memory too, where few channels take PyTorch long."""
    return np.ascontiguousarray(_as_float32(x).cpu().numpy())


def _as_float32(x: Tensor) -> Tensor:
    """What is a floating point number, as these backends take it."""
    return x.float() if x.is_floating_point() else x


def _tensors(arrays: list[np.ndarray], inputs: list[Tensor]) -> list[Tensor]:
    """The outputs, in the type of the inputs."""
    dtype = output_dtype(inputs)
    outputs = map(torch.from_numpy, arrays)
    return [y.to(dtype) if y.is_floating_point() else y for y in outputs]


class _Steps(torch.nn.Module):
    """A model that takes and gives plain tensors, in order."""

    def __init__(self, model: OptimizedModel):
        super().__init__()
        self.model = model

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.model._run_steps(list(inputs)))


@contextlib.contextmanager
def exported(model: OptimizedModel, inputs: list[Tensor]) -> Iterator[Path]:
    """A file of the model for inputs of these shapes, beside that of its weights, while it is used.

    Raises:
        ValueError: ONNX has nothing for what the model does.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        inputs = list(map(_as_float32, inputs))
        try:
            with _quiet():
                torch.onnx.export(
                    _Steps(model).eval(), tuple(inputs), path, dynamo=True, external_data=True
                )
        except torch.onnx.errors.OnnxExporterError as error:
            reason = str(error).strip().splitlines()[0]
            raise ValueError(f"{model.name!r} cannot be written as ONNX: {reason}") from error
        yield path


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's progress on standard output, and its notes on packages."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
