"""Verifying a model: the reference and the model on the same inputs, and a verdict."""

from __future__ import annotations

import copy
import errno
import io
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from .. import __version__
from ..applications.imagenet_utils import best_labels
from ..convert.errors import reading, shorten
from ..convert.keras_files import is_keras_file
from ..convert.loading import open_unfilled, read_file, sha256_of
from ..engine import Model, Symbol
from ..engine.model import check_arrays
from ..models import load_model
from .causes import Case, argument_differences, explain
from .comparison import Comparison, compare, compare_float32, pair_paths, record
from .keras_client import KerasProcess, is_installed, package_for
from .reference import SAMPLE, Call, Expected, KerasReference, RunReference
from .report import write_report
from .storage import is_stored_reference, read_reference, write_reference
from .verdict import TOLERANCE, Divergence, LayerResult, Picture, Subject, Verdict
from .watching import Visit, places_of, to_tensor

Source = Model | str | PathLike
Application = tuple[str, dict[str, Any]]
INPUT_TOLERANCE = 1e-6  # of preprocessing, which is done in float32
THUMBNAIL = (160, 160)


def verify(
    model: Source,
    against: Source | None = None,
    *,
    inputs: Any = None,
    model_inputs: Any = None,
    pictures: Sequence[str | PathLike] = (),
    labels: Sequence[str] | None = None,
    application: Application | None = None,
    keras: KerasProcess | None = None,
    float32: bool = True,
    image_size: tuple[int, int] = (128, 128),
    batch_size: int = 2,
    seed: int = 0,
    tolerance: float = TOLERANCE,
    save_reference: str | PathLike | None = None,
    report: str | PathLike | None = None,
) -> Verdict:
    """Whether a model here and a reference are the same, layer by layer.

    Both compute the same inputs in float64. Every layer's output is compared, and for batch
    normalisation also the moving statistics that a step of training would leave. For the first
    layer that differs the usual mistakes are tried, until one makes it agree.

    Args:
        model: a model, or a file that `load_model` opens.
        against: the reference: a file that Keras runs in a process of its own, a stored reference
            (`save_reference`), or a model that runs here. None for the file itself. A file that is
            not Keras's runs here, and so does any other where Keras is not installed.
        inputs: arrays in Keras's layout, as `predict` takes them; None for random ones.
        model_inputs: what the model is given where its preprocessing is to be verified too, in
            Keras's layout; None for the same.
        pictures: the picture files that `inputs` were made from, for the report.
        labels: the classes in order, for the report; None for ImageNet's where there are 1000.
        application: for a reference of weights alone, the name of a constructor in
            `keras.applications` and its arguments.
        keras: where Keras runs, for those who verify many files; None for a process of its own.
        float32: whether to compare in float32 too, which the verdict does not depend on.
        image_size: height and width of random images where the model leaves them open.
        batch_size: the number of random samples.
        seed: of the random inputs.
        tolerance: the largest relative difference in float64 that counts as equal.
        save_reference: where to keep what the reference gave, as `.safetensors`.
        report: where to write the verdict as an HTML page.

    Raises:
        KerasFileError: a file is missing or broken, or holds what is not supported.
        KerasProcessError: Keras is not installed, or does not run the file.
        ValueError: a model in memory comes without a reference, or the inputs do not fit.
    """
    if against is None and isinstance(model, Model):
        raise ValueError("A model in memory is verified against something: give `against`.")
    if not 0 <= tolerance < 1:
        raise ValueError(f"tolerance is a number from 0 to 1, not {tolerance!r}.")
    for path in (report, save_reference):
        if path is not None and not Path(path).absolute().parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, "There is no such folder", str(path))
    exact = _in_float64(model)
    with ExitStack() as stack:
        opened = _open_reference(model, against, application, exact, keras, stack)
        if isinstance(opened.source, RunReference):
            arrays, words = _kept_inputs(opened.source, inputs), "those of the stored reference"
        elif inputs is not None:
            arrays, words = [np.asarray(x) for x in exact._arrange(inputs)], "given"
        else:
            arrays = random_inputs(exact.inputs, image_size, batch_size, seed)
            words = f"random numbers of seed {seed}"
        check_arrays(arrays, exact.inputs)
        reference = opened.run_on(arrays)
        names, is_by_name = pair_paths(exact, reference.layers)
        with closing(reference.run(arrays)) as calls:
            found = compare(exact, names, calls, arrays, tolerance)
        divergence = _explain_first(found, exact, opened.counterpart_of, tolerance)
        if divergence is None and not found.unmatched:
            divergence = _compare_outputs(found, reference, tolerance)
        if save_reference is not None:
            write_reference(save_reference, reference, arrays, found.calls)
        results, outputs = found.results, reference.outputs
        if float32 and found.failure is None:
            with closing(reference.run_float32(arrays)) as calls:
                results = compare_float32(exact.float(), calls, arrays, found)
    if model_inputs is not None:
        given = [np.asarray(x) for x in exact._arrange(model_inputs)]
        unlike = list(_compare_inputs(exact, arrays, given))
        results = [*(result for result, _ in unlike), *results]
        divergence = next((d for _, d in unlike if d is not None), divergence)
    shapes = ", ".join("x".join(map(str, array.shape)) for array in arrays)
    pictures = _seen(pictures, outputs, found.outputs, labels)
    verdict = Verdict(
        reference=reference.subject,
        model=_subject(model, exact),
        inputs=f"{words}, {shapes}",
        layers=tuple(results),
        divergence=divergence,
        unmatched=tuple(found.unmatched),
        notes=(
            *opened.notes,
            *_notes_on(found, is_by_name, reference),
            *_silent_differences(exact, found, opened.layers),
        ),
        pictures=tuple(pictures),
        versions=_versions() | reference.versions,
        tolerance=tolerance,
    )
    if report is not None:
        write_report(verdict, report)
    return verdict


# What is compared


def _in_float64(model: Source) -> Model:
    """The model to be verified, in evaluation mode; one in memory is copied."""
    opened = copy.deepcopy(model) if isinstance(model, Model) else load_model(model)
    return opened.cpu().double().eval()


@dataclass(frozen=True)
class _Opened:
    """What a model is held against.

    Attributes:
        source: what gives its outputs; a model is still to be run.
        subject: what it is called, where it is a model.
        counterpart: makes its model here, None where there is none.
        layers: its layers here by path, which may have no weights.
        notes: what is to be said of it.
    """

    source: KerasReference | RunReference | Model
    subject: Subject | None = None
    counterpart: Callable[[], Model] | None = None
    layers: dict[str, nn.Module] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def run_on(self, arrays: list[np.ndarray]) -> KerasReference | RunReference:
        if isinstance(self.source, Model):
            return record(self.source, arrays, self.subject)
        return self.source

    def counterpart_of(self, path: str) -> nn.Module | None:
        """The layer at a path, as it is here."""
        return None if self.counterpart is None else dict(places_of(self.counterpart())).get(path)


def _open_reference(
    model: Source,
    against: Source | None,
    application: Application | None,
    exact: Model,
    keras: KerasProcess | None,
    stack: ExitStack,
) -> _Opened:
    if isinstance(against, Model):
        here = _in_float64(against)
        return _Opened(here, _subject(against, here), lambda: here, dict(places_of(here)))
    path = Path(model if against is None else against)
    if is_stored_reference(path):
        return _Opened(read_reference(path))
    is_keras = is_keras_file(path)
    if against is None and not is_keras:
        raise ValueError(f"{path.name} is no file of Keras: verify it against one (`against`).")
    if against is None or (is_keras and is_installed()):
        counterpart, layers = _checked(path, application, exact)
        process = keras or stack.enter_context(KerasProcess(package_for(path)))
        reference = KerasReference(process, path, application)
        return _Opened(reference, counterpart=counterpart, layers=layers)
    reason = "Keras is not installed" if is_keras else "it is no file of Keras"
    here = _in_float64(path)
    note = f"{path.name} was run here, not in Keras, as {reason}."
    return _Opened(here, _subject(path, here), lambda: here, dict(places_of(here)), (note,))


def _checked(
    path: Path, application: Application | None, exact: Model
) -> tuple[Callable[[], Model], dict[str, nn.Module]]:
    """What makes the model of a file here, and its layers without their weights.

    Keras runs code that is in files. What this package opens has none: only that goes to Keras.

    Raises:
        KerasFileError: it does not open here.
    """
    file = read_file(path)
    if application is None:
        with reading(path):
            unfilled, _ = open_unfilled(path, file)
        return lambda: _in_float64(path), dict(places_of(unfilled))

    def filled() -> Model:
        counterpart = copy.deepcopy(exact)
        counterpart.load_weights(path)
        return counterpart

    return filled, {}


def _subject(source: Source, model: Model) -> Subject:
    runs_on = f"kerastorch {__version__} on PyTorch {torch.__version__}"
    if isinstance(source, Model):
        return Subject(model.name, runs_on, parameters=model.count_params())
    path = Path(source)
    return Subject(path.name, runs_on, sha256_of(path), model.count_params())


def _versions() -> dict[str, str]:
    return {
        "kerastorch": __version__,
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


# Inputs


def _kept_inputs(reference: RunReference, inputs: Any) -> list[np.ndarray]:
    if inputs is not None:
        raise ValueError("A stored reference has inputs of its own: leave out the others.")
    return reference.arrays


def random_inputs(
    symbols: Sequence[Symbol], image_size: tuple[int, int], batch_size: int, seed: int
) -> list[np.ndarray]:
    """Random arrays in Keras's layout, exact in float32; whole numbers for inputs that take such.

    Args:
        symbols: the model's inputs.
        image_size: what stands in for sizes that they leave open.
        batch_size: the number of samples.
        seed: of the random numbers.
    """
    rng = np.random.default_rng(seed)
    arrays = []
    for symbol in symbols:
        open_sizes = iter([*image_size, *[image_size[0]] * symbol.ndim])
        shape = [size if size is not None else next(open_sizes) for size in symbol.shape[1:]]
        if "float" in symbol.node.module.dtype:
            array = rng.uniform(-1, 1, (batch_size, *shape)).astype(np.float32)
        else:
            array = rng.integers(0, 128, (batch_size, *shape))
        arrays.append(array.astype(np.float64))
    return arrays


def _compare_inputs(
    model: Model, arrays: list[np.ndarray], given: list[np.ndarray]
) -> Iterator[tuple[LayerResult, Divergence | None]]:
    """What the model's own preprocessing makes of the inputs, beside what the reference gets."""
    for symbol, array, own in zip(model.inputs, arrays, given, strict=True):
        name, format = symbol.node.name, model.data_format
        expected = Expected.of(array.astype(np.float64))
        x = to_tensor(own, torch.float64, format)
        call = Call(name, "InputLayer", (expected,))
        error = expected.error(own)
        figures = (array.shape, expected.largest, error)
        result = LayerResult(0, name, "InputLayer", *figures, tolerance=INPUT_TOLERANCE)
        divergence = None
        if not error <= INPUT_TOLERANCE:
            visit = Visit(name, nn.Identity(), (x,), {}, [x])
            divergence = explain(Case(visit, call, format, (), None), result, INPUT_TOLERANCE)
        yield result, divergence


# What was found


def _explain_first(
    found: Comparison,
    model: Model,
    counterpart_of: Callable[[str], nn.Module | None],
    tolerance: float,
) -> Divergence | None:
    if found.first is None:
        return None
    result, visit, call = found.first
    peers = [(path, module) for path, module in places_of(model) if [*module.parameters()]]
    case = Case(visit, call, model.data_format, peers, counterpart_of(call.path))
    return explain(case, result, tolerance if result.tolerance is None else result.tolerance)


def _compare_outputs(
    found: Comparison, reference: KerasReference | RunReference, tolerance: float
) -> Divergence | None:
    """What differs in the outputs as a whole, where only samples have been compared."""
    if isinstance(reference, KerasReference) or len(reference.outputs) != len(found.outputs):
        return None
    pairs = zip(reference.outputs, found.outputs, strict=True)
    error = max(Expected.of(theirs).error(ours) for theirs, ours in pairs)
    own = found.results[-1].tolerance if found.results else None
    if error <= max(tolerance, own or 0):
        return None
    first = Expected.of(reference.outputs[0])
    number = len(found.results) + 1
    result = LayerResult(number, "outputs", "Model", first.shape, first.largest, error)
    found.results.append(result)
    return Divergence(result)


def _notes_on(
    found: Comparison, is_by_name: bool, reference: KerasReference | RunReference
) -> Iterator[str]:
    if not is_by_name:
        yield "The names of the layers differ; they are compared in their order."
    if isinstance(reference, RunReference):
        yield f"Of each layer up to {SAMPLE:,} values were compared, and the outputs as a whole."
    if found.rounded:
        yield (
            f"The reference computes {', '.join(found.rounded)} in float32 whatever it is asked "
            "for; there its own values were taken, where they are known."
        )
    if found.failure is not None:
        yield f"Behind that layer the model does not run: {found.failure}"


def _silent_differences(
    model: Model, found: Comparison, layers: dict[str, nn.Module]
) -> Iterator[str]:
    """What is not the same although the outputs agree, as a bound that no value has reached."""
    first = found.first[0].path if found.first else None
    listed = []
    for path, module in places_of(model):
        theirs = layers.get(found.names.get(path, path))
        differences = argument_differences(module, theirs) if path != first else ()
        listed += [f"{path}: {difference}" for difference in differences]
    if listed:
        yield (
            f"Arguments that differ, whether or not it shows for these inputs: {shorten(listed)}."
        )


def _seen(
    pictures: Sequence[str | PathLike],
    theirs: list[np.ndarray],
    ours: list[np.ndarray],
    labels: Sequence[str] | None,
) -> Iterator[Picture]:
    """The pictures with the best classes of both, as far as the models give one row of scores."""
    if not pictures or not ours:
        return
    is_classifier = len(theirs) == 1 and theirs[0].ndim == 2
    best = [
        best_labels(outputs[0], labels) if is_classifier else [()] * len(pictures)
        for outputs in (theirs, ours)
    ]
    for path, reference, model in zip(map(Path, pictures), *best, strict=True):
        rows = [tuple((name, float(score)) for name, score in row) for row in (reference, model)]
        yield Picture(path.name, _thumbnail(path), *rows)


def _thumbnail(path: Path) -> bytes:
    with Image.open(path) as image:
        small = image.convert("RGB")
        small.thumbnail(THUMBNAIL)
    buffer = io.BytesIO()
    small.save(buffer, "PNG")
    return buffer.getvalue()
