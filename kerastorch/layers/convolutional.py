"""Convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ..activations import get as get_activation
from ..activations import linear
from ..engine.layer import Layer, native
from ..engine.layout import Shape, join_shape, split_shape, transpose_sequence
from ..initializers import fill_
from .activation import DefaultActivation, activate, activate_own
from .padding import (
    Margins,
    check_padding,
    convolve_padded,
    output_sizes,
    per_axis,
    positive,
    same_margins,
    same_padding,
    transposed_size,
)


class _NamedPadding:
    """What torch's convolutions get here: paddings that Keras names, and Keras's initialisers."""

    kernel_initializer: Any = "glorot_uniform"
    bias_initializer: Any = "zeros"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] = 1,
        padding: str | int | tuple[int, ...] = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device=None,
        dtype=None,
    ):
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            0 if padding in ("same", "causal") else padding,  # torch refuses "same" with a stride
            dilation,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )
        if isinstance(padding, str):
            self.padding = padding

    def reset_parameters(self) -> None:
        fill_(
            self.weight, self.kernel_initializer, self.keras_kernel_shape, self._from_keras_kernel
        )
        if self.bias is not None:
            fill_(self.bias, self.bias_initializer, tuple(self.bias.shape))

    @property
    def use_bias(self) -> bool:
        return self.bias is not None  # also where it came later, as in a fusion with a batch norm

    @property
    def keras_kernel_shape(self) -> tuple[int, ...]:
        return (*self.kernel_size, self.in_channels // self.groups, self.out_channels)

    @staticmethod
    def _from_keras_kernel(kernel: Tensor) -> Tensor:
        return kernel.permute(-1, -2, *range(kernel.ndim - 2))


class SamePaddedConv2d(_NamedPadding, nn.Conv2d):
    """`nn.Conv2d` with TensorFlow's `padding="same"` for any stride, initialised as by Keras."""

    def forward(self, x: Tensor, margins: Margins | None = None) -> Tensor:
        return self.convolve(x, margins)

    def convolve(self, x: Tensor, margins: Margins | None = None) -> Tensor:
        """The convolution of an image, with margins of zeros around it if there are any."""
        if self.padding == "same":
            margins = same_margins(x.shape[2:], self.kernel_size, self.stride, self.dilation)
        if margins is None:
            return self._conv_forward(x, self.weight, self.bias)
        return convolve_padded(
            x, self.weight, self.bias, self.stride, margins, self.dilation, self.groups
        )


class SamePaddedDepthwiseConv2d(SamePaddedConv2d):
    """The depthwise case: one group a channel."""

    @property
    def keras_kernel_shape(self) -> tuple[int, ...]:
        return (*self.kernel_size, self.in_channels, self.out_channels // self.in_channels)

    @staticmethod
    def _from_keras_kernel(kernel: Tensor) -> Tensor:
        return kernel.permute(2, 3, 0, 1).flatten(0, 1).unsqueeze(1)


class _Convolution(Layer):
    """What the convolutions share: windows, padding, and an activation on the result."""

    built = False
    makes_new_tensor = True
    activation = DefaultActivation()
    spatial_axes = 2
    paddings = ("valid", "same")

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int],
        padding: str,
        data_format: str | None,
        dilation_rate: int | Sequence[int],
        activation: Any,
        use_bias: bool,
        name: str | None,
        trainable: bool,
    ):
        super().__init__(name=name, trainable=trainable, data_format=data_format)
        self.kernel_size = per_axis(kernel_size, self.spatial_axes, "kernel_size")
        self.strides = per_axis(strides, self.spatial_axes, "strides")
        self.padding = check_padding(padding, self.paddings)
        self.dilation_rate = per_axis(dilation_rate, self.spatial_axes, "dilation_rate")
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                f"strides > 1 and dilation_rate > 1 exclude each other; got {self.strides} and "
                f"{self.dilation_rate}."
            )
        self.activation = get_activation(activation)
        self.use_bias = use_bias

    def _output_channels(self, channels: int) -> int:
        raise NotImplementedError

    def compute_output_shape(self, shape: Shape) -> Shape:
        spatial, channels = self._check_input(shape)
        return join_shape(
            shape[0],
            self._output_sizes(spatial),
            self._output_channels(channels),
            self.data_format,
        )

    def _output_sizes(self, sizes: Shape) -> Shape:
        return output_sizes(sizes, self.kernel_size, self.strides, self.padding, self.dilation_rate)

    def _check_input(self, shape: Shape) -> tuple[Shape, int]:
        """The spatial sizes and the channels of an input that fits."""
        rank = self.spatial_axes + 2
        if len(shape) != rank:
            raise ValueError(
                f"Layer {self.name!r} takes inputs of rank {rank}; got the shape {shape}."
            )
        spatial, channels = split_shape(shape, self.data_format)
        if channels is None:
            raise ValueError(f"Layer {self.name!r} needs to know its channels; got {shape}.")
        expected = self._input_channels if self.built else channels
        if channels != expected:
            raise ValueError(f"Layer {self.name!r} takes {expected} channels; got {channels}.")
        return spatial, channels

    @property
    def _input_channels(self) -> int:
        return self.in_channels

    def _check_groups(self, channels: int) -> None:
        if channels % self.groups or self.filters % self.groups:
            raise ValueError(
                f"Layer {self.name!r}: {channels} channels and {self.filters} filters do not "
                f"divide into {self.groups} groups."
            )


class _Convolution2D(_Convolution):
    """The convolutions that also take margins of zeros that a layer before has left to them.

    Attributes:
        margins: what an optimised model has always left to this layer.
    """

    margins: Margins | None = None

    @property
    def backward_takes_output(self) -> bool:
        return self.activation is not linear or bool(self._modules)

    @property
    def takes_margins(self) -> bool:
        return self.padding == "valid" and self.margins is None

    def forward(self, x: Tensor, margins: Margins | None = None) -> Tensor:
        y = self.convolve(x, self.margins if margins is None else margins)
        is_own = not self._modules  # else somebody may look at what a child has given
        return (activate_own if is_own else activate)(self.activation, y, self.data_format)

    def _output_sizes(self, sizes: Shape) -> Shape:
        if self.margins is not None:
            sizes = tuple(
                size and size + sum(ends) for size, ends in zip(sizes, self.margins, strict=True)
            )
        return super()._output_sizes(sizes)


class Conv1D(_Convolution):
    """1-D convolution (`keras.layers.Conv1D`).

    Takes (N, L, C) and gives (N, L', filters), or (N, C, L) and (N, filters, L') where the data
    format is channels first. Its native class is an `nn.Conv1d`.

    Args:
        filters: the number of output channels.
        kernel_size: length of the window.
        strides: step of the window; where > 1, `dilation_rate` must be 1.
        padding: `"valid"` (none), `"same"` (ceil(L / stride) outputs, the larger half of the zeros
            at the end) or `"causal"` (all zeros at the start, so that no output depends on later
            inputs).
        the others: see `Conv2D`.

    Raises:
        ValueError: an argument is out of range, or the input has another rank or number of
            channels.
    """

    spatial_axes = 1
    paddings = ("valid", "same", "causal")
    kernel_initializer: Any = "glorot_uniform"
    bias_initializer: Any = "zeros"

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = 1,
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: dict | None = None,
        bias_regularizer: dict | None = None,
        activity_regularizer: dict | None = None,
        kernel_constraint: dict | None = None,
        bias_constraint: dict | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(
            kernel_size,
            strides,
            padding,
            data_format,
            dilation_rate,
            activation,
            use_bias,
            name,
            trainable,
        )
        self.filters = positive(filters, "filters")
        self.groups = positive(groups, "groups")
        self.kernel_initializer = kernel_initializer
        self.bias_initializer = bias_initializer
        self.kernel_regularizer = kernel_regularizer
        self.bias_regularizer = bias_regularizer
        self.activity_regularizer = activity_regularizer
        self.kernel_constraint = kernel_constraint
        self.bias_constraint = bias_constraint

    def build(self, shape: Shape) -> None:
        _, channels = self._check_input(shape)
        self._check_groups(channels)
        self.become(
            Conv1D.Conv1d,
            channels,
            self.filters,
            self.kernel_size,
            self.strides,
            self.padding,
            self.dilation_rate,
            self.groups,
            self.use_bias,
        )

    def _output_channels(self, channels: int) -> int:
        return self.filters


@native(of=Conv1D)
class Conv1d(Conv1D, _NamedPadding, nn.Conv1d):
    built = True
    __init__ = _NamedPadding.__init__

    def forward(self, x: Tensor) -> Tensor:
        x = transpose_sequence(x, self.data_format)
        padding = self.padding
        if padding in ("same", "causal"):
            before, after = self._margins(x.shape[2])
            padding = before if before == after else 0
            x = x if before == after else F.pad(x, (before, after))
        y = F.conv1d(x, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)
        return activate(self.activation, transpose_sequence(y, self.data_format), self.data_format)

    def _margins(self, size: int) -> tuple[int, int]:
        (kernel,), (stride,), (dilation,) = self.kernel_size, self.stride, self.dilation
        if self.padding == "causal":
            return (kernel - 1) * dilation, 0
        return same_padding(size, kernel, stride, dilation)


class Conv2D(_Convolution2D):
    """2-D convolution (`keras.layers.Conv2D`).

    Takes (N, C, H, W) and gives (N, filters, H', W'). Its native class is an `nn.Conv2d`.

    Args:
        filters: the number of output channels.
        kernel_size: height and width of the window, in pixels.
        strides: steps of the window; where > 1, `dilation_rate` must be 1.
        padding: `"valid"` (none) or `"same"` (ceil(size / stride) outputs, the larger half of the
            zeros at the end).
        data_format: see `Layer`.
        dilation_rate: the distance of the window's samples.
        groups: how many groups the channels are convolved in.
        activation: a name of Keras's, a function or None.
        use_bias: whether a bias is added.
        kernel_initializer, bias_initializer: names or configs of Keras's initialisers.
        kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint,
            bias_constraint: configs of Keras, carried along for Keras; weight decay is the torch
                optimiser's.
        name, trainable: see `Layer`.

    Raises:
        ValueError: an argument is out of range, or the input has another rank or number of
            channels.
    """

    kernel_initializer: Any = "glorot_uniform"
    bias_initializer: Any = "zeros"

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = (1, 1),
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = (1, 1),
        groups: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: dict | None = None,
        bias_regularizer: dict | None = None,
        activity_regularizer: dict | None = None,
        kernel_constraint: dict | None = None,
        bias_constraint: dict | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(
            kernel_size,
            strides,
            padding,
            data_format,
            dilation_rate,
            activation,
            use_bias,
            name,
            trainable,
        )
        self.filters = positive(filters, "filters")
        self.groups = positive(groups, "groups")
        self.kernel_initializer = kernel_initializer
        self.bias_initializer = bias_initializer
        self.kernel_regularizer = kernel_regularizer
        self.bias_regularizer = bias_regularizer
        self.activity_regularizer = activity_regularizer
        self.kernel_constraint = kernel_constraint
        self.bias_constraint = bias_constraint

    def build(self, shape: Shape) -> None:
        _, channels = self._check_input(shape)
        self._check_groups(channels)
        self.become(
            Conv2D.Conv2d,
            channels,
            self.filters,
            self.kernel_size,
            self.strides,
            self.padding,
            self.dilation_rate,
            self.groups,
            self.use_bias,
        )

    def _output_channels(self, channels: int) -> int:
        return self.filters


@native(of=Conv2D)
class Conv2d(Conv2D, SamePaddedConv2d):
    built = True
    __init__ = SamePaddedConv2d.__init__


class DepthwiseConv2D(_Convolution2D):
    """Depthwise 2-D convolution (`keras.layers.DepthwiseConv2D`): each channel on its own.

    Takes (N, C, H, W) and gives (N, C * depth_multiplier, H', W'). Its native class is an
    `nn.Conv2d` with one group a channel.

    Args:
        depth_multiplier: how many outputs each channel has.
        depthwise_initializer: name or config of Keras's initialiser for the kernel.
        the others: see `Conv2D`.
    """

    depthwise_initializer: Any = "glorot_uniform"
    bias_initializer: Any = "zeros"

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = (1, 1),
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = (1, 1),
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: dict | None = None,
        bias_regularizer: dict | None = None,
        activity_regularizer: dict | None = None,
        depthwise_constraint: dict | None = None,
        bias_constraint: dict | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(
            kernel_size,
            strides,
            padding,
            data_format,
            dilation_rate,
            activation,
            use_bias,
            name,
            trainable,
        )
        self.depth_multiplier = positive(depth_multiplier, "depth_multiplier")
        self.depthwise_initializer = depthwise_initializer
        self.bias_initializer = bias_initializer
        self.depthwise_regularizer = depthwise_regularizer
        self.bias_regularizer = bias_regularizer
        self.activity_regularizer = activity_regularizer
        self.depthwise_constraint = depthwise_constraint
        self.bias_constraint = bias_constraint

    def build(self, shape: Shape) -> None:
        _, channels = self._check_input(shape)
        self.become(
            DepthwiseConv2D.DepthwiseConv2d,
            channels,
            channels * self.depth_multiplier,
            self.kernel_size,
            self.strides,
            self.padding,
            self.dilation_rate,
            channels,
            self.use_bias,
        )

    def _output_channels(self, channels: int) -> int:
        return channels * self.depth_multiplier


@native(of=DepthwiseConv2D)
class DepthwiseConv2d(DepthwiseConv2D, SamePaddedDepthwiseConv2d):
    built = True
    __init__ = SamePaddedDepthwiseConv2d.__init__

    @property
    def kernel_initializer(self) -> Any:
        return self.depthwise_initializer


class SeparableConv2D(_Convolution2D):
    """Depthwise separable 2-D convolution (`keras.layers.SeparableConv2D`).

    Takes (N, C, H, W) and gives (N, filters, H', W'). Its children `depthwise` and `pointwise` are
    `nn.Conv2d`s, so the keys in `state_dict` are `depthwise.weight`, `pointwise.weight` and
    `pointwise.bias`.

    Args:
        filters: the number of output channels.
        depth_multiplier: how many outputs each channel of the depthwise step has.
        depthwise_initializer, pointwise_initializer: names or configs of Keras's initialisers.
        the others: see `Conv2D`.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = (1, 1),
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = (1, 1),
        depth_multiplier: int = 1,
        activation: Any = None,
        use_bias: bool = True,
        depthwise_initializer: Any = "glorot_uniform",
        pointwise_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        depthwise_regularizer: dict | None = None,
        pointwise_regularizer: dict | None = None,
        bias_regularizer: dict | None = None,
        activity_regularizer: dict | None = None,
        depthwise_constraint: dict | None = None,
        pointwise_constraint: dict | None = None,
        bias_constraint: dict | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(
            kernel_size,
            strides,
            padding,
            data_format,
            dilation_rate,
            activation,
            use_bias,
            name,
            trainable,
        )
        self.filters = positive(filters, "filters")
        self.depth_multiplier = positive(depth_multiplier, "depth_multiplier")
        self.depthwise_initializer = depthwise_initializer
        self.pointwise_initializer = pointwise_initializer
        self.bias_initializer = bias_initializer
        self.depthwise_regularizer = depthwise_regularizer
        self.pointwise_regularizer = pointwise_regularizer
        self.bias_regularizer = bias_regularizer
        self.activity_regularizer = activity_regularizer
        self.depthwise_constraint = depthwise_constraint
        self.pointwise_constraint = pointwise_constraint
        self.bias_constraint = bias_constraint

    def build(self, shape: Shape) -> None:
        _, channels = self._check_input(shape)
        between = channels * self.depth_multiplier
        self.depthwise = SamePaddedDepthwiseConv2d(
            channels,
            between,
            self.kernel_size,
            self.strides,
            self.padding,
            self.dilation_rate,
            channels,
            bias=False,
        )
        self.pointwise = SamePaddedConv2d(between, self.filters, 1, bias=self.use_bias)
        self.built = True
        self.reset_parameters()

    def reset_parameters(self) -> None:
        self.depthwise.kernel_initializer = self.depthwise_initializer
        self.pointwise.kernel_initializer = self.pointwise_initializer
        self.pointwise.bias_initializer = self.bias_initializer
        self.depthwise.reset_parameters()
        self.pointwise.reset_parameters()

    def _output_channels(self, channels: int) -> int:
        return self.filters

    @property
    def _input_channels(self) -> int:
        return self.depthwise.in_channels

    def convolve(self, x: Tensor, margins: Margins | None = None) -> Tensor:
        return self.pointwise(self.depthwise(x, margins))


class Conv2DTranspose(_Convolution):
    """Transposed 2-D convolution (`keras.layers.Conv2DTranspose`): the gradient of a `Conv2D`.

    Takes (N, C, H, W) and gives (N, filters, H', W'). Its native class is an `nn.ConvTranspose2d`.

    Args:
        filters: the number of output channels.
        kernel_size: height and width of the window, in pixels.
        strides: how many outputs lie between the windows of two inputs; where > 1, `dilation_rate`
            must be 1.
        padding: `"valid"` (whole windows) or `"same"` (size * stride outputs; the larger half of
            what is cut off lies at the end).
        output_padding: fixes the outputs' size, to (size - 1) * stride + output_padding plus the
            window's size with `"valid"` and plus its parity with `"same"`; None for Keras's choice.
        the others: see `Conv2D`.

    Raises:
        ValueError: an argument is out of range, or the input has another rank or number of
            channels.
    """

    kernel_initializer: Any = "glorot_uniform"
    bias_initializer: Any = "zeros"
    output_padding: tuple[int, int] | None = None

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = (1, 1),
        padding: str = "valid",
        output_padding: int | Sequence[int] | None = None,
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = (1, 1),
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: dict | None = None,
        bias_regularizer: dict | None = None,
        activity_regularizer: dict | None = None,
        kernel_constraint: dict | None = None,
        bias_constraint: dict | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(
            kernel_size,
            strides,
            padding,
            data_format,
            dilation_rate,
            activation,
            use_bias,
            name,
            trainable,
        )
        self.filters = positive(filters, "filters")
        if output_padding is not None:
            self.output_padding = per_axis(output_padding, 2, "output_padding", least=0)
            self._check_output_padding()
        self.kernel_initializer = kernel_initializer
        self.bias_initializer = bias_initializer
        self.kernel_regularizer = kernel_regularizer
        self.bias_regularizer = bias_regularizer
        self.activity_regularizer = activity_regularizer
        self.kernel_constraint = kernel_constraint
        self.bias_constraint = bias_constraint

    def _check_output_padding(self) -> None:
        for extra, kernel, stride, dilation in zip(
            self.output_padding, self.kernel_size, self.strides, self.dilation_rate, strict=True
        ):
            if extra >= stride:
                raise ValueError(
                    f"output_padding is less than strides; got {self.output_padding} and "
                    f"{self.strides}."
                )
            span = (kernel - 1) * dilation + 1
            if self.padding == "same" and span % 2 == 0 and extra == 0:
                raise ValueError(
                    "output_padding is positive where padding is 'same' and a window's size even."
                )

    def build(self, shape: Shape) -> None:
        _, channels = self._check_input(shape)
        self.become(
            Conv2DTranspose.ConvTranspose2d,
            channels,
            self.filters,
            self.kernel_size,
            self.strides,
            self.padding,
            self.output_padding,
            bias=self.use_bias,
            dilation=self.dilation_rate,
        )

    def _output_channels(self, channels: int) -> int:
        return self.filters

    def _output_sizes(self, sizes: Shape) -> Shape:
        extras = self.output_padding or (None, None)
        return tuple(
            transposed_size(size, k, s, self.padding, d, extra)
            for size, k, s, d, extra in zip(
                sizes, self.kernel_size, self.strides, self.dilation_rate, extras, strict=True
            )
        )


@native(of=Conv2DTranspose)
class ConvTranspose2d(Conv2DTranspose, nn.ConvTranspose2d):
    built = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: str | int | tuple[int, int] = 0,
        output_padding: int | tuple[int, int] | None = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | tuple[int, int] = 1,
        padding_mode: str = "zeros",
        device=None,
        dtype=None,
    ):
        is_named = isinstance(padding, str)
        nn.ConvTranspose2d.__init__(
            self,
            in_channels,
            out_channels,
            kernel_size,
            stride,
            0 if is_named else padding,
            0 if is_named else output_padding,
            groups,
            bias,
            dilation,
            padding_mode,
            device,
            dtype,
        )
        if is_named:  # with output_padding in Keras's sense
            self.padding, self.output_padding = padding, output_padding

    def extra_repr(self) -> str:
        if self.output_padding is not None:
            return super().extra_repr()
        # Torch's own asks for its length.
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, padding={self.padding}"
        )

    @property
    def use_bias(self) -> bool:
        return self.bias is not None

    def reset_parameters(self) -> None:
        shape = (*self.kernel_size, self.out_channels // self.groups, self.in_channels)
        fill_(self.weight, self.kernel_initializer, shape, _NamedPadding._from_keras_kernel)
        if self.bias is not None:
            fill_(self.bias, self.bias_initializer, (self.out_channels,))

    def forward(self, x: Tensor) -> Tensor:
        is_named = isinstance(self.padding, str)
        y = self._transposed(x) if is_named else nn.ConvTranspose2d.forward(self, x)
        return activate(self.activation, y, self.data_format)

    def _transposed(self, x: Tensor) -> Tensor:
        """Whole windows, cut down or filled up to the size of the output."""
        sizes, cuts, fills = [], [], []
        extras = self.output_padding or (None, None)
        for size, k, s, d, extra in zip(
            x.shape[2:], self.kernel_size, self.stride, self.dilation, extras, strict=True
        ):
            output = transposed_size(size, k, s, self.padding, d, extra)
            whole = (size - 1) * s + (k - 1) * d + 1
            sizes.append(output)
            cuts.append(max(whole - output, 0) // 2)
            fills.append(max(output - whole, 0))
        y = F.conv_transpose2d(
            x, self.weight, self.bias, self.stride, cuts, fills, self.groups, self.dilation
        )
        # torch cuts off as much at the end as at the start, TensorFlow up to one more.
        height, width = sizes
        return y[:, :, :height, :width]
