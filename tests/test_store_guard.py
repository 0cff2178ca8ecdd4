"""Files that are not stores: named as such, unchanged, and nothing is downloaded for them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import polars as pl
import pytest

from curate.store import Store
from pipelines import ingest
from schemas.errors import CurateError

VOTES = "prompt_id,left,right,winner\np,a,b,left\n"


def sqlite(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE votes (a)")
    connection.close()


WRITERS = {
    "votes.csv": lambda path: path.write_text(VOTES),
    "votes.json": lambda path: path.write_text('[{"a": 1}]'),
    "votes.parquet": lambda path: pl.DataFrame({"a": [1]}).write_parquet(path),
    "store.sqlite": sqlite,
    "empty.duckdb": lambda path: path.touch(),
    "folder.duckdb": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_store_at_another_kind_of_file_is_an_error(name: str, tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text(VOTES)
    path = tmp_path / name
    WRITERS[name](path)
    before = path.read_bytes() if path.is_file() else None
    for call in (lambda: ingest(tmp_path / "v.csv", path), lambda: Store.open(path, read_only=True)):
        with pytest.raises(CurateError, match="not a store"):
            call()
    assert (path.read_bytes() if path.is_file() else None) == before


def test_a_store_reads_no_other_files(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text(VOTES)
    ingest(tmp_path / "v.csv", tmp_path / "s.duckdb")
    with Store.open(tmp_path / "s.duckdb", read_only=True) as store, pytest.raises(Exception, match="Permission"):
        store.rows(f"SELECT * FROM read_csv('{tmp_path / 'v.csv'}')")
