"""The 18 architectures equal Keras's in every layer, through files that Keras writes."""

import h5py
import pytest
import torch

import kerastorch
from tests import builders, parity
from tests.oracle.client import Oracle

pytestmark = pytest.mark.usefixtures("beside_oracle")

# The default image size, and the published numbers of parameters with the top and without it,
# the latter for images of open size: one of NASNetLarge's branches is there for fixed sizes only.
APPLICATIONS = {
    "Xception": (299, 22910480, 20861480),
    "VGG16": (224, 138357544, 14714688),
    "VGG19": (224, 143667240, 20024384),
    "ResNet50": (224, 25636712, 23587712),
    "ResNet101": (224, 44707176, 42658176),
    "ResNet152": (224, 60419944, 58370944),
    "ResNet50V2": (224, 25613800, 23564800),
    "ResNet101V2": (224, 44675560, 42626560),
    "ResNet152V2": (224, 60380648, 58331648),
    "InceptionV3": (299, 23851784, 21802784),
    "InceptionResNetV2": (299, 55873736, 54336736),
    "MobileNet": (224, 4253864, 3228864),
    "MobileNetV2": (224, 3538984, 2257984),
    "DenseNet121": (224, 8062504, 7037504),
    "DenseNet169": (224, 14307880, 12642880),
    "DenseNet201": (224, 20242984, 18321984),
    "NASNetMobile": (224, 5326716, 4269716),
    "NASNetLarge": (331, 88949818, 84887922),
}
ODD, SMALL = (107, 93), (75, 78)

FAMILIES = [
    "Xception",
    "VGG16",
    "ResNet50",
    "ResNet50V2",
    "InceptionV3",
    "InceptionResNetV2",
    "MobileNet",
    "MobileNetV2",
    "DenseNet121",
    "NASNetMobile",
]
# Variants with the kind of file that carries each.
VARIANTS = [
    ({"include_top": False, "pooling": "avg", "input_shape": (*SMALL, 1)}, "twin.weights.h5"),
    ({"include_top": False, "pooling": "max", "input_shape": (*SMALL, 4)}, "twin.keras"),
    ({"classes": 10, "classifier_activation": None, "input_shape": (*SMALL, 3)}, "twin.h5"),
]
WIDTHS = [
    ("MobileNet", {"alpha": 0.25}),
    ("MobileNet", {"alpha": 0.5}),
    ("MobileNet", {"alpha": 0.75, "depth_multiplier": 2}),
    ("MobileNetV2", {"alpha": 0.35}),
    ("MobileNetV2", {"alpha": 1.4}),
]


@pytest.fixture(scope="module", params=APPLICATIONS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def oracle(name):
    """A Keras process for one architecture; one for all would grow with each."""
    with Oracle() as oracle:
        yield oracle


def application(name, **arguments):
    return "application", {"name": name, **arguments}


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


@pytest.mark.parametrize("name", APPLICATIONS)
def test_published_numbers_of_parameters(name):
    with torch.device("meta"):
        whole = builders.application(kerastorch, name)
        bare = builders.application(kerastorch, name, include_top=False)
    assert (whole.count_params(), bare.count_params()) == APPLICATIONS[name][1:]


@pytest.mark.parametrize("name", FAMILIES, indirect=True)
@pytest.mark.parametrize(
    ("arguments", "file"), VARIANTS, ids=["avg, 1 channel", "max, 4 channels", "10 classes"]
)
def test_variants(oracle, name, tmp_path, arguments, file):
    load = parity.by_load_model if file.endswith(".keras") else parity.by_load_weights
    model = parity.make_twins(oracle, *application(name, **arguments), tmp_path / file, load)
    parity.assert_layers_agree(model, oracle, parity.random_arrays(model.inputs, batch=2))


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
    case = application(name, include_top=False, **widths)
    model = parity.make_twins(oracle, *case, tmp_path / "twin.weights.h5")
    assert model.input_shape == (None, None, None, 3)
    parity.assert_layers_agree(
        model, oracle, parity.random_arrays(model.inputs, batch=2, size=SMALL)
    )
