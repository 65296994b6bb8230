"""A step of training beside Keras, timm and torchvision.

    python -m benchmarks training [MODEL ...] [--batch 8] [--rounds 5] [--json FILE]

SGD with momentum on the cross-entropy of random labels; memory is kept in all processes or none.
"""

from __future__ import annotations

from kerastorch.applications import get_record

from .contenders.training import CONTENDERS
from .contest import arguments, compare, print_speeds, write_results

DEFAULT = ["timm", "kerastorch", "torchvision", "keras-tensorflow", "keras-torch"]


def main() -> None:
    parser = arguments(__doc__, CONTENDERS, DEFAULT, rounds=5)
    parser.add_argument("--keep-memory", action="store_true")
    options = parser.parse_args()
    contenders = dict.fromkeys(options.contenders, options.keep_memory)
    results = {}
    for model in options.models:
        size = get_record(model).default_size
        results[model] = compare("training", model, contenders, options.batch, size, options.rounds)
        if options.json:
            write_results(
                options.json,
                results,
                batch=options.batch,
                rounds=options.rounds,
                kept_memory=options.keep_memory,
            )
    memory = "kept" if options.keep_memory else "not kept"
    print_speeds(results, options.contenders, f"batch {options.batch}, memory {memory}")


if __name__ == "__main__":
    main()
