"""Third-party platforms through entry points, their contract, and files that several platforms recognize."""

from __future__ import annotations

import json
import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from annotations.platforms.base import Platform
from annotations.platforms.contract import check_platform
from annotations.platforms.registry import PLATFORMS, all_platforms, detect_platform, platform_named
from annotations.readers.files import find_files
from annotations.readers.formats import Chunk
from cli.main import run
from curate.store import Store
from pipelines import ingest
from schemas.config import IngestConfig
from schemas.errors import CurateError
from tests import platform_files as files
from tests.test_platforms import EXPORTS

PLUGIN = Path(__file__).parent / "plugin_platform"
TEXT = "It falls."
DUELS = [
    {
        "duel": number,
        "topic": "p1",
        "sides": [{"id": "a", "text": TEXT}, {"id": "b", "text": "[1]"}],
        "voter": f"u{number}",
        "better": better,
    }
    for number, better in enumerate([0, 1, None, "tie"])
]


def install(folder: Path, value: str = "curate_duel:PLATFORM", name: str = "duel", package: str = "") -> None:
    """Install the plugin package into a folder, as pip would: its module and its metadata."""
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]
    package = package or project["name"]
    info = folder / f"{package.replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    shutil.copy(PLUGIN / "curate_duel.py", folder)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {project['version']}\n")
    (info / "entry_points.txt").write_text(f"[curate.platforms]\n{name} = {value}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages."""
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delitem(sys.modules, "curate_duel", raising=False)
    return tmp_path / "site"


@pytest.fixture
def duels(tmp_path: Path) -> Path:
    return files.write(tmp_path, "duels.jsonl", files.lines(DUELS))


def test_a_third_party_platform_is_detected_read_and_listed(
    site: Path, duels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    declared = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]["entry-points"]["curate.platforms"]
    assert declared == {"duel": "curate_duel:PLATFORM"}
    install(site)
    report = ingest(duels, tmp_path / "s.duckdb")
    assert report.files[0].platform == "duel"
    assert (report.rows, report.votes, report.reasons) == (4, 3, {"no-answer": 1})
    with Store.open(tmp_path / "s.duckdb") as store:
        assert store.votes()["outcome"].to_list() == ["left", "right", "tie"]
        assert store.responses()["text"].to_list() == [TEXT, "[1]"]
    assert run(["ingest", "--formats", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == [*(p.name for p in PLATFORMS), "duel"]


def test_a_third_party_platform_keeps_the_contract(site: Path, duels: Path) -> None:
    install(site)
    check_platform(platform_named("duel"), [duels])


@pytest.mark.parametrize(
    ("value", "message"),
    [("curate_duel:ROWS", "not a Platform"), ("curate_duel:MISSING", "cannot be imported")],
)
def test_a_broken_third_party_platform_names_its_package_and_stops_no_named_format(
    site: Path, duels: Path, tmp_path: Path, value: str, message: str
) -> None:
    install(site, value)
    for use in (all_platforms, lambda: platform_named("duel"), lambda: ingest(duels, tmp_path / "s.duckdb")):
        with pytest.raises(CurateError, match=message) as error:
            use()
        assert "curate-duel 0.3" in str(error.value)
        assert "--format" in error.value.hint
    [file] = find_files([duels])
    assert detect_platform(file, "toloka") is platform_named("toloka")


@pytest.mark.parametrize("name", ["toloka", "auto", "generic"])
def test_a_package_cannot_take_a_name_of_curate(site: Path, name: str) -> None:
    install(site, name=name)
    with pytest.raises(CurateError, match=r"curate-duel 0\.3"):
        all_platforms()


def test_two_packages_cannot_have_the_same_name(site: Path) -> None:
    install(site)
    install(site, package="another-duel")
    with pytest.raises(CurateError, match=r"another-duel 0\.3") as error:
        platform_named("duel")
    assert "curate-duel 0.3" in str(error.value)


@pytest.mark.parametrize("part", ["recognizes", "read"])
def test_an_exception_in_a_third_party_platform_names_its_package(
    site: Path, duels: Path, tmp_path: Path, part: str
) -> None:
    install(site)
    with (site / "curate_duel.py").open("a") as module:
        module.write(f"PLATFORM = replace(PLATFORM, {part}=lambda *_: 1 // 0)\n")
    with pytest.raises(CurateError, match="ZeroDivisionError") as error:
        ingest(duels, tmp_path / "s.duckdb")
    assert "curate-duel 0.3" in str(error.value)


def test_a_file_that_two_platforms_recognize_is_an_error_that_names_both(site: Path, tmp_path: Path) -> None:
    install(site)
    with (site / "curate_duel.py").open("a") as module:
        module.write("PLATFORM = replace(PLATFORM, recognizes=lambda head: True)\n")
    [file] = find_files([files.write(tmp_path, *EXPORTS["toloka"])])
    with pytest.raises(CurateError, match="toloka, duel") as error:
        detect_platform(file)
    assert all(f"--format {name}" in error.value.hint for name in ("toloka", "duel"))
    assert detect_platform(file, "toloka") is platform_named("toloka")
    assert detect_platform(file, "generic") is None


# A reader that crashes

CRASHES = {
    "os.abort()": "SIGABRT",
    "os._exit(0)": "exit code 0",
    "bytearray(16 << 30)": "memory_gib",
    "time.sleep(60)": "within 5 seconds",
}


@pytest.mark.parametrize("crash", CRASHES)
def test_a_reader_that_crashes_or_hangs_is_damage_of_its_file(
    site: Path, duels: Path, tmp_path: Path, crash: str
) -> None:
    install(site)
    with (site / "curate_duel.py").open("a") as module:
        module.write(f"""
import os, time
def crashing(file, now):
    yield from read(file, now)
    {crash}
PLATFORM = replace(PLATFORM, read=crashing)
""")
    config = IngestConfig.model_validate({"limits": {"seconds": 5, "memory_gib": 4}})
    with pytest.raises(CurateError, match=rf"duels\.jsonl:5: .*{CRASHES[crash]}"):
        ingest(duels, tmp_path / "s.duckdb", config=config)
    assert not (tmp_path / "s.duckdb").exists()
    report = ingest(duels, tmp_path / "s.duckdb", config=config.model_copy(update={"on_error": "reject"}))
    assert (report.rows, report.votes, report.reasons) == (5, 3, {"no-answer": 1, "parser-crash": 1})


# The contract


@pytest.mark.parametrize("what", EXPORTS)
def test_built_in_platforms_keep_the_contract(what: str, tmp_path: Path) -> None:
    """Without damaged copies, which test_platforms_hostile makes."""
    check_platform(platform_named(what.partition(" ")[0]), [files.write(tmp_path, *EXPORTS[what])], trials=0)


def numbers(chunk: Chunk) -> Chunk:
    return replace(chunk, frame=chunk.frame.with_columns(pl.lit(1).alias("n")))


def same_lines(chunk: Chunk) -> Chunk:
    return replace(chunk, line=chunk.line * 0 + 1)


def lines_from_zero(chunk: Chunk) -> Chunk:
    return replace(chunk, line=chunk.line - 1)


def unknown_reason(chunk: Chunk) -> Chunk:
    return replace(chunk, frame=chunk.frame.with_columns(pl.lit("whim").alias("reject")))


def all_rejects(chunk: Chunk) -> Chunk:
    return replace(chunk, frame=chunk.frame.with_columns(pl.lit("no-answer").alias("reject")))


def needs_every_topic(chunk: Chunk) -> Chunk:
    assert chunk.frame["prompt_id"].null_count() == 0, "no topic"
    return chunk


class Alternating:
    """Another row order at every second call."""

    calls = 0

    def __call__(self, chunk: Chunk) -> Chunk:
        self.calls += 1
        return replace(chunk, frame=chunk.frame.reverse() if self.calls % 2 else chunk.frame)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (numbers, "not String"),
        (same_lines, "same line"),
        (lines_from_zero, "below 1"),
        (unknown_reason, "unknown reasons"),
        (all_rejects, "no row became a vote"),
        (needs_every_topic, "no topic"),
        (Alternating(), "second reading"),
    ],
)
def test_the_contract_finds(site: Path, duels: Path, spoil: Callable[[Chunk], Chunk], message: str) -> None:
    install(site)
    duel = platform_named("duel")

    def read(file: Any, now: Any) -> Iterator[Chunk]:
        return map(spoil, duel.read(file, now))

    with pytest.raises(AssertionError, match=message):
        check_platform(replace(duel, read=read), [duels])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "Duel!"}, "a-z"),
        ({"name": "toloka"}, "taken"),
        ({"sides": ""}, "sides is empty"),
        ({"recognizes": lambda _: False}, "not recognized"),
    ],
)
def test_the_contract_checks_the_declaration(site: Path, duels: Path, change: dict[str, Any], message: str) -> None:
    install(site)
    duel: Platform = platform_named("duel")
    with pytest.raises(AssertionError, match=message):
        check_platform(replace(duel, **change), [duels])
