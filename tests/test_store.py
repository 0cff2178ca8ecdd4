"""The store: opening, errors, migrations, and reading methods."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

import curate
from curate.store import Store
from curate.store.migrations import MIGRATIONS, version
from pipelines import denoise, ingest
from schemas.errors import CurateError
from schemas.tables import TABLES


def store_of(folder: Path, *rows: str, name: str = "s.duckdb") -> Path:
    (folder / "votes.csv").write_text("prompt_id,left,right,winner\n" + "".join(row + "\n" for row in rows))
    ingest([folder / "votes.csv"], folder / name)
    return folder / name


def test_a_new_store_has_the_tables_of_the_schema(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.duckdb", create=True) as store:
        for table, columns in TABLES.items():
            found = store.frame("SELECT column_name FROM duckdb_columns() WHERE table_name = $t", {"t": table})
            assert found["column_name"].to_list() == [column.name for column in columns], table


def test_opening_a_missing_store_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(CurateError, match="no such store"):
        curate.open(tmp_path / "s.duckdb")
    with pytest.raises(CurateError, match="no such folder"):
        Store.open(tmp_path / "no" / "s.duckdb", create=True)
    assert list(tmp_path.iterdir()) == []


def test_another_file_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "text.duckdb").write_text("hello" * 1000)
    with pytest.raises(CurateError, match="so not a store"):
        curate.open(tmp_path / "text.duckdb")
    with duckdb.connect(str(tmp_path / "other.duckdb")) as other:
        other.execute("CREATE TABLE mine (x INTEGER)").fetchall()
    with pytest.raises(CurateError, match="not a store of curate"):
        curate.open(tmp_path / "other.duckdb")


def test_a_store_of_a_newer_version_is_not_opened(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.duckdb", create=True) as store:
        store.execute("INSERT INTO migrations VALUES (?)", [len(MIGRATIONS) + 1])
    with pytest.raises(CurateError, match="newer curate"):
        curate.open(tmp_path / "s.duckdb")


def test_an_older_store_is_migrated_by_a_writer_only(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "s.duckdb")) as old:
        old.execute("CREATE TABLE migrations (step INTEGER PRIMARY KEY)").fetchall()
    with pytest.raises(CurateError, match="older curate"):
        curate.open(tmp_path / "s.duckdb")
    with Store.open(tmp_path / "s.duckdb") as store:
        assert version(store.connection) == len(MIGRATIONS)


@pytest.mark.parametrize("name", ["s.duckdb", "partitioned"])
def test_a_store_in_use_is_not_opened(name: str, tmp_path: Path) -> None:
    path = store_of(tmp_path, "p,a,b,left", name=name)
    with Store.open(path):
        code = f"import curate\ntry: curate.open({str(path)!r})\nexcept Exception as e: print(e.cause, e, e.hint)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"busy {path}: process {os.getpid()} has this store open ")
    assert "--wait" in done.stdout


def test_two_readers_can_share_a_store(tmp_path: Path) -> None:
    path = store_of(tmp_path, "p,a,b,left")
    with curate.open(path) as one:
        code = f"import curate; print(curate.open({str(path)!r}).votes().height)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert (done.stdout, one.votes().height) == ("1\n", 1)


def test_a_failed_transaction_is_rolled_back(tmp_path: Path) -> None:
    with Store.open(tmp_path / "s.duckdb", create=True) as store:
        with pytest.raises(RuntimeError), store.transaction():  # noqa: PT012 (the block is the point)
            store.execute("INSERT INTO prompts VALUES ('p', NULL, NULL, false, NULL)")
            raise RuntimeError
        assert store.prompts().is_empty()


def test_the_graph_points_from_winner_to_loser(tmp_path: Path) -> None:
    path = store_of(tmp_path, "p,a,b,left", "p,b,a,tie", "p,b,c,right", "q,a,c,left")
    with curate.open(path) as store:
        graph = store.graph("p")
        assert dict(graph.edges) == {
            ("a", "b"): {"weight": 1.5},
            ("b", "a"): {"weight": 0.5},
            ("c", "b"): {"weight": 1.0},
        }
        with pytest.raises(CurateError, match="no prompt 'nobody'"):
            store.graph("nobody")


def test_the_reading_methods_return_frames(tmp_path: Path) -> None:
    path = store_of(tmp_path, "p,a,b,left", "p,b,c,left")
    denoise(path)
    with curate.open(path) as store:
        assert store.rankings().select("prompt_id", "response_id", "rank").rows() == [
            ("p", "a", 1),
            ("p", "b", 2),
            ("p", "c", 3),
        ]
        assert store.rankings(store.denoise_run()[:4]).height == 3
        assert store.votes()["outcome"].to_list() == ["left", "left"]
        assert store.prompt_stats()["status"].to_list() == ["ranked"]
        assert store.runs()["step"].to_list() == ["denoise"]
        assert store.batches().height == 1
        with pytest.raises(CurateError, match="no denoise run 'zzz'"):
            store.rankings("zzz")
