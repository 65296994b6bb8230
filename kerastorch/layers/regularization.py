"""Layers that act in training only."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..engine.layer import Layer
from ..engine.layout import tensor_shape


class Dropout(Layer, nn.Dropout):
    """Zeroes a share of the elements in training and scales up the others (`keras.layers.Dropout`).

    An `nn.Dropout`. It stays active in training where `trainable` is False, as in Keras.

    Args:
        rate: the share, from 0 to 1.
        noise_shape: the shape, in Keras's layout with the batch, that the choice is made for and
            broadcast from; None for each element on its own. A size of None stands for the input's.
        seed: kept for Keras's config; torch's generator makes the choice.
        name, trainable: see `Layer`.
    """

    takes_training = True

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        if not 0 <= rate <= 1:
            raise ValueError(f"rate is a number from 0 to 1, not {rate!r}.")
        nn.Dropout.__init__(self, rate)
        super().__init__(name=name, trainable=trainable)
        self.noise_shape = tuple(noise_shape) if noise_shape is not None else None
        self.seed = seed

    @property
    def rate(self) -> float:
        return self.p

    def forward(self, x: Tensor, training: bool | None = None) -> Tensor:
        training = self.training if training is None else training
        if self.noise_shape is None or not training:
            return F.dropout(x, self.p, training)
        shape = tensor_shape(self.noise_shape, self.data_format)
        shape = [
            given if size is None else size for size, given in zip(shape, x.shape, strict=True)
        ]
        return x * F.dropout(torch.ones(shape, dtype=x.dtype, device=x.device), self.p)
