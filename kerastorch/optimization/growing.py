"""Values that grow by channels, as in DenseNet's blocks, without copies of what there is already.

Each layer of such a block takes all channels so far and adds some. Here all have their places in
one tensor from the beginning, and each layer sees the first of them. These do not lie side by side,
and oneDNN would copy them; so the batch normalisation and ReLU that take them become bounds of
numbers, and the convolutions behind do the rest.
"""

from __future__ import annotations

import functools
from collections import defaultdict

import torch
from torch import Tensor

from .. import activations
from ..engine.layout import tensor_axis
from ..engine.plan import Plan
from .fusing import Call, is_join
from .kernels import Affine, Bound


def grow_joined(calls: list[Call], plan: Plan, outputs: list[int]) -> list[Call]:
    """Has `Concatenate` layers add to the tensor that the one before has made."""
    blocks = _Blocks(calls, plan, outputs)
    replaced: dict[tuple[int, ...], Call] = {}
    for call in calls:
        grown = blocks.grown_from(call) if call.given not in replaced else []
        if len(grown) < 2:
            continue
        begin = functools.partial(_begin, blocks.channels(grown[-1]))
        for join in grown:
            function = begin if join is call else _append
            replaced[join.given] = Call(function, join.taken, join.given, join.module)
        for join in grown[:-1]:
            for norm, convolutions in blocks.bounded(join):
                bound = Bound(*norm.kernel.scale_and_shift)
                replaced[norm.given] = Call(bound, norm.taken, norm.given, norm.module)
                for convolution in convolutions:
                    convolution.kernel.take_scales(bound.scale, bound.shift)
    return [replaced.get(call.given, call) for call in calls]


class _Blocks:
    """What a program's calls are to one another.

    Args:
        see `grow_joined`.
    """

    def __init__(self, calls: list[Call], plan: Plan, outputs: list[int]):
        self._plan, self._outputs = plan, outputs
        self._takers: dict[int, list[Call]] = defaultdict(list)
        for call in calls:
            for slot in set(call.taken):
                self._takers[slot].append(call)

    def channels(self, join: Call) -> int | None:
        """How many a `Concatenate` layer gives; None for other calls, and on other axes."""
        slot = join.given[0]
        if not is_join(join) or len(self._plan.shapes[slot]) != 4:
            return None
        data_format = join.module.data_format
        if tensor_axis(join.module.axis, 4, data_format) != 1:
            return None
        return self._plan.shapes[slot][-1 if data_format == "channels_last" else 1]

    def grown_from(self, join: Call) -> list[Call]:
        """A `Concatenate` layer and those that add to what it gives, one after another."""
        grown = []
        following: Call | None = join
        while following is not None and self.channels(following) is not None:
            grown.append(following)
            following = self._next(following)
        return grown

    def _next(self, join: Call) -> Call | None:
        """The one that adds to what another gives, if it is the last to take that, and bounds will
        do for the others."""
        slot = join.given[0]
        *others, last = self._takers[slot] or [None]
        if last is None or slot in self._outputs or not is_join(last):
            return None
        fits = _takes_in_front(last, slot) and all(map(self._convolutions, others))
        return last if fits else None

    def bounded(self, join: Call) -> list[tuple[Call, list[Call]]]:
        """The calls for which bounds will do, and the convolutions behind each."""
        return [(norm, self._convolutions(norm)) for norm in self._takers[join.given[0]][:-1]]

    def _convolutions(self, norm: Call) -> list[Call]:
        """The convolutions behind a normalisation with a ReLU, for which bounds will do before
        them; none where there is anything else."""
        slot = norm.given[0]
        if slot in self._outputs or not _is_rectified_scale(norm):
            return []
        takers = self._takers[slot]
        fits = all(_takes_scales(one) and _takes_in_front(one, slot) for one in takers)
        return takers if fits else []


def _takes_in_front(call: Call, slot: int) -> bool:
    return call.taken[0] == slot and call.taken.count(slot) == 1


def _is_rectified_scale(call: Call) -> bool:
    """Whether it is one, of nothing else, and in a type whose roundings are small beside shifts."""
    kernel = call.kernel
    if not isinstance(kernel, Affine) or len(call.taken) != 1:
        return False
    return kernel.activation is activations.relu and kernel.dtype == torch.float32


def _takes_scales(call: Call) -> bool:
    return call.kernel is not None and call.kernel.takes_scales


def _begin(channels: int, *parts: Tensor) -> Tensor:
    """The parts one after another, at the front of a tensor for more channels, in channels_last."""
    batch, _, height, width = parts[0].shape
    whole = parts[0].new_empty(batch, height, width, channels).permute(0, 3, 1, 2)
    return _append(whole[:, :0], *parts)


def _append(grown: Tensor, *parts: Tensor) -> Tensor:
    """What there is so far and, written behind it into the same tensor, the parts."""
    batch, start, height, width = grown.shape
    channels = start + sum(part.shape[1] for part in parts)
    wider = grown.as_strided((batch, channels, height, width), grown.stride())
    torch.cat(parts, 1, out=wider[:, start:])
    return wider
