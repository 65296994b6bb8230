"""The server that stands for the published address, and the files that it has to serve.

What is downloaded over it is tested elsewhere: here, that each fault is what it says, and that the
files are such as Keras reads and as our models read to the same numbers.
"""

import http.client
import subprocess
import sys
import threading
import time
import urllib.request
from functools import partial
from urllib.error import HTTPError

import h5py
import numpy as np
import pytest
import requests

import kerastorch
from kerastorch.hub import checkpoints_of
from kerastorch.hub.release import write_release
from tests import builders, parity
from tests.oracle.client import Oracle
from tests.published import files
from tests.published.injection import inject
from tests.published.server import (
    PublishedServer,
    not_found,
    redirected_to,
    reset,
    stalled,
    truncated,
    truncated_without_length,
    unavailable,
    wrong_byte,
    wrong_bytes,
)

CONTENT = bytes(range(256)) * 8000  # 2 MB, more than the buffers of a socket hold
PATH = "network/weights.h5"


@pytest.fixture
def server(tmp_path):
    (tmp_path / PATH).parent.mkdir()
    (tmp_path / PATH).write_bytes(CONTENT)
    with PublishedServer(tmp_path) as server:
        yield server


def read(server, path=PATH, **options):
    with urllib.request.urlopen(f"{server.url}/{path}", **options) as answer:
        return answer.read()


def test_files_are_served_and_requests_counted(server):
    assert read(server) == CONTENT
    assert requests.get(f"{server.url}/{PATH}").content == CONTENT
    with pytest.raises(HTTPError, match="404"):
        read(server, "network/another.h5")
    assert server.requests == {PATH: 2, "network/another.h5": 1}


def test_other_processes_are_served_at_once_and_counted(server):
    code = "import sys, urllib.request as r; print(len(r.urlopen(sys.argv[1]).read()))"
    command = [sys.executable, "-c", code, f"{server.url}/{PATH}"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(8)]
    assert {process.communicate()[0] for process in processes} == {b"%d\n" % len(CONTENT)}
    assert server.requests == {PATH: 8}


def test_a_reset(server):
    server.faults[PATH] = [reset, reset]
    with pytest.raises(ConnectionResetError):
        read(server)
    with pytest.raises(requests.exceptions.ChunkedEncodingError, match="reset"):
        requests.get(f"{server.url}/{PATH}")
    assert read(server) == CONTENT


def test_a_truncated_body(server):
    server.faults[PATH] = [truncated]
    with pytest.raises(http.client.IncompleteRead) as caught:
        read(server)
    assert caught.value.partial == CONTENT[: len(CONTENT) // 2]
    assert read(server) == CONTENT


def test_a_truncated_body_of_no_known_length(server):
    server.faults[PATH] = [truncated_without_length]
    answer = requests.get(f"{server.url}/{PATH}")
    assert answer.raw.version == 10
    assert "Content-Length" not in answer.headers
    assert answer.content == CONTENT[: len(CONTENT) // 2]


def test_wrong_bytes(server):
    server.faults[PATH] = [wrong_byte, wrong_bytes]
    different = [sum(a != b for a, b in zip(read(server), CONTENT, strict=True)) for _ in range(2)]
    assert different == [1, len(CONTENT)]


def test_refusals_then_a_good_answer(server):
    server.faults[PATH] = [unavailable, not_found, unavailable]
    assert [requests.get(f"{server.url}/{PATH}").status_code for _ in range(4)] == [
        503,
        404,
        503,
        200,
    ]
    assert server.requests[PATH] == 4


def test_a_redirect(server):
    server.faults["old.h5"] = [redirected_to(PATH)]
    assert read(server, "old.h5") == CONTENT
    assert server.requests == {"old.h5": 1, PATH: 1}


def test_a_stall(server):
    server.faults[PATH] = [stalled, stalled]
    with urllib.request.urlopen(f"{server.url}/{PATH}", timeout=0.3) as answer:
        half = answer.read(len(CONTENT) // 2)
        assert half == CONTENT[: len(CONTENT) // 2]
        with pytest.raises(TimeoutError):
            answer.read(1)
    deadline = threading.Timer(0.3, server.ending.set)
    deadline.start()
    with pytest.raises(http.client.IncompleteRead):  # closed when the server ends
        read(server, timeout=10)
    deadline.join()


def test_a_slow_server(server):
    server.bytes_per_second = len(CONTENT) / 0.5
    start = time.monotonic()
    assert read(server) == CONTENT
    assert 0.4 < time.monotonic() - start < 5


def test_an_end_while_clients_wait(tmp_path):
    (tmp_path / "weights.h5").write_bytes(CONTENT)
    with PublishedServer(tmp_path, bytes_per_second=1000) as server:
        answer = urllib.request.urlopen(f"{server.url}/weights.h5")
    with answer, pytest.raises(http.client.IncompleteRead):
        answer.read()


PUBLISHED = {
    "Xception": ({"include_top": False}, ("convolution2d_1", "convolution2d_1_W:0"), "order"),
    "InceptionV3": ({"include_top": False}, ("conv2d_94", "conv2d_94/kernel:0"), "order"),
    "VGG16": ({"include_top": False}, ("block1_conv1", "block1_conv1_W_1:0"), "name"),
    "MobileNet": (
        {"alpha": 0.25, "size": 128},
        ("conv_dw_1", "conv_dw_1/depthwise_kernel:0"),
        "name",
    ),
    "MobileNetV2": (
        {"include_top": False, "alpha": 0.35, "size": 96},
        ("expanded_conv_depthwise", "expanded_conv_depthwise/depthwise_kernel:0"),
        "name",
    ),
    "NASNetMobile": ({}, ("stem_conv1", "stem_conv1/kernel:0"), "name"),
    "EfficientNetB0": (
        {"include_top": False},
        ("normalization_1", "normalization_1/mean:0"),
        "order",
    ),
}


@pytest.mark.usefixtures("beside_oracle")
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files(oracle, tmp_path, name):
    variant, weight, matched_by = PUBLISHED[name]
    path = files.publish(oracle, tmp_path, name, **variant)
    assert path == tmp_path / files.published_path(name, **variant)
    arguments = {x: value for x, value in variant.items() if x != "size"}
    if size := variant.get("size"):
        arguments["input_shape"] = (size, size, 3)
    assert_gives_keras_numbers(oracle, path, weight, matched_by, name, arguments)


@pytest.mark.usefixtures("beside_oracle")
def test_efficientnet_has_a_layer_more_with_published_weights(oracle, tmp_path, monkeypatch):
    """Also under a new classifier, and in the converted file, which is as Keras computes."""
    published = files.publish(oracle, tmp_path / "published", "EfficientNetB0")
    arguments = {"name": "EfficientNetB0", "weights": "imagenet"}
    keras = oracle.ask(
        "build", builder="application", arguments=arguments, published=str(published)
    )
    oracle.ask("load", path=str(published))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    with PublishedServer(tmp_path / "published") as server:
        inject(monkeypatch, server)
        model = kerastorch.applications.EfficientNetB0()
        adapted = kerastorch.create_model("efficientnet_b0", pretrained=True, classes=3)
        (released,) = write_release(tmp_path / "release", checkpoints_of(published.name))
    assert parity.names_and_classes(model) == keras["layers"]
    assert ("rescaling_1", "Rescaling") in keras["layers"]
    assert parity.names_and_classes(adapted) == keras["layers"]

    pixels = np.random.default_rng(0).uniform(0, 255, (1, 224, 224, 3))
    expected = oracle.ask("predict", inputs=[pixels])
    file, _ = released
    assert file.parity <= parity.TOLERANCE
    converted = kerastorch.load_model(tmp_path / "release" / file.name)
    for ours in (model, converted):
        error = parity.relative_error(ours.double().predict(pixels), expected)
        assert error <= parity.TOLERANCE


@pytest.mark.usefixtures("beside_oracle")
def test_resnet_rs_weights_are_chosen_by_size(tmp_path, monkeypatch):
    """For images of any size, by both doors, and under a new classifier."""
    path = "resnet_rs/resnet-rs-101-i160.h5"
    published = tmp_path / "published" / path
    published.parent.mkdir(parents=True)
    shape = (64, 67, 3)
    pixels = np.random.default_rng(0).uniform(0, 255, (2, *shape))
    with Oracle("keras2_side") as oracle:
        arguments = {"name": "ResNetRS101", "input_shape": shape}
        oracle.ask("build", builder="application", arguments=arguments)
        oracle.ask("save", path=str(published), weights_only=True)
        expected = oracle.ask("predict", inputs=[pixels])
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    with PublishedServer(tmp_path / "published") as server:
        inject(monkeypatch, server)
        chosen = {"weights": "imagenet-i160", "input_shape": shape}
        model = kerastorch.applications.ResNetRS101(**chosen)
        logits = kerastorch.create_model("resnet_rs101", **chosen)
        tuned = kerastorch.create_model("resnet_rs101", classes=10, **chosen)
        assert server.requests == {path: 1}
    assert parity.relative_error(model.predict(pixels), expected) <= parity.TOLERANCE
    state = model.state_dict()
    assert all(tensor.equal(state[key]) for key, tensor in logits.state_dict().items())
    own = {key for key, tensor in tuned.state_dict().items() if not tensor.equal(state[key])}
    assert own == {"predictions.weight", "predictions.bias"}
    assert tuned.output_shape == (None, 10)
    for build in (
        kerastorch.applications.ResNetRS101,
        partial(kerastorch.create_model, "resnet_rs101"),
    ):
        with pytest.raises(ValueError, match="'imagenet-i160', 'imagenet-i192', None or a path"):
            build(weights="imagenet-i99")


@pytest.mark.usefixtures("beside_oracle")
def test_resnet50_before_keras_2_3(oracle, tmp_path):
    path = files.publish_resnet50_before_keras_2_3(oracle, tmp_path, size=75)
    assert path.name == "resnet50_weights_tf_dim_ordering_tf_kernels.h5"
    weight = ("res2a_branch2a", "res2a_branch2a_W_1:0")
    arguments = {"input_shape": (75, 75, 3)}
    assert_gives_keras_numbers(oracle, path, weight, "name", "ResNet50", arguments)


def assert_gives_keras_numbers(oracle, path, weight, matched_by, name, arguments):
    with h5py.File(path) as file:
        layer, name_in_layer = weight
        assert layer.encode() in file.attrs["layer_names"]
        assert name_in_layer.encode() in file[layer].attrs["weight_names"]
        file.visititems(assert_lies_in_float32)
    model = builders.application(kerastorch, name, **arguments).eval()
    report = model.load_weights(path)
    assert report.is_complete
    assert report.matched_by == matched_by
    inputs = parity.random_arrays(model.inputs, batch=2, size=(107, 93))
    expected = oracle.ask("predict", inputs=inputs)
    assert parity.relative_error(model.predict(inputs[0]), expected) <= parity.TOLERANCE


def assert_lies_in_float32(_, item):
    if isinstance(item, h5py.Dataset):
        assert item.dtype == "float32"
        assert not item.chunks
