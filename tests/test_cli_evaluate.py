"""`kerastorch evaluate`: a model has learned scikit-learn's digits, and scikit-learn counts too."""

import csv
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, confusion_matrix, top_k_accuracy_score

import kerastorch
from kerastorch import layers
from kerastorch.applications.imagenet_utils import wordnet_ids
from kerastorch.applications.transforms import Preprocessing
from kerastorch.evaluation import Evaluation, evaluate, in_folders, in_list
from kerastorch.picture_files import read_pictures
from kerastorch.preprocessing.image import img_to_array, load_img
from tests.photographs import PHOTOGRAPHS, photograph

NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
TESTED = 400


def digits_model():
    """What tells digits apart, but has not learned for long."""
    torch.manual_seed(0)
    image = layers.Input((8, 8, 1))
    x = layers.Rescaling(1 / 255)(image)
    x = layers.Conv2D(8, 3, activation="relu", padding="same")(x)
    x = layers.MaxPooling2D()(x)
    x = layers.Flatten()(x)
    return kerastorch.Model(image, layers.Dense(10, activation="softmax")(x), name="digits")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Digits as pictures, in folders by their names and by their numbers, and a model of them."""
    folder = tmp_path_factory.mktemp("evaluate")
    pixels, classes = load_digits(return_X_y=True)
    pixels = (pixels.reshape(-1, 8, 8) * 15.9375).astype(np.uint8)
    model = digits_model()
    x = torch.from_numpy(pixels[TESTED:, None]).float()
    y = torch.from_numpy(classes[TESTED:]).long()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(25):
        optimizer.zero_grad()
        torch.nn.functional.nll_loss(model(x).clamp_min(1e-9).log(), y).backward()
        optimizer.step()
    model.save(folder / "digits.keras")
    with open(folder / "truth.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["picture", "class"])
        for index in range(TESTED):
            name = NAMES[classes[index]]
            for place in ("by_name/" + name, f"by_number/{classes[index]}", "flat"):
                (folder / place).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels[index]).save(folder / place / f"{index:03}.png")
            writer.writerow([f"{index:03}", classes[index]])
    (folder / "names.txt").write_text("\n".join(NAMES))
    return folder


@pytest.fixture
def run(run_command, folder, monkeypatch):
    monkeypatch.chdir(folder)
    return partial(run_command, "evaluate")


def truth_and_scores_of_keras(oracle):
    """The classes of the digits, and what Keras gives for the pictures as it reads them."""
    paths = sorted(Path("flat").iterdir())
    x = np.stack([img_to_array(load_img(path, "grayscale", (8, 8))) for path in paths])
    oracle.ask("open", path=str(Path("digits.keras").resolve()), floatx="float32")
    (scores,) = oracle.ask("predict", inputs=[x])
    _, classes = load_digits(return_X_y=True)
    return classes[:TESTED], scores


def test_the_numbers_are_scikit_learns_of_what_keras_gives(run, oracle):
    classes, scores = truth_and_scores_of_keras(oracle)
    code, out, err = run(
        *("--data", "by_name", "--model", "digits.keras", "--labels", "names.txt"),
        *("--json", "--pairs", 5, "--device", "cpu", "--workers", 1),
    )
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["pictures"] == TESTED
    assert found["top1"] == accuracy_score(classes, scores.argmax(axis=1))
    assert 0.5 < found["top1"] < 1
    assert found["top5"] == top_k_accuracy_score(classes, scores, k=5, labels=range(10))
    expected = confusion_matrix(classes, scores.argmax(axis=1), labels=range(10))
    result = evaluate(
        kerastorch.load_model("digits.keras"),
        in_folders("by_number", kerastorch.load_model("digits.keras")),
        batch_size=64,
    )
    assert np.array_equal(result.confusion, expected)
    np.fill_diagonal(expected, 0)
    assert [pair["pictures"] for pair in found["confused"]] == sorted(
        expected.reshape(-1).tolist(), reverse=True
    )[:5]
    for pair in found["confused"]:
        own, other = NAMES.index(pair["class"]), NAMES.index(pair["taken_for"])
        assert expected[own, other] == pair["pictures"]


def test_layouts_of_the_truth_agree(run):
    results = set()
    for arguments in (
        "--data by_name --labels names.txt",
        "--data by_number",
        "--data flat --truth truth.csv",
        "--data by_name --truth truth.csv",
    ):
        code, out, _ = run(*arguments.split(), "--model", "digits.keras", "--json")
        assert code == 0
        found = json.loads(out)
        results.add((found["pictures"], found["top1"], found["top5"]))
    assert len(results) == 1


def test_the_table_has_accuracies_and_confused_pairs(run):
    code, out, _ = run("--data", "by_number", "--model", "digits.keras", "--pairs", 2)
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    top1 = next(float(line[1]) for line in lines if line[:1] == ["top-1"])
    top5 = next(float(line[1]) for line in lines if line[:1] == ["top-5"])
    assert 0.5 < top1 < top5 <= 1
    assert f"{TESTED} pictures." in out
    assert "The folders stand for the classes in the order of their names" in out
    assert sum(len(line) == 4 and all(map(str.isdecimal, line)) for line in lines) == 2
    assert "Read at 8 x 8 (nearest), preprocessing none" in out
    code, out, _ = run("--data", "by_number", "--model", "digits.keras", "--crop", 0.5)
    assert code == 0
    assert "Of each picture the centre was seen, 0.5 of" in out
    assert float(out.split("top-1")[1].split()[0]) < top1


def test_what_cannot_be_read_is_said_and_not_counted(run, folder, tmp_path):
    for path in (folder / "by_number").glob("*/*.png"):
        own = tmp_path / path.parent.name
        own.mkdir(exist_ok=True)
        (own / path.name).write_bytes(path.read_bytes())
    broken = next((tmp_path / "4").iterdir())
    broken.write_text("hello")
    code, out, err = run("--data", tmp_path, "--model", "digits.keras")
    assert code == 0
    assert f"{TESTED - 1} pictures; 1 could not be read." in out
    assert err == (
        f"kerastorch: passed over {broken}: not a picture in a format that Pillow reads\n"
    )


def test_pictures_that_the_list_leaves_out_are_left_out(run):
    Path("short.csv").write_text("name,class\n000,3\n001,1\n")
    code, out, err = run("--data", "flat", "--truth", "short.csv", "--model", "digits.keras")
    assert code == 0
    assert "2 pictures." in out
    assert err == f"kerastorch: short.csv: no line for {TESTED - 2} pictures\n"


def test_a_list_may_have_quotes_as_other_programs_write_them(run, folder):
    model = kerastorch.load_model("digits.keras")
    plain = in_list("flat", "truth.csv", model)
    with open("truth.csv", newline="") as file, open("quoted.csv", "w", newline="") as quoted:
        csv.writer(quoted, quoting=csv.QUOTE_ALL).writerows(csv.reader(file))
    assert in_list("flat", "quoted.csv", model) == plain
    labels = ["no, one", *NAMES[1:]]
    for line in ('"000","no, one"\n', "000,no, one\n"):
        Path("words.csv").write_text(line)
        assert list(in_list("flat", "words.csv", model, labels).values()) == [0]


def test_no_pictures_are_no_evaluation(folder):
    model = kerastorch.load_model(folder / "digits.keras")
    with pytest.raises(ValueError, match="truth is empty"):
        evaluate(model, {}, preprocessing=model.transforms(mode="none"))


def test_a_model_of_any_size_sees_pictures_at_its_own(run, tmp_path):
    """As `model.transforms()` has them, which takes the size that the application has."""
    model = kerastorch.create_model("mobilenet_v3_small", classes=10)
    assert model.input_shape == (None, None, None, 3)
    model.save_weights(tmp_path / "v3.safetensors")
    Path("short.csv").write_text("000,3\n001,1\n")
    code, out, _ = run(
        *("--data", "flat", "--truth", "short.csv", "--model", "mobilenet_v3_small"),
        *("--weights", tmp_path / "v3.safetensors", "--classes", 10),
    )
    assert code == 0
    assert "Read at 224 x 224" in out


def test_imagenet_goes_by_its_ids_and_beside_the_published_figures(run, folder, tmp_path):
    ids = wordnet_ids()
    picture = next((folder / "flat").iterdir())
    for index in (0, 1, 999):
        (tmp_path / ids[index]).mkdir()
        (tmp_path / ids[index] / f"{index}.png").write_bytes(picture.read_bytes())
    model = kerastorch.create_model("mobilenet")
    model.save_weights(tmp_path / "mobilenet.safetensors")
    kerastorch.create_model("mobilenet", alpha=0.25).save_weights(tmp_path / "thin.safetensors")
    truth = in_folders(tmp_path, model)
    assert {path.name: index for path, index in truth.items()} == {
        "0.png": 0,
        "1.png": 1,
        "999.png": 999,
    }
    (tmp_path / "val.txt").write_text("0.png 0\n1.png 1\n999.png n15075141\n")
    assert in_list(tmp_path, tmp_path / "val.txt", model) == truth
    (tmp_path / "kaggle.csv").write_text(
        "ImageId,PredictionString\n"
        "0,n01440764 85 1 499 272 n01440764 1 2 3 4\n1,n01443537 3 4 5 6\n999,n15075141 1 1 2 2\n"
    )
    assert in_list(tmp_path, tmp_path / "kaggle.csv", model) == truth
    code, out, _ = run("--data", tmp_path, "--model", tmp_path / "mobilenet.safetensors")
    assert code == 0
    assert "published" in out
    assert "0.704" in out
    assert "(n0" in out
    code, out, _ = run("--data", tmp_path, "--model", tmp_path / "thin.safetensors")
    assert code == 0
    assert "published" not in out  # which is of the model at its full width


@pytest.mark.parametrize("size", [(224, 224), (71, 113), (300, 100)])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_the_largest_crop_is_what_keras_reads_with_its_proportions_kept(size, interpolation):
    paths = [photograph(name) for name in PHOTOGRAPHS]
    preprocessing = Preprocessing(size, "none", interpolation)
    whole = read_pictures(0, paths, preprocessing, crop=1.0)
    expected = [
        img_to_array(load_img(path, "rgb", size, interpolation, True), "channels_first", "float32")
        for path in paths
    ]
    assert np.array_equal(whole.images.numpy(), np.stack(expected))
    small, centre = read_pictures(0, paths, preprocessing, crop=0.5), []
    for path in paths:
        picture = load_img(path, "rgb", (size[0] * 4, size[1] * 4), "bilinear", True)
        top, left = size[0], size[1]
        picture = picture.crop((left, top, left + 2 * size[1], top + 2 * size[0]))
        picture = picture.resize((size[1], size[0]), 2)
        centre.append(img_to_array(picture, "channels_first", "float32"))
    assert np.abs(small.images.numpy() - np.stack(centre)).mean() < 12


def test_a_single_score_tells_two_classes_apart(folder):
    torch.manual_seed(0)
    image = layers.Input((8, 8, 1))
    x = layers.GlobalAveragePooling2D()(image)
    model = kerastorch.Model(image, layers.Dense(1)(x), name="bright")
    with torch.no_grad():
        model.layers[-1].weight.fill_(1)
        model.layers[-1].bias.fill_(-80)
    paths = sorted((folder / "flat").iterdir())
    is_bright = [int(np.asarray(Image.open(path)).mean() > 80) for path in paths]
    assert 0 < sum(is_bright) < len(is_bright)
    truth = dict(zip(paths, is_bright, strict=True))
    result = evaluate(model, truth, preprocessing=model.transforms(mode="none"))
    assert (result.top1, result.top5) == (1, None)
    assert result.confused() == []


def test_the_pairs_that_are_confused_most_come_first():
    result = Evaluation(np.array([[3, 1], [2, 4]]), None)
    assert (result.pictures, result.top1) == (10, 0.7)
    assert result.confused() == [(1, 0, 2), (0, 1, 1)]
    assert result.confused(1) == [(1, 0, 2)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--data flat", "flat: no folder for each class in it"),
        ("--data few", "few: 2 folders, but digits has 10 classes"),
        ("--data by_number --labels names.txt", "no class is named '0', nor of 9 others"),
        ("--data flat --truth numbers.txt", "numbers.txt: numbers alone"),
        ("--data flat --truth empty.csv", "empty.csv: no line for a picture in flat"),
        ("--data flat --truth other.csv", "other.csv: no line for a picture in flat"),
        ("--data flat --truth wrong.csv", "wrong.csv, line 2: '10' is no class"),
        ("--data flat --truth latin.csv", "latin.csv: not a list in UTF-8"),
        ("--data flat --truth nowhere.csv", "nowhere.csv: No such file"),
        ("--data nowhere", "nowhere: No such file"),
        ("--data by_number --labels twice.txt", "labels must be unique here; there is twice: nine"),
    ],
)
def test_errors_are_a_line(run, arguments, message):
    for name in ("one", "two"):
        Path("few", name).mkdir(parents=True, exist_ok=True)
        Path("few", name, "x.png").write_bytes(next(Path("flat").iterdir()).read_bytes())
    Path("numbers.txt").write_text("490\n361\n171\n")
    Path("empty.csv").touch()
    Path("other.csv").write_text("name,class\nabc,3\n")
    Path("wrong.csv").write_text("000,3\n001,10\n")
    Path("latin.csv").write_text("Übung,3\n", encoding="latin-1")
    Path("twice.txt").write_text("\n".join([*NAMES[1:], "nine"]))
    code, out, err = run(*arguments.split(), "--model", "digits.keras")
    assert (code, out) == (1, "")
    assert err.startswith("kerastorch: ")
    assert len(err.splitlines()) == 1
    assert message in err
