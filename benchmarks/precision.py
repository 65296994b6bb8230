"""How often the first answer in bfloat16 and float16 is that in float32, on photographs.

    python -m benchmarks precision [MODEL ...] [--pictures DIR] [--crops 60] [--dtypes ...]

Without a model: the Xception of `make demo`, fine-tuned on kitchenware, on random crops of its
photographs. Models are taken with their published weights, on crops of the pictures in DIR.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image
from rich.table import Table
from torch import Tensor
from torchvision.transforms import v2

import kerastorch
from examples import kitchenware
from kerastorch.optimization import optimize

from .contest import console

BATCH = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="*", metavar="MODEL")
    parser.add_argument("--pictures", type=Path, help="the folder, for published models")
    parser.add_argument("--crops", type=int, default=60, help="of each picture")
    parser.add_argument("--dtypes", nargs="+", default=["bfloat16", "float16"])
    options = parser.parse_args()
    if bool(options.models) != bool(options.pictures):
        parser.error("MODEL and --pictures go together")

    table = Table("model", "type", "pictures", "same first answer", "largest change of a score")
    for name, model, folder in subjects(options.models, options.pictures):
        pictures = sorted(folder.glob("*.jp*g"))
        expected = scores(optimize(model), model, pictures, options.crops)
        for dtype in options.dtypes:
            reduced = optimize(model, dtype=getattr(torch, dtype))
            given = scores(reduced, model, pictures, options.crops)
            same = (given.argmax(-1) == expected.argmax(-1)).float().mean()
            change = (given - expected).abs().max()
            table.add_row(name, dtype, str(len(given)), f"{same:.2%}", f"{change:.4f}")
    console().print(table)


def subjects(names: list[str], folder: Path | None) -> Iterator[tuple[str, kerastorch.Model, Path]]:
    if not names:
        kitchenware.fetch()
        model = kerastorch.load_model(kitchenware.KERAS_FILE)
        yield "Xception, kitchenware", model, kitchenware.DATA / "images"
    for name in names:
        yield name, kerastorch.create_model(name, pretrained=True), folder


def scores(
    fast: kerastorch.Model, model: kerastorch.Model, pictures: list[Path], crops: int
) -> Tensor:
    """What the fast copy says of the same random crops each time."""
    torch.manual_seed(0)
    height, width = model.input_shape[1:3]
    crop = v2.RandomResizedCrop((height, width), scale=(0.3, 1.0), antialias=True)
    prepare = model.transforms()
    found = []
    for path in pictures:
        picture = Image.open(path).convert("RGB")
        images = torch.cat([prepare(crop(picture)) for _ in range(crops)])
        found += [fast(part) for part in images.split(BATCH)]
    return torch.cat(found)


if __name__ == "__main__":
    main()
