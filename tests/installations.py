"""kerastorch as its users have it: from a checkout or a wheel, among modules of their own."""

import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
DECOYS = ("convert", "hub", "models", "utils")


def run_python(code, *path, cwd, env=None):
    """What `code` prints, word by word, in a fresh interpreter.

    It looks for modules in `path` first, and finds the checkout only if `path` names it, even
    where it is installed as editable; nor does it look in the working directory, unless `path`
    names that by "". `env` is its environment, by default that of the tests.
    """
    search = f"""
import sys
sys.path[:] = {[str(folder) for folder in path]} + [p for p in sys.path if p != {str(CHECKOUT)!r}]
"""
    result = subprocess.run(
        [sys.executable, "-P", "-c", search + code],
        cwd=cwd,
        env=env or os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def build_wheel(folder):
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("*.whl")
    return path


def write_decoys(folder):
    """Modules of a user's own, under the names of our top-level folders."""
    folder.mkdir()
    for name in DECOYS:
        (folder / f"{name}.py").write_text("raise ImportError('a decoy was imported')\n")
    return folder
