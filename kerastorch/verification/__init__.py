"""Whether two models are the same: a verdict on every layer, and why it is so.

`verifying` runs a model beside a `reference` (Keras in `keras_process`, or a run kept by
`storage`), `comparison` holds each layer's output against it as `watching` sees it, `causes` tries
why the first that differs does, and a `verdict` is what comes of it.
"""

from .reference import KerasMissingError, KerasProcessError
from .verdict import Cause, Divergence, LayerResult, Picture, Subject, Verdict
from .verifying import verify

__all__ = [
    "Cause",
    "Divergence",
    "KerasMissingError",
    "KerasProcessError",
    "LayerResult",
    "Picture",
    "Subject",
    "Verdict",
    "verify",
]
