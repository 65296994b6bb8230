"""Getting pictures into a model as Keras does: `from kerastorch.preprocessing import image`."""

from . import image

__all__ = ["image"]
