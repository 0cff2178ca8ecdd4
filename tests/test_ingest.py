"""Ingest: the content of the store, the report, and files that change nothing."""

from __future__ import annotations

import gzip
import json
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import annotations.readers.files
import annotations.readers.formats
import curate
from curate.store import Store, staging
from pipelines.ingestion import ingest
from schemas.config import IngestConfig
from schemas.errors import CurateError
from schemas.mapping import Mapping
from schemas.reports import IngestReport

HEADER = "prompt_id,left,right,winner,worker,timestamp\n"
NOW = datetime(2026, 1, 1)
TAKE = IngestConfig(on_error="reject", max_rejects=1)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "curate.duckdb"


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def counts(report: IngestReport) -> tuple[int, int, int, int]:
    """(rows, votes, duplicates, rejects), which add up in the whole and in each file."""
    for part in (report, *report.files):
        assert part.rows == part.votes + part.duplicates + part.rejects
    assert report.rows == sum(file.rows for file in report.files)
    assert report.rejects == sum(report.reasons.values())
    return report.rows, report.votes, report.duplicates, report.rejects


def votes(store: Path) -> list[tuple[str, str, str, str]]:
    with Store.open(store, read_only=True) as opened:
        return opened.votes().select("prompt_id", "response_left", "response_right", "outcome").rows()


def rejects(store: Path) -> list[tuple[str, int, str | None, str | None, str]]:
    with Store.open(store, read_only=True) as opened:
        frame = opened.rejects()
    return [(Path(r["file"]).name, r["line"], r["column"], r["value"], r["reason"]) for r in frame.to_dicts()]


# Equal content, equal votes.


ROWS = [
    ("p1", "m1", "m2", "left", "w1", "2025-01-01 10:00:00"),
    ("p1", "m2", "m3", "tie", "w1", "2025-01-01 10:01:00"),
    ("p2", "m1", "m,3", "both_bad", "w2", "2025-01-01 10:02:00"),
    ("p2", "m1", "m2", "right", None, None),
]
NAMES = ["prompt_id", "left", "right", "winner", "worker", "timestamp"]


def in_every_format(folder: Path) -> list[Path]:
    frame = pl.DataFrame(ROWS, schema=dict.fromkeys(NAMES, pl.String), orient="row")
    frame.write_csv(folder / "v.csv")
    frame.write_csv(folder / "v.tsv", separator="\t")
    rows = frame.write_csv(separator=";", quote_style="always")
    (folder / "semicolon.csv").write_text(f"sep=;\n{rows}")  # as some programs write it for Excel
    frame.write_ndjson(folder / "v.jsonl")
    (folder / "v.json").write_text(json.dumps(frame.to_dicts()))
    (folder / "windows.csv").write_bytes(b"\xef\xbb\xbf" + (folder / "v.csv").read_bytes().replace(b"\n", b"\r\n"))
    for path in sorted(folder.iterdir()):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
    frame.write_parquet(folder / "v.parquet")
    return sorted(folder.iterdir())


def test_every_format_gives_the_same_votes(tmp_path: Path, store: Path) -> None:
    (tmp_path / "files").mkdir()
    files = in_every_format(tmp_path / "files")
    assert len(files) == 13
    assert counts(ingest(tmp_path / "files", store)) == (52, 4, 48, 0)
    assert counts(ingest(str(tmp_path / "files" / "*.csv*"), store)) == (24, 0, 24, 0)
    assert votes(store) == [row[:4] for row in ROWS]
    with Store.open(store, read_only=True) as opened:
        assert opened.votes()["annotator_id"].to_list() == ["w1", "w1", "w2", None]
        assert opened.votes()["voted_at"].to_list()[0] == datetime(2025, 1, 1, 10)


def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read files without a child process, which does not have this process's changes."""
    monkeypatch.setattr(annotations.readers.formats, "guarded", lambda function, *args: function(*args))


def test_the_block_size_does_not_change_the_result(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "files").mkdir()
    in_every_format(tmp_path / "files")
    in_process(monkeypatch)
    monkeypatch.setattr(annotations.readers.files, "BLOCK", 30)
    assert counts(ingest(tmp_path / "files", store)) == (52, 4, 48, 0)


def test_rows_grouped_in_slices_give_the_same_store(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = "".join(f"p{n % 9},m{n % 5},n{n % 4},{'left' if n % 3 else 'tie'},w{n % 7},\n" for n in range(300))
    (tmp_path / "a.csv").write_text(HEADER + rows)
    (tmp_path / "b.csv").write_text(HEADER + rows.replace("left", "right"))
    found = []
    for size in (1, 10**8):
        monkeypatch.setattr(staging, "BYTES_PER_GROUP", size)
        path = tmp_path / f"{size}.duckdb"
        reports = [ingest(tmp_path / name, path).model_dump(exclude={"store"}) for name in ("a.csv", "b.csv")]
        with Store.open(path, read_only=True) as opened:
            names = ("votes", "rejects", "responses")
            found.append((reports, [opened.rows(f"SELECT * FROM {name} ORDER BY ALL") for name in names]))
    assert found[0] == found[1]
    assert found[0][0][1]["superseded"] > 0


def test_files_read_at_the_same_time_give_the_same_store(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "files").mkdir()
    every, other = in_every_format(tmp_path / "files"), tmp_path / "other.duckdb"
    files = [path for path in every if path.name in ("semicolon.csv", "v.csv", "v.jsonl", "v.tsv.gz")]
    monkeypatch.setattr(annotations.readers.files, "BLOCK", 30)  # more chunks of each CSV file than are read ahead
    key = "a secret of at least 16 characters"
    one = ingest(files, store, pseudonym_key=key)
    several = ingest(files, other, pseudonym_key=key, workers=2)
    assert several.model_copy(update={"store": str(store)}) == one
    with Store.open(store, read_only=True) as a, Store.open(other, read_only=True) as b:
        assert a.votes().to_dicts() == b.votes().to_dicts()
    (files[1]).write_text(HEADER + "p1,m1,m2,left,w1,\n" * 40 + '"p1')
    with pytest.raises(CurateError, match=files[1].name):
        ingest(files, tmp_path / "new.duckdb", workers=2)
    assert not (tmp_path / "new.duckdb").exists()


# Rejects.


BAD = HEADER + (
    "p1,m1,m2,left,w1,2025-01-01 10:00\n"  # 2
    ",m1,m2,left,w1,2025-01-01 10:00\n"
    "p1,,m2,left,w1,2025-01-01 10:00\n"
    "p1,m1,,left,w1,2025-01-01 10:00\n"  # 5
    "p1,m1,m1,left,w1,2025-01-01 10:00\n"
    "p1,m1,m2,lft,w1,2025-01-01 10:00\n"
    "p1,m1,m2,,w1,2025-01-01 10:00\n"
    "p1,m1,m2,left,w1,soon\n"
    "p1,m1,m2,left,w1,2026-02-01\n"  # 10
    "p1,m1,m2,left\n"
    "p1,m1,m2,left,w1,2025-01-01 10:00,extra\n"
    'p1,m"1,m2,left,w1,2025-01-01 10:00\n'
    "p1,m1,m2,left,w1,2025-01-01 10:00\n"  # 14: a duplicate
    '"p1",m1,"m\n2",right,w2,\n'  # 15 and 16
    "p1,m1,m2,right,w1,2025-01-01 11:00\n"  # 17: the later vote
    "p1,m1,\udcff,right,w3,\n"  # 18
    "p1,m3,m4,neither?,w9,\n"
)


def test_every_kind_of_bad_row_is_rejected_with_its_line(tmp_path: Path, store: Path) -> None:
    path = write(tmp_path / "votes.csv", BAD.encode("utf-8", "surrogateescape"))
    report = ingest(path, store, config=TAKE, now=NOW)
    assert counts(report) == (17, 2, 1, 14)
    assert report.files[0].unreadable == {"voted_at": 1}
    assert votes(store) == [("p1", "m1", "m\n2", "right"), ("p1", "m1", "m2", "right")]
    assert rejects(store) == [
        ("votes.csv", 2, "worker", "w1", "repeated-vote"),
        ("votes.csv", 3, "prompt_id", None, "empty-id"),
        ("votes.csv", 4, "left", None, "empty-id"),
        ("votes.csv", 5, "right", None, "empty-id"),
        ("votes.csv", 6, "right", "m1", "self-comparison"),
        ("votes.csv", 7, "winner", "lft", "unknown-outcome"),
        ("votes.csv", 8, "winner", None, "unknown-outcome"),
        ("votes.csv", 9, "worker", "w1", "repeated-vote"),
        ("votes.csv", 10, "timestamp", "2026-02-01", "future-vote"),
        ("votes.csv", 11, None, None, "wrong-field-count"),
        ("votes.csv", 12, None, None, "wrong-field-count"),
        ("votes.csv", 13, None, None, "broken-record"),
        ("votes.csv", 18, None, None, "bad-encoding"),
        ("votes.csv", 19, "winner", "neither?", "unknown-outcome"),
    ]
    again = ingest(path, store, config=TAKE, now=NOW)
    assert counts(again) == (17, 0, 3, 14)
    assert again.batch == ""
    assert len(rejects(store)) == 14


def test_damage_stops_an_ingest_and_bad_values_do_not(tmp_path: Path, store: Path) -> None:
    rows = [line for line in BAD.splitlines(keepends=True) if 'm"1' not in line and "\udcff" not in line]
    assert ingest(write(tmp_path / "bad.csv", "".join(rows)), store, now=NOW).rejects == 12
    with pytest.raises(CurateError, match=r"a.csv:2: ") as caught:
        ingest(write(tmp_path / "a.csv", HEADER + 'p,a"b,c,left,w,\n'), store)
    assert "--on-error reject" in caught.value.hint
    (tmp_path / "b.csv").write_bytes((HEADER + "p,ä,c,left,w,\n").encode("latin-1"))
    with pytest.raises(CurateError, match=r"b.csv:2: not UTF-8") as caught:
        ingest(tmp_path / "b.csv", store)
    assert "encoding = " in caught.value.hint


# Damage.


def damaged(folder: Path) -> dict[str, tuple[Path, int]]:
    """kind -> (a file that breaks, the whole rows before that)."""
    lines = [",".join(cell or "" for cell in row) for row in ROWS if "," not in row[2]]
    text = HEADER + "\n".join(lines)
    objects = [dict(zip(NAMES, row, strict=True)) for row in ROWS]
    packed = gzip.compress((HEADER + "".join(f"p{i},m1,m2,left,w{i * 7919 % 1000},\n" for i in range(500))).encode())
    pl.DataFrame(objects).write_parquet(folder / "whole.parquet")
    return {
        "gzip": (write(folder / "cut.csv.gz", packed[: len(packed) // 2]), -1),
        "utf8": (write(folder / "latin.csv", text.encode() + b"\np1,m1,m\xe9,left,w4,\n"), 3),
        "jsonl": (write(folder / "half.jsonl", "\n".join(map(json.dumps, objects)) + '\n{"prompt_id": "p'), 4),
        "json": (write(folder / "cut.json", json.dumps(objects)[:-20]), 3),
        "quote": (write(folder / "quote.csv", text + '\np1,"m1,m2,left,w4,\n'), 3),
        "parquet": (write(folder / "cut.parquet", (folder / "whole.parquet").read_bytes()[:-9]), 0),
    }


@pytest.mark.parametrize("kind", ["gzip", "utf8", "jsonl", "json", "quote", "parquet"])
def test_a_damaged_file_leaves_the_store_unchanged(kind: str, tmp_path: Path, store: Path) -> None:
    path, _ = damaged(tmp_path)[kind]
    ingest(write(tmp_path / "good.csv", HEADER + "p9,m1,m2,left,w1,\n"), store)
    before = store.read_bytes()
    with pytest.raises(CurateError, match=path.name) as caught:
        ingest([tmp_path / "good.csv", path], store)
    assert "--on-error reject" in caught.value.hint
    assert votes(store) == [("p9", "m1", "m2", "left")]
    assert store.read_bytes() == before


@pytest.mark.parametrize("kind", ["gzip", "utf8", "jsonl", "json", "quote", "parquet"])
def test_the_intact_rows_of_a_damaged_file_can_be_ingested(kind: str, tmp_path: Path, store: Path) -> None:
    path, whole = damaged(tmp_path)[kind]
    report = ingest(path, store, config=TAKE)
    assert counts(report) == (report.votes + 1, report.votes, 0, 1)
    assert report.votes == whole if whole >= 0 else 100 < report.votes < 500
    assert len(votes(store)) == report.votes
    assert ingest(path, store, config=TAKE).batch == ""
    assert len(rejects(store)) == 1


def test_a_complete_download_adds_the_missing_rows(tmp_path: Path, store: Path) -> None:
    whole = gzip.compress((HEADER + "".join(f"p{i},m1,m2,left,w{i * 7919 % 1000},\n" for i in range(500))).encode())
    first = ingest(write(tmp_path / "v.csv.gz", whole[: len(whole) // 2]), store, config=TAKE)
    second = ingest(write(tmp_path / "v.csv.gz", whole), store, config=TAKE)
    assert counts(second) == (500, 500 - first.votes, first.votes, 0)


def test_a_first_ingest_that_fails_leaves_no_store(tmp_path: Path, store: Path) -> None:
    with pytest.raises(CurateError):
        ingest(write(tmp_path / "v.csv", "a,b\n1,2\n"), store)
    assert [path.name for path in tmp_path.iterdir()] == ["v.csv"]


def test_a_file_without_a_readable_record_is_all_rejects(tmp_path: Path, store: Path) -> None:
    assert counts(ingest(write(tmp_path / "v.jsonl", "{oh\n{no\n"), store, config=TAKE)) == (2, 0, 0, 2)


def test_a_header_without_rows_is_a_warning(tmp_path: Path, store: Path) -> None:
    report = ingest(write(tmp_path / "v.csv", HEADER), store)
    assert counts(report) == (0, 0, 0, 0)
    assert any("no rows" in warning for warning in report.warnings)


def test_a_key_that_appears_too_late_to_be_read_is_refused(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_process(monkeypatch)
    monkeypatch.setattr(annotations.readers.files, "BLOCK", 100)
    row = {"prompt_id": "p", "left": "m1", "right": "m2", "winner": "left"}
    lines = [json.dumps(row) for _ in range(4)] + [json.dumps({**row, "worker": "w1"})]
    path = write(tmp_path / "v.jsonl", "\n".join(lines))
    with pytest.raises(CurateError, match=r"v.jsonl:\d+: the key 'worker'") as caught:
        ingest(path, store)
    assert "--map annotator_id=" in caught.value.hint
    taken = ingest(path, store, config=IngestConfig(mapping=Mapping(columns={"annotator_id": ""})))
    assert counts(taken) == (5, 5, 0, 0)


# The report.


def test_the_report_lists_the_column_of_each_field(tmp_path: Path, store: Path) -> None:
    text = HEADER.replace("\n", ",mood\n") + "p1,m1,m2,left,w1,,glad\np1,m1,m3,tie,,,\n"
    report = ingest(write(tmp_path / "v.csv", text), store)
    [file] = report.files
    assert file.detected == {
        "prompt_id": "prompt_id",
        "left": "left",
        "right": "right",
        "outcome": "winner",
        "annotator_id": "worker",
        "voted_at": "timestamp",
    }
    assert (file.format, file.unused) == ("csv", ("mood",))
    assert (report.prompts, report.responses, report.annotators, report.anonymous, report.sides_known) == (
        1,
        3,
        1,
        1,
        2,
    )


def test_a_file_without_annotators_is_a_warning(tmp_path: Path, store: Path) -> None:
    report = ingest(write(tmp_path / "v.csv", "prompt_id,left,right,winner\np1,m1,m2,left\n"), store)
    assert any("no column of annotators" in warning for warning in report.warnings)


# Dry runs.


def test_a_dry_run_makes_no_store(tmp_path: Path, store: Path) -> None:
    path = write(tmp_path / "v.csv", HEADER + "p1,m1,m2,left,w1,\n")
    report = ingest(path, store, dry_run=True)
    assert counts(report) == (1, 1, 0, 0)
    assert (report.dry_run, report.batch) == (True, "")
    assert [path.name for path in tmp_path.iterdir()] == ["v.csv"]


def test_a_dry_run_reports_the_changes_and_writes_nothing(tmp_path: Path, store: Path) -> None:
    path = write(tmp_path / "v.csv", HEADER + "p1,m1,m2,left,w1,\n")
    ingest(path, store)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    more = write(tmp_path / "more.csv", HEADER + "p1,m1,m2,right,w1,\np2,m1,m2,left,w1,\np1,m1,m1,left,w1,\n")
    before[more.name] = more.read_bytes()
    dry = ingest([path, more], store, dry_run=True)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    wet = ingest([path, more], store)
    assert counts(wet) == (4, 2, 1, 1)
    assert wet.superseded == 1
    assert wet.model_copy(update={"dry_run": True, "batch": ""}) == dry


# Prompts and responses.


PROMPTS = "prompt_id,question,video\np1,What is red?,v1.mp4\np2,Who runs?,v2.mp4\n"
RESPONSES = "prompt_id,response_id,model,text\np1,m1,gpt,A ball\np1,m4,llama,A car\n"


def test_prompts_and_responses_are_read_from_files(tmp_path: Path, store: Path) -> None:
    report = ingest(
        write(tmp_path / "v.csv", HEADER + "p1,m1,m4,left,w1,\np2,m1,m2,left,w1,\n"),
        store,
        prompts=write(tmp_path / "prompts.csv", PROMPTS),
        responses=write(tmp_path / "responses.csv", RESPONSES),
    )
    assert (report.prompts, report.responses) == (2, 4)
    with Store.open(store, read_only=True) as opened:
        assert opened.prompts().rows() == [
            ("p1", "What is red?", "v1.mp4", True, None),
            ("p2", "Who runs?", "v2.mp4", True, None),
        ]
        assert opened.responses().select("response_id", "model", "text", "from_file").rows() == [
            ("m1", "gpt", "A ball", True),
            ("m4", "llama", "A car", True),
            ("m1", "m1", None, False),
            ("m2", None, None, False),
        ]


def test_prompts_and_responses_are_read_from_votes(tmp_path: Path, store: Path) -> None:
    row = {"prompt_id": "p1", "question": "What?", "video": "v.mp4", "response_a": "r1", "response_b": "r2"}
    row |= {"model_a": "gpt", "model_b": "llama", "text_a": "Yes", "text_b": "No", "winner": "model_b"}
    ingest(write(tmp_path / "v.json", json.dumps([row])), store)
    with Store.open(store, read_only=True) as opened:
        assert opened.prompts().rows() == [("p1", "What?", "v.mp4", False, None)]
        assert opened.responses().rows() == [
            ("p1", "r1", "gpt", "Yes", False, None),
            ("p1", "r2", "llama", "No", False, None),
        ]


def test_votes_with_different_questions_on_a_prompt_are_a_warning(tmp_path: Path, store: Path) -> None:
    text = "prompt_id,question,left,right,winner,worker\np1,What?,m1,m2,left,w1\np1,Who?,m1,m3,left,w1\n"
    report = ingest(write(tmp_path / "v.csv", text), store)
    assert any("more than one text, model or video" in warning for warning in report.warnings)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("prompt_id,question\np1,What?\np1,Who?\n", "p1 has two different rows"),
        ("prompt_id,question\n,What?\n", "prompts.csv:2: prompt_id"),
        ("prompt_id,question\np1\n", "prompts.csv:2: 1 fields"),
        ("question\nWhat?\n", "no column that holds prompt_id"),
    ],
)
def test_a_bad_row_in_a_file_of_prompts_is_an_error(text: str, complaint: str, tmp_path: Path, store: Path) -> None:
    path = write(tmp_path / "v.csv", HEADER + "p1,m1,m2,left,w1,\n")
    with pytest.raises(CurateError, match=complaint):
        ingest(path, store, prompts=write(tmp_path / "prompts.csv", text))
    assert not store.exists()


def test_votes_on_prompts_outside_the_file_of_prompts_are_rejected(tmp_path: Path, store: Path) -> None:
    path = write(tmp_path / "v.csv", HEADER + "p1,m1,m2,left,w1,\np9,m1,m2,left,w1,\n")
    prompts = write(tmp_path / "prompts.csv", PROMPTS)
    assert counts(ingest(path, store, prompts=prompts)) == (2, 1, 0, 1)
    assert rejects(store) == [("v.csv", 3, "prompt_id", "p9", "unknown-prompt")]
    assert counts(ingest(path, store)) == (2, 0, 1, 1)
    assert len(rejects(store)) == 1


def test_votes_on_responses_outside_the_file_of_responses_are_rejected(tmp_path: Path, store: Path) -> None:
    path = write(tmp_path / "v.csv", HEADER + "p1,m1,m2,left,w1,\np1,m1,m2x,left,w2,\np2,m1,m2,left,w1,\n")
    ranking = '{"prompt_id": "p1", "responses": ["m1", "m2", "m3"], "rankings": [1, 2, 3]}\n'
    responses = write(tmp_path / "r.csv", "prompt_id,response_id,text\np1,m1,One\np1,m2,Two\n")
    report = ingest([path, write(tmp_path / "k.jsonl", ranking)], store, responses=responses)
    assert counts(report) == (4, 2, 0, 2)
    assert rejects(store) == [
        ("v.csv", 3, "right", "m2x", "unknown-response"),
        ("k.jsonl", 1, "responses", "m3", "unknown-response"),
    ]
    more = write(tmp_path / "more.csv", "prompt_id,response_id,text\np1,m3,Three\n")
    assert ingest(tmp_path / "k.jsonl", store, responses=more).recovered == 1


def test_a_prompt_that_is_added_later_recovers_its_rejects(tmp_path: Path, store: Path) -> None:
    path = write(tmp_path / "v.csv", HEADER + "p1,m1,m2,left,w1,\np9,m1,m2,left,w1,\n")
    ingest(path, store, prompts=write(tmp_path / "prompts.csv", PROMPTS))
    report = ingest(path, store, prompts=write(tmp_path / "prompts.csv", PROMPTS + "p9,How?,v9.mp4\n"))
    assert counts(report) == (2, 1, 1, 0)
    assert report.recovered == 1
    assert rejects(store) == []


# Random rows.


PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
"""Every example is several ingests: few of them, and no shrinking."""

garbage = st.lists(
    st.tuples(
        st.sampled_from(["p1", "p1", "p2", ""]),
        st.sampled_from(["r1", "r2", "r3", "", "r\n4"]),
        st.sampled_from(["r1", "r2", "r3", "r,5"]),
        st.sampled_from(["left", "right", "tie", "both_bad", "lft", ""]),
        st.sampled_from(["w1", "w2", "", "w3"]),
        st.sampled_from(["", "2025-01-01", "2025-01-02", "never", "2030-01-01"]),
        st.sampled_from(["", "", "", "v1", "v2", "v3"]),
        st.sampled_from(["", "", "", "", ",extra", '"', "\nhalf a row"]),
    ),
    max_size=14,
)


def as_csv(rows: list[tuple[str, ...]]) -> str:
    """A vote file. An id names one vote: if another file uses it for a second one, the order of the files decides which
    is rejected, and for what reason."""
    lines = []
    for *row, vote_id, damage in rows:
        prompt, *pair, outcome, annotator, _ = row
        row.append(vote_id and "-".join([vote_id, prompt, *sorted(pair), outcome, annotator]))
        lines.append(",".join(f'"{cell}"' if "\n" in cell or "," in cell else cell for cell in row) + damage)
    return HEADER.replace("\n", ",vote_id\n") + "p0,r1,r2,left,w0,,\n" + "".join(line + "\n" for line in lines)


@pytest.mark.slow
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=PHASES)
@given(
    files=st.lists(garbage, min_size=1, max_size=3),
    repeats=st.sampled_from(["last", "all", "reject"]),
    order=st.permutations([0, 1, 2]),
    size=st.sampled_from([40, 1 << 20]),
)
def test_every_row_is_classified_once_and_ingest_is_idempotent(
    files: list[list[tuple[str, ...]]],
    repeats: str,
    order: list[int],
    size: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("garbage")
    store = folder / "curate.duckdb"
    config = IngestConfig.model_validate({"on_error": "reject", "max_rejects": 1, "repeats": repeats})
    paths = [write(folder / f"{i}.csv", as_csv(rows)) for i, rows in enumerate(files)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(annotations.readers.files, "BLOCK", size)
        reports = [ingest(path, store, config=config, now=NOW) for path in paths]
    for report in reports:
        counts(report)
    stored = votes(store), rejects(store)
    assert len(stored[0]) == sum(report.votes - report.superseded for report in reports)
    any_order = [i for i in order if i < len(paths)]
    again = ingest(paths[any_order[0]], store, config=config, now=NOW)
    counts(again)
    assert (again.votes, again.batch, again.rows) == (0, "", reports[any_order[0]].rows)
    together = ingest([paths[i] for i in any_order], store, config=config, now=NOW)
    counts(together)
    assert (together.votes, together.batch) == (0, "")
    assert (votes(store), rejects(store)) == stored


@pytest.mark.slow
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=PHASES)
@given(rows=garbage, cut=st.integers(0, 14), repeats=st.sampled_from(["last", "all", "reject"]))
def test_ingesting_a_growing_file_equals_ingesting_the_whole_file(
    rows: list[tuple[str, ...]], cut: int, repeats: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("grown")
    config = IngestConfig.model_validate({"on_error": "reject", "max_rejects": 1, "repeats": repeats})
    ingest(write(folder / "v.csv", as_csv(rows)), folder / "whole.duckdb", config=config, now=NOW)
    ingest(write(folder / "v.csv", as_csv(rows[:cut])), folder / "grown.duckdb", config=config, now=NOW)
    ingest(write(folder / "v.csv", as_csv(rows)), folder / "grown.duckdb", config=config, now=NOW)
    if repeats != "reject" or not any(row[5] for row in rows):  # the first to come stays, whatever its date
        assert sorted(votes(folder / "grown.duckdb")) == sorted(votes(folder / "whole.duckdb"))


def test_texts_of_duplicate_votes_are_stored(tmp_path: Path) -> None:
    """A second export of the same votes with the answers' texts adds the texts and no vote."""
    (tmp_path / "bare.csv").write_text("prompt_id,left,right,winner\np,a,b,left\n")
    (tmp_path / "full.csv").write_text("prompt_id,left,right,winner,text_a,text_b,question\np,a,b,left,A!,B!,Why?\n")
    ingest(tmp_path / "bare.csv", tmp_path / "s.duckdb")
    report = ingest(tmp_path / "full.csv", tmp_path / "s.duckdb")
    assert (report.votes, report.duplicates, report.updated) == (0, 1, 3)
    assert report.batch
    with curate.open(tmp_path / "s.duckdb") as store:
        assert store.responses()["text"].to_list() == ["A!", "B!"]
        assert store.prompts()["question"].to_list() == ["Why?"]
    assert ingest(tmp_path / "full.csv", tmp_path / "s.duckdb").batch == ""


def test_a_file_of_prompts_replaces_stored_facts(tmp_path: Path) -> None:
    (tmp_path / "votes.csv").write_text("prompt_id,left,right,winner\np,a,b,left\n")
    ingest(tmp_path / "votes.csv", tmp_path / "s.duckdb")
    for question in ("Why?", "Why not?"):
        (tmp_path / "prompts.csv").write_text(f"prompt_id,question\np,{question}\n")
        report = ingest(tmp_path / "votes.csv", tmp_path / "s.duckdb", prompts=tmp_path / "prompts.csv")
        assert (report.votes, report.prompts, report.updated) == (0, 0, 1)
        again = ingest(tmp_path / "votes.csv", tmp_path / "s.duckdb", prompts=tmp_path / "prompts.csv")
        assert (again.updated, again.batch) == (0, "")
    with curate.open(tmp_path / "s.duckdb") as store:
        assert store.prompts()["question"].to_list() == ["Why not?"]


def test_ids_that_differ_only_in_their_unicode_form_are_reported(tmp_path: Path, store: Path) -> None:
    rows = [f"caf{e},m1,mod{e}le,left" for e in ("\u00e9", "e\u0301")] + ["caf\u00e9,m1,mode\u0301le,left"]
    (tmp_path / "votes.csv").write_text("\n".join(["prompt_id,left,right,winner", *rows]), encoding="utf-8")
    report = ingest(tmp_path / "votes.csv", store)
    assert report.votes == 3  # all kept apart
    assert any(
        warning.startswith("2 prompts or responses have several ids that look alike") for warning in report.warnings
    )


def test_columns_of_ranks_and_joined_ids_are_not_unused(tmp_path: Path) -> None:
    path = tmp_path / "ranks.csv"
    path.write_text("pair,lang,segment,a,b,rank1,rank2,other\n1,en,7,x,y,1,2,z\n")
    columns = {"prompt_id": "lang+segment", "left": "a", "right": "b", "rank_a": "rank1", "rank_b": "rank2"}
    report = ingest(path, tmp_path / "s.duckdb", config=IngestConfig(mapping=Mapping(columns=columns)))
    assert (report.votes, report.files[0].unused) == (1, ("pair", "other"))


def test_an_index_column_without_a_name_is_unused(tmp_path: Path) -> None:
    (tmp_path / "votes.csv").write_text(",prompt_id,left,right,winner\n0,p,a,b,left\n1,p,b,c,left\n")
    report = ingest(tmp_path / "votes.csv", tmp_path / "s.duckdb")
    assert (report.votes, report.files[0].unused) == (2, ("unnamed_1",))


def test_equal_texts_of_two_models_are_not_one_response(tmp_path: Path) -> None:
    rows = "p,gpt,qwen,yes,no,a\np,gpt,molmo,yes,yes,tie\n"
    (tmp_path / "votes.csv").write_text("prompt_id,model_a,model_b,response_a,response_b,winner\n" + rows)
    assert ingest(tmp_path / "votes.csv", tmp_path / "s.duckdb").votes == 2
    with curate.open(tmp_path / "s.duckdb") as store:
        assert store.responses().select("response_id", "model", "text").rows() == [
            ("gpt", "gpt", "yes"),
            ("molmo", "molmo", "yes"),
            ("qwen", "qwen", "no"),
        ]


def test_a_line_of_spaces_is_not_damage(tmp_path: Path) -> None:
    (tmp_path / "votes.jsonl").write_text('{"prompt_id":"p","left":"a","right":"b","winner":"left"}\n   \n')
    report = ingest(tmp_path / "votes.jsonl", tmp_path / "s.duckdb")
    assert (report.rows, report.votes) == (1, 1)


def test_a_prompt_with_two_videos_is_refused(tmp_path: Path, store: Path) -> None:
    """One question about three videos is three prompts: pooled votes would rank answers to unlike things."""
    rows = "What happens?,v1.mp4,m,n,a\nWhat happens?,v2.mp4,m,n,b\n"
    (tmp_path / "votes.csv").write_text("prompt,video,model_a,model_b,winner\n" + rows)
    with pytest.raises(CurateError, match=r"'What happens\?': v1.mp4 and v2.mp4") as caught:
        ingest(tmp_path / "votes.csv", store)
    assert "--map prompt_id=COLUMN" in caught.value.hint
    assert not store.exists()


def test_a_later_file_cannot_give_a_prompt_another_video(tmp_path: Path, store: Path) -> None:
    (tmp_path / "one.csv").write_text("prompt_id,video,left,right,winner\np,v1.mp4,m,n,left\n")
    (tmp_path / "two.csv").write_text("prompt_id,video,left,right,winner\np,v2.mp4,m,o,left\n")
    ingest(tmp_path / "one.csv", store)
    with pytest.raises(CurateError, match="two videos"):
        ingest(tmp_path / "two.csv", store)


def test_a_list_of_one_video_is_that_video(tmp_path: Path, store: Path) -> None:
    row = {"prompt": "p", "video": ["v.mp4"], "responses": ["a", "b"], "rankings": [1, 2]}
    (tmp_path / "votes.jsonl").write_text(json.dumps(row))
    ingest(tmp_path / "votes.jsonl", store)
    with curate.open(store) as opened:
        assert opened.prompts()["video"].to_list() == ["v.mp4"]


def test_repeats_that_another_column_may_distinguish_are_a_warning(tmp_path: Path, store: Path) -> None:
    rows = "q,m,n,model_a,ann,1\nq,m,n,model_a,ann,2\nq,m,n,model_b,ann,3\n"
    (tmp_path / "votes.csv").write_text("question_id,model_a,model_b,winner,judge,turn\n" + rows)
    [warning] = ingest(tmp_path / "votes.csv", store).warnings
    assert warning.startswith("2 rows repeat an annotator's vote")
    assert "--repeats all" in warning


def test_equal_anonymous_rows_of_two_files_are_a_warning(tmp_path: Path, store: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.csv").write_text("prompt_id,left,right,winner\np,a,b,left\n" + f"p,a,{name},left\n")
    report = ingest([tmp_path / "one.csv", tmp_path / "two.csv"], store)
    assert (report.votes, report.duplicates) == (3, 1)
    assert any(warning.startswith("1 anonymous rows equal rows of another file") for warning in report.warnings)
    again = ingest([tmp_path / "one.csv", tmp_path / "two.csv"], store)
    assert not any("anonymous rows" in warning for warning in again.warnings)


def test_an_extreme_weight_is_rejected(tmp_path: Path, store: Path) -> None:
    extreme = ["1e7", "1e-9", "1e300", "inf", "0", "-1", "much"]
    rows = [f"p,a,b,left,{weight}\n" for weight in ["2", *extreme]]
    path = write(tmp_path / "votes.csv", "prompt_id,left,right,winner,weight\n" + "".join(rows))
    report = ingest(path, store, config=TAKE)
    assert (report.votes, report.reasons) == (1, {"bad-weight": len(extreme)})


@pytest.mark.parametrize(
    "text", ['{"data": [{"prompt_id": "p"}]}', '{"data": [[1]], "n": {}}', '{\n  "votes": [{"prompt_id": "p"}]\n}']
)
def test_an_object_that_holds_the_rows_is_an_error(text: str, tmp_path: Path, store: Path) -> None:
    (tmp_path / "votes.json").write_text(text)
    with pytest.raises(CurateError, match="the whole file is one JSON object"):
        ingest(tmp_path / "votes.json", store)


def test_an_outcome_spread_over_columns_is_an_error(tmp_path: Path, store: Path) -> None:
    header = "prompt_id,model_a,model_b,winner_model_a,winner_model_b,winner_tie\n"
    (tmp_path / "votes.csv").write_text(header + "p,m,n,1,0,0\n")
    with pytest.raises(CurateError, match="spread over winner_model_a, winner_model_b, winner_tie"):
        ingest(tmp_path / "votes.csv", store)


def test_prompts_and_responses_can_come_before_any_vote(tmp_path: Path) -> None:
    (tmp_path / "prompts.csv").write_text("prompt_id,question\np,What?\n")
    (tmp_path / "responses.csv").write_text("prompt_id,response_id,text\np,a,this\np,b,that\n")
    report = ingest([], tmp_path / "s.duckdb", prompts=tmp_path / "prompts.csv", responses=tmp_path / "responses.csv")
    assert (report.prompts, report.responses, report.votes, report.warnings) == (1, 2, 0, ())
    with curate.open(tmp_path / "s.duckdb") as store:
        assert store.prompts()["prompt_id"].to_list() == ["p"]
        assert store.responses()["response_id"].to_list() == ["a", "b"]
