"""The recurring job: what is new becomes the next release; twice, killed or beside another it does no harm."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import curate
from annotations.campaign.lock import locked
from cli.main import run as command
from pipelines import denoise, ingest, load_recipe, refresh, report, run, simulate
from pipelines.refreshing import LOCK
from pipelines.releasing import build
from schemas.config import AutoConfig, DenoiseConfig, SimulateConfig
from schemas.errors import CurateError
from schemas.recipe import Recipe
from schemas.release import ReleaseConfig

RECIPE = """
title = "a small campaign"
ingest = { paths = ["votes-*.csv"], prompts = "prompts.csv", responses = "responses.csv" }
denoise = { config = { auto = { folds = 2 } } }
release = { config = { name = "small", split = { benchmark_fraction = 0.5, seed = 1 } } }
"""
STEPS = ("ingest", "denoise", "release")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A folder with prompts, responses, a first file of votes, and a recipe; later.csv waits beside it."""
    simulate(tmp_path / "world", config=SimulateConfig(prompts=10, models=6, annotators=12, votes_per_pair=2.0))
    folder = tmp_path / "campaign"
    folder.mkdir()
    for name in ("prompts.csv", "responses.csv"):
        (folder / name).write_bytes((tmp_path / "world" / name).read_bytes())
    votes = pl.read_csv(tmp_path / "world" / "votes.csv")
    votes[:250].write_csv(folder / "votes-1.csv")
    votes[250:].write_csv(tmp_path / "later.csv")
    (folder / "recipe.toml").write_text(RECIPE)
    return folder


def recipe_of(folder: Path) -> Recipe:
    return load_recipe(folder / "recipe.toml")


def more_votes(folder: Path) -> None:
    (folder / "votes-2.csv").write_bytes((folder.parent / "later.csv").read_bytes())


def releases(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("releases/*/*") if path.is_file()}


def test_new_votes_become_the_next_release_and_a_page_says_what_moved(here: Path) -> None:
    first = refresh(recipe_of(here), here)
    assert (first.moved, Path(first.release).name, first.changes) == (True, "small-1.0.0", None)
    more_votes(here)
    second = refresh(recipe_of(here), here)
    assert (second.moved, Path(second.release).name) == (True, "small-1.1.0")
    assert second.plan.new_files == ("votes-2.csv",)
    assert second.plan.votes == 50
    assert second.changes is not None
    assert second.changes.causes == ("new votes",)
    assert second.changes.votes == (250, 300)
    page = Path(second.summary).read_text()
    assert "- new votes: 50" in page
    assert "because of new votes" in page
    assert "votes: 250 → 300" in page


def test_after_an_interruption_a_dry_run_still_tells_what_is_to_be_done(here: Path) -> None:
    refresh(recipe_of(here), here)
    more_votes(here)
    killed = subprocess.run([sys.executable, "-c", KILLED, here, "ingest"], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    steps = refresh(recipe_of(here), here, dry_run=True).plan.steps
    assert steps == (
        "denoise with 50 votes that an earlier refresh took in, by the method chosen before",
        "build the next release",
    )


def test_the_page_tells_how_old_the_choice_of_the_method_is(here: Path) -> None:
    first = refresh(recipe_of(here), here)
    assert "chosen now by held-out votes (250 votes)" in Path(first.summary).read_text()
    votes = pl.read_csv(here.parent / "later.csv")
    for number, part in enumerate((votes[:30], votes[30:]), start=2):
        part.write_csv(here / f"votes-{number}.csv")
        last = refresh(recipe_of(here), here)
    told = f"chosen for small-1.0.0, in run {first.run}, on 250 votes (300 now)"
    assert told in Path(last.summary).read_text()
    page = report(here / "curate.duckdb", here / "page.html")
    assert page.run == last.run
    told = f"in run <code>{first.run}</code> (for small-1.0.0), on 250 votes; 300 now"
    assert told in (here / "page.html").read_text()


def test_the_recipes_report_is_written_anew_where_something_moved(here: Path) -> None:
    with (here / "recipe.toml").open("a") as recipe:
        recipe.write('report = { out = "report.html" }\n')
    first = refresh(recipe_of(here), here)
    assert (first.report, first.run in (here / "report.html").read_text()) == (str(here / "report.html"), True)
    assert refresh(recipe_of(here), here).report == ""
    more_votes(here)
    assert refresh(recipe_of(here), here, dry_run=True).plan.steps[-1] == "write report.html anew"
    second = refresh(recipe_of(here), here)
    assert second.run in (here / "report.html").read_text()
    again = refresh(recipe_of(here), here)
    assert (again.moved, again.plan.steps) == (False, ())


def test_where_nothing_is_new_nothing_moves(here: Path) -> None:
    refresh(recipe_of(here), here)
    before = releases(here)
    again = refresh(recipe_of(here), here)
    assert (again.moved, again.summary, again.plan.steps) == (False, "", ())
    assert releases(here) == before


def test_a_file_that_comes_again_under_another_name_moves_nothing(here: Path) -> None:
    refresh(recipe_of(here), here)
    (here / "votes-copy.csv").write_bytes((here / "votes-1.csv").read_bytes())
    assert not refresh(recipe_of(here), here).moved


def test_rankings_and_release_are_those_of_a_full_run_by_the_same_method(here: Path, tmp_path: Path) -> None:
    refresh(recipe_of(here), here)
    more_votes(here)
    report = refresh(recipe_of(here), here)
    release = report.release
    with curate.open(here / "curate.duckdb") as store:
        mine, method = store.rankings(report.run), store.run(report.run)["report"]["method"]
    full = tmp_path / "full.duckdb"
    ingest(
        [here / "votes-2.csv", here / "votes-1.csv"],
        full,
        prompts=here / "prompts.csv",
        responses=here / "responses.csv",
    )
    assert method != "stack"
    denoise(full, config=DenoiseConfig(ranker=method, auto=AutoConfig(folds=2)))
    with curate.open(full) as store:
        theirs = store.rankings()
    assert mine.equals(theirs)
    again = build(full, out=tmp_path / "releases", config=recipe_of(here).release.config)
    for path in sorted(Path(release).glob("*.parquet")):  # to the bit: items name another run, and are the same
        own, other = (pl.read_parquet(folder / path.name) for folder in (Path(release), Path(again.out)))
        assert own.drop("run_id", strict=False).equals(other.drop("run_id", strict=False))
    assert len(list(Path(again.out).glob("*.parquet"))) == len(list(Path(release).glob("*.parquet"))) > 0


def test_the_choice_is_kept_and_only_of_the_same_config(here: Path) -> None:
    refresh(recipe_of(here), here)
    more_votes(here)
    store = here / "curate.duckdb"
    ingest(here / "votes-2.csv", store)
    config = recipe_of(here).denoise.config  # type: ignore[union-attr]
    kept = denoise(store, config=config, keep_choice=True)
    assert kept.auto is not None
    assert kept.auto.kept
    other = denoise(store, config=config.model_copy(update={"min_votes": 2}), keep_choice=True)
    assert other.auto is not None
    assert not other.auto.kept


def test_a_dry_run_tells_the_plan_and_changes_nothing(here: Path) -> None:
    refresh(recipe_of(here), here)
    more_votes(here)
    before, store = releases(here), (here / "curate.duckdb").read_bytes()
    report = refresh(recipe_of(here), here, dry_run=True)
    assert report.plan.votes == 50
    assert [step.split()[0] for step in report.plan.steps] == ["ingest", "denoise", "build"]
    assert (releases(here), (here / "curate.duckdb").read_bytes()) == (before, store)


def test_a_second_runner_is_told_who_is_at_work(here: Path) -> None:
    with locked(here / LOCK), pytest.raises(CurateError, match=r"\.refresh\.lock: is held by process \d+ on .*, since"):
        refresh(recipe_of(here), here)
    assert refresh(recipe_of(here), here).moved


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


@pytest.mark.parametrize("step", STEPS)
def test_killed_after_any_step_the_next_one_ends_where_an_undisturbed_one_would(
    here: Path, tmp_path: Path, step: str
) -> None:
    refresh(recipe_of(here), here)
    more_votes(here)
    (tmp_path / "other").mkdir()
    for path in here.iterdir():
        if path.is_file() and path.name != LOCK:
            (tmp_path / "other" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "other" / "votes-2.csv").unlink()
    (tmp_path / "other" / "curate.duckdb").unlink()
    refresh(recipe_of(here), tmp_path / "other")
    (tmp_path / "other" / "votes-2.csv").write_bytes((here / "votes-2.csv").read_bytes())
    undisturbed = refresh(recipe_of(here), tmp_path / "other")

    killed = subprocess.run([sys.executable, "-c", KILLED, here, step], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL
    report = refresh(recipe_of(here), here)
    assert report.moved
    assert Path(report.summary).name == "small-1.1.0.md"
    assert releases(here) == releases(tmp_path / "other")
    assert report.changes == undisturbed.changes
    assert Path(report.summary).read_bytes() == Path(undisturbed.summary).read_bytes()
    assert "- new files: 1\n- new votes: 50\n" in Path(report.summary).read_text()
    assert not refresh(recipe_of(here), here).moved


def test_the_command_exits_3_where_nothing_moved(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["refresh", str(here / "recipe.toml"), "--dir", str(here)]
    assert command([*arguments, "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "build the next release"
    assert command(arguments) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("small-1.0.0")
    assert command([*arguments, "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["moved"] is False
    assert command([*arguments, "--dry-run"]) == 3


def test_a_recipe_without_a_release_is_refused(here: Path) -> None:
    with pytest.raises(CurateError, match="needs the steps ingest, denoise and release"):
        refresh(recipe_of(here).model_copy(update={"release": None}), here)


def test_the_next_version_follows_the_highest_and_equal_data_keep_theirs(here: Path) -> None:
    recipe = recipe_of(here)
    assert recipe.release is not None
    pinned = recipe.release.model_copy(update={"config": recipe.release.config.model_copy(update={"version": "2.9.0"})})
    run(recipe.model_copy(update={"release": pinned}), here)
    assert not refresh(recipe, here).moved
    more_votes(here)
    assert Path(refresh(recipe, here).release).name == "small-2.10.0"
    assert ReleaseConfig(version="next").version == "next"


def test_votes_that_came_before_their_prompts_are_taken_when_these_come(here: Path) -> None:
    refresh(recipe_of(here), here)
    prompts, responses = (here / "prompts.csv").read_text(), (here / "responses.csv").read_text()
    votes = [f"late,late-{a},late-{b},left,w{n}" for n in range(8) for a, b in (("a", "b"), ("b", "c"), ("c", "d"))]
    (here / "votes-2.csv").write_text("prompt_id,left,right,winner,annotator_id\n" + "\n".join(votes) + "\n")
    early = refresh(recipe_of(here), here)
    assert (early.moved, early.plan.rejects) == (False, 24)
    (here / "prompts.csv").write_text(prompts + "late,What came late?,\n")
    rows = "".join(f"late,late-{name},model-0{i + 1},It is {name}.\n" for i, name in enumerate("abcd"))
    (here / "responses.csv").write_text(responses + rows)
    planned = refresh(recipe_of(here), here, dry_run=True).plan
    assert [step.split()[0] for step in planned.steps] == ["take", "denoise", "build"]
    report = refresh(recipe_of(here), here)
    assert report.moved
    assert report.changes is not None
    assert report.changes.prompts_added == ("late",)


def test_a_corrected_question_makes_a_release(here: Path) -> None:
    refresh(recipe_of(here), here)
    text = (here / "prompts.csv").read_text()
    (here / "prompts.csv").write_text(text.replace("?", " at last?", 1))
    assert refresh(recipe_of(here), here, dry_run=True).plan.steps
    report = refresh(recipe_of(here), here)
    assert report.moved
    assert report.changes is not None
    assert report.changes.causes == ("words",)


def test_a_dry_run_says_that_another_config_makes_a_release(here: Path) -> None:
    refresh(recipe_of(here), here)
    (here / "recipe.toml").write_text(RECIPE.replace('name = "small"', 'name = "small", licence = "cc0-1.0"'))
    plan = refresh(recipe_of(here), here, dry_run=True).plan
    assert plan.steps == ("build the next release: another config than that of small-1.0.0",)
