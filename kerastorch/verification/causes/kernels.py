"""The order of a kernel's values, and kernels in each other's places."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from .case import Case, Trial, twin, with_tensor, with_tensors


def _kernels(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for key, tensor in module.state_dict(keep_vars=True).items():
        if tensor.is_floating_point() and tensor.ndim >= 2:
            yield key, tensor.detach()


def kernel_order(case: Case) -> Iterator[Trial]:
    for key, kernel in _kernels(case.module):
        for name, other in _orders(kernel):
            if other.shape == kernel.shape:
                yield (
                    f"The kernel here is {name}.",
                    lambda key=key, other=other: case.run(with_tensor(case.module, key, other)),
                )


def _orders(kernel: Tensor) -> Iterator[tuple[str, Tensor]]:
    """What is right where a kernel in torch's order has been turned in a known way."""
    if kernel.ndim == 4:
        out, inner, height, width = kernel.shape
        yield "turned by 180 degrees, as Theano's are", kernel.flip((2, 3))
        yield "upside down", kernel.flip((2,))
        yield "flipped from left to right", kernel.flip((3,))
        turned = kernel.transpose(2, 3)
        yield "transposed: its height and width are exchanged", turned
        yield "transposed and turned by 180 degrees", turned.flip((2, 3))
        yield "transposed: its inputs and outputs are exchanged", kernel.transpose(0, 1)
        raw = kernel.reshape(height, width, inner, out).permute(3, 2, 0, 1)
        yield "reshaped from Keras's order without transposing it", raw
        if inner == 1:
            yield from _depthwise_orders(kernel)
    elif kernel.ndim == 2:
        out, inner = kernel.shape
        yield "transposed", kernel.t()
        yield "reshaped from Keras's order without transposing it", kernel.reshape(inner, out).t()
        for height, width in _maps_of(inner):
            rows = kernel.unflatten(1, (inner // (height * width), height, width))
            yield (
                f"in the order (channels, {height}, {width}) of the values flattened before, not "
                f"({height}, {width}, channels)",
                rows.permute(0, 2, 3, 1).flatten(1),
            )


def _maps_of(size: int) -> Iterator[tuple[int, int]]:
    """The heights and widths of images of this many values, nearly square ones first."""
    sides = [side for side in range(1, 65) if size % side == 0]
    maps = [(h, w) for h in sides for w in sides if h * w > 1 and size % (h * w) == 0]
    return iter(sorted(maps, key=lambda sides: abs(sides[0] - sides[1]))[:64])


def _is_telling(theirs: Tensor | None, ours: Tensor) -> bool:
    """Whether a tensor could be in another's place, and is not one that all layers begin with."""
    return theirs is not None and theirs.shape == ours.shape and bool((theirs != theirs[0]).any())


def _depthwise_orders(kernel: Tensor) -> Iterator[tuple[str, Tensor]]:
    out, _, height, width = kernel.shape
    for multiplier in range(2, 9):
        if out % multiplier == 0:
            apart = kernel.unflatten(0, (multiplier, out // multiplier))
            yield (
                f"in the order of its {multiplier} multiples, not of its channels",
                apart.transpose(0, 1).flatten(0, 1),
            )


def channel_order(case: Case) -> Iterator[Trial]:
    x = case.x
    if case.call.class_name == "InputLayer" and x.ndim == 4:
        yield (
            "The input's channels come in the opposite order: RGB for BGR, or BGR for RGB.",
            lambda: case.run(twin(case.module), x.flip(1)),
        )
    for key, kernel in _kernels(case.module):
        if kernel.ndim == 4 and kernel.shape[1] > 1:
            yield (
                "The kernel's input channels come in the opposite order: it is for BGR where the "
                "input is RGB, or for RGB where it is BGR.",
                lambda key=key, kernel=kernel: case.run(
                    with_tensor(case.module, key, kernel.flip(1))
                ),
            )


def exchanged_weights(case: Case) -> Iterator[Trial]:
    own = case.module.state_dict()
    for path, peer in case.peers:
        if peer is case.module:
            continue
        theirs = peer.state_dict()
        for key, tensor in own.items():
            if tensor.ndim and _is_telling(theirs.get(key), tensor):
                yield (
                    f"The {key} here belongs elsewhere: with that of {path} the layer agrees.",
                    lambda key=key, value=theirs[key]: case.run(
                        with_tensor(case.module, key, value)
                    ),
                )
        if len(own) > 1 and {k: t.shape for k, t in own.items()} == {
            k: t.shape for k, t in theirs.items()
        }:
            yield (
                f"The weights here belong elsewhere: with all those of {path} the layer agrees.",
                lambda theirs=theirs: case.run(with_tensors(case.module, theirs)),
            )
