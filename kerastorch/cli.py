"""The `kerastorch` command: convert, predict, list and summary, thin layers over the library."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from . import __version__, activations, create_model, list_models, load_model
from .applications.construction import PublishedWeightsError
from .applications.imagenet_utils import CLASSES, decode_predictions, preprocess_input
from .applications.registry import ModelRecord, get_record
from .engine import Model
from .engine.layout import join_shape, split_shape
from .preprocessing.image import INTERPOLATIONS, img_to_array, load_img

if TYPE_CHECKING:
    from rich.table import Table

PREPROCESSING = ("tf", "caffe", "torch", "none")
BATCH = 32


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command with `arguments`, by default the process's own, and gives its exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError) as error:
        print(f"kerastorch: {_describe(error)}", file=sys.stderr)
        return 1
    return 0


def _describe(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


# ----------------------------------------------------------------------------------- the commands


def convert(options: argparse.Namespace) -> None:
    """Writes a Keras file's model as safetensors."""
    from .convert import convert_file

    if options.model is not None:
        with torch.device("meta"):  # The file's weights take the places of its own.
            model = _named_model(options, weights=None)
        convert_file(options.source, options.output, model)
    elif _is_file_name(options.source):
        _check_no_options_of_named_models(options)
        model = convert_file(options.source, options.output)
    else:
        model, _ = _open_model(options.source, options)
        model.save_weights(options.output)
    size = os.path.getsize(options.output) / 1e6
    print(
        f"{options.output}: {model.name}, {len(model.layers)} layers, "
        f"{model.count_params():,} parameters, {size:.1f} MB"
    )


def predict(options: argparse.Namespace) -> None:
    """Classifies pictures and prints a table of the best classes of each."""
    model, record = _open_model(options.model_or_file, options)
    recipe = _recipe(model, record, options)
    classes = _number_of_classes(model)
    labels = _read_labels(options.labels, classes) if options.labels else None
    is_logits = classes > 1 and not _ends_in_probabilities(model)

    table = _table("image", "label", ">score")
    for start in range(0, len(options.images), BATCH):
        paths = options.images[start : start + BATCH]
        scores = model.predict(np.stack([recipe.read(path) for path in paths]))
        if is_logits:
            scores = _softmax(scores)
        for path, best in zip(paths, _best(scores, labels, options.top), strict=True):
            for rank, (label, score) in enumerate(best):
                table.add_row("" if rank else path, label, f"{score:.4f}")
    _print(table)
    print(recipe.describe())
    if is_logits:
        print("The scores are the softmax of the model's outputs, which are logits.")


def list_published(options: argparse.Namespace) -> None:
    """Prints the table of the built-in models with their published figures."""
    rows = published_rows()
    if options.markdown:
        print(markdown_table(rows))
        return
    header, *rows = rows
    table = _table(*header[:2], *(f">{column}" for column in header[2:]))
    for row in rows:
        table.add_row(*row)
    _print(table)


def summary(options: argparse.Namespace) -> None:
    """Prints Keras's table of a model's layers."""
    model, _ = _open_model(options.model_or_file, options, with_weights=False)
    model.summary(expand_nested=options.expand_nested)


# -------------------------------------------------------------------------------- finding a model


def _open_model(
    source: str, options: argparse.Namespace, with_weights: bool = True
) -> tuple[Model, ModelRecord | None]:
    """The model that a name or file stands for, and the record of the application in it."""
    if options.model is not None:
        return _named_model(options, weights=source), get_record(options.model)
    _check_no_options_of_named_models(options)
    if _is_file_name(source):
        model = load_model(source)
        return model, _application_in(model)
    record = get_record(source)
    if not with_weights:
        with torch.device("meta"):  # nothing will be computed
            return create_model(source), record
    try:
        return create_model(source, pretrained=True, classifier_activation="softmax"), record
    except PublishedWeightsError:
        raise ValueError(
            f"the published weights of {record.name} cannot be fetched yet; "
            f"give a file of them in place of the name, and --model {record.name}"
        ) from None


def _is_file_name(source: str) -> bool:
    path = Path(source)
    return bool(path.suffix) or path.is_file() or (path / "model.json").is_file()


def _named_model(options: argparse.Namespace, weights: str | None) -> Model:
    return create_model(
        options.model,
        weights=weights,
        classes=options.classes or CLASSES,
        include_top=not options.no_top,
        classifier_activation="softmax",
        alpha=options.alpha,
    )


def _check_no_options_of_named_models(options: argparse.Namespace) -> None:
    if options.classes is not None or options.alpha is not None or options.no_top:
        raise ValueError("--classes, --no-top and --alpha go with --model and a file of weights")


def _application_in(model: Model) -> ModelRecord | None:
    """The application that `model` is, or that a model nested in it is, told by their names."""
    names = [model.name, *(layer.name for layer in model.layers if isinstance(layer, Model))]
    for name in names:
        try:
            return get_record(re.sub(r"_\d.*", "", name))  # Keras names a mobilenetv2_1.00_224
        except ValueError:
            continue
    return None


# ----------------------------------------------------------------------------- pictures to arrays


class Recipe(NamedTuple):
    """How a picture becomes a model's input."""

    size: tuple[int, int]  # height and width in pixels
    color_mode: str
    data_format: str
    interpolation: str
    preprocessing: str
    reason: str

    def read(self, path: str) -> np.ndarray:
        """The picture as an array in Keras's layout; an unreadable one raises `ValueError`."""
        from PIL import Image, UnidentifiedImageError

        try:
            img = load_img(path, self.color_mode, self.size, self.interpolation)
        except UnidentifiedImageError:
            raise ValueError(f"{path}: not a picture in a format that Pillow reads") from None
        except Image.DecompressionBombError as error:
            raise ValueError(f"{path}: {error}") from None
        except OSError as error:
            if error.filename is None:  # Pillow's, about a truncated picture
                raise ValueError(f"{path}: {error}") from None
            raise
        x = img_to_array(img, self.data_format)
        if self.preprocessing == "none":
            return x
        return preprocess_input(x, self.data_format, self.preprocessing)

    def describe(self) -> str:
        height, width = self.size
        return (
            f"Read at {height} x {width} ({self.interpolation}), "
            f"preprocessing {self.preprocessing}{self.reason}."
        )


def _recipe(model: Model, record: ModelRecord | None, options: argparse.Namespace) -> Recipe:
    if len(model.inputs) != 1 or len(model.input_shape) != 4:
        raise ValueError(f"predict takes models with one image as input, not {model.input_shape}")
    size, channels = split_shape(model.input_shape, model.data_format)
    if options.size is not None:
        size = tuple(options.size)
    if None in size:
        raise ValueError(f"{model.name} takes pictures of any size: choose one with --size")
    model.compute_output_shape(join_shape(None, size, channels, model.data_format))  # or it raises
    color_modes = {1: "grayscale", 3: "rgb", 4: "rgba"}
    if channels not in color_modes:
        raise ValueError(f"{model.name} takes {channels} channels; pictures have 1, 3 or 4")
    preprocessing, reason = _preprocessing(model, record, options)
    return Recipe(
        size,
        color_modes[channels],
        model.data_format,
        options.interpolation,
        preprocessing,
        reason,
    )


def _preprocessing(
    model: Model, record: ModelRecord | None, options: argparse.Namespace
) -> tuple[str, str]:
    """The preprocessing mode and, where nobody chose it, why it is this one."""
    if options.preprocess is not None:
        return options.preprocess, ""
    inside = [layer.name for layer in model.layers if type(layer).__name__ in _PREPROCESSING_LAYERS]
    if inside:
        return "none", f", as the model's own layer {inside[0]} does it"
    if record is not None:
        return record.preprocessing, f", as {record.keras_name} was trained with"
    raise ValueError(
        f"how pictures were prepared for {model.name} cannot be told from the file: "
        f"say --preprocess {'|'.join(PREPROCESSING)}"
    )


_PREPROCESSING_LAYERS = ("Rescaling", "Normalization")


# --------------------------------------------------------------------------------- scores to rows


def _number_of_classes(model: Model) -> int:
    if len(model.outputs) != 1 or len(model.output_shape) != 2:
        raise ValueError(
            f"predict takes models that give one row of scores, not {model.output_shape}"
        )
    return model.output_shape[1]


def _ends_in_probabilities(model: Model) -> bool:
    last = model.outputs[0].node.module
    if isinstance(last, Model):
        return _ends_in_probabilities(last)
    probabilities = (activations.get("softmax"), activations.get("sigmoid"))
    return type(last).__name__ == "Softmax" or getattr(last, "activation", None) in probabilities


def _softmax(logits: np.ndarray) -> np.ndarray:
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    return scores / scores.sum(axis=1, keepdims=True)


def _best(
    scores: np.ndarray, labels: list[str] | None, top: int
) -> Iterator[list[tuple[str, float]]]:
    """For each picture its `top` best labels with their scores; ImageNet's where there are 1000."""
    if labels is None and scores.shape[1] == CLASSES:
        for best in decode_predictions(scores, top):
            yield [(label, score) for _, label, score in best]
        return
    labels = labels or [f"class {index}" for index in range(scores.shape[1])]
    for row in scores:
        yield [(labels[index], row[index]) for index in row.argsort()[::-1][:top]]


def _read_labels(path: str, classes: int) -> list[str]:
    """A label for each class, from lines of text or from JSON.

    JSON is a list in the order of the classes, or an object from label to index, as Keras's data
    generators give it in `class_indices`.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        labels = _labels_in_json(text) if path.endswith(".json") else _labels_in_lines(text)
    except ValueError as error:
        raise ValueError(f"{path}: not a file of labels: {error}") from None
    if len(labels) != classes:
        raise ValueError(f"{path}: {len(labels)} labels, but the model has {classes} classes")
    return labels


def _labels_in_lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _labels_in_json(text: str) -> list[str]:
    labels = json.loads(text)
    if isinstance(labels, dict):
        indices = sorted(index for index in labels.values() if isinstance(index, int))
        if indices == list(range(len(labels))):
            return sorted(labels, key=labels.__getitem__)
    if isinstance(labels, list) and all(isinstance(label, str) for label in labels):
        return labels
    raise ValueError("expected a list of labels, or an object from label to index")


# ---------------------------------------------------------------------------------------- tables


def published_rows() -> list[tuple[str, ...]]:
    """The header, and each built-in model's published size, accuracies, parameters and depth."""
    records = sorted(map(get_record, list_models()), key=lambda record: record.name)
    header = ("Name", "Keras", "Size", "Top-1", "Top-5", "Parameters", "Depth")
    return [header, *map(_published_row, records)]


def _published_row(record: ModelRecord) -> tuple[str, ...]:
    return (
        record.name,
        record.keras_name,
        f"{record.size_mb} MB",
        f"{record.top1:.3f}",
        f"{record.top5:.3f}",
        f"{record.params:,}",
        "-" if record.depth is None else str(record.depth),
    )


def markdown_table(rows: list[tuple[str, ...]]) -> str:
    """The rows, header first, as a Markdown table with numbers to the right."""
    header, *rows = rows
    ruler = ["---", "---", *["---:"] * (len(header) - 2)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ruler, *rows))


def _table(*columns: str) -> Table:
    """An empty table; a column that begins with `>` is set to the right."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in columns:
        justify = "right" if column.startswith(">") else "left"
        table.add_column(column.lstrip(">"), justify=justify, overflow="fold")
    return table


def _print(table: Table) -> None:
    from rich.console import Console

    # In a pipe or a file lines may be as long as they are.
    Console(width=None if sys.stdout.isatty() else 1000, highlight=False).print(table)


# --------------------------------------------------------------------------------- the arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kerastorch",
        description="Keras's application models and Keras files as native PyTorch modules.",
    )
    parser.add_argument("--version", action="version", version=f"kerastorch {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    weights = _weights_options()

    command = _add(
        commands,
        convert,
        "convert",
        "write a Keras file's model as safetensors",
        "kerastorch convert my_model.keras -o my_model.safetensors",
        weights,
    )
    command.add_argument("source", metavar="SRC", help="a .keras file, or a file of weights")
    command.add_argument("-o", "--output", metavar="OUT.safetensors", required=True)

    command = _add(
        commands,
        predict,
        "predict",
        "classify pictures",
        "kerastorch predict my_model.keras --labels labels.txt photo1.jpg photo2.jpg",
        weights,
    )
    _add_model_or_file(command)
    command.add_argument("images", metavar="IMAGE", nargs="+", help="pictures to classify")
    command.add_argument(
        "--labels",
        metavar="FILE",
        help="the classes in order, one a line, or JSON: a list, or Keras's class_indices",
    )
    command.add_argument(
        "--top", metavar="N", type=_positive, default=1, help="classes to show for each (default 1)"
    )
    command.add_argument(
        "--size",
        metavar=("HEIGHT", "WIDTH"),
        type=_positive,
        nargs=2,
        help="pixels, for a model that takes pictures of any size",
    )
    command.add_argument(
        "--preprocess",
        choices=PREPROCESSING,
        help="how pixels are scaled; by default as the application in the model was trained",
    )
    command.add_argument(
        "--interpolation",
        choices=INTERPOLATIONS,
        default="nearest",
        help="how pictures are resized; nearest, Keras's own default, by default",
    )

    command = _add(
        commands,
        list_published,
        "list",
        "list the built-in models with their published figures",
        "kerastorch list",
    )
    command.add_argument("--markdown", action="store_true", help="as a Markdown table")

    command = _add(
        commands,
        summary,
        "summary",
        "show a model's layers, output shapes and parameters",
        "kerastorch summary xception",
        weights,
    )
    _add_model_or_file(command)
    command.add_argument(
        "--expand-nested", action="store_true", help="show the layers of nested models too"
    )
    return parser


def _add(commands, run, name, purpose, example, *parents) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name,
        help=purpose,
        description=f"{purpose[0].upper()}{purpose[1:]}.",
        epilog=f"example: {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=parents,
    )
    command.set_defaults(run=run)
    return command


def _add_model_or_file(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "model_or_file",
        metavar="MODEL_OR_FILE",
        help="a name from `kerastorch list`, a .keras or .safetensors file, or a file of weights",
    )


def _weights_options() -> argparse.ArgumentParser:
    """The options that say which architecture a file of bare weights belongs to."""
    parent = argparse.ArgumentParser(add_help=False)
    group = parent.add_argument_group("for a file that holds only weights")
    group.add_argument("--model", metavar="NAME", help="the architecture they belong to")
    group.add_argument(
        "--classes",
        metavar="N",
        type=_positive,
        help=f"how many classes they tell apart (default {CLASSES})",
    )
    group.add_argument("--no-top", action="store_true", help="they are of a model without its top")
    group.add_argument("--alpha", metavar="X", type=float, help="a MobileNet's width multiplier")
    return parent


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)
