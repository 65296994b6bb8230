"""A chart of speeds, from the file of a comparison.

    python -m benchmarks chart FILE.json [--contenders NAME ...]

Writes `docs/_static/speed-light.svg` and `-dark.svg`.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import matplotlib.pyplot as plt

from .contest import speeds

FIGURES = Path(__file__).resolve().parents[1] / "docs" / "_static"
TITLES = {
    "keras-tensorflow": "Keras, TensorFlow",
    "keras-torch": "Keras, torch",
    "keras-onnxruntime": "Keras's ONNX in onnxruntime",
    "keras-openvino": "Keras's ONNX in OpenVINO",
    "optimized": "kerastorch, optimised",
    "inductor": "kerastorch, inductor",
    "eager": "kerastorch",
    "auto": "kerastorch, auto",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--contenders", nargs="+")
    options = parser.parse_args()
    content = json.loads(options.file.read_text())
    results = content["results"]
    names = options.contenders or list(
        dict.fromkeys(n for found in results.values() for n in found)
    )
    ratios = {name: speeds(results, name, names[0]) for name in names}
    means = {
        _title(name, ratios[name], len(results)): statistics.geometric_mean(ratios[name].values())
        for name in names
        if ratios[name]
    }
    note = (
        f"Geometric mean of {len(results)} models, batch {content['batch']}, float32, "
        f"{content['cores']} cores of {content['machine']}."
    )
    for theme, colour in (("light", "#1a1c1e"), ("dark", "#dfe3e8")):
        draw(means, note, FIGURES / f"speed-{theme}.svg", colour)


def _title(name: str, ratios: dict[str, float], models: int) -> str:
    """A contender's name, and how many models its mean is of if it does not have all."""
    title = TITLES.get(name, name)
    return title if len(ratios) == models else f"{title} ({len(ratios)} of them)"


def draw(means: dict[str, float], note: str, path: Path, colour: str) -> None:
    figure, axes = plt.subplots(figsize=(7.5, 0.38 * len(means) + 1), layout="constrained")
    titles = sorted(means, key=means.__getitem__, reverse=True)
    values = [means[title] for title in titles]
    ours = [title.startswith("kerastorch") for title in titles]
    bars = axes.barh(titles, values, color=["#d9713c" if own else "#9aa3ad" for own in ours])
    axes.bar_label(bars, [f"{value:.2f}" for value in values], padding=4, color=colour)
    axes.invert_yaxis()
    axes.set_xlabel(
        f"images a second, beside Keras on TensorFlow\n{note}", color=colour, fontsize=8
    )
    axes.tick_params(colors=colour, length=0)
    axes.set_xticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    figure.savefig(path, transparent=True)
    plt.close(figure)


if __name__ == "__main__":
    main()
