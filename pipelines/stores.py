"""The jobs ``store convert`` and ``store compact``: the files in which a store keeps its votes."""

from __future__ import annotations

import os
from pathlib import Path

from annotations.readers.privacy import StoreKey
from curate.store import Store
from curate.store.conversion import convert_store
from curate.store.partitions import compact_votes
from schemas.errors import ConflictError
from schemas.reports import StoreReport


def convert(source: str | Path, target: str | Path, *, votes_url: str = "") -> StoreReport:
    """Copy a store, with its pseudonym key, to a new one of the other or of the same kind.

    The new store is partitioned if the name of ``target`` has no extension, else one DuckDB file. All tables are equal.
    It appears complete or not at all. votes_url: where a partitioned store keeps its votes, as a URL of fsspec such as
    ``s3://BUCKET/FOLDER``. Raises CurateError if ``target`` exists, ``votes_url`` has vote files or cannot be used, or
    a file of ``source`` is damaged.
    """
    source, target = Path(source), Path(target)
    old, new = StoreKey(source).path, StoreKey(target).path
    if target.exists() or new.exists():
        raise ConflictError(f"{target if target.exists() else new}: exists", hint="choose another TARGET, or remove it")
    if old.is_file():  # before the store, which would get another key at its next ingest
        with os.fdopen(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(old.read_bytes())
    try:
        convert_store(source, target, votes_url)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    with Store.open(target, read_only=True) as store:
        return _report(store)


def compact(store: str | Path = "curate.duckdb") -> StoreReport:
    """Rewrite each bucket of a partitioned store that has several files or superseded votes as one file.

    Raises CurateError if a file is damaged; nothing is changed then. One DuckDB file needs no compaction.
    """
    with Store.open(store) as opened:
        rewritten = 0
        if opened.partitioned:
            with opened.transaction():
                rewritten = compact_votes(opened)
        return _report(opened, rewritten)


def _report(store: Store, rewritten: int = 0) -> StoreReport:
    [counts] = store.rows("SELECT count(*) AS votes, (SELECT count(*) FROM vote_files) AS files FROM votes")
    return StoreReport(
        store=str(store.path),
        partitioned=store.partitioned,
        votes_url=store.remote.url if store.remote else None,
        rewritten=rewritten,
        bytes=store.bytes(),
        **counts,
    )
