"""Layers models of TensorFlow.js become the same models, to the same numbers."""

import json
import os

import numpy as np
import pytest
import torch

import kerastorch
from kerastorch.cli import main
from kerastorch.convert import KerasFileError, describe_file
from kerastorch.convert.tensorflowjs_files import read_tensorflowjs
from kerastorch.engine.structure import flatten
from tests import builders, parity
from tests.oracle.client import Oracle

MOBILENET = {"name": "MobileNet", "include_top": False, "input_shape": (37, 42, 3), "alpha": 0.25}
MODELS = {
    "sequential": {},
    "convolutions": {},
    "nested": {},
    "fine_tuned": {},
    "stacked": {},
    "application": {**MOBILENET, "name": "MobileNetV2", "alpha": 0.35, "input_shape": (35, 33, 3)},
}


@pytest.fixture(scope="module")
def keras2():
    with Oracle("tensorflowjs_side") as oracle:
        yield oracle


def assert_same_model(keras2, model):
    """The weights are float32 on both sides, the computation is in float64."""
    assert all(p.dtype == torch.float32 for p in model.parameters())
    assert_same_outputs(keras2, model)


def assert_same_outputs(keras2, model):
    inputs = parity.random_arrays(model.inputs, batch=2)
    expected = keras2.ask("predict", inputs=inputs)
    for ours, theirs in zip(flatten(model.double().predict(inputs)), expected, strict=True):
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() <= parity.TOLERANCE * np.abs(theirs).max()


@pytest.mark.usefixtures("beside_oracle")
@pytest.mark.parametrize("builder", MODELS)
def test_models(keras2, tmp_path, builder):
    """In one shard, in many shards whose ends lie within weights, and weights alone."""
    arguments = MODELS[builder]
    names = [
        name for name, _ in keras2.ask("build", builder=builder, arguments=arguments)["layers"]
    ]
    assert len(keras2.ask("save_tensorflowjs", folder=str(tmp_path))) == 1
    model = kerastorch.load_model(tmp_path / "model.json")
    assert [layer.name for layer in model.layers] == names
    assert_same_model(keras2, model)

    shard_bytes = 65_531 if builder == "application" else 251
    saving = {"shard_bytes": shard_bytes, "bare": True}
    assert len(keras2.ask("save_tensorflowjs", folder=str(tmp_path), **saving)) > 3
    assert_same_model(keras2, kerastorch.load_model(tmp_path))

    model = getattr(builders, builder)(kerastorch, **arguments)
    model.load_weights(tmp_path / "model.json")
    assert_same_outputs(keras2, model)


@pytest.mark.usefixtures("beside_oracle")
@pytest.mark.parametrize("quantization", ["uint8", "uint16", "float16"])
def test_quantized_as_teachable_machine_nests(keras2, tmp_path, quantization):
    keras2.ask("build", builder="application", arguments=MOBILENET)
    keras2.ask("put_into_sequentials")
    keras2.ask("save_tensorflowjs", folder=str(tmp_path), quantization=quantization)
    model = kerastorch.load_model(tmp_path)
    assert [type(layer).__name__ for layer in model.layers] == ["Sequential", "Sequential"]
    assert [layer.name for layer in model.layers[0].layers][0].startswith("mobilenet")
    assert_same_model(keras2, model)


# What JavaScript writes, and what nobody should


def sequential(*layers, name="sequential_1"):
    return {"class_name": "Sequential", "config": {"name": name, "layers": list(layers)}}


def dense(name, units, **config):
    return {"class_name": "Dense", "config": {"name": name, "units": units, **config}}


def topology():
    """As TensorFlow.js itself writes it: bare, with few arguments."""
    first = dense("dense_Dense1", 4, batch_input_shape=[None, 3], activation="linear")
    norm = {"class_name": "BatchNormalization", "config": {"name": "batch_normalization_1"}}
    head = sequential(dense("dense_Dense2", 2, use_bias=False, batch_input_shape=[None, 4]))
    head["config"]["name"] = "head"
    return {**sequential(first, norm, head), "keras_version": "tfjs-layers 4.22.0"}


def weights():
    """In JavaScript's order, first what is trained and then the rest."""
    rng = np.random.default_rng(0)
    shapes = {
        "dense_Dense1/kernel": (3, 4),
        "dense_Dense1/bias": (4,),
        "batch_normalization_1/gamma": (4,),
        "batch_normalization_1/beta": (4,),
        "dense_Dense2/kernel": (4, 2),
        "batch_normalization_1/moving_mean": (4,),
        "batch_normalization_1/moving_variance": (4,),
    }
    return {name: rng.uniform(0.5, 1.5, s).astype(np.float32) for name, s in shapes.items()}


def manifest_of(arrays):
    return [
        {"name": name, "shape": list(array.shape), "dtype": array.dtype.name}
        for name, array in arrays.items()
    ]


def write(folder, arrays=None, **content):
    """A `model.json` and `weights.bin`; `content` replaces keys of the former."""
    arrays = weights() if arrays is None else arrays
    (folder / "weights.bin").write_bytes(b"".join(array.tobytes() for array in arrays.values()))
    content = {
        "format": "layers-model",
        "modelTopology": topology(),
        "weightsManifest": [{"paths": ["./weights.bin"], "weights": manifest_of(arrays)}],
        **content,
    }
    (folder / "model.json").write_text(json.dumps(content))
    return folder / "model.json"


def by_hand(x):
    """The model's output, computed here."""
    w = {name: array.astype(np.float64) for name, array in weights().items()}
    x = x @ w["dense_Dense1/kernel"] + w["dense_Dense1/bias"]
    gamma, beta, mean, variance = (
        w[f"batch_normalization_1/{name}"]
        for name in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    return ((x - mean) / np.sqrt(variance + 1e-3) * gamma + beta) @ w["dense_Dense2/kernel"]


def assert_opens(path):
    x = np.random.default_rng(1).uniform(-1, 1, (5, 3))
    result = kerastorch.load_model(path).double().predict(x)
    assert np.abs(result - by_hand(x)).max() <= parity.TOLERANCE * np.abs(result).max()


def test_what_javascript_writes(tmp_path):
    assert_opens(write(tmp_path))


def test_the_slope_of_leaky_relu_has_its_old_name(tmp_path):
    config = {"name": "leaky_re_lu_LeakyReLU1", "alpha": 0.25, "batch_input_shape": [None, 2]}
    layer = {"class_name": "LeakyReLU", "config": config}
    manifest = [{"paths": [], "weights": []}]
    write(tmp_path, modelTopology=sequential(layer), weightsManifest=manifest)
    x = kerastorch.load_model(tmp_path).predict(np.array([[-1.0, 1.0]], np.float32))
    assert x.tolist() == [[-0.25, 1.0]]


def test_names_decide_and_not_the_order(tmp_path):
    """Of gamma and beta, which have one shape, too."""
    assert_opens(write(tmp_path, dict(reversed(weights().items()))))
    assert_opens(write(tmp_path, dict(sorted(weights().items()))))
    prefixed = {
        f"head/{name}" if "Dense2" in name else name: array for name, array in weights().items()
    }
    assert_opens(write(tmp_path, prefixed))


def test_layers_of_one_name_in_several_models(tmp_path):
    """Told by the names of their models; where these are not given, it is an error."""
    kernels = {f"{name}/dense/kernel": np.full((2, 2), i, "f4") for i, name in enumerate("ab")}
    parts = [sequential(dense("dense", 2, use_bias=False), name=name) for name in "ab"]
    parts[0]["config"]["layers"][0]["config"]["batch_input_shape"] = [None, 2]
    path = write(tmp_path, kernels, modelTopology=sequential(*parts))
    model = kerastorch.load_model(path)
    assert [model.get_layer(name).layers[0].weight.max() for name in "ab"] == [0, 1]
    with pytest.raises(KerasFileError, match="no layer"):
        kerastorch.load_model(
            write(tmp_path, {"dense/kernel": kernels["a/dense/kernel"]}, modelTopology=topology())
        )


def test_other_types_and_odd_offsets(tmp_path):
    arrays = {
        "a/flag": np.array([True, False, True]),
        "a/whole": np.array([[-1, 2]], np.int32),
        "a/byte": np.array(7, np.uint8),
        "a/real": np.array([0.5, 1.5], np.float32),
    }
    path = write(tmp_path, arrays, modelTopology=None)
    (layer,) = read_tensorflowjs(path).layers
    for stored, expected in zip(layer.arrays, arrays.values(), strict=True):
        assert stored.array.dtype == expected.dtype
        assert np.array_equal(stored.array, expected)
        assert stored.array.flags.aligned
    with pytest.raises(KerasFileError, match="only weights"):
        kerastorch.load_model(path)


def test_integers_are_rounded(tmp_path):
    entry = {"name": "a/whole", "shape": [3], "dtype": "int32"}
    entry["quantization"] = {"dtype": "uint8", "scale": 1.5, "min": -2}
    (tmp_path / "weights.bin").write_bytes(bytes([0, 3, 255]))
    manifest = [{"paths": ["weights.bin"], "weights": [entry]}]
    (tmp_path / "model.json").write_text(json.dumps({"weightsManifest": manifest}))
    (layer,) = read_tensorflowjs(tmp_path).layers
    assert layer.arrays[0].array.tolist() == [-2, 2, 380]


def test_weights_are_mapped(tmp_path):
    arrays = [a.array for layer in read_tensorflowjs(write(tmp_path)).layers for a in layer.arrays]
    assert all(isinstance(array, np.memmap) for array in arrays)


def test_converting(tmp_path, capsys):
    path = write(tmp_path)
    assert main(["convert", str(path), "-o", str(tmp_path / "model.safetensors")]) == 0
    assert_opens(tmp_path / "model.safetensors")
    about = describe_file(path)
    assert about["keras_version"] == "tfjs-layers 4.22.0"
    content = bytearray((tmp_path / "weights.bin").read_bytes())
    content[0] ^= 1
    (tmp_path / "weights.bin").write_bytes(content)
    assert describe_file(path)["sha256"] != about["sha256"]


def change(path, **replaced):
    """Replaces keys of the first weight in the manifest."""
    content = json.loads(path.read_text())
    content["weightsManifest"][0]["weights"][0].update(replaced)
    path.write_text(json.dumps(content))


BROKEN_WEIGHTS = {
    "another shape": {"shape": [4, 3]},
    "too large": {"shape": [1 << 40, 1 << 40]},
    "too small": {"shape": [3]},
    "negative": {"shape": [-3, -4]},
    "empty": {"shape": [0, 12]},
    "fractions": {"shape": [1.5, 8]},
    "booleans": {"shape": [True, 12]},
    "many axes": {"shape": [1] * 100 + [12]},
    "no shape": {"shape": None},
    "text as shape": {"shape": "34"},
    "unknown dtype": {"dtype": "object"},
    "text": {"dtype": "string"},
    "dtype no text": {"dtype": ["float32"]},
    "name no text": {"name": 3},
    "no layer's name": {"name": "stranger/kernel"},
    "name of nothing": {"name": ""},
    "name twice": {"name": "dense_Dense1/bias"},
    "quantization no dict": {"quantization": "uint8"},
    "no scale": {"quantization": {"dtype": "uint8"}},
    "scale no number": {"quantization": {"dtype": "uint8", "scale": "1", "min": 0}},
    "scale not finite": {"quantization": {"dtype": "uint8", "scale": float("nan"), "min": 0}},
    "scale too large": {"quantization": {"dtype": "uint8", "scale": 10**400, "min": 0}},
    "quantized as float64": {"quantization": {"dtype": "float64", "scale": 1, "min": 0}},
    "quantized unlike the shard": {"quantization": {"dtype": "uint8", "scale": 1, "min": 0}},
}


@pytest.mark.parametrize("case", BROKEN_WEIGHTS)
def test_broken_weights_are_refused(tmp_path, case):
    path = write(tmp_path)
    change(path, **BROKEN_WEIGHTS[case])
    with pytest.raises(KerasFileError, match=r"model\.json"):
        kerastorch.load_model(path)


@pytest.mark.parametrize(
    "name",
    [
        "../weights.bin",
        "/etc/hostname",
        "folder/weights.bin",
        "folder\\weights.bin",
        "https://example.com/weights.bin",
        "file:weights.bin",
        "C:weights.bin",
        "..",
        ".",
        "",
        "./",
        "./../weights.bin",
        "weights.bin\0",
        "\ud800",
        "w" * 5000,
        "linked.bin",
        "loop.bin",
        "pipe.bin",
        "folder",
        "missing.bin",
        7,
        None,
    ],
)
def test_shards_elsewhere_are_refused(tmp_path, name):
    """Also links to other folders, and what is no file; none of it is opened."""
    folder = tmp_path / "model"
    (folder / "folder").mkdir(parents=True)
    path = write(folder)
    content = (folder / "weights.bin").read_bytes()
    for copy in (tmp_path / "weights.bin", folder / "folder" / "weights.bin"):
        copy.write_bytes(content)
    (folder / "linked.bin").symlink_to(tmp_path / "weights.bin")
    (folder / "loop.bin").symlink_to("loop.bin")
    os.mkfifo(folder / "pipe.bin")
    manifest = [{"paths": [name], "weights": manifest_of(weights())}]
    write(folder, weightsManifest=manifest)
    with pytest.raises(KerasFileError):
        kerastorch.load_model(path)


def test_links_within_the_folder_are_followed(tmp_path):
    manifest = [{"paths": ["linked.bin"], "weights": manifest_of(weights())}]
    path = write(tmp_path, weightsManifest=manifest)
    (tmp_path / "linked.bin").symlink_to("weights.bin")
    assert_opens(path)


@pytest.mark.parametrize(
    "content",
    [
        {"format": "graph-model"},
        {"modelTopology": {"node": [], "versions": {}}},
        {"modelTopology": [1]},
        {"modelTopology": {"model_config": 3}},
        {"modelTopology": {"class_name": "Sequential"}},
        {"modelTopology": sequential("dense")},
        {"modelTopology": sequential({"class_name": "Dense", "config": {"name": ["a"]}})},
        {"weightsManifest": 3},
        {"weightsManifest": None},
        {"weightsManifest": [3]},
        {"weightsManifest": [{}]},
        {"weightsManifest": []},
        {"weightsManifest": [{"paths": [], "weights": manifest_of(weights())}]},
        {"weightsManifest": [{"paths": ["weights.bin"], "weights": []}]},
        {"weightsManifest": [{"paths": ["weights.bin"] * 2, "weights": manifest_of(weights())}]},
    ],
    ids=repr,
)
def test_other_models_are_refused(tmp_path, content):
    with pytest.raises(KerasFileError):
        kerastorch.load_model(write(tmp_path, **content))


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"a": %s}' % (b"9" * 10_000)]
)
def test_other_json_is_refused(tmp_path, text):
    (tmp_path / "model.json").write_bytes(text)
    with pytest.raises(KerasFileError, match=r"model\.json"):
        kerastorch.load_model(tmp_path)


def test_shards_cut_short_are_refused(tmp_path):
    path = write(tmp_path)
    content = (tmp_path / "weights.bin").read_bytes()
    for changed in (b"", content[:-1], content + b"\0"):
        (tmp_path / "weights.bin").write_bytes(changed)
        with pytest.raises(KerasFileError, match="bytes"):
            kerastorch.load_model(path)
