"""Creating and opening the DuckDB file of a store, with a check of its version."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb

from curate.store.failures import StoreError, handled
from curate.store.migrations import MIGRATIONS, create, migrate, version
from schemas.errors import CurateError, MissingError

CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "1500MiB",  # above it DuckDB writes temporary files
    "preserve_insertion_order": False,  # all ordered queries have ORDER BY; large inserts need less memory
    "autoinstall_known_extensions": False,  # nothing is downloaded because of what a file looks like
    "autoload_known_extensions": False,
    "enable_external_access": False,
}
POLL = 0.1
"""Seconds between two attempts to open a store that another process has open."""
MAGIC, MAGIC_AT = b"DUCK", 8
"""What a DuckDB file holds at this byte."""
OTHER_KINDS = {b"SQLite format 3\0": "an SQLite file", b"PAR1": "a Parquet file", b"\x1f\x8b": "a gzip file"}
"""First bytes -> kind of file."""


def check_is_duckdb(path: Path) -> None:
    """Raise CurateError if an existing path is not a DuckDB file; DuckDB would open some others as tables."""
    hint = "give another --store; a new store is created at a path that does not exist"
    if not path.is_file():
        raise CurateError(f"{path}: not a regular file, so not a store", hint=hint)
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except PermissionError as error:
        raise CurateError(f"{path}: cannot be opened as a store", hint="check its permissions") from error
    if start[MAGIC_AT : MAGIC_AT + len(MAGIC)] == MAGIC:
        return
    kinds = (kind for first, kind in OTHER_KINDS.items() if start.startswith(first))
    kind = next(kinds, f"not a DuckDB file (it starts with {start!r})") if start else "an empty file"
    raise CurateError(f"{path}: {kind}, so not a store", hint=hint)


def create_file(path: Path) -> None:
    """Create an empty store; it appears under its name when it is complete."""
    if not path.parent.is_dir():
        raise MissingError(f"{path.parent}: no such folder", hint="create it, or give another --store")
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    fresh.unlink(missing_ok=True)  # of a killed process with the same id
    try:
        with handled(path), duckdb.connect(str(fresh)) as connection:
            create(connection)
            connection.execute("CHECKPOINT").fetchall()
        with suppress(FileExistsError):  # another process created it meanwhile
            os.link(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
        wal_of(fresh).unlink(missing_ok=True)


def wal_of(path: Path) -> Path:
    """Return the write-ahead log of a DuckDB file, which exists while it has changes that the file lacks."""
    return path.with_name(f"{path.name}.wal")


@contextmanager
def waiting(seconds: float) -> Iterator[None]:
    """Let every store that is opened in the block, in any thread, wait so long if another process has it open."""
    global _seconds
    before, _seconds = _seconds, seconds
    try:
        yield
    finally:
        _seconds = before


_seconds = 0.0


def connect(path: Path, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    """Return a connection to an existing file. Raises CurateError if it is in use or not a DuckDB file."""
    check_is_duckdb(path)
    deadline = time.monotonic() + _seconds
    while True:
        try:
            with handled(path):
                connection = duckdb.connect(str(path), read_only=read_only, config=CONFIG)
                connection.execute("SET enable_progress_bar = false").fetchall()  # stdout belongs to data
                return connection
        except StoreError as error:
            if error.cause != "busy" or time.monotonic() >= deadline:
                raise
        time.sleep(POLL)


def check_version(connection: duckdb.DuckDBPyConnection, path: Path, *, read_only: bool) -> None:
    """Migrate an older store. Raises CurateError if it is opened for reading only, is newer, or is not a store."""
    found = version(connection)
    if found < 0:
        raise CurateError(f"{path}: a DuckDB file, but not a store of curate", hint="give another --store")
    if found > len(MIGRATIONS):
        raise CurateError(
            f"{path}: written by a newer curate (step {found})", hint="upgrade: pip install -U mr2-curate"
        )
    if found < len(MIGRATIONS):
        if read_only:
            raise CurateError(
                f"{path}: written by an older curate (step {found})", hint="any writing command migrates it"
            )
        migrate(connection, found)
