"""Refreshes: new votes become the next release; running again, killing and concurrent runs do no harm."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

import curate
from annotations.campaign.folder import locked
from cli.main import run as command
from curate.rankers.hierarchical import Hierarchical
from curate.release.manifest import read_release
from pipelines import denoise, ingest, load_recipe, refresh, report, run, simulate
from pipelines.refreshing import LOCK
from pipelines.releasing import build
from schemas.config import AutoConfig, DenoiseConfig, SimulateConfig
from schemas.errors import CurateError
from schemas.recipe import Recipe
from schemas.refresh import RefreshReport

pytestmark = pytest.mark.slow

RECIPE = """
title = "a small campaign"
ingest = { paths = ["votes-*.csv"], prompts = "prompts.csv", responses = "responses.csv" }
denoise = { config = { auto = { folds = 2 } } }
release = { config = { name = "small", split = { benchmark_fraction = 0.5, seed = 1 } } }
"""
DENOISE = ["denoise", "build"]


@pytest.fixture(scope="session")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with prompts, responses, a first file of votes, and a recipe; later.csv is next to it."""
    home = tmp_path_factory.mktemp("refresh")
    simulate(home / "world", config=SimulateConfig(prompts=10, models=6, annotators=12, votes_per_pair=2.0))
    folder = home / "campaign"
    folder.mkdir()
    for name in ("prompts.csv", "responses.csv"):
        shutil.copy(home / "world" / name, folder)
    votes = pl.read_csv(home / "world" / "votes.csv")
    votes[:250].write_csv(folder / "votes-1.csv")
    votes[250:].write_csv(home / "later.csv")
    (folder / "recipe.toml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="session")
def first(campaign: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RefreshReport]:
    """The campaign after its first refresh, and the report; copy it before a change."""
    folder = Path(shutil.copytree(campaign, tmp_path_factory.mktemp("first") / "campaign"))
    return folder, refresh(recipe_of(folder), folder)


@pytest.fixture(scope="session")
def second(
    campaign: Path, first: tuple[Path, RefreshReport], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, RefreshReport]:
    """The campaign after a second, undisturbed refresh with later votes; copy it before a change."""
    folder = Path(shutil.copytree(first[0], tmp_path_factory.mktemp("second") / "campaign"))
    shutil.copy(campaign.parent / "later.csv", folder / "votes-2.csv")
    return folder, refresh(recipe_of(folder), folder)


@pytest.fixture
def here(campaign: Path, tmp_path: Path) -> Path:
    """A copy of the campaign before any refresh."""
    return Path(shutil.copytree(campaign, tmp_path / "campaign"))


@pytest.fixture
def refreshed(first: tuple[Path, RefreshReport], tmp_path: Path) -> Path:
    """A copy of the campaign after its first refresh."""
    return Path(shutil.copytree(first[0], tmp_path / "campaign"))


@pytest.fixture
def more_votes(campaign: Path) -> Callable[[Path], Path]:
    """Add the file of later votes to a folder."""
    return lambda folder: Path(shutil.copy(campaign.parent / "later.csv", folder / "votes-2.csv"))


More = Callable[[Path], Path]


def recipe_of(folder: Path) -> Recipe:
    return load_recipe(folder / "recipe.toml")


def releases(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("releases/*/*") if path.is_file()}


def test_new_votes_become_the_next_release_with_a_page_on_the_changes(
    first: tuple[Path, RefreshReport], second: tuple[Path, RefreshReport]
) -> None:
    before, after = first[1], second[1]
    assert (before.released, Path(before.release).name, before.changes) == (True, "small-1.0.0", None)
    assert (after.released, Path(after.release).name) == (True, "small-1.1.0")
    assert (after.plan.new_files, after.plan.votes) == (("votes-2.csv",), 50)
    assert after.changes is not None
    assert (after.changes.causes, after.changes.votes) == (("new votes",), (250, 300))
    page = Path(after.summary).read_text()
    assert "- new files: 1\n- new votes: 50\n" in page
    assert "votes: 250 → 300" in page


def test_page_and_report_state_the_votes_by_which_the_method_was_chosen(refreshed: Path, campaign: Path) -> None:
    with curate.open(refreshed / "curate.duckdb") as store:
        chosen = store.runs().filter(pl.col("step") == "denoise")["run_id"][0]
    (page,) = (refreshed / "refreshes").glob("*.md")
    assert "(250 votes)" in page.read_text()
    votes = pl.read_csv(campaign.parent / "later.csv")
    for number, part in enumerate((votes[:30], votes[30:]), start=2):
        part.write_csv(refreshed / f"votes-{number}.csv")
        last = refresh(recipe_of(refreshed), refreshed)
    for text in ("small-1.0.0", chosen, "250 votes", "300 now"):
        assert text in Path(last.summary).read_text()
    page_report = report(refreshed / "curate.duckdb", refreshed / "page.html")
    assert page_report.run == last.run
    html = (refreshed / "page.html").read_text()
    assert all(text in html for text in ("small-1.0.0", chosen, "250 votes", "300 now"))


def test_the_recipes_report_is_written_with_each_release_from_one_fit(
    here: Path, more_votes: More, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rankings, fragility and the report's annotators share one fit, which holding votes out precedes in the first."""
    with (here / "recipe.toml").open("a") as recipe:
        recipe.write('report = { out = "report.html" }\n')
    before = refresh(recipe_of(here), here)
    assert (before.report, before.run in (here / "report.html").read_text()) == (str(here / "report.html"), True)
    assert refresh(recipe_of(here), here).report == ""
    more_votes(here)
    assert "report.html" in refresh(recipe_of(here), here, dry_run=True).plan.steps[-1]
    sizes, start = list[int](), Hierarchical.start
    monkeypatch.setattr(Hierarchical, "start", lambda self, votes: sizes.append(len(votes.left)) or start(self, votes))
    after = refresh(recipe_of(here), here)
    assert after.run in (here / "report.html").read_text()
    assert sizes == [300]


def test_without_new_votes_there_is_no_new_release(refreshed: Path) -> None:
    before = releases(refreshed)
    again = refresh(recipe_of(refreshed), refreshed)
    assert (again.released, again.summary, again.plan.steps) == (False, "", ())
    (refreshed / "votes-copy.csv").write_bytes((refreshed / "votes-1.csv").read_bytes())
    assert not refresh(recipe_of(refreshed), refreshed).released, "a known file under another name"
    assert releases(refreshed) == before


def test_rankings_and_release_equal_those_of_a_full_run_by_the_same_method(
    second: tuple[Path, RefreshReport], tmp_path: Path
) -> None:
    folder, after = second
    with curate.open(folder / "curate.duckdb") as store:
        mine, method = store.rankings(after.run), store.run(after.run)["report"]["method"]
    full = tmp_path / "full.duckdb"
    ingest(
        [folder / "votes-2.csv", folder / "votes-1.csv"],
        full,
        prompts=folder / "prompts.csv",
        responses=folder / "responses.csv",
    )
    assert method != "stack"
    denoise(full, config=DenoiseConfig(ranker=method, auto=AutoConfig(folds=2)))
    with curate.open(full) as store:
        theirs = store.rankings()
    assert mine.equals(theirs)
    recipe = recipe_of(folder)
    assert recipe.release is not None
    shutil.copytree(folder / "releases" / "small-1.0.0", tmp_path / "releases" / "small-1.0.0")
    again = build(full, out=tmp_path / "releases", config=recipe.release.config.model_copy(update={"version": "1.1.0"}))
    paths = sorted(Path(after.release).glob("*.parquet"))
    assert len(list(Path(again.out).glob("*.parquet"))) == len(paths) > 0
    for path in paths:  # equal except for the id of the run
        own, other = (pl.read_parquet(home / path.name) for home in (Path(after.release), Path(again.out)))
        assert own.drop("run_id", strict=False).equals(other.drop("run_id", strict=False))


def test_the_method_is_kept_only_for_the_same_config(refreshed: Path, more_votes: More) -> None:
    store = refreshed / "curate.duckdb"
    ingest(more_votes(refreshed), store)
    recipe = recipe_of(refreshed)
    assert recipe.denoise is not None
    kept = denoise(store, config=recipe.denoise.config, keep_choice=True)
    assert kept.auto is not None
    assert kept.auto.kept
    other = denoise(store, config=recipe.denoise.config.model_copy(update={"min_votes": 2}), keep_choice=True)
    assert other.auto is not None
    assert not other.auto.kept


def test_a_dry_run_returns_the_plan_and_changes_nothing(refreshed: Path, more_votes: More) -> None:
    more_votes(refreshed)
    before, store = releases(refreshed), (refreshed / "curate.duckdb").read_bytes()
    plan = refresh(recipe_of(refreshed), refreshed, dry_run=True).plan
    assert plan.votes == 50
    assert [step.split()[0] for step in plan.steps] == ["ingest", "denoise", "build"]
    assert (releases(refreshed), (refreshed / "curate.duckdb").read_bytes()) == (before, store)


def test_a_dry_run_finds_another_config(refreshed: Path) -> None:
    (refreshed / "recipe.toml").write_text(RECIPE.replace('name = "small"', 'name = "small", licence = "cc0-1.0"'))
    (step,) = refresh(recipe_of(refreshed), refreshed, dry_run=True).plan.steps
    assert "config" in step
    assert "small-1.0.0" in step


def test_a_second_process_gets_an_error_that_names_the_first(refreshed: Path) -> None:
    with locked(refreshed / LOCK), pytest.raises(CurateError, match=r"\.refresh\.lock: .*process \d+ on .*"):
        refresh(recipe_of(refreshed), refreshed)


KILLED = """
import os, signal, sys
from pathlib import Path
from pipelines import load_recipe, refresh
here = Path(sys.argv[1])
def done(step, report):
    if step == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)
refresh(load_recipe(here / "recipe.toml"), here, done=done)
"""


def test_killed_after_every_step_the_next_refresh_gives_the_result_of_an_undisturbed_one(
    refreshed: Path, more_votes: More, second: tuple[Path, RefreshReport]
) -> None:
    more_votes(refreshed)
    for step, expected in {"ingest": DENOISE, "denoise": DENOISE, "release": ["finish"]}.items():
        killed = subprocess.run([sys.executable, "-c", KILLED, refreshed, step], capture_output=True, check=False)
        assert killed.returncode == -signal.SIGKILL
        planned = refresh(recipe_of(refreshed), refreshed, dry_run=True).plan.steps
        assert [words.split()[0] for words in planned] == expected
    after = refresh(recipe_of(refreshed), refreshed)
    assert after.released
    assert releases(refreshed) == releases(second[0])
    assert after.changes == second[1].changes
    assert Path(after.summary).name == "small-1.1.0.md"
    assert Path(after.summary).read_bytes() == Path(second[1].summary).read_bytes()
    assert not refresh(recipe_of(refreshed), refreshed).released


def test_the_command_exits_with_3_without_a_new_release(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["refresh", str(here / "recipe.toml"), "--dir", str(here)]
    assert command([*arguments, "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("build ")
    assert command(arguments) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("small-1.0.0")
    assert command([*arguments, "--json"]) == 3
    printed = json.loads(capsys.readouterr().out)
    assert (printed["released"], printed["moved"]) == (False, False), "the old name for one version"
    assert command([*arguments, "--dry-run"]) == 3


def test_a_recipe_without_a_release_is_refused(campaign: Path) -> None:
    with pytest.raises(CurateError, match="release"):
        refresh(recipe_of(campaign).model_copy(update={"release": None}), campaign)


def test_after_a_run_a_refresh_reads_new_files_only_and_its_number_follows_the_highest(
    here: Path, more_votes: More
) -> None:
    """Also where no digests of the prompts and responses were kept, such as after ``curate ingest``."""
    (here / "recipe.toml").write_text(RECIPE.replace('"small"', '"small", version = "2.9.0"'))
    recipe, steps = recipe_of(here), list[str]()
    run(recipe, here)
    for expected in (["denoise "], ["ingest 0", "denoise "]):
        steps.clear()
        again = refresh(recipe, here, done=lambda step, report: steps.append(f"{step} {getattr(report, 'rows', '')}"))
        assert (steps, again.released) == (expected, False)
        counts = again.plan.model_dump(include={"new_files", "votes", "duplicates", "rejects", "recovered"})
        assert not any(counts.values())
        shutil.rmtree(here / "refreshes")
    more_votes(here)
    later = refresh(recipe, here)
    assert Path(later.release).name == "small-2.10.0"
    plan = later.plan
    assert (plan.new_files, plan.votes, plan.duplicates, plan.rejects) == (("votes-2.csv",), 50, 0, 0)
    with curate.open(here / "curate.duckdb") as store:
        batches = store.batches()
    assert [json.loads(counts)["rows"] for counts in batches["counts"]] == [250, 50]


def test_votes_on_unknown_prompts_are_recovered_with_the_prompts(refreshed: Path) -> None:
    prompts, responses = (refreshed / "prompts.csv").read_text(), (refreshed / "responses.csv").read_text()
    votes = [f"late,late-{a},late-{b},left,w{n}" for n in range(8) for a, b in (("a", "b"), ("b", "c"), ("c", "d"))]
    (refreshed / "votes-2.csv").write_text("prompt_id,left,right,winner,annotator_id\n" + "\n".join(votes) + "\n")
    early = refresh(recipe_of(refreshed), refreshed)
    assert (early.released, early.plan.rejects) == (False, 24)
    (refreshed / "prompts.csv").write_text(prompts + "late,What came late?,\n")
    rows = "".join(f"late,late-{name},model-0{i + 1},It is {name}.\n" for i, name in enumerate("abcd"))
    (refreshed / "responses.csv").write_text(responses + rows)
    planned = refresh(recipe_of(refreshed), refreshed, dry_run=True).plan
    assert [step.split()[0] for step in planned.steps] == ["ingest", "denoise", "build"]
    after = refresh(recipe_of(refreshed), refreshed)
    assert after.released
    assert after.changes is not None
    assert after.changes.prompts_added == ("late",)
    assert (after.plan.new_files, after.plan.votes, after.plan.rejects, after.plan.recovered) == ((), 0, 0, 24)
    ingested = read_release(Path(after.release)).funnel.stages[0]
    assert (ingested.input, ingested.kept) == (274, 274), "rows that were read twice count once"


def test_a_corrected_question_makes_a_release(refreshed: Path) -> None:
    text = (refreshed / "prompts.csv").read_text()
    (refreshed / "prompts.csv").write_text(text.replace("?", " at last?", 1))
    assert refresh(recipe_of(refreshed), refreshed, dry_run=True).plan.steps
    after = refresh(recipe_of(refreshed), refreshed)
    assert after.released
    assert after.changes is not None
    assert after.changes.causes == ("text",)
