"""What the `kerastorch` command prints, and that its errors are a line with an exit code."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import kerastorch
from kerastorch import layers
from kerastorch.applications.imagenet_utils import preprocess_input
from kerastorch.cli import main
from kerastorch.cli.listing import published_rows
from kerastorch.cli.tables import markdown_table
from kerastorch.preprocessing.image import img_to_array, load_img

README = Path(__file__).resolve().parents[1] / "README.md"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working directory with two photographs and labels, and no published weights."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("KERASTORCH_OFFLINE", "1")
    rng = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        Image.fromarray(rng.integers(0, 256, (40, 30, 3), dtype=np.uint8)).save(name)
    Path("labels.txt").write_text("cat\ndog\nfox\n")
    return tmp_path


def small_model(activation=None, classes=3, channels=3, size=8, first=None):
    """A classifier of pictures, whose classes depend on the channels' means."""
    torch.manual_seed(0)
    x = image = layers.Input((size, size, channels))
    if first is not None:
        x = first(x)
    x = layers.GlobalAveragePooling2D()(x)
    return kerastorch.Model(image, layers.Dense(classes, activation=activation)(x), name="small")


def fine_tuned(name):
    """A head on an application, nested as Keras users nest it."""
    base = kerastorch.create_model(name, include_top=False, input_shape=(75, 75, 3))
    image = layers.Input((75, 75, 3))
    x = layers.GlobalAveragePooling2D()(base(image))
    return kerastorch.Model(image, layers.Dense(3, activation="softmax")(x))


def run(capsys, *arguments):
    """The command's exit code and what it prints to either stream."""
    code = main([str(argument) for argument in arguments])
    return code, *capsys.readouterr()


def rows(output):
    """The rows of a table of images, labels and scores."""
    _, _, *lines = output.splitlines()
    cells = [line.split() for line in lines]
    return [row for row in cells if row and row[-1].startswith(("0.", "1.0"))]


def pixels(size, mode, interpolation="nearest"):
    images = [load_img(name, "rgb", (size, size), interpolation) for name in ("a.png", "b.png")]
    x = np.stack([img_to_array(image) for image in images])
    return x if mode == "none" else preprocess_input(x, mode=mode)


def test_convert_and_predict_a_file(capsys):
    model = small_model("softmax")
    model.save_weights("small.safetensors")
    code, out, err = run(capsys, "convert", "small.safetensors", "-o", "again.safetensors")
    assert (code, err) == (0, "")
    assert out == "again.safetensors: small, 3 layers, 12 parameters, 0.0 MB\n"

    arguments = ["--labels", "labels.txt", "--preprocess", "torch", "--interpolation", "bicubic"]
    code, out, err = run(capsys, "predict", "again.safetensors", "a.png", "b.png", *arguments)
    assert (code, err) == (0, "")
    scores = model.predict(pixels(8, "torch", "bicubic"))
    best = scores.argmax(axis=1)
    assert rows(out) == [
        [name, ["cat", "dog", "fox"][index], f"{row[index]:.4f}"]
        for name, index, row in zip(["a.png", "b.png"], best, scores, strict=True)
    ]
    assert "Read at 8 x 8 (bicubic), preprocessing torch." in out
    assert "softmax" not in out


def test_predict_shows_several_classes_and_says_that_outputs_are_logits(capsys):
    model = small_model()
    model.save_weights("small.safetensors")
    arguments = ["predict", "small.safetensors", "a.png", "b.png"]
    code, out, _ = run(capsys, *arguments, "--top", 2, "--preprocess", "tf")
    assert code == 0
    scores = torch.from_numpy(model.predict(pixels(8, "tf"))).softmax(1)
    assert len(rows(out)) == 4
    best = int(scores[0].argmax())
    assert rows(out)[0] == ["a.png", "class", str(best), f"{scores[0, best]:.4f}"]
    assert "softmax of the model's outputs, which are logits" in out


def test_predict_takes_more_pictures_than_a_batch(capsys):
    small_model("sigmoid", classes=1).save_weights("small.safetensors")
    code, out, _ = run(
        capsys, "predict", "small.safetensors", *["a.png"] * 40, "b.png", "--preprocess", "tf"
    )
    assert code == 0
    scores = [row[-1] for row in rows(out)]
    assert len(scores) == 41
    assert len(set(scores[:40])) == 1


def test_predict_reads_grayscale_models_and_json_labels(capsys):
    small_model("softmax", channels=1).save_weights("small.safetensors")
    Path("names.json").write_text('["cat", "dog", "fox"]')
    Path("indices.json").write_text('{"fox": 2, "cat": 0, "dog": 1}')
    for name in ("labels.txt", "names.json"):  # as Windows marks UTF-8
        Path(f"marked_{name}").write_text(Path(name).read_text(), encoding="utf-8-sig")
    outputs = {
        run(
            capsys,
            *["predict", "small.safetensors", "a.png", "--preprocess", "tf", "--labels", labels],
        )
        for labels in (
            *("labels.txt", "names.json", "indices.json"),
            *("marked_labels.txt", "marked_names.json"),
        )
    }
    ((code, out, _),) = outputs
    assert code == 0
    assert rows(out)[0][1] in ("cat", "dog", "fox")


@pytest.mark.parametrize(
    ("name", "mode"),
    [("xception", "tf"), ("vgg16", "caffe"), ("densenet121", "torch"), ("mobilenet_v2", "tf")],
)
def test_predict_prepares_pictures_as_the_nested_application_wants(capsys, name, mode):
    model = fine_tuned(name)
    model.save_weights("tuned.safetensors")
    code, out, _ = run(capsys, "predict", "tuned.safetensors", "a.png", "b.png")
    assert code == 0
    assert f"Read at 75 x 75 (nearest), preprocessing {mode}, as " in out
    expected = [f"{row.max():.4f}" for row in model.predict(pixels(75, mode))]
    assert [row[-1] for row in rows(out)] == expected


def test_predict_leaves_preprocessing_to_the_models_own_layers(capsys):
    model = small_model("softmax", first=layers.Rescaling(1 / 255, name="scale"))
    model.save_weights("small.safetensors")
    code, out, _ = run(capsys, "predict", "small.safetensors", "a.png", "b.png")
    assert code == 0
    assert "preprocessing none, as the model's own layer scale does it" in out
    expected = [f"{row.max():.4f}" for row in model.predict(pixels(8, "none"))]
    assert [row[-1] for row in rows(out)] == expected


def test_predict_names_the_classes_of_imagenet(capsys):
    kerastorch.create_model("mobilenet", alpha=0.25).save_weights("mobilenet.safetensors")
    code, out, _ = run(
        capsys,
        *["predict", "mobilenet.safetensors", "a.png", "--model", "mobilenet", "--alpha", 0.25],
    )
    assert code == 0
    assert "class" not in out.splitlines()[2]
    assert "Read at 224 x 224 (nearest), preprocessing tf, as MobileNet was trained with." in out


def test_a_file_of_weights_is_opened_with_the_name_of_its_architecture(capsys):
    model = kerastorch.create_model("mobilenet", classes=5, alpha=0.25)
    model.save_weights("weights.safetensors")
    architecture = ["--model", "mobilenet", "--classes", 5, "--alpha", 0.25]
    code, out, _ = run(
        capsys, "convert", "weights.safetensors", "-o", "whole.safetensors", *architecture
    )
    assert code == 0
    assert out.startswith("whole.safetensors: mobilenet_0.25_224, 91 layers, 219,829 parameters")
    code, out, _ = run(capsys, "summary", "weights.safetensors", *architecture)
    assert code == 0
    assert "conv_preds" in out


def test_predict_asks_for_the_size_that_a_model_leaves_open(capsys):
    small_model("softmax", size=None).save_weights("small.safetensors")
    arguments = ["predict", "small.safetensors", "a.png", "--preprocess", "tf"]
    code, _, err = run(capsys, *arguments)
    assert (code, err) == (
        1,
        "kerastorch: small takes pictures of any size: choose one with --size\n",
    )
    code, out, _ = run(capsys, *arguments, "--size", 9, 7)
    assert code == 0
    assert "Read at 9 x 7 (nearest)" in out


def test_summary_of_a_name(capsys):
    code, out, _ = run(capsys, "summary", "vgg16")
    assert code == 0
    assert "block5_pool (MaxPooling2D)" in out
    assert "138,357,544" in out


def test_list_gives_the_published_table(capsys):
    code, out, _ = run(capsys, "list")
    assert code == 0
    header, _, *lines = out.splitlines()
    columns = "Name Keras Licence Pixels Size Top-1 Top-5 Parameters Depth"
    assert " ".join(header.split()) == columns
    assert [line.split()[0] for line in lines] == kerastorch.list_models()
    assert (
        " ".join(lines[-1].split()) == "xception Xception MIT 299 88 MB 0.790 0.945 22,910,480 126"
    )


def test_the_readme_has_the_published_table(capsys):
    code, out, _ = run(capsys, "list", "--markdown")
    assert code == 0
    assert out == markdown_table(published_rows()) + "\n"
    assert f"\n\n{out}\n" in README.read_text(encoding="utf-8")


def test_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"kerastorch {kerastorch.__version__}\n"


@pytest.mark.parametrize(
    "command",
    [
        *("predict", "embed", "evaluate", "info", "list", "summary"),
        *("convert", "verify", "diff", "download"),
    ],
)
def test_every_command_has_help_with_an_example(capsys, command):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert f"example: kerastorch {command}" in capsys.readouterr().out


def test_a_folder_does_not_hide_a_model_of_its_name(capsys):
    Path("xception").mkdir()
    code, out, _ = run(capsys, "summary", "xception")
    assert code == 0
    assert "block1_conv1" in out


def damaged_files():
    """Files that are not what they are called."""
    Path("empty").mkdir()
    Path("text.keras").write_text("hello")
    Path("text.png").write_text("hello")
    Path("short.png").write_bytes(Path("a.png").read_bytes()[:500])
    whole = Path("small.safetensors").read_bytes()
    Path("short.safetensors").write_bytes(whole[:-5])
    Path("two.txt").write_text("cat\ndog\n")
    Path("broken.json").write_text("[")
    Path("names.json").write_text(json.dumps({"0": "cat", "1": "dog", "2": "fox"}))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("summary xcepton", "did you mean xception"),
        ("summary nowhere.keras", "nowhere.keras"),
        ("summary text.keras", "text.keras"),
        ("summary short.safetensors", "short.safetensors"),
        ("summary small.safetensors --model vgg16", "small.safetensors"),
        ("convert nowhere.h5 -o out.safetensors --model vgg16", "nowhere.h5"),
        ("convert small.safetensors -o nowhere/out.safetensors", "nowhere/out.safetensors"),
        ("convert small.safetensors -o out.txt", ".safetensors"),
        ("convert xception -o out.safetensors", "KERASTORCH_OFFLINE is set"),
        ("predict xception a.png", "Put xception_weights_tf_dim_ordering_tf_kernels.h5"),
        ("convert -o out.safetensors", "say what to convert"),
        ("convert small.safetensors -o out --all", "say what to convert"),
        ("download", "say which weights"),
        ("download xception --all", "say which weights"),
        ("download mobilenet --size 100", "nothing is published for mobilenet"),
        # Without a size it is what pretrained=True takes.
        ("download mobilenet", "mobilenet, alpha 1.0, 224 x 224: "),
        ("download resnet_rs50", "resnet_rs50, 160 x 160: "),
        ("download resnet_rs152 --no-top", "resnet_rs152, 256 x 256, without classifier: "),
        ("download resnet_rs152 --size 192", "resnet_rs152, 192 x 192: "),
        ("download xcepton", "did you mean xception"),
        ("cache clear nothing", "no model is named 'nothing'"),
        ("predict small.safetensors a.png", "say --preprocess tf|caffe|torch|unit|none"),
        ("predict small.safetensors nowhere.png --preprocess tf", "nowhere.png: No such file"),
        ("predict small.safetensors empty --preprocess tf", "empty: no picture in it"),
        ("predict small.safetensors text.png --preprocess tf", "text.png: not a picture"),
        ("predict small.safetensors short.png --preprocess tf", "short.png: "),
        ("predict small.safetensors a.png --preprocess tf --size 9 9", "takes pictures of 8 x 8"),
        ("predict small.safetensors a.png --preprocess tf --labels two.txt", "2 labels, but"),
        ("predict small.safetensors a.png --preprocess tf --labels broken.json", "broken.json"),
        ("predict small.safetensors a.png --preprocess tf --labels names.json", "label to index"),
        ("predict small.safetensors a.png --preprocess tf --labels nowhere", "nowhere: No such"),
        ("predict open.safetensors a.png --preprocess tf --size 2 2", "A window of 3 does not fit"),
        ("summary mobilenet --alpha 0.5", "--alpha go with --model"),
        ("predict small.safetensors a.png --classes 3", "go with --model"),
        ("predict features.safetensors a.png --preprocess tf", "one row of scores"),
        ("predict five.safetensors a.png --preprocess tf", "5 channels"),
    ],
)
def test_errors_are_a_line_and_an_exit_code(capsys, arguments, message):
    small = small_model()
    small.save_weights("small.safetensors")
    small_model(channels=5).save_weights("five.safetensors")
    image = layers.Input((8, 8, 3))
    kerastorch.Model(image, layers.Conv2D(2, 3)(image)).save_weights("features.safetensors")
    open_size = small_model(size=None, first=layers.Conv2D(2, 3))
    open_size.save_weights("open.safetensors")
    damaged_files()
    code, out, err = run(capsys, *arguments.split())
    assert code == 1
    assert out == ""
    assert err.startswith("kerastorch: ")
    assert len(err.splitlines()) <= 2
    assert message in err


@pytest.mark.parametrize(
    "arguments", [[], ["predict"], ["train"], ["predict", "xception", "a.png", "--top", "0"]]
)
def test_wrong_usage_ends_with_code_2(capsys, arguments):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "usage: kerastorch" in capsys.readouterr().err


def test_the_installed_command_and_the_module_are_the_same():
    script = shutil.which("kerastorch", path=Path(sys.executable).parent)
    for command in ([script], [sys.executable, "-m", "kerastorch"]):
        result = subprocess.run([*command, "list"], capture_output=True, text=True, check=False)
        assert (result.returncode, result.stderr) == (0, "")
        assert "xception" in result.stdout
