"""Photographs with their best classes as a figure."""

from __future__ import annotations

import errno
import math
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..applications.transforms import Preprocessing
from ..cam import grad_cam, overlay
from ..convert.atomic import check_no_folder, replacing
from ..engine import Model
from ..extras import need
from ..picture_files import shown
from ..preprocessing.image import read_img

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

    from .predict import Prediction
    from .scores import Best

KINDS = (".png", ".pdf", ".svg")
MOST = 24  # pictures
CLASSES = 5  # of each

# Inches.
PHOTO = 2.7, 2.0
BARS = 2.5, 1.9
GAP, MARGIN, CAPTION = 0.25, 0.35, 0.3

PIXELS = 900  # of a photograph's longer side, at most
INK, GREY, PAPER, TRACK = "#1d2433", "#7b8494", "#f3f5f8", "#e8ebf0"
MISSING_SIGN = r"Glyph .* missing from"  # how Matplotlib's warning begins
BEST, OTHERS = "#1f6f8b", "#9cc3d0"


def check_output(path: str) -> None:
    """Raises for a file that no figure can be written to, and where Matplotlib is missing."""
    if Path(path).suffix.lower() not in KINDS:
        raise ValueError(f"{path}: figures go into a file named {', '.join(KINDS)}")
    if not Path(path).absolute().parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    check_no_folder(Path(path))
    need("matplotlib", "plot")


def plot(
    path: str,
    predictions: Sequence[Prediction],
    model: Model,
    preprocessing: Preprocessing,
    cam_layer: str | None,
) -> None:
    """Draws pictures with bars for their best classes.

    Args:
        path: the file.
        predictions: the pictures; the first `MOST` are drawn.
        model: what they were classified with.
        preprocessing: how they were prepared.
        cam_layer: the layer whose maps say where the best class was seen, drawn beside each; None
            for none.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    if len(predictions) > MOST:
        print(f"kerastorch: {path}: the first {MOST} of {len(predictions)}", file=sys.stderr)
    drawn = predictions[:MOST]
    columns = min(len(drawn), 2) or 1
    rows = math.ceil(len(drawn) / columns) or 1
    photos = 1 if cam_layer is None else 2
    width = photos * (PHOTO[0] + GAP) + BARS[0]
    height = CAPTION + PHOTO[1]
    size = columns * width + (columns + 1) * MARGIN, rows * height + (rows + 1) * MARGIN
    with rc_context({"font.family": "sans-serif", "font.size": 9, "text.color": INK}):
        figure = Figure(figsize=size, facecolor="white")
        for index, prediction in enumerate(drawn):
            row, column = divmod(index, columns)
            left = MARGIN + column * (width + MARGIN)
            top = MARGIN + row * (height + MARGIN)
            pictures = _pictures(prediction, model, preprocessing, cam_layer)
            _draw_card(figure, (left, top), prediction, pictures)
        with replacing(Path(path)) as file, _missing_signs_in_a_line(path):
            figure.savefig(file, format=Path(path).suffix[1:].lower(), dpi=160)


@contextmanager
def _missing_signs_in_a_line(path: str) -> Iterator[None]:
    """Says once what Matplotlib says for each sign that its font does not have."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", MISSING_SIGN)
        yield
    of_signs = [one for one in caught if re.match(MISSING_SIGN, str(one.message))]
    for other in (one for one in caught if one not in of_signs):
        warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)
    if of_signs:
        print(
            f"kerastorch: {path}: Matplotlib's font lacks signs of some names or labels",
            file=sys.stderr,
        )


def check_cam(model: Model, preprocessing: Preprocessing, layer: str) -> None:
    """Raises `ValueError` for a layer that gives no map, as an empty picture shows."""
    like = next(model.parameters())
    grad_cam(model, like.new_zeros(1, preprocessing.channels, *preprocessing.size), layer)


def _pictures(
    prediction: Prediction, model: Model, preprocessing: Preprocessing, cam_layer: str | None
) -> list[Image]:
    """The photograph, and the same with the map of its best class."""
    picture = read_img(prediction.path)
    photo = picture.convert("RGB")
    photo.thumbnail((PIXELS, PIXELS))
    if cam_layer is None:
        return [photo]
    like = next(model.parameters())
    x = preprocessing([picture]).to(like)
    (heat,) = grad_cam(model, x, cam_layer, [prediction.best[0].index])
    return [photo, overlay(photo, heat)]


def _draw_card(
    figure: Figure, corner: tuple[float, float], prediction: Prediction, pictures: list[Image]
) -> None:
    left, top = corner
    width, height = figure.get_size_inches()
    figure.text(
        left / width,
        1 - (top + 0.12) / height,
        _shortened(shown(prediction.path), 60),
        color=GREY,
        va="center",
        parse_math=False,
    )
    for picture in pictures:
        axes = _axes(figure, left, top + CAPTION, *PHOTO)
        axes.set_facecolor(PAPER)
        axes.imshow(picture, aspect="equal", interpolation="lanczos")
        _fit(axes, picture)
        left += PHOTO[0] + GAP
    bars = _axes(figure, left, top + CAPTION + (PHOTO[1] - BARS[1]) / 2, *BARS)
    _draw_bars(bars, prediction.best[:CLASSES])


def _axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place in inches from the upper left corner, without frame and ticks."""
    whole_width, whole_height = figure.get_size_inches()
    axes = figure.add_axes(
        (
            left / whole_width,
            1 - (top + height) / whole_height,
            width / whole_width,
            height / whole_height,
        )
    )
    axes.set(xticks=[], yticks=[])
    for side in axes.spines.values():
        side.set_visible(False)
    return axes


def _fit(axes: Axes, picture: Image) -> None:
    """Centres a picture in axes of the proportions of `PHOTO`."""
    scale = max(picture.width / PHOTO[0], picture.height / PHOTO[1])  # pixels an inch
    x, y = picture.width / 2 - 0.5, picture.height / 2 - 0.5
    axes.set_xlim(x - scale * PHOTO[0] / 2, x + scale * PHOTO[0] / 2)
    axes.set_ylim(y + scale * PHOTO[1] / 2, y - scale * PHOTO[1] / 2)


def _draw_bars(axes: Axes, best: Sequence[Best]) -> None:
    axes.set(xlim=(0, 1), ylim=(CLASSES, 0))
    for rank, found in enumerate(best):
        colour, weight = (OTHERS, "normal") if rank else (BEST, "bold")
        score = min(max(found.score, 0), 1)
        axes.barh(rank + 0.66, 1, height=0.2, color=TRACK)
        axes.barh(rank + 0.66, score, height=0.2, color=colour)
        name = _shortened(found.label.replace("_", " "), 30)
        text = {"va": "bottom", "weight": weight, "parse_math": False}
        axes.text(0, rank + 0.5, name, **text)
        axes.text(1, rank + 0.5, f"{found.score:.1%}", ha="right", **text)


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else f"…{text[1 - length :]}"
