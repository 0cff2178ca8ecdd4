"""The tutorials run, and print what they show."""

from __future__ import annotations

import contextlib
import io
import os
import re
import runpy
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.main import run
from tests.browsers import needs_chromium
from tests.json_schemas import assert_valid

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parent.parent / "docs" / "tutorials"
BLOCK = re.compile(
    r"^```(console|toml|python|markdown)(?: title=\"([^\"\n]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL
)


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
    if program == "python":
        with contextlib.redirect_stdout(printed):
            runpy.run_path(arguments[0])
        return 0, printed.getvalue()
    assert program == "curate", command
    target = arguments[arguments.index(">") + 1] if ">" in arguments else None
    out = io.StringIO() if target else printed
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(printed):
        code = run(arguments[: arguments.index(">")] if target else arguments)
    if target:
        Path(target).write_text(out.getvalue(), encoding="utf-8")
    return code, printed.getvalue()


@contextlib.contextmanager
def background() -> Iterator[Callable[[str], str]]:
    """Start commands that end with "&", until the end of the block; each returns the JSON that it prints first."""
    running: list[subprocess.Popen[str]] = []

    def start(command: str) -> str:
        words = shlex.split(command)[1:-1]
        program = [sys.executable, "-m", "cli.main", *words]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(DOCS.parent.parent), *sys.path])}
        running.append(
            subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
        )
        stream = running[-1].stdout
        assert stream is not None
        printed = "".join(iter(stream.readline, "}\n")) + "}\n"
        assert_valid(words[0], printed)
        return printed

    try:
        yield start
    finally:
        for process in running:
            process.send_signal(signal.SIGINT)
        for process in running:
            assert process.wait(30) == 0


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


@pytest.mark.parametrize("name", ["rank", "campaign", "reward"])
def test_a_tutorial_about_commands(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    page, commands, port = (DOCS / f"{name}.md").read_text(encoding="utf-8"), 0, free_port()
    for shown_port in ("8080", "8000"):
        page = page.replace(f"127.0.0.1:{shown_port}", f"127.0.0.1:{port}").replace(
            f"--port {shown_port}", f"--port {port}"
        )
    with background() as start:
        for kind, title, text in BLOCK.findall(page):
            if title:
                Path(title).write_text(text, encoding="utf-8")
            elif kind == "console":
                for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                    command, _, shown = part.partition("\n")
                    if command.startswith("cd "):
                        monkeypatch.chdir(tmp_path / command[3:])
                        continue
                    code, printed = (0, start(command)) if command.endswith(" &") else execute(command)
                    assert matches(shown, printed), f"$ {command}\n{printed}"
                    assert (code != 0) == ("\nerror: " in shown), f"$ {command}: exit code {code}"
                    commands += 1
    assert commands >= 8


@pytest.mark.parametrize(("page", "count"), [("docs/tutorials/notebook.md", None), ("README.md", 1)])
def test_python_prints_what_a_page_shows(
    page: str, count: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """count: how many of the first blocks run; all if None."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    text = (DOCS.parent.parent / page).read_text("utf-8")
    blocks = [code for kind, _, code in BLOCK.findall(text) if kind == "python"][:count]
    for command in re.findall(r"^curate simulate [^#\n]*", text, re.MULTILINE)[:count]:
        assert execute(command)[0] == 0
    for block in blocks:
        code, _, shown = block.partition("\n# prints:\n")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, page, "exec"), names)
        assert matches("\n".join(line.removeprefix("# ") for line in shown.splitlines()), printed.getvalue()), (
            printed.getvalue()
        )
    assert len(blocks) >= (count or 4)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation, built as `make site` does."""
    folder = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=DOCS.parent.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_site_has_no_broken_link_and_fetches_nothing(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    fetched = re.compile(r"""<(?:script|img|iframe)[^>]*src="?https?:|<link[^>]*rel="?stylesheet[^>]*href="?https?:""")
    assert [page for page in pages if fetched.search(page.read_text("utf-8"))] == []


@needs_chromium
def test_the_search_works_in_files_on_disk(site: Path, browser: Any) -> None:
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    failed: list[str] = []
    page.on("requestfailed", lambda request: failed.append(request.url))
    page.goto((site / "index.html").as_uri())
    page.locator("input.md-search__input").click()
    page.keyboard.type("overdispersion")
    page.locator(".md-search-result__item").first.wait_for()
    assert "Rankers" in page.locator(".md-search-result__list").inner_text()
    assert failed == []


def test_an_elided_output_matches() -> None:
    assert matches("a … c\n…\nz", "a b c\nx\ny\nz")
    assert not matches("a\n…\nz", "b\nz")
