"""The built-in architectures: which there are, who has them, and which of them tests take."""

import pytest

from kerastorch.applications import get_record

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

# One of each family: the others differ in depth and width. RegNetX is RegNetY without its gates.
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
    "RegNetY002",
    "ResNeXt50",
]


def side_of(name):
    """The side of the oracle that has an architecture."""
    return "keras2_side" if name.startswith(("ResNetRS", "RegNet", "ResNeXt")) else "keras_side"


def by_family(names):
    """Parameters for architectures, of which `make test` takes one of each family."""
    for name in names:
        is_quick = get_record(name).keras_name in FAMILIES
        yield pytest.param(name, marks=[] if is_quick else pytest.mark.full)
