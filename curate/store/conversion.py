"""A store as one DuckDB file and as a partitioned store: each becomes the other, with equal tables."""

from __future__ import annotations

from pathlib import Path

from curate.store.database import Store
from curate.store.opening import appearing
from curate.store.partitions import add_votes, select_votes
from schemas.errors import ConflictError
from schemas.tables import TABLES

OF_PARTITIONS = ("votes", "vote_files", "superseded_votes")


def convert_store(source: Path, target: Path) -> int:
    """Copy all tables to a new store and return the number of votes.

    It is partitioned if the name of ``target`` has no extension, else one file. It appears complete or not at all.
    Raises CurateError if ``target`` exists or ``source`` is damaged.
    """
    with Store.open(source, read_only=True) as opened:
        if opened.partitioned:
            opened.check_files()
    try:
        with appearing(target) as fresh, Store.open(fresh, source=source) as made, made.transaction():
            for table in TABLES.keys() - set(OF_PARTITIONS):
                made.execute(f"INSERT INTO {table} BY NAME SELECT * FROM source.main.{table}")
            columns = ", ".join(column.name for column in TABLES["votes"])
            return add_votes(made, f"SELECT {columns} FROM ({select_votes(made, 'source', source)})")
    except FileExistsError as error:
        raise ConflictError(f"{target}: exists", hint="choose another target, or remove it") from error
