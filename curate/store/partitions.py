"""The votes of a partitioned store: immutable Parquet files in hash buckets by prompt, listed in the catalogue.

Files are written and flushed before the transaction that lists them, and removed after the one that drops them from the
list: a process that is killed at any moment leaves the old votes or the new ones, and files that are not listed, which
the next transaction removes. Votes that later ones supersede stay in their file and are listed in ``superseded_votes``
until ``compact``. If the store keeps its votes at a URL, the new files are uploaded before the transaction ends.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.store.failures import StoreError
from curate.store.opening import CATALOGUE, quoted
from schemas.errors import CurateError
from schemas.tables import TABLES

if TYPE_CHECKING:
    from curate.store.database import Store
    from curate.store.remote import Remote

BUCKET = "('0x' || md5(prompt_id)[:2])::UTINYINT // 4"
"""SQL: 0 … 63, the bucket of a prompt: the first six bits of the MD5 of its id in UTF-8."""
NEW = ".new"
"""Folder of the rows that a transaction adds, before they are sorted into files."""
PATHS = "votes/bucket=*/*"
"""Pattern of the files' paths in the store's folder."""
FILES = f"SELECT bucket, sha256, bytes FROM {CATALOGUE}.main.vote_files ORDER BY bucket, sha256"

# Parquet has no integers of 128 bits: DuckDB would write them as doubles.
_HALVES = "(vote_key >> 64)::UBIGINT AS key_high, (vote_key & 18446744073709551615)::UBIGINT AS key_low"
_OTHERS = ", ".join(f"{c.name}::{c.type.split()[0]} AS {c.name}" for c in TABLES["votes"] if c.name != "vote_key")
_COLUMNS = f"(key_high::UHUGEINT << 64) | key_low AS vote_key, {_OTHERS}"


def select_votes(
    store: Store, catalogue: str = CATALOGUE, folder: Path | None = None, buckets: Sequence[int] | None = None
) -> str:
    """Return the SQL of all votes that count, or of those in some buckets. catalogue, folder: of an attached store."""
    files = [(folder or store.path) / name for name in _names(store, catalogue, buckets)]
    if not files:
        return f"SELECT * FROM {catalogue}.main.votes"
    rows = f"SELECT {_COLUMNS} FROM {_read(*files)}"
    superseded = f"{catalogue}.main.superseded_votes"
    if not store.value(f"SELECT count(*) FROM {superseded}"):
        return rows
    return f"SELECT * FROM ({rows}) ANTI JOIN {superseded} USING (vote_key, file_id)"


def show_votes(store: Store) -> None:
    """Make ``votes`` a view of the listed files; it hides the catalogue's table of that name, which is empty."""
    store.execute(f"CREATE OR REPLACE TEMP VIEW votes AS {select_votes(store)}")


def check_files(
    folder: Path, files: Iterable[tuple[int, str, int]], *, content: bool = False, remote: Remote | None = None
) -> None:
    """Raise StoreError for a missing file and one of another size. files: rows of FILES. content: or of other bytes.

    remote: where the files are; those that are not in the folder, too, are downloaded.
    """
    listed = {_name(bucket, sha256): size for bucket, sha256, size in files}
    local = {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.glob(PATHS)}
    found = remote.sizes() if remote else local
    for name, size in listed.items():
        if name not in found:
            raise _lost(folder, name, "is missing", remote)
        if found[name] != size:
            raise _lost(folder, name, f"has {found[name]:,} bytes instead of {size:,}", remote)
    bad = {
        name: size
        for name, size in listed.items()
        if local.get(name) != size or (content and _digest(folder / name) != Path(name).stem)
    }
    if remote:
        remote.complete |= listed.keys()
    if not bad:
        return
    if not remote:
        raise _lost(folder, min(bad), "has changed")
    with remote.downloaded(folder, bad) as paths:
        for name, path in zip(bad, paths, strict=True):
            if _digest(path) != Path(name).stem:
                raise _lost(folder, name, "has changed", remote)
            (folder / name).parent.mkdir(exist_ok=True)
            path.replace(folder / name)


def _lost(folder: Path, name: str, what: str, remote: Remote | None = None) -> StoreError:
    local = folder / name
    copy = f"upload {local} to it" if remote and local.is_file() else "restore a copy of this file"
    return StoreError(
        f"{f'{remote.url}/{name}' if remote else local}: {what}, so votes are lost",
        hint=f"{copy}, or ingest the vote files again into a new store (--store NEW)",
        cause="damaged",
    )


def upload_votes(store: Store) -> None:
    """Copy the new files of a transaction to where the store keeps its votes, if not in its folder only."""
    if remote := store.remote:
        listed = {_name(row["bucket"], row["sha256"]): row["bytes"] for row in store.rows(FILES)}
        if new := {name: size for name, size in listed.items() if name not in remote.complete}:
            remote.upload(store.path, new)


def add_votes(store: Store, select: str, params: Mapping[str, Any] | None = None) -> int:
    """Add the rows of a query with the columns of the table votes, and return how many. Call it in a transaction."""
    if not store.partitioned:
        return int(store.value(f"INSERT INTO votes {select}", params or {}))
    fresh = store.path / "votes" / NEW
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.parent.mkdir(exist_ok=True)
    count = int(
        store.value(
            f"""COPY (SELECT {BUCKET} AS bucket, {_HALVES}, {_OTHERS} FROM ({select}))
            TO {quoted(fresh)} (FORMAT parquet, PARTITION_BY (bucket))""",
            params or {},
        )
    )
    for part in sorted(fresh.glob("*=*")):
        _write_file(store, int(part.name.partition("=")[2]), f"SELECT * FROM {_read(*sorted(part.iterdir()))}")
    show_votes(store)
    return count


def remove_votes(store: Store) -> None:
    """Remove the votes in the table ``superseded``. Call it in a transaction."""
    if not store.partitioned:
        store.execute("DELETE FROM votes WHERE vote_key IN (SELECT vote_key FROM superseded)")
        return
    store.execute(f"""
        INSERT INTO superseded_votes
        SELECT DISTINCT {BUCKET}, vote_key, file_id FROM votes SEMI JOIN superseded USING (vote_key)
    """)
    show_votes(store)


def compact_votes(store: Store) -> int:
    """Rewrite each bucket that has several files or superseded votes as one file, and return how many were rewritten.

    Call it in a transaction. Raises StoreError for a damaged file.
    """
    store.check_files()
    buckets = store.rows("""
        SELECT bucket FROM vote_files GROUP BY bucket HAVING count(*) > 1
        UNION SELECT bucket FROM superseded_votes ORDER BY bucket
    """)
    for bucket in (row["bucket"] for row in buckets):
        files = [store.path / name for name in _names(store, buckets=[bucket])]
        store.execute("DELETE FROM vote_files WHERE bucket = ?", [bucket])
        rows = f"SELECT {_COLUMNS} FROM {_read(*files)}"
        live = (
            f"SELECT {_HALVES}, * EXCLUDE (vote_key) FROM ({rows}) ANTI JOIN superseded_votes USING (vote_key, file_id)"
        )
        _write_file(store, bucket, live)
        store.execute("DELETE FROM superseded_votes WHERE bucket = ?", [bucket])
    show_votes(store)
    return len(buckets)


def remove_unlisted(store: Store) -> None:
    """Remove the files that the catalogue does not list: of a failed or killed process, or rewritten ones.

    At a URL, only those that the folder has, too: other files there may belong to another store.
    """
    for temporary in (store.path / "votes").glob(".*"):
        shutil.rmtree(temporary, ignore_errors=True)
    local = {path.relative_to(store.path).as_posix() for path in store.path.glob(PATHS)}
    unlisted = local - set(_names(store))
    with suppress(OSError, CurateError):  # they are no votes, and the next transaction tries again
        if store.remote and unlisted:
            store.remote.remove(unlisted)  # first: a file in the folder tells what may have been uploaded
        for name in unlisted:
            (store.path / name).unlink()


def _write_file(store: Store, bucket: int, select: str) -> None:
    """Write the rows, sorted, as one file that is named by its content, and list it."""
    from curate.shards.atomic import sync  # imports pydantic, which readers of a store need not wait for

    fresh = store.path / "votes" / NEW / "file.parquet"
    fresh.parent.mkdir(exist_ok=True, parents=True)
    rows = store.value(
        f"""COPY ({select} ORDER BY prompt_id, key_high, key_low, response_left, response_right)
        TO {quoted(fresh)} (FORMAT parquet, COMPRESSION zstd)"""
    )
    digest, size = _digest(fresh), fresh.stat().st_size
    path = store.path / _name(bucket, digest)
    path.parent.mkdir(exist_ok=True)
    if rows:  # none if all are superseded
        sync(fresh)
        fresh.replace(path)
        for folder in (path.parent, path.parent.parent, store.path):
            sync(folder)
        store.execute("INSERT INTO vote_files VALUES (?, ?, ?, ?)", [bucket, digest, rows, size])


def _names(store: Store, catalogue: str = CATALOGUE, buckets: Sequence[int] | None = None) -> list[str]:
    rows = store.rows(
        f"""SELECT bucket, sha256 FROM {catalogue}.main.vote_files
        WHERE $buckets IS NULL OR bucket IN (SELECT unnest($buckets::UTINYINT[])) ORDER BY bucket, sha256""",
        {"buckets": None if buckets is None else list(buckets)},
    )
    return [_name(row["bucket"], row["sha256"]) for row in rows]


def _name(bucket: int, sha256: str) -> str:
    return f"votes/bucket={bucket:02}/{sha256}.parquet"


def _read(*files: Path) -> str:
    return f"read_parquet([{', '.join(map(quoted, files))}], hive_partitioning = false)"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
