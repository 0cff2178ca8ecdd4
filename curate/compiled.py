"""Compiled kernels: Numba's compiler behind one typed decorator."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., object])


def compiled(kernel: Kernel) -> Kernel:
    """The function, compiled at its first call for the types it is given and kept on disk for later processes.

    One thread, and IEEE arithmetic in the order written: equal inputs give equal bytes. Each kernel has a plain twin in
    the tests.
    """
    fast: Kernel = numba.njit(kernel, cache=True, fastmath=False, nogil=True)
    return fast
