"""Weight files like the published ones: Keras writes them, under the names of their eras.

The weights are random and in float32, the layout, the file names and the names inside are those of
the published files. Afterwards the oracle holds the model with just these weights, in float64, so
that its answers are comparable to the last bits.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np

from tests.oracle.client import Oracle

_Layers = list[tuple[str, str]]  # names and classes, as the oracle describes a model

_NASNET_SIZES = {"NASNetMobile": 224, "NASNetLarge": 331}


def publish(
    oracle: Oracle,
    folder: Path,
    name: str,
    include_top: bool = True,
    alpha: float | None = None,
    size: int | None = None,
) -> Path:
    """Build an application in Keras and write its weights as they are published.

    Args:
        oracle: a process of Keras 3, which holds the model afterwards.
        folder: stands for the published address; the file lies below it.
        name: the application, by the name of its constructor.
        include_top: whether with the classifier. Without it the oracle's model takes images of any
            size, except where `size` is given and for the NASNets, whose layers depend on it.
        alpha, size: the variant, which a MobileNet needs and nothing else has.

    Returns:
        The path of the file, whose end is `published_path`.
    """
    arguments = {"name": name, "include_top": include_top}
    if alpha:
        arguments["alpha"] = alpha
    if size := size or _NASNET_SIZES.get(name):
        arguments["input_shape"] = (size, size, 3)
    keras = oracle.ask("build", builder="application", arguments=arguments)
    path = folder / published_path(name, include_top, alpha, size)
    _write(oracle, path, keras["layers"], _ERAS.get(name, _KERAS_2))
    return path


def publish_resnet50_before_keras_2_3(
    oracle: Oracle, folder: Path, include_top: bool = True, size: int = 224
) -> Path:
    """Write the ResNet50 of the first years, which had today's file name.

    The oracle's model takes images of `size`, with the top or without.
    """
    keras = oracle.ask(
        "build",
        builder="resnet50_before_keras_2_3",
        arguments={"include_top": include_top, "image_size": (size, size)},
    )
    path = folder / published_path("ResNet50", include_top)
    _write(oracle, path, keras["layers"], _KERAS_1)
    return path


def published_path(
    name: str, include_top: bool = True, alpha: float | None = None, size: int | None = None
) -> str:
    """Where a file lies below the published address."""
    if name == "MobileNet":
        width = {1.0: "1_0", 0.75: "7_5", 0.5: "5_0", 0.25: "2_5"}[alpha]
        return f"mobilenet/mobilenet_{width}_{size}_tf{'' if include_top else '_no_top'}.h5"
    if name.startswith("NASNet"):
        kind = name.removeprefix("NASNet").lower()
        return f"nasnet/NASNet-{kind}{'' if include_top else '-no-top'}.h5"
    if name.startswith("EfficientNetB"):
        return f"{name.lower()}{'' if include_top else '_notop'}.h5"
    family, stem = _FOLDERS_AND_STEMS[name]
    stem += "_weights_tf_dim_ordering_tf_kernels"
    if name == "MobileNetV2":
        return f"{family}/{stem}_{alpha}_{size}{'' if include_top else '_no_top'}.h5"
    return f"{family}/{stem}{'' if include_top else '_notop'}.h5"


_FOLDERS_AND_STEMS = {
    "Xception": ("xception", "xception"),
    "VGG16": ("vgg16", "vgg16"),
    "ResNet50": ("resnet", "resnet50"),
    "InceptionV3": ("inception_v3", "inception_v3"),
    "MobileNetV2": ("mobilenet_v2", "mobilenet_v2"),
}


def name_in_cache(path: Path) -> str:
    """The name that Keras gives a published file in `~/.keras/models`."""
    return path.name.replace("NASNet-", "nasnet_").replace("-", "_")


def put_class_index(home: Path) -> None:
    """Puts ImageNet's class index where Keras has it once it has downloaded it."""
    (home / "models").mkdir(parents=True, exist_ok=True)
    index = "imagenet_class_index.json"
    content = resources.files("kerastorch.applications").joinpath(index).read_bytes()
    (home / "models" / index).write_bytes(content)


def md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


@dataclass(frozen=True)
class _Era:
    """What the names in a file tell of the time that it was written.

    Attributes:
        layers: gives the layers' names of then in the order of those of today.
        weight: gives a weight's name from its layer's and from its role, such as `kernel`.
        attributes: what the file says of its writer.
    """

    layers: Callable[[_Layers], list[str]]
    weight: Callable[[str, str], str]
    attributes: dict[str, bytes]


def _write(oracle: Oracle, path: Path, layers: _Layers, era: _Era) -> None:
    """Write the oracle's weights as of an era, and have Keras read them back."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as folder:
        written = Path(folder) / "today.h5"
        oracle.ask("save", path=str(written), weights_only=True)
        with h5py.File(written) as today, h5py.File(path, "w") as file:
            names = era.layers(layers)
            file.attrs["layer_names"] = np.array([name.encode() for name in names])
            for attribute, value in era.attributes.items():
                file.attrs[attribute] = value
            for (name, kind), new_name in zip(layers, names, strict=True):
                group = file.create_group(new_name)
                _write_layer(group, today[name], kind, partial(era.weight, new_name))
    oracle.ask("load", path=str(path))


def _write_layer(group: h5py.Group, today: h5py.Group, kind: str, renamed: Callable) -> None:
    weights = {}
    for path in today.attrs["weight_names"]:
        role = path.rpartition("/")[2]
        if kind == "DepthwiseConv2D" and role == "kernel":
            role = "depthwise_kernel"  # What it was until Keras 3.
        weights[renamed(role)] = today[path][()].astype(np.float32)
    group.attrs["weight_names"] = np.array([weight.encode() for weight in weights])
    for weight, array in weights.items():
        group[weight] = array


# The eras


def _numbered_from_1(layers: _Layers) -> list[str]:
    """Names as older Keras made them: the first convolution was `conv2d_1`, not `conv2d`."""
    taken = {name for name, _ in layers}
    names = []
    for name, kind in layers:
        automatic = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind).lower()
        number = re.fullmatch(rf"{automatic}(?:_(\d+))?", name)
        if number and automatic in taken:  # else somebody has called a layer `reshape_1`
            base = "input" if kind == "InputLayer" else automatic
            name = f"{base}_{int(number[1] or 0) + 1}"
        names.append(name)
    return names


_CLASSES_OF_KERAS_1 = {
    "InputLayer": "Input",
    "Conv2D": "Convolution2D",
    "SeparableConv2D": "SeparableConvolution2D",
    "Add": "Merge",
}


def _numbered_in_keras_1(layers: _Layers) -> list[str]:
    """Names of an Xception of Keras 1 without a single name given: numbers in order of creation.

    The shortcut of a block, which has no name today either, was made before the block.
    """

    def order(position: int) -> tuple[int, bool, int]:
        name, kind = layers[position]
        if block := re.match(r"block(\d+)_", name):
            return int(block[1]), True, position
        number = re.search(r"_(\d+)$", name)
        blocks = (2, 3, 4, 13) if kind in ("Conv2D", "BatchNormalization") else range(99)
        return blocks[int(number[1]) if number else 0], False, position

    counts = Counter({"dense": 1})  # The published file's only one is the second of its session.
    names = {}
    for position in sorted(range(len(layers)), key=order):
        kind = layers[position][1]
        base = _CLASSES_OF_KERAS_1.get(kind, kind).lower()
        counts[base] += 1
        names[position] = f"{base}_{counts[base]}"
    return [names[position] for position in range(len(layers))]


_ROLES_IN_KERAS_1 = {
    "kernel": "W",
    "bias": "b",
    "moving_mean": "running_mean",
    "moving_variance": "running_std",
}


def _weight_of_keras_1(layer: str, role: str) -> str:
    return f"{layer}_{_ROLES_IN_KERAS_1.get(role, role)}:0"


def _second_weight_of_keras_1(layer: str, role: str) -> str:
    """The name in a session that had the same model before."""
    return _weight_of_keras_1(layer, role).replace(":", "_1:")


def _weight_of_keras_2(layer: str, role: str) -> str:
    return f"{layer}/{role}:0"


# Files of weights of Keras 1 do not say who wrote them.
_KERAS_1 = _Era(_numbered_from_1, _second_weight_of_keras_1, {})
_KERAS_2 = _Era(
    _numbered_from_1, _weight_of_keras_2, {"backend": b"tensorflow", "keras_version": b"2.1.2"}
)
_ERAS = {
    "Xception": _Era(_numbered_in_keras_1, _weight_of_keras_1, {}),
    "VGG16": _KERAS_1,
}
