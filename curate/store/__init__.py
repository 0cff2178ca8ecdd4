"""The DuckDB file: its tables, its migrations and every line of SQL."""

from curate.store.database import Store
from curate.store.failures import StoreError
from curate.store.opening import waiting

__all__ = ["Store", "StoreError", "waiting"]
