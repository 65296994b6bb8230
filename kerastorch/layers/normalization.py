"""Batch, layer and group normalisation, and scaling to length 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from ..engine.layer import Layer, native
from ..engine.layout import Shape, keras_axis, tensor_axis
from ..initializers import fill_
from .padding import positive


class _SumOverProcesses(torch.autograd.Function):
    """The sum of a tensor over all processes. Each sum counts in every process's loss."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


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
        ValueError: epsilon is negative, the input's rank is not 2 to 5, or its features are unknown
            or of another number.
    """

    built = False
    makes_new_tensor = True
    backward_takes_output = False
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
        if epsilon < 0:
            raise ValueError(f"epsilon is not negative; got {epsilon}.")
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

    def reset_running_stats(self) -> None:
        """Also for `torch.optim.swa_utils.update_bn`, which leaves a frozen layer as it is."""
        if self.trainable:
            super().reset_running_stats()

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": 1 - self.momentum}

    def forward(self, x: Tensor, training: bool | None = None) -> Tensor:
        training = self.training if training is None else training
        axis = tensor_axis(self.axis, x.ndim, self.data_format)
        normalize = self._normalize_by_batch if training and self.trainable else self._normalize
        return normalize(x) if axis == 1 else normalize(x.movedim(axis, 1)).movedim(1, axis)

    def _normalize(self, x: Tensor) -> Tensor:
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )

    def _normalize_by_batch(self, x: Tensor) -> Tensor:
        self.num_batches_tracked.add_(1)
        momentum = self.momentum
        if momentum is None:  # as torch: for the mean of all batches so far
            momentum = 1 / self.num_batches_tracked.item()
        if self.synchronized and dist.is_available() and dist.is_initialized():
            return self._normalize_by_all_batches(x, momentum)
        # torch's update takes the unbiased variance n / (n - 1) * var; Keras's takes var itself.
        n = x.numel() // x.shape[1]
        kept = 1 - momentum
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
            momentum,
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

    def _normalize_by_all_batches(self, x: Tensor, momentum: float) -> Tensor:
        """Normalises by the statistics of all processes' batches together."""
        axes = [axis for axis in range(x.ndim) if axis != 1]
        size = x.new_tensor([x.numel() // x.shape[1]])
        sums = _SumOverProcesses.apply(torch.cat([x.sum(axes), size]))
        count = sums[-1]
        mean = sums[:-1] / count
        shape = [1, -1] + [1] * (x.ndim - 2)
        centered = x - mean.view(shape)
        variance = _SumOverProcesses.apply(centered.square().sum(axes)) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance, momentum)
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


class _SampleNormalization(Layer):
    """What the normalisations share that work within each sample: gamma and beta."""

    built = False
    makes_new_tensor = True
    gamma_initializer: Any = "ones"
    beta_initializer: Any = "zeros"

    def __init__(
        self,
        epsilon: float,
        center: bool,
        scale: bool,
        beta_initializer: Any,
        gamma_initializer: Any,
        beta_regularizer: dict | None,
        gamma_regularizer: dict | None,
        beta_constraint: dict | None,
        gamma_constraint: dict | None,
        name: str | None,
        trainable: bool,
    ):
        super().__init__(name=name, trainable=trainable)
        self.epsilon = epsilon
        self.center = center
        self.scale = scale
        self.beta_initializer = beta_initializer
        self.gamma_initializer = gamma_initializer
        self.beta_regularizer = beta_regularizer
        self.gamma_regularizer = gamma_regularizer
        self.beta_constraint = beta_constraint
        self.gamma_constraint = gamma_constraint

    def _add_parameters(self, shape: Sequence[int]) -> None:
        if self.scale:
            self.weight = nn.Parameter(torch.empty(shape))
        if self.center:
            self.bias = nn.Parameter(torch.empty(shape))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        if self.weight is not None:
            fill_(self.weight, self.gamma_initializer, tuple(self.weight.shape))
        if self.bias is not None:
            fill_(self.bias, self.beta_initializer, tuple(self.bias.shape))


class LayerNormalization(_SampleNormalization):
    """Layer normalisation (`keras.layers.LayerNormalization`). Takes and gives any shape.

    Its native class is an `nn.LayerNorm`; of an image the last axis of Keras's, the channels, is
    normalised where the tensor has it.

    Args:
        axis: the axis of Keras's layout, or several, that are normalised together and have a gamma
            and a beta for each position.
        epsilon: what is added to the variance.
        center: whether beta is added.
        scale: whether gamma is multiplied.
        beta_initializer, gamma_initializer: names or configs of Keras's initialisers.
        beta_regularizer, gamma_regularizer, beta_constraint, gamma_constraint: configs of Keras,
            carried along.
        name, trainable: see `Layer`.

    Raises:
        ValueError: the input has no such axes, or their sizes are unknown or others.
    """

    axis: int | list[int] = -1

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: dict | None = None,
        gamma_regularizer: dict | None = None,
        beta_constraint: dict | None = None,
        gamma_constraint: dict | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(
            epsilon,
            center,
            scale,
            beta_initializer,
            gamma_initializer,
            beta_regularizer,
            gamma_regularizer,
            beta_constraint,
            gamma_constraint,
            name,
            trainable,
        )
        self.axis = axis if isinstance(axis, int) else list(axis)

    def build(self, shape: Shape) -> None:
        sizes = self._sizes(shape)
        self.become(LayerNormalization.LayerNorm, sizes, self.epsilon, elementwise_affine=False)
        self.elementwise_affine = self.center or self.scale
        self._add_parameters(sizes)

    def compute_output_shape(self, shape: Shape) -> Shape:
        self._sizes(shape)
        return shape

    def _axes(self, rank: int) -> list[int]:
        axes = [self.axis] if isinstance(self.axis, int) else self.axis
        return sorted(keras_axis(axis, rank) for axis in axes)

    def _sizes(self, shape: Shape) -> Shape:
        sizes = tuple(shape[axis] for axis in self._axes(len(shape)))
        if None in sizes:
            raise ValueError(
                f"Layer {self.name!r} needs to know the sizes along axis {self.axis}; got {shape}."
            )
        if self.built and sizes != tuple(self.normalized_shape):
            raise ValueError(
                f"Layer {self.name!r} takes sizes {tuple(self.normalized_shape)} along axis "
                f"{self.axis}; got {shape}."
            )
        return sizes


@native(of=LayerNormalization)
class LayerNorm(LayerNormalization, nn.LayerNorm):
    built = True
    __init__ = nn.LayerNorm.__init__

    def forward(self, x: Tensor) -> Tensor:
        axes = [tensor_axis(axis, x.ndim, self.data_format) for axis in self._axes(x.ndim)]
        last = range(-len(axes), 0)
        y = F.layer_norm(
            x.movedim(axes, tuple(last)), self.normalized_shape, self.weight, self.bias, self.eps
        )
        return y.movedim(tuple(last), axes)


class GroupNormalization(_SampleNormalization):
    """Group normalisation (`keras.layers.GroupNormalization`). Takes and gives any shape.

    Its native class is an `nn.GroupNorm`.

    Args:
        groups: how many groups the features are normalised in; -1 for as many as features.
        axis: the axis of the features in Keras's layout.
        the others: see `LayerNormalization`.

    Raises:
        ValueError: the features are unknown, of another number, or do not divide into groups.
    """

    axis = -1

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: dict | None = None,
        gamma_regularizer: dict | None = None,
        beta_constraint: dict | None = None,
        gamma_constraint: dict | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(
            epsilon,
            center,
            scale,
            beta_initializer,
            gamma_initializer,
            beta_regularizer,
            gamma_regularizer,
            beta_constraint,
            gamma_constraint,
            name,
            trainable,
        )
        if not isinstance(groups, int) or (groups <= 0 and groups != -1):
            raise ValueError(f"groups is a positive integer or -1, not {groups!r}.")
        self.groups = groups
        self.axis = axis

    def build(self, shape: Shape) -> None:
        features = self._features(shape)
        self.groups = features if self.groups == -1 else self.groups
        if features % self.groups:
            raise ValueError(
                f"Layer {self.name!r}: {features} features do not divide into {self.groups} groups."
            )
        self.become(GroupNormalization.GroupNorm, self.groups, features, self.epsilon, affine=False)
        self.affine = self.center or self.scale
        self._add_parameters((features,))

    def compute_output_shape(self, shape: Shape) -> Shape:
        self._features(shape)
        return shape

    def _features(self, shape: Shape) -> int:
        features = shape[keras_axis(self.axis, len(shape))]
        if features is None:
            raise ValueError(
                f"Layer {self.name!r} needs to know the size of axis {self.axis}; got {shape}."
            )
        if self.built and features != self.num_channels:
            raise ValueError(
                f"Layer {self.name!r} takes {self.num_channels} features; got {features}."
            )
        return features


@native(of=GroupNormalization)
class GroupNorm(GroupNormalization, nn.GroupNorm):
    built = True
    __init__ = nn.GroupNorm.__init__

    def forward(self, x: Tensor) -> Tensor:
        axis = tensor_axis(self.axis, x.ndim, self.data_format)
        # Not `F.group_norm`, which refuses a single value for each channel.
        y = torch.group_norm(x.movedim(axis, 1), self.num_groups, self.weight, self.bias, self.eps)
        return y.movedim(1, axis)


class UnitNormalization(Layer):
    """Scales each vector along an axis to length 1 (`keras.layers.UnitNormalization`).

    Takes and gives any shape.

    Args:
        axis: an axis of Keras's layout, or several whose length is taken together.
        name, trainable: see `Layer`.

    Raises:
        ValueError: the input has no such axis.
    """

    def __init__(
        self, axis: int | Sequence[int] = -1, name: str | None = None, trainable: bool = True
    ):
        super().__init__(name=name, trainable=trainable)
        self.axis = axis if isinstance(axis, int) else list(axis)

    def compute_output_shape(self, shape: Shape) -> Shape:
        self._tensor_axes(len(shape))
        return shape

    def _tensor_axes(self, rank: int) -> list[int]:
        axes = [self.axis] if isinstance(self.axis, int) else self.axis
        return [tensor_axis(axis, rank, self.data_format) for axis in axes]

    def forward(self, x: Tensor) -> Tensor:
        squares = x.square().sum(self._tensor_axes(x.ndim), keepdim=True)
        return x * squares.rsqrt().clamp(max=1e12)  # Keras's bound, for vectors of zeros


class LayerScale(Layer):
    """Scales each channel by a learned factor, at first close to 0: ConvNeXt's.

    Takes and gives any shape whose last axis in Keras's layout is `projection_dim`.

    Args:
        init_values: what the factors are at first.
        projection_dim: the number of channels.
        name, trainable: see `Layer`.

    Raises:
        ValueError: the input has another number of channels.
    """

    built = False
    makes_new_tensor = True

    def __init__(
        self,
        init_values: float,
        projection_dim: int,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable)
        self.init_values = init_values
        self.projection_dim = positive(projection_dim, "projection_dim")

    def build(self, shape: Shape) -> None:
        self.compute_output_shape(shape)
        self.gamma = nn.Parameter(torch.empty(self.projection_dim))
        self.reset_parameters()
        self.built = True

    def reset_parameters(self) -> None:
        nn.init.constant_(self.gamma, self.init_values)

    def compute_output_shape(self, shape: Shape) -> Shape:
        if shape[-1] != self.projection_dim:
            raise ValueError(
                f"Layer {self.name!r} takes {self.projection_dim} channels; got {shape}."
            )
        return shape

    def forward(self, x: Tensor) -> Tensor:
        sizes = [1] * x.ndim
        sizes[tensor_axis(-1, x.ndim, self.data_format)] = -1
        return x * self.gamma.view(sizes)
