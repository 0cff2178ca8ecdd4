"""Compiled kernels: Numba's compiler behind one typed decorator."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., object])


def compiled(kernel: Kernel) -> Kernel:
    """The function, compiled at its first call for the types it is given and kept on disk for later processes.

    One thread, and IEEE arithmetic in the order written: equal inputs give equal bytes. Division by 0 is numpy's, inf
    or nan: the check that Python makes would keep loops from becoming vector instructions. Each kernel has a plain twin
    in the tests.
    """
    fast: Kernel = numba.njit(kernel, cache=True, fastmath=False, nogil=True, error_model="numpy")
    return fast


def _keep_by_source() -> None:
    """Keep compiled kernels in a folder named after the sources of all of them.

    Numba looks only at the file of the kernel that is called: one that calls a kernel of another file would be taken
    for fresh after that file has changed. Where the folder cannot be written, Numba finds a place of its own.
    """
    home = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(home.rglob("*.py")):
        source = path.read_bytes()
        if b"\n@compiled\n" in source or path == Path(__file__):
            digest.update(str(path.relative_to(home)).encode() + b"\0" + source)
    if os.access(home, os.W_OK):
        folder = home / "__pycache__" / f"kernels-{digest.hexdigest()[:12]}"
        numba.config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]


_keep_by_source()
