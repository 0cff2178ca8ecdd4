"""Personal data: pseudonyms under a key, the store's own key, and dropped values."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import polars as pl
import pytest

from annotations.readers.privacy import (
    Pseudonyms,
    drop_personal_data,
    encode_meta,
    given_key,
    personal_kind,
)
from cli.main import run
from curate.store import Store
from pipelines import ingest
from schemas.errors import CurateError, MissingError, UsageError
from tests import platform_files as files

KEY = "a secret of this test"


def stored_text(path: Path) -> str:
    """All that the store holds of votes, rejects, controls and batches."""
    with Store.open(path, read_only=True) as store:
        tables = ("votes", "rejects", "controls", "batches", "prompts", "responses")
        return "".join(store.frame(f"SELECT * FROM {table}").write_csv() for table in tables)


# Pseudonyms


def test_a_pseudonym_depends_on_person_and_key() -> None:
    one, other = Pseudonyms(b"key one"), Pseudonyms(b"key two")
    assert one.of("W1") == one.of(" W1 ") == "p-" + one.of("W1")[2:]
    assert one.of("W1") != one.of("W2")
    assert one.of("W1") != other.of("W1")
    assert one.of("Ann@X.org") == one.of("ann@x.org")
    assert len(one.of("W1")) == 14


def test_a_missing_annotator_has_no_pseudonym() -> None:
    people = pl.Series("who", ["a", None, "a", " "])
    mapped = Pseudonyms(b"key").of_all(people)
    assert mapped.is_null().to_list() == [False, True, False, True]
    assert mapped[0] == mapped[2]
    empty = Pseudonyms(b"key").of_all(pl.Series("who", [None], dtype=pl.String))
    assert empty.to_list() == [None]


def test_the_same_key_joins_a_person_over_platforms(tmp_path: Path) -> None:
    toloka = files.write(tmp_path, "a.tsv", files.table([files.assignment("t1", "left", worker="W9")], "\t"))
    mturk = files.write(tmp_path, "b.csv", files.table([files.hit(1, worker="W9", outcome="right")]))
    report = ingest([toloka, mturk], tmp_path / "s.duckdb", pseudonym_key=KEY)
    assert (report.annotators, report.pseudonyms, report.pseudonym_key) == (1, 1, "given")
    assert "W9" not in stored_text(tmp_path / "s.duckdb")


def test_without_a_key_the_store_creates_one_with_mode_600(tmp_path: Path) -> None:
    path, store = files.write(tmp_path, "e.json", files.LABEL_STUDIO), tmp_path / "s.duckdb"
    report = ingest(path, store)
    key = tmp_path / "s.duckdb.pseudonym-key"
    assert report.pseudonym_key == str(key)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes()
    assert ingest(path, store).duplicates == report.votes
    assert key.read_bytes() == before


def test_a_dry_run_and_a_plain_table_create_no_key(tmp_path: Path) -> None:
    path = files.write(tmp_path, "e.json", files.LABEL_STUDIO)
    assert ingest(path, tmp_path / "s.duckdb", dry_run=True).votes == 3
    votes = files.write(tmp_path, "v.csv", "prompt_id,left,right,winner,annotator\np,a,b,left,ann\n")
    assert ingest(votes, tmp_path / "s.duckdb").pseudonyms == 0
    assert not list(tmp_path.glob("*pseudonym-key"))


def test_a_failed_ingest_deletes_its_new_key(tmp_path: Path) -> None:
    good = files.write(tmp_path, "e.json", files.LABEL_STUDIO)
    bad = files.write(tmp_path, "v.csv", "nothing,to,see\n1,2,3\n")
    with pytest.raises(CurateError):
        ingest([good, bad], tmp_path / "s.duckdb")
    assert not list(tmp_path.glob("s.duckdb*"))


def test_another_key_is_an_error(tmp_path: Path) -> None:
    path = files.write(tmp_path, "e.json", files.LABEL_STUDIO)
    ingest(path, tmp_path / "s.duckdb", pseudonym_key=KEY)
    with pytest.raises(CurateError, match="under another key"):
        ingest(path, tmp_path / "s.duckdb", pseudonym_key=KEY + "!")
    with pytest.raises(CurateError, match="under another key"):
        ingest(path, tmp_path / "s.duckdb")


def test_a_key_that_is_given_covers_tables_of_votes_too(tmp_path: Path) -> None:
    rows = "p,a,b,left,ann@x.org\np,a,c,what,bob@x.org\n"
    votes = files.write(tmp_path, "v.csv", f"prompt_id,left,right,winner,annotator\n{rows}")
    report = ingest(votes, tmp_path / "s.duckdb", pseudonym_key=KEY)
    assert (report.votes, report.rejects, report.dropped) == (1, 1, {"e-mail addresses": 2})
    assert "x.org" not in stored_text(tmp_path / "s.duckdb")


def test_addresses_as_ids_of_a_plain_table_are_a_warning(tmp_path: Path) -> None:
    votes = files.write(tmp_path, "v.csv", "prompt_id,left,right,winner,annotator\np,a,b,left,ann@x.org\n")
    report = ingest(votes, tmp_path / "s.duckdb")
    assert any("--pseudonym-key" in warning for warning in report.warnings)


def test_the_key_comes_from_a_file_a_text_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CURATE_PSEUDONYM_KEY", raising=False)
    (tmp_path / "people.key").write_text(KEY + "\n")
    assert given_key(str(tmp_path / "people.key")) == given_key(KEY) == KEY.encode()
    assert given_key(None) is None
    monkeypatch.setenv("CURATE_PSEUDONYM_KEY", KEY)
    assert given_key(None) == KEY.encode()


@pytest.mark.parametrize("key", ["keys/missing", "missing.key", "~/missing", "short"])
def test_a_missing_file_and_a_short_key_are_refused(key: str) -> None:
    with pytest.raises(UsageError if key == "short" else MissingError) as caught:
        given_key(key)
    assert "openssl" in caught.value.hint


# What is not kept


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ("ip", "IP addresses"),
        ("IPAddress", "IP addresses"),
        ("log.client_ip", "IP addresses"),
        ("E-mail", "e-mail addresses"),
        ("completed_by.email", "e-mail addresses"),
        ("RecipientEmail", "e-mail addresses"),
        ("first_name", "names and phone numbers"),
        ("Turkle.Username", "names and phone numbers"),
        ("model_name", ""),
        ("clip", ""),
        ("ship", ""),
        ("filename", ""),
        ("email_count", ""),
    ],
)
def test_columns_of_personal_data_are_known_by_their_names(column: str, kind: str) -> None:
    assert personal_kind(column) == kind


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("ask ann.b+c@mail.x.org now", "ask [e-mail address] now"),
        ("from 172.31.31.125", "from [IP address]"),
        ("arena_user_10.16.17.217", "arena_user_[IP address]"),
        ("from 2001:db8::1", "from [IP address]"),
        ("at 12:30:45", "at 12:30:45"),
        ("2025-03-02T10:00:00.123456Z", "2025-03-02T10:00:00.123456Z"),
        ("1.5 and 2.25", "1.5 and 2.25"),
        ("@home", "@home"),
    ],
)
def test_addresses_within_texts_are_replaced(text: str, left: str) -> None:
    frame, _ = drop_personal_data(pl.DataFrame({"note": [text]}), content=())
    assert frame["note"][0] == left


def test_judged_texts_stay_and_dropped_values_are_counted() -> None:
    frame = pl.DataFrame({"text_a": ["write to a@b.org"], "ip": ["10.0.0.1"], "note": ["a@b.org, c@d.org"]})
    kept, gone = drop_personal_data(frame, content=("text_a",))
    assert kept.columns == ["text_a", "note"]
    assert kept["text_a"][0] == "write to a@b.org"
    assert dict(gone) == {"IP addresses": 1, "e-mail addresses": 2}


def test_personal_keys_of_nested_meta_are_dropped() -> None:
    texts, gone = encode_meta(
        pl.DataFrame({"user": ['{"email": "x", "age": 3, "more": [{"ip": "y"}]}'], "none": [None]})
    )
    assert json.loads(texts[0]) == {"user": {"age": 3, "more": [{}]}}
    assert dict(gone) == {"e-mail addresses": 1, "IP addresses": 1}


def test_no_address_of_any_export_reaches_the_store(tmp_path: Path) -> None:
    exports = {
        "ls.json": files.LABEL_STUDIO,
        "min.json": files.LABEL_STUDIO_MIN,
        "argilla.json": files.ARGILLA,
        "arena.json": files.ARENA,
        "log.jsonl": files.lines(files.WILDVISION),
        "genai.json": files.GENAI_ARENA,
        "k.jsonl": files.lines(files.K_WISE_LOG),
    }
    paths = [files.write(tmp_path, name, content) for name, content in exports.items()]
    report = ingest(paths, tmp_path / "s.duckdb")
    assert set(report.dropped) == {"IP addresses", "e-mail addresses", "names and phone numbers"}
    text = stored_text(tmp_path / "s.duckdb")
    for personal in ("@x.org", "172.31", "10.0.0", "10.16", "2001:db8", '"Ann"'):
        assert personal not in text


def test_the_text_of_an_unreadable_record_is_not_stored(tmp_path: Path) -> None:
    lines = files.lines(files.PRODIGY) + '{"_annotator_id": "Ann Smith", '
    path = files.write(tmp_path, "a.jsonl", lines)
    assert run(["ingest", str(path), "--store", str(tmp_path / "s.duckdb"), "--on-error", "reject"]) == 0
    with Store.open(tmp_path / "s.duckdb") as store:
        [broken] = store.rejects().filter(pl.col("reason") == "broken-record").to_dicts()
    assert (broken["line"], broken["row"]) == (7, "")


def test_the_report_lists_dropped_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = files.write(tmp_path, "e.json", files.LABEL_STUDIO)
    assert run(["ingest", str(path), "--store", str(tmp_path / "s.duckdb"), "--pseudonym-key", KEY]) == 0
    told = capsys.readouterr().err
    assert "(json, label-studio)" in told
    assert "dropped: 1 e-mail addresses, 2 names and phone numbers" in told
    assert "7 pseudonyms under the given key" in told
