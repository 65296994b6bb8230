"""The architectures equal Keras's in every layer, through files that Keras writes.

The 18 of the first years are compared at their default size and at another one. Those that came
later are as many again and larger: each is compared in small images, and the smallest of a family
at its default size too.
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
# The same of those that came later. tf_keras is the last to have ResNetRS and RegNet, and
# keras-applications the ResNeXts.
LATER = {
    "EfficientNetB0": (224, 5330571, 4049571),
    "EfficientNetB1": (240, 7856239, 6575239),
    "EfficientNetB2": (260, 9177569, 7768569),
    "EfficientNetB3": (300, 12320535, 10783535),
    "EfficientNetB4": (380, 19466823, 17673823),
    "EfficientNetB5": (456, 30562527, 28513527),
    "EfficientNetB6": (528, 43265143, 40960143),
    "EfficientNetB7": (600, 66658687, 64097687),
    "EfficientNetV2B0": (224, 7200312, 5919312),
    "EfficientNetV2B1": (240, 8212124, 6931124),
    "EfficientNetV2B2": (260, 10178374, 8769374),
    "EfficientNetV2B3": (300, 14467622, 12930622),
    "EfficientNetV2S": (384, 21612360, 20331360),
    "EfficientNetV2M": (480, 54431388, 53150388),
    "EfficientNetV2L": (480, 119027848, 117746848),
    "MobileNetV3Small": (224, 2554968, 939120),
    "MobileNetV3Large": (224, 5507432, 2996352),
    "ConvNeXtTiny": (224, 28589128, 27820128),
    "ConvNeXtSmall": (224, 50223688, 49454688),
    "ConvNeXtBase": (224, 88591464, 87566464),
    "ConvNeXtLarge": (224, 197767336, 196230336),
    "ConvNeXtXLarge": (224, 350196968, 348147968),
    "ResNetRS50": (224, 35745288, 33696288),
    "ResNetRS101": (224, 63724296, 61675296),
    "ResNetRS152": (224, 86773256, 84724256),
    "ResNetRS200": (224, 93386248, 91337248),
    "ResNetRS270": (224, 130104520, 128055520),
    "ResNetRS350": (224, 164268360, 162219360),
    "ResNetRS420": (224, 192262216, 190213216),
    "RegNetX002": (224, 2705640, 2336640),
    "RegNetX004": (224, 5194184, 4809184),
    "RegNetX006": (224, 6229320, 5700320),
    "RegNetX008": (224, 7296968, 6623968),
    "RegNetX016": (224, 9233640, 8320640),
    "RegNetX032": (224, 15359112, 14350112),
    "RegNetX040": (224, 22194312, 20833312),
    "RegNetX064": (224, 26283464, 24658464),
    "RegNetX080": (224, 39663112, 37742112),
    "RegNetX120": (224, 46202440, 43961440),
    "RegNetX160": (224, 54389704, 52340704),
    "RegNetX320": (224, 107973576, 105452576),
    "RegNetY002": (224, 3183844, 2814844),
    "RegNetY004": (224, 4371296, 3930296),
    "RegNetY006": (224, 6084920, 5475920),
    "RegNetY008": (224, 6293056, 5524056),
    "RegNetY016": (224, 11255102, 10366102),
    "RegNetY032": (224, 19502498, 17989498),
    "RegNetY040": (224, 20708928, 19619928),
    "RegNetY064": (224, 30665684, 29368684),
    "RegNetY080": (224, 39265812, 37248812),
    "RegNetY120": (224, 51918928, 49677928),
    "RegNetY160": (224, 83712956, 80687956),
    "RegNetY320": (224, 145205058, 141492058),
    "ResNeXt50": (224, 25097128, 23048128),
    "ResNeXt101": (224, 44315560, 42266560),
}
ODD, SMALL, SMALLEST = (107, 93), (75, 78), (64, 67)

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
    "EfficientNetB0",
    "EfficientNetV2B0",
    "MobileNetV3Small",
    "ConvNeXtTiny",
    "ResNetRS50",
    "RegNetX002",
    "RegNetY002",
    "ResNeXt50",
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


def side_of(name):
    return "keras2_side" if name.startswith(("ResNetRS", "RegNet", "ResNeXt")) else "keras_side"


def file_for(name, file):
    """A file of weights that is opened as `file` is; Keras 2 has only one kind."""
    return "twin.h5" if side_of(name) == "keras2_side" and file == "twin.weights.h5" else file


def images(name, model, batch, size=None):
    """Pixels as a model takes them; they are larger where it prepares them itself."""
    largest = 255 if get_record(name).own_preprocessing else 1
    return parity.random_arrays(model.inputs, batch, *([size] if size else []), largest=largest)


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


SMALLEST_OF_FAMILIES = ["EfficientNetB0", "EfficientNetV2B0", "MobileNetV3Small", "ConvNeXtTiny"]
SMALLEST_OF_FAMILIES += ["ResNetRS50", "RegNetX002", "RegNetY002", "ResNeXt50"]


# What the names of the later ones begin with.
FAMILY_NAMES = "EfficientNetB|EfficientNetV2|MobileNetV3|ConvNeXt|ResNetRS|RegNet|ResNeXt"

# Gigabytes in float64. Others differ from these in nothing but depth and width.
LARGEST = ["ConvNeXtLarge", "ConvNeXtXLarge", "ResNetRS270", "ResNetRS350"]
LARGEST += ["RegNetX320", "RegNetY320"]


@pytest.mark.parametrize(
    "later",
    [pytest.param(x, marks=[pytest.mark.full] if x in LARGEST else []) for x in LATER],
)
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


@pytest.mark.parametrize("name", SMALLEST_OF_FAMILIES, indirect=True)
def test_default_size_of_later_ones(oracle, name, tmp_path):
    case = application(name)
    path = tmp_path / "twin.h5"
    model = parity.make_twins(oracle, *case, path, parity.by_weights_argument, weights_only=True)
    size = (None, None) if get_record(name).open_size else (224, 224)
    assert model.input_shape == (None, *size, 3)
    parity.assert_layers_agree(model, oracle, images(name, model, batch=1, size=(224, 224)))


@pytest.mark.parametrize("name", ["EfficientNetV2B0", "MobileNetV3Small"], indirect=True)
def test_pixels_that_are_prepared_before(oracle, name, tmp_path):
    """Not by the model itself."""
    case = application(name, include_preprocessing=False, input_shape=(*SMALL, 3))
    model = parity.make_twins(oracle, *case, tmp_path / "twin.weights.h5")
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


@pytest.mark.parametrize("name", FAMILIES, indirect=True)
@pytest.mark.parametrize(
    ("arguments", "file"), VARIANTS, ids=["avg, 1 channel", "max, 4 channels", "10 classes"]
)
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
