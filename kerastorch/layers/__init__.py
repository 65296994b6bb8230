"""Keras's layers, grouped as Keras groups them."""

from ..engine.input import Input, InputLayer
from ..engine.layer import Layer
from .activation import Activation, ReLU, Softmax
from .convolutional import Conv2D, DepthwiseConv2D, SeparableConv2D
from .core import Dense
from .merging import Add, Concatenate, CustomScaleLayer, Multiply
from .normalization import BatchNormalization
from .pooling import AveragePooling2D, GlobalAveragePooling2D, GlobalMaxPooling2D, MaxPooling2D
from .preprocessing import Normalization, Rescaling
from .regularization import Dropout
from .reshaping import Cropping2D, Flatten, Reshape, ZeroPadding2D

__all__ = [
    "Activation",
    "Add",
    "AveragePooling2D",
    "BatchNormalization",
    "Concatenate",
    "Conv2D",
    "Cropping2D",
    "CustomScaleLayer",
    "Dense",
    "DepthwiseConv2D",
    "Dropout",
    "Flatten",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
    "Input",
    "InputLayer",
    "Layer",
    "MaxPooling2D",
    "Multiply",
    "Normalization",
    "ReLU",
    "Rescaling",
    "Reshape",
    "SeparableConv2D",
    "Softmax",
    "ZeroPadding2D",
]
