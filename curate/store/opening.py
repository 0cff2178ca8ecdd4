"""Opening the file of a store: made whole or not at all, its version checked, its refusals in words."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import duckdb

from curate.store.migrations import MIGRATIONS, migrate, version
from schemas.errors import CurateError

CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "1500MiB",  # past it DuckDB spills beside the store
    "preserve_insertion_order": False,  # every query that cares says ORDER BY; large inserts need no more memory
}


def create_file(path: Path) -> None:
    """A new, empty store, which appears under its name only when it is whole."""
    if not path.parent.is_dir():
        raise CurateError(f"{path.parent}: no such folder", hint="make it first, or give another --store")
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    fresh.unlink(missing_ok=True)  # of a killed process that had our number
    try:
        with duckdb.connect(str(fresh)) as connection:
            migrate(connection)
            connection.execute("CHECKPOINT").fetchall()
        with suppress(FileExistsError):  # another process was quicker: its store is as new as ours
            os.link(fresh, path)
    except duckdb.IOException as error:
        raise CurateError(f"{path}: cannot be made: {error}", hint="may you write there?") from error
    finally:
        fresh.unlink(missing_ok=True)


def connect(path: Path, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    """A connection to an existing file. Raises CurateError where another process holds it or it is no DuckDB file."""
    try:
        connection = duckdb.connect(str(path), read_only=read_only, config=CONFIG)
        connection.execute("SET enable_progress_bar = false").fetchall()  # stdout belongs to data
        return connection
    except duckdb.IOException as error:
        if "lock" in str(error):
            raise CurateError(
                f"{path}: another process has this store open",
                hint="one process may write at a time: close the other (a notebook? a running job?) and try again",
            ) from error
        hint = "may you write there?" if "ermission" in str(error) else "is it a DuckDB file?"
        raise CurateError(f"{path}: cannot be opened as a store: {error}", hint=hint) from error


def check_version(connection: duckdb.DuckDBPyConnection, path: Path, *, read_only: bool) -> None:
    """Bring an older store up to date. Raises CurateError where that cannot be, or the file is no store at all."""
    found = version(connection)
    if found < 0:
        raise CurateError(f"{path}: a DuckDB file, but not a store of curate", hint="give another --store")
    if found > len(MIGRATIONS):
        raise CurateError(f"{path}: made by a newer curate (step {found})", hint="upgrade: pip install -U mr2-curate")
    if found < len(MIGRATIONS):
        if read_only:
            raise CurateError(f"{path}: made by an older curate (step {found})", hint="any writing command upgrades it")
        migrate(connection)
