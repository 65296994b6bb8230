"""Comparing a kerastorch model with its twin in the oracle, layer by layer."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import kerastorch
from kerastorch.engine.structure import flatten
from tests import builders
from tests.oracle.client import Oracle

TOLERANCE = 1e-12


# Three ways for a file of Keras's to become a model; `build` makes an unloaded one.


def by_load_weights(build: Callable, path: Path) -> kerastorch.Model:
    model = build()
    model.load_weights(path)
    return model


def by_weights_argument(build: Callable, path: Path) -> kerastorch.Model:
    return build(weights=path)


def by_load_model(build: Callable, path: Path) -> kerastorch.Model:
    return kerastorch.load_model(path)


def make_twins(
    oracle: Oracle,
    builder: str,
    arguments: dict[str, Any],
    path: Path,
    load: Callable = by_load_weights,
    weights_only: bool = False,
) -> kerastorch.Model:
    """Build a model on both sides and carry Keras's weights over through a file.

    Args:
        oracle: builds the model, fills it and writes the file.
        builder, arguments: a function of `builders` and its arguments.
        path: the file, whose suffix says its kind; it is deleted at the end.
        load: one of the ways above.
        weights_only: make a legacy `.h5` file hold no config.

    Returns:
        The model on this side, in evaluation mode; it has Keras's layers and number of parameters.
    """
    keras = oracle.ask("build", builder=builder, arguments=arguments)
    oracle.ask("save", path=str(path), weights_only=weights_only)
    model = load(partial(getattr(builders, builder), kerastorch, **arguments), path).eval()
    path.unlink()
    assert [*map(in_keras_3, names_and_classes(model))] == [
        in_keras_3(layer) for layer in keras["layers"] if layer[1] not in _FUNCTIONS
    ]
    assert [symbol.shape for symbol in model.inputs] == keras["inputs"]
    assert model.count_params() == keras["parameters"]
    assert all(p.dtype == torch.float64 for p in model.parameters())
    return model


# What Keras 2 has layers for, and Keras 3 operations: they are not among a model's layers.
_FUNCTIONS = ("TFOpLambda", "Lambda")


def in_keras_3(layer: tuple[str, str]) -> tuple[str, str]:
    """The name and class of a layer of Keras 2 as Keras 3 has them; others stay as they are.

    Functions have one class. An input is called as if it were the first of its session.
    """
    name, kind = layer
    if kind in _FUNCTIONS or name.startswith("tf.") or name.endswith("_2_reduce"):
        return name, "function"
    return re.sub(r"^input_\d+$", "input_layer", name), kind


def names_and_classes(model: kerastorch.Model) -> list[tuple[str, str]]:
    return [
        (layer.name, type(layer).__name__)
        for layer in model.layers
        if not layer.name.startswith("tf.")  # as the functions of Keras 2 that RegNets have
    ]


def random_arrays(
    symbols: list, batch: int, size: tuple = (13, 11), largest: float = 1
) -> list[np.ndarray]:
    """An array for each Symbol in the channels-last layout; `size` stands in for open sizes."""
    rng = np.random.default_rng(0)
    arrays = []
    for _, *shape in (symbol.shape for symbol in symbols):
        known = [extent or size[axis] for axis, extent in enumerate(shape)]
        arrays.append(rng.uniform(-largest, largest, (batch, *known)))
    return arrays


def assert_layers_agree(model: kerastorch.Model, oracle: Oracle, inputs: list[np.ndarray]) -> None:
    """Run both models in lock-step and compare every layer's output, keeping none.

    The failure is that of the first layer, in the order of running, that differs. Then the model
    runs unwatched, when it may reuse memory, and must give the same.
    """
    answers = oracle.stream("outputs", inputs=inputs)
    compared = []

    def compare(layer, _, output) -> None:
        place = f"layer {len(compared) + 1} to run, {layer.name} ({type(layer).__name__})"
        name, kind, expected = next(answers, (None, None, []))
        own = in_keras_3((layer.name, type(layer).__name__))
        assert own == in_keras_3((name, kind)), f"{place}, is Keras's {name}"
        compared.append(name)
        for ours, theirs in zip(flatten(output), expected, strict=True):
            assert_close(ours, from_keras(theirs), f"{place}, is the first that differs")

    tensors = [from_keras(array) for array in inputs]
    hooks = [layer.register_forward_hook(compare) for layer in calculating_layers(model)]
    try:
        with torch.no_grad():
            watched = model(tensors)
        assert next(answers, None) is None, f"Keras goes on after {compared[-1]}"
    finally:
        answers.close()
        for hook in hooks:
            hook.remove()
    assert set(compared) == {layer.name for layer in calculating_layers(model)}

    with torch.no_grad():
        unwatched = model(tensors)
    for ours, theirs in zip(flatten(unwatched), flatten(watched), strict=True):
        assert_close(ours, theirs, "output of the model without hooks")
    for tensor, array in zip(tensors, inputs, strict=True):
        assert torch.equal(tensor, from_keras(array)), "the model has changed its input"


def calculating_layers(model: kerastorch.Model) -> list:
    return [layer for layer in model.operations if type(layer).__name__ != "InputLayer"]


def assert_close(
    ours: Tensor,
    theirs: Tensor,
    what: str,
    tolerance: float = TOLERANCE,
    largest: float | None = None,
) -> None:
    """Compare two tensors relative to the largest value in Keras's, or to `largest`."""
    assert ours.shape == theirs.shape, f"{what}: {tuple(ours.shape)}, not {tuple(theirs.shape)}"
    assert ours.dtype == theirs.dtype, f"{what}: {ours.dtype}, not {theirs.dtype}"
    ours, theirs = (x if x.is_floating_point() else x.double() for x in (ours, theirs))
    largest = maximum(theirs) if largest is None else largest
    difference = maximum(ours - theirs)
    assert difference <= tolerance * largest, (
        f"{what}: by {difference:.2e}, where the largest value is {largest:.2e}; "
        f"shape {tuple(ours.shape)}"
    )


def relative_error(ours: Any, theirs: list[np.ndarray]) -> float:
    """The largest error in what `predict` gives, each array relative to its largest value."""
    arrays = flatten(ours)
    assert [array.shape for array in arrays] == [array.shape for array in theirs]
    pairs = zip(arrays, theirs, strict=True)
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)


def maximum(tensor: Tensor) -> float:
    return torch.linalg.vector_norm(
        tensor, torch.inf
    ).item()  # Several times as fast as abs().max().


def from_keras(array: np.ndarray) -> Tensor:
    """The tensor of an array in Keras's layout: channels first from rank 4."""
    tensor = torch.from_numpy(array)
    return tensor.movedim(-1, 1).contiguous() if tensor.ndim >= 4 else tensor.clone()
