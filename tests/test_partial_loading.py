"""`by_name` and `skip_mismatch` fill what Keras fills, and the report tells what was left."""

import json
from functools import partial

import pytest
import torch

import kerastorch
from kerastorch import layers
from kerastorch.convert import KerasFileError
from tests import builders, parity

pytestmark = pytest.mark.usefixtures("beside_oracle")

OLD = {"classes": 3, "names": ("stem", "norm", "features", "head")}
WAYS = {
    # The head has another number of classes, the features another name.
    "by name": (
        {"classes": 3, "names": ("stem", "norm", "new_features", "head")},
        "old.h5",
        {"by_name": True},
    ),
    "by name, skipping": (
        {"classes": 5, "names": ("stem", "norm", "new_features", "head")},
        "old.h5",
        {"by_name": True, "skip_mismatch": True},
    ),
    "skipping": (
        {"classes": 5, "names": ("stem", "norm", "features", "head")},
        "old.weights.h5",
        {"skip_mismatch": True},
    ),
}


def write_old(oracle, path, **arguments):
    oracle.ask("build", builder="with_head", arguments=arguments or OLD)
    oracle.ask("save", path=str(path), weights_only=True)


@pytest.mark.parametrize("way", WAYS)
def test_what_keras_fills(oracle, tmp_path, way):
    arguments, old, options = WAYS[way]
    write_old(oracle, tmp_path / old)
    oracle.ask("build", builder="with_head", arguments=arguments, seed=1)
    oracle.ask("save", path=str(tmp_path / "new.weights.h5"))
    oracle.ask("load", path=str(tmp_path / old), **options)

    model = builders.with_head(kerastorch, **arguments).eval()
    model.load_weights(tmp_path / "new.weights.h5")
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    report = model.load_weights(tmp_path / old, **options)
    parity.assert_layers_agree(model, oracle, parity.random_arrays(model.inputs, batch=2))
    changed = {
        key.partition(".")[0] for key, x in model.state_dict().items() if not x.equal(before[key])
    }
    assert changed == set(report.loaded)


def test_names_in_files_by_path(oracle, tmp_path):
    """Newer `.weights.h5` files carry the layers' names; in Keras itself they go unused."""
    write_old(oracle, tmp_path / "old.weights.h5")
    model = builders.with_head(
        kerastorch, classes=3, names=("stem", "norm", "new_features", "head")
    )
    report = model.load_weights(tmp_path / "old.weights.h5", by_name=True)
    assert report.loaded == ["stem", "norm", "head"]
    assert report.missing == ["new_features"]
    assert report.unexpected == ["features"]
    twin = builders.with_head(kerastorch, **OLD)
    twin.load_weights(tmp_path / "old.weights.h5")
    for name in report.loaded:
        for ours, theirs in zip(
            model.get_layer(name).state_dict().values(),
            twin.get_layer(name).state_dict().values(),
            strict=True,
        ):
            assert torch.equal(ours, theirs)


def test_optimizers_of_models_within_are_no_layers(oracle, tmp_path):
    """Though files tell their names too, which are the same."""
    oracle.ask("build", builder="trained_within", arguments={})
    oracle.ask("save", path=str(tmp_path / "old.weights.h5"))
    model = builders.trained_within(kerastorch)
    report = model.load_weights(tmp_path / "old.weights.h5", by_name=True)
    assert report.is_complete
    assert report.loaded == ["optimizer", "metrics"]


@pytest.mark.parametrize("file", ["old.h5", "old.weights.h5"])
def test_the_report_of_a_complete_load(oracle, tmp_path, file):
    write_old(oracle, tmp_path / file)
    report = builders.with_head(kerastorch, **OLD).load_weights(tmp_path / file)
    assert report.is_complete
    assert report.loaded == ["stem", "norm", "features", "head"]
    assert report.matched_by == ("path" if "weights" in file else "name")
    assert str(report).splitlines()[1].split() == ["loaded", "4"]


def test_files_of_other_names_are_matched_by_order(oracle, tmp_path):
    write_old(oracle, tmp_path / "old.h5")
    names = ("conv_1", "norm", "conv_2", "predictions")
    report = builders.with_head(kerastorch, classes=3, names=names).load_weights(
        tmp_path / "old.h5"
    )
    assert report.matched_by == "order"
    assert report.is_complete


def test_the_report_is_a_short_table(oracle, tmp_path):
    write_old(oracle, tmp_path / "old.weights.h5")
    model = builders.with_head(kerastorch, classes=5, names=OLD["names"])
    report = model.load_weights(tmp_path / "old.weights.h5", skip_mismatch=True)
    assert str(report) == (
        f"old.weights.h5 into {model.name}, matched by path\n"
        "  loaded          3\n"
        "  mismatched      1  head 6x5 5 from layers/dense 6x3 3"
    )


def without_head():
    image = layers.Input((9, 7, 3))
    return kerastorch.Model(image, layers.Conv2D(4, 3, name="stem")(image))


@pytest.mark.parametrize(
    ("build", "options", "problem"),
    [
        (partial(builders.with_head, kerastorch, 5, OLD["names"]), {}, "shapes differ: head 6x5"),
        (
            partial(builders.with_head, kerastorch, 5, OLD["names"]),
            {"by_name": True},
            "shapes differ: head 6x5",
        ),
        (without_head, {}, "unexpected: "),
    ],
)
@pytest.mark.parametrize("file", ["old.h5", "old.weights.h5", "old.safetensors"])
def test_what_does_not_fit_changes_nothing(oracle, tmp_path, file, build, options, problem):
    write_old(oracle, tmp_path / "old.weights.h5")
    if file == "old.h5":
        oracle.ask("save", path=str(tmp_path / file), weights_only=True)
    if file == "old.safetensors":
        twin = builders.with_head(kerastorch, **OLD)
        twin.load_weights(tmp_path / "old.weights.h5")
        twin.save_weights(tmp_path / file)
        problem = problem.replace("head 6x5", "head.weight (5, 6)")
    model = build()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with pytest.raises(KerasFileError) as caught:
        model.load_weights(tmp_path / file, **options)
    assert problem in str(caught.value)
    assert file in str(caught.value)
    assert caught.value.path == tmp_path / file
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[key])


def test_two_layers_of_one_name_cannot_be_told_by_name(tmp_path):
    def build():
        image = layers.Input((9, 7, 3))
        inner = layers.Input((9, 7, 3))
        base = kerastorch.Model(inner, layers.Conv2D(3, 1, name="conv")(inner), name="base")
        return kerastorch.Model(image, layers.Conv2D(4, 3, name="conv")(base(image)))

    twin = build()
    twin.save_weights(tmp_path / "twin.safetensors")
    report = build().load_weights(tmp_path / "twin.safetensors", by_name=True)
    assert report.is_complete  # keys tell them apart


def test_weights_in_shards(oracle, tmp_path):
    path = tmp_path / "big.weights.json"
    oracle.ask("build", builder="convolutions", arguments={})
    oracle.ask("save", path=str(path))
    assert len(list(tmp_path.glob("big_*.weights.h5"))) > 1
    model = builders.convolutions(kerastorch).eval()
    assert model.load_weights(path).is_complete
    parity.assert_layers_agree(model, oracle, parity.random_arrays(model.inputs, batch=2))
    (tmp_path / "big_00001.weights.h5").unlink()
    with pytest.raises(KerasFileError, match="no such shard"):
        model.load_weights(path)


@pytest.mark.parametrize("name", ["../outside.weights.h5", "/etc/passwd", 7, "nowhere.weights.h5"])
def test_maps_of_shards_name_files_beside_them(tmp_path, name):
    path = tmp_path / "map.weights.json"
    path.write_text(json.dumps({"weight_map": {"/layers/dense/vars": name}}))
    with pytest.raises(KerasFileError):
        builders.with_head(kerastorch, **OLD).load_weights(path)
