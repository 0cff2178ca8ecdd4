"""The DuckDB file and the Parquet files of votes: their tables, their migrations and every line of SQL."""

from curate.store.database import Store
from curate.store.failures import StoreError
from curate.store.opening import opening

__all__ = ["Store", "StoreError", "opening"]
