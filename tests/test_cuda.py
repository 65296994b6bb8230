"""Models and optimised copies on a CUDA device; skipped, with the reason, where there is none."""

import pytest
import torch

import kerastorch
from kerastorch.optimization import optimize
from tests.optimizing import differ_by, randomize

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="PyTorch finds no CUDA device on this machine"
)

SIZE = 96


@pytest.fixture
def model():
    return randomize(kerastorch.create_model("mobilenet_v2", input_shape=(SIZE, SIZE, 3)))


@pytest.fixture
def images():
    return torch.randn(4, 3, SIZE, SIZE)


@pytest.fixture
def expected(model, images):
    with torch.no_grad():
        return model(images)


@pytest.fixture(autouse=True)
def full_precision():
    """Convolutions of float32 in float32, not in TF32."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_models_and_optimised_copies(model, images, expected, memory_format):
    x = images.cuda().to(memory_format=memory_format)
    for part in (model, optimize(model)):
        part = part.cuda().to(memory_format=memory_format)
        with torch.inference_mode():
            assert differ_by(part(x).cpu(), expected) <= 1e-4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_reduced_precision(model, images, expected, dtype):
    reduced = optimize(model, dtype=dtype).cuda()
    given = reduced(images.cuda())
    assert given.dtype == torch.float32
    assert differ_by(given.cpu(), expected) <= 0.1
    model = model.cuda().to(memory_format=torch.channels_last)
    with torch.inference_mode(), torch.autocast("cuda", dtype):
        assert differ_by(model(images.cuda()).float().cpu(), expected) <= 0.1


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])  # the latter by CUDA graphs
def test_compiled(model, images, expected, mode):
    compiled = torch.compile(optimize(model).cuda(), mode=mode, fullgraph=True)
    x = images.cuda()
    for _ in range(3):
        given = compiled(x).clone()
    assert differ_by(given.cpu(), expected) <= 1e-4


def test_a_cuda_graph_replays_the_model(model, images, expected):
    optimized, x = optimize(model).cuda(), torch.zeros_like(images).cuda()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            optimized(x)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        given = optimized(x)
    x.copy_(images)
    graph.replay()
    assert differ_by(given.cpu(), expected) <= 1e-4


def test_bytes_are_prepared_on_the_device(model):
    pixels = torch.randint(256, (2, 3, 120, 130), dtype=torch.uint8)
    prepare = model.transforms(interpolation="bilinear")
    on_device = prepare(pixels.cuda())
    assert on_device.device.type == "cuda"
    assert differ_by(on_device.cpu(), prepare(pixels)) <= 1e-5
    given = optimize(model).cuda()(on_device)
    with torch.no_grad():
        assert differ_by(given.cpu(), model(prepare(pixels))) <= 1e-4


def test_backends_of_the_cpu_say_so(model, images):
    optimized = optimize(model, backend="onnxruntime").cuda()
    with pytest.raises(ValueError, match="on the CPU"):
        optimized(images.cuda())
