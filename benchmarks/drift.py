"""What the usual mistakes of a port do to a network's answers: the figure of the documentation.

    python -m benchmarks.drift

Each mistake is made alone, in float64, in a copy of two networks: an Xception that was pretrained
on ImageNet and fine-tuned on kitchenware (that of `make demo`, on its photographs), and a ResNet50
with random weights, whose moving statistics are those of photographs that scikit-image ships.
Writes `docs/_static/drift-light.svg` and `-dark.svg`, and prints the numbers. Keras runs beside
both for the first row of each, and needs the extra `verify`.
"""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image
from skimage import data
from torch import Tensor, nn

import kerastorch
from examples import kitchenware
from kerastorch.engine.model import inference

FIGURES = Path(__file__).resolve().parents[1] / "docs" / "_static"


class Mistake(NamedTuple):
    """A change of the model, or other pixels."""

    name: str
    change: Callable[[nn.Module], None] | None = None
    pixels: Tensor | None = None


class Row(NamedTuple):
    """What one mistake does.

    Attributes:
        mistake: in a few words.
        drift: the largest difference of a logit, relative to the largest logit.
        probability: the largest change of a probability.
        changed: how many photographs get another first answer.
        kind: "none" for what is no mistake, "model" or "pixels".
    """

    mistake: str
    drift: float
    probability: float
    changed: int
    kind: str


def main() -> None:
    kitchenware.fetch()
    panels = {
        "\nXception, fine-tuned weights, 18 photographs": rows_of(*xception()),
        "ResNet50, random weights, 6 photographs": rows_of(*resnet50()),
    }
    for title, rows in panels.items():
        print(f"\n{title.strip()}\n    drift  probability, first answers changed")
        for row in rows:
            print(f"{row.drift:9.1e} {row.probability:8.4f} {row.changed:3d}  {row.mistake}")
    for theme, colour in (("light", "#1a1c1e"), ("dark", "#dfe3e8")):
        draw(panels, FIGURES / f"drift-{theme}.svg", colour)


def xception() -> tuple[kerastorch.Model, Tensor, list[Mistake]]:
    """The model, its prepared photographs, and the mistakes that ports of it make."""
    model = kerastorch.load_model(kitchenware.KERAS_FILE).double()
    photographs = sorted((kitchenware.DATA / "images").glob("*.jpg"))
    pictures = [Image.open(path).convert("RGB") for path in photographs]
    pixels = resized(pictures, kitchenware.SIZE, "bilinear")
    batch = pixels / 127.5 - 1
    nearest = resized(pictures, kitchenware.SIZE) / 127.5 - 1
    mistakes = [
        Mistake("epsilon 1e-5, PyTorch's, for 1e-3", with_epsilon(1e-5)),
        Mistake("max-pooling padded on both sides", with_symmetric_pooling),
        Mistake("max-pooling padded with zeros", with_zero_padded_pooling),
        Mistake("pictures resized by nearest", pixels=nearest),
        Mistake("pixels in BGR", pixels=batch.flip(1)),
        Mistake("torchvision's mean and deviation", pixels=in_torch_mode(pixels)),
    ]
    return model, batch, mistakes


def resnet50() -> tuple[kerastorch.Model, Tensor, list[Mistake]]:
    torch.manual_seed(0)
    model = kerastorch.create_model("resnet50").double()
    pictures = [Image.fromarray(array) for array in photographs_of_scikit_image()]
    pixels = resized(pictures, (224, 224))
    prepare = kerastorch.applications.resnet50.preprocess_input
    batch = prepare(pixels, data_format="channels_first")
    settle(model, batch)
    means = batch - pixels.flip(1)  # those of blue, green and red
    mistakes = [
        Mistake("epsilon 1e-5, PyTorch's, for 1.001e-5", with_epsilon(1e-5)),
        Mistake("epsilon 1e-3, Keras's default", with_epsilon(1e-3)),
        Mistake("stride on the 3x3, torchvision's", with_stride_on_3x3),
        Mistake("means in RGB, pixels in BGR", pixels=pixels.flip(1) + means.flip(1)),
        Mistake("pixels in RGB", pixels=pixels + means.flip(1)),
        Mistake("torchvision's mean and deviation", pixels=in_torch_mode(pixels)),
    ]
    return model, batch, mistakes


def rows_of(model: kerastorch.Model, batch: Tensor, mistakes: list[Mistake]) -> list[Row]:
    rows = [beside_keras(model, batch), in_float32(model, batch)]
    return [*rows, *rows_of_mistakes(model, batch, mistakes)]


def beside_keras(model: kerastorch.Model, batch: Tensor) -> Row:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        arrays = batch.permute(0, 2, 3, 1).numpy()[:2]
        verdict = kerastorch.verify(model, path, inputs=arrays, float32=False)
    assert verdict.is_equal, verdict
    return Row("kerastorch beside Keras, all layers", verdict.largest_error, 0.0, 0, "none")


def in_float32(model: kerastorch.Model, batch: Tensor) -> Row:
    rounded = logits(copy.deepcopy(model).float(), batch)
    return row("float32 for float64", logits(model, batch), rounded, "none")


def rows_of_mistakes(
    model: kerastorch.Model, batch: Tensor, mistakes: list[Mistake]
) -> Iterator[Row]:
    right = logits(model, batch)
    for mistake in mistakes:
        wrong = copy.deepcopy(model)
        if mistake.change is not None:
            mistake.change(wrong)
        pixels, kind = (batch, "model") if mistake.pixels is None else (mistake.pixels, "pixels")
        yield row(mistake.name, right, logits(wrong, pixels), kind)


def row(mistake: str, right: Tensor, wrong: Tensor, kind: str) -> Row:
    drift = ((wrong - right).abs().max() / right.abs().max()).item()
    probability = (wrong.softmax(1) - right.softmax(1)).abs().max().item()
    changed = (wrong.argmax(1) != right.argmax(1)).sum().item()
    return Row(mistake, drift, probability, changed, kind)


def logits(model: nn.Module, batch: Tensor) -> Tensor:
    with inference(model):
        return model(batch.to(next(model.parameters()))).double()


# Pixels


def photographs_of_scikit_image() -> list[np.ndarray]:
    pictures = data.astronaut(), data.chelsea(), data.coffee(), data.rocket(), data.retina()
    return [*pictures, data.stereo_motorcycle()[0]]


def resized(pictures: list, size: tuple[int, int], interpolation: str = "nearest") -> Tensor:
    """The pictures as values from 0 to 255 (pictures, 3, height, width)."""
    img_to_array = kerastorch.preprocessing.image.img_to_array
    resize = kerastorch.preprocessing.image.resize_img
    arrays = [img_to_array(resize(p, size, interpolation), "channels_first") for p in pictures]
    return torch.from_numpy(np.stack(arrays)).double()


def in_torch_mode(pixels: Tensor) -> Tensor:
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])
    return (pixels / 255 - mean[:, None, None]) / deviation[:, None, None]


# Models


def settle(model: kerastorch.Model, batch: Tensor) -> None:
    """Gives each batch normalisation the statistics of what these pictures make it see."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]

    def settle_norm(norm: nn.Module, arguments: tuple) -> None:
        variance, mean = torch.var_mean(arguments[0], (0, 2, 3), correction=0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)

    hooks = [norm.register_forward_pre_hook(settle_norm) for norm in norms]
    logits(model, batch)
    for hook in hooks:
        hook.remove()


def with_epsilon(epsilon: float) -> Callable[[nn.Module], None]:
    def change(model: nn.Module) -> None:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eps = epsilon

    return change


def with_symmetric_pooling(model: kerastorch.Model) -> None:
    replace_pooling(model, lambda: nn.MaxPool2d(3, 2, padding=1))


def with_zero_padded_pooling(model: kerastorch.Model) -> None:
    replace_pooling(model, lambda: _ZeroPaddedPooling(3, 2))


def replace_pooling(model: kerastorch.Model, make: Callable[[], nn.Module]) -> None:
    for parent in list(model.modules()):
        for key, module in list(parent.named_children()):
            if isinstance(module, kerastorch.layers.MaxPooling2D):
                setattr(parent, key, make())


class _ZeroPaddedPooling(nn.MaxPool2d):
    """Where Keras pads, but with zeros, which win over negative values."""

    def forward(self, x: Tensor) -> Tensor:
        before, after = zip(*(divmod(1 if n % 2 == 0 else 2, 2) for n in x.shape[2:]), strict=True)
        pads = [(b, b + a) for b, a in zip(before, after, strict=True)]
        return super().forward(nn.functional.pad(x, (*pads[1], *pads[0])))


def with_stride_on_3x3(model: kerastorch.Model) -> None:
    for name, module in model.named_children():
        if name.endswith("_block1_1_conv") and module.stride == (2, 2):
            module.stride = (1, 1)
            replaced = model.get_layer(name.replace("_1_conv", "_2_conv"))
            torch_conv = nn.Conv2d(*replaced.weight.shape[1::-1], 3, stride=2, padding=1)
            torch_conv.load_state_dict(replaced.state_dict())
            setattr(model, replaced.name, torch_conv.to(replaced.weight))


# The figure

COLOURS = {"none": "#3a8f5c", "model": "#c9513b", "pixels": "#d08a2e"}
MEANINGS = {"none": "no mistake", "model": "in the model", "pixels": "in the pixels"}


def draw(panels: dict[str, list[Row]], path: Path, colour: str) -> None:
    settings = {"text.color": colour, "axes.labelcolor": colour, "font.size": 10}
    settings |= {"xtick.color": colour, "ytick.color": colour, "axes.edgecolor": colour}
    settings |= {"svg.hashsalt": "drift", "svg.fonttype": "none"}
    with plt.rc_context(settings):
        heights = [len(rows) for rows in panels.values()]
        figure, all_axes = plt.subplots(
            len(panels), 1, figsize=(8, 5.8), height_ratios=heights, sharex=True, layout="tight"
        )
        for axes, (title, rows) in zip(all_axes, panels.items(), strict=True):
            draw_panel(axes, title, rows)
        handles = [plt.Rectangle((0, 0), 1, 1, color=COLOURS[kind]) for kind in COLOURS]
        figure.legend(handles, MEANINGS.values(), frameon=False, loc="upper right", ncols=3)
        all_axes[-1].set_xlabel("largest change of an output, relative to the largest output")
        figure.savefig(path, transparent=True, metadata={"Date": None})
        plt.close(figure)


def draw_panel(axes: plt.Axes, title: str, rows: list[Row]) -> None:
    names = [row.mistake for row in rows]
    axes.barh(names, [row.drift for row in rows], color=[COLOURS[row.kind] for row in rows])
    for position, row in enumerate(rows):
        number = f"{row.drift:.0%}" if row.drift > 0.01 else f"{row.drift:.0e}"
        axes.text(row.drift * 1.4, position, number, va="center")
    axes.set(xscale="log", xlim=(1e-16, 30), title=title)
    axes.title.set(ha="left", position=(0, 1))
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main()
