"""Legacy files whose attributes, groups or states of training differ from what is written today."""

import h5py
import numpy as np
import pytest
import torch

import kerastorch
from tests import builders, parity

pytestmark = pytest.mark.usefixtures("beside_oracle")


def rewrite_names(path, write):
    """Replaces each attribute that holds names by what `write(attributes, key, names)` makes."""
    with h5py.File(path, "r+") as file:
        groups = [file["model_weights"]]
        file["model_weights"].visititems(lambda _, item: groups.append(item))
        for attributes in (group.attrs for group in groups):
            for key in ("layer_names", "weight_names"):
                if key in attributes:
                    names = [x.decode() if isinstance(x, bytes) else x for x in attributes[key]]
                    del attributes[key]
                    write(attributes, key, names)


def as_text(attributes, key, names):
    attributes.create(key, names, dtype=h5py.string_dtype())


def as_bytes(attributes, key, names):
    attributes[key] = np.array([name.encode() for name in names], "S64")


def in_chunks(attributes, key, names):
    for number, start in enumerate(range(0, max(len(names), 1), 2)):
        attributes[f"{key}{number}"] = [name.encode() for name in names[start : start + 2]]


def same(attributes, key, names):
    attributes[key] = [name.encode() for name in names]


def without_version(path):
    with h5py.File(path, "r+") as file:
        for attributes in (file.attrs, file["model_weights"].attrs):
            for key in ("keras_version", "backend"):
                if key in attributes:
                    del attributes[key]


@pytest.mark.parametrize("write", [as_text, as_bytes, in_chunks, same])
@pytest.mark.parametrize("builder", ["nested", "same_names_within"])
def test_attributes(oracle, tmp_path, builder, write):
    path = tmp_path / "whole.h5"
    oracle.ask("build", builder=builder, arguments={})
    oracle.ask("save", path=str(path))
    rewrite_names(path, write)
    if write is same:
        without_version(path)
    images = parity.random_arrays(getattr(builders, builder)(kerastorch).inputs, batch=2)
    expected = oracle.ask("predict", inputs=images)
    model = kerastorch.load_model(path)
    twin = getattr(builders, builder)(kerastorch)
    assert twin.load_weights(path).is_complete
    for opened in (model, twin):
        assert parity.relative_error(opened.predict(images), expected) <= parity.TOLERANCE


@pytest.mark.parametrize("file", ["weights.h5", "all.weights.h5", "whole.h5", "whole.keras"])
def test_layers_named_like_what_is_not_the_models(oracle, tmp_path, file):
    names = ("optimizer", "metrics", "optimizer_weights", "layers")
    arguments = {"classes": 3, "names": names}
    oracle.ask("build", builder="with_head", arguments=arguments)
    oracle.ask("save", path=str(tmp_path / file), weights_only="whole" not in file)
    report = builders.with_head(kerastorch, **arguments).load_weights(tmp_path / file)
    assert report.loaded == list(names)


@pytest.mark.parametrize("kind", ["int64", "uint8", "bool"])
@pytest.mark.parametrize("open_file", [parity.by_load_model, parity.by_load_weights])
def test_whole_numbers_take_the_type_of_weights(oracle, tmp_path, open_file, kind):
    """As in Keras."""
    path, arguments = tmp_path / "whole.h5", {"classes": 3, "names": "abcd"}
    oracle.ask("build", builder="with_head", arguments=arguments)
    oracle.ask("save", path=str(path))
    with h5py.File(path, "r+") as file:
        group = file["model_weights/d"]
        (name,) = (name for name in group.attrs["weight_names"] if "bias" in str(name))
        del group[name]
        group[name] = np.array([0, 1, 1], kind)
    model = open_file(lambda: builders.with_head(kerastorch, **arguments), path)
    bias = model.get_layer("d").bias
    assert bias.tolist() == [0, 1, 1]
    assert bias.requires_grad
    assert bias.dtype == torch.float64
