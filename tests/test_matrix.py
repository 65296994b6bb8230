"""The architectures come out of every format that Keras 3 and Keras 2 write.

`make test` opens one architecture of each family from a format of each writer, and the four that
are hardest to match from all of them. `make matrix` opens every architecture from every format.
Weights alone as Keras 3 writes them are left to `make matrix`: `test_applications.py` compares them
in every layer.
"""

from contextlib import ExitStack
from functools import cache, lru_cache, partial

import numpy as np
import pytest

import kerastorch
from kerastorch.applications import get_record
from tests import builders, parity
from tests.architectures import FAMILIES, LATER, side_of
from tests.oracle.client import Oracle

pytestmark = pytest.mark.usefixtures("beside_oracle")

# The hardest come first, so that those after them take the formats in turn.
HARDEST = ["MobileNet", "DenseNet201", "NASNetMobile", "InceptionResNetV2"]
OTHERS = sorted(
    name
    for record in map(get_record, kerastorch.list_models())
    if (name := record.keras_name) not in HARDEST and name not in LATER
)
# By writer, each format's file; "weights_only.h5" is the legacy format without a config.
FORMATS = {
    "keras_side": ["whole.h5", "whole.keras", "twin.weights.h5", "weights_only.h5"],
    "keras2_side": ["whole.h5", "whole.keras", "weights_only.h5"],
}
# Those that `make test` goes through.
QUICK = [*HARDEST, *FAMILIES]
QUICK_FORMATS = {"keras_side": FORMATS["keras_side"][:2], "keras2_side": FORMATS["keras2_side"]}
# Keras 2 itself cannot write its scale layer into a `.keras` file.
UNWRITABLE = {("keras2_side", "InceptionResNetV2", "whole.keras")}


def cells():
    """Writer, architecture and format; what only `make matrix` runs is marked."""
    for writer, files in FORMATS.items():
        quick = QUICK_FORMATS[writer]
        for turn, name in enumerate([*HARDEST, *OTHERS, *LATER]):
            if side_of(name) not in (writer, "keras_side"):  # which does not have it
                continue
            for file in files:
                if (writer, name, file) in UNWRITABLE:
                    continue
                is_quick = file in quick if name in HARDEST else file == quick[turn % len(quick)]
                marks = [] if is_quick and name in QUICK else pytest.mark.full
                yield pytest.param(writer, name, file, marks=marks, id=f"{writer}-{name}-{file}")


@pytest.fixture(scope="module")
def oracles():
    """The process of each writer, started when it is first asked for."""
    with ExitStack() as processes:
        yield cache(lambda writer: processes.enter_context(Oracle(writer)))


@pytest.fixture(scope="module")
def twin_of(oracles):
    """An architecture in the oracle: what it gives for what. It is built once for all its files.

    It is not a fixture with parameters, which pytest makes anew for every cell. Only the last one
    is kept, as an oracle holds one model.
    """

    @lru_cache(maxsize=1)
    def twin_of(writer, name):
        least = get_record(name).min_size
        arguments = {
            "name": name,
            "input_shape": (least + 13, least + 6, 3),
            "classes": 5,
            "classifier_activation": None,  # A softmax would hide most of an error.
        }
        oracle = oracles(writer)
        oracle.ask("build", builder="application", arguments=arguments)
        build = partial(builders.application, kerastorch, **arguments)
        image = np.random.default_rng(0).uniform(-1, 1, (2, *arguments["input_shape"]))
        return oracle, build, image, oracle.ask("predict", inputs=[image])

    return twin_of


@pytest.mark.parametrize(("writer", "name", "file"), list(cells()))
def test_every_format_opens(twin_of, writer, name, file, tmp_path, record_property):
    oracle, build, image, expected = twin_of(writer, name)
    path = tmp_path / file
    oracle.ask("save", path=str(path), weights_only=file == "weights_only.h5")
    load = parity.by_load_model if file.startswith("whole") else parity.by_load_weights
    model = load(build, path)
    path.unlink()
    error = parity.relative_error(model.predict(image), expected)
    record_property(f"relative error, {writer}, {file}", error)
    assert error <= parity.TOLERANCE
