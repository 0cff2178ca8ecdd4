"""Hostile vote files: nothing crashes or hangs, rows add up, and limits have their own codes."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import ingest
from schemas.config import IngestConfig
from schemas.errors import CurateError

VOTE = '{"prompt_id": "p", "left": "a", "right": "b", "winner": "left", "x": %s}'
GOOD = "".join(VOTE.replace('"p"', f'"q{i}"') % "1" + "\n" for i in range(3))


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


@pytest.mark.parametrize("levels", [200, 2500, 100_000])
def test_deep_records_are_rejected(levels: int, tmp_path: Path) -> None:
    (tmp_path / "v.jsonl").write_text(GOOD + VOTE % nested(levels) + "\n")
    report = ingest(tmp_path / "v.jsonl", tmp_path / "s.duckdb")
    assert (report.votes, report.reasons) == (3, {"too-deep": 1})


def test_brackets_in_texts_do_not_count_as_nesting(tmp_path: Path) -> None:
    (tmp_path / "v.jsonl").write_text(GOOD + VOTE % f'"{"[" * 500} \\" {"{" * 500}"' + "\n")
    assert ingest(tmp_path / "v.jsonl", tmp_path / "s.duckdb").votes == 4


def test_the_depth_is_configurable(tmp_path: Path) -> None:
    (tmp_path / "v.jsonl").write_text(GOOD + VOTE % nested(150) + "\n")
    config = IngestConfig.model_validate({"limits": {"depth": 200}})
    assert ingest(tmp_path / "v.jsonl", tmp_path / "s.duckdb", config=config).votes == 4


@pytest.mark.parametrize("text", ["[" * 100_000, "[" + VOTE % nested(5000) + "]", nested(2000) + "\n"])
def test_a_file_that_is_nothing_but_nesting_is_an_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "v.json").write_text(text)
    with pytest.raises(CurateError):
        ingest(tmp_path / "v.json", tmp_path / "s.duckdb")
    assert not (tmp_path / "s.duckdb").exists()


@pytest.mark.parametrize("form", ["%s\n", "[%s]"])
def test_an_integer_of_many_digits_is_a_text(form: str, tmp_path: Path) -> None:
    (tmp_path / "v.json").write_text(form % (VOTE.replace('"p"', "9" * 5000) % ("8" * 4301)))
    report = ingest(tmp_path / "v.json", tmp_path / "s.duckdb")
    assert (report.votes, report.rejects) == (1, 0)


def test_pipes_and_devices_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    for path in (tmp_path / "pipe.csv", Path("/dev/zero")):
        with pytest.raises(CurateError, match="not a regular file"):
            ingest(path, tmp_path / "s.duckdb")


def test_unusual_parquet_types_are_read(tmp_path: Path) -> None:
    columns = {name: [name] for name in ("prompt_id", "left", "right")} | {"winner": ["left"]}
    odd = {
        "map": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
        "time": pa.array([1], pa.time64("ns")),
        "bytes": pa.array([b"\xff"], pa.binary()),
        "null": pa.nulls(1),
    }
    pq.write_table(pa.table(columns | odd), tmp_path / "v.parquet")
    assert ingest(tmp_path / "v.parquet", tmp_path / "s.duckdb").votes == 1
