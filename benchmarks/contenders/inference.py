"""Contenders in inference."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import timeit
from functools import partial
from pathlib import Path

from . import Call, Contender, images, keras_model, timm_twin, torchvision_twin


def kerastorch_eager(model: str, batch: int, size: int) -> Call:
    import kerastorch

    return _of_torch(kerastorch.create_model(model), batch, size)


def kerastorch_optimized(
    model: str, batch: int, size: int, backend: str, dtype: str = "float32", winograd: bool = True
) -> Call:
    import torch

    import kerastorch

    made = kerastorch.create_model(model)
    made = kerastorch.optimize(
        made, dtype=getattr(torch, dtype), backend=backend, winograd=winograd
    )
    return _of_torch(made, batch, size)


def timm(model: str, batch: int, size: int) -> Call:
    return _of_torch(timm_twin(model), batch, size)


def torchvision(model: str, batch: int, size: int) -> Call:
    return _of_torch(torchvision_twin(model), batch, size)


def keras(model: str, batch: int, size: int) -> Call:
    import keras

    made = keras_model(model)
    if keras.backend.backend() == "torch":
        return _of_torch(partial(made, training=False), batch, size, channels_last=True)
    return partial(made.predict_on_batch, images(batch, size))


def keras_onnxruntime(model: str, batch: int, size: int) -> Call:
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = _keras_onnx(model, batch, size, folder)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: images(batch, size)}
    return lambda: session.run(None, feed)


def keras_openvino(model: str, batch: int, size: int) -> Call:
    import openvino

    core = openvino.Core()
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    with tempfile.TemporaryDirectory() as folder:
        path = _keras_onnx(model, batch, size, folder)
        compiled = core.compile_model(core.read_model(path), "CPU", settings)
    request, x = compiled.create_infer_request(), images(batch, size)
    return lambda: request.infer([x], share_inputs=True)


def _keras_onnx(model: str, batch: int, size: int, folder: str) -> Path:
    """Keras's own ONNX file, written in another process: TensorFlow stays where it was."""
    path = Path(folder) / "model.onnx"
    task = [model, str(batch), str(size), str(path)]
    subprocess.run(
        [sys.executable, "-m", "benchmarks.contenders.keras_export", *task],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return path


def multiplication(model: str, batch: int, size: int) -> Call:
    """The machine's roof: a product of two matrices of 2048 x 2048, whatever the model.

    By PyTorch's BLAS, or by oneDNN as a convolution by single pixels, which is twice as fast where
    that BLAS is not made for the processor.
    """
    import torch

    from kerastorch.optimization.kernels import Convolution

    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    pixels = a.reshape(2, 32, 32, 2048).movedim(-1, 1)
    product = Convolution(b.t()[:, :, None, None], None, lambda _: ((0, 0), (0, 0)))
    ways = [torch.inference_mode()(way) for way in (lambda: a @ b, lambda: product(pixels))]
    return min(ways, key=lambda way: min(timeit.repeat(way, number=1, repeat=5)))


def _of_torch(model, batch: int, size: int, channels_last: bool = False) -> Call:
    import torch

    x = torch.from_numpy(images(batch, size))
    if not channels_last:
        x = x.movedim(-1, 1)
        model = model.eval().to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def call():
        return model(x)

    return call


CONTENDERS: dict[str, Contender] = {
    "keras-tensorflow": keras,
    "keras-torch": keras,
    "keras-onnxruntime": keras_onnxruntime,
    "keras-openvino": keras_openvino,
    "timm": timm,
    "torchvision": torchvision,
    "eager": kerastorch_eager,
    "optimized": partial(kerastorch_optimized, backend="eager"),
    "no-winograd": partial(kerastorch_optimized, backend="eager", winograd=False),
    "inductor": partial(kerastorch_optimized, backend="inductor"),
    "onnxruntime": partial(kerastorch_optimized, backend="onnxruntime"),
    "openvino": partial(kerastorch_optimized, backend="openvino"),
    "auto": partial(kerastorch_optimized, backend="auto"),
    "optimized-bf16": partial(kerastorch_optimized, backend="eager", dtype="bfloat16"),
    "inductor-bf16": partial(kerastorch_optimized, backend="inductor", dtype="bfloat16"),
    "openvino-bf16": partial(kerastorch_optimized, backend="openvino", dtype="bfloat16"),
    "auto-bf16": partial(kerastorch_optimized, backend="auto", dtype="bfloat16"),
    "multiplication": multiplication,
}

OURS = ("eager", "optimized", "no-winograd", "inductor", "onnxruntime", "openvino", "auto")
OURS += tuple(name for name in CONTENDERS if name.endswith("-bf16"))
"""The contenders that are kerastorch's."""
