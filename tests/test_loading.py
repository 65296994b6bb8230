"""Files: what is saved comes back, and what does not fit is refused and changes nothing."""

import copy
import io
import json
import zipfile
from contextlib import contextmanager, suppress

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

import kerastorch
from kerastorch import Input, Model, Sequential, initializers, layers
from kerastorch.applications import get_record
from kerastorch.convert.matching import layers_by_path
from kerastorch.convert.rules import rules_for
from kerastorch.engine.structure import flatten


def make_model(units=4):
    """A model with every kind of weight, a layer that is used twice, and a model within."""
    image = Input((8, 8, 3), name="photo")
    x = layers.Conv2D(6, 3, activation="relu")(layers.Normalization()(image))
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False)(x)
    x = layers.BatchNormalization(scale=False)(x)
    x = layers.SeparableConv2D(5, 2, name="a.b")(x)
    x = layers.GlobalAveragePooling2D()(x)
    shared = layers.Dense(5, name="shared")
    x = layers.Add()([shared(x), shared(layers.Activation("tanh")(x))])
    head = Sequential([Input((5,)), layers.Dense(3), layers.Dense(units)], name="head")
    model = Model(image, head(x), name="little")
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point() and not tensor.is_meta:
                tensor.uniform_(0.5, 1.5)
    return model


def images(count=2):
    return torch.rand(count, 3, 8, 8)


def keras_arrays(layer):
    """The layer's weights as Keras orders and lays them out."""
    state = layer.state_dict()
    return [rule.to_keras(state[rule.key]).numpy() for rule in rules_for(layer)]


def write_safetensors(model, path):
    model.save_weights(path)


def write_keras_weights(model, path):
    """As Keras 3 writes `.weights.h5`."""
    with h5py.File(path, "w") as file:
        for place, layer in layers_by_path(model).items():
            for number, array in enumerate(keras_arrays(layer)):
                file[f"{place}/vars/{number}"] = array


def write_keras(model, path, change=lambda config: config):
    """As Keras 3 writes `.keras`; `change` may alter the config."""
    weights = io.BytesIO()
    write_keras_weights(model, weights)
    config = {"class_name": "Functional", "config": model.get_config()}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.1"}))
        archive.writestr("config.json", json.dumps(change(json.loads(json.dumps(config)))))
        archive.writestr("model.weights.h5", weights.getvalue())


def write_legacy_weights(model, path):
    """As Keras 2 writes the weights of a model: by name, a model within as one group."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name for layer in model.layers]
        for layer in model.layers:
            group = file.create_group(layer.name)
            inner = layer.layers if isinstance(layer, Model) else [layer]
            named = {
                f"{part.name}/{number}": array
                for part in inner
                for number, array in enumerate(keras_arrays(part))
            }
            group.attrs["weight_names"] = list(named)
            for key, array in named.items():
                group[key] = array


WRITERS = {
    "little.safetensors": write_safetensors,
    "little.weights.h5": write_keras_weights,
    "little.keras": write_keras,
    "little.h5": write_legacy_weights,
}
WHOLE_MODELS = ["little.safetensors", "little.keras"]


@contextmanager
def refusal(*parts):
    """A `ValueError` of one or two lines that says all of this."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        yield
    message = str(caught.value)
    assert message.count("\n") < 2
    assert len(message) < 1000
    for part in parts:
        assert part in message


def assert_same_state(ours, expected):
    """To the bit and with types; torch's own count of batches is in no file."""
    state = ours.state_dict()
    for key, tensor in expected.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            assert state[key].dtype == tensor.dtype, key
            assert torch.equal(state[key], tensor), key


# What is saved comes back


@pytest.mark.parametrize("file", WRITERS)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_weights_come_back(tmp_path, file, device):
    model = make_model()
    WRITERS[file](model, tmp_path / file)
    with torch.device(device):
        other = make_model()
    other.get_layer("conv2d").trainable = False
    places = [parameter.data_ptr() for parameter in other.parameters()]
    other.load_weights(tmp_path / file)

    assert_same_state(other, model)
    assert not other.get_layer("conv2d").weight.requires_grad
    if device == "cpu":  # an optimiser that holds the parameters goes on
        assert [parameter.data_ptr() for parameter in other.parameters()] == places
    assert_usable(other)
    x = images()
    assert torch.equal(other.eval()(x), model.eval()(x))


@pytest.mark.parametrize("file", WHOLE_MODELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_whole_models_come_back(tmp_path, file, dtype):
    model = make_model().to(dtype)
    model.get_layer("conv2d").trainable = False
    WRITERS[file](model, tmp_path / file)
    other = kerastorch.load_model(tmp_path / file)

    assert other.name == "little"
    assert [(x.name, type(x)) for x in other.layers] == [(x.name, type(x)) for x in model.layers]
    assert other.get_config() == model.get_config()
    assert_same_state(other, model)
    trainable = {key for key, p in model.named_parameters() if p.requires_grad}
    assert {key for key, p in other.named_parameters() if p.requires_grad} == trainable
    assert_usable(other)
    x = images().to(dtype)
    assert torch.equal(other.eval()(x), model.eval()(x))
    other.to("cpu").train()(x)


def assert_usable(model):
    """Nothing is left on the meta device, where a move to another device would fail."""
    tensors = [*model.parameters(), *model.buffers()]
    assert [tuple(tensor.shape) for tensor in tensors if tensor.is_meta] == []


@pytest.mark.parametrize("file", WHOLE_MODELS)
def test_statistics_given_as_arguments_come_back(tmp_path, file):
    image = Input((2, 2, 3))
    given = layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 5.0, 6.0])
    model = Model(image, layers.Rescaling([1.0, 2.0, 3.0])(given(image)))
    WRITERS[file](model, tmp_path / file)
    other = kerastorch.load_model(tmp_path / file)
    assert_usable(other)
    x = torch.randn(2, 3, 2, 2)
    assert torch.equal(other(x), model(x))


@pytest.mark.parametrize("file", WHOLE_MODELS)
def test_structures_and_calls_come_back(tmp_path, file):
    """Several inputs and outputs by name, a model within called twice, a mode asked for."""
    x = Input((4,))
    tower = Model(x, layers.Dropout(0.5)(layers.Dense(4)(x)), name="tower")
    left, right = Input((4,), name="left"), Input((4,), name="right")
    calm, both = tower(left, training=False), layers.Concatenate()([left, right])
    model = Model(
        {"a": left, "b": right},
        {"sum": layers.Add()([calm, tower(right)]), "calm": calm, "both": [both, left]},
    )
    WRITERS[file](model, tmp_path / file)
    other = kerastorch.load_model(tmp_path / file)
    assert other.get_config() == model.get_config()
    inputs = {"a": torch.randn(2, 4), "b": torch.randn(2, 4)}
    for mode in (True, False):
        torch.manual_seed(0)
        expected = model.train(mode)(inputs)
        torch.manual_seed(0)
        result = other.train(mode)(inputs)
        assert all(map(torch.equal, flatten(result), flatten(expected)))


@pytest.mark.parametrize("file", WHOLE_MODELS)
def test_layers_thawed_in_a_frozen_model_come_back(tmp_path, file):
    """As Keras opens it: the model's own flag does not reach its layers."""
    model = make_model()
    model.trainable = False
    model.get_layer("head").layers[-1].trainable = True
    WRITERS[file](model, tmp_path / file)
    other = kerastorch.load_model(tmp_path / file)
    assert not other.trainable
    assert not other.get_layer("head").trainable
    trained = {key for key, p in other.named_parameters() if p.requires_grad}
    assert trained == {key for key, p in model.named_parameters() if p.requires_grad}
    assert len(trained) == 2


@pytest.mark.parametrize("name", kerastorch.list_models())
def test_architectures_come_back_from_their_config(name):
    size = get_record(name).min_size
    with torch.device("meta"):
        model = kerastorch.create_model(name, classes=3, input_shape=(size, size, 3))
        config = json.loads(json.dumps(model.get_config()))
        other = Model.from_config(config)
    assert [(x.name, type(x)) for x in other.layers] == [(x.name, type(x)) for x in model.layers]
    assert {k: v.shape for k, v in other.state_dict().items()} == {
        k: v.shape for k, v in model.state_dict().items()
    }
    assert json.loads(json.dumps(other.get_config())) == config


def test_a_state_dict_saved_by_hand_is_loaded(tmp_path):
    model, other = make_model(), make_model()
    save_file(model.state_dict(), tmp_path / "by_hand.safetensors")
    other.load_weights(tmp_path / "by_hand.safetensors")
    assert_same_state(other, model)


def test_arguments_from_numpy_are_saved(tmp_path):
    image = Input((2, 2, 3))
    x = layers.Rescaling(np.array([1.0, 2.0, 3.0]), offset=np.float32(0.5))(image)
    model = Model(image, layers.Reshape((np.int64(-1),))(layers.Dropout(np.float64(0.5))(x)))
    model.save_weights(tmp_path / "model.safetensors")
    other = kerastorch.load_model(tmp_path / "model.safetensors").eval()
    x = torch.randn(2, 3, 2, 2)
    assert torch.equal(other(x), model.eval()(x))


def test_a_file_holds_each_tensor_once(tmp_path):
    model = make_model()
    model.save_weights(tmp_path / "little.safetensors")
    with safe_open(tmp_path / "little.safetensors", "pt") as file:
        keys = set(file.keys())
        header = json.loads(file.metadata()["kerastorch"])
    assert keys == {key for key in model.state_dict() if not key.endswith("num_batches_tracked")}
    assert header["model"]["class_name"] == "Functional"
    assert header["format_version"] == 1


def test_a_layer_shared_with_a_model_within_becomes_two(tmp_path):
    """As in Keras, whose configs do not say that a layer also stands elsewhere."""
    shared = layers.Dense(4)
    inner = Model(x := Input((4,)), shared(x), name="inner")
    outer = Model(y := Input((4,)), shared(inner(y)))
    outer.save_weights(tmp_path / "shared.safetensors")
    rebuilt = kerastorch.load_model(tmp_path / "shared.safetensors")
    x = torch.randn(2, 4)
    assert torch.equal(rebuilt(x), outer(x))
    assert (outer.count_params(), rebuilt.count_params()) == (20, 40)


def test_parameters_take_the_models_type(tmp_path):
    model = make_model()
    model.save_weights(tmp_path / "little.safetensors")
    for device in ("cpu", "meta"):
        with torch.device(device):
            other = make_model().double()
        other.load_weights(tmp_path / "little.safetensors")
        assert all(parameter.dtype == torch.float64 for parameter in other.parameters())
        assert torch.equal(
            other.get_layer("shared").weight.float(), model.get_layer("shared").weight
        )


@pytest.mark.parametrize("file", WRITERS)
def test_what_is_to_be_loaded_is_not_initialised(tmp_path, monkeypatch, file):
    arguments = {"alpha": 0.25, "include_top": False, "input_shape": (32, 32, 3)}
    model = kerastorch.create_model("mobilenet", **arguments)
    WRITERS[file](model, tmp_path / file)
    for cls in (initializers.GlorotUniform, initializers.Zeros, initializers.Ones):
        monkeypatch.setattr(cls, "draw_", lambda *_: pytest.fail("a weight was initialised"))
    other = kerastorch.create_model("mobilenet", weights=tmp_path / file, **arguments)
    assert_same_state(other, model)
    if file in WHOLE_MODELS:
        assert_same_state(kerastorch.load_model(tmp_path / file), model)


# What does not fit


@pytest.mark.parametrize("open_file", [kerastorch.load_model, make_model().load_weights])
@pytest.mark.parametrize("file", WRITERS)
def test_missing_files(tmp_path, file, open_file):
    with refusal("no such file", file):
        open_file(tmp_path / file)
    with refusal("folder"):
        open_file(tmp_path)


@pytest.mark.parametrize("file", WRITERS)
def test_truncated_files(tmp_path, file):
    model = make_model()
    WRITERS[file](model, tmp_path / file)
    content = (tmp_path / file).read_bytes()
    before = copy.deepcopy(model)
    for length in (0, 1, 7, 8, 20, len(content) // 2, len(content) - 1):
        (tmp_path / file).write_bytes(content[:length])
        with refusal(file):
            model.load_weights(tmp_path / file)
        with refusal(file):
            kerastorch.load_model(tmp_path / file)
    assert_same_state(model, before)


def test_broken_archives(tmp_path):
    """Compressed by somebody and damaged, or with other metadata than Keras's."""
    path = tmp_path / "model.keras"
    write_keras(make_model(), path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    for metadata in (b"[]", b"{", b"\xff\xfe\xff"):
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in {**parts, "metadata.json": metadata}.items():
                archive.writestr(name, content)
        with refusal():
            kerastorch.load_model(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    whole = path.read_bytes()
    for place in range(0, len(whole), len(whole) // 100):
        path.write_bytes(whole[:place] + b"\xff\xff" + whole[place + 2 :])
        with suppress(ValueError):
            kerastorch.load_model(path)


@pytest.mark.parametrize("file", WRITERS)
def test_weights_of_another_architecture(tmp_path, file):
    image = Input((8, 8, 3))
    other = Model(image, layers.Conv2D(6, 3, name="stranger")(image), name="other")
    WRITERS[file](other, tmp_path / file)
    model = make_model()
    before = copy.deepcopy(model)
    # Keras 3's files know layers by class and number: there the stranger is the first convolution.
    by_class = file in ("little.keras", "little.weights.h5")
    unexpected = [] if by_class else ["unexpected:", "stranger"]
    with refusal("'little'", file, "missing:", "normalization", *unexpected):
        model.load_weights(tmp_path / file)
    assert_same_state(model, before)

    WRITERS[file](model, tmp_path / file)
    with refusal("'other'", file, "unexpected:", "normalization"):
        other.load_weights(tmp_path / file)


@pytest.mark.parametrize("file", WRITERS)
def test_weights_of_other_shapes(tmp_path, file):
    WRITERS[file](make_model(units=7), tmp_path / file)
    model = make_model()
    before = copy.deepcopy(model)
    with refusal("'little'", file, "shapes differ:", "dense_1", "7", "4"):
        model.load_weights(tmp_path / file)
    assert_same_state(model, before)


def test_long_lists_are_cut_short(tmp_path):
    make_model().save_weights(tmp_path / "little.safetensors")
    with torch.device("meta"):
        deep = kerastorch.create_model("mobilenet_v2")
    with refusal("Conv1.weight", "more"):
        deep.load_weights(tmp_path / "little.safetensors")


def test_weights_alone_are_no_model(tmp_path):
    for file in ("little.weights.h5", "little.h5"):
        WRITERS[file](make_model(), tmp_path / file)
        with refusal(file, "only weights", "load_weights"):
            kerastorch.load_model(tmp_path / file)


def test_files_of_other_kinds(tmp_path):
    (tmp_path / "notes.txt").write_text("These are no weights. " * 100)
    for open_file in (kerastorch.load_model, make_model().load_weights):
        with refusal("notes.txt"):
            open_file(tmp_path / "notes.txt")
    with refusal(".safetensors", "little.pt"):
        make_model().save_weights(tmp_path / "little.pt")


def test_unsupported_layers_are_listed_all_at_once(tmp_path):
    def change(config):
        stack = {layer["config"]["name"]: layer for layer in config["config"]["layers"]}
        stack["add"]["class_name"] = "Attention"
        stack["separable"]["registered_name"] = "shop>Blur"
        stack["separable"]["class_name"] = "Blur"
        stack["conv2d"]["config"]["lora_rank"] = 4
        stack["shared"]["config"]["dtype"] = {
            "class_name": "QuantizedDTypePolicy",
            "config": {"name": "int8_from_float32"},
        }
        stack["head"]["config"]["layers"][1]["class_name"] = "Lambda"
        return config

    image = Input((8, 8, 3))
    x = layers.SeparableConv2D(2, 1, name="separable")(layers.Conv2D(2, 1, name="conv2d")(image))
    x = layers.Dense(3, name="shared")(layers.Flatten()(layers.Add(name="add")([x, x])))
    head = Sequential([Input((3,)), layers.Dense(3)], name="head")
    write_keras(Model(image, head(x)), tmp_path / "model.keras", change)
    with refusal("Attention", "shop>Blur", "Lambda", "lora_rank", "quantized"):
        kerastorch.load_model(tmp_path / "model.keras")


PATHS = st.lists(st.integers(0, 30), max_size=9)
JUNK = st.sampled_from([None, -1, 0, 1.5, 10**15, "", "x", [], [1], {}, {"a": 1}, True])


@settings(
    derandomize=True,
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(path=PATHS, junk=JUNK, remove=st.booleans())
def test_a_broken_config_is_refused_or_does_no_harm(tmp_path, path, junk, remove):
    """With any part of it removed or replaced."""

    def change(config):
        place, key, part = None, None, config
        for number in path:
            if not isinstance(part, dict | list) or not part:
                break
            place = part
            key = number % len(part) if isinstance(part, list) else sorted(part)[number % len(part)]
            part = place[key]
        if place is not None and remove:
            del place[key]
        elif place is not None:
            place[key] = junk
        return config

    write_keras(make_model(), tmp_path / "model.keras", change)
    with suppress(ValueError):
        kerastorch.load_model(tmp_path / "model.keras")


@settings(derandomize=True, deadline=None, max_examples=200)
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255))
def test_a_broken_safetensors_header_is_refused_or_does_no_harm(saved_model, place, byte):
    content, path = saved_model
    size = 8 + int.from_bytes(content[:8], "little")
    broken = bytearray(content)
    broken[int(place * size)] = byte
    path.write_bytes(broken)
    with suppress(ValueError):
        kerastorch.load_model(path)


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ({}, "only weights"),
        ({"kerastorch": "{"}, "header is broken"),
        ({"kerastorch": "[]"}, "broken header"),
        ({"kerastorch": '{"format_version": 1}'}, "broken header"),
        ({"kerastorch": '{"format_version": "1", "model": {}}'}, "broken header"),
        ({"kerastorch": '{"format_version": 1, "model": {}}'}, "config is broken"),
        ({"kerastorch": '{"format_version": 2, "model": {}}'}, "newer kerastorch (format 2)"),
    ],
)
def test_headers_that_rebuild_no_model(tmp_path, header, problem):
    save_file({"x": torch.zeros(1)}, tmp_path / "little.safetensors", header)
    with refusal(problem):
        kerastorch.load_model(tmp_path / "little.safetensors")


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    path = tmp_path_factory.mktemp("broken") / "little.safetensors"
    make_model().save_weights(path)
    return path.read_bytes(), path


# Arguments of the architectures


def test_unknown_names_bring_near_ones():
    with refusal("'resnet51'", "resnet50"):
        kerastorch.create_model("resnet51")
    with refusal("'zebra'", "list_models"):
        kerastorch.create_model("zebra")
    with refusal("vgg16", "alpha"):
        kerastorch.create_model("vgg16", alpha=0.5)


@pytest.mark.parametrize("name", kerastorch.list_models())
def test_arguments_that_do_not_fit(name):
    record = get_record(name)
    build, size = record.constructor, record.default_size
    with refusal("at least", str(record.min_size)):
        build(weights=None, include_top=False, input_shape=(200, record.min_size - 1, 3))
    with refusal("1000", "10"):
        build(weights="imagenet", classes=10)
    with refusal("3 channels"):
        build(weights="imagenet", include_top=False, input_shape=(size, size, 1))
    if not (record.weights_of_any_size or record.open_size):
        with refusal(f"({size}, {size}, 3)"):
            build(weights="imagenet", input_shape=(size + 1, size, 3))
    with refusal("pooling", "'avg'", "'max'", "'median'"):
        build(weights=None, include_top=False, pooling="median")
    if not record.open_size:
        with refusal("static"):
            build(weights=None, input_shape=(None, None, 3))
    with refusal("three"):
        build(weights=None, input_shape=(size, size))
    with refusal("nowhere.h5"):
        build(weights="nowhere.h5")
    with refusal("softmax", "'relu'"):
        build(weights="imagenet", classifier_activation="relu")
