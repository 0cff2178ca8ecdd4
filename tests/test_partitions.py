"""Partitioned stores: equal to one-file stores in every table, whatever is ingested, and never with fewer votes."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import polars as pl
import pytest

from cli.main import run
from curate.store import Store
from curate.store.partitions import BUCKET
from pipelines import denoise, ingest
from pipelines.stores import compact, convert
from schemas.config import DenoiseConfig, IngestConfig
from schemas.errors import ConflictError, CurateError
from schemas.tables import TABLES
from tests import platform_files as files

HEADER = "prompt_id,left,right,winner,worker,timestamp"
IDS = "vote_id,prompt_id,left,right,winner,worker"
SEPARATE = ("vote_files", "superseded_votes")


def batches(folder: Path) -> list[dict[str, Any]]:
    """Arguments of ingests: new files, one read again, equal rows, platform ids, repeats, K-wise rows, controls."""

    def csv(name: str, *rows: str, header: str = HEADER) -> Path:
        (folder / name).write_text("\n".join((header, *rows)) + "\n")
        return folder / name

    plain = [f"p{i % 9},a,{'bcd'[i % 3]},{('left', 'right', 'tie')[i % 7 % 3]},w{i % 5}," for i in range(60)]
    one = csv("one.csv", *plain, *["p0,a,b,left,,"] * 3, "p1,a,a,left,w1,")
    kwise = folder / "ranked.jsonl"
    rows = [("p1", "w1", [1, 2, 3]), ("p2", "w2", [2, 2, 1]), ("p1", "w1", [3, 2, 1])]
    lines = [
        json.dumps({"prompt_id": p, "annotator": w, "responses": ["a", "b", "c"], "rankings": r}) for p, w, r in rows
    ]
    kwise.write_text("\n".join(lines) + "\n")
    ids = csv("ids.csv", "v1,p1,a,b,left,w8", "v2,p2,a,b,tie,w9", "v1,p1,b,a,right,w8", "v1,p3,a,b,left,w8", header=IDS)
    later = csv("later.csv", *(f"p{i},a,b,right,w{i % 5},2025-03-0{i + 1}" for i in range(5)), *plain[:9])
    tasks = [files.assignment("t1", "left", golden="left"), files.assignment("t2", "left")]
    gold = files.write(folder, "gold.tsv", files.table(tasks, "\t"))
    criteria = csv(
        "by.csv", "p1,a,b,left,w1,style", "p1,a,b,right,w1,facts", header="prompt_id,left,right,winner,worker,criterion"
    )
    early = csv("early.csv", *(f"p{i},b,a,tie,w{i},2024-01-01" for i in range(5)))
    return [
        {"paths": [one, ids]},
        {"paths": [one, kwise, later]},
        {"paths": [early, ids], "config": IngestConfig(repeats="reject")},
        {"paths": [gold, criteria], "pseudonym_key": "a key of enough characters"},
        {"paths": [later, one], "config": IngestConfig(repeats="all")},
    ]


def tables(path: Path) -> dict[str, list[dict[str, Any]]]:
    """All rows of every table that both kinds of store fill."""
    with Store.open(path, read_only=True) as store:
        found = {name: store.rows(f"SELECT * FROM {name} ORDER BY ALL") for name in TABLES.keys() - set(SEPARATE)}
    for row in found["runs"]:
        row["report"] = json.loads(row["report"]) | {"store": ""}
    return found


def parquet(store: Path) -> list[str]:
    return sorted(path.relative_to(store).as_posix() for path in store.rglob("*.parquet"))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One DuckDB file and a partitioned store after the same ingests and denoise runs."""
    folder = tmp_path_factory.mktemp("both")
    stores = folder / "one.duckdb", folder / "parts"
    for arguments in batches(folder):
        reports = [ingest(store=store, **arguments).model_dump(exclude={"store"}) for store in stores]
        assert reports[0] == reports[1]
    config = DenoiseConfig(ranker="hierarchical", criterion="(none)")
    assert denoise(stores[0], config=config).run == denoise(stores[1], config=config).run
    return stores


def test_both_kinds_of_store_have_equal_tables(both: tuple[Path, Path]) -> None:
    one, parts = map(tables, both)
    assert one["votes"] == parts["votes"]
    assert len(one["votes"]) > 60
    assert len({row["vote_key"] for row in one["votes"]}) > 40
    assert {row["reason"] for row in one["rejects"]} >= {"repeated-vote", "vote-id-conflict"}
    assert one["controls"]
    assert one["rankings"]
    assert one == parts
    with Store.open(both[0], read_only=True) as first, Store.open(both[1], read_only=True) as second:
        assert first.counts() == second.counts()
        assert first.rankings().equals(second.rankings())
        assert first.votes().equals(second.votes())
        assert second.value("SELECT count(*) FROM superseded_votes")
    assert run(["status", "--store", str(both[1])]) == 0


def test_conversion_and_compaction_keep_every_table(
    both: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, parts = both
    expected = tables(one)
    assert convert(parts, tmp_path / "back.duckdb").files == 0
    assert tables(tmp_path / "back.duckdb") == expected
    made = convert(one, tmp_path / "fresh")
    assert tables(tmp_path / "fresh") == expected
    shutil.copytree(parts, tmp_path / "copy")
    report = compact(tmp_path / "copy")
    assert tables(tmp_path / "copy") == expected
    assert 0 < report.rewritten <= report.files == made.files
    (tmp_path / "back.duckdb.pseudonym-key").write_text("secret")
    key = tmp_path / "again.pseudonym-key"
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.stores.convert_store", Mock(side_effect=OSError("the disk is full")))
        with pytest.raises(OSError, match="full"):
            convert(tmp_path / "back.duckdb", tmp_path / "again")
    assert not key.exists()
    convert(tmp_path / "back.duckdb", tmp_path / "again")
    (tmp_path / "back.duckdb.pseudonym-key").unlink()
    assert (key.read_text(), key.stat().st_mode & 0o777) == ("secret", 0o600)
    key.unlink()
    assert parquet(tmp_path / "again") == parquet(tmp_path / "fresh")  # equal bytes
    assert compact(tmp_path / "copy").rewritten == 0
    with pytest.raises(ConflictError, match="exists"):
        convert(one, tmp_path / "fresh")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "back.duckdb", "copy", "fresh"]


def test_the_bucket_of_a_prompt_and_its_key_can_be_computed_anywhere(both: tuple[Path, Path]) -> None:
    ids = ["p1", "", "é", "视频 7", "a'b\n"]
    expected = [hashlib.md5(name.encode()).digest()[0] // 4 for name in ids]
    frame = pl.DataFrame({"prompt_id": ids})
    with Store.in_memory() as store, store.views(ids=frame):
        assert [row["b"] for row in store.rows(f"SELECT {BUCKET} AS b FROM ids")] == expected
    by_polars = pl.col("prompt_id").map_elements(lambda name: hashlib.md5(name.encode()).digest()[0] // 4, pl.Int64)
    rows = pl.scan_parquet(both[1] / "votes").with_columns(expected=by_polars).collect()
    assert (rows["bucket"] == rows["expected"]).all()
    keys = {high << 64 | low for high, low in rows.select("key_high", "key_low").rows()}
    assert keys >= {row["vote_key"] for row in tables(both[0])["votes"]}


def test_files_of_a_failed_ingest_are_not_votes(
    both: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, more = tmp_path / "parts", tmp_path / "more.csv"
    shutil.copytree(both[1], store)
    more.write_text("prompt_id,left,right,winner\n" + "".join(f"new{i},a,b,left\n" for i in range(9)))
    before = parquet(store)
    with monkeypatch.context() as patch:
        patch.setattr("curate.store.database.remove_unlisted", lambda _: None)  # as if the process were killed
        ingest(more, store, dry_run=True)
    assert len(parquet(store)) > len(before)
    assert tables(store) == tables(both[1])
    assert ingest(more, store).votes == 9
    with Store.open(store, read_only=True) as opened:
        assert opened.value("SELECT count(*) FROM vote_files") == len(parquet(store))


@pytest.mark.parametrize("damage", ["missing", "short", "changed"])
def test_a_damaged_file_is_named(
    damage: str, both: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "parts"
    shutil.copytree(both[1], store)
    file = store / parquet(store)[0]
    data = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(data[:-9] if damage == "short" else b"\0" * len(data))
    commands = [["denoise", "--criterion", "facts", "--store", str(store)]]
    if damage == "changed":  # a command that reads no votes does not notice
        commands += [
            ["store", "compact", "--store", str(store)],
            ["store", "convert", str(store), str(tmp_path / "new")],
        ]
    for command in commands:
        assert run(command) == 4, command
        assert f"error: {file}: " in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_folder_that_is_no_store_is_not_one(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(CurateError, match="a folder without"):
        Store.open(tmp_path / "folder")
