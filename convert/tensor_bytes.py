"""Writing tensors row after row, whatever their order in memory, in blocks."""

from __future__ import annotations

from typing import BinaryIO

import torch
from torch import Tensor

BLOCK = 16 * 2**20  # bytes


def write_tensor(file: BinaryIO, tensor: Tensor) -> None:
    """Writes the values of a tensor, the last axis running fastest."""
    if not tensor.numel():
        return
    rows = max(1, BLOCK * len(tensor) // tensor.nbytes) if tensor.ndim else 1
    for block in tensor.split(rows) if tensor.ndim else [tensor]:
        file.write(_in_order(block.cpu()).reshape(-1).view(torch.uint8).numpy())


def _in_order(tensor: Tensor) -> Tensor:
    """`contiguous` in three steps, each of which torch does several times as fast as the one.

    The axis that runs fastest in memory is brought together, then goes to the front as the rows of
    a matrix become its columns, and then the other axes find their places.
    """
    if tensor.is_contiguous():
        return tensor
    *others, fastest = sorted(range(tensor.ndim), key=tensor.stride, reverse=True)
    matrix = tensor.permute(*others, fastest).contiguous().view(-1, tensor.shape[fastest])
    turned = matrix.t().contiguous().view(-1, *(tensor.shape[axis] for axis in others))
    placed = [fastest, *others]
    return turned.permute([placed.index(axis) for axis in range(tensor.ndim)]).contiguous()
