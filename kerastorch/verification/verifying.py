"""Verifying a model: the reference and the model on the same inputs, and a verdict."""

from __future__ import annotations

import errno
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .. import __version__
from ..convert.errors import shorten
from ..engine import Model, Symbol
from ..engine.model import check_arrays
from .causes import Case, argument_differences, explain
from .comparison import Comparison, compare, compare_float32, pair_paths
from .keras_client import KerasProcess
from .opening import Application, ModelOrFile, in_float64, open_reference, subject_of
from .pictures import seen_pictures
from .reference import SAMPLE, Call, Expected, KerasReference, RunReference
from .report import write_report
from .storage import write_reference
from .verdict import TOLERANCE, Divergence, LayerResult, Verdict
from .watching import Visit, places_of, to_tensor

INPUT_TOLERANCE = 1e-6  # of preprocessing, which is done in float32


def verify(
    model: ModelOrFile,
    against: ModelOrFile | None = None,
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
    _check_arguments(model, against, tolerance, [report, save_reference])
    exact = in_float64(model)
    with ExitStack() as stack:
        opened = open_reference(model, against, application, exact, keras, stack)
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
        of_inputs, of_first = _compare_inputs(exact, arrays, model_inputs)
        results, divergence = [*of_inputs, *results], of_first or divergence
    shapes = ", ".join("x".join(map(str, array.shape)) for array in arrays)
    notes = [*opened.notes, *_notes_on(found, is_by_name, reference)]
    verdict = Verdict(
        reference=reference.subject,
        model=subject_of(model, exact),
        inputs=f"{words}, {shapes}",
        layers=tuple(results),
        divergence=divergence,
        unmatched=tuple(found.unmatched),
        notes=(*notes, *_silent_differences(exact, found, opened.layers)),
        pictures=tuple(seen_pictures(pictures, outputs, found.outputs, labels)),
        versions=_versions() | reference.versions,
        tolerance=tolerance,
    )
    if report is not None:
        write_report(verdict, report)
    return verdict


def _check_arguments(
    model: ModelOrFile,
    against: ModelOrFile | None,
    tolerance: float,
    written: list[str | PathLike | None],
) -> None:
    if against is None and isinstance(model, Model):
        raise ValueError("A model in memory is verified against something: give `against`.")
    if not 0 <= tolerance < 1:
        raise ValueError(f"tolerance is a number from 0 to 1, not {tolerance!r}.")
    for path in written:  # before all the work is done
        if path is not None and not Path(path).absolute().parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, "There is no such folder", str(path))


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
    model: Model, arrays: list[np.ndarray], model_inputs: Any
) -> tuple[list[LayerResult], Divergence | None]:
    """What the model's own preprocessing makes of the inputs, beside what the reference gets."""
    results, divergence = [], None
    given = [np.asarray(x) for x in model._arrange(model_inputs)]
    for symbol, array, own in zip(model.inputs, arrays, given, strict=True):
        name = symbol.node.name
        expected = Expected.of(array.astype(np.float64))
        result = LayerResult(
            0,
            name,
            "InputLayer",
            array.shape,
            expected.largest,
            expected.error(own),
            tolerance=INPUT_TOLERANCE,
        )
        results.append(result)
        if divergence is None and not result.error <= INPUT_TOLERANCE:
            x = to_tensor(own, torch.float64, model.data_format)
            visit, call = (
                Visit(name, nn.Identity(), (x,), {}, [x]),
                Call(name, "InputLayer", (expected,)),
            )
            case = Case(visit, call, model.data_format, (), None)
            divergence = explain(case, result, INPUT_TOLERANCE)
    return results, divergence


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
