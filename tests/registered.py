"""Layers of a user's own on this side, the twins of those in `builders.own`."""

import torch
from torch import nn

import kerastorch
from kerastorch import Input, Layer, layers


def register_block():
    """A layer with layers inside, and a weight of its own."""

    @kerastorch.register_layer("shop>Block")
    class Block(Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.first = layers.BatchNormalization()
            self.dense = layers.Dense(3)
            self.optimizer = layers.BatchNormalization()

        def build(self, shape):
            self.gain = nn.Parameter(torch.zeros(shape[-1]))
            for layer in (self.first, self.dense, self.optimizer):
                layer(Input(shape[1:]))

        def forward(self, x):
            return self.optimizer(self.dense(self.first(x * self.gain[:, None, None])))

        def get_config(self):
            return {"name": self.name, "trainable": self.trainable}
