"""Control questions: their answers are not votes, are stored once, and count as gold."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from cli.main import run
from curate.store import Store
from pipelines import ingest
from pipelines.annotator_report import annotators
from tests import platform_files as files


def toloka(folder: Path, name: str, rows: list[dict[str, str]]) -> Path:
    return files.write(folder, name, files.table(rows, "\t"))


def controls(path: Path) -> pl.DataFrame:
    with Store.open(path, read_only=True) as store:
        return store.frame("SELECT * FROM controls ORDER BY file_id, line")


def test_a_control_answer_is_not_a_vote_and_adds_no_prompt(tmp_path: Path) -> None:
    path = toloka(tmp_path, "a.tsv", [files.assignment("t1", "left", golden="left")])
    report = ingest(path, tmp_path / "s.duckdb")
    assert (report.rows, report.votes, report.controls, report.prompts, report.responses) == (1, 0, 1, 0, 0)
    assert report.batch
    with Store.open(tmp_path / "s.duckdb") as store:
        assert store.counts()["votes"] == 0
        assert store.prompts().is_empty()


def test_a_control_answer_is_stored_once(tmp_path: Path) -> None:
    rows = [files.assignment("t1", "left", golden="left"), files.assignment("t2", "tie", golden="both_bad")]
    path = toloka(tmp_path, "a.tsv", rows)
    longer = toloka(tmp_path, "b.tsv", [*rows, files.assignment("t3", "left", golden="right")])
    store = tmp_path / "s.duckdb"
    assert ingest(path, store).controls == 2
    again = ingest(path, store)
    assert (again.rows, again.controls, again.duplicates, again.batch) == (2, 0, 2, "")
    grown = ingest(longer, store)
    assert (grown.controls, grown.duplicates) == (1, 2)
    assert len(controls(store)) == 3


def test_equal_control_answers_of_one_file_are_separate(tmp_path: Path) -> None:
    row = files.assignment("t1", "left", golden="left")
    del row["ASSIGNMENT:assignment_id"]
    path = toloka(tmp_path, "a.tsv", [row, row])
    assert ingest(path, tmp_path / "s.duckdb").controls == 2
    assert ingest(path, tmp_path / "s.duckdb").duplicates == 2


def test_an_unreadable_known_outcome_is_a_reject(tmp_path: Path) -> None:
    rows = [files.assignment("t1", "left", golden="perhaps"), files.assignment("t2", "left")]
    report = ingest(toloka(tmp_path, "a.tsv", rows), tmp_path / "s.duckdb")
    assert (report.votes, report.controls, report.reasons) == (1, 0, {"unknown-outcome": 1})


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two people who vote; the careful one meets all 12 controls, the other 2 of them."""
    rows = []
    for n in range(12):
        rows += [files.assignment(f"g{n}", "left", golden="left", worker="careful")]
        rows += [files.assignment(f"h{n}", "left" if n < 2 else "right", golden="left", worker="careless")]
    for n, (worker, said) in enumerate([("careful", "left"), ("careless", "right"), ("careful", "right")]):
        rows.append(files.assignment(f"v{n}", said, worker=worker) | {"INPUT:prompt_id": f"p{n}"})
    rows.append(files.assignment("z", "left", golden="left", worker="absent"))
    ingest(toloka(tmp_path, "a.tsv", rows), tmp_path / "s.duckdb", pseudonym_key="a secret of this test")
    return tmp_path / "s.duckdb"


def test_answers_to_controls_count_as_gold(store: Path) -> None:
    report = annotators(store)
    assert report.votes == 3
    assert report.gold is not None
    assert (report.gold.file, report.gold.pairs, report.gold.controls, report.gold.votes) == ("", 0, 24, 24)
    assert report.gold.accuracy == pytest.approx(14 / 24)
    found = sorted((row.gold_accuracy, row.gold_votes) for row in report.annotators)
    assert found == [(pytest.approx(2 / 12), 12), (pytest.approx(1.0), 12)]
    assert any("control questions and have no vote: 1" in warning for warning in report.warnings)


def test_control_answers_and_a_gold_file_are_combined(store: Path, tmp_path: Path) -> None:
    gold = files.write(tmp_path, "gold.csv", "prompt_id,left,right,winner\np0,a,b,left\np1,a,b,left\n")
    report = annotators(store, gold=gold).gold
    assert report is not None
    assert (report.pairs, report.controls, report.votes) == (2, 24, 26)
    assert report.accuracy == pytest.approx(15 / 26)


def test_the_table_of_annotators_shows_the_number_of_answers(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["annotators", "--store", str(store)]) == 0
    out, told = capsys.readouterr()
    assert "0.17 of 12" in out
    assert "24 answers to control questions: 58.3% right" in told


def test_an_old_store_is_migrated(tmp_path: Path) -> None:
    path = tmp_path / "old.duckdb"
    with Store.open(path, create=True) as store:
        store.execute("DROP TABLE controls")
        store.execute("ALTER TABLE votes DROP COLUMN meta")
        for table in ("prompts", "responses"):
            store.execute(f"ALTER TABLE {table} RENAME COLUMN from_file TO given")  # renamed
        store.execute("""INSERT INTO batches VALUES ('b', 1, '{}', '{"mended": 3, "votes": 1}')""")  # renamed
        store.execute("DELETE FROM migrations WHERE step > 2")
    votes = files.write(tmp_path, "v.csv", "prompt_id,left,right,winner\np,a,b,left\n")
    assert ingest(votes, path).votes == 1
    with Store.open(path, read_only=True) as store:
        assert store.votes()["meta"].to_list() == [None]
        assert store.frame("SELECT * FROM controls").is_empty()
        assert store.prompts()["from_file"].to_list() == [False]
        assert store.responses()["from_file"].to_list() == [False, False]
        assert store.value("SELECT counts FROM batches WHERE batch_id = 'b'") == '{"recovered": 3, "votes": 1}'
