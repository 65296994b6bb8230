"""Two processes fine-tune one model, and come to what one process finds with whole batches.

Each takes half of every batch of scikit-learn's digits, and DDP averages the gradients. The frozen
batch normalisation does not depend on the batch; the one that is trained is synchronised, so that
it normalises by the batches of all processes together. In float64 nothing but roundings is left
between the two ways, and the two processes agree to the bit.

Run it with `pip install 'kerastorch[lightning]' scikit-learn` and `python examples/distributed.py`.
"""

import logging
import os
import warnings
from functools import partial

import lightning
import torch
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import kerastorch
from kerastorch import layers
from kerastorch.lightning import Classifier, HeadFirst

PROCESSES = 2
BATCH = 32  # of all processes together
PICTURES = 8 * BATCH


def read_digits(processes: int) -> DataLoader:
    """This process's share of each batch: pictures (1, 8, 8) and digits."""
    pixels, digits = load_digits(return_X_y=True)
    pictures = torch.tensor(pixels[:PICTURES]).view(-1, 1, 8, 8) / 8 - 1
    dataset = TensorDataset(pictures, torch.tensor(digits[:PICTURES]))
    rank = int(os.environ.get("LOCAL_RANK", 0))  # which Lightning gives those that it starts
    sampler = DistributedSampler(dataset, processes, rank, shuffle=False)
    return DataLoader(dataset, BATCH // processes, sampler=sampler)


def make_model() -> kerastorch.Model:
    """Three convolutions and a head, from the same weights each time."""
    torch.manual_seed(0)
    image = layers.Input((8, 8, 1))
    x = image
    for number, filters in enumerate((16, 32, 32), start=1):
        x = layers.Conv2D(filters, 3, padding="same", name=f"conv{number}")(x)
        x = layers.BatchNormalization(synchronized=True, name=f"norm{number}")(x)
        x = layers.ReLU()(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return kerastorch.Model(image, layers.Dense(10, name="predictions")(x)).double()


def train(model: kerastorch.Model, processes: int) -> lightning.Trainer:
    """Trains the head for two epochs, and the last convolution too for two more."""
    recipe = HeadFirst(
        until="pool",
        since="conv3",
        epochs=2,
        head_optimizer=partial(torch.optim.SGD, lr=0.1),
        optimizer=partial(torch.optim.SGD, lr=0.1, momentum=0.9),
    )
    trainer = lightning.Trainer(
        max_epochs=4,
        callbacks=[recipe],
        accelerator="cpu",
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        precision="64-true",
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    trainer.fit(Classifier(model), read_digits(processes))
    return trainer


def all_weights(model: kerastorch.Model) -> torch.Tensor:
    """Parameters and moving statistics in one row."""
    tensors = [*model.parameters(), *model.buffers()]
    return torch.cat([x.detach().flatten() for x in tensors if x.is_floating_point()])


def main() -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    torch.set_num_threads(1)
    model = make_model()
    trainer = train(model, PROCESSES)  # starts this script again for the other process
    first, second = trainer.strategy.all_gather(all_weights(model))
    is_first = trainer.is_global_zero
    torch.distributed.destroy_process_group()
    if not is_first:
        return

    alone, start = make_model(), all_weights(make_model())
    train(alone, processes=1)
    table = Table("Largest difference of a weight", "", title="Two processes, one model")
    for name, other in (
        ("from the start", start),
        ("from the other process", second),
        ("from one process with whole batches", all_weights(alone)),
    ):
        table.add_row(name, f"{(first - other).abs().max():.1e}")
    Console().print(table)


if __name__ == "__main__":
    main()
