"""`kerastorch info`, and JSON from every command."""

import json

import pytest
import torch

import kerastorch
from kerastorch import layers
from kerastorch.applications.registry import get_record
from kerastorch.card import card, cuts
from kerastorch.cli import COMMANDS, main
from kerastorch.engine.layout import split_shape


@pytest.fixture
def run(run_command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("KERASTORCH_OFFLINE", "1")
    return run_command


@pytest.mark.parametrize("name", kerastorch.list_models())
def test_layers_to_cut_at_have_the_sizes_that_are_said(name):
    size = 320
    with torch.device("meta"):
        model = kerastorch.create_model(name, include_top=False, input_shape=(size, size, 3))
    found = cuts(model)
    assert [cut["stride"] for cut in found] == sorted({cut["stride"] for cut in found})
    assert found[-1]["stride"] == 32
    assert len(found) >= 4
    for cut in found:
        shape = model.get_layer(cut["layer"]).output.shape
        (rows, columns), channels = split_shape(shape, model.data_format)
        assert channels == cut["channels"]
        assert abs(rows - size / cut["stride"]) <= 5
        assert rows == columns


def test_a_built_in_models_card_has_what_is_published(run):
    record = get_record("resnet50_v2")
    code, out, err = run("info", "ResNet50V2")
    assert (code, err) == (0, "")
    text = " ".join(out.split())
    for part in (
        *("25,613,800", "RGB, scaled to [-1, 1]", "top-1 0.760, top-5 0.930", "BSD"),
        *("keras.applications.resnet_v2.ResNet50V2", record.citation, record.paper),
        *(record.weights[0].file, "conv4_block5_out 1024 16", "post_relu 2048 32"),
    ):
        assert part in text
    code, out, _ = run("info", "resnet50_v2", "--json")
    found = json.loads(out)
    assert found["published"]["top1"] == record.top1
    assert found["published"]["files"][1]["file"] == record.weights[1].file
    assert [len(found["blocks"]) > 10, found["layers"]] == [True, 192]


@pytest.mark.parametrize("name", kerastorch.list_models())
def test_every_paper_is_cited(name):
    record = get_record(name)
    assert record.citation.endswith(".")
    assert record.citation.split(", ")[0] in (
        *("Chollet", "Simonyan", "He", "Szegedy", "Howard", "Sandler", "Huang", "Zoph"),
        *("Bello", "Liu", "Radosavovic", "Tan", "Xie"),
    )


def test_a_users_file_has_what_can_be_known_of_it(run):
    base = kerastorch.create_model("mobilenet_v2", include_top=False)
    image = layers.Input((96, 96, 3))
    x = layers.GlobalAveragePooling2D()(base(image))
    model = kerastorch.Model(image, layers.Dense(3, activation="softmax")(x), name="tuned")
    base.trainable = False
    model.save("tuned.keras")
    code, out, err = run("info", "tuned.keras")
    assert (code, err) == (0, "")
    text = " ".join(out.split())
    assert "(None, 96, 96, 3)" in text
    assert "mobilenet_v2" in text
    assert "3,843 of them trainable" in text
    assert "Layers in mobilenetv2_1.00_None to take features from" in text
    assert "block_13_expand_relu 576 16" in text
    assert "published" not in text
    known = json.loads(run("info", "tuned.keras", "--json")[1])
    assert known["published"] is None
    assert known["inside"] == "mobilenetv2_1.00_None"

    one, other = layers.Input((4,)), layers.Input((4,))
    kerastorch.Model([one, other], layers.Add()([one, other]), name="sum").save("sum.keras")
    code, out, _ = run("info", "sum.keras")
    assert code == 0
    assert "cannot be told" in out


class Looking(torch.nn.Conv2d):
    """One that looks at the numbers, without which nobody knows what it gives."""

    def forward(self, x):
        return super().forward(x if x.sum() > 0 else -x)


def test_a_card_of_a_model_with_modules_of_torch():
    model = kerastorch.create_model("mobilenet", alpha=0.25, classes=3, include_top=False)
    expected = card(model)
    model.conv1 = torch.nn.Conv2d(3, 8, 3, 2, padding=1, bias=False)
    found = card(model)
    assert found["layers"] == 86
    assert (found["cuts"], found["blocks"]) == (expected["cuts"], expected["blocks"])
    model.conv1 = Looking(3, 8, 3, 2, padding=1, bias=False)
    found = card(model)
    assert found["layers"] == 86
    assert found["cuts"] == found["blocks"] == []


def test_every_command_prints_json_and_nothing_else(run, tmp_path):
    image = layers.Input((8, 8, 3))
    x = layers.GlobalAveragePooling2D()(image)
    kerastorch.Model(image, layers.Dense(2)(x), name="small").save("a.keras")
    found = {}
    for arguments in (
        "list",
        "summary a.keras",
        "info a.keras",
        "convert a.keras -o b.safetensors",
        "diff a.keras b.safetensors",
        "cache list",
        "cache verify",
        "cache clear",
    ):
        code, out, err = run(*arguments.split(), "--json")
        assert (code, err) == (0, "")
        found[arguments] = json.loads(out)
    assert [model["name"] for model in found["list"]] == kerastorch.list_models()
    assert found["summary a.keras"]["params"] == 8
    assert [row["class_name"] for row in found["summary a.keras"]["layers"]] == [
        *("InputLayer", "GlobalAveragePooling2D", "Dense"),
    ]
    assert found["convert a.keras -o b.safetensors"]["parameters"] == 8
    assert found["diff a.keras b.safetensors"]["equal"]
    assert found["cache list"] == {"folder": str(tmp_path / "keras" / "models"), "files": []}


def test_download_prints_json_beside_an_error(run):
    code, out, err = run("download", "xception", "--json")
    assert (code, json.loads(out)) == (1, [])
    assert "KERASTORCH_OFFLINE is set" in err


def test_each_command_takes_json(capsys):
    names = {command.__name__.rpartition(".")[2] for command in COMMANDS}
    assert {"predict", "embed", "evaluate", "info"} <= names
    for name in ("predict", "embed", "evaluate", "info", "verify", "download", "cache clear"):
        with pytest.raises(SystemExit, match="0"):
            main([*name.split(), "--help"])
        assert "--json" in capsys.readouterr().out


def test_an_interruption_is_no_traceback(run, monkeypatch):
    def interrupt(name):
        raise KeyboardInterrupt

    monkeypatch.setattr("kerastorch.cli.opening.get_record", interrupt)
    assert run("summary", "xception") == (130, "", "kerastorch: interrupted\n")


def test_too_little_memory_on_a_device_is_an_error_of_a_line(run, monkeypatch):
    def fail(name):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr("kerastorch.cli.opening.get_record", fail)
    code, out, err = run("summary", "xception")
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert "smaller --batch" in err
