"""Recipes: from votes to shards, reproducibly."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import curate
from pipelines import load_recipe, run
from pipelines.recipe import RECIPES, with_settings
from schemas.base import Document
from schemas.config import Settings
from schemas.denoise import DenoiseReport
from schemas.errors import CurateError
from schemas.recipe import Recipe
from schemas.reports import ComparisonReport, ExportReport, IngestReport

SMALL = """
title = "a small world"
simulate = { out = "world", config = { prompts = 12, models = 8, annotators = 20, votes_per_pair = 3.0 } }
ingest = { paths = ["world/votes.csv"], prompts = "world/prompts.csv", responses = "world/responses.csv" }
denoise = { config = { ranker = "bradley-terry", compare = true } }
export = { train = "train", benchmark = "bench", config = { split = { benchmark_fraction = 0.5 } } }
compare = { truth = "world/truth.csv" }
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    path = tmp_path_factory.mktemp("recipe") / "small.toml"
    path.write_text(SMALL)
    return load_recipe(path)


@pytest.fixture(scope="module")
def finished(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Document], list[str]]:
    """The folder of a finished recipe, its reports, and the steps in the order in which they finished."""
    folder = tmp_path_factory.mktemp("finished")
    steps: list[str] = []
    return folder, run(recipe, folder, done=lambda step, _report: steps.append(step)), steps


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_recipe_goes_from_votes_to_shards(finished: tuple[Path, dict[str, Document], list[str]]) -> None:
    folder, reports, steps = finished
    assert steps == ["simulate", "ingest", "denoise", "export train", "export benchmark", "compare"]
    ingested, denoised, compared = (reports[step] for step in ("ingest", "denoise", "compare"))
    assert isinstance(ingested, IngestReport)
    assert (ingested.rows, ingested.votes) == (12 * 28 * 3, 12 * 28 * 3)
    assert isinstance(denoised, DenoiseReport)
    assert (denoised.ranked, denoised.proven_optimal) == (12, 12)
    assert isinstance(compared, ComparisonReport)
    assert compared.kendall_tau["final"] > 0.6
    with curate.open(folder / "curate.duckdb") as store:
        assert store.rankings().height == 12 * 8
    assert (folder / "train" / "manifest.json").exists()
    assert (folder / "bench" / "manifest.json").exists()


def test_a_repeated_recipe_recognises_finished_steps(
    recipe: Recipe, finished: tuple[Path, dict[str, Document], list[str]], tmp_path: Path
) -> None:
    shutil.copytree(finished[0], tmp_path / "out")
    before = bytes_of(tmp_path / "out" / "train")
    again = run(recipe, tmp_path / "out")
    assert isinstance(again["ingest"], IngestReport)
    assert (again["ingest"].votes, again["ingest"].batch) == (0, "")
    assert all(report.reused for report in again.values() if isinstance(report, DenoiseReport | ExportReport))
    assert bytes_of(tmp_path / "out" / "train") == before


def test_a_recipe_gives_the_same_bytes_in_another_folder(
    recipe: Recipe, finished: tuple[Path, dict[str, Document], list[str]], tmp_path: Path
) -> None:
    run(recipe, tmp_path / "other")
    for folder in ("world", "train", "bench"):
        assert bytes_of(finished[0] / folder) == bytes_of(tmp_path / "other" / folder), folder


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_contained_recipes_are_valid_and_found_by_name(path: Path) -> None:
    recipe = load_recipe(path)
    assert load_recipe(path.stem.replace("_", "-")) == recipe
    assert recipe.denoise is not None


def test_errors_name_the_file_and_the_key(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text('title = "x"\n[denoise]\nconfig = { min_votes = 0 }\n')
    with pytest.raises(CurateError, match=r"bad.toml: denoise.config.min_votes: expected 1 or more, not 0"):
        load_recipe(tmp_path / "bad.toml")
    with pytest.raises(CurateError, match="no such recipe") as caught:
        load_recipe("nonsense")
    assert "mr2bench-video" in caught.value.hint


def test_a_failed_step_keeps_earlier_output(
    recipe: Recipe, finished: tuple[Path, dict[str, Document], list[str]], tmp_path: Path
) -> None:
    shutil.copytree(finished[0], tmp_path / "out")
    done: dict[str, Document] = {}
    broken = recipe.model_copy(
        update={"compare": recipe.compare and recipe.compare.model_copy(update={"truth": Path("none")})}
    )
    with pytest.raises(CurateError):
        run(broken, tmp_path / "out", done=done.__setitem__)
    assert list(done)[-1] == "export benchmark"
    assert (tmp_path / "out" / "train" / "manifest.json").exists()


def test_a_run_on_own_votes_reads_the_settings_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("Item,one,two,best\np,a,b,1\np,b,c,2\n")
    columns = {"prompt_id": "Item", "response_a": "one", "response_b": "two", "outcome": "best"}
    mapping = {"columns": columns, "outcomes": {"1": "left", "2": "right"}}
    own = Recipe.model_validate(
        {
            "title": "own votes",
            "ingest": {"paths": ["v.csv"], "config": {"repeats": "all", "mapping": {"sides": "shown"}}},
        }
    )
    loaded = with_settings(own, Settings.model_validate({"ingest": {"mapping": mapping, "repeats": "reject"}}))
    [report] = run(loaded, tmp_path).values()
    assert isinstance(report, IngestReport)
    assert (report.votes, report.sides_known) == (2, 2)
    assert loaded.ingest is not None
    assert loaded.ingest.config.repeats == "all"
