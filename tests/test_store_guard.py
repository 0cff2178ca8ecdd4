"""Files that are not stores: named as such, unchanged, and nothing is downloaded for them."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from curate.store import Store, StoreError, opening
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
    "short.duckdb": lambda path: path.write_bytes(b"\0" * 8 + b"DUC"),
    "pipe.duckdb": os.mkfifo,
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
    with Store.open(tmp_path / "s.duckdb", read_only=True) as store, pytest.raises(StoreError):
        store.rows(f"SELECT * FROM read_csv('{tmp_path / 'v.csv'}')")
    for sql in (f"ATTACH '{tmp_path / 's.duckdb'}' AS other", "INSTALL sqlite", "SET enable_external_access = true"):
        with Store.in_memory() as store, pytest.raises(StoreError):
            store.execute(sql)


@pytest.mark.parametrize("kind", ["one file", "partitioned", "in memory"])
def test_a_large_query_still_writes_temporary_files(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scratch").mkdir()
    path = {"one file": "s.duckdb", "partitioned": "s [1]"}.get(kind)
    with (
        opening(memory_limit="30MiB", temporary_folder=Path("scratch")),
        Store.open(path, create=True) if path else Store.in_memory() as store,
    ):
        store.execute("CREATE TEMP TABLE large AS SELECT md5(i::VARCHAR) AS name FROM range(1_000_000) r(i)")
        assert any((tmp_path / "scratch").rglob("duckdb_temp*"))
        assert store.value("SELECT count(DISTINCT name) FROM large") == 1_000_000


def test_a_file_that_is_not_a_store_ends_the_command(tmp_path: Path) -> None:
    path = tmp_path / "votes.csv"
    path.write_text(VOTES)
    command = [sys.executable, "-m", "cli.main", "ingest", str(path), "--store", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, path.read_text()) == (4, "", VOTES)
    assert "stored" not in done.stderr
