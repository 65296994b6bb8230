"""Memory that a process keeps between calls, instead of giving it back and asking anew."""

from __future__ import annotations

import ctypes
import platform

# Of glibc's malloc.h.
_M_MXFAST, _M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = 1, -1, -2, -4
_TOP_PAD = 1 << 29  # bytes: how much more than needed the process asks for at a time
_NEVER = 2**31 - 1  # bytes


def keep_memory() -> None:
    """Lets this process keep the memory of tensors that it frees, for the tensors to come.

    glibc gives large blocks back at once, and the system clears each page that it hands out again:
    a network's activations pay for that at every call. Call this once, before the first tensors;
    it holds for the whole process and cannot be taken back. The process then stays at the peak of
    what it has needed, and half a gigabyte of addresses more; only what is free when an optimised
    model has been prepared, in its first call, is given back once.

    It is on Linux with glibc. Elsewhere an allocator that keeps memory, such as jemalloc or
    tcmalloc, can be preloaded when the process starts.

    Raises:
        OSError: the process does not use glibc, or glibc refuses.
    """
    if platform.libc_ver()[0] != "glibc":
        raise OSError("keep_memory needs Linux with glibc; elsewhere preload jemalloc or tcmalloc.")
    libc = ctypes.CDLL(None)
    for parameter, value in (
        (_M_MMAP_MAX, 0),
        (_M_TRIM_THRESHOLD, _NEVER),
        (_M_TOP_PAD, _TOP_PAD),
        (_M_MXFAST, 0),  # small blocks set apart would be joined whenever a large one is asked for
    ):
        if not libc.mallopt(parameter, value):
            raise OSError(f"glibc refuses mallopt({parameter}, {value}).")


def give_back_memory() -> None:
    """Gives the system back what glibc has kept of memory that is free, as after preparing."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
