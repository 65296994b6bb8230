"""The models by name: one record each, for `create_model`, the command line, docs and tests."""

import difflib
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from .published import PublishedWeights


@dataclass(frozen=True)
class ModelRecord:
    """What is known of one architecture and its published weights.

    Attributes:
        name: how `create_model` and torch.hub call it, e.g. `"resnet50_v2"`.
        keras_name: how Keras calls its constructor, e.g. `"ResNet50V2"`.
        constructor: the function that builds it, with Keras's signature.
        module: where Keras users find it, its `preprocess_input` and its `decode_predictions`.
        default_size: height and width in pixels of its images unless it is told another size; those
            it was trained on, unless `weights` say theirs.
        min_size: the least height and width in pixels it takes.
        preprocessing: the mode of `Preprocessing` that its pixels need; `"none"` where the model
            prepares them itself.
        own_preprocessing: the mode in which it then does so, None elsewhere.
        classifier: the layer whose weights depend on the number of classes.
        open_size: whether height and width are open with the classifier, too.
        fixed_size: whether they are fixed without it, too.
        weights_of_any_size: whether the published weights take images of any size, also where
            several, told apart by the size they were trained on, are published.
        marker: a layer with weights without which a model cannot be this one; None where none is
            known.
        size_mb: size of the published weights in megabytes.
        top1: published accuracy on ImageNet's validation images, from 0 to 1; None where none was
            published.
        top5: the same for the best five classes.
        params: number of parameters, batch norm's statistics included.
        depth: published depth, None where none was published.
        weights: the published files of weights.
        weights_licence: the terms of the published weights.
        paper: address of the paper.
        citation: the paper's authors, title, and where and when it appeared.
    """

    name: str
    keras_name: str
    constructor: Callable
    module: str
    default_size: int
    min_size: int
    preprocessing: str
    own_preprocessing: str | None
    classifier: str
    open_size: bool
    fixed_size: bool
    weights_of_any_size: bool
    marker: str | None
    size_mb: int
    top1: float | None
    top5: float | None
    params: int
    depth: int | None
    weights: tuple[PublishedWeights, ...]
    weights_licence: str
    paper: str
    citation: str

    @property
    def weights_names(self) -> dict[str, int | None]:
        """What `weights` may be for published files, with the size of images that it stands for.

        `"imagenet"` stands for the largest where such as `"imagenet-i160"` say it, else for none.
        """
        if not self.weights_of_any_size:
            return {"imagenet": None}
        sizes = self.weights_sizes
        return {"imagenet": sizes[-1]} | {f"imagenet-i{size}": size for size in sizes}

    @property
    def weights_sizes(self) -> list[int]:
        """The sizes of images in pixels that weights are published for, where there are several."""
        return sorted({file.size for file in self.weights} - {None})

    def published_weights(
        self,
        include_top: bool,
        alpha: float | None = None,
        size: int | None = None,
        minimalistic: bool = False,
    ) -> PublishedWeights:
        """The published file for a model with or without its classifier.

        Args:
            include_top: whether with.
            alpha: the model's width multiplier, where files for several are published.
            size: height and width in pixels, the same.
            minimalistic: whether it is a minimalistic MobileNetV3.

        Raises:
            ValueError: there is none.
        """
        wanted = bool(include_top), alpha, size, minimalistic
        for file in self.weights:
            if (file.include_top, file.alpha, file.size, file.minimalistic) == wanted:
                return file
        kind = "minimalistic " if minimalistic else ""
        raise ValueError(f"{kind}{self.keras_name} has no published weights for {alpha=}, {size=}")


Constructor = TypeVar("Constructor", bound=Callable)

_RECORDS: dict[str, ModelRecord] = {}


@dataclass(frozen=True)
class Family:
    """What the models of a paper have in common; the fields are those of `ModelRecord`."""

    default_size: int
    min_size: int
    preprocessing: str
    weights_licence: str
    paper: str
    citation: str
    classifier: str = "predictions"
    marker: str | None = None
    own_preprocessing: str | None = None
    open_size: bool = False
    fixed_size: bool = False
    weights_of_any_size: bool = False


def register_model(
    name: str,
    family: Family,
    *,
    params: int,
    weights: tuple[PublishedWeights, ...],
    size_mb: int | None = None,
    top1: float | None = None,
    top5: float | None = None,
    depth: int | None = None,
    module: str | None = None,
    classifier: str | None = None,
    marker: str | None = None,
    keras_name: str | None = None,
    documentation: str | None = None,
) -> Callable[[Constructor], Constructor]:
    """Enters the decorated constructor under `name` and completes its documentation.

    The arguments are those of `ModelRecord`; `module` defaults to the constructor's own, `size_mb`
    to what the parameters take, `classifier` and `marker` to the family's. `keras_name` and
    `documentation` become the name and docstring of a constructor that another function makes.

    Raises:
        ValueError: if another model has the name.
    """

    def register(constructor: Constructor) -> Constructor:
        if keras_name is not None:
            constructor.__name__ = constructor.__qualname__ = keras_name
        constructor.__doc__ = documentation or constructor.__doc__
        record = ModelRecord(
            name=name,
            keras_name=constructor.__name__,
            constructor=constructor,
            module=module or constructor.__module__,
            size_mb=size_mb or round(params * 4 / 2**20),
            top1=top1,
            top5=top5,
            params=params,
            depth=depth,
            weights=weights,
            **{
                **vars(family),
                "classifier": classifier or family.classifier,
                "marker": marker or family.marker,
            },
        )
        if any({*_keys(record)} & {*_keys(other)} for other in _RECORDS.values()):
            raise ValueError(f"a model named {name!r} is registered already")
        _RECORDS[name] = record
        constructor.__doc__ = _documentation(record)
        return constructor

    return register


@dataclass(frozen=True)
class OlderNetwork:
    """A network that weights were published for before its layers got the names of today.

    Attributes:
        marker: a layer that only this network has.
        name_today: gives the name that a layer of it has today.
        epsilon: that of its batch normalisations, where it is another.
    """

    marker: str
    name_today: Callable[[str], str]
    epsilon: float


_OLDER_NETWORKS: list[OlderNetwork] = []


def register_older_network(network: OlderNetwork) -> None:
    """Makes `load_weights` recognise the weights of an older network."""
    _OLDER_NETWORKS.append(network)


def older_network(layer_names: list[str]) -> OlderNetwork | None:
    """The older network that has layers of these names."""
    return next((network for network in _OLDER_NETWORKS if network.marker in layer_names), None)


def list_models() -> list[str]:
    """The names that `create_model` knows, sorted."""
    return sorted(_RECORDS)


def get_record(name: str) -> ModelRecord:
    """The record of a model by its name or Keras's; case and underscores do not matter.

    Raises:
        ValueError: for an unknown name, with the names that come near it.
    """
    for record in _RECORDS.values():
        if _key(name) in _keys(record):
            return record
    near = difflib.get_close_matches(str(name).lower(), _RECORDS, cutoff=0.5)
    raise ValueError(
        f"no model is named {name!r}; "
        + (f"did you mean {' or '.join(near)}?" if near else "list_models() gives the names")
    )


def _key(name: str) -> str:
    return str(name).lower().replace("_", "").replace("-", "")


def _keys(record: ModelRecord) -> tuple[str, str]:
    return _key(record.name), _key(record.keras_name)


_DOCUMENTATION = """{summary}

Args:{own_arguments}
    include_top: whether the model ends with its classifier. Without it the output is the last
        feature map.
    weights: `None` for random initialisation, `"imagenet"` for the published weights, or the path
        of a weights file of this architecture.
    input_tensor: Symbol to build on, an `Input` or the output of another layer. The layers before
        it become part of the model, but `weights` fill only those after it.
    input_shape: shape of one image in pixels, `(height, width, 3)`, or `(3, height, width)` where
        the data format is channels-first; at least {min_size} x {min_size}.
{sizes}
    pooling: without the classifier, `"avg"` or `"max"` pools the feature map globally.
    classes: number of classes; 1000 with `"imagenet"`.
    classifier_activation: activation of the classifier, by name or as a callable on tensors;
        `None` gives logits. With weights only `None` and `"softmax"` are allowed.{name_argument}

Returns:
    A `Model`. It takes tensors `(batch, channels, height, width)` of pixels{preparation},
    and gives `(batch, classes)`; without the classifier `(batch, features, rows, columns)`, or
    `(batch, features)` if `pooling` is given.

Raises:
    ValueError: for images that are too small, a shape or `classes` that the published weights do
        not fit, an unknown `pooling` or activation, and weights that are missing or of another
        architecture.
    PublishedWeightsError: the published weights cannot be had; it is an `OSError`.

Published weights: {figures}.
Source: {paper}
"""

_PREPARED_BEFORE = """ that
    `{module}.preprocess_input`
    has prepared (mode "{preprocessing}")"""


def _documentation(record: ModelRecord) -> str:
    """The constructor's own lines, its own arguments if it has any, and what all models share."""
    own_lines = inspect.cleandoc(record.constructor.__doc__)
    summary, _, own_arguments = own_lines.partition("\n\nArgs:")
    is_prepared_inside = record.own_preprocessing is not None
    has_name = "name" in inspect.signature(record.constructor).parameters
    return _DOCUMENTATION.format(
        summary=summary,
        own_arguments=own_arguments,
        preparation=" in [0, 255]"
        if is_prepared_inside
        else _PREPARED_BEFORE.format(**vars(record)),
        name_argument="\n    name: the model's name." if has_name else "",
        sizes=textwrap.indent(textwrap.fill(_sizes_in_words(record), 88), " " * 8),
        figures=figures_in_words(record),
        **vars(record),
    )


def _sizes_in_words(record: ModelRecord) -> str:
    """Which sizes of images a model takes, by default and with its published weights."""
    default = f"{record.default_size} x {record.default_size}"
    if record.open_size:
        sizes = "Height and width may be None, as they are by default."
    elif record.fixed_size:
        sizes = f"It defaults to {default}; height and width may not be None."
    else:
        sizes = f"With the classifier it defaults to {default}; without, both may be None."
    sizes += ' `"imagenet"` asks for 3 channels'
    if record.open_size or record.weights_of_any_size:
        return f"{sizes}."
    published = " or ".join(map(str, record.weights_sizes or [record.default_size]))
    return f"{sizes}, and together with the classifier for squares of {published} pixels."


def figures_in_words(record: ModelRecord) -> str:
    """What is published of a model's weights, on two lines."""
    accuracies = {"top-1": record.top1, "top-5": record.top5}
    known = [f"{name} {value:.1%}" for name, value in accuracies.items() if value is not None]
    on_imagenet = f", {' and '.join(known)} on\nImageNet" if known else ""
    size = f"{record.size_mb} MB, {record.params:,} parameters"
    return f"{size}{on_imagenet}; licence: {record.weights_licence}"
