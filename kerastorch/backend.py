"""What Keras users ask of `keras.backend` beside a model: `from kerastorch import backend as K`."""

from .config import floatx, image_data_format, set_image_data_format

__all__ = ["floatx", "image_data_format", "set_image_data_format"]
