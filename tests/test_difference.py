"""`kerastorch.diff` and `kerastorch diff`: what differs is found and named, and nothing else."""

import itertools
import json
import math

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import kerastorch
from kerastorch import Input, Model, layers
from kerastorch.cli import main
from kerastorch.convert import KerasFileError, convert_file
from kerastorch.verification import Change
from tests.oracle.client import Oracle

FORMATS = {"whole.keras": False, "whole.h5": False, "twin.weights.h5": True, "weights.h5": True}


@pytest.fixture(scope="module")
def oracle2():
    with Oracle("keras2_side") as oracle:
        yield oracle


@pytest.fixture(scope="module")
def write(oracle, tmp_path_factory):
    """Writes a variant of `builders.compared`, with the weights of the first as far as they fit."""
    folder = tmp_path_factory.mktemp("compared")
    oracle.ask("build", builder="compared", arguments={})
    weights = folder / "first.weights.h5"
    oracle.ask("save", path=str(weights))
    numbers = itertools.count()

    def write(name="whole.keras", **arguments):
        path = folder / str(next(numbers)) / name
        path.parent.mkdir()
        oracle.ask("build", builder="compared", arguments=arguments)
        oracle.ask("load", path=str(weights), skip_mismatch=True)
        oracle.ask("save", path=str(path), weights_only=FORMATS[name])
        return path

    return write


@pytest.fixture(scope="module")
def first(write):
    return write("whole.keras")


def differences(result):
    """What differs in each layer, by its path."""
    found = {}
    for layer in result.layers:
        if None in (layer.a, layer.b):
            found[layer.path] = ["only in A" if layer.b is None else "only in B"]
        else:
            changes = [change.what for change in layer.changes]
            found[layer.path] = changes + [change.weight for change in layer.values]
    return found


def write_all(oracle, builder, arguments, folder):
    """A model of Keras 3 in all of its formats, and converted."""
    oracle.ask("build", builder=builder, arguments=arguments)
    paths = [folder / name for name in FORMATS]
    for path in paths:
        oracle.ask("save", path=str(path), weights_only=FORMATS[path.name])
    convert_file(paths[0], folder / "converted.safetensors")
    return [*paths, folder / "converted.safetensors"]


@pytest.mark.parametrize(
    ("builder", "arguments", "count", "with_weights"),
    [
        ("compared", {}, 9, 4),
        ("nested", {}, 11, 5),
        ("stacked", {}, 8, 4),
        ("arithmetic", {}, 57, 0),
    ],
)
def test_a_model_is_equal_in_all_formats(oracle, tmp_path, builder, arguments, count, with_weights):
    whole, legacy, twin, weights, converted = write_all(oracle, builder, arguments, tmp_path)
    for a, b in [(whole, legacy), (legacy, converted), (whole, converted)]:
        result = kerastorch.diff(a, b)
        assert result.is_equal, str(result)
        assert result.equal_layers == count
    assert result.b.converted_from["sha256"] == result.a.sha256
    for a, b in [(whole, twin), (weights, whole), (twin, converted), (twin, weights)]:
        result = kerastorch.diff(a, b)
        assert result.is_equal, str(result)
        assert result.equal_layers == with_weights


def test_two_versions_of_keras_write_equal_models(first, oracle2, tmp_path):
    oracle2.ask("build", builder="compared", arguments={})
    for name in ("two.h5", "two.keras"):
        oracle2.ask("save", path=str(tmp_path / name))
        result = kerastorch.diff(first, tmp_path / name)
        assert result.is_equal, str(result)
        assert result.equal_layers == 9
        assert (result.a.keras_version[:2], result.b.keras_version[:2]) == ("3.", "2.")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"epsilon": 1.001e-3}, {"base/norm": ["epsilon"]}),
        ({"activation": "softmax"}, {"head": ["activation"]}),
        ({"padding": "valid"}, {"base/separable": ["padding"]}),
        ({"units": 7}, {"head": ["units", "shape of kernel", "shape of bias"]}),
        ({"head": "top"}, {"head": ["name"]}),
        ({"base": "backbone"}, {"base": ["name"]}),
        ({"base": "backbone", "head": "top"}, {"base": ["name"], "head": ["name"]}),
        ({"dropout": False}, {"drop": ["only in A"], "head": ["inputs"]}),
        (
            {"dropout": False, "head": "top"},
            {"drop": ["only in A"], "head": ["name", "inputs"]},
        ),
        (
            {"frozen": True},
            {f"base/{name}": ["trainable"] for name in ("conv", "norm", "separable")},
        ),
        ({"bias": False}, {"base/conv": ["use_bias", "bias"]}),
        ({"size": 12}, {name: ["batch_shape"] for name in ("photo", "base/image")}),
    ],
    ids=str,
)
def test_a_change_is_found_and_nothing_else(write, first, arguments, expected):
    result = kerastorch.diff(first, write("whole.h5", **arguments))
    assert not result.is_equal
    assert differences(result) == expected


def change_kernel(path, change):
    """Changes the values of the head's kernel in a legacy `.h5` file."""
    with h5py.File(path, "r+") as file:
        (found,) = [x for x in leaves(file) if "head" in x.name and "kernel" in x.name]
        values = found[...]
        change(values)
        found[...] = values


def leaves(group):
    for item in group.values():
        if isinstance(item, h5py.Dataset):
            yield item
        else:
            yield from leaves(item)


def only_values(result, path="head"):
    """The one thing that differs, an array's values."""
    (layer,) = result.layers
    assert (layer.path, layer.changes) == (path, ())
    (values,) = layer.values
    return values


@pytest.mark.parametrize("name", ["whole.h5", "weights.h5"])
def test_one_bit_of_one_weight(write, first, name):
    changed = write(name)

    def flip_last_bit(kernel):
        kernel.view(np.uint64)[2, 1] ^= 1

    change_kernel(changed, flip_last_bit)
    values = only_values(kerastorch.diff(first, changed))
    kernel = kerastorch.load_model(first).get_layer("head").weight
    assert (values.weight, values.shape, values.differing) == ("kernel", (6, 4), 1)
    assert values.absolute == np.spacing(kernel[1, 2].abs().item())
    assert values.relative == values.absolute / kernel.abs().max().item()


def test_what_is_not_a_number_is_counted_apart(write, first):
    one, other, signed = write("whole.h5"), write("whole.h5"), write("whole.h5")

    def spoil(kernel):
        kernel[0, 0] = kernel[0, 1] = math.nan
        kernel[1, 0] = math.inf

    def spoil_less(kernel):
        kernel[0, 0] = math.nan
        kernel[1, 0] = math.inf
        kernel[2, 0] += 0.5

    change_kernel(one, spoil)
    change_kernel(other, spoil_less)
    assert kerastorch.diff(one, one).is_equal
    values = only_values(kerastorch.diff(one, other))
    assert (values.differing, values.nan_in_a, values.nan_in_b) == (2, 1, 0)
    assert values.absolute == pytest.approx(0.5)
    values = only_values(kerastorch.diff(first, one))
    assert (values.differing, values.nan_in_a, values.nan_in_b) == (3, 0, 2)
    assert values.absolute == math.inf
    assert "2 not a number in B alone" in str(values)

    change_kernel(signed, lambda kernel: np.copyto(kernel, 0.0))
    zeros = kerastorch.load_model(signed)
    negative = kerastorch.load_model(signed)
    with torch.no_grad():
        negative.get_layer("head").weight.neg_()
    values = only_values(kerastorch.diff(zeros, negative))
    assert (values.differing, values.absolute, values.relative) == (24, 0.0, 0.0)


def test_types_differ_apart_from_values(first):
    model, narrow = kerastorch.load_model(first), kerastorch.load_model(first).float()
    found = {layer.path: layer for layer in kerastorch.diff(model, narrow).layers}
    assert set(found) == {"base/conv", "base/norm", "base/separable", "head"}
    assert [str(change) for change in found["head"].changes] == [
        "type of kernel: float64 in A, float32 in B",
        "type of bias: float64 in A, float32 in B",
    ]
    assert 0 < found["head"].values[0].relative < 2**-24
    widened = kerastorch.load_model(first).float().double()
    result = kerastorch.diff(widened, narrow)
    assert {change.what.split()[0] for x in result.layers for change in x.changes} == {"type"}
    assert not any(layer.values for layer in result.layers)


def test_weights_beside_a_model_of_another_head(write, first):
    for name in ("weights.h5", "twin.weights.h5"):
        result = kerastorch.diff(first, write(name, units=7))
        assert differences(result) == {"head": ["shape of kernel", "shape of bias"]}
        assert result.layers[0].changes[0].a == (6, 4)
        assert result.layers[0].changes[0].b == (6, 7)
        assert result.notes == (f"{name} holds only weights: nothing else is compared.",)


def test_two_files_of_weights(write):
    legacy, twin = write("weights.h5"), write("twin.weights.h5")
    assert kerastorch.diff(legacy, legacy).matched_by == "by name"
    for name in ("weights.h5", "twin.weights.h5"):
        other_head = kerastorch.diff(legacy, write(name, units=7))
        (layer,) = other_head.layers
        assert [change.what for change in layer.changes] == ["shape of kernel", "shape of bias"]
        assert other_head.equal_layers == 3
    renamed = kerastorch.diff(legacy, write("weights.h5", head="top"))
    assert differences(renamed) == {"head": ["name"]}
    assert renamed.matched_by == "in order, as their names differ"
    renamed = kerastorch.diff(twin, write("twin.weights.h5", head="top"))
    assert differences(renamed) == {"layers/dense": ["name"]}
    assert differences(kerastorch.diff(twin, write("weights.h5", head="top"))) == {
        "head": ["only in A"],
        "top": ["only in B"],
    }


def test_weights_of_others_in_safetensors(write, first, tmp_path):
    model = kerastorch.load_model(first)
    weights = {key: x for key, x in model.state_dict().items() if "batches" not in key}
    save_file(weights, tmp_path / "others.safetensors")
    assert kerastorch.diff(first, tmp_path / "others.safetensors").equal_layers == 4
    del weights["head.bias"]
    weights["tail.bias"] = weights["head.weight"] = torch.zeros(3)
    save_file({key: x.clone() for key, x in weights.items()}, tmp_path / "changed.safetensors")
    result = kerastorch.diff(model, tmp_path / "changed.safetensors")
    assert differences(result) == {"head": ["shape of kernel", "bias"], "tail": ["only in B"]}
    result = kerastorch.diff(tmp_path / "others.safetensors", tmp_path / "changed.safetensors")
    assert differences(result) == {"head": ["bias", "shape of weight"], "tail": ["only in B"]}
    with pytest.raises(ValueError, match="only if one of the files holds a whole model"):
        kerastorch.diff(tmp_path / "others.safetensors", write("weights.h5"))


def small_model(factor=2.0, crossed=False, swapped=False):
    """A model in memory of two branches, in variants."""
    left, right = Input((4,), name="left"), Input((4,), name="right")
    a = layers.Dense(4, name="one", kernel_initializer="ones")(left) * factor
    b = layers.Dense(4, name="two", kernel_initializer="ones")(right)
    difference = layers.Subtract(name="difference")([b, a] if crossed else [a, b])
    last = layers.Activation("relu", name="last")(difference)
    return Model([right, left] if swapped else [left, right], [last, a])


def test_graphs_differ():
    model = small_model()
    assert kerastorch.diff(model, small_model()).is_equal
    assert differences(kerastorch.diff(model, small_model(factor=3.0))) == {"multiply": ["inputs"]}
    result = kerastorch.diff(model, small_model(crossed=True))
    assert differences(result)["difference"] == ["inputs"]
    result = kerastorch.diff(model, small_model(swapped=True))
    (change,) = result.layers[0].changes
    assert str(change) == "the model's inputs: left, right in A, right, left in B"


def test_layers_stand_in_another_order():
    def model(*names):
        image = Input((4,), name="image")
        branches = {name: layers.ReLU(name=name)(image) for name in ("one", "two", "three")}
        return Model(image, layers.Add(name="sum")([branches[name] for name in names]))

    result = kerastorch.diff(model("one", "two", "three"), model("one", "three", "two"))
    assert differences(result) == {"two": ["place among the layers"], "sum": ["inputs"]}


def test_stacks_differ():
    def stack(*names):
        dense = {name: layers.Dense(4, name=name, kernel_initializer="ones") for name in "abc"}
        return kerastorch.Sequential([Input((4,)), *(dense[name] for name in names)])

    assert kerastorch.diff(stack(*"ab"), stack(*"ab")).is_equal
    found = differences(kerastorch.diff(stack(*"abc"), stack(*"acb")))
    assert found == {"(model)": ["the model's layers"], "b": ["place among the layers"]}
    (layer,) = kerastorch.diff(stack(*"ab"), stack(*"aba")).layers
    assert str(layer.changes[0]) == "the model's layers: a, b in A, a, b, a (call 2) in B"
    found = differences(kerastorch.diff(stack(*"abc"), stack(*"ab")))
    assert found == {"(model)": ["the model's layers"], "c": ["only in A"]}


def test_calls_differ():
    def model(calls, training=None):
        image = Input((6, 6, 3), name="image")
        norm = layers.BatchNormalization(name="norm")
        x = image
        for _ in range(calls):
            x = norm(x, training=training)
        return Model(image, layers.Flatten(name="flat")(x))

    assert kerastorch.diff(model(2), model(2)).is_equal
    result = kerastorch.diff(model(1), model(2))
    assert differences(result) == {"norm": ["inputs"], "flat": ["inputs"]}
    assert result.layers[1].changes[0].b == "norm (call 2)"
    (layer,) = kerastorch.diff(model(1), model(1, training=False)).layers
    assert layer.changes[0].b == "image, training=False"


def test_modules_in_the_place_of_layers():
    model, other = small_model(), small_model()
    other.one = nn.Sequential(nn.Linear(4, 4))
    result = kerastorch.diff(model, other)
    assert differences(result)["one"][0] == "class"
    assert result.notes == ("Layers that do not tell their arguments: one.",)
    assert kerastorch.diff(other, other).is_equal


def test_what_cannot_be_compared(tmp_path):
    with pytest.raises(ValueError, match="not built yet"):
        kerastorch.diff(kerastorch.Sequential([layers.Dense(3)]), small_model())
    with torch.device("meta"):
        empty = small_model()
    with pytest.raises(ValueError, match="meta device"):
        kerastorch.diff(empty, small_model())
    (tmp_path / "text.keras").write_text("hello")
    for path in (tmp_path / "text.keras", tmp_path / "nowhere.h5"):
        with pytest.raises(KerasFileError, match=path.name):
            kerastorch.diff(small_model(), path)


def test_the_command_says_it_with_its_exit_code(write, first, capsys):
    def run(*arguments):
        code = main(["diff", *map(str, arguments)])
        return code, *capsys.readouterr()

    same, other = write("whole.h5"), write(epsilon=0.25, frozen=True, head="top")
    code, out, err = run(first, same)
    assert (code, err) == (0, "")
    assert "Equal in all of 9 layers." in out
    assert "A: whole.keras (keras, Keras 3." in out

    code, out, err = run(first, other)
    assert (code, err) == (1, "")
    assert "Different in 4 of 9 layers." in out
    rows = [" ".join(line.split()) for line in out.splitlines()]
    assert "base/norm BatchNormalization epsilon: 0.001 in A, 0.25 in B" in rows
    assert "head Dense name: head in A, top in B" in rows

    code, out, err = run(first, other, "--json")
    assert (code, err) == (1, "")
    content = json.loads(out)
    assert content == json.loads(json.dumps(kerastorch.diff(first, other).to_json()))
    assert (content["equal"], content["equal_layers"]) == (False, 5)
    (head,) = [layer for layer in content["layers"] if layer["a"] == "head"]
    assert (head["b"], head["changes"]) == ("top", [{"what": "name", "a": "head", "b": "top"}])
    assert run(first, same, "--json")[0] == 0

    code, out, err = run(first, first.parent / "nowhere.keras")
    assert (code, out) == (2, "")
    assert err.startswith("kerastorch: ")
    assert "nowhere.keras" in err


def test_names_are_printed_as_they_are(tmp_path, capsys):
    def model(rate):
        image = Input((4,), name="image")
        return Model(image, layers.Dropout(rate, name="[/b]:smile:")(image))

    paths = [tmp_path / f"{rate}.safetensors" for rate in (0.25, 0.5)]
    for path in paths:
        model(float(path.stem)).save_weights(path)
    assert main(["diff", *map(str, paths)]) == 1
    assert "[/b]:smile:" in capsys.readouterr().out


def test_of_long_texts_the_part_that_differs_is_shown():
    same = "add, " * 40
    change = Change("inputs", f"{same}one, {same}", f"{same}two, {same}")
    assert len(str(change)) < 250
    assert "one" in str(change)
    assert "two" in str(change)


def test_a_class_that_does_not_keep_its_arguments():
    class Scale(kerastorch.Layer):
        def __init__(self, factor, axis="channels", name=None):
            super().__init__(name=name)
            self.axis, self.by = axis, factor

        def forward(self, x):
            return x * self.by

    class Open(Scale):
        factor = 3

    def model(layer):
        image = Input((4,), name="image")
        return Model(image, layer(image))

    result = kerastorch.diff(model(Scale(2, name="scale")), model(Scale(3, name="scale")))
    assert result.is_equal
    assert result.notes == ("Layers that do not tell their arguments: scale.",)
    rows, columns = Open(2, "rows", name="scale"), Open(2, "columns", name="scale")
    assert differences(kerastorch.diff(model(rows), model(columns))) == {"scale": ["axis"]}


def test_layers_that_differ_alike_share_a_row():
    frozen = small_model()
    frozen.trainable = False
    assert str(kerastorch.diff(small_model(), frozen)).splitlines()[2:] == [
        "Different in 2 of 7 layers.",
        "Layers are matched by name.",
        "  one, two (Dense)",
        "    trainable: True in A, False in B",
    ]


def test_json_has_no_infinities(write, first):
    spoilt = write("whole.h5")
    change_kernel(spoilt, lambda kernel: np.copyto(kernel, math.inf))
    content = kerastorch.diff(first, spoilt).to_json()
    assert content["layers"][0]["values"][0]["absolute"] == "inf"
    json.dumps(content, allow_nan=False)
