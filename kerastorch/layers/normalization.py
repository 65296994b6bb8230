"""Batch normalisation, and normalisation with fixed statistics."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from ..engine.layer import Layer, native
from ..engine.layout import Shape, keras_axis, tensor_axis
from ..initializers import fill_


class BatchNormalization(Layer):
    """Batch normalisation (`keras.layers.BatchNormalization`).

    Takes and gives (N, C, H, W), (N, C), (N, L, C) or (N, C, D, H, W). Its native class is an
    `nn.BatchNorm2d` (1d, 3d), whose momentum is one minus Keras's. Unlike torch, the moving
    variance takes the biased variance of the batch, a batch of one value per channel gives beta,
    and a layer that is not trainable runs in inference mode.

    Args:
        axis: the axis of the features in Keras's layout.
        momentum: how much of the old moving statistics stays at each step.
        epsilon: what is added to the variance.
        center: whether beta is added.
        scale: whether gamma is multiplied.
        beta_initializer, gamma_initializer, moving_mean_initializer, moving_variance_initializer:
            names or configs of Keras's initialisers.
        beta_regularizer, gamma_regularizer, beta_constraint, gamma_constraint: configs of Keras,
            carried along.
        synchronized: whether the statistics are those of the batches of all processes together.
        name, trainable: see `Layer`.

    Raises:
        ValueError: the input's rank is not 2 to 5, or its features are unknown or of another
            number.
    """

    built = False
    makes_new_tensor = True
    takes_training = True
    gamma_initializer: Any = "ones"
    beta_initializer: Any = "zeros"
    moving_mean_initializer: Any = "zeros"
    moving_variance_initializer: Any = "ones"
    axis = -1
    synchronized = False

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: dict | None = None,
        gamma_regularizer: dict | None = None,
        beta_constraint: dict | None = None,
        gamma_constraint: dict | None = None,
        synchronized: bool = False,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable)
        self.axis = axis
        self.momentum = momentum
        self.epsilon = epsilon
        self.center = center
        self.scale = scale
        self.beta_initializer = beta_initializer
        self.gamma_initializer = gamma_initializer
        self.moving_mean_initializer = moving_mean_initializer
        self.moving_variance_initializer = moving_variance_initializer
        self.beta_regularizer = beta_regularizer
        self.gamma_regularizer = gamma_regularizer
        self.beta_constraint = beta_constraint
        self.gamma_constraint = gamma_constraint
        self.synchronized = synchronized

    def build(self, shape: Shape) -> None:
        natives = {
            2: BatchNormalization.BatchNorm1d,
            3: BatchNormalization.BatchNorm1d,
            4: BatchNormalization.BatchNorm2d,
            5: BatchNormalization.BatchNorm3d,
        }
        if len(shape) not in natives:
            raise ValueError(f"Layer {self.name!r} takes inputs of rank 2 to 5; got {shape}.")
        features = self._features(shape)
        center, scale = self.center, self.scale
        self.become(natives[len(shape)], features, self.epsilon, 1 - self.momentum, affine=False)
        self.affine = center or scale
        if scale:
            self.weight = nn.Parameter(torch.empty(features))
        if center:
            self.bias = nn.Parameter(torch.empty(features))
        self.reset_parameters()

    def compute_output_shape(self, shape: Shape) -> Shape:
        self._features(shape)
        return shape

    def _features(self, shape: Shape) -> int:
        features = shape[keras_axis(self.axis, len(shape))]
        if features is None:
            raise ValueError(
                f"Layer {self.name!r} needs to know the size of axis {self.axis}; got {shape}."
            )
        if self.built and features != self.num_features:
            raise ValueError(
                f"Layer {self.name!r} takes {self.num_features} features; got {features}."
            )
        return features


class _BatchNorm(BatchNormalization):
    """What the native classes share."""

    built = True

    def reset_parameters(self) -> None:
        size = (self.num_features,)
        self.num_batches_tracked.zero_()
        fill_(self.running_mean, self.moving_mean_initializer, size)
        fill_(self.running_var, self.moving_variance_initializer, size)
        if self.weight is not None:
            fill_(self.weight, self.gamma_initializer, size)
        if self.bias is not None:
            fill_(self.bias, self.beta_initializer, size)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": 1 - self.momentum}

    def forward(self, x: Tensor, training: bool | None = None) -> Tensor:
        training = self.training if training is None else training
        axis = tensor_axis(self.axis, x.ndim, self.data_format)
        x = x.movedim(axis, 1)
        y = self._normalize_by_batch(x) if training and self.trainable else self._normalize(x)
        return y.movedim(1, axis)

    def _normalize(self, x: Tensor) -> Tensor:
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )

    def _normalize_by_batch(self, x: Tensor) -> Tensor:
        self.num_batches_tracked.add_(1)
        if self.synchronized and dist.is_available() and dist.is_initialized():
            return self._normalize_by_all_batches(x)
        # torch's update takes the unbiased variance n / (n - 1) * var; Keras's takes var itself.
        n = x.numel() // x.shape[1]
        kept = 1 - self.momentum
        updated = (
            self.running_var.clone()
        )  # editing the buffer itself would break compiled training
        y = torch.batch_norm(  # without the check of F.batch_norm, which refuses n = 1
            x,
            self.weight,
            self.bias,
            self.running_mean,
            updated,
            True,
            self.momentum,
            self.eps,
            torch.backends.cudnn.enabled,
        )
        with torch.no_grad():
            if n == 1:  # the batch's variance is 0, where torch makes it 0 / 0
                self.running_var.mul_(kept)
            else:
                biased = updated * ((n - 1) / n) + self.running_var * (kept / n)
                self.running_var.copy_(biased)
        return y

    def _normalize_by_all_batches(self, x: Tensor) -> Tensor:
        """Normalises by the statistics of all processes' batches together."""
        from torch.distributed.nn.functional import all_reduce

        axes = [axis for axis in range(x.ndim) if axis != 1]
        size = x.new_tensor([x.numel() // x.shape[1]])
        *total, count = all_reduce(torch.cat([x.sum(axes), size])).split([x.shape[1], 1])
        mean = total[0] / count
        shape = [1, -1] + [1] * (x.ndim - 2)
        centered = x - mean.view(shape)
        variance = all_reduce(centered.square().sum(axes)) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance, self.momentum)
        y = centered * torch.rsqrt(variance + self.eps).view(shape)
        if self.weight is not None:
            y = y * self.weight.view(shape)
        return y if self.bias is None else y + self.bias.view(shape)


@native(of=BatchNormalization)
class BatchNorm1d(_BatchNorm, nn.BatchNorm1d):
    __init__ = nn.BatchNorm1d.__init__


@native(of=BatchNormalization)
class BatchNorm2d(_BatchNorm, nn.BatchNorm2d):
    __init__ = nn.BatchNorm2d.__init__


@native(of=BatchNormalization)
class BatchNorm3d(_BatchNorm, nn.BatchNorm3d):
    __init__ = nn.BatchNorm3d.__init__
