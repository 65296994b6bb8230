"""What was done to a model in PyTorch goes to Keras where Keras has it, and is named where not."""

import subprocess
import sys

import h5py
import numpy as np
import peft
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune
from torch.nn.utils.fusion import fuse_conv_bn_eval

import kerastorch
from kerastorch import Input, Layer, Model, Sequential, layers, registration
from kerastorch.cli import main
from kerastorch.convert import convert_file
from kerastorch.convert.hdf5_writing import Array, Group, write_hdf5
from tests import parity
from tests.oracle.client import ROOT
from tests.registered import register_block
from tests.test_loading import assert_same_state

pytestmark = pytest.mark.usefixtures("beside_oracle")

WHOLE = ["whole.keras", "whole.h5"]


def network():
    image = Input((9, 8, 3))
    x = layers.Conv2D(4, 3, use_bias=False, name="conv")(image)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU(name="act")(x)
    x = layers.Conv2D(5, 3, name="features")(x)
    x = layers.Dropout(0.2, name="drop")(layers.GlobalAveragePooling2D(name="pool")(x))
    return fill(Model(image, layers.Dense(7, activation="softmax", name="predictions")(x)))


def fill(model):
    """Distinct weights; variances stay positive."""
    torch.manual_seed(0)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.1, 0.6)
    return model.eval()


def assert_goes_home(oracle, folder, model):
    """Keras opens both whole formats, and so do we, to the same numbers."""
    arrays = parity.random_arrays(model.inputs, batch=2)
    inputs = arrays if len(arrays) > 1 else arrays[0]
    ours = model.predict(inputs)
    for file in WHOLE:
        model.save(folder / file)
        oracle.ask("open", path=str(folder / file))
        assert parity.relative_error(ours, oracle.ask("predict", inputs=arrays)) < parity.TOLERANCE
        again = kerastorch.load_model(folder / file)
        assert parity.relative_error(again.predict(inputs), [ours]) == 0
        assert {p.dtype for p in again.parameters()} == {torch.float64}


# What Keras has


def unbuilt_head(model):
    model.predictions = layers.Dense(5)


def head_of_another_name(model):
    model.predictions = layers.Dense(5, name="classes")


def linear_head(model):
    model.predictions = nn.Linear(5, 3)


def head_of_several_modules(model):
    stack = [nn.Dropout(0.1), nn.Linear(5, 6), nn.ReLU(), layers.Dense(3), nn.Softmax(1)]
    model.predictions = nn.Sequential(*stack)


def own_stem(model):
    model.conv = nn.Conv2d(3, 4, (2, 3), stride=(1, 2), bias=False)
    model.norm, model.act = nn.BatchNorm2d(4, eps=0.1), nn.ReLU6()
    model.drop = nn.Sequential()


def symmetric_padding_that_is_same(model):
    model.conv = nn.Conv2d(3, 6, (3, 5), padding=(1, 4), dilation=(1, 2), groups=3)
    model.norm, model.act = nn.BatchNorm2d(6, affine=False), nn.ELU(0.3)
    model.features = nn.Conv2d(6, 5, (2, 4), padding="same")


def fused(model):
    """With a bias that the convolution was not made with."""
    model.conv = fuse_conv_bn_eval(model.conv, model.norm)
    model.norm, model.act = nn.Identity(), nn.SiLU()


def merged_adapters(model):
    adapted = peft.get_peft_model(model, peft.LoraConfig(target_modules=["conv", "predictions"]))
    fill(adapted)
    adapted.merge_and_unload()


def permanently_pruned(model):
    prune.l1_unstructured(model.features, "weight", 0.5)
    prune.remove(model.features, "weight")


CHANGES = [
    unbuilt_head,
    head_of_another_name,
    linear_head,
    head_of_several_modules,
    own_stem,
    symmetric_padding_that_is_same,
    fused,
    merged_adapters,
    permanently_pruned,
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_changes_go_home(oracle, tmp_path, change):
    model = network()
    change(model)
    keys = model.state_dict().keys()
    assert_goes_home(oracle, tmp_path, model.eval())
    assert keys <= model.state_dict().keys()  # only a head that was not built yet is, now


def test_changes_within(oracle, tmp_path):
    """In models within and in a Sequential, and after what was left of a Keras 2 only layer."""
    base, image = network(), Input((9, 8, 3))
    base.predictions, base.conv = nn.Linear(5, 7), nn.Conv2d(3, 4, 3)
    x = layers.ThresholdedReLU(0.25)(base(image))
    head = Sequential([Input((7,)), layers.Dense(4, name="a"), layers.Dense(3, name="b")])
    model = Model(image, head(x))
    head.b = nn.Linear(4, 2)
    assert_goes_home(oracle, tmp_path, model.eval())


def test_rank_3(oracle, tmp_path):
    sequence = Input((6, 4))
    x = layers.Activation("relu", name="norm")(layers.Conv1D(5, 3)(sequence))
    model = fill(Model(sequence, layers.Dense(3, name="dense")(x)))
    model.norm, model.dense = nn.BatchNorm1d(4), nn.Linear(5, 2)
    assert_goes_home(oracle, tmp_path, model.eval())


def test_scale_layers(oracle, tmp_path):
    """Which Keras has outside of `keras.layers`."""
    image = Input((4, 5, 3))
    model = Model(image, layers.CustomScaleLayer(0.25)([image, layers.Conv2D(3, 1)(image)]))
    assert_goes_home(oracle, tmp_path, fill(model))


def test_a_layer_that_also_stands_within(oracle, tmp_path):
    """Keras makes two of it, each with the weights."""
    dense, vector, inner = layers.Dense(3, name="shared"), Input((3,)), Input((3,))
    model = Model(vector, dense(Model(inner, dense(inner), name="within")(vector)))
    assert_goes_home(oracle, tmp_path, model)


@pytest.mark.parametrize("file", WHOLE)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_types(oracle, tmp_path, file, dtype):
    """Keras computes in the type of the weights; here bfloat16 comes back as float32."""
    model = network()
    model.predictions.activation = kerastorch.activations.linear  # softmax would magnify errors
    model.to(dtype)
    model.save(tmp_path / file)
    oracle.ask("open", path=str(tmp_path / file))
    image = np.random.default_rng(0).uniform(0, 1, (2, 9, 8, 3))
    (theirs,) = oracle.ask("predict", inputs=[image])
    assert theirs.dtype.name == str(dtype).removeprefix("torch.")
    ours = torch.as_tensor(model.predict(image), dtype=torch.float64)
    difference = parity.maximum(ours - torch.from_numpy(theirs.astype(np.float64)))
    assert difference <= 8 * torch.finfo(dtype).eps * parity.maximum(ours)
    again = kerastorch.load_model(tmp_path / file)
    assert_same_state(again, model if dtype != torch.bfloat16 else model.float())


def test_channels_first(oracle, tmp_path):
    """TensorFlow cannot run it on the CPU: its channels-last twin can."""
    oracle.ask("build", builder="transferred", arguments={"shape": (3, 45, 38)},
               data_format="channels_first")  # fmt: skip
    oracle.ask("save", path=str(tmp_path / "source.keras"))
    state = oracle.ask("state")
    model = kerastorch.load_model(tmp_path / "source.keras")
    for file in WHOLE:
        model.save(tmp_path / file)
        oracle.ask("open", path=str(tmp_path / file))
        assert oracle.ask("state") == state
        assert_same_state(kerastorch.load_model(tmp_path / file), model)


@pytest.mark.parametrize("file", ["x.weights.h5", "x.h5"])
def test_weights_of_a_layer_in_two_models_within(tmp_path, file):
    """Are stored once, and loaded where the layer is one, too."""
    vector, dense = Input((3,)), layers.Dense(3, name="shared")
    inputs = [Input((3,)) for _ in range(3)]
    left, right = (Model(x, dense(x), name=name) for name, x in zip("ab", inputs, strict=False))
    both = Model(inputs[2], layers.Add()([left(inputs[2]), right(inputs[2])]), name="both")
    model = Model(vector, both(vector))
    model.save_weights(tmp_path / file)
    before = dense.weight.detach().clone()
    nn.init.zeros_(dense.weight)
    assert model.load_weights(tmp_path / file).is_complete
    assert torch.equal(dense.weight, before)


# Layers of a user's own


@pytest.fixture
def _registered_for_one_test(monkeypatch):
    monkeypatch.setattr(registration, "_registered", {})


@pytest.mark.usefixtures("_registered_for_one_test")
@pytest.mark.parametrize("builder", ["own_layers", "own_convolution"])
def test_registered_layers_go_home(oracle, tmp_path, builder):
    """As a class with weights, and as a function that had made a layer of this package."""

    @kerastorch.register_layer("shop>Blur")
    class Blur(Layer):
        def __init__(self, strength, **kwargs):
            super().__init__(**kwargs)
            self.strength = strength

        def build(self, shape):
            self.gain = nn.Parameter(torch.zeros(shape[-1]))
            self.register_buffer("shift", torch.zeros(shape[-1]))

        def forward(self, x, power=1):
            gain, shift = (value.view(-1, 1, 1) for value in (self.gain, self.shift))
            return (x * gain * self.strength + shift) ** power

        def get_config(self):
            return {"name": self.name, "trainable": self.trainable, "strength": self.strength}

    @kerastorch.register_layer("shop>Mix", weights=[("weight", (3, 2, 0, 1)), "bias"])
    def mix(config):
        return layers.Conv2D(config["channels"], 1)

    oracle.ask("build", builder=builder, arguments={})
    oracle.ask("save", path=str(tmp_path / "source.keras"))
    state = oracle.ask("state")
    model = kerastorch.load_model(tmp_path / "source.keras")
    assert_goes_home(oracle, tmp_path, model)
    assert oracle.ask("state") == state


@pytest.mark.usefixtures("_registered_for_one_test")
def test_layers_within_registered_ones(oracle, tmp_path):
    """In `.keras` their paths say which attributes hold them."""

    register_block()
    oracle.ask("build", builder="own_block", arguments={})
    state = oracle.ask("state")
    for source in WHOLE:
        oracle.ask("save", path=str(tmp_path / source))
    for source in WHOLE:
        model = kerastorch.load_model(tmp_path / source)
        assert_goes_home(oracle, tmp_path, model)
        assert oracle.ask("state") == state


# What Keras does not have


class Swap(nn.Module):
    def forward(self, x):
        return x.flip(1)


def test_everything_is_named_at_once(tmp_path):
    base, image = network(), Input((9, 8, 3))
    model = Model(image, layers.Dense(3, name="last")(base(image)))
    base.act, base.drop = Swap(), nn.GELU()
    base.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
    prune.random_unstructured(base.features, "weight", 0.5)
    parametrizations.weight_norm(model.last)
    for file in ("x.keras", "x.h5", "x.weights.h5"):
        save = model.save_weights if "weights" in file else model.save
        with pytest.raises(ValueError, match="cannot go to Keras") as caught:
            save(tmp_path / file)
        message = str(caught.value)
        assert "act (Swap)" in message
        assert "drop (GELU)" in message
        assert "conv (Conv2d: padding (1, 1); take ZeroPadding2D" in message
        assert "prune.remove: functional/features (Conv2D)" in message
        assert "remove_parametrizations: last (Dense)" in message
        assert list(tmp_path.iterdir()) == []


def test_adapters_are_named(tmp_path):
    model = network()
    peft.get_peft_model(model, peft.LoraConfig(target_modules=["conv", "predictions"]))
    with pytest.raises(ValueError, match="merge_and_unload.*: conv .*, predictions "):
        model.save(tmp_path / "x.keras")


def test_layers_that_were_changed_are_named(tmp_path):
    model = network()
    model.features.stride = (2, 2)
    model.norm.eps = 0.5
    with pytest.raises(ValueError, match=r"norm \(.*: eps\), features \(Conv2D: stride\)"):
        model.save(tmp_path / "x.h5")


def test_classes_that_are_not_registered_are_named(tmp_path):
    class Own(Layer):
        def forward(self, x):
            return x

    class OwnModel(Model):
        pass

    image = Input((3,))
    model = OwnModel(image, layers.Dense(2)(Own(name="own")(image)), name="net")
    with pytest.raises(ValueError, match=r"register_layer: net \(OwnModel\), own \(Own\)"):
        model.save(tmp_path / "x.keras")
    model.save_weights(tmp_path / "x.weights.h5")  # whose layers Keras need not make


def test_weights_that_torch_computes_are_named(tmp_path):
    """By old functions of torch, in a layer and in a module of torch."""
    model = network()
    model.predictions = nn.Linear(5, 2)
    for module in (model.features, model.predictions):
        nn.utils.weight_norm(module)
    with pytest.raises(ValueError, match="weight_g") as caught:
        model.save(tmp_path / "x.h5")
    assert "features (Conv2D: weight, weight_g, weight_v)" in str(caught.value)
    assert "predictions (Linear: it differs in weight, weight_g, weight_v)" in str(caught.value)


def test_what_is_in_a_sequence_is_named(tmp_path):
    """Also where the rest does not fit what stands in for it."""
    model = network()
    model.predictions = nn.Sequential(nn.Hardtanh(), nn.Bilinear(5, 5, 6), nn.Linear(6, 2))
    match = r"predictions\.0 \(Hardtanh\), predictions\.1 \(Bilinear\)"
    with pytest.raises(ValueError, match=match):
        model.save(tmp_path / "x.h5")


def test_layers_that_only_keras_2_had_are_named(tmp_path):
    image = Input((9, 8, 3))
    model = Model(image, layers.ResizedRandomCrop(5, 4, name="crop")(image))
    with pytest.raises(ValueError, match="crop .ResizedRandomCrop"):
        model.save(tmp_path / "x.keras")


def test_names_that_only_differ_in_slashes_are_named(tmp_path):
    image = Input((3,))
    x = layers.Dense(3, name="a/b")(layers.Dense(3, name="a_b")(image))
    with pytest.raises(ValueError, match="no longer unique: a/b"):
        Model(image, x).save(tmp_path / "x.keras")


def test_weights_on_the_meta_device_are_named(tmp_path):
    with pytest.raises(ValueError, match="no values: conv"):
        network().to("meta").save(tmp_path / "x.keras")


@pytest.mark.parametrize(
    ("method", "file"),
    [
        ("save", "x.weights.h5"),
        ("save", "x.pt"),
        ("save", "x"),
        ("save_weights", "x.keras"),
        ("save_weights", "x.hdf5"),
    ],
)
def test_other_endings_are_refused(tmp_path, method, file):
    with pytest.raises(ValueError, match=r"saved as .*ends"):
        getattr(network(), method)(tmp_path / file)
    assert list(tmp_path.iterdir()) == []


# The files themselves


def test_hdf5_holds_what_was_given(tmp_path):
    """Of any type, size and order in memory, also more than is written at once."""
    wide = torch.randn(2_100, 1_100)
    tensors = {
        "transposed": wide.t(),
        "in/groups": torch.randn(3, 4, 5).permute(2, 0, 1)[1:, ::2],
        "scalar": torch.tensor(7),
        "none": torch.empty(0, 3),
        "half": torch.randn(5).half(),
        "flags": torch.tensor([True, False]),
    }
    names = [f"{number}_{'x' * 90}" for number in range(1_500)]
    arrays = {name: Array(tensor, tensor.dtype) for name, tensor in tensors.items()}
    groups = {
        "/": Group({"names": names, "nothing": [], "text": "é" * 70_000}),
        "a/b": Group({}, arrays),
        "a": Group({}, {"brain": Array(wide[0].bfloat16(), torch.bfloat16)}),
        "a/c": Group({}, {"wider": Array(wide[0].bfloat16(), torch.float32)}),
    }
    with open(tmp_path / "x.h5", "wb") as file:
        write_hdf5(file, groups)
    with h5py.File(tmp_path / "x.h5") as file:
        for name, tensor in tensors.items():
            found = file["a/b"][name]
            assert found.dtype == tensor.numpy().dtype
            assert np.array_equal(found[()], tensor.numpy()), name
        assert np.array_equal(file["a/c/wider"][()], wide[0].bfloat16().float().numpy())
        brain = file["a/brain"][()].view("i2")
        assert np.array_equal(brain, wide[0].bfloat16().view(torch.int16).numpy())
        parts = [file.attrs[f"names{part}"] for part in range(3)]
        assert [name.decode() for part in parts for name in part] == names
        assert len(file.attrs["nothing"]) == 0
        assert file.attrs["text"] == "é" * 70_000


def test_long_names(oracle, tmp_path):
    """More of them than one attribute of HDF5 holds."""
    x = image = Input((3,))
    for number in range(600):
        x = layers.Activation("relu", name=f"{number}_{'long' * 30}")(x)
    model = Model(image, layers.Dense(2)(x))
    assert_goes_home(oracle, tmp_path, model)


@pytest.mark.parametrize("file", [*WHOLE, "x.weights.h5", "weights.h5"])
def test_the_same_model_gives_the_same_bytes(tmp_path, file):
    model = network()
    contents = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / file
        (model.save if file in WHOLE else model.save_weights)(path)
        contents.append(path.read_bytes())
    assert contents[0] == contents[1]


def test_convert_file(oracle, tmp_path):
    """From each format to each of the others."""
    model = network()
    files = [*WHOLE, "x.safetensors"]
    for source in files:
        model.save(tmp_path / source)
        for target in [*files, "x.weights.h5"]:
            path = tmp_path / f"from_{source}" / target
            path.parent.mkdir(exist_ok=True)
            convert_file(tmp_path / source, path)
            if "weights" in target:
                again = network()
                again.load_weights(path)
            else:
                again = kerastorch.load_model(path)
            assert_same_state(again, model)


@pytest.mark.parametrize("file", [*WHOLE, "x.safetensors", "x.weights.h5"])
def test_the_command_line_converts(tmp_path, capsys, file):
    model = network()
    model.save(tmp_path / "source.keras")
    assert main(["convert", str(tmp_path / "source.keras"), "-o", str(tmp_path / file)]) == 0
    assert file in capsys.readouterr().out
    again = network()
    again.load_weights(tmp_path / file)
    assert_same_state(again, model)


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files")
@pytest.mark.parametrize("file", WHOLE)
def test_a_full_disk_leaves_the_old_file(tmp_path, file):
    target = tmp_path / file
    target.write_bytes(b"old")
    program = (
        "import resource, signal, sys; from kerastorch import *\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000_000, 20_000_000))\n"
        "x = Input((1500,)); model = Model(x, layers.Dense(2000)(layers.Dense(2000)(x)))\n"
        "try: model.save(sys.argv[1])\n"
        "except OSError as error: print(error.filename)"
    )
    command = [sys.executable, "-c", program, target]
    assert subprocess.check_output(command, cwd=ROOT, text=True).strip() == str(target)
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == [file]
