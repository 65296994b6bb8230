"""From photographs to a model's input and from its output to names: Keras's numbers to the bit.

The arrays are compared by their hashes, which hold for every bit, shape and type.
"""

import hashlib
import inspect
import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

import kerastorch
from kerastorch.applications import imagenet_utils
from kerastorch.applications.input_channels import normalize
from kerastorch.applications.registry import get_record
from kerastorch.applications.transforms import Preprocessing
from kerastorch.preprocessing.image import INTERPOLATIONS, img_to_array, load_img, read_img
from tests.architectures import side_of
from tests.oracle.client import ENVIRONMENT
from tests.photographs import PHOTOGRAPHS, photograph
from tests.published.files import put_class_index

SIZES = [(224, 224), (299, 299), (71, 113), (500, 333)]
MODES = ["tf", "caffe", "torch"]
DATA_FORMATS = ["channels_last", "channels_first"]
RECORDS = [get_record(name) for name in kerastorch.list_models()]
MODULES = sorted({r.module for r in RECORDS if side_of(r.keras_name) == "keras_side"})
MODULES_OF_KERAS_2 = sorted({r.module for r in RECORDS} - set(MODULES))
SCORES = np.random.default_rng(1).random((3, 1000), dtype=np.float32)
WRONG_SCORES = [(1000,), (2, 999), (1, 2, 1000)]


def digest(x):
    x = np.ascontiguousarray(x)
    return hashlib.sha256(f"{x.dtype} {x.shape} ".encode() + x.tobytes()).hexdigest()


# Runs in a process of its own: Keras is never imported beside kerastorch.
KERAS = """
import importlib, itertools, json, sys
import numpy as np
from keras.applications import imagenet_utils
from keras.utils import img_to_array, load_img

exec(sys.argv[1])
task = json.load(open("task.json"))
answers = {"recipe": [], "types": [], "modules": [], "decoded": [], "errors": []}
for path, size, interpolation, keep in itertools.product(
    task["paths"], task["sizes"], task["interpolations"], [False, True]
):
    img = load_img(
        path, target_size=size, interpolation=interpolation, keep_aspect_ratio=keep
    )
    for mode, data_format in itertools.product(task["modes"], task["data_formats"]):
        x = img_to_array(img, data_format)
        answers["recipe"].append(digest(imagenet_utils.preprocess_input(x, data_format, mode)))
pixels = img_to_array(load_img(task["paths"][0]))
for mode, dtype in itertools.product(task["modes"], task["types"]):
    x = pixels.astype(dtype)[None]
    answers["types"].append(digest(imagenet_utils.preprocess_input(x, mode=mode)))
for name in task["modules"]:
    module = importlib.import_module(name.replace("kerastorch", "keras", 1))
    answers["modules"].append(digest(module.preprocess_input(pixels.copy())))
for top in task["tops"]:
    for best in imagenet_utils.decode_predictions(np.load("scores.npy"), top=top):
        answers["decoded"].append([[code, name, float(score)] for code, name, score in best])
for shape in task["wrong"]:
    try:
        imagenet_utils.decode_predictions(np.zeros(shape))
        answers["errors"].append(None)
    except Exception as error:
        answers["errors"].append(type(error).__name__)
json.dump(answers, open("answers.json", "w"))
"""

TYPES = ["uint8", "int64", "float32", "float64"]
TOPS = [1, 5, 1000]


@pytest.fixture(scope="module")
def keras(tmp_path_factory):
    """What Keras gives; its class index lies in its cache, as ours."""
    folder = tmp_path_factory.mktemp("photographs")
    task = {
        "paths": [str(photograph(name)) for name in PHOTOGRAPHS],
        "sizes": SIZES,
        "interpolations": INTERPOLATIONS,
        "modes": MODES,
        "data_formats": DATA_FORMATS,
        "types": TYPES,
        "modules": MODULES,
        "tops": TOPS,
        "wrong": WRONG_SCORES,
    }
    (folder / "task.json").write_text(json.dumps(task))
    np.save(folder / "scores.npy", SCORES)
    put_class_index(folder / "home")
    environment = os.environ | ENVIRONMENT | {"KERAS_HOME": str(folder / "home")}
    command = [sys.executable, "-c", KERAS, f"import hashlib\n{inspect.getsource(digest)}"]
    subprocess.run(command, cwd=folder, env=environment, check=True)
    return json.loads((folder / "answers.json").read_text())


def test_every_interpolation_size_mode_and_data_format(keras):
    expected = iter(keras["recipe"])
    for name, size, interpolation, keep in itertools.product(
        PHOTOGRAPHS, SIZES, INTERPOLATIONS, [False, True]
    ):
        path = photograph(name)
        img = load_img(path, "rgb", size, interpolation, keep)
        for mode, data_format in itertools.product(MODES, DATA_FORMATS):
            x = img_to_array(img, data_format)
            before = x.copy()
            wanted = next(expected)
            of_array = imagenet_utils.preprocess_input(x, data_format, mode)
            of_tensor = imagenet_utils.preprocess_input(torch.from_numpy(x), data_format, mode)
            assert digest(of_array) == digest(of_tensor.numpy()) == wanted, (name, size, mode)
            assert digest(x) == digest(before)
            if data_format == "channels_first" and not keep:
                transforms = Preprocessing(size, mode, interpolation, batch=False)
                assert digest(transforms(read_img(path)).numpy()) == wanted
    assert next(expected, None) is None


def test_every_type_of_pixels(keras):
    pixels = img_to_array(load_img(photograph(PHOTOGRAPHS[0])))
    for (mode, dtype), wanted in zip(itertools.product(MODES, TYPES), keras["types"], strict=True):
        x = pixels.astype(dtype)[None]
        before = x.copy()
        assert digest(imagenet_utils.preprocess_input(x, mode=mode)) == wanted
        assert digest(imagenet_utils.preprocess_input(torch.from_numpy(x), mode=mode)) == wanted
        assert digest(x) == digest(before)


@pytest.mark.parametrize("name", MODULES_OF_KERAS_2)
def test_preprocessing_of_what_keras_3_does_not_have(name):
    x = np.random.default_rng(0).uniform(0, 255, (4, 5, 3)).astype(np.float32)
    expected = imagenet_utils.preprocess_input(x, mode="torch") if "resnext" in name else x
    assert np.array_equal(sys.modules[name].preprocess_input(x), expected)


@pytest.mark.parametrize("name", MODULES)
def test_each_modules_own_preprocessing(keras, name):
    module = sys.modules[name]
    pixels = img_to_array(load_img(photograph(PHOTOGRAPHS[0])))
    wanted = keras["modules"][MODULES.index(name)]
    assert digest(module.preprocess_input(pixels)) == wanted
    assert module.decode_predictions is imagenet_utils.decode_predictions


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_a_models_record_and_its_module_prepare_pixels_alike(record):
    x = torch.rand(2, 3, 5, 4, generator=torch.manual_seed(0)) * 255
    own = sys.modules[record.module].preprocess_input(x, "channels_first")
    assert digest(normalize(x, record.preprocessing).numpy()) == digest(own.numpy())


def test_names_of_predictions(keras):
    expected = iter(keras["decoded"])
    for top in TOPS:
        decoded = imagenet_utils.decode_predictions(SCORES, top=top)
        assert decoded == imagenet_utils.decode_predictions(torch.from_numpy(SCORES), top=top)
        for best in decoded:
            assert [[code, name, float(score)] for code, name, score in best] == next(expected)


@pytest.mark.parametrize("shape", WRONG_SCORES)
def test_other_scores_are_keras_error(keras, shape):
    wanted = keras["errors"][WRONG_SCORES.index(shape)]
    with pytest.raises(ValueError, match="1000") as raised:
        imagenet_utils.decode_predictions(np.zeros(shape))
    assert type(raised.value).__name__ == wanted
