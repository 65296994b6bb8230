"""How the time of an image grows with the batch and with the image.

python -m benchmarks growth [MODEL ...] [--contender optimized]
"""

from __future__ import annotations

import argparse

from rich.table import Table

from kerastorch.applications import get_record

from .contenders.inference import CONTENDERS
from .contest import compare, console

BATCHES = (1, 2, 4, 8, 16, 32)
SCALES = (0.5, 1.0, 1.5, 2.0)
ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="*", default=["resnet50", "mobilenet_v2"], metavar="MODEL")
    parser.add_argument("--contender", choices=CONTENDERS, default="optimized")
    options = parser.parse_args()
    for model in options.models:
        default = get_record(model).default_size
        table = Table("batch", "pixels", "ms an image", "peak MB", title=model)
        cases = [(batch, default) for batch in BATCHES]
        cases += [(1, int(default * scale)) for scale in SCALES]
        for batch, size in cases:
            found = compare("inference", model, {options.contender: True}, batch, size, ROUNDS)
            measured = found[options.contender]
            milliseconds = f"{measured['seconds'] / batch * 1e3:.1f}"
            table.add_row(
                str(batch), f"{size} x {size}", milliseconds, f"{measured['peak_mb']:.0f}"
            )
        console().print(table)


if __name__ == "__main__":
    main()
