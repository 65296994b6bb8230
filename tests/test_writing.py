"""Keras -> here -> Keras: weights bit for bit, and the same outputs, in every format.

`make test` writes an architecture of each family in one of the formats; `make matrix` all of them
in all formats. Those that Keras 3 does not have go from Keras 2 to both.
"""

from contextlib import ExitStack
from functools import cache, partial
from itertools import cycle

import numpy as np
import pytest
import torch

import kerastorch
from kerastorch.applications import get_record
from kerastorch.engine.layer import stored_tensors
from tests import builders, parity
from tests.architectures import FAMILIES, LATER, side_of
from tests.oracle.client import Oracle
from tests.test_fine_tuned import MODELS, structured
from tests.test_loading import assert_same_state

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
    if path.name.startswith("whole"):
        return parity.by_load_model(build, path)
    with torch.device("meta"):  # which the weights then replace
        model = build()
    model.load_weights(path)
    return model


def read_there(oracle, path):
    """As Keras itself reads: whole models anew, weights into the model that it holds."""
    if path.name.startswith("whole"):
        oracle.ask("open", path=str(path))
    else:
        oracle.ask("clear")
        oracle.ask("load", path=str(path))


def assert_equal_in_keras(oracle, ours, inputs, state=None):
    """Keras has the weights and what is trained as its `state` gave them, and computes the same."""
    if state is not None:
        found = oracle.ask("state")
        assert found == {key: state[key] for key in found}
    error = parity.relative_error(ours, oracle.ask("predict", inputs=inputs))
    assert error <= parity.TOLERANCE


# The architectures


# Those that `make test` writes, one of each family; `make matrix` writes their larger sisters too.
# The places of those that take Keras longest have formats of weights, for which it makes them once.
QUICK = ["MobileNet", "DenseNet121", "InceptionV3", "MobileNetV2", "VGG16", "ResNet50"]
QUICK += ["Xception", "NASNetMobile", "InceptionResNetV2", "ResNet50V2"]
QUICK += [name for name in FAMILIES if name in LATER]
NAMES = [get_record(name).keras_name for name in kerastorch.list_models()]


def formats_of(name):
    """The formats that there is a reader for: Keras 3 takes weights for what it has."""
    return [
        (file, reader)
        for file, reader in FORMATS
        if side_of(name) in (reader, "keras_side") or file.startswith("whole")
    ]


def quick_formats(name):
    """The formats that `make test` writes an architecture in."""
    if name not in QUICK:
        return []
    turn, formats = QUICK.index(name), formats_of(name)
    return [formats[turn % len(formats)]] if turn else formats


def cells():
    for name in NAMES:
        quick = quick_formats(name)
        rest = [form for form in formats_of(name) if form not in quick]
        for formats, marks in ((quick, []), (rest, [pytest.mark.full])):
            if formats:
                files = "-".join(f"{file}-{reader}" for file, reader in formats)
                yield pytest.param(name, formats, marks=marks, id=f"{name}-{files}")


@pytest.mark.parametrize(("name", "formats"), list(cells()))
def test_architectures_go_home(oracles, tmp_path, name, formats):
    least = get_record(name).min_size
    shape = (least + 13, least + 6, 3)
    arguments = {"name": name, "input_shape": shape, "classes": 5, "classifier_activation": None}
    build = partial(builders.application, kerastorch, **arguments)
    oracle, source = oracles(side_of(name)), tmp_path / "source.keras"
    oracle.ask("build", builder="application", arguments=arguments)
    oracle.ask("save", path=str(source))
    model, state = kerastorch.load_model(source), oracle.ask("state")
    source.unlink()
    image = np.random.default_rng(0).uniform(-1, 1, (2, *shape))
    ours = model.predict(image)
    for file, reader in formats:
        if reader == "keras2_side":
            oracles(reader).ask("build", builder="application", arguments=arguments)
        write(model, tmp_path / file)
        read_there(oracles(reader), tmp_path / file)
        # Keras 3 may have another order than Keras 2.
        expected = state if reader == side_of(name) or side_of(name) == "keras_side" else None
        assert_equal_in_keras(oracles(reader), ours, [image], expected)
        assert_same_state(read_here(build, tmp_path / file), model)
        (tmp_path / file).unlink()


# Fine-tuned models


# These are written as `.keras` and for Keras 2 only.
LARGE = ["VGG with Flatten", "siamese", "segmented", "flattened base", "renamed"]
LARGE += ["ConvNeXt", "EfficientNet"]


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
    ours = model.predict(structured(model, inputs))
    for file, reader in FORMATS[::4] if case in LARGE else FORMATS:
        path = tmp_path / file
        expected = state if reader == "keras_side" else None  # Keras 2 may have another order
        if reader == "keras2_side":
            oracles(reader).ask("build", builder=builder, arguments=arguments)
        write(model, path)
        read_there(oracles(reader), path)
        assert_equal_in_keras(oracles(reader), ours, inputs, expected)
        assert_same_state(read_here(build, path), model)


OPTIMIZERS = {"SGD": partial(torch.optim.SGD, momentum=0.9), "Adam": torch.optim.Adam}
TRAINED = {
    "MobileNetV2": (
        "application",
        {"name": "MobileNetV2", "input_shape": (45, 38, 3), "alpha": 0.35},
    ),
    "transferred": MODELS["transferred"],
    "segmented": MODELS["segmented, encoder within"],
    "siamese": MODELS["siamese"],
}


@pytest.mark.parametrize(
    ("case", "optimizer"), list(zip(TRAINED, cycle(OPTIMIZERS), strict=False)), ids=TRAINED
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
    ours = model.predict(structured(model, inputs))
    for file in ("whole.keras", "whole.h5", "twin.weights.h5", "weights_only.h5"):
        write(model, tmp_path / file)
        read_there(oracle, tmp_path / file)
        assert_equal_in_keras(oracle, ours, inputs)


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


# Files of Keras 2 become files of Keras 3

OF_KERAS_2 = {
    "layers": ("layers_of_keras_2", {}),
    "functions": ("tensorflow_functions", {}),
    "names with /": ("with_head", {"classes": 4, "names": ["a/conv", "a/norm", "b/conv", "a/b"]}),
}


@pytest.mark.parametrize("case", OF_KERAS_2)
def test_files_of_keras_2_go_to_keras_3(oracles, tmp_path, case):
    builder, arguments = OF_KERAS_2[case]
    keras_2, keras_3 = oracles("keras2_side"), oracles("keras_side")
    keras_2.ask("build", builder=builder, arguments=arguments)
    keras_2.ask("save", path=str(tmp_path / "old.h5"))
    model = kerastorch.load_model(tmp_path / "old.h5")
    inputs = [2 * array for array in parity.random_arrays(model.inputs, batch=2)]
    expected = keras_2.ask("predict", inputs=inputs)
    for file in ("whole.keras", "whole.h5"):
        write(model, tmp_path / file)
        read_there(keras_3, tmp_path / file)
        theirs = keras_3.ask("predict", inputs=inputs)
        assert parity.relative_error(theirs, expected) <= parity.TOLERANCE
        again = stored_tensors(kerastorch.load_model(tmp_path / file)).values()
        pairs = zip(again, stored_tensors(model).values(), strict=True)
        assert all(torch.equal(ours, theirs) for ours, theirs in pairs)
