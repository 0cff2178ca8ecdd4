"""What goes wrong with a store, as errors for users: every exception of DuckDB becomes a StoreError."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import duckdb

from schemas.errors import ConflictError, CurateError, ResourceError

Cause = Literal["busy", "closed", "damaged", "disk-full", "memory", "permission", "other"]

CAUSES: dict[Cause, tuple[str, str, str]] = {
    "busy": (
        r"could not set lock|conflicting lock",
        "another process has this store open",
        "one process may write at a time: close the other (a notebook? a running job?), or wait for it: --wait 60",
    ),
    "closed": (r"already (been )?closed", "the store is closed", "open it again, or use it inside its with block"),
    "disk-full": (
        r"no space left|file too large|disk quota|max_temp_directory_size|not enough disk|offload data block",
        "the disk is full",
        "make room on the disk of the store, then run the command again: it changed nothing that it has not reported",
    ),
    "memory": (
        r"out of memory|could not allocate|failed to allocate|bad_alloc|bad allocation",
        "there is not enough memory",
        "set a higher memory_limit in curate.toml, or ingest fewer files at a time; nothing has changed",
    ),
    "permission": (
        r"permission denied|read-only file system|operation not permitted",
        "access is denied",
        "check the permissions of the file and its folder",
    ),
    "damaged": (
        r"corrupt|checksum|could not read|input/output error|failed to deserialize|serialization error|internal error"
        r"|invalidated|not a valid duckdb|wal file|replay",
        "the store is damaged",
        "restore a copy of this file, or ingest the vote files again into a new store (--store NEW)",
    ),
}
"""Cause -> a pattern of DuckDB's messages, what happened, and what to do. The first that fits counts."""
OTHER = (
    "ingest the vote files into a new store (--store NEW): if that works, this one is damaged; else please report it"
)


class StoreError(CurateError):
    """A store that cannot be read or written. ``cause``: a key of CAUSES, or other."""

    def __init__(self, message: str, *, hint: str, cause: Cause) -> None:
        super().__init__(message, hint=hint)
        self.cause = cause
        kinds = {"busy": ConflictError, "closed": CurateError, "damaged": CurateError, "other": CurateError}
        self.exit_code = kinds.get(cause, ResourceError).exit_code


def store_error(path: Path, error: BaseException) -> StoreError:
    """Return the error for users of an exception of DuckDB."""
    detail = " ".join(str(error).partition("\n\nLINE")[0].split()) or type(error).__name__
    shown = detail.replace(str(path), path.name)  # the folders in it may be called anything
    fits = (cause for cause, (pattern, _, _) in CAUSES.items() if re.search(pattern, shown, re.IGNORECASE))
    cause = next(fits, "memory" if isinstance(error, duckdb.OutOfMemoryException | MemoryError) else "other")
    if cause == "other":
        return StoreError(f"{path}: DuckDB fails: {shown}", hint=OTHER, cause=cause)
    _, what, hint = CAUSES[cause]
    if cause != "busy":
        return StoreError(f"{path}: {what} ({shown})", hint=hint, cause=cause)
    holder = re.search(r"\(PID (\d+)\)", detail)
    what = f"process {holder[1]} has this store open" if holder else what
    return StoreError(f"{path}: {what}", hint=hint, cause=cause)


@contextmanager
def handled(path: Path) -> Iterator[None]:
    """Turn the exceptions of DuckDB in the block into StoreError."""
    try:
        yield
    except duckdb.InterruptException as error:
        raise KeyboardInterrupt from error
    except (duckdb.Error, MemoryError) as error:
        raise store_error(path, error) from error
