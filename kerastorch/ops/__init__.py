"""The operations that Keras 3 records as layers when a function of `keras.ops` meets a Symbol.

Arithmetic on Symbols makes them (`x / 127.5 - 1`, `x[..., ::-1]`), and so do files that hold them.
Each class is one function: `ops.Mean(axis=1)(x)` is Keras's `ops.mean(x, axis=1)`, on Symbols and
on tensors. Names, arguments and axes are Keras's. Where `kerastorch.layers` has a class of the same
name (`Add`), that is Keras's layer, which takes a list.
"""

from types import ModuleType

from ..engine.operation import Operation
from . import elementwise, image, products, reduction, shaping


def _classes_in(*modules: ModuleType) -> dict[str, type[Operation]]:
    return {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, Operation)
        and value.__module__ == module.__name__
        and not name.startswith("_")
    }


OPERATION_CLASSES = _classes_in(elementwise, image, products, reduction, shaping)
globals().update(OPERATION_CLASSES)

KEEPING_SCALE = (
    *_classes_in(image, shaping).values(),
    *(elementwise.Cast, elementwise.StopGradient),
)
"""Those whose results have the scale of what they take: they move, join, resize or retype it."""

__all__ = ["Operation", *sorted(OPERATION_CLASSES)]
