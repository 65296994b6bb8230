"""`make demo`: a real fine-tuned Keras model classifies its photographs here as in Keras."""

import os
import subprocess
import sys

import numpy as np
import pytest

from examples import kitchenware
from tests.oracle.client import ENVIRONMENT

# Runs in a process of its own: Keras is never imported beside kerastorch.
KERAS = """
import sys
import keras
import numpy as np

model_file, pixels, logits = sys.argv[1:]
model = keras.models.load_model(model_file, compile=False)
np.save(logits, model.predict(np.load(pixels), verbose=0))
"""


@pytest.fixture(scope="module", autouse=True)
def package():
    kitchenware.fetch()


def test_it_names_the_labelled_photographs_right():
    result = subprocess.run(
        [sys.executable, kitchenware.__file__], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    table, closing = result.stdout.rstrip().rsplit("\n", 1)
    assert closing == "9 of 9 labelled photographs right"
    assert table.count(".jpg") == 18


def test_its_logits_are_those_of_keras(tmp_path):
    paths = sorted((kitchenware.DATA / "images").glob("*.jpg"))
    pixels, logits = tmp_path / "pixels.npy", tmp_path / "logits.npy"
    np.save(pixels, kitchenware.read_photographs(paths))
    subprocess.run(
        [sys.executable, "-c", KERAS, kitchenware.KERAS_FILE, pixels, logits],
        env=os.environ | ENVIRONMENT,
        check=True,
    )
    np.testing.assert_allclose(kitchenware.classify(paths), np.load(logits), rtol=0, atol=1e-4)
