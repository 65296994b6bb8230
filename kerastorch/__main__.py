"""`python -m kerastorch`, the same as the `kerastorch` command."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
