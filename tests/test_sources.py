"""Sources of votes: files, stdin, URLs, tables, Datasets and records give the same votes, and leave no files behind."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import datasets
import fsspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from annotations.readers.sources import vote_files, without_secrets
from curate.store import Store
from pipelines import ingest
from schemas.config import IngestConfig
from schemas.errors import CurateError, MissingError, UsageError
from schemas.mapping import Limits

TINY = IngestConfig(limits=Limits(uncompressed_gib=1e-9))

ROWS: list[dict[str, Any]] = [
    {"prompt_id": "p1", "left": "a", "right": "b", "winner": "left", "annotator": "w1"},
    {"prompt_id": "p1", "left": "b", "right": "c", "winner": "tie", "annotator": "w1"},
    {"prompt_id": "p2", "left": "a", "right": "b", "winner": "right", "annotator": "w2"},
]
COLUMNS: dict[str, list[Any]] = {name: [row[name] for row in ROWS] for name in ROWS[0]}
CSV = "\n".join([",".join(ROWS[0]), *(",".join(row.values()) for row in ROWS)]) + "\n"
VOTES = [("p1", "a", "b", "left", "w1"), ("p1", "b", "c", "tie", "w1"), ("p2", "a", "b", "right", "w2")]
COUNTS = (3, 3, 0, 0)


@pytest.fixture(autouse=True)
def _no_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test leaves its folder of temporary files empty, also the tests of errors."""
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spool))
    yield
    assert list(spool.iterdir()) == []


def stored(store: Path) -> list[tuple[Any, ...]]:
    with Store.open(store, read_only=True) as opened:
        frame = opened.votes().select("prompt_id", "response_left", "response_right", "outcome", "annotator_id")
    return sorted(frame.rows())


def check(source: Any, folder: Path, name: str) -> None:
    """A source gives VOTES, in a file of this name, and duplicates when it is read again."""
    store = folder / "s.duckdb"
    report = ingest(source(), store)
    assert (report.rows, report.votes, report.duplicates, report.rejects) == COUNTS
    assert [file.path for file in report.files] == [name]
    assert stored(store) == VOTES
    again = ingest(source(), store)
    assert (again.votes, again.duplicates, again.batch) == (0, 3, "")


# Tables.


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (lambda: pl.DataFrame(ROWS), "<DataFrame>"),
        (lambda: pl.LazyFrame(ROWS), "<LazyFrame>"),
        (lambda: pl.DataFrame(ROWS).with_columns(pl.col("winner").cast(pl.Categorical)), "<DataFrame>"),
        (lambda: pd.DataFrame(ROWS), "<DataFrame>"),
        (lambda: pd.DataFrame(ROWS).set_index("prompt_id"), "<DataFrame>"),
        (lambda: pd.DataFrame(ROWS).astype("category"), "<DataFrame>"),
        (lambda: pa.Table.from_pylist(ROWS), "<Table>"),
        (lambda: pa.Table.from_pylist(ROWS).to_reader(), "<RecordBatchReader>"),
        (lambda: COLUMNS, "<dict>"),
        (lambda: datasets.Dataset.from_list(ROWS), "<Dataset>"),
        (lambda: datasets.DatasetDict(train=datasets.Dataset.from_list(ROWS)), "<Dataset train>"),
    ],
)
def test_a_table_is_a_source(source: Any, name: str, tmp_path: Path) -> None:
    check(source, tmp_path, name)


def test_a_dataset_keeps_the_order_of_its_indices(tmp_path: Path) -> None:
    rows = datasets.Dataset.from_list(ROWS).select([2, 0])
    assert ingest(rows, tmp_path / "s.duckdb").votes == 2
    assert stored(tmp_path / "s.duckdb") == [VOTES[0], VOTES[2]]


def test_two_tables_have_two_names(tmp_path: Path) -> None:
    report = ingest([pl.DataFrame(ROWS[:2]), pd.DataFrame(ROWS[2:])], tmp_path / "s.duckdb")
    assert [(file.path, file.votes) for file in report.files] == [("<DataFrame>", 2), ("<DataFrame 2>", 1)]


def test_a_missing_value_of_pandas_is_an_empty_field(tmp_path: Path) -> None:
    frame = pd.DataFrame(ROWS).assign(annotator=["w1", None, float("nan")], seconds=[1.5, float("nan"), 2.0])
    report = ingest(frame, tmp_path / "s.duckdb")
    assert (report.votes, report.anonymous) == (3, 2)


@pytest.mark.parametrize(
    "table",
    [
        pl.DataFrame(ROWS).with_columns(pl.Series("thing", [object()] * 3, dtype=pl.Object)),
        pl.DataFrame(ROWS).with_columns(thing=pl.lit(b"\xff")),
        pl.DataFrame(ROWS).with_columns(thing=pl.struct(pl.lit(b"\xff").alias("bytes"))),
        pd.DataFrame(ROWS).assign(thing=[1, "one", 1.0]),
        pd.DataFrame(ROWS).assign(thing=[b"\xff"] * 3),
        pa.Table.from_pylist([row | {"thing": [b"\xff"]} for row in ROWS]),
        COLUMNS | {"thing": [1, "one", 1.0]},
        datasets.Dataset.from_list([row | {"thing": b"\xff"} for row in ROWS]),
        [row | {"thing": b"\xff"} for row in ROWS],
        [row | {"thing": {1, 2}} for row in ROWS],
        [row | {"thing": float("inf")} for row in ROWS],
    ],
    ids=["object", "bytes", "nested", "mixed", "pandas-bytes", "list", "columns", "dataset", "dict", "set", "infinity"],
)
def test_a_column_that_cannot_be_stored_is_named(table: Any, tmp_path: Path) -> None:
    with pytest.raises(CurateError, match="thing"):
        ingest(table, tmp_path / "s.duckdb")
    assert not (tmp_path / "s.duckdb").exists()


# Records.


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (lambda: ROWS, "<list>"),
        (lambda: tuple(ROWS), "<tuple>"),
        (lambda: (row for row in ROWS), "<generator>"),
        (lambda: datasets.Dataset.from_list(ROWS).to_iterable_dataset(), "<IterableDataset>"),
    ],
)
def test_an_iterable_of_dicts_is_a_source(source: Any, name: str, tmp_path: Path) -> None:
    check(source, tmp_path, name)


TEXTS = ["\\frac{1}{2}", "a\\nb\nc", 'say "hi"', "é \U0001f600 \u2028", "[1, 2]", "\\\\", "\\u0041", " x "]


@pytest.mark.parametrize("source", [list, pl.DataFrame, pd.DataFrame, pa.Table.from_pylist, datasets.Dataset.from_list])
def test_texts_stay_exact(source: Any, tmp_path: Path) -> None:
    rows = [
        {"prompt_id": f"p{i}", "question": text, "left": "a", "right": "b", "winner": "left"}
        for i, text in enumerate(TEXTS)
    ]
    ingest(source(rows), tmp_path / "s.duckdb")
    with Store.open(tmp_path / "s.duckdb", read_only=True) as opened:
        assert opened.prompts().sort("prompt_id")["question"].to_list() == TEXTS


def test_values_of_numpy_and_pandas_are_read(tmp_path: Path) -> None:
    row = ROWS[0] | {
        "seconds": np.float32(1.5),
        "weight": Decimal("2"),
        "voted_at": datetime(2026, 1, 5, 10),
        "note": np.float32("nan"),
        "gap": float("nan"),
        "when": pd.NaT,
        "which": pd.NA,
        "scores": np.array([1, 2]),
    }
    report = ingest([row], tmp_path / "s.duckdb")
    with Store.open(tmp_path / "s.duckdb", read_only=True) as opened:
        vote = opened.votes().row(0, named=True)
    assert report.votes == 1
    assert (vote["seconds"], vote["weight"], vote["voted_at"]) == (1.5, 2.0, datetime(2026, 1, 5, 10))


def test_an_item_that_is_no_dict_is_named_by_its_position(tmp_path: Path) -> None:
    with pytest.raises(CurateError, match="item 3"):
        ingest([*ROWS[:2], "p1"], tmp_path / "s.duckdb")


@pytest.mark.parametrize("source", [7, [7], None, [None], object()])
def test_what_is_no_source_is_an_error(source: Any, tmp_path: Path) -> None:
    with pytest.raises(CurateError):
        ingest(source, tmp_path / "s.duckdb")


def test_no_sources_are_no_files(tmp_path: Path) -> None:
    with vote_files([]) as files:
        assert files == ()


# Files, and Datasets that were saved to disk.


def test_a_path_that_is_given_twice_is_one_file(tmp_path: Path) -> None:
    path = tmp_path / "v.csv"
    path.write_text(CSV)
    with vote_files([path, str(path), str(tmp_path / "*.csv")]) as files:
        assert [file.path for file in files] == [path]
    with vote_files(files) as again:
        assert again == files


def test_a_file_of_indices_of_a_saved_dataset_is_refused(tmp_path: Path) -> None:
    datasets.Dataset.from_list(ROWS).save_to_disk(tmp_path / "d")
    state = json.loads((tmp_path / "d/state.json").read_text())
    (tmp_path / "d/state.json").write_text(json.dumps(state | {"_indices_data_files": [{"filename": "i.arrow"}]}))
    with pytest.raises(CurateError) as error:
        ingest(tmp_path / "d", tmp_path / "s.duckdb")
    assert "flatten_indices" in error.value.hint


# Stdin.


@pytest.mark.parametrize(
    "content",
    [CSV.encode(), gzip.compress(CSV.encode(), mtime=0), json.dumps(ROWS).encode()],
    ids=["csv", "gzip", "json"],
)
def test_the_command_reads_stdin(content: bytes, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cli.main", "ingest", "-", "--store", str(tmp_path / "s.duckdb"), "--json"]
    done = subprocess.run(command, input=content, capture_output=True, check=True, cwd=Path(__file__).parents[1])
    report = json.loads(done.stdout)
    assert [report[name] for name in ("rows", "votes", "duplicates", "rejects")] == list(COUNTS)
    assert report["files"][0]["path"] == "stdin"
    assert stored(tmp_path / "s.duckdb") == VOTES


def test_an_empty_stdin_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "empty").open("w+") as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        with pytest.raises(CurateError, match=r"^stdin: "):
            ingest("-", tmp_path / "s.duckdb")


def test_stdin_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "v.csv"
    path.write_text(CSV)
    with path.open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        with pytest.raises(CurateError, match="larger than"), vote_files("-", TINY):
            pass


def test_without_stdin_the_usage_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError), vote_files("-"):
        pass


# URLs.


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """The address of a server of the files in tmp_path/www."""
    (tmp_path / "www").mkdir()
    handler = partial(_Quiet, directory=str(tmp_path / "www"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("file", ["v.csv", "v.csv.gz"])
def test_a_url_is_a_source_and_its_secrets_are_not_stored(file: str, address: str, tmp_path: Path) -> None:
    content = gzip.compress(CSV.encode()) if file.endswith(".gz") else CSV.encode()
    (tmp_path / "www" / file).write_bytes(content)
    check(lambda: f"http://me:secret@{address}/{file}?token=hidden", tmp_path, f"http://{address}/{file}")


def test_an_error_of_a_url_does_not_repeat_its_secrets(address: str, tmp_path: Path) -> None:
    with pytest.raises(CurateError) as error:
        ingest(f"http://me:secret@{address}/none.csv?token=hidden", tmp_path / "s.duckdb")
    assert f"http://{address}/none.csv" in str(error.value)
    assert error.value.__cause__ is None
    assert not any(word in str(error.value) + error.value.hint for word in ("me:", "secret", "hidden"))


def test_fsspec_opens_other_storage(tmp_path: Path) -> None:
    path = tmp_path / "v.csv"
    path.write_text(CSV)
    check(lambda: f"file://{path}", tmp_path, f"file://{path}")
    with fsspec.open("memory://votes/a.csv", "w") as out:
        out.write(CSV)
    with fsspec.open("memory://votes/b.csv", "w") as out:
        out.write(CSV.replace("w1", "w3"))
    for url in ("memory://votes", "memory://votes/*.csv"):
        report = ingest(url, tmp_path / "m.duckdb", dry_run=True)
        assert [file.path for file in report.files] == ["memory:///votes/a.csv", "memory:///votes/b.csv"]
        assert report.votes == 5
        assert report.duplicates == 1


@pytest.mark.parametrize("url", ["memory://nothing/v.csv", "memory://nothing/*.csv", "unknown://x/v.csv"])
def test_a_url_without_a_file_is_an_error(url: str, tmp_path: Path) -> None:
    with pytest.raises(CurateError, match=url.partition("*")[0]):
        ingest(url, tmp_path / "s.duckdb")


def test_without_fsspec_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingError) as error, vote_files("https://example.org/v.csv"):
        pass
    assert "mr2-curate[remote]" in error.value.hint


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("s3://bucket/v.parquet", "s3://bucket/v.parquet"),
        ("hf://datasets/org/votes@main/v.parquet", "hf://datasets/org/votes@main/v.parquet"),
        ("https://me:a@b@host/v.csv#part", "https://host/v.csv"),
        ("simplecache::https://me:a@host/v.csv?q=@/", "simplecache::https://host/v.csv"),
    ],
)
def test_secrets_are_removed_from_urls(url: str, name: str) -> None:
    assert without_secrets(url) == name


# Prompts and responses.


def test_prompts_and_responses_come_from_the_same_sources(tmp_path: Path) -> None:
    prompts = pl.DataFrame({"prompt_id": ["p1", "p2"], "question": ["What?", "Why?"]})
    responses = [{"prompt_id": "p1", "response_id": name, "text": f"{name}!"} for name in "abc"]
    report = ingest(iter(ROWS), tmp_path / "s.duckdb", prompts=prompts, responses=responses)
    assert (report.votes, report.prompts) == (3, 2)
    with Store.open(tmp_path / "s.duckdb", read_only=True) as opened:
        assert opened.prompts()["question"].to_list() == ["What?", "Why?"]
        assert opened.responses()["text"].drop_nulls().to_list() == ["a!", "b!", "c!"]
