"""The architectures equal Keras's in every layer, through files that Keras writes.

The 18 of the first years are compared at their default size and at another one. Those that came
later are more and larger: they are compared in small images, two at their default size too. `make
test` takes one of each family, but all 18 at the other size; `make matrix` takes all.
"""

import re
from contextlib import ExitStack
from functools import lru_cache

import h5py
import pytest
import torch

import kerastorch
from kerastorch.applications import get_record
from tests import builders, parity
from tests.architectures import APPLICATIONS, FAMILIES, LATER, by_family, side_of
from tests.oracle.client import Oracle

pytestmark = pytest.mark.usefixtures("beside_oracle")

ODD, SMALL, SMALLEST = (107, 93), (75, 78), (64, 67)

# Variants with the kind of file that carries each.
VARIANTS = {
    "avg, 1 channel": (
        {"include_top": False, "pooling": "avg", "input_shape": (*SMALL, 1)},
        "twin.weights.h5",
    ),
    "max, 4 channels": (
        {"include_top": False, "pooling": "max", "input_shape": (*SMALL, 4)},
        "twin.keras",
    ),
    "10 classes": (
        {"classes": 10, "classifier_activation": None, "input_shape": (*SMALL, 3)},
        "twin.h5",
    ),
}
WIDTHS = [
    ("MobileNet", {"alpha": 0.25}),
    ("MobileNet", {"alpha": 0.5}),
    ("MobileNet", {"alpha": 0.75, "depth_multiplier": 2}),
    ("MobileNetV2", {"alpha": 0.35}),
    ("MobileNetV2", {"alpha": 1.4}),
    ("MobileNetV3Small", {"alpha": 0.75}),
    ("MobileNetV3Small", {"minimalistic": True, "include_top": True, "dropout_rate": 0}),
    ("MobileNetV3Small", {"alpha": 1.25, "include_top": True}),
]


@pytest.fixture(scope="module", params=APPLICATIONS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def oracle(name):
    """A Keras process for one architecture; one for all would grow with each."""
    with Oracle(side_of(name)) as oracle:
        yield oracle


@pytest.fixture(scope="module")
def family_oracle():
    """Gives the Keras process for a family, which is called by what its names share."""
    with ExitStack() as running:

        @lru_cache(maxsize=1)
        def start(family):
            running.close()  # that of the family before
            return running.enter_context(Oracle(side_of(family)))

        yield start


def file_for(name, file):
    """A file of weights that is opened as `file` is; Keras 2 has only one kind."""
    return "twin.h5" if side_of(name) == "keras2_side" and file == "twin.weights.h5" else file


def images(name, model, batch, size=None):
    """Pixels as a model takes them; they are larger where it prepares them itself."""
    largest = 255 if get_record(name).own_preprocessing else 1
    return parity.random_arrays(model.inputs, batch, *([size] if size else []), largest=largest)


def variants():
    """Each family in each variant; `make test` takes one of each family in turn."""
    for turn, name in enumerate(FAMILIES):
        for number, (variant, case) in enumerate(VARIANTS.items()):
            is_quick = number == turn % len(VARIANTS)
            marks = [] if is_quick else pytest.mark.full
            yield pytest.param(name, *case, marks=marks, id=f"{name}, {variant}")


def application(name, **arguments):
    return "application", {"name": name, **arguments}


@pytest.mark.parametrize("name", by_family(APPLICATIONS), indirect=True)
def test_default_size(oracle, name, tmp_path):
    size = APPLICATIONS[name][0]
    file = tmp_path / "twin.weights.h5"
    model = parity.make_twins(oracle, *application(name), file, parity.by_weights_argument)
    assert model.input_shape == (None, size, size, 3)
    parity.assert_layers_agree(model, oracle, parity.random_arrays(model.inputs, batch=1))


def test_odd_size_without_top(oracle, name, tmp_path):
    """From a legacy weights file, the kind that is published."""
    model = parity.make_twins(
        oracle,
        *application(name, include_top=False, input_shape=(*ODD, 3)),
        tmp_path / "twin.h5",
        parity.by_weights_argument,
        weights_only=True,
    )
    parity.assert_layers_agree(model, oracle, parity.random_arrays(model.inputs, batch=2))


# Families that prepare pixels themselves unless told not to.
PREPARING = ["EfficientNetV2B0", "MobileNetV3Small", "ConvNeXtTiny", "ResNetRS50", "RegNetY002"]

# What the names of the later ones begin with.
FAMILY_NAMES = "EfficientNetB|EfficientNetV2|MobileNetV3|ConvNeXt|ResNetRS|RegNet|ResNeXt"


@pytest.mark.parametrize("later", by_family(LATER))
def test_later_ones(family_oracle, later, tmp_path):
    """In small images, from weights in the format that theirs are published in."""
    oracle = family_oracle(re.match(FAMILY_NAMES, later)[0])
    model = parity.make_twins(
        oracle,
        *application(later, input_shape=(*SMALLEST, 3)),
        tmp_path / "twin.h5",
        parity.by_weights_argument,
        weights_only=True,
    )
    assert model.count_params() == get_record(later).params
    parity.assert_layers_agree(model, oracle, images(later, model, batch=2))


@pytest.mark.parametrize("name", ["ConvNeXtTiny", "RegNetY002"], indirect=True)
def test_default_size_of_later_ones(oracle, name, tmp_path):
    case = application(name)
    path = tmp_path / "twin.h5"
    model = parity.make_twins(oracle, *case, path, parity.by_weights_argument, weights_only=True)
    size = (None, None) if get_record(name).open_size else (224, 224)
    assert model.input_shape == (None, *size, 3)
    parity.assert_layers_agree(model, oracle, images(name, model, batch=1, size=(224, 224)))


@pytest.mark.parametrize("name", PREPARING, indirect=True)
def test_pixels_that_are_prepared_before(oracle, name, tmp_path):
    """Not by the model itself."""
    case = application(name, include_preprocessing=False, input_shape=(*SMALL, 3))
    model = parity.make_twins(oracle, *case, tmp_path / file_for(name, "twin.weights.h5"))
    parity.assert_layers_agree(model, oracle, parity.random_arrays(model.inputs, batch=2))


@pytest.mark.parametrize("name", ["RegNetY002"], indirect=True)
def test_functions_are_layers_as_in_keras_2(oracle, name):
    """What Keras 2 has layers for counts among the layers, so that indices are the same."""
    keras = oracle.ask("build", builder="application", arguments={"name": name})
    model = builders.application(kerastorch, name)
    assert [layer.name for layer in model.layers[1:]] == [layer for layer, _ in keras["layers"][1:]]


@pytest.mark.parametrize("name", APPLICATIONS | LATER)
def test_published_numbers_of_parameters(name):
    with torch.device("meta"):
        whole = builders.application(kerastorch, name)
        bare = builders.application(kerastorch, name, include_top=False)
    assert (whole.count_params(), bare.count_params()) == (APPLICATIONS | LATER)[name][1:]


@pytest.mark.parametrize(("name", "arguments", "file"), list(variants()), indirect=["name"])
def test_variants(oracle, name, tmp_path, arguments, file):
    load = parity.by_load_model if file.endswith(".keras") else parity.by_load_weights
    path = tmp_path / file_for(name, file)
    model = parity.make_twins(oracle, *application(name, **arguments), path, load)
    parity.assert_layers_agree(model, oracle, images(name, model, batch=2))


@pytest.mark.parametrize("name", ["ResNet50", "InceptionV3", "NASNetMobile"], indirect=True)
def test_weights_under_other_names_go_by_order(oracle, name, tmp_path):
    """As in the published files, whose names are those of their era."""

    def load(build, path):
        with h5py.File(path, "r+") as file:
            others = {layer: f"era_{i}" for i, layer in enumerate(file.attrs["layer_names"])}
            for layer, other in others.items():
                file.move(layer, other)
            file.attrs["layer_names"] = list(others.values())
        return build(weights=path)

    case = application(name, include_top=False, input_shape=(*SMALL, 3))
    model = parity.make_twins(oracle, *case, tmp_path / "twin.h5", load, weights_only=True)
    parity.assert_layers_agree(model, oracle, parity.random_arrays(model.inputs, batch=1))


@pytest.mark.parametrize(("name", "widths"), WIDTHS, indirect=["name"], ids=str)
def test_widths(oracle, name, tmp_path, widths):
    """Of the MobileNets, in images whose size is not known when the model is built."""
    case = application(name, **{"include_top": False, **widths})
    model = parity.make_twins(oracle, *case, tmp_path / "twin.weights.h5")
    assert model.input_shape == (None, None, None, 3)
    parity.assert_layers_agree(model, oracle, images(name, model, batch=2, size=SMALL))
