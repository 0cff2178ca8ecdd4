"""The command line: exit codes, streams, JSON, settings, and a fast start."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.main import PACKAGES, run
from cli.options import RENAMED_OPTIONS, current_names
from cli.reference import commands, reference
from curate.installation import ShadowedPackageError, check_installation
from schemas.reference import reference as data_reference

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
VOTES = """prompt_id,left,right,winner,annotator_id
p1,x,y,left,ann
p1,y,z,left,ann
p1,x,z,left,bob
p1,x,x,left,bob
"""

HEAVY = {"torch", "pydantic", "transformers", "cvxpy", "scipy", "polars", "duckdb", "numpy", "networkx", "pyarrow"}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a file of votes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "votes.csv").write_text(VOTES)
    return tmp_path


def test_docs_cli_md_is_the_help_of_every_command() -> None:
    written = (Path(__file__).parent.parent / "docs" / "cli.md").read_text(encoding="utf-8")
    assert written == reference(), "docs/cli.md is stale: make docs"


def test_docs_data_md_is_generated_from_the_schemas() -> None:
    written = (Path(__file__).parent.parent / "docs" / "data.md").read_text(encoding="utf-8")
    assert written == data_reference(), "docs/data.md is stale: make docs"


def test_every_help_has_an_example() -> None:
    sections = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8").split("\n## curate ")[1:]
    assert [section.splitlines()[0] for section in sections] == list(commands())
    for name, section in zip(commands(), sections, strict=True):
        assert f"curate {name}" in section.split("Example:")[1]


WITHOUT = {
    "starlette": ("annotate", "annotate june"),
    "markdown_it": ("annotate", "annotate june"),
    "uvicorn": ("serve", "serve model"),
    "av": ("video", "simulate --video --out world"),
    "torch": ("train", "train --shards x --backbone y --out z"),
}
"""Missing package -> the extra that has it, and a command that needs it."""


def test_a_missing_package_is_named_with_its_extra() -> None:
    code = """
import sys, cli.main
for package, command in zip(sys.argv[1::2], sys.argv[2::2]):
    sys.modules[package] = None
    assert cli.main.run(command.split()) == 5
    del sys.modules[package]
"""
    given = [text for package, (_, command) in WITHOUT.items() for text in (package, command)]
    done = subprocess.run([sys.executable, "-c", code, *given], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    hints = [line for line in done.stderr.splitlines() if line.startswith("hint: ")]
    assert hints == [f"hint: pip install 'mr2-curate[{extra}]'" for extra, _ in WITHOUT.values()]
    assert "which is not installed" in done.stderr


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, cli.main; code = cli.main.run(['--help']); "
        "sys.stderr.write(' '.join(m for m in sys.modules if '.' not in m)); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "ingest" in done.stdout
    assert not HEAVY & set(done.stderr.split())


def test_a_handled_error_has_a_hint_on_stderr(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["denoise"]) == 5
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: curate.duckdb: no such store\nhint: make one: curate ingest VOTES --store curate.duckdb\n"
    assert list(here.iterdir()) == [here / "votes.csv"]


def test_with_json_the_error_is_json_on_stdout(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ingest", "nowhere.csv", "--json"]) == 5
    assert json.loads(capsys.readouterr().out) == {
        "error": "nowhere.csv: no such file",
        "hint": "give files, globs or directories",
        "exit_code": 5,
        "leaks": [],
    }


def test_wrong_usage_exits_2(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ingest"]) == 2
    assert run(["denoise", "--ranker", "elo"]) == 2
    assert run(["nonsense"]) == 2
    assert "bradley-terry" in capsys.readouterr().err
    assert run(["serve", "model", "--group-size", "9", "--max-responses", "8"]) == 2
    assert "--max-responses 8" in capsys.readouterr().err


def test_ingest_prints_messages_on_stderr_and_json_on_stdout(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ingest", "votes.csv", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {key: report[key] for key in ("rows", "votes", "duplicates", "rejects", "reasons")} == {
        "rows": 4,
        "votes": 3,
        "duplicates": 0,
        "rejects": 1,
        "reasons": {"self-comparison": 1},
    }
    assert run(["ingest", "votes.csv"]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "4 rows = 0 votes + 3 duplicates + 1 reject\n" in err
    assert "nothing new: curate.duckdb is unchanged" in err
    assert "left ← left, right ← right, prompt_id ← prompt_id, outcome ← winner" in err


def test_a_dry_run_makes_no_store(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ingest", "votes.csv", "--dry-run"]) == 0
    assert "4 rows = 3 votes + 0 duplicates + 1 reject\n" in capsys.readouterr().err
    assert not (here / "curate.duckdb").exists()


def test_mapping_options_reach_the_job(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "odd.csv").write_text("q,one,two,verdict\np1,x,y,1\np1,x,z,2\np1,y,z,0\n")
    assert run(["ingest", "odd.csv"]) == 4
    assert "no columns that name two responses" in capsys.readouterr().err
    mapping = ["--map", "prompt_id=q", "--map", "response_a=one", "--map", "response_b=two"]
    outcomes = ["--outcome", "1=left", "--outcome", "2=right", "--outcome", "0=tie"]
    assert run(["ingest", "odd.csv", *mapping, *outcomes, "--sides", "shown", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["votes"], report["sides_known"]) == (3, 3)
    assert run(["ingest", "odd.csv", "--map", "nonsense"]) == 2
    assert "--map nonsense: expected KEY=VALUE" in capsys.readouterr().err


def test_a_mapping_file_does_what_the_options_do(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "odd.csv").write_text("q,one,two,verdict\np1,x,y,1\n")
    (here / "mapping.toml").write_text(
        'columns = { prompt_id = "q", left = "one", right = "two" }\noutcomes = { "1" = "left" }\n'
    )
    assert run(["ingest", "odd.csv", "--mapping", "mapping.toml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["votes"] == 1
    (here / "mapping.toml").write_text("colunms = {}\n")
    assert run(["ingest", "odd.csv", "--mapping", "mapping.toml"]) == 4
    assert "mapping.toml: colunms: unknown key" in capsys.readouterr().err


def test_rejects_are_shown_and_exported(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["ingest", "votes.csv"])
    capsys.readouterr()
    assert run(["rejects", "--json"]) == 0
    [reject] = json.loads(capsys.readouterr().out)
    assert (reject["file"], reject["line"], reject["column"], reject["value"], reject["reason"]) == (
        "votes.csv",
        5,
        "right",
        "x",
        "self-comparison",
    )
    assert run(["rejects", "--csv", "--reason", "bad-time"]) == 0
    assert capsys.readouterr().out == "file,line,column,value,reason,message,row,batch_id\n"


def test_rankings_come_as_table_json_and_csv(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["ingest", "votes.csv"])
    assert run(["denoise", "--ranker", "bradley-terry", "--compare", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["ranked"], report["proven_optimal"], report["disagreement"]) == (1, 1, 0.0)
    assert (report["proved"], report["contradicted"]) == (1, 0.0)  # renamed
    assert run(["rankings", "p1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["response_id"], row["rank"]) for row in rows] == [("x", 1), ("y", 2), ("z", 3)]
    assert run(["rankings", "--csv"]) == 0
    header, first, *_ = capsys.readouterr().out.splitlines()
    assert header.split(",")[:5] == ["prompt_id", "response_id", "model", "component", "rank"]
    assert first.startswith("p1,x,")
    assert run(["rankings", "nobody"]) == 5
    assert run(["rankings", "--run", "feed"]) == 5
    assert "no denoise run 'feed'" in capsys.readouterr().err


def test_settings_of_the_folder_are_the_defaults(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "curate.toml").write_text('store = "mine.duckdb"\n[denoise]\nranker = "borda"\n')
    run(["ingest", "votes.csv"])
    assert (here / "mine.duckdb").exists()
    assert run(["denoise", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ranker"] == "borda"
    assert run(["denoise", "--ranker", "win-rate", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ranker"] == "win-rate"
    (here / "curate.toml").write_text('[denoise]\nrankr = "borda"\n')
    assert run(["denoise"]) == 4
    assert "curate.toml: denoise.rankr: unknown key" in capsys.readouterr().err


def test_settings_can_be_in_pyproject(here: Path) -> None:
    (here / "pyproject.toml").write_text('[tool.curate]\nstore = "of_project.duckdb"\n')
    run(["ingest", "votes.csv"])
    assert (here / "of_project.duckdb").exists()


def test_ensemble_weights_can_be_given(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["ingest", "votes.csv"])
    assert run(["denoise", "--weight", "bradley-terry=3", "--weight", "borda=1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["weights"] == {"bradley-terry": 0.75, "borda": 0.25}
    assert run(["denoise", "--weight", "borda=much"]) == 2
    assert run(["denoise", "--weight", "ensemble=1"]) == 2
    assert "the ensemble cannot be a member of itself" in capsys.readouterr().err


def test_status_counts_what_is_there(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["ingest", "votes.csv"])
    run(["denoise"])
    capsys.readouterr()
    assert run(["status", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["votes"], report["prompts"], report["annotators"], report["sides_known"]) == (3, 1, 2, 3)
    assert report["rejects"] == {"self-comparison": 1}
    assert [entry["step"] for entry in report["runs"]] == ["denoise"]
    assert run(["status"]) == 0
    assert "votes        3  (3 left)" in capsys.readouterr().out


def test_a_closed_pipe_is_not_an_error(here: Path) -> None:
    rows = "".join(f"p{i},x,y,left,ann\n" for i in range(1000))  # more output than a pipe buffers
    (here / "many.csv").write_text("prompt_id,left,right,winner,annotator_id\n" + rows)
    run(["ingest", "many.csv"])
    run(["denoise", "--ranker", "bradley-terry"])
    command = f"{sys.executable} -m cli.main rankings --csv | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("prompt_id,")
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["schemas", "pipelines"])
def test_a_folder_that_hides_a_package_is_named_at_import_and_by_the_command(tmp_path: Path, name: str) -> None:
    planted = tmp_path / name
    planted.mkdir()
    (planted / "__init__.py").write_text("")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    for code in ("import curate", "import cli.main"):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path, env=environment
        )
        last = done.stderr.splitlines()[-1]
        assert done.returncode == 1
        assert str(planted) in last
        assert "rename" in last


def test_the_command_checks_all_five_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert set(PACKAGES) == {"schemas", "annotations", "curate", "pipelines", "cli"}
    for name in PACKAGES:
        spec = importlib.util.spec_from_file_location(name, tmp_path / name / "__init__.py")
        monkeypatch.setattr("curate.installation.find_spec", {name: spec}.get)
        with pytest.raises(ShadowedPackageError):
            check_installation([name])


DIFFERENT_VALUES = {"--key", "--out", "--reason", "--votes-per-pair"}
"""Options whose values differ although they mean the same: a file or a folder, a number of votes or its mean, …"""


def test_an_option_means_the_same_in_all_commands() -> None:
    values: dict[str, set[str]] = {}
    for name, command in commands().items():
        old = RENAMED_OPTIONS.get(name, {}) | RENAMED_OPTIONS.get(name.partition(" ")[0], {})
        for parameter in inspect.signature(command, eval_str=True).parameters.values():
            info = getattr(parameter.annotation, "__metadata__", [None])[0]
            names = (getattr(info, "default", None), *(getattr(info, "param_decls", None) or ()))
            options = {name for name in names if isinstance(name, str) and name.startswith("--")}
            assert not options & old.keys(), name
            for option in options:
                values.setdefault(option, set()).add(info.metavar or "")
    assert {option for option, kinds in values.items() if len(kinds - {""}) > 1} == DIFFERENT_VALUES


def test_deprecated_options_are_the_current_ones_with_a_note(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(["ingest", "votes.csv"])
    capsys.readouterr()
    assert run(["denoise", "--ranker", "borda", "--prompts=p1", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["prompts"] == 1
    assert err == "note: '--prompts' is now called '--prompt'; '--prompts' will be removed in 0.3\n"
    for command, renamed in RENAMED_OPTIONS.items():
        for old, new in renamed.items():
            with pytest.warns(FutureWarning, match=new):
                assert current_names([*command.split(), old, "x"]) == [*command.split(), new, "x"]


def test_a_renamed_option_is_one_note_on_stderr(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "curate.toml").write_text('[denoise]\nranker = "joint"\n')
    assert run(["status"]) == 5
    notes = [line for line in capsys.readouterr().err.splitlines() if "joint" in line]
    assert notes == ["note: 'joint' is now called 'hierarchical'; 'joint' will be removed in 0.3"]
