"""Ids and names with control characters: visible in the terminal, unchanged in the data."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest

import cli.output
from cli.main import run

ESCAPE = "\x1b[2J"
BIDI = "\u202egpj"
SHOWN = r"\x1b[2J"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = [
        f"p{ESCAPE},a,b{BIDI},left,w{ESCAPE},x,c{ESCAPE}",
        f"p{ESCAPE},a,b{BIDI},left,v,x,c{ESCAPE}",
        f"p{ESCAPE},a,a,left,w{ESCAPE},x,c{ESCAPE}",
        f"p{ESCAPE},a,b,bad{ESCAPE},w{ESCAPE},x,c{ESCAPE}",
    ]
    header = f"prompt_id,left,right,winner,worker,other{ESCAPE},criterion"
    name = f"votes{ESCAPE}.csv"
    Path(name).write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
    assert run(["ingest", name, "--store", "s.duckdb", "--max-rejects", "1"]) == 0
    return tmp_path / "s.duckdb"


COMMANDS = {
    "ingest again": ["ingest", f"votes{ESCAPE}.csv", "--max-rejects", "1"],
    "rejects": ["rejects"],
    "status": ["status"],
    "status --json": ["status", "--json"],
    "annotators": ["annotators"],
    "denoise": ["denoise", "--ranker", "bradley-terry", "--criterion", f"c{ESCAPE}"],
    "report": ["report"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_prints_control_characters(name: str, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["denoise", "--ranker", "bradley-terry", "--store", str(store)]) == 0
    assert run([*COMMANDS[name], "--store", str(store)]) == 0
    printed = capsys.readouterr()
    assert not cli.output.UNSAFE.search(printed.out + printed.err)


def test_the_review_of_a_file_prints_no_control_characters(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ingest", f"votes{ESCAPE}.csv", "--explain", "--store", str(store)]) == 0
    printed = capsys.readouterr()
    assert f"other{SHOWN}" in printed.out + printed.err
    assert not cli.output.UNSAFE.search(printed.out + printed.err)


@pytest.mark.parametrize(
    "arguments",
    [
        ["ingest", f"missing{ESCAPE}{BIDI}"],
        ["denoise", "--criterion", f"c{ESCAPE}{BIDI}"],
        ["leaderboard", "--by", f"c{ESCAPE}{BIDI}"],
        ["ingest", f"votes{ESCAPE}.csv", "--map", f"left=l{ESCAPE}{BIDI}"],
    ],
)
def test_errors_print_no_control_characters(
    arguments: list[str], store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run([*arguments, "--store", str(store)]) in (2, 4, 5)
    printed = capsys.readouterr().err
    assert SHOWN in printed
    assert not cli.output.UNSAFE.search(printed)


def test_a_traceback_prints_no_control_characters(tmp_path: Path) -> None:
    code = "import cli.main\ndef fail(_): raise ValueError('\\x1b[2J')\ncli.main.run = fail\ncli.main.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"ValueError: {SHOWN}" in done.stderr
    assert "\x1b" not in done.stderr


def test_json_holds_the_characters_themselves(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["rejects", "--json", "--store", str(store)]) == 0
    printed = capsys.readouterr().out
    assert {row["file"] for row in json.loads(printed)} == {f"votes{ESCAPE}.csv"}
    assert not cli.output.UNSAFE.search(printed)


@pytest.mark.parametrize("terminal", [True, False])
def test_csv_is_data_unless_a_terminal_shows_it(
    terminal: bool, store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    capsys.readouterr()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    assert run(["rejects", "--csv", "--store", str(store)]) == 0
    rows = list(csv.DictReader(StringIO(capsys.readouterr().out)))
    assert {row["file"] for row in rows} == {f"votes{SHOWN if terminal else ESCAPE}.csv"}


def test_columns_are_aligned_by_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    cli.output.put_table((f"a{ESCAPE}", "last"), [("\x07", "yes"), ("long", "yes")])
    header, _, one, two = capsys.readouterr().out.splitlines()
    assert header.index("last") == one.index("yes") == two.index("yes")
