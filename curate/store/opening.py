"""Creating and opening a store, one DuckDB file or a folder with one and Parquet files, with a check of its version."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock

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
CATALOGUE = "catalogue"
"""A partitioned store is a folder with this DuckDB file, which holds all tables but the votes."""
POLL = 0.1
"""Seconds between two attempts to open a store that another process has open."""
MAGIC, MAGIC_AT = b"DUCK", 8
"""What a DuckDB file holds at this byte."""
OTHER_KINDS = {b"SQLite format 3\0": "an SQLite file", b"PAR1": "a Parquet file", b"\x1f\x8b": "a gzip file"}
"""First bytes -> kind of file."""


def check_is_duckdb(path: Path) -> None:
    """Raise CurateError if an existing path is not a DuckDB file; DuckDB would open some others as tables."""
    hint = "give another --store; a new store is created at a path that does not exist"
    inner = file_of(path)
    if not inner.is_file():
        what = f"a folder without {inner.name}" if path.is_dir() else "not a regular file"
        raise CurateError(f"{path}: {what}, so not a store", hint=hint)
    try:
        with inner.open("rb") as file:
            start = file.read(16)
    except PermissionError as error:
        raise CurateError(f"{path}: cannot be opened as a store", hint="check its permissions") from error
    if start[MAGIC_AT : MAGIC_AT + len(MAGIC)] == MAGIC:
        return
    kinds = (kind for first, kind in OTHER_KINDS.items() if start.startswith(first))
    kind = next(kinds, f"not a DuckDB file (it starts with {start!r})") if start else "an empty file"
    raise CurateError(f"{path}: {kind}, so not a store", hint=hint)


def file_of(path: Path) -> Path:
    """Return the DuckDB file of a store."""
    return path / f"{CATALOGUE}.duckdb" if path.is_dir() else path


def create_store(path: Path) -> None:
    """Create an empty store: a partitioned one if the name has no extension, else one file."""
    if not path.parent.is_dir():
        raise MissingError(f"{path.parent}: no such folder", hint="create it, or give another --store")
    with suppress(FileExistsError), appearing(path):  # another process created it meanwhile
        pass


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Yield an empty store that gets the name ``path`` after the block, and is removed if it fails.

    Raises FileExistsError if the path exists then.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    remove(fresh)  # of a killed process with the same id
    try:
        if not path.suffix:
            fresh.mkdir()
        with handled(path), duckdb.connect(str(file_of(fresh))) as connection:
            create(connection)
            connection.execute("CHECKPOINT").fetchall()
        yield fresh
        if not fresh.is_dir():
            os.link(fresh, path)
        elif path.exists():
            raise FileExistsError(path)
        else:
            fresh.rename(path)
    finally:
        remove(fresh)


def remove(path: Path) -> None:
    """Remove a store, if it exists."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
        wal_of(path).unlink(missing_ok=True)


def wal_of(path: Path) -> Path:
    """Return the write-ahead log of a DuckDB file, which exists while it has changes that the file lacks."""
    return path.with_name(f"{path.name}.wal")


@contextmanager
def opening(
    *, wait: float = 0.0, memory_limit: str | None = None, temporary_folder: Path | None = None
) -> Iterator[None]:
    """Settings of every store that is opened in the block, in any thread.

    wait: seconds to wait if another process has it open. memory_limit: of DuckDB, such as "4GiB"; it writes what needs
    more to files in temporary_folder (None: beside the store).
    """
    global _settings
    before = _settings
    folder = None if temporary_folder is None else str(temporary_folder.absolute())
    given = {"memory_limit": memory_limit, "temp_directory": folder}
    _settings = (wait, {name: value for name, value in given.items() if value is not None})
    try:
        yield
    finally:
        _settings = before


_settings: tuple[float, dict[str, str]] = (0.0, {})
_CONNECTING = Lock()
"""Two connections of a process to one store share its settings, which can be made once."""


def config() -> dict[str, str | bool | int | float | list[str]]:
    """Return the configuration of DuckDB, with the settings of ``opening``."""
    return {**CONFIG, **_settings[1]}


def work_folder(path: Path) -> Path:
    """Return the folder for files of a job on a store that is interrupted and goes on: STORE.denoise beside it."""
    home = _settings[1].get("temp_directory")
    return (Path(home) if home else path.parent) / f"{path.name}.denoise"


def connect(path: Path, *, read_only: bool, source: Path | None = None) -> duckdb.DuckDBPyConnection:
    """Return a connection to an existing store that reads and writes no other files.

    source: a store to attach for reading, under the name ``source``. Raises CurateError if one of them is in use or is
    not a DuckDB file.
    """
    check_is_duckdb(path)
    deadline = time.monotonic() + _settings[0]
    while True:
        try:
            with _CONNECTING:
                return _connect(path, read_only=read_only, source=source)
        except StoreError as error:
            if error.cause != "busy" or time.monotonic() >= deadline:
                raise
        time.sleep(POLL)


def _connect(path: Path, *, read_only: bool, source: Path | None) -> duckdb.DuckDBPyConnection:
    with handled(path):
        own = config() | {"enable_external_access": True}  # until it is connected
        connection = duckdb.connect(str(file_of(path)), read_only=read_only, config=own)
    try:
        if source:
            with handled(source):
                connection.execute(f"ATTACH {quoted(file_of(source))} AS source (READ_ONLY)").fetchall()
        with handled(path):
            [(fresh,)] = connection.execute("SELECT current_setting('enable_external_access')").fetchall()
            if fresh:  # not if this process has the store open already: both use the same database
                folders = [quoted(folder) for folder in (path, source) if folder and folder.is_dir()]
                connection.execute(f"SET allowed_directories = [{', '.join(folders)}]").fetchall()
                connection.execute("SET enable_external_access = false").fetchall()
            connection.execute("SET enable_progress_bar = false").fetchall()  # stdout belongs to data
    except BaseException:
        connection.close()
        raise
    return connection


def quoted(path: Path) -> str:
    """Return the SQL of a path."""
    return "'" + str(path.resolve()).replace("'", "''") + "'"


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
