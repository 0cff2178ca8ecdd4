"""The tutorials run, and print what they show."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from cli.main import run

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parent.parent / "docs" / "tutorials"
BLOCK = re.compile(r"^```(console|toml|python)(?: title=\"([^\"\n]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def matches(shown: str, printed: str) -> bool:
    """Whether a text was printed: a line "…" stands for any lines, "…" in a line for anything within it."""
    pattern = "\n".join("(?:.*\n)*?.*" if line == "…" else _line(line) for line in shown.strip().splitlines())
    return re.fullmatch(pattern, "\n".join(line.rstrip() for line in printed.strip().splitlines())) is not None


def _line(line: str) -> str:
    return ".*".join(re.escape(part) for part in line.rstrip().split("…"))


def execute(command: str) -> tuple[int, str]:
    """Run a command of a tutorial in this process; return its exit code and what it prints, errors included."""
    printed = io.StringIO()
    program, *arguments = shlex.split(command)
    assert program == "curate", command
    target = arguments[arguments.index(">") + 1] if ">" in arguments else None
    out = io.StringIO() if target else printed
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(printed):
        code = run(arguments[: arguments.index(">")] if target else arguments)
    if target:
        Path(target).write_text(out.getvalue(), encoding="utf-8")
    return code, printed.getvalue()


def test_a_tutorial_about_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    commands = 0
    for kind, title, text in BLOCK.findall((DOCS / "rank.md").read_text(encoding="utf-8")):
        if kind == "toml":
            Path(title).write_text(text, encoding="utf-8")
        elif kind == "console":
            for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                command, _, shown = part.partition("\n")
                if command.startswith("cd "):
                    monkeypatch.chdir(tmp_path / command[3:])
                    continue
                code, printed = execute(command)
                assert matches(shown, printed), f"$ {command}\n{printed}"
                assert code == ("\nerror: " in shown), f"$ {command}: exit code {code}"
                commands += 1
    assert commands >= 8


def test_a_tutorial_in_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    blocks = [text for kind, _, text in BLOCK.findall((DOCS / "notebook.md").read_text("utf-8")) if kind == "python"]
    for block in blocks:
        code, _, shown = block.partition("\n# prints:\n")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, "notebook.md", "exec"), names)
        assert matches("\n".join(line.removeprefix("# ") for line in shown.splitlines()), printed.getvalue()), (
            printed.getvalue()
        )
    assert len(blocks) >= 4


def test_the_site_has_no_broken_link(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=DOCS.parent.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 20
    assert not [
        page for page in pages if re.search(r'(src|href)="https?://[^"]*\.(js|css|woff2?)"', page.read_text("utf-8"))
    ]


def test_an_elided_output_matches() -> None:
    assert matches("a … c\n…\nz", "a b c\nx\ny\nz")
    assert not matches("a\n…\nz", "b\nz")
