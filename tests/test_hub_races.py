"""Several processes on one cache: our own at once, Keras before and after; and other networks."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import pytest

import kerastorch
from kerastorch.convert.safetensors_files import checked_source
from kerastorch.hub import locking
from tests import parity
from tests.oracle.client import ENVIRONMENT, ROOT
from tests.published import files
from tests.published.checking import Subject, hash_of_state
from tests.published.injection import environment, inject
from tests.published.server import PublishedServer

WITHOUT_TOP = {
    "Xception": ({}, {}),
    "InceptionV3": ({}, {}),
    "MobileNet": ({"alpha": 0.25, "size": 128}, {"alpha": 0.25, "input_shape": (128, 128, 3)}),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("published")


@pytest.fixture(scope="module")
def subject(oracle, folder):
    """Gives a published model without its classifier, by name."""
    made = {}

    def get(name):
        if name not in made:
            variant, arguments = WITHOUT_TOP[name]
            path = files.publish(oracle, folder, name, include_top=False, **variant)
            path = path.relative_to(folder).as_posix()
            made[name] = Subject.of(folder, path, name, include_top=False, **arguments)
        return made[name]

    return get


@pytest.fixture
def server(folder):
    with PublishedServer(folder) as server:
        yield server


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


# Eight at once

START = """
import sys, kerastorch, torch
from tests.published.checking import hash_of_state
name, arguments = sys.argv[1], eval(sys.argv[2])
print("ready", flush=True)
input()
print(hash_of_state(getattr(kerastorch, name)(weights="imagenet", **arguments).state_dict()))
"""
NO_LOCK = """
import filelock
def acquire(*args, **kwargs):
    raise {error}("no locks here")
filelock.FileLock.acquire = acquire
"""


def start_eight(server, home, subject, prologue=""):
    """The hashes of the models of eight processes that start at the same moment."""
    with ExitStack() as stack:
        starts = [waiting_process(server, home, subject, prologue) for _ in range(8)]
        processes = [stack.enter_context(process) for process in starts]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            go(process)
        return [process.stdout.read().strip() for process in processes]


def waiting_process(server, home, subject, prologue=""):
    """A process that has imported what it needs and waits for a line before it loads the model."""
    program = prologue + START
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program, subject.name, repr(subject.arguments)],
        env=environment(server, home),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_eight_processes(server, home, subject):
    """One downloads and converts, seven wait."""
    subject = subject("Xception")
    server.bytes_per_second = 40_000_000
    assert start_eight(server, home, subject) == [hash_of_state(subject.state)] * 8
    assert server.requests == {subject.path: 1}
    subject.assert_cache_is_good(home, ".h5", ".safetensors")


@pytest.mark.parametrize(
    ("name", "error", "endings"),
    [
        ("Xception", "NotImplementedError", (".h5", ".safetensors")),
        ("MobileNet", "OSError", (".h5", ".h5.sha256", ".safetensors")),
    ],
)
def test_eight_processes_without_locks(server, home, subject, name, error, endings):
    """All do the work, and none sees half of another's."""
    subject = subject(name)
    prologue = NO_LOCK.format(error=error)
    assert start_eight(server, home, subject, prologue) == [hash_of_state(subject.state)] * 8
    assert server.requests[subject.path] > 1
    subject.assert_cache_is_good(home, *endings)


def test_a_long_wait_is_said_and_has_an_end(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(locking, "SILENT_WAIT", 0.01)
    monkeypatch.setattr(locking, "LONGEST_WAIT", 0.01)
    with locking.locked(tmp_path / "file"), ThreadPoolExecutor(1) as other:
        other.submit(locking.locked(tmp_path / "file").__enter__).result(timeout=20)
    assert caplog.messages == [f"Waiting for another process that makes {tmp_path / 'file'}"]


def test_the_end_of_who_holds_the_lock(server, home, subject):
    """Whoever waits goes on."""
    subject = subject("MobileNet")
    server.bytes_per_second = 100_000
    holder, waiter = (waiting_process(server, home, subject) for _ in range(2))
    with holder, waiter:
        for process in (holder, waiter):
            assert process.stdout.readline() == "ready\n"
        go(holder)
        while not server.requests:
            time.sleep(0.01)
        go(waiter)
        time.sleep(0.5)
        assert server.requests == {subject.path: 1}
        holder.kill()
        server.bytes_per_second = None
        assert waiter.stdout.read().strip() == hash_of_state(subject.state)
    assert server.requests == {subject.path: 2}


def test_four_threads(server, home, subject, monkeypatch):
    """A process waits for itself, too."""
    subject = subject("MobileNet")
    inject(monkeypatch, server)
    server.bytes_per_second = 8_000_000
    with ThreadPoolExecutor(4) as threads:
        models = [threads.submit(subject.start) for _ in range(4)]
    for model in models:
        subject.assert_is_right(model.result())
    assert server.requests == {subject.path: 1}


def go(process):
    process.stdin.write("\n")
    process.stdin.flush()


# Keras

KERAS = """
import sys
import keras, numpy as np
keras.config.set_floatx("float64")
applications, image = keras.applications, np.load(sys.argv[1])
arguments = {"include_top": False, "weights": "imagenet"}
ours = applications.Xception(**arguments)
theirs = applications.MobileNet(input_shape=(128, 128, 3), alpha=0.25, **arguments)
np.savez(sys.argv[2], *(np.asarray(model(image)) for model in (ours, theirs)))
"""


@pytest.mark.usefixtures("beside_oracle")
def test_keras_shares_the_cache(server, home, subject, tmp_path, monkeypatch):
    """Keras does not download what kerastorch has, nor kerastorch what Keras has."""
    inject(monkeypatch, server)
    ours = subject("Xception").start()
    image = np.random.default_rng(0).uniform(-1, 1, (2, 128, 128, 3))
    np.save(tmp_path / "image.npy", image)
    subprocess.run(
        [sys.executable, "-c", KERAS, tmp_path / "image.npy", tmp_path / "outputs.npz"],
        env=environment(server, home, **ENVIRONMENT),
        check=True,
    )
    requests = {subject(name).path: 1 for name in ("Xception", "MobileNet")}
    assert server.requests == requests
    theirs = subject("MobileNet").start()
    assert server.requests == requests
    with np.load(tmp_path / "outputs.npz") as outputs:
        for model, expected in zip((ours, theirs), outputs.values(), strict=True):
            assert parity.relative_error([model.eval().predict(image)], [expected]) <= 1e-12


# Other networks


@pytest.mark.parametrize("name", ["Xception", "InceptionV3"])
def test_behind_another_layer(server, home, subject, monkeypatch, name):
    """Layers that nobody named have other names there; their order is the same."""
    subject = subject(name)
    inject(monkeypatch, server)
    for _ in range(2):  # from Keras's file, from the converted one
        grey = kerastorch.Input((96, 75, 1))
        colour = kerastorch.layers.Conv2D(3, 3, padding="same")(grey)
        before = kerastorch.Model(grey, colour).layers[1]
        model = getattr(kerastorch, name)(
            include_top=False, weights="imagenet", input_tensor=colour
        )
        assert model.layers[1] is before
        assert not before.weight.is_meta
        state = {
            key: tensor
            for key, tensor in model.state_dict().items()
            if not key.startswith(f"{before.name}.")
        }
        assert state.keys() != subject.state.keys()
        pairs = zip(state.values(), subject.state.values(), strict=True)
        assert all(tensor.equal(expected) for tensor, expected in pairs)


@pytest.mark.usefixtures("beside_oracle")
def test_resnet50_before_keras_2_3(oracle, home, tmp_path, monkeypatch):
    """The converted file knows that it goes with another epsilon than today's network."""
    folder = tmp_path / "published"
    path = files.publish_resnet50_before_keras_2_3(oracle, folder, include_top=False, size=75)
    with PublishedServer(folder) as server:
        inject(monkeypatch, server)
        image = np.random.default_rng(0).uniform(-1, 1, (2, 75, 75, 3))
        expected = oracle.ask("predict", inputs=[image])
        for _ in range(2):
            model = kerastorch.ResNet50(False, "imagenet", input_shape=(75, 75, 3)).eval()
            assert parity.relative_error([model.predict(image)], expected) <= parity.TOLERANCE
    assert sum(server.requests.values()) == 1
    converted = home / "models" / path.with_suffix(".safetensors").name
    assert checked_source(converted)["epsilon"] == 1e-3
