"""The DuckDB file: its tables, its migrations and every line of SQL."""

from curate.store.database import Store

__all__ = ["Store"]
