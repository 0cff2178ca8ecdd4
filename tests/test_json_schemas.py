"""``curate schema``: files and printed JSON fit the published schemas."""

from __future__ import annotations

import inspect
import json
import tomllib
from pathlib import Path

import pytest
from jsonschema import ValidationError

from cli.main import run
from cli.reference import commands
from pipelines.recipe import RECIPES
from schemas.published import FILES, OUTPUTS
from tests.json_schemas import assert_valid, named, validator

pytestmark = pytest.mark.slow

HERE = "--store s.duckdb"
CHAIN = f"""
simulate --out world --prompt-count 12 --models 4 --annotators 6 --prompts-per-video 2 --votes-per-pair 3 --video
ingest world/votes.csv --prompts world/prompts.csv --responses world/responses.csv {HERE}
ingest --formats
ingest world/votes.csv --explain
rejects {HERE}
denoise --ranker borda {HERE}
rankings {HERE}
leaderboard {HERE}
leaderboard --by video {HERE}
leaderboard --control length {HERE}
leaderboard --effects {HERE}
annotators {HERE}
audit --show 1 {HERE}
status {HERE}
store convert s.duckdb parts
store compact --store parts
compare world/truth.csv {HERE}
media check --media world {HERE}
media frames p0001 --out frames --media world {HERE}
export train --out shards/train {HERE}
release build --out releases --name one --version 1.0.0 --media world {HERE}
release keygen lab.key --no-password
release sign releases/one-1.0.0 --key lab.key
release diff releases/one-1.0.0 releases/one-1.0.0
release export releases/one-1.0.0 --for trl --out trl
release ls releases
campaign create june --votes 6 --media world {HERE}
campaign invite june --name ann
campaign pause june
campaign resume june
campaign extend june --votes 8
campaign edit june --config changes.toml
campaign retire june p0001
campaign add june p0001 --media world
campaign reset june p0001
campaign status june
campaign revoke june --name ann
campaign check june
campaign repair june
campaign close june
run recipe.toml --dir work
schema
example fresh
"""
"""Commands with --json, in this order."""
ELSEWHERE = {"campaign open", "campaign pardon", "campaign pay", "annotate", "plan", "validate", "report", "plot"}
ELSEWHERE |= {"media probe", "release verify", "refresh", "mix", "error", "log"}
ELSEWHERE |= {"doctor", "train", "merge", "evaluate", "score", "score --out", "serve"}
"""Their own tests print JSON: conftest.py checks all that is printed in this process."""
TOML = {
    "changes.toml": 'title = "June"\n',
    "recipe.toml": 'title = "one"\n[ingest]\npaths = ["../world/votes.csv"]\n[denoise.config]\nranker = "borda"\n',
}


def test_what_commands_print_fits_their_schemas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in TOML.items():
        Path(name).write_text(text)
    lines = CHAIN.strip().splitlines()
    for line in lines:
        code = run([*line.split(), "--json"])
        out, err = capsys.readouterr()
        assert code == 0, f"{line}: {err}"
        assert assert_valid(named(line.split()), out) is not None
    assert {named(line.split()) for line in lines} | ELSEWHERE == set(OUTPUTS)
    assert_valid("release/manifest.json", Path("releases/one-1.0.0/manifest.json").read_text())
    assert_valid("shards/manifest.json", Path("shards/train/manifest.json").read_text())
    assert_valid("train.jsonl", Path("shards/train/train.jsonl").read_text().splitlines()[0])
    assert_valid("tasks.jsonl", next(Path("june/tasks").glob("*.jsonl")).read_text().splitlines()[0])


def test_every_command_has_json_and_a_schema() -> None:
    assert {name.partition(" --")[0] for name in OUTPUTS} - {"error", "log"} == set(commands())
    assert [
        name for name, command in commands().items() if "as_json" not in inspect.signature(command).parameters
    ] == []


@pytest.mark.parametrize("name", [*FILES, *OUTPUTS])
def test_every_schema_is_valid_and_described(name: str) -> None:
    assert validator(name).schema["description"]


def test_files_fit_and_a_misspelt_key_does_not(tmp_path: Path) -> None:
    for recipe in RECIPES.glob("*.toml"):
        assert_valid("recipe.toml", json.dumps(tomllib.loads(recipe.read_text())))
    assert_valid("votes.jsonl", '{"prompt_id": "p", "left": "a", "right": "b", "outcome": "left", "colour": 3}')
    with pytest.raises(ValidationError, match="rankr"):
        assert_valid("curate.toml", '{"denoise": {"rankr": "borda"}}')
    assert validator("ingest").schema["properties"]["mended"]["deprecated"]
    assert "Distinct annotators" in validator("ingest").schema["properties"]["annotators"]["description"]


def test_a_failure_is_a_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ingest", "nowhere.csv", "--json"]) == assert_valid("error", capsys.readouterr().out)["exit_code"]
    assert run(["schema", "ingst"]) == 2
    assert "did you mean 'ingest'?" in capsys.readouterr().err
    assert run(["schema", "ingest", "--explain"]) == 0
    assert json.loads(capsys.readouterr().out) == validator("ingest --explain").schema
