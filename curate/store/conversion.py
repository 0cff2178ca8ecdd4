"""A store as one DuckDB file and as a partitioned store: each becomes the other, with equal tables."""

from __future__ import annotations

from pathlib import Path

from curate.store.database import Store
from curate.store.opening import appearing
from curate.store.partitions import add_votes, select_votes
from curate.store.remote import Remote
from schemas.errors import ConflictError, UsageError
from schemas.tables import TABLES

OF_PARTITIONS = ("votes", "vote_files", "superseded_votes", "vote_storage")


def convert_store(source: Path, target: Path, votes_url: str = "") -> int:
    """Copy all tables to a new store and return the number of votes.

    It is partitioned if the name of ``target`` has no extension, else one file. It appears complete or not at all.
    votes_url: where a partitioned store keeps its votes, if not in its folder. Raises CurateError if ``target`` exists,
    ``votes_url`` has vote files or cannot be used, or ``source`` is damaged.
    """
    if votes_url and target.suffix:
        hint = "give a TARGET without an extension, such as arena"
        raise UsageError(f"{target}: one DuckDB file cannot keep its votes at a URL", hint=hint)
    remote = Remote.new(votes_url) if votes_url else None
    with Store.open(source, read_only=True) as opened:
        if opened.partitioned:
            opened.check_files()
    try:
        with appearing(target) as fresh, Store.open(fresh, source=source) as made, made.transaction():
            for table in TABLES.keys() - set(OF_PARTITIONS):
                made.execute(f"INSERT INTO {table} BY NAME SELECT * FROM source.main.{table}")
            if remote:
                made.remote = remote
                made.execute("INSERT INTO vote_storage VALUES (?)", [remote.url])
            columns = ", ".join(column.name for column in TABLES["votes"])
            return add_votes(made, f"SELECT {columns} FROM ({select_votes(made, 'source', source)})")
    except FileExistsError as error:
        raise ConflictError(f"{target}: exists", hint="choose another target, or remove it") from error
