"""The two sides of a verification: the model here, and what it is held against."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .. import __version__
from ..convert.errors import KerasFileError, reading
from ..convert.keras_files import KerasFile, is_keras_file
from ..convert.loading import open_unfilled, read_file, sha256_of
from ..engine import Model
from ..models import load_model
from .comparison import record
from .keras_client import KerasProcess, is_installed, package_for
from .reference import KerasReference, RunReference
from .storage import is_stored_reference, read_reference
from .verdict import Subject
from .watching import places_of

ModelOrFile = Model | str | PathLike
Application = tuple[str, dict[str, Any]]


def in_float64(model: ModelOrFile) -> Model:
    """The model to be verified, in evaluation mode; one in memory is copied."""
    opened = copy.deepcopy(model) if isinstance(model, Model) else load_model(model)
    return opened.cpu().double().eval()


@dataclass(frozen=True)
class OpenedReference:
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
        """The layer at a path, as it is here; None where that is not known."""
        if self.counterpart is None:
            return None
        try:
            return dict(places_of(self.counterpart())).get(path)
        except KerasFileError:  # weights that do not fit a model that has been changed
            return None


def open_reference(
    model: ModelOrFile,
    against: ModelOrFile | None,
    application: Application | None,
    exact: Model,
    keras: KerasProcess | None,
    stack: ExitStack,
) -> OpenedReference:
    """What `verify` holds a model against; see its arguments.

    Args:
        exact: the model, opened and in float64.
        stack: gets what is to be closed at the end.
    """
    if isinstance(against, Model):
        here = in_float64(against)
        return OpenedReference(here, subject_of(against, here), lambda: here, dict(places_of(here)))
    path = Path(model if against is None else against)
    if is_stored_reference(path):
        return OpenedReference(read_reference(path))
    is_keras = is_keras_file(path)
    if against is None and not is_keras:
        raise ValueError(f"{path.name} is no file of Keras: verify it against one (`against`).")
    if against is None or (is_keras and is_installed()):
        file = read_file(path)
        counterpart, layers = _checked(path, file, application, exact)
        process = keras or stack.enter_context(KerasProcess(package_for(file.keras_version)))
        reference = KerasReference(process, path, application)
        return OpenedReference(reference, counterpart=counterpart, layers=layers)
    reason = "Keras is not installed" if is_keras else "it is no file of Keras"
    here = in_float64(path)
    note = f"{path.name} was run here, not in Keras, as {reason}."
    return OpenedReference(
        here, subject_of(path, here), lambda: here, dict(places_of(here)), (note,)
    )


def _checked(
    path: Path, file: KerasFile, application: Application | None, exact: Model
) -> tuple[Callable[[], Model], dict[str, nn.Module]]:
    """What makes the model of a file here, and its layers without their weights.

    Keras runs code that is in files. What this package opens has none: only that goes to Keras.

    Raises:
        KerasFileError: it does not open here.
    """
    if application is None:
        with reading(path):
            unfilled, _ = open_unfilled(path, file)
        return lambda: in_float64(path), dict(places_of(unfilled))

    def filled() -> Model:
        counterpart = copy.deepcopy(exact)
        counterpart.load_weights(path)
        return counterpart

    return filled, {}


def subject_of(source: ModelOrFile, model: Model) -> Subject:
    """What a model that runs here is called."""
    runs_on = f"kerastorch {__version__} on PyTorch {torch.__version__}"
    if isinstance(source, Model):
        return Subject(model.name, runs_on, parameters=model.count_params())
    path = Path(source)
    return Subject(path.name, runs_on, sha256_of(path), model.count_params())
