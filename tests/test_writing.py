"""Keras -> here -> Keras: weights bit for bit, and the same outputs, in every format.

`make test` writes each architecture in one of the formats and the four that are hardest to match in
all of them; `make matrix` writes every architecture in every format.
"""

from contextlib import ExitStack
from functools import cache, partial
from itertools import cycle

import numpy as np
import pytest
import torch

import kerastorch
from kerastorch.applications import get_record
from tests import builders, parity
from tests.oracle.client import Oracle
from tests.test_fine_tuned import MODELS, structured
from tests.test_loading import assert_same_state
from tests.test_matrix import HARDEST, OTHERS

pytestmark = pytest.mark.usefixtures("beside_oracle")

# What is written, and who reads it.
FORMATS = [
    ("whole.keras", "keras_side"),
    ("whole.h5", "keras_side"),
    ("twin.weights.h5", "keras_side"),
    ("weights_only.h5", "keras_side"),
    ("weights_only.h5", "keras2_side"),
]


@pytest.fixture(scope="module")
def oracles():
    """The process of each reader, started when it is first asked for."""
    with ExitStack() as processes:
        yield cache(lambda side: processes.enter_context(Oracle(side)))


def write(model, path):
    (model.save if path.name.startswith("whole") else model.save_weights)(path)


def read_here(build, path):
    is_whole = path.name.startswith("whole")
    return parity.by_load_model(build, path) if is_whole else parity.by_load_weights(build, path)


def read_there(oracle, path):
    """As Keras itself reads: whole models anew, weights into the model that it holds."""
    if path.name.startswith("whole"):
        oracle.ask("open", path=str(path))
    else:
        oracle.ask("clear")
        oracle.ask("load", path=str(path))


def assert_equal_in_keras(oracle, model, inputs, arrays, state=None):
    """Keras has these weights (those that its `state` gave before) and computes the same."""
    if state is not None:
        found = oracle.ask("state")
        assert {key: found[key] for key in state} == state
    error = parity.relative_error(
        model.predict(structured(model, inputs)), oracle.ask("predict", inputs=arrays)
    )
    assert error <= parity.TOLERANCE


# The architectures


def cells():
    for turn, name in enumerate(HARDEST + OTHERS):
        twin = (name,)  # one object for all formats: pytest keeps a fixture by identity
        for number, (file, reader) in enumerate(FORMATS):
            is_quick = name in HARDEST or number == turn % len(FORMATS)
            marks = [] if is_quick else [pytest.mark.full]
            yield pytest.param(twin, file, reader, marks=marks, id=f"{name}-{file}-{reader}")


@pytest.fixture(scope="module")
def twin(request, oracles, tmp_path_factory):
    """An architecture that has come here from Keras."""
    (name,) = request.param
    least = get_record(name).min_size
    shape = (least + 13, least + 6, 3)
    arguments = {"name": name, "input_shape": shape, "classes": 5, "classifier_activation": None}
    oracle, path = oracles("keras_side"), tmp_path_factory.mktemp("twin") / "whole.keras"
    oracle.ask("build", builder="application", arguments=arguments)
    oracle.ask("save", path=str(path))
    model = kerastorch.load_model(path)
    path.unlink()
    image = np.random.default_rng(0).uniform(-1, 1, (2, *shape))
    return arguments, model, image, oracle.ask("state")


@pytest.mark.parametrize(("twin", "file", "reader"), list(cells()), indirect=["twin"])
def test_architectures_go_home(oracles, tmp_path, twin, file, reader):
    arguments, model, image, state = twin
    oracle, path = oracles(reader), tmp_path / file
    if reader == "keras2_side":
        oracle.ask("build", builder="application", arguments=arguments)
        state = {"weights": state["weights"]}
    write(model, path)
    read_there(oracle, path)
    assert_equal_in_keras(oracle, model, [image], [image], state)
    again = read_here(partial(builders.application, kerastorch, **arguments), path)
    assert_same_state(again, model)
    path.unlink()


# Fine-tuned models


@pytest.mark.parametrize("case", MODELS)
def test_fine_tuned_models_go_home(oracles, tmp_path, case):
    """Nested and shared models, several inputs, frozen halves."""
    builder, arguments = MODELS[case]
    build = partial(getattr(builders, builder), kerastorch, **arguments)
    oracle = oracles("keras_side")
    oracle.ask("build", builder=builder, arguments=arguments)
    oracle.ask("save", path=str(tmp_path / "source.keras"))
    state = oracle.ask("state")
    model = kerastorch.load_model(tmp_path / "source.keras")
    inputs = parity.random_arrays(model.inputs, batch=2)
    formats = FORMATS[::4] if case == "VGG with Flatten" else FORMATS  # it is large
    for file, reader in formats:
        path = tmp_path / file
        expected = state if reader == "keras_side" else None  # Keras 2 may have another order
        if reader == "keras2_side":
            oracles(reader).ask("build", builder=builder, arguments=arguments)
        write(model, path)
        read_there(oracles(reader), path)
        assert_equal_in_keras(oracles(reader), model, inputs, inputs, expected)
        assert_same_state(read_here(build, path), model)


OPTIMIZERS = {"SGD": partial(torch.optim.SGD, momentum=0.9), "Adam": torch.optim.Adam}
TRAINED = {
    "MobileNetV2": (
        "application",
        {"name": "MobileNetV2", "input_shape": (45, 38, 3), "alpha": 0.35},
    ),
    "InceptionV3": ("application", {"name": "InceptionV3", "input_shape": (75, 81, 3)}),
    "transferred": MODELS["transferred"],
    "segmented": MODELS["segmented, encoder within"],
    "siamese": MODELS["siamese"],
}


@pytest.mark.parametrize(
    ("case", "optimizer"), zip(TRAINED, cycle(OPTIMIZERS), strict=False), ids=TRAINED
)
def test_trained_here(oracles, tmp_path, case, optimizer):
    """Three steps with some layers frozen change weights and statistics, and all goes home."""
    builder, arguments = TRAINED[case]
    oracle = oracles("keras_side")
    oracle.ask("build", builder=builder, arguments=arguments)
    oracle.ask("save", path=str(tmp_path / "source.keras"))
    model = kerastorch.load_model(tmp_path / "source.keras")
    for layer in model.layers[: len(model.layers) // 4]:
        layer.trainable = False
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    inputs = parity.random_arrays(model.inputs, batch=3)
    train(model, inputs, OPTIMIZERS[optimizer])
    changed = {key for key, tensor in model.state_dict().items() if not tensor.equal(before[key])}
    trained = {key for key, p in model.named_parameters() if p.requires_grad}
    assert changed & trained
    assert not changed & (dict(model.named_parameters()).keys() - trained)
    for file in ("whole.keras", "whole.h5", "twin.weights.h5", "weights_only.h5"):
        write(model, tmp_path / file)
        read_there(oracle, tmp_path / file)
        assert_equal_in_keras(oracle, model, inputs, inputs)


def train(model, inputs, make_optimizer):
    model.train()
    optimizer = make_optimizer([p for p in model.parameters() if p.requires_grad], 1e-3)
    tensors = structured(model, [parity.from_keras(x) for x in inputs])
    for _ in range(3):
        outputs = parity.flatten(model(tensors))
        optimizer.zero_grad()
        sum((output - 0.3).square().mean() for output in outputs).backward()
        optimizer.step()
    model.eval()
