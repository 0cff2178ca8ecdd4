"""The numbered steps that make a store what the current tables ask for. Never edit a step that has been released."""

from __future__ import annotations

from collections.abc import Callable

import duckdb

from schemas.tables import TABLES


def _create_tables(con: duckdb.DuckDBPyConnection) -> None:
    """Every table that the store lacks: all of them in a new one, in an older one those that came since."""
    for table, columns in TABLES.items():
        con.execute(f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(f'{c.name} {c.type}' for c in columns)})")


def _add_meta(con: duckdb.DuckDBPyConnection) -> None:
    """The votes' meta, and the tables that came with it."""
    con.execute("ALTER TABLE votes ADD COLUMN IF NOT EXISTS meta JSON")
    _create_tables(con)


MIGRATIONS: tuple[Callable[[duckdb.DuckDBPyConnection], None], ...] = (_create_tables, _create_tables, _add_meta)
"""1: all tables; 2: media, published; 3: controls, votes.meta."""


def migrate(con: duckdb.DuckDBPyConnection) -> None:
    """Apply, in one transaction, the steps that this store has not had yet."""
    done = version(con)
    if done == len(MIGRATIONS):
        return
    con.execute("BEGIN")
    con.execute("CREATE TABLE IF NOT EXISTS migrations (step INTEGER PRIMARY KEY)")
    for step, apply in enumerate(MIGRATIONS[done:], start=done + 1):
        apply(con)
        con.execute("INSERT INTO migrations VALUES (?)", [step])
    con.execute("COMMIT")


def version(con: duckdb.DuckDBPyConnection) -> int:
    """The last step applied to this store; 0 for a new file, −1 for a DuckDB file that is not a store."""
    tables = {row[0] for row in con.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    if "migrations" in tables:
        [(step,)] = con.execute("SELECT coalesce(max(step), 0) FROM migrations").fetchall()
        return int(step)
    return -1 if tables else 0
