"""Hostile vote files: nothing crashes or hangs, rows add up, and limits have their own codes."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import polars as pl
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
def test_numbers_of_many_digits_are_rejects_unless_the_limit_allows_them(form: str, tmp_path: Path) -> None:
    long = VOTE.replace('"p"', "9" * 900) % ("8" * 4300)
    (tmp_path / "v.json").write_text(form % long)
    with pytest.raises(CurateError, match="too-many-digits"):
        ingest(tmp_path / "v.json", tmp_path / "s.duckdb")
    config = IngestConfig.model_validate({"limits": {"digits": 4300}})
    report = ingest(tmp_path / "v.json", tmp_path / "s.duckdb", config=config)
    assert (report.votes, report.rejects) == (1, 0)


def test_digits_within_texts_are_no_numbers(tmp_path: Path) -> None:
    (tmp_path / "v.jsonl").write_text(VOTE % f'"\\"{"8" * 4300}"' + "\n")
    assert ingest(tmp_path / "v.jsonl", tmp_path / "s.duckdb").votes == 1


def gzipped(path: Path, start: str, gib: float, end: str) -> Path:
    """Write a gzip file that holds one text of many spaces."""
    with gzip.open(path, "wb", compresslevel=1) as out:
        out.write(start.encode())
        for _ in range(int(gib * 64)):
            out.write(b" " * 2**24)
        out.write(end.encode())
    return path


def test_a_compressed_file_cannot_become_many_times_larger(tmp_path: Path) -> None:
    path = gzipped(tmp_path / "v.jsonl.gz", GOOD + '{"x": "', 0.125, '"}\n')
    with pytest.raises(CurateError, match="200 times") as caught:
        ingest(path, tmp_path / "s.duckdb")
    assert "ratio" in caught.value.hint


@pytest.mark.parametrize(("start", "end"), [(GOOD, GOOD.replace('"q', '"r')), ("", GOOD + GOOD.replace('"q', '"r'))])
def test_a_record_beyond_the_limit_is_a_reject_within_bounded_memory(start: str, end: str, tmp_path: Path) -> None:
    path = gzipped(tmp_path / "v.jsonl.gz", start + '{"x": "', 0.25, '"}\n' + end)
    config = IngestConfig.model_validate({"limits": {"ratio": 2000, "record_mib": 16, "memory_gib": 2}})
    report = ingest(path, tmp_path / "s.duckdb", config=config)
    assert (report.votes, report.reasons) == (6, {"too-large": 1})


@pytest.mark.parametrize("name", ["v.csv.gz", "v.json.gz"])
def test_an_endless_header_or_item_is_an_error(name: str, tmp_path: Path) -> None:
    path = gzipped(tmp_path / name, '[{"x": "' if "json" in name else "x", 0.0625, '"}]')
    config = IngestConfig.model_validate({"limits": {"ratio": 2000, "record_mib": 16}})
    with pytest.raises(CurateError, match="larger than 16 MiB"):
        ingest(path, tmp_path / "s.duckdb", config=config)


@pytest.mark.parametrize("name", ["v.csv", "v.parquet"])
def test_cells_that_nest_too_deeply_are_rejects(name: str, tmp_path: Path) -> None:
    cells = [f"[{'[' * 90}]", nested(101), '["' + "[" * 200 + '"]', "[" * 50_000]
    votes = {"prompt_id": list("pqrs"), "left": ["a"] * 4, "right": ["b"] * 4, "winner": ["left"] * 4, "x": cells}
    frame = pl.DataFrame(votes)
    frame.write_csv(tmp_path / name) if name == "v.csv" else frame.write_parquet(tmp_path / name)
    report = ingest(tmp_path / name, tmp_path / "s.duckdb")
    assert (report.votes, report.reasons) == (2, {"too-deep": 2})


@pytest.mark.parametrize("names", ["x," * 70_000, ",".join(map(str, range(70_000)))])
def test_a_header_of_thousands_of_columns_is_an_error(names: str, tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text(f"prompt_id,left,right,winner,{names}\np,a,b,left\n")
    with pytest.raises(CurateError, match=r"v.csv:1: (two columns are named|70,004 columns)"):
        ingest(tmp_path / "v.csv", tmp_path / "s.duckdb")


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
