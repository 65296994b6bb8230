"""Checks of exported models, in a process of their own: onnxruntime stays where it was.

    python -m tests.exporting mobilenet_v2 ...

Each model, and its optimised copy, is exported for any number of images by `torch.export`, and for
two as ONNX, which onnxruntime runs; all give what the model gives.
"""

import contextlib
import io
import sys
import tempfile
from pathlib import Path

import onnxruntime
import torch

import kerastorch
from kerastorch.optimization import optimize
from tests.optimizing import differ_by, randomize

SIZE = 96
TOLERANCE = 1e-5


def run_exported(model: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    shapes = ({0: torch.export.Dim("batch", min=2)},)
    exported = torch.export.export(model, (images,), dynamic_shapes=shapes)
    return exported.module()(images)


def run_by_onnxruntime(model: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        with contextlib.redirect_stdout(io.StringIO()):
            torch.onnx.export(model, (images,), path, dynamo=True)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return torch.from_numpy(session.run(None, {name: images.numpy()})[0])


def main() -> None:
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    for name in sys.argv[1:]:
        model = randomize(kerastorch.create_model(name, input_shape=(SIZE, SIZE, 3), classes=7))
        images = torch.randn(2, 3, SIZE, SIZE)
        expected = model(images)
        for part in (model, optimize(model)):
            for run in (run_exported, run_by_onnxruntime):
                difference = differ_by(run(part, images), expected)
                assert difference <= TOLERANCE, f"{name}, {run.__name__}: {difference}"


if __name__ == "__main__":
    main()
