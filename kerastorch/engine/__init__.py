"""Symbols, layers and models: what makes plain modules of Keras's functional style."""

from .input import Input, InputLayer
from .layer import Layer
from .model import Model
from .operation import Operation
from .sequential import Sequential
from .symbol import Symbol

__all__ = ["Input", "InputLayer", "Layer", "Model", "Operation", "Sequential", "Symbol"]
