"""Checks of a backend of optimised models, in a process of its own.

    python -m tests.backends onnxruntime

The engines stay in the process they were in, with threads and with settings of the processor;
with them the tests' own process crashed when a child of it ended.
"""

import copy
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import kerastorch
from kerastorch import layers
from kerastorch.optimization import optimize
from tests.optimizing import differ_by, randomize


def make_model() -> kerastorch.Model:
    """The first blocks of a MobileNet, for 7 classes."""
    mobilenet = kerastorch.create_model("mobilenet", alpha=0.25, input_shape=(64, 64, 3))
    x = layers.GlobalAveragePooling2D()(mobilenet.get_layer("conv_pw_4_relu").output)
    x = layers.Dense(7, activation="softmax")(x)
    return randomize(kerastorch.Model(mobilenet.input, x))


def check_outputs(backend: str) -> None:
    """Outputs, features, copies and `predict`, for two sizes of batches."""
    model = make_model()
    optimized = optimize(model, backend=backend)
    names = ["conv_pw_2", "conv_pw_4"]
    features = optimized.feature_maps(*names)
    for size in (1, 3):
        x = torch.randn(size, 3, 64, 64)
        with torch.no_grad():
            expected = model(x)
            wanted = model.feature_maps(*(f"{name}_relu" for name in names))(x)
        given = optimized(x)
        assert given.dtype == torch.float32
        assert not given.requires_grad
        assert differ_by(given, expected) <= 1e-5
        kept = given.clone()
        optimized(torch.zeros_like(x))
        assert torch.equal(given, kept)  # results are the caller's
        for one, other in zip(features(x).values(), wanted.values(), strict=True):
            assert differ_by(one, other) <= 1e-5
    for one in (pickle.loads(pickle.dumps(optimized)), copy.deepcopy(optimized)):
        assert one.backend == backend
        assert differ_by(one(x), expected) <= 1e-5
    pixels = x.movedim(1, -1).numpy()
    assert differ_by(torch.from_numpy(optimized.predict(pixels)), expected) <= 1e-5


def check_structures(backend: str) -> None:
    image, number = layers.Input((9, 9, 3), name="image"), layers.Input((4,), name="number")
    x = layers.BatchNormalization()(layers.Conv2D(4, 3)(image))
    pooled = layers.GlobalAveragePooling2D()(x)
    outputs = {"map": layers.ReLU()(x), "sum": [layers.Add()([pooled, number])]}
    model = randomize(kerastorch.Model({"image": image, "number": number}, outputs))
    given = {"number": torch.randn(2, 4), "image": torch.randn(2, 3, 9, 9)}
    with torch.no_grad():
        results, expected = optimize(model, backend=backend)(given), model(given)
    assert differ_by(results["map"], expected["map"]) <= 1e-5
    assert isinstance(results["sum"], list)
    assert differ_by(results["sum"][0], expected["sum"][0]) <= 1e-5


def check_wide_depthwise_convolution(backend: str) -> None:
    """With margins that differ, as in EfficientNet, and too many weights to be padded in a file."""
    image = layers.Input((9, 9, 3))
    x = layers.Conv2D(700, 1, activation="swish")(image)
    x = layers.DepthwiseConv2D(5, strides=2)(layers.ZeroPadding2D(((1, 2), (1, 2)))(x))
    model = kerastorch.Model(image, layers.GlobalAveragePooling2D()(x)).eval()
    given = torch.randn(2, 3, 9, 9)
    with torch.no_grad():
        assert differ_by(optimize(model, backend=backend)(given), model(given)) <= 1e-5


def check_threads(backend: str) -> None:
    """Each gets the outputs of its own inputs."""
    image = layers.Input((9, 9, 3))
    model = kerastorch.Model(image, layers.Conv2D(8, 3)(layers.Conv2D(8, 3)(image))).eval()
    optimized = optimize(model, backend=backend)
    images = [torch.randn(1, 3, 9, 9) for _ in range(60)]
    with torch.no_grad():
        expected = [model(x) for x in images]
    with ThreadPoolExecutor(4) as threads:
        for given, wanted in zip(threads.map(optimized, images), expected, strict=True):
            assert differ_by(given, wanted) <= 1e-5


def check_types_and_gradients(backend: str) -> None:
    """Outputs have the type of the inputs, and what they go into can be trained."""
    image = layers.Input((9, 9, 3))
    optimized = optimize(kerastorch.Model(image, layers.Conv2D(8, 3)(image)), backend=backend)
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        assert optimized(torch.randn(2, 3, 9, 9, dtype=dtype)).dtype == dtype
    with torch.inference_mode():
        optimized(torch.randn(2, 3, 9, 9))
    head = torch.nn.Conv2d(8, 2, 3)
    head(optimized(torch.randn(2, 3, 9, 9))).sum().backward()
    assert head.weight.grad.abs().sum() > 0


def check_sizes(backend: str) -> None:
    """More sizes than PyTorch compiles a function for if nobody asks."""
    image = layers.Input((None, None, 3))
    model = kerastorch.Model(image, layers.Conv2D(2, 3)(image)).eval()
    optimized = optimize(model, backend=backend)
    for size in range(5, 17):
        x = torch.randn(1, 3, size, 5)
        with torch.no_grad():
            assert differ_by(optimized(x), model(x)) <= 1e-5


def check_bfloat16(backend: str) -> None:
    """It is what is computed in, or refused; inputs and outputs are float32."""
    model = make_model()
    optimized = optimize(model, dtype=torch.bfloat16, backend=backend)
    x = torch.randn(2, 3, 64, 64)
    if backend == "onnxruntime":
        with pytest.raises(ValueError, match="computes in float32 here"):
            optimized(x)
        return
    with torch.no_grad():
        given, expected = optimized(x), model(x)
    assert given.dtype == torch.float32
    assert 1e-5 < differ_by(given, expected) < 0.1


def main() -> None:
    torch.set_num_threads(1)
    backend = sys.argv[1]
    check_outputs(backend)
    check_structures(backend)
    check_wide_depthwise_convolution(backend)
    check_bfloat16(backend)
    check_threads(backend)
    check_types_and_gradients(backend)
    if backend == "inductor":
        check_sizes(backend)


if __name__ == "__main__":
    main()
