"""Whether two models are the same: a verdict on every layer, and why it is so.

`verifying` runs a model beside a `reference`, both found by `opening`. A reference is a file in
Keras (`keras_client` asks `keras_process`) or a run kept by `storage`. `comparison` holds each
layer's output against it as `watching` sees it, `causes` tries why the first that differs does, and
a `verdict` is what comes of it, for which `report` makes a page. `diffing` compares without
running.
"""

from .diffing import Change, Difference, LayerDifference, Source, ValueChange, diff
from .keras_client import KerasMissingError, KerasProcess, KerasProcessError
from .verdict import Cause, Divergence, LayerResult, Picture, Subject, Verdict
from .verifying import verify

__all__ = [
    "Cause",
    "Change",
    "Difference",
    "Divergence",
    "KerasMissingError",
    "KerasProcess",
    "KerasProcessError",
    "LayerDifference",
    "LayerResult",
    "Picture",
    "Source",
    "Subject",
    "ValueChange",
    "Verdict",
    "diff",
    "verify",
]
