"""Numba's compiler behind one decorator. Import a module of kernels only where a kernel is about to run."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

Kernel = TypeVar("Kernel", bound=Callable[..., object])


def compiled(kernel: Kernel) -> Kernel:
    """Return the function, compiled at its first call for each argument type and cached on disk.

    One thread and IEEE arithmetic in the order written: equal inputs give equal bytes. Division by 0 gives inf or nan,
    as in numpy; Python's check would prevent vectorisation. A kernel may call kernels of its own folder only, because
    the cache is renewed when a kernel file of that folder changes. Each kernel has a plain reference implementation in
    the tests.
    """
    import numba

    _announce_compilation()
    folder = Path(kernel.__code__.co_filename).parent
    settings: Any = numba.config
    configured = settings.CACHE_DIR  # of NUMBA_CACHE_DIR
    settings.CACHE_DIR = configured or _cache_folder(folder)
    try:
        fast: Kernel = numba.njit(kernel, cache=True, fastmath=False, nogil=True, error_model="numpy")
    finally:
        settings.CACHE_DIR = configured
    return fast


@cache
def _cache_folder(folder: Path) -> str:
    """The cache folder of one folder of kernels, named after their sources; "" (Numba's default) if not writable.

    Numba itself checks the file of the called kernel only, not the files of the kernels that it calls.
    """
    if not os.access(folder, os.W_OK):
        return ""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        source = path.read_bytes()
        if b"\n@compiled\n" in source:
            digest.update(path.name.encode() + b"\0" + source)
    return str(folder / "__pycache__" / f"kernels-{digest.hexdigest()[:12]}")


@cache
def _announce_compilation() -> None:
    """Write one line to stderr when this process compiles its first kernel, which takes seconds."""
    from numba.core import event

    class Announcement(event.Listener):
        announced = False

        def on_start(self, _: Any) -> None:
            if not self.announced:
                self.announced = True
                sys.stderr.write("Compiling numerical kernels (a few seconds, once per installation) …\n")

        def on_end(self, _: Any) -> None:
            pass

    event.register("numba:compile", Announcement())  # type: ignore[no-untyped-call]
