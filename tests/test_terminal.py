"""Ids and names with control characters: visible in the terminal, unchanged in the data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import cli.output
from cli.main import run

ESCAPE = "\x1b[2J"
BIDI = "\u202egpj"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = f"p{ESCAPE},a,b{BIDI},left,w{ESCAPE}\np{ESCAPE},a,b{BIDI},left,v\np{ESCAPE},a,a,left,w\n"
    name = f"votes{ESCAPE}.csv"
    Path(name).write_text("prompt_id,left,right,winner,worker\n" + rows, encoding="utf-8")
    assert run(["ingest", name, "--store", "s.duckdb"]) == 0
    return tmp_path / "s.duckdb"


@pytest.mark.parametrize(
    "command",
    [["rejects"], ["status"], ["status", "--json"], ["denoise", "--ranker", "bradley-terry"], ["rankings"], ["votes"]],
)
def test_no_command_prints_control_characters(
    command: list[str], store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = capsys.readouterr()
    run([*command, "--store", str(store)])
    later = capsys.readouterr()
    for text in (printed.out, printed.err, later.out, later.err):
        assert not cli.output.UNSAFE.search(text)


def test_errors_print_no_control_characters(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ingest", f"missing{ESCAPE}", "--store", str(store)]) == 1
    assert "missing\\x1b[2J" in capsys.readouterr().err


def test_json_and_piped_csv_hold_the_characters_themselves(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    run(["rejects", "--json", "--store", str(store)])
    [reject] = json.loads(capsys.readouterr().out)
    assert reject["file"].endswith(f"votes{ESCAPE}.csv")
    run(["rejects", "--csv", "--store", str(store)])
    assert f"votes{ESCAPE}.csv" in capsys.readouterr().out
