"""The measurements by name.

python -m benchmarks inference resnet50 --batch 1
python -m benchmarks inference --help
"""

import importlib
import sys

PARTS = (
    "inference",
    "training",
    "growth",
    "precision",
    "starting",
    "loading",
    "converting",
    "drift",
    "standing",
    "chart",
)


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in PARTS:
        print("python -m benchmarks PART ...\n")
        for name in PARTS:
            summary = importlib.import_module(f"benchmarks.{name}").__doc__.partition("\n")[0]
            print(f"    {name:11} {summary}")
        sys.exit(len(sys.argv) > 1)
    part = importlib.import_module(f"benchmarks.{sys.argv.pop(1)}")
    part.main()


if __name__ == "__main__":
    main()
