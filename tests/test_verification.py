"""`kerastorch.verification.verify`: equal where it is so, and else the layer and the cause."""

import copy
import json
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import kerastorch
from kerastorch import layers
from kerastorch.applications.imagenet_utils import preprocess_input
from kerastorch.cli import main
from kerastorch.convert import KerasFileError
from kerastorch.verification import KerasMissingError, KerasProcess, KerasProcessError, verify
from kerastorch.verification.pictures import seen_pictures
from tests.architectures import APPLICATIONS, by_family
from tests.oracle.client import Oracle


@pytest.fixture(scope="module")
def files(oracle, tmp_path_factory):
    """Files of the model with a place for each mistake, and what Keras gives for it."""
    folder = tmp_path_factory.mktemp("suspects")
    oracle.ask("build", builder="suspects", arguments={}, floatx="float32")
    oracle.ask("save", path=str(folder / "whole.keras"))
    oracle.ask("save", path=str(folder / "whole.h5"))
    verdict = verify(folder / "whole.keras", save_reference=folder / "kept.safetensors")
    assert verdict.is_equal
    return folder


@pytest.fixture(scope="module")
def applications(oracle, tmp_path_factory, request):
    """Writes the applications' files one by one, each while the one before is verified."""
    folder = tmp_path_factory.mktemp("applications")

    def write(name):
        arguments = {"name": name, "classes": 10, "input_shape": (75, 78, 3)}
        oracle.ask("build", builder="application", arguments=arguments, floatx="float32")
        oracle.ask("save", path=str(folder / f"{name}.keras"))
        return folder / f"{name}.keras"

    tests = [item for item in request.session.items if "applications" in item.fixturenames]
    names = [item.callspec.params["name"] for item in tests]
    with ThreadPoolExecutor(1) as writing:
        yield {name: writing.submit(write, name) for name in names}
        writing.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def oracles(oracle):
    with Oracle("keras2_side") as older:
        yield {"keras_side": oracle, "keras2_side": older}


@pytest.fixture(scope="module")
def keras():
    with KerasProcess() as process:
        yield process


@pytest.mark.parametrize("name", by_family(APPLICATIONS))
def test_applications_are_equal(applications, keras, name):
    path = applications[name].result()
    float32 = name in ("ResNet50", "MobileNetV2")
    verdict = verify(path, keras=keras, float32=float32, batch_size=1)
    assert verdict.is_equal, verdict
    model = kerastorch.load_model(path)
    computing = [layer.name for layer in model.layers if type(layer).__name__ != "InputLayer"]
    assert sorted(result.path for result in verdict.layers) == sorted(computing)
    assert verdict.largest_error < 1e-12
    path.unlink()


# Mistakes: each changes a model in place, where it says, and the verdict must tell where and what.


def epsilon(base, model):
    base.get_layer("stem_bn").eps = 1e-3


def momentum(base, model):
    base.get_layer("stem_bn").momentum = 0.01


def frozen(base, model):
    base.get_layer("stem_bn").trainable = False


def unbiased_variance(base, model):
    layer = base.get_layer("stem_bn")
    plain = nn.BatchNorm2d(layer.num_features, layer.eps, layer.momentum)
    plain.load_state_dict(layer.state_dict())
    base.stem_bn = plain


def symmetric_stem(base, model):
    stem = base.get_layer("stem")
    plain = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False)
    plain.weight = stem.weight
    base.stem = plain


def symmetric_pool(base, model):
    base.largest = nn.MaxPool2d(3, 2, padding=1)


def counted_padding(base, model):
    base.average = nn.AvgPool2d(3, 2, padding=1)


def exchanged(base, model):
    one, other = base.get_layer("one"), base.get_layer("other")
    with torch.no_grad():
        kept = one.weight.clone()
        one.weight.copy_(other.weight)
        other.weight.copy_(kept)


def turned(base, model):
    _change(base.get_layer("one"), lambda kernel: kernel.flip((2, 3)))


def transposed(base, model):
    _change(base.get_layer("other"), lambda kernel: kernel.transpose(2, 3))


def exchanged_channels(base, model):
    _change(base.get_layer("stem"), lambda kernel: kernel.flip(1))


def depthwise_order(base, model):
    layer = base.get_layer("depthwise")
    _change(layer, lambda kernel: kernel.unflatten(0, (-1, 2)).transpose(0, 1).flatten(0, 1))


def another_activation(base, model):
    base.get_layer("stem_silu").activation = kerastorch.activations.get("relu")


def no_activation(base, model):
    model.get_layer("hidden").activation = kerastorch.activations.get("linear")


def missing_bias(base, model):
    base.get_layer("one").bias = None


def missing_bias_behind_softmax(base, model):
    model.get_layer("classes").bias = None


def channels_first_flatten(base, model):
    model.flat = nn.Flatten()


def exchanged_inputs(base, model):
    base.joined = Joined()


class Joined(nn.Module):
    def forward(self, inputs):
        return torch.cat(inputs[::-1], 1)


def _change(layer, change):
    with torch.no_grad():
        layer.weight.copy_(change(layer.weight).clone())


MISTAKES = [
    (epsilon, "base/stem_bn", "epsilon", "1.001e-05, this layer's 0.001"),
    (momentum, "base/stem_bn", "momentum", "0.997 in Keras's sense, this layer's 0.99"),
    (frozen, "base/stem_bn", "trainable", "This layer is frozen"),
    (unbiased_variance, "base/stem_bn", "moving variance", "divides by n,"),
    (symmetric_stem, "base/stem", "padding", "'same', 0 in front and 1 behind"),
    (symmetric_pool, "base/largest", "padding", "'same'"),
    (counted_padding, "base/average", "padding", "leaves the padding out"),
    (exchanged, "base/one", "exchanged weights", "that of base/other"),
    (turned, "base/one", "kernel order", "180 degrees"),
    (transposed, "base/other", "kernel order", "height and width"),
    (exchanged_channels, "base/stem", "channel order", "BGR"),
    (depthwise_order, "base/depthwise", "kernel order", "2 multiples"),
    (another_activation, "base/stem_silu", "activation", "silu, this layer's relu"),
    (no_activation, "hidden", "activation", "tanh, this layer's linear"),
    (missing_bias, "base/one", "bias", "here there is none"),
    (missing_bias_behind_softmax, "classes", "bias", "here there is none"),
    (channels_first_flatten, "flat", "axis order", "(height, width, channels), this layer in"),
    (exchanged_inputs, "base/joined", "order of inputs", "(2, 1)"),
]


@pytest.mark.parametrize(
    ("plant", "path", "kind", "text"), MISTAKES, ids=[mistake[0].__name__ for mistake in MISTAKES]
)
def test_mistakes_are_named(files, plant, path, kind, text):
    model = kerastorch.load_model(files / "whole.keras")
    plant(model.get_layer("base"), model)
    before = copy.deepcopy(model.state_dict())
    verdict = verify(model, files / "kept.safetensors", float32=False)
    assert not verdict.is_equal
    assert (verdict.divergence.layer.path, verdict.divergence.causes[0].kind) == (path, kind)
    assert text in verdict.divergence.causes[0].explanation
    assert verdict.divergence.causes[0].error < 1e-12
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_weights_that_differ_are_counted_beside_keras(files, keras):
    model = kerastorch.load_model(files / "whole.h5")
    with torch.no_grad():
        model.get_layer("hidden").weight[2, 3] += 1e-6
    verdict = verify(model, files / "whole.h5", keras=keras, float32=False)
    assert verdict.divergence.layer.path == "hidden"
    assert verdict.divergence.causes[0].kind == "weights"
    assert "1 of" in verdict.divergence.causes[0].explanation


def test_what_no_trial_explains_is_said_so(files):
    model = kerastorch.load_model(files / "whole.keras")
    _change(model.get_layer("base").get_layer("one"), torch.sin)
    divergence = verify(model, files / "kept.safetensors").divergence
    assert divergence.layer.path == "base/one"
    assert not divergence.causes
    assert "no reason among those tried" in str(divergence)


@pytest.mark.parametrize(
    ("mode", "kind"), [("rgb", "channel order"), ("tf", "scaling")], ids=["BGR not flipped", "tf"]
)
def test_wrong_preprocessing_is_named(files, keras, tmp_path, mode, kind):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 24, 20, 3)).astype(np.float32)
    right = preprocess_input(pixels, mode="caffe")
    wrong = right[..., ::-1] if mode == "rgb" else preprocess_input(pixels, mode=mode)
    paths = [tmp_path / f"{number}.png" for number in range(2)]
    for path, image in zip(paths, pixels.astype(np.uint8), strict=True):
        Image.fromarray(image).save(path)
    verdict = verify(
        files / "whole.keras",
        inputs=right,
        model_inputs=wrong,
        keras=keras,
        pictures=paths,
        labels=["cat", "dog", "fish", "bird"],
        float32=False,
    )
    assert (verdict.divergence.layer.path, verdict.divergence.layer.class_name) == (
        "photograph",
        "InputLayer",
    )
    assert verdict.divergence.causes[0].kind == kind
    assert {label for label, _ in verdict.pictures[0].model} == {"cat", "dog", "fish", "bird"}
    assert dict(verdict.pictures[1].model) == pytest.approx(dict(verdict.pictures[1].reference))


@pytest.mark.parametrize(
    ("writer", "builder"),
    [
        ("keras_side", "nested"),
        ("keras_side", "sequential"),
        ("keras_side", "resizings"),
        ("keras_side", "arithmetic"),
        ("keras_side", "towers"),
        ("keras2_side", "stacked"),
        ("keras2_side", "tensorflow_functions_in_float32"),
    ],
)
def test_models_of_all_shapes(oracles, keras, tmp_path, writer, builder):
    oracles[writer].ask("build", builder=builder, arguments={}, floatx="float32")
    oracles[writer].ask("save", path=str(tmp_path / "model.keras"))
    verdict = verify(tmp_path / "model.keras", keras=keras if writer == "keras_side" else None)
    assert verdict.is_equal, verdict
    assert all(result.error_float32 < 1e-4 for result in verdict.layers)


@pytest.mark.parametrize("file", ["whole.keras", "kept.safetensors"])
def test_a_model_that_stops_behind_a_mistake(files, keras, file):
    model = kerastorch.load_model(files / "whole.keras")
    model.get_layer("base").largest = nn.MaxPool2d(3, 2)
    verdict = verify(model, files / file, keras=keras)
    assert (verdict.divergence.layer.path, verdict.divergence.causes[0].kind) == (
        "base/largest",
        "padding",
    )
    assert "does not run" in " ".join(verdict.notes)


def strides(base, model):
    base.get_layer("average").stride = (1, 1)


def weights_and_epsilon(base, model):
    layer = base.get_layer("stem_bn")
    layer.eps = layer.epsilon = 2e-5
    with torch.no_grad():
        layer.bias[2] += 0.5


def missing_layer(base, model):
    base.stem_bn = nn.Identity()


@pytest.mark.parametrize(
    ("plant", "path", "kind", "text"),
    [
        (strides, "base/average", "arguments", "strides ([2, 2], here [1, 1])"),
        (weights_and_epsilon, "base/stem_bn", "arguments", "1 of 8 values of bias"),
        (missing_layer, "base/stem_bn", "another layer", "a BatchNormalization here"),
    ],
)
def test_the_file_tells_what_no_usual_mistake_explains(files, keras, plant, path, kind, text):
    model = kerastorch.load_model(files / "whole.keras")
    plant(model.get_layer("base"), model)
    verdict = verify(model, files / "whole.keras", keras=keras, float32=False)
    assert verdict.divergence.layer.path == path
    assert [cause.kind for cause in verdict.divergence.causes] == [kind]
    assert text in verdict.divergence.causes[0].explanation


def test_what_does_not_show_is_noted(files, keras):
    """As of a bound that no value reaches."""
    model = kerastorch.load_model(files / "whole.keras")
    model.get_layer("base").get_layer("joined").axis = 3
    verdict = verify(model, files / "whole.keras", keras=keras, float32=False)
    assert verdict.is_equal
    assert "base/joined: axis (-1, here 3)" in " ".join(verdict.notes)


def test_what_comes_and_goes_has_no_other_cause(files):
    model = kerastorch.load_model(files / "whole.keras")
    model.get_layer("base").get_layer("one").register_forward_hook(lambda *call: call[2] * 2)
    verdict = verify(model, files / "kept.safetensors")
    assert [cause.kind for cause in verdict.divergence.causes] == ["not repeatable"]


def test_numbers_in_names_may_differ(oracle, tmp_path, keras):
    """The second model of a session continues the numbers of the first."""
    oracle.ask("build", builder="fine_tuned", arguments={}, floatx="float32")
    oracle.ask("save", path=str(tmp_path / "model.keras"))
    model = kerastorch.load_model(tmp_path / "model.keras")
    config = json.loads(json.dumps(model.get_config()).replace('"conv2d"', '"conv2d_7"'))
    other = kerastorch.Model.from_config(config)
    other.load_state_dict(dict(zip(other.state_dict(), model.state_dict().values(), strict=True)))
    assert other.get_layer("conv2d_7")
    verdict = verify(other, tmp_path / "model.keras", keras=keras)
    assert verdict.is_equal, verdict
    assert "names of the layers differ" in verdict.notes[0]


def test_pictures_of_whole_numbers(files, keras):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 24, 20, 3), dtype=np.uint8)
    assert verify(files / "whole.keras", inputs=pixels, keras=keras).is_equal


def test_code_in_a_reference_is_not_run(files, oracles, tmp_path):
    """Keras 2 would run it, and Keras 3 from legacy files."""
    marker = tmp_path / "marker"
    oracles["keras2_side"].ask("build", builder="with_code", arguments={"path": str(marker)})
    oracles["keras2_side"].ask("save", path=str(tmp_path / "hostile.h5"))
    marker.unlink()  # the builder has run it
    with pytest.raises(KerasFileError, match="Lambda"):
        verify(files / "whole.keras", tmp_path / "hostile.h5")
    assert not marker.exists()


def test_two_models_here(files):
    model = kerastorch.load_model(files / "whole.keras")
    assert verify(model, model).is_equal
    epsilon(model.get_layer("base"), model)
    verdict = verify(files / "whole.keras", model)
    assert verdict.divergence.causes[0].kind == "epsilon"


def test_weights_of_an_application(oracle, tmp_path, keras):
    path = tmp_path / "mobilenet.weights.h5"
    arguments = {"alpha": 0.25, "include_top": False, "input_shape": (64, 64, 3)}
    named = {"name": "MobileNet", **arguments}
    oracle.ask("build", builder="application", arguments=named, floatx="float32")
    oracle.ask("save", path=str(path))
    model = kerastorch.applications.MobileNet(weights=path, **arguments)
    verdict = verify(model, path, application=("MobileNet", arguments), keras=keras)
    assert verdict.is_equal, verdict


def test_without_keras(files, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(KerasMissingError, match="pip install"):
        verify(files / "whole.keras")
    verdict = verify(files / "whole.h5", files / "whole.keras")
    assert verdict.is_equal
    assert "Keras is not installed" in verdict.notes[0]


def test_what_keras_refuses_is_an_error(files, keras):
    with pytest.raises(KerasProcessError, match="Keras does not run the model"):
        verify(files / "whole.keras", application=("NoSuchModel", {}), keras=keras)


def test_a_model_alone_is_an_error(files):
    with pytest.raises(ValueError, match="against"):
        verify(kerastorch.load_model(files / "whole.keras"))


def test_broken_references_are_refused(files, tmp_path):
    data = (files / "kept.safetensors").read_bytes()
    for number, change in enumerate(
        [lambda d: d[: len(d) // 2], lambda d: d.replace(b"24", b"25")]
    ):
        path = tmp_path / f"{number}.safetensors"
        path.write_bytes(change(data))
        with pytest.raises(KerasFileError):
            verify(files / "whole.keras", path)


def test_command(files, tmp_path, capsys):
    report, wrong = tmp_path / "report.html", tmp_path / "wrong.safetensors"
    kept = str(files / "kept.safetensors")
    assert (
        main(["verify", str(files / "whole.h5"), "--against", kept, "--report", str(report)]) == 0
    )
    assert capsys.readouterr().out.startswith("Equal: whole.h5 and whole.keras agree in all 13")
    assert report.read_text().startswith("<!doctype html>")
    model = kerastorch.load_model(files / "whole.keras")
    turned(model.get_layer("base"), model)
    model.save_weights(wrong)
    assert main(["verify", str(wrong), "--against", kept, "--json"]) == 1
    verdict = json.loads(capsys.readouterr().out)
    assert verdict["divergence"]["layer"]["path"] == "base/one"
    assert main(["verify", str(tmp_path / "none.keras"), "--against", kept]) == 2
    assert "There is no such file" in capsys.readouterr().err


def test_a_single_score_takes_the_labels_of_two_classes(tmp_path, monkeypatch):
    image = layers.Input((8, 8, 3))
    x = layers.Dense(1, activation="sigmoid")(layers.GlobalAveragePooling2D()(image))
    kerastorch.Model(image, x).save(tmp_path / "two.keras")
    (tmp_path / "two.txt").write_text("cat\ndog\n")
    given = {}

    def take(*models, **options):
        given.update(options)
        raise ValueError("enough")

    monkeypatch.setattr("kerastorch.cli.verify.verify", take)
    assert main(["verify", str(tmp_path / "two.keras"), "--labels", str(tmp_path / "two.txt")]) == 2
    assert given["labels"] == ["cat", "dog"]

    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    scores = [np.array([[0.75]])]
    (seen,) = seen_pictures([tmp_path / "a.png"], scores, scores, given["labels"])
    assert seen.model == (("dog", 0.75),)


def test_keras_is_not_imported_here(files):
    """Where `files` have been verified: Keras and TensorFlow run in a process of their own."""
    assert not {"keras", "tf_keras", "tensorflow"} & set(sys.modules)
