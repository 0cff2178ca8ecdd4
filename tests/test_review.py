"""The review of a file that cannot be read without guessing, and the mapping that it proposes."""

from __future__ import annotations

import gzip
import hashlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import curate
from cli.main import run
from pipelines import explain, ingest
from schemas.config import IngestConfig, Settings
from schemas.errors import CurateError

SHAPES = {
    "labels.jsonl": "".join(
        f'{{"input": "Why {i}?", "output_1": "one \\\\frac {i}", "output_2": "two {i}", "label": {1 + i % 2}}}\n'
        for i in range(6)
    ),
    "scale.csv": "instruction,generator_1,generator_2,preference\n"
    + "".join(f"q{i} what,m,n,{1 + i / 10}\n" for i in range(11)),
    "ranks.csv": "segment,judgeID,system1Id,system1rank,system2Id,system2rank,rankingID\n"
    "s1,j,a,1,b,2,r\ns1,j,b,2,c,2,r\ns2,j,c,3,a,1,q\n",
    "bare.csv": "left,right,winner\nPizza,Sushi,left\nSushi,Taco,tie\n",
}
"""Small files in shapes that occur elsewhere: no ids, a numeric scale, two rank columns, no prompt."""
ANSWERS = {
    "labels.jsonl": [('"1" = "?"', '"1" = "left"'), ('"2" = "?"', '"2" = "right"')],
    "scale.csv": [("# scale = { first = ?, second = ? }", "scale = { first = 1, second = 2 }")],
    "ranks.csv": [('prompt_id = "?"', 'prompt_id = "segment"')],
    "bare.csv": [('prompt_id = "?"', 'prompt_id = { const = "all" }')],
}
"""What a user writes for the question marks."""
OUTCOMES = {
    "labels.jsonl": ["left", "right"] * 3,
    "scale.csv": ["left"] * 5 + ["tie"] + ["right"] * 5,
    "ranks.csv": ["left", "tie", "right"],
    "bare.csv": ["left", "tie"],
}


def stored(path: Path, *columns: str) -> list[tuple[object, ...]]:
    """These columns of the votes, sorted."""
    with curate.open(path) as store:
        return sorted(store.votes().select(columns).rows())


@pytest.mark.parametrize("name", SHAPES)
def test_one_review_is_enough(name: str, tmp_path: Path) -> None:
    path, store = tmp_path / name, tmp_path / "s.duckdb"
    path.write_text(SHAPES[name])
    with pytest.raises(CurateError):
        ingest(path, store)
    assert not store.exists()
    [review] = explain([path])
    assert review.problems
    assert "?" in review.mapping
    text = review.mapping
    for question, answer in ANSWERS[name]:
        assert question in text
        text = text.replace(question, answer)
    config = Settings.model_validate(tomllib.loads(text)).ingest
    assert explain([path], config).__next__().problems == ()
    report = ingest(path, store, config=config)
    assert (report.votes, report.rejects) == (len(OUTCOMES[name]), 0)
    with curate.open(store) as opened:
        assert opened.votes().sort("line")["outcome"].to_list() == OUTCOMES[name]


def test_all_missing_fields_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("thing,best\nx,y\n")
    with pytest.raises(CurateError, match=r"the prompt; .*two responses; .*outcome"):
        ingest(tmp_path / "v.csv", tmp_path / "s.duckdb")


@pytest.mark.parametrize("header", ["Prompt ID,Model A,model-b,Winner", "promptId,modelA,modelB,winner"])
def test_header_names_match_without_case_and_separators(header: str, tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text(f"{header}\np,m,n,model_a\n")
    assert ingest(tmp_path / "v.csv", tmp_path / "s.duckdb").votes == 1


def test_a_file_with_too_many_rejects_stores_nothing(tmp_path: Path) -> None:
    rows = "".join(f"p{i},a,b,{'left' if i < 6 else 'gauche'}\n" for i in range(10))
    (tmp_path / "v.csv").write_text("prompt_id,left,right,winner\n" + rows)
    with pytest.raises(CurateError, match=r"4 of 10 rows.*'gauche' \(4\)") as caught:
        ingest(tmp_path / "v.csv", tmp_path / "s.duckdb")
    assert "--outcome gauche=OUTCOME" in caught.value.hint
    assert not (tmp_path / "s.duckdb").exists()
    taken = ingest(tmp_path / "v.csv", tmp_path / "s.duckdb", config=IngestConfig(max_rejects=0.4))
    assert (taken.votes, taken.rejects) == (6, 4)


@pytest.mark.parametrize("into", ["annotator_id", "criterion"])
def test_columns_of_outcomes_are_melted(into: str, tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("prompt,response_a,response_b,one,two\np,a,b,A,tie\nq,a,b,B,\n")
    config = IngestConfig.model_validate({"mapping": {"melt": {"into": into, "columns": ["one", "two"]}}})
    report = ingest(tmp_path / "v.csv", tmp_path / "s.duckdb", config=config)
    assert (report.votes, report.files[0].skipped) == (3, {"cells without an outcome": 1})


@pytest.mark.parametrize(
    ("times", "given", "found"),
    [
        (["09/13/2025 09:07 AM", "09/01/2025 10:00 PM"], "", ["2025-09-13T09:07:00", "2025-09-01T22:00:00"]),
        (["09/01/2025 09:07 AM"], "", [None]),
        (["09/01/2025 09:07 AM"], "%d/%m/%Y %I:%M %p", ["2025-01-09T09:07:00"]),
        (["2025/01/05 10:00"], "", ["2025-01-05T10:00:00"]),
        (["Jan 5 2025"], "", ["2025-01-05T00:00:00"]),
        (["20241118"], "", ["2024-11-18T00:00:00"]),
        (["Tue Mar  2 12:34:56 2021"], "", ["2021-03-02T12:34:56"]),
    ],
)
def test_a_time_is_read_if_one_format_fits_the_column(
    times: list[str], given: str, found: list[str | None], tmp_path: Path
) -> None:
    rows = "".join(f"p{i},a,b,left,{time}\n" for i, time in enumerate(times))
    (tmp_path / "v.csv").write_text("prompt,left,right,winner,timestamp\n" + rows)
    config = IngestConfig.model_validate({"mapping": {"time_format": given}})
    report = ingest(tmp_path / "v.csv", tmp_path / "s.duckdb", config=config)
    assert (report.votes, report.files[0].unreadable) == (len(times), {"voted_at": 1} if None in found else {})
    with curate.open(tmp_path / "s.duckdb") as opened:
        voted = opened.votes().sort("line")["voted_at"].to_list()
    assert [time and time.isoformat() for time in voted] == found


def test_a_files_own_mapping_beats_the_common_one(tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("prompt,left,right,winner\np,a,b,1\n")
    (tmp_path / "two.csv").write_text("prompt,left,right,winner\np,a,b,1\n")
    config = IngestConfig.model_validate(
        {"mapping": {"outcomes": {"1": "left"}}, "files": [{"match": "two.csv", "outcomes": {"1": "right"}}]}
    )
    ingest([tmp_path / "one.csv", tmp_path / "two.csv"], tmp_path / "s.duckdb", config=config)
    with curate.open(tmp_path / "s.duckdb") as opened:
        assert sorted(opened.votes()["outcome"]) == ["left", "right"]


def test_the_command_prints_the_review_and_a_refusal_prints_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ranks.csv").write_text(SHAPES["ranks.csv"])
    assert run(["ingest", "ranks.csv", "--explain"]) == 0
    printed = capsys.readouterr()
    assert tomllib.loads(printed.out)["ingest"]["files"][0]["columns"]["prompt_id"] == "?"
    assert run(["ingest", "ranks.csv"]) == 4
    assert "missing: no column that names the prompt" in capsys.readouterr().err
    Path("curate.toml").write_text(printed.out.replace('prompt_id = "?"', 'prompt_id = "segment"'))
    assert run(["ingest", "ranks.csv"]) == 0


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "cp1252"])
def test_an_encoding_and_a_separator_can_be_given(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_bytes("prompt~left~right~winner\ncafé, a|b~ü~ä~left\n".encode(encoding))
    config = IngestConfig.model_validate({"mapping": {"encoding": encoding, "separator": "~"}})
    assert ingest(tmp_path / "v.csv", tmp_path / "s.duckdb", config=config).votes == 1
    with pytest.raises(CurateError):
        ingest(tmp_path / "v.csv", tmp_path / "t.duckdb")
    for wrong in ("klingon", "ascii"):
        config = IngestConfig.model_validate({"mapping": {"encoding": wrong, "separator": "~"}})
        with pytest.raises(CurateError, match="encoding"):
            ingest(tmp_path / "v.csv", tmp_path / "t.duckdb", config=config)


def test_a_compressed_file_beyond_the_limit_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "v.csv.gz").write_bytes(gzip.compress(b"prompt,left,right,winner\n" + b"a" * 3_000_000))
    config = IngestConfig.model_validate({"limits": {"uncompressed_gib": 0.001}})
    with pytest.raises(CurateError, match="after decompression"):
        ingest(tmp_path / "v.csv.gz", tmp_path / "s.duckdb", config=config)


PAIR = "prompt,response_a,response_b,winner\n"
MAPPED = {
    "joined": (
        "lang,seg,left,right,winner\nde,1,a,b,left\n",
        {"columns": {"prompt_id": {"concat": ["lang", "seg"]}}},
        [("de-1", "a", "b", "left")],
    ),
    "joined, short form": (
        "lang,seg,left,right,winner\nde,1,a,b,left\n",
        {"columns": {"prompt_id": "lang+seg"}},
        [("de-1", "a", "b", "left")],
    ),
    "split": (
        "prompt,matchup,winner\np,m__vs__n,n\n",
        {
            "columns": {
                "response_a": {"split": "matchup", "by": "__vs__", "part": 1},
                "response_b": {"split": "matchup", "by": "__vs__", "part": 2},
            }
        },
        [("p", "m", "n", "right")],
    ),
    "a key of a JSON column": (
        'data,left,right,winner\n"{""prompt"": {""id"": ""p7""}}",a,b,left\n',
        {"columns": {"prompt_id": "data.prompt.id"}},
        [("p7", "a", "b", "left")],
    ),
    "winner and loser": (
        "prompt,winner,loser\np,m,n\n",
        {},
        [("p", "m", "n", "left")],
    ),
    "chosen and rejected": (
        "prompt,good,bad\np,m,n\n",
        {"columns": {"chosen": "good", "rejected": "bad"}},
        [("p", "m", "n", "left")],
    ),
    "two scores": (
        "prompt,model_1,model_2,score_1,score_2\np,m,n,0.2,0.7\nq,m,n,1,1\n",
        {},
        [("p", "m", "n", "right"), ("q", "m", "n", "tie")],
    ),
    "K columns of ranks": (
        "prompt,m1,m2,m3,r1,r2,r3\np,x,y,z,2,1,2\n",
        {"columns": {"responses": {"list": ["m1", "m2", "m3"]}, "rankings": {"list": ["r1", "r2", "r3"]}}},
        [("p", "x", "y", "right"), ("p", "x", "z", "tie"), ("p", "y", "z", "left")],
    ),
    "K columns of scores": (
        "prompt,m1,m2,m3,s1,s2,s3\np,x,y,z,.5,.9,.5\n",
        {"columns": {"responses": {"list": ["m1", "m2", "m3"]}, "scores": {"list": ["s1", "s2", "s3"]}}},
        [("p", "x", "y", "right"), ("p", "x", "z", "tie"), ("p", "y", "z", "left")],
    ),
}
"""What docs/vote-files.md lists: (file, mapping, votes)."""


@pytest.mark.parametrize("case", MAPPED)
def test_the_mapping_reads_what_the_documentation_lists(case: str, tmp_path: Path) -> None:
    text, mapping, votes = MAPPED[case]
    (tmp_path / "v.csv").write_text(text)
    ingest(tmp_path / "v.csv", tmp_path / "s.duckdb", config=IngestConfig.model_validate({"mapping": mapping}))
    assert stored(tmp_path / "s.duckdb", "prompt_id", "response_left", "response_right", "outcome") == sorted(votes)


def test_texts_without_ids_are_identified_by_a_digest(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("prompt,one,two,winner\np,yes,no,tie\n")
    columns = {"response_a": {"hash": "one"}, "response_b": {"hash": "two"}, "text_a": "one", "text_b": "two"}
    config = IngestConfig.model_validate({"mapping": {"columns": columns}})
    ingest(tmp_path / "v.csv", tmp_path / "s.duckdb", config=config)
    with curate.open(tmp_path / "s.duckdb") as store:
        found = dict(store.responses().select("text", "response_id").rows())
    assert found == {text: hashlib.sha256(text.encode()).hexdigest()[:12] for text in ("yes", "no")}


def test_a_rejected_column_beside_a_label_is_not_a_pair(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("prompt,label,rejected\np,good,False\nq,bad,True\n")
    with pytest.raises(CurateError, match="no columns that name two responses"):
        ingest(tmp_path / "v.csv", tmp_path / "s.duckdb")


def test_an_id_with_a_space_is_a_question_only_in_a_column_of_prompts(tmp_path: Path) -> None:
    for name, question in (("prompt", "clip 12"), ("prompt_id", None)):
        (tmp_path / "v.csv").write_text(f"{name},left,right,winner\nclip 12,a,b,left\n")
        ingest(tmp_path / "v.csv", tmp_path / f"{name}.duckdb")
        with curate.open(tmp_path / f"{name}.duckdb") as store:
            assert store.prompts().select("prompt_id", "question").rows() == [("clip 12", question)]


def test_a_file_without_a_usable_row_is_refused_whatever_the_reasons(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("prompt,left,right,winner\np,a,a,left\np,a,,left\nq,a,b,\n")
    with pytest.raises(CurateError) as caught:
        ingest(tmp_path / "v.csv", tmp_path / "s.duckdb")
    assert "--max-rejects 1.00" in caught.value.hint
    config = IngestConfig(max_rejects=1)
    assert ingest(tmp_path / "v.csv", tmp_path / "s.duckdb", config=config).rejects == 3


def test_options_beat_curate_toml_and_a_files_mapping_keeps_the_common_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("v.csv").write_text("prompt,left,right,best\np,a,b,1\n")
    Path("curate.toml").write_text(
        '[ingest.mapping]\nsides = "unknown"\n[[ingest.files]]\nmatch = "v.csv"\ncolumns = { outcome = "best" }\n'
        'outcomes = { "1" = "left" }\n'
    )
    assert run(["ingest", "v.csv", "--store", "toml.duckdb"]) == 0
    assert stored(tmp_path / "toml.duckdb", "outcome", "sides_known") == [("left", False)]
    assert run(["ingest", "v.csv", "--store", "option.duckdb", "--outcome", "1=right"]) == 0
    assert stored(tmp_path / "option.duckdb", "outcome", "sides_known") == [("right", False)]


def test_a_refusal_of_stdin_reviews_what_was_piped(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", "ingest", "-", "--store", str(tmp_path / "s.duckdb")],
        input=SHAPES["bare.csv"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, "stdin: no column that names the prompt" in done.stderr) == (4, True)
    assert 'prompt_id = "?"' in done.stderr


def test_the_proposed_mapping_is_toml_whatever_the_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "a[1]\n#.csv"
    path.write_text('"pro\nmpt","le ""ft",right,winner\np,a,b,"x\ny"\nq,a,b,"\u2028"\n')
    [review] = explain([path])
    own = tomllib.loads(review.mapping)["ingest"]["files"][0]
    assert IngestConfig.model_validate({"files": [own]})._entries(str(path))


def test_an_incomplete_or_impossible_encoding_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_bytes((PAIR + "p,a,b,a\n").encode("utf-16") + b"\x41")
    for encoding in ("utf-16", "hex"):
        config = IngestConfig.model_validate({"mapping": {"encoding": encoding}})
        with pytest.raises(CurateError, match="encoding"):
            ingest(tmp_path / "v.csv", tmp_path / "s.duckdb", config=config)
