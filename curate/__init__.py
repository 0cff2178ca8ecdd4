"""curate: crowdsourced pairwise votes to rankings one can trust. ``curate.open(path)`` is the store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curate.store import Store

__all__ = ["open"]


def open(path: str | Path = "curate.duckdb", *, read_only: bool = True) -> Store:  # noqa: A001
    """The store at ``path``, for reading unless told otherwise: ``curate.open("curate.duckdb").rankings()``.

    Raises CurateError when it is missing, is not a store, or another process is writing to it.
    """
    from curate.store import Store

    return Store.open(path, read_only=read_only)
