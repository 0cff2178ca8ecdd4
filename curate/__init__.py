"""curate: crowdsourced pairwise votes to rankings that one can trust.

`rank` turns votes in files or tables into rankings, and `plot` draws them; `open` opens a store that the command line
or the jobs in ``pipelines`` filled.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.installation import check_installation

if TYPE_CHECKING:
    from curate.api import RankResult
    from curate.store import Store
    from pipelines.plotting import plot
    from pipelines.ranking import rank

check_installation()

__all__ = ["RankResult", "Store", "__version__", "open", "plot", "rank"]

_LAZY = {"RankResult": "curate.api", "plot": "pipelines.plotting", "rank": "pipelines.ranking", "Store": "curate.store"}
"""Public name -> the module that defines it, imported at first use. ``rank`` and ``plot`` are jobs."""


def open(path: str | Path = "curate.duckdb", *, read_only: bool = True) -> Store:  # noqa: A001
    """Open the store at ``path``.

    Parameters
    ----------
    path
        The DuckDB file.
    read_only
        Whether the store is opened for reading only, so that several processes can.

    Raises
    ------
    CurateError
        Where the file is missing or is not a store, or another process is writing to it.

    Examples
    --------
    >>> import curate
    >>> with curate.open("curate.duckdb") as store:  # doctest: +SKIP
    ...     store.rankings()
    """
    from curate.store import Store

    return Store.open(path, read_only=read_only)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("mr2-curate")
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'curate' has no attribute {name!r}")
