"""Real photographs, which scikit-image ships in its package."""

from importlib.resources import files
from pathlib import Path

FOLDER = Path(str(files("skimage") / "data"))
PHOTOGRAPHS = ["astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "camera.png"]
"""Of a woman, a cat, a cup, a rocket and, in grey, a man with a camera; of several sizes."""


def photograph(name: str) -> Path:
    """The file of a photograph."""
    return FOLDER / name
