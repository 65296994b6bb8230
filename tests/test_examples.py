"""The five examples of Keras's applications page, run as they stand, here and in Keras."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import kerastorch
from kerastorch.applications.registry import get_record
from tests.oracle.client import ENVIRONMENT, ROOT
from tests.photographs import photograph
from tests.published.files import put_class_index
from tests.published.injection import environment
from tests.published.server import PublishedServer

EXAMPLES = ROOT / "examples" / "keras_applications"

# An example, the model whose weights it loads, and what it computes.
PURE = {
    "classify": ("resnet50", True, "preds"),
    "extract_features": ("vgg16", False, "features"),
    "intermediate_layer": ("vgg19", True, "block4_pool_features"),
    "input_tensor": ("inception_v3", True, "preds"),
}

RUN = """
import runpy, sys
import numpy as np

example, result, variable, photograph = sys.argv[1:]
sys.argv = [example, photograph]
np.save(result, runpy.run_path(example)[variable])
"""

# The fourth example up to each training.
FINE_TUNING_IN_KERAS = """
from keras.applications.inception_v3 import InceptionV3
from keras.layers import Dense, GlobalAveragePooling2D
from keras.models import Model

base_model = InceptionV3(weights=None, include_top=False)
x = GlobalAveragePooling2D()(base_model.output)
x = Dense(1024, activation="relu")(x)
model = Model(inputs=base_model.input, outputs=Dense(200, activation="softmax")(x))
for layer in base_model.layers:
    layer.trainable = False
print([weight.path for weight in model.trainable_weights])
for i, layer in enumerate(base_model.layers):
    print(i, layer.name)
for layer in model.layers[:249]:
    layer.trainable = False
for layer in model.layers[249:]:
    layer.trainable = True
print([layer.name for layer in model.layers if layer.trainable])
"""

FINE_TUNING_HERE = """
import runpy, sys
import torch

example, state, folder = sys.argv[1:]
sys.argv = [example, folder]
torch.manual_seed(0)
module = runpy.run_path(example)
model = module["model"]
print([layer.name for layer in model.layers if layer.trainable])
torch.save(model.state_dict(), state)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with random weights, in whose place real ones would be."""
    folder = tmp_path_factory.mktemp("published")
    torch.manual_seed(3)
    for name, include_top in [*(case[:2] for case in PURE.values()), ("inception_v3", False)]:
        path = folder / get_record(name).published_weights(include_top).path
        path.parent.mkdir(exist_ok=True)
        model = kerastorch.create_model(name, include_top=include_top)
        if name in ("resnet50", "inception_v3") and include_top:
            _make_sure_of_some_classes(model)
        model.save_weights(path)
    with PublishedServer(folder) as server:
        yield server


def _make_sure_of_some_classes(model):
    """Scales the classifier so that its three best classes stand out, and other ones are left."""
    logits = model.predict(_prepared(model))
    model.predictions.weight.data *= 4 / logits.std()


def _prepared(model):
    batch = model.transforms()(Image.open(photograph("chelsea.png")))
    return batch.movedim(1, -1).numpy()


@pytest.fixture(scope="module")
def elephant(tmp_path_factory):
    """A photograph under the name that the documentation gives to its own."""
    path = tmp_path_factory.mktemp("photographs") / "elephant.jpg"
    Image.open(photograph("chelsea.png")).save(path)
    return path


def run(program, server, home, *arguments):
    result = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env=environment(server, home) | ENVIRONMENT,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("name", PURE)
def test_an_example_gives_what_it_gives_in_keras(name, server, elephant, tmp_path):
    _, _, variable = PURE[name]
    here = EXAMPLES / f"{name}.py"
    in_keras = tmp_path / "in_keras.py"
    in_keras.write_text(here.read_text().replace("kerastorch", "keras"))
    put_class_index(tmp_path)
    results, printed = [], []
    for example in (in_keras, here):
        result = tmp_path / f"{example.stem}.npy"
        output = run(RUN, server, tmp_path, example, result, variable, elephant)
        printed.append(output.splitlines()[-1])
        results.append(np.load(result))
    expected, given = results
    assert given.dtype == expected.dtype == np.float32
    assert given.shape == expected.shape
    assert abs(given - expected).max() <= 1e-4 * abs(expected).max()
    keras_words, own_words = (re.sub(r"[\d.]+(e-\d+)?\)", ")", line) for line in printed)
    assert own_words == keras_words


def test_fine_tuning_lists_freezes_and_thaws_as_keras(server, tmp_path):
    for label in ("cat", "rocket"):
        (tmp_path / "photographs" / label).mkdir(parents=True)
        img = Image.open(photograph({"cat": "chelsea.png", "rocket": "rocket.jpg"}[label]))
        for i in range(2):
            img.rotate(9 * i).save(tmp_path / "photographs" / label / f"{i}.jpg")
    state = tmp_path / "state.pt"
    arguments = EXAMPLES / "fine_tune.py", state, tmp_path / "photographs"
    output = run(FINE_TUNING_HERE, server, tmp_path, *arguments).splitlines()
    expected = subprocess.run(
        [sys.executable, "-c", FINE_TUNING_IN_KERAS],
        env=os.environ | ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    # The head, the listing, and what is trained at the end.
    assert len(eval(expected[0])) == 4
    listing = [line for line in output if line[0].isdigit()]
    assert listing == expected[1:-1]
    assert len(listing) == 311
    thawed = set(eval(output[-1]))
    assert thawed == set(eval(expected[-1]))

    path = server.folder / get_record("inception_v3").published_weights(False).path
    published = kerastorch.applications.InceptionV3(weights=path, include_top=False).state_dict()
    trained = torch.load(state)
    changed = {key.partition(".")[0] for key in published if differ(key, trained, published)}
    assert changed
    assert changed <= thawed
    assert {"conv2d_88", "batch_normalization_93"} <= changed


def differ(key, trained, published):
    return not torch.equal(trained[key], published[key])
