"""`kerastorch.preprocessing.image` equals `keras.utils` to the bit, errors included."""

import io
import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from kerastorch.preprocessing import image
from tests.oracle.client import ENVIRONMENT

INTERPOLATIONS = ["nearest", "bilinear", "bicubic", "hamming", "box", "lanczos"]
PICTURES = ["RGB", "L", "RGBA", "P", "I;16", "I", "CMYK"]

LOAD_CASES = [
    {"path": f"{picture.replace(';', '')}.tiff", "color_mode": mode, **size}
    for picture, mode, size in itertools.product(
        PICTURES,
        ["rgb", "rgba", "grayscale"],
        [{}, {"target_size": [9, 14]}, {"target_size": [31, 46], "keep_aspect_ratio": True}],
    )
] + [
    {
        "path": "RGB.tiff",
        "target_size": size,
        "interpolation": interpolation,
        "keep_aspect_ratio": keep,
    }
    for size, interpolation, keep in itertools.product(
        [[8, 8], [40, 13], [23, 34], [7, 90]], INTERPOLATIONS, [False, True]
    )
]
LOAD_CASES += [  # deep pictures, and those with an alpha channel
    {
        "path": path,
        "color_mode": mode,
        "target_size": [40, 13],
        "interpolation": interpolation,
    }
    for path, mode, interpolation in itertools.product(
        ["I16.tiff", "RGBA.tiff"], ["grayscale", "rgba"], INTERPOLATIONS
    )
]
TO_ARRAY_CASES = [
    {"path": path, "color_mode": mode, "data_format": data_format, "dtype": dtype}
    for path, mode, data_format, dtype in itertools.product(
        ["RGB.tiff", "I16.tiff"],
        ["rgb", "grayscale"],
        [None, "channels_first", "channels_last"],
        [None, "uint8", "float64"],
    )
]
TO_IMG_CASES = [
    {"array": f"{kind}{channels}", "data_format": data_format, "scale": scale, "dtype": dtype}
    for kind, channels, data_format, scale, dtype in itertools.product(
        ["pixels", "unit", "deep", "flat"],
        [1, 3, 4],
        ["channels_last", "channels_first"],
        [True, False],
        [None, "float64"],
    )
    # Colours deeper than 8 bits overflow in Keras, and what they become is up to numpy.
    if not (kind == "deep" and channels > 1 and not scale)
]

# Runs in a process of its own: Keras is never imported beside kerastorch.
KERAS = """
import json, sys
import numpy as np
from keras import utils

cases = json.load(open("cases.json"))
arrays = np.load("arrays.npz")
answers = {}
for i, case in enumerate(cases["load"]):
    img = utils.load_img(**case)
    answers[f"load{i}"], answers[f"load{i}mode"] = np.asarray(img), img.mode
for i, case in enumerate(cases["to_array"]):
    img = utils.load_img(case.pop("path"), color_mode=case.pop("color_mode"))
    answers[f"to_array{i}"] = utils.img_to_array(img, **case)
for i, case in enumerate(cases["to_img"]):
    img = utils.array_to_img(arrays[case.pop("array")].copy(), **case)
    answers[f"to_img{i}"], answers[f"to_img{i}mode"] = np.asarray(img), img.mode
np.savez("answers.npz", **answers)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with pictures of every mode, arrays, and what Keras makes of them."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    height, width = 23, 34
    colors = Image.fromarray(rng.integers(0, 256, (height, width, 4), dtype=np.uint8))
    deep = rng.integers(0, 60_000, (height, width))
    for mode in PICTURES:
        if mode == "I;16":
            img = Image.fromarray(deep.astype(np.uint16))
        else:
            img = Image.fromarray(deep.astype(np.int32)) if mode == "I" else colors.convert(mode)
        assert img.mode == mode
        img.save(folder / f"{mode.replace(';', '')}.tiff")
    np.savez(folder / "arrays.npz", **_arrays(rng))
    cases = {"load": LOAD_CASES, "to_array": TO_ARRAY_CASES, "to_img": TO_IMG_CASES}
    (folder / "cases.json").write_text(json.dumps(cases))
    subprocess.run(
        [sys.executable, "-c", KERAS], cwd=folder, env=os.environ | ENVIRONMENT, check=True
    )
    return folder


def _arrays(rng):
    arrays = {}
    for channels in (1, 3, 4):
        # As high and wide as it has channels, so that it means something in either data format.
        shape = (channels, 5, channels)
        arrays[f"pixels{channels}"] = rng.integers(0, 256, shape).astype("float32")
        arrays[f"unit{channels}"] = rng.random(shape)
        arrays[f"deep{channels}"] = rng.integers(0, 60_000, shape).astype("float32")
        arrays[f"flat{channels}"] = np.full(shape, 7.0)
    return arrays


@pytest.fixture(scope="module")
def keras_answers(folder):
    return dict(np.load(folder / "answers.npz"))


def _same(img, keras_answers, key):
    assert img.mode == str(keras_answers[f"{key}mode"])
    np.testing.assert_array_equal(np.asarray(img), keras_answers[key])


@pytest.mark.parametrize("case", range(len(LOAD_CASES)))
def test_load_img(folder, keras_answers, case):
    arguments = dict(LOAD_CASES[case])
    path = folder / arguments.pop("path")
    _same(image.load_img(path, **arguments), keras_answers, f"load{case}")


@pytest.mark.parametrize("case", range(len(TO_ARRAY_CASES)))
def test_img_to_array(folder, keras_answers, case):
    arguments = dict(TO_ARRAY_CASES[case])
    img = image.load_img(folder / arguments.pop("path"), color_mode=arguments.pop("color_mode"))
    array = image.img_to_array(img, **arguments)
    assert array.dtype == keras_answers[f"to_array{case}"].dtype
    np.testing.assert_array_equal(array, keras_answers[f"to_array{case}"])
    array[:] = 0  # an array of its own, that the user may change


@pytest.mark.parametrize("case", range(len(TO_IMG_CASES)))
def test_array_to_img(folder, keras_answers, case):
    arguments = dict(TO_IMG_CASES[case])
    array = np.load(folder / "arrays.npz")[arguments.pop("array")]
    before = array.copy()
    _same(image.array_to_img(array, **arguments), keras_answers, f"to_img{case}")
    np.testing.assert_array_equal(array, before)


def test_every_kind_of_path(folder):
    path = folder / "RGB.tiff"
    expected = np.asarray(Image.open(path))
    for same in (path, str(path), str(path).encode(), io.BytesIO(path.read_bytes())):
        np.testing.assert_array_equal(np.asarray(image.load_img(same)), expected)
    with pytest.raises(TypeError, match="path should be path-like or io.BytesIO"):
        image.load_img(3)
    with pytest.raises(FileNotFoundError):
        image.load_img(folder / "nowhere.png")


def test_errors_say_what_is_allowed(folder):
    path = folder / "RGB.tiff"
    with pytest.raises(ValueError, match='color_mode must be "grayscale", "rgb", or "rgba"'):
        image.load_img(path, color_mode="bgr")
    with pytest.raises(ValueError, match=r"Invalid interpolation method area .*bilinear, bicubic"):
        image.load_img(path, target_size=(8, 8), interpolation="area")
    with pytest.raises(ValueError, match="channels_first"):
        image.img_to_array(image.load_img(path), data_format="nchw")
    with pytest.raises(ValueError, match=r"rank 3 .*\(2, 2\)"):
        image.array_to_img(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="Unsupported channel number: 2"):
        image.array_to_img(np.zeros((2, 2, 2)))
