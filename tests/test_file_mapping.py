"""The keys of a mapping that say how the bytes of a file are read: quoting, comment, rows; lines of melted files."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import curate
from annotations.readers.files import find_files
from annotations.readers.formats import read_chunks
from cli.main import run
from pipelines import explain, ingest
from pipelines.ingestion import RefusedFile
from schemas.config import IngestConfig, Settings
from schemas.errors import CurateError
from schemas.mapping import FileMapping, Mapping, Melt

TEXT = st.text(st.characters(exclude_characters="\t\r\n", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
VOTES = [{"prompt_id": f"p{i}", "left": "a", "right": "b", "winner": "left"} for i in range(3)]


def config(**values: Any) -> IngestConfig:
    return IngestConfig(mapping=Mapping(**values))


def rows(path: Path, **values: Any) -> tuple[list[dict[str, str]], list[int], list[str], dict[str, int]]:
    """(rows, their lines, reasons of broken records, skipped) of a file."""
    [file] = find_files([path], config(**values))
    chunks = list(read_chunks(file))
    return (
        [row for chunk in chunks for row in chunk.frame.to_dicts()],
        [line for chunk in chunks for line in chunk.line],
        [record.reason for chunk in chunks for record in chunk.broken],
        {name: count for chunk in chunks for name, count in chunk.skipped.items()},
    )


# Quoting.


@given(table=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=8))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_without_quoting_every_character_is_kept(table: list[tuple[str, str]], tmp_path: Path) -> None:
    lines = ["id\ttext", *("\t".join(row) for row in table)]
    (tmp_path / "v.tsv").write_text("\n".join(lines), encoding="utf-8")
    found, at, broken, _ = rows(tmp_path / "v.tsv", quoting=False, separator="\t")
    assert [(row["id"], row["text"]) for row in found] == table
    assert at == list(range(2, len(table) + 2))
    assert not broken


def test_a_bare_quote_needs_quoting_off_and_the_error_says_so(tmp_path: Path) -> None:
    text = 'prompt_id\tquestion\tleft\tright\twinner\np\tthe 6" screen\ta\tb\tleft\nq\t"why" not\ta\tb\tright\n'
    (tmp_path / "v.tsv").write_text(text)
    with pytest.raises(CurateError, match="quoting"):
        ingest(tmp_path / "v.tsv", tmp_path / "s.duckdb")
    report = ingest(tmp_path / "v.tsv", tmp_path / "s.duckdb", config=config(quoting=False))
    assert report.votes == 2
    with curate.open(tmp_path / "s.duckdb") as store:
        assert store.prompts()["question"].to_list() == ['the 6" screen', '"why" not']


# Comment lines.


def test_comment_lines_are_skipped_and_counted_wherever_they_are(tmp_path: Path) -> None:
    text = '# it\'s "WMT", 2016\n#\n\nid,text\n1,a\n# 2,"b\n3,"# no\n# comment"\n4,#\n'
    (tmp_path / "v.csv").write_text(text)
    found, at, broken, skipped = rows(tmp_path / "v.csv", comment="#")
    assert [tuple(row.values()) for row in found] == [("1", "a"), ("3", "# no\n# comment"), ("4", "#")]
    assert (at, broken, skipped) == ([5, 7, 9], [], {"comment lines": 3})


def test_comments_decide_neither_separator_nor_columns(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("%% a, b, c, d\n%% x\nid;text\n1;a\n%% end")
    found, _, broken, skipped = rows(tmp_path / "v.csv", comment="%%")
    assert (found, broken, skipped) == ([{"id": "1", "text": "a"}], [], {"comment lines": 3})


# Rows inside one JSON object.


@pytest.mark.parametrize("indent", [None, 2])
def test_rows_of_one_object_are_read(indent: int | None, tmp_path: Path) -> None:
    votes = [{**vote, "question": 'say "\\n" \\frac \u2028 é'} for vote in VOTES]
    document = {"version": 1, "data": {"a/b": {"items": votes}, "names": ["x"]}}
    (tmp_path / "v.json").write_text(json.dumps(document, indent=indent))
    report = ingest(tmp_path / "v.json", tmp_path / "s.duckdb", config=config(rows="data.a/b.items"))
    assert (report.rows, report.votes) == (3, 3)
    with curate.open(tmp_path / "s.duckdb") as store:
        assert set(store.prompts()["question"]) == {votes[0]["question"]}
    with pytest.raises(CurateError, match=r"no list at 'data\.items'") as error:
        ingest(tmp_path / "v.json", tmp_path / "s.duckdb", config=config(rows="data.items"))
    assert "data.a/b.items" in error.value.hint


def test_the_only_list_of_objects_is_proposed_but_not_taken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "v.json"
    votes = [{"id": i, "one": "a", "other": "b", "winner": "one"} for i in range(3)]
    path.write_text(json.dumps({"meta": {"n": 3}, "data": {"items": votes}}, indent=1))
    with pytest.raises(RefusedFile, match=r"only list of objects is data\.items") as error:
        ingest(path, tmp_path / "s.duckdb")
    assert not (tmp_path / "s.duckdb").exists()
    [review] = explain([path])
    assert review.mapping == error.value.review.mapping
    text = review.mapping
    for field, column in (("prompt_id", "id"), ("left", "one")):
        text = text.replace(f'{field} = "?"', f'{field} = "{column}"')
    completed = Settings.model_validate(tomllib.loads(text)).ingest
    columns = {"prompt_id": "id", "response_a": "one", "response_b": "other"}
    own = completed.files[0].model_copy(update={"columns": columns})
    assert own.rows == "data.items"
    assert ingest(path, tmp_path / "s.duckdb", config=IngestConfig(files=(own,))).votes == 3
    assert run(["ingest", str(path), "--explain"]) == 0
    assert 'rows = "data.items"' in capsys.readouterr().out


def test_two_lists_are_named(tmp_path: Path) -> None:
    (tmp_path / "v.json").write_text(json.dumps({"data": VOTES, "test": VOTES}))
    with pytest.raises(CurateError) as error:
        ingest(tmp_path / "v.json", tmp_path / "s.duckdb")
    assert "'data' or 'test'" in error.value.hint


def test_prompts_in_one_object_need_the_key_too(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.json"
    prompts.write_text(json.dumps({"items": [{"id": "p", "question": "why?"}]}, indent=1))
    with pytest.raises(CurateError, match="only list of objects is items"):
        ingest([], tmp_path / "s.duckdb", prompts=prompts)
    found = config().model_copy(update={"files": (FileMapping(match="prompts.json", rows="items"),)})
    assert ingest([], tmp_path / "s.duckdb", prompts=prompts, config=found).prompts == 1


# Melted files, whose votes are numbered by judgment.


def test_rejects_of_a_melted_file_name_their_line_and_column(tmp_path: Path) -> None:
    votes = "".join(f"p{i},a,b,left,left\n" for i in range(20))
    text = f"prompt,left,right,ann,bo\np,a,b,left,lft\nq,a,a,left,\nbroken\np,b,c,rigt,left\n{votes}"
    (tmp_path / "v.csv").write_text(text)
    melt = Melt(into="annotator_id", columns=("ann", "bo"))
    report = ingest(tmp_path / "v.csv", tmp_path / "s.duckdb", config=config(melt=melt))
    assert (report.rows, report.votes, report.rejects) == (46, 42, 4)
    with curate.open(tmp_path / "s.duckdb") as store:
        found = [
            (column, value, message.split(":")[0])
            for column, value, message in store.rejects().select("column", "value", "message").rows()
        ]
    assert found == [
        ("bo", "lft", "line 2"),
        ("right", "a", "line 3"),
        (None, None, "line 4"),
        ("ann", "rigt", "line 5"),
    ]


def test_damage_of_a_melted_file_is_located_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text('prompt,left,right,ann,bo\np,a,b,left,left\np,a"b,b,left,left\n')
    with pytest.raises(CurateError, match=r"v\.csv:3: a quote"):
        ingest(
            tmp_path / "v.csv",
            tmp_path / "s.duckdb",
            config=config(melt=Melt(into="annotator_id", columns=("ann", "bo"))),
        )


# Gold files.


def test_a_gold_file_has_a_mapping_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    votes = "".join(f"p{i},a,b,left,w{i % 3}\n" for i in range(12))
    Path("votes.csv").write_text(f"prompt_id,left,right,winner,worker\n{votes}")
    Path("gold.csv").write_text("item;A;B;best\n" + "".join(f"p{i};a;b;1\n" for i in range(12)))
    Path("curate.toml").write_text(
        '[[ingest.files]]\nmatch = "gold.csv"\n[ingest.files.columns]\nprompt_id = "item"\nresponse_a = "A"\n'
        'response_b = "B"\noutcome = "best"\n[ingest.files.outcomes]\n1 = "left"\n'
    )
    assert run(["ingest", "votes.csv"]) == 0
    assert run(["annotators", "--gold", "gold.csv", "--json"]) == 0
    gold = json.loads(capsys.readouterr().out)["gold"]
    assert (gold["pairs"], gold["accuracy"]) == (12, 1.0)
