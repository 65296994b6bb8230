"""`kerastorch predict` on folders, its figures, and that its scores are Keras's."""

import contextlib
import json
import os
import pty
import re
import sys
import threading
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

import kerastorch
from kerastorch import layers
from kerastorch.applications.imagenet_utils import preprocess_input
from kerastorch.cam import grad_cam, overlay
from kerastorch.cli import predict
from kerastorch.preprocessing.image import img_to_array, load_img
from tests.photographs import PHOTOGRAPHS, photograph


def settle(model):
    """Gives batch normalisation the statistics of the photographs, so that these differ."""
    norms = [layer for layer in model.layers if isinstance(layer, torch.nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    pictures = [Image.open(photograph(name)) for name in PHOTOGRAPHS]
    model.train()(model.transforms()(pictures))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photographs in folders, a MobileNet that is sure of itself, and a file that is no picture."""
    folder = tmp_path_factory.mktemp("predict")
    for index, name in enumerate(PHOTOGRAPHS[:4]):
        place = folder / "photographs" / ("", "more")[index % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.open(photograph(name)).save(place / f"{index}.png")
    (folder / "photographs" / "more" / "notes.txt").write_text("not a picture")
    (folder / "photographs" / "more" / "._0.png").write_text("what a Macintosh leaves behind")
    torch.manual_seed(0)
    model = kerastorch.create_model(
        "mobilenet", alpha=0.25, classes=6, classifier_activation="softmax"
    )
    settle(model)
    model.save(folder / "mobilenet.keras")
    (folder / "labels.txt").write_text("cup\nfork\nglass\nknife\nplate $5\nspoon_of_silver\n")
    return folder


@pytest.fixture
def run(run_command, folder, monkeypatch):
    monkeypatch.chdir(folder)
    return run_command


FILES = [f"photographs/{name}" for name in ("0.png", "2.png", "more/1.png", "more/3.png")]


def test_a_folder_is_read_with_those_below_it_and_scores_are_those_of_keras(run, oracle):
    code, out, err = run(
        *("predict", "mobilenet.keras", "photographs", "--top", 3, "--json", "--device", "cpu"),
        *("--labels", "labels.txt", "--batch", 3, "--workers", 1),
    )
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert [picture["file"] for picture in found["pictures"]] == FILES
    assert found["preprocessing"] == {"size": [224, 224], "interpolation": "nearest", "mode": "tf"}
    assert found["unreadable"] == {}

    x = np.stack([img_to_array(load_img(path, target_size=(224, 224))) for path in FILES])
    oracle.ask("open", path=str(Path("mobilenet.keras").resolve()), floatx="float32")
    (expected,) = oracle.ask("predict", inputs=[preprocess_input(x, mode="tf")])
    labels = Path("labels.txt").read_text().splitlines()
    assert len({tuple(row.argsort()) for row in expected}) > 1
    for picture, scores in zip(found["pictures"], expected, strict=True):
        order = scores.argsort()[::-1][:3]
        assert [best["index"] for best in picture["best"]] == order.tolist()
        assert [best["label"] for best in picture["best"]] == [labels[i] for i in order]
        assert np.allclose([best["score"] for best in picture["best"]], scores[order], 0, 1e-5)


def test_what_cannot_be_read_in_a_folder_is_passed_over_but_not_where_it_is_named(run, tmp_path):
    whole = tmp_path / "a.png"
    whole.write_bytes(Path(FILES[0]).read_bytes())
    broken = tmp_path / "b.jpg"
    broken.write_text("hello")
    code, out, err = run("predict", "mobilenet.keras", tmp_path)
    assert code == 0
    assert str(whole) in out
    assert str(broken) not in out
    assert err.startswith(f"kerastorch: passed over {broken}: not a picture")
    code, out, _ = run("predict", "mobilenet.keras", tmp_path, "--json")
    assert json.loads(out)["unreadable"].keys() == {str(broken)}
    code, out, err = run("predict", "mobilenet.keras", whole, broken)
    assert (code, out) == (1, "")
    assert err.startswith(f"kerastorch: {broken}: not a picture")
    whole.unlink()
    code, out, err = run("predict", "mobilenet.keras", tmp_path)
    assert (code, out) == (1, "")
    assert err.endswith("\nkerastorch: none of the 1 pictures can be read\n")


def difference(one, other):
    """Of the colours of two pictures, on average, but for small details."""
    small = [np.asarray(x.reduce(8)).astype(int) for x in (one, other)]
    return np.abs(small[0] - small[1]).mean()


@pytest.mark.parametrize("cam", [[], ["--cam", "conv_pw_13_relu"]])
def test_a_figure_shows_the_photographs(run, tmp_path, cam):
    drawn = tmp_path / "drawn.png"
    code, out, err = run(
        *("predict", "mobilenet.keras", *FILES[:3], "--labels", "labels.txt"),
        *("--plot", drawn, *cam),
    )
    assert (code, err) == (0, "")
    assert f"Drawn in {drawn}." in out
    figure = Image.open(drawn).convert("RGB")
    # The photograph is as it is, and with its map it is not.
    photo = ImageOps.pad(load_img(FILES[0]), (432, 320), color=(243, 245, 248))
    assert difference(figure.crop((56, 104, 56 + 432, 104 + 320)), photo) < 5
    beside = 56 + 432 + 40
    assert difference(figure.crop((beside, 104, beside + 432, 104 + 320)), photo) > 20
    assert list(tmp_path.iterdir()) == [drawn]


def test_a_figure_has_the_labels_and_scores(run, tmp_path, monkeypatch):
    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")  # text as text
    code, out, err = run(
        *("predict", "mobilenet.keras", *FILES[:2], "--labels", "labels.txt", "--top", 5, "--json"),
        *("--plot", tmp_path / "drawn.svg"),
    )
    assert (code, err) == (0, "")
    drawn = (tmp_path / "drawn.svg").read_text(encoding="utf-8")
    expected = []
    for picture in json.loads(out)["pictures"]:
        for best in picture["best"]:
            expected += [best["label"].replace("_", " "), f"{best['score']:.1%}"]
    expected += FILES[:2]  # which belong to the figure, and come behind the bars
    assert re.findall(r"<text[^>]*>([^<]*)</text>", drawn) == expected


def test_the_map_in_a_figure_is_grad_cams(run, tmp_path):
    drawn = tmp_path / "drawn.png"
    run("predict", "mobilenet.keras", FILES[0], "--plot", drawn, "--cam", "conv_pw_13_relu")
    model = kerastorch.load_model("mobilenet.keras")
    photo = load_img(FILES[0])
    (heat,) = grad_cam(model, model.transforms()([photo]), "conv_pw_13_relu")
    expected = ImageOps.pad(overlay(photo, heat), (432, 320), color=(243, 245, 248))
    beside = 56 + 432 + 40
    panel = Image.open(drawn).convert("RGB").crop((beside, 104, beside + 432, 104 + 320))
    assert difference(panel, expected) < 5


def test_a_figure_in_other_formats(run, tmp_path):
    for ending, start in ((".svg", b"<?xml"), (".pdf", b"%PDF")):
        code, _, err = run(
            "predict", "mobilenet.keras", FILES[0], "--plot", tmp_path / f"f{ending}"
        )
        assert (code, err) == (0, "")
        assert (tmp_path / f"f{ending}").read_bytes().startswith(start)


@pytest.mark.parametrize("ending", [".png", ".svg", ".pdf"])
def test_signs_that_the_font_lacks_are_a_line(run, tmp_path, ending):
    (tmp_path / "labels.txt").write_text("杯子\n叉子\nグラス\nナイフ\n盘子\n匙\n", encoding="utf-8")
    picture = tmp_path / "写真.png"
    picture.write_bytes(Path(FILES[0]).read_bytes())
    drawn = tmp_path / f"drawn{ending}"
    code, _, err = run(
        *("predict", "mobilenet.keras", picture, "--labels", tmp_path / "labels.txt"),
        *("--plot", drawn),
    )
    assert code == 0
    assert err == f"kerastorch: {drawn}: Matplotlib's font lacks signs of some names or labels\n"


def test_a_model_of_any_size_sees_pictures_at_its_own(run, tmp_path):
    model = kerastorch.create_model("mobilenet_v3_small", classes=6)
    assert model.input_shape == (None, None, None, 3)
    model.save_weights(tmp_path / "v3.safetensors")
    architecture = ["--model", "mobilenet_v3_small", "--classes", 6]
    for size, words in (([], "224 x 224"), (["--size", 64, 96], "64 x 96")):
        code, out, _ = run("predict", tmp_path / "v3.safetensors", FILES[0], *architecture, *size)
        assert code == 0
        assert f"Read at {words}" in out


def test_the_figure_of_many_pictures_says_that_it_has_the_first(run, tmp_path):
    code, out, err = run("predict", "mobilenet.keras", *FILES * 7, "--plot", tmp_path / "many.png")
    assert code == 0
    assert out.count(".png") == 28 + 1
    assert err == f"kerastorch: {tmp_path / 'many.png'}: the first 24 of 28\n"


@pytest.mark.parametrize(
    ("end", "behind"), [("sigmoid", []), (None, []), ("sigmoid", [layers.Activation("linear")])]
)
def test_a_single_score_tells_two_classes_apart(run, tmp_path, end, behind):
    torch.manual_seed(0)
    image = layers.Input((8, 8, 3))
    x = layers.Dense(1, activation=end)(layers.GlobalAveragePooling2D()(image))
    for layer in behind:
        x = layer(x)
    model = kerastorch.Model(image, x)
    model.save_weights(tmp_path / "two.safetensors")
    (tmp_path / "two.txt").write_text("cat\ndog\n")
    code, out, _ = run(
        *("predict", tmp_path / "two.safetensors", *FILES, "--preprocess", "torch", "--json"),
        *("--labels", tmp_path / "two.txt", "--top", 2),
    )
    assert code == 0
    with torch.inference_mode():
        pictures = [Image.open(path) for path in FILES]
        outputs = model(model.transforms(mode="torch")(pictures))[:, 0]
    scores = outputs if end else outputs.sigmoid()
    for picture, score in zip(json.loads(out)["pictures"], scores.tolist(), strict=True):
        found = {best["label"]: best["score"] for best in picture["best"]}
        assert found == pytest.approx({"dog": score, "cat": 1 - score}, abs=1e-6)
    code, _, err = run(
        *("predict", tmp_path / "two.safetensors", FILES[0], "--preprocess", "tf"),
        *("--plot", tmp_path / "x.png", "--cam", model.layers[0].name),
    )
    assert code == 1
    assert "gives a single one" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--cam conv1", "--cam goes with --plot"),
        ("--plot out.png --cam conv_pw_13_rel", "Did you mean 'conv_pw_13_relu'"),
        ("--plot out.png --cam predictions", "does not give one map"),
        ("--plot folder.png", "folder.png: Is a directory"),
        ("--plot out.gif", "out.gif: figures go into a file named"),
        ("--plot nowhere/out.png", "nowhere/out.png: No such file or directory"),
        ("--device cuda:99", "--device cuda:99: "),
        ("--device toaster", "--device toaster: "),
    ],
)
def test_wrong_options_are_an_error_of_a_line(run, monkeypatch, arguments, message):
    def classify(*arguments):
        raise AssertionError("Pictures are classified, and all for nothing.")

    monkeypatch.setattr(predict, "_predictions", classify)
    Path("folder.png").mkdir(exist_ok=True)
    code, out, err = run("predict", "mobilenet.keras", FILES[0], *arguments.split())
    assert (code, out) == (1, "")
    assert err.startswith("kerastorch: ")
    assert len(err.splitlines()) == 1
    assert message in err


def test_without_matplotlib_the_error_says_what_to_install(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, out, err = run("predict", "mobilenet.keras", FILES[0], "--plot", "out.png")
    assert (code, out) == (1, "")
    assert err == "kerastorch: matplotlib is not installed: pip install 'kerastorch[plot]'\n"


def test_a_nested_models_layer_has_a_map_too(run, tmp_path):
    base = kerastorch.create_model("mobilenet", alpha=0.25, include_top=False)
    image = layers.Input((64, 64, 3))
    x = layers.GlobalAveragePooling2D()(base(image))
    model = kerastorch.Model(image, layers.Dense(3, activation="softmax")(x))
    model.save_weights(tmp_path / "nested.safetensors")
    code, _, err = run(
        *("predict", tmp_path / "nested.safetensors", FILES[0]),
        *("--plot", tmp_path / "nested.png", "--cam", "conv_pw_11_relu"),
    )
    assert (code, err) == (0, "")
    assert (tmp_path / "nested.png").stat().st_size > 10_000


def test_a_bar_moves_on_a_terminal_and_nowhere_else(run, monkeypatch):
    arguments = ["predict", "mobilenet.keras", "photographs", "--batch", 1]
    assert run(*arguments)[2] == ""
    ours, theirs = pty.openpty()
    seen = []
    # A terminal that nobody reads from would stop who writes.
    reader = threading.Thread(target=read_to_the_end, args=(ours, seen), daemon=True)
    reader.start()
    with monkeypatch.context() as patch, os.fdopen(theirs, "w") as terminal:
        patch.setattr(sys, "stderr", terminal)
        code, out, _ = run(*arguments)
    reader.join(timeout=60)
    os.close(ours)
    assert code == 0
    assert "Classifying" in "".join(seen)
    assert "4/4" in "".join(seen)
    assert "Classifying" not in out


def read_to_the_end(terminal, seen):
    with contextlib.suppress(OSError):  # which is how a terminal ends on Linux
        while content := os.read(terminal, 4096):
            seen.append(content.decode(errors="replace"))
