"""Transfer learning in Lightning: a network that knows the digits 0 to 4 learns 5 to 9.

The pictures are scikit-learn's handwritten digits, which its package ships. The network is the
first half of a MobileNet, from scratch. It is trained on the digits 0 to 4; then it gets a new
classifier, and learns the others by the two-phase recipe of the Keras documentation.

Run it with `pip install 'kerastorch[lightning]' scikit-learn` and `python examples/digits.py`; it
takes about 20 seconds.
"""

import logging
import warnings
from functools import partial

import lightning
import torch
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

import kerastorch
from kerastorch.lightning import RMSPROP, Classifier, HeadFirst

KNOWN, NEW = range(5), range(5, 10)
EPOCHS = 24  # on the known digits: moving statistics, of momentum 0.99, need some 500 steps
HEAD_EPOCHS, THAWED_EPOCHS = 8, 8


def read_digits(classes: range) -> tuple[DataLoader, DataLoader]:
    """Batches of pictures (1, 32, 32) and classes from 0 on: one half to train, one to test."""
    pixels, digits = load_digits(return_X_y=True)
    pictures = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 8, 8) / 8 - 1
    pictures = torch.nn.functional.interpolate(pictures, (32, 32), mode="bilinear")
    chosen = [index for index, digit in enumerate(digits) if digit in classes]
    halves = train_test_split(
        chosen, test_size=0.5, stratify=[digits[index] for index in chosen], random_state=0
    )
    datasets = [
        TensorDataset(pictures[half], torch.tensor(digits[half]) - classes.start) for half in halves
    ]
    return DataLoader(datasets[0], 16, shuffle=True), DataLoader(datasets[1], 256)


def make_model() -> kerastorch.Model:
    base = kerastorch.applications.MobileNet(
        weights=None, include_top=False, input_shape=(32, 32, 1), alpha=0.5
    )
    features = base.get_layer("conv_pw_5_relu").output
    pooled = kerastorch.layers.GlobalAveragePooling2D(name="pool")(features)
    return kerastorch.Model(
        base.input, kerastorch.layers.Dense(len(KNOWN), name="predictions")(pooled)
    )


def make_trainer(epochs: int, *callbacks: lightning.Callback) -> lightning.Trainer:
    return lightning.Trainer(
        max_epochs=epochs,
        callbacks=list(callbacks),
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )


def accuracy(model: kerastorch.Model, data: DataLoader) -> float:
    trainer = make_trainer(1)
    return trainer.test(Classifier(model), data, verbose=False)[0]["test_accuracy"]


def transfer() -> dict[str, float]:
    """The accuracy on digits that were kept back, after each step."""
    lightning.seed_everything(0, verbose=False)
    model = make_model()
    training, test = read_digits(KNOWN)
    make_trainer(EPOCHS).fit(Classifier(model), training)
    found = {"0 to 4, from scratch": accuracy(model, test)}

    training, test = read_digits(NEW)
    model.reset_classifier(len(NEW))
    found["5 to 9, a new classifier"] = accuracy(model, test)
    recipe = HeadFirst(
        until="pool",
        since="conv_dw_4",
        epochs=HEAD_EPOCHS,
        head_optimizer=partial(RMSPROP, lr=3e-3),
        optimizer=partial(torch.optim.SGD, lr=1e-2, momentum=0.9),  # 1e-4 is for more pictures
    )
    trainer = make_trainer(HEAD_EPOCHS, recipe)
    trainer.fit(Classifier(model), training)
    found["5 to 9, the classifier trained"] = accuracy(model, test)
    trainer.fit_loop.max_epochs = HEAD_EPOCHS + THAWED_EPOCHS
    trainer.fit(Classifier(model), training)
    found["5 to 9, thawed from conv_dw_4"] = accuracy(model, test)
    return found


def main() -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    torch.set_num_threads(1)  # pictures this small gain nothing from more
    table = Table("Digits", "Accuracy", title="Handwritten digits, chance 0.200")
    for step, found in transfer().items():
        table.add_row(step, f"{found:.3f}")
    Console().print(table)


if __name__ == "__main__":
    main()
