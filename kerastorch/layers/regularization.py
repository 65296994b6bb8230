"""Layers that act in training only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import check_data_format
from ..engine.layer import Layer
from ..engine.layout import Shape, join_shape, tensor_shape


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
        shape = _noise_shape(self, x)
        return x * F.dropout(torch.ones(shape, dtype=x.dtype, device=x.device), self.p)


def _noise_shape(layer: Layer, x: Tensor) -> list[int]:
    """The shape of the tensor that a layer with a `noise_shape` chooses for."""
    shape = tensor_shape(layer.noise_shape, layer.data_format)
    return [given if size is None else size for size, given in zip(shape, x.shape, strict=True)]


class _SpatialDropout(Dropout):
    """Dropout of whole feature maps; `noise_shape` follows from the layout."""

    rank: int

    def __init__(
        self,
        rate: float,
        data_format: str | None,
        seed: int | None,
        name: str | None,
        trainable: bool,
    ):
        super().__init__(rate, seed=seed, name=name, trainable=trainable)
        self._data_format = check_data_format(data_format)
        ones = (1,) * (self.rank - 2)
        self.noise_shape = join_shape(None, ones, None, self.data_format)

    def compute_output_shape(self, shape: Shape) -> Shape:
        if len(shape) != self.rank:
            raise ValueError(
                f"Layer {self.name!r} takes inputs of rank {self.rank}; got the shape {shape}."
            )
        return shape

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["trainable"]  # Keras's constructor does not take it
        return config


class SpatialDropout1D(_SpatialDropout):
    """Zeroes a share of a sequence's features in training (`keras.layers.SpatialDropout1D`).

    Takes and gives (N, steps, features); a feature goes for all steps. An `nn.Dropout`.

    Args:
        rate: the share, from 0 to 1.
        seed, name, trainable: see `Dropout`.
    """

    rank = 3

    def __init__(
        self,
        rate: float,
        seed: int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(rate, "channels_last", seed, name, trainable)


class SpatialDropout2D(_SpatialDropout):
    """Zeroes a share of the channels in training (`keras.layers.SpatialDropout2D`).

    Takes and gives (N, C, H, W); the channels that stay are scaled up. An `nn.Dropout`.

    Args:
        rate: the share, from 0 to 1.
        data_format: see `Layer`.
        seed, name, trainable: see `Dropout`.
    """

    rank = 4

    def __init__(
        self,
        rate: float,
        data_format: str | None = None,
        seed: int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(rate, data_format, seed, name, trainable)


class _Disturbance(Layer):
    """What changes values in training only."""

    takes_training = True

    def forward(self, x: Tensor, training: bool | None = None) -> Tensor:
        training = self.training if training is None else training
        return self._disturb(x) if training else x

    def _disturb(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class GaussianNoise(_Disturbance):
    """Adds noise in training (`keras.layers.GaussianNoise`). Takes and gives any shape.

    Args:
        stddev: the noise's standard deviation, from 0 to 1.
        seed, name, trainable: see `Dropout`.
    """

    def __init__(
        self,
        stddev: float,
        seed: int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable)
        if not 0 <= stddev <= 1:
            raise ValueError(f"stddev is a number from 0 to 1, not {stddev!r}.")
        self.stddev = stddev
        self.seed = seed

    def _disturb(self, x: Tensor) -> Tensor:
        return x + self.stddev * torch.randn_like(x)


class GaussianDropout(_Disturbance):
    """Multiplies with noise around 1 in training (`keras.layers.GaussianDropout`).

    Takes and gives any shape. The noise's standard deviation is sqrt(rate / (1 - rate)), that of
    the factors of `Dropout`.

    Args:
        rate: a number from 0 to below 1.
        seed, name, trainable: see `Dropout`.
    """

    def __init__(
        self,
        rate: float,
        seed: int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable)
        self.rate = _below_one(rate)
        self.seed = seed

    def _disturb(self, x: Tensor) -> Tensor:
        deviation = math.sqrt(self.rate / (1 - self.rate))
        return x * (1 + deviation * torch.randn_like(x))


class AlphaDropout(_Disturbance):
    """Dropout that suits SELU, active in training (`keras.layers.AlphaDropout`).

    Takes and gives any shape. What is dropped gets the value that SELU has far below zero; then all
    are scaled and shifted so that values of mean 0 and variance 1 keep both.

    Args:
        rate: the share that is dropped, from 0 to below 1.
        noise_shape, seed, name, trainable: see `Dropout`.
    """

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable)
        self.rate = _below_one(rate)
        self.noise_shape = tuple(noise_shape) if noise_shape is not None else None
        self.seed = seed

    def _disturb(self, x: Tensor) -> Tensor:
        shape = x.shape if self.noise_shape is None else _noise_shape(self, x)
        kept = (torch.rand(shape, device=x.device) >= self.rate).to(x.dtype)
        slope = ((1 - self.rate) * (1 + self.rate * _SELU_FLOOR**2)) ** -0.5
        return slope * (x * kept + _SELU_FLOOR * (1 - kept - self.rate))


_SELU_FLOOR = -1.0507009873554805 * 1.6732632423543772  # SELU's scale and alpha


def _below_one(rate: float) -> float:
    if not 0 <= rate < 1:
        raise ValueError(f"rate is a number from 0 to below 1, not {rate!r}.")
    return rate


class StochasticDepth(_Disturbance):
    """Drops whole samples in training, so that a residual branch is skipped: ConvNeXt's.

    Takes and gives any shape. The samples that stay are scaled up.

    Args:
        drop_path_rate: the share that is dropped, from 0 to below 1.
        name, trainable: see `Layer`.
    """

    def __init__(self, drop_path_rate: float, name: str | None = None, trainable: bool = True):
        super().__init__(name=name, trainable=trainable)
        self.drop_path_rate = _below_one(drop_path_rate)

    def _disturb(self, x: Tensor) -> Tensor:
        share = 1 - self.drop_path_rate
        kept = torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device) < share
        return x * (kept.to(x.dtype) / share)


class ActivityRegularization(Layer):
    """Passes its input on (`keras.layers.ActivityRegularization`). Takes and gives any shape.

    Keras adds `l1 * sum(|x|) + l2 * sum(x**2)` per sample to the loss; here that is the training
    loop's.

    Args:
        l1, l2: the factors.
        name, trainable: see `Layer`.
    """

    def __init__(
        self, l1: float = 0.0, l2: float = 0.0, name: str | None = None, trainable: bool = True
    ):
        super().__init__(name=name, trainable=trainable)
        self.l1 = l1
        self.l2 = l2

    def forward(self, x: Tensor) -> Tensor:
        return x
