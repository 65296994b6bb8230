"""Symbols, layers and models: how architectures written in Keras's functional style become plain modules."""

from .input import Input, InputLayer
from .layer import Layer
from .model import Model
from .sequential import Sequential
from .symbol import Symbol

__all__ = ["Input", "InputLayer", "Layer", "Model", "Sequential", "Symbol"]
