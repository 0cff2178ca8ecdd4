"""The job ``run``: the steps of a recipe, one after the other. A recipe is config for plain functions, no engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pipelines.comparison import compare
from pipelines.denoising import denoise
from pipelines.exporting import export
from pipelines.ingestion import ingest
from pipelines.progress import Progress, silent
from pipelines.releasing import build, verify
from pipelines.reporting import report
from pipelines.settings import load_toml
from pipelines.simulation import simulate
from pipelines.training import train
from schemas.base import Document
from schemas.errors import CurateError
from schemas.recipe import Recipe
from schemas.release import VerifyReport
from schemas.reports import PageReport
from schemas.reward import TrainConfig

RECIPES = Path(__file__).parent / "recipes"
"""The recipes that come with curate; each is known by its file's name, with - or _."""


def load_recipe(name: str | Path) -> Recipe:
    """The recipe of a TOML file, or of the name of one that comes with curate. Raises CurateError for neither."""
    own = RECIPES / f"{str(name).replace('-', '_')}.toml"
    if Path(name).is_file() or not own.is_file():
        if not Path(name).is_file():
            known = ", ".join(sorted(path.stem.replace("_", "-") for path in RECIPES.glob("*.toml")))
            raise CurateError(f"{name}: no such recipe", hint=f"give a TOML file, or one of: {known}")
        return load_toml(name, Recipe)
    return load_toml(own, Recipe)


def on_own_files(
    recipe: Recipe,
    *,
    votes: Sequence[Path],
    prompts: Path | None = None,
    responses: Path | None = None,
    videos: Path | None = None,
) -> Recipe:
    """The recipe on your own votes in place of a simulated world: without the steps simulate and compare.

    videos: the folder that the names of videos start from; without it a release names them only. Paths count from the
    working directory. Raises CurateError where the recipe ingests nothing.
    """
    if recipe.ingest is None:
        raise CurateError(f"{recipe.title}: this recipe reads no votes", hint="give one with a step [ingest]")
    ingested = recipe.ingest.model_copy(
        update={
            "paths": tuple(str(path.absolute()) for path in votes),
            "prompts": prompts.absolute() if prompts else None,
            "responses": responses.absolute() if responses else None,
        }
    )
    media = {"media": videos.absolute() if videos else None}
    release = recipe.release.model_copy(update=media) if recipe.release else None
    return recipe.model_copy(update={"simulate": None, "compare": None, "ingest": ingested, "release": release})


def run(
    recipe: Recipe,
    folder: str | Path = ".",
    *,
    progress: Progress = silent,
    done: Callable[[str, Document], None] = lambda _step, _report: None,
    tell: Callable[[str], None] = lambda _line: None,
) -> dict[str, Document]:
    """Do the recipe's steps in ``folder``; returns each step's report, and hands it to ``done`` as it comes. tell: gets
    a line now and then while a model trains.

    Every step recognises its own finished work, so that a recipe may be run again after a failure or a change.
    Raises CurateError from the step that failed; what earlier steps made stays.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    store = folder / recipe.store
    reports: dict[str, Document] = {}

    def finish(step: str, report: Document) -> None:
        reports[step] = report
        done(step, report)

    if recipe.simulate:
        finish("simulate", simulate(folder / recipe.simulate.out, config=recipe.simulate.config))
    if recipe.ingest:
        step = recipe.ingest
        finish(
            "ingest",
            ingest(
                [folder / path for path in step.paths],
                store,
                config=step.config,
                prompts=folder / step.prompts if step.prompts else None,
                responses=folder / step.responses if step.responses else None,
                progress=progress,
            ),
        )
    if recipe.denoise:
        finish("denoise", denoise(store, config=recipe.denoise.config, progress=progress))
    if recipe.export:
        config = recipe.export.config
        if recipe.export.train:
            own = recipe.export.train_config or config
            finish("export train", export(store, "train", out=folder / recipe.export.train, config=own))
        if recipe.export.benchmark:
            finish("export benchmark", export(store, "benchmark", out=folder / recipe.export.benchmark, config=config))
    if recipe.release:
        built = build(
            store,
            out=folder / recipe.release.out,
            config=recipe.release.config,
            media=folder / recipe.release.media if recipe.release.media else None,
            previous=[folder / path for path in recipe.release.previous],
            progress=progress,
        )
        finish("release", built)
        finish("verify", sound(Path(built.out)))
    if recipe.compare:
        finish("compare", compare(store, folder / recipe.compare.truth))
    page = page_of(recipe, folder, progress=progress)
    if page:
        finish("report", page)
    if recipe.train:
        trained = train(inside(recipe.train.config, folder), folder / recipe.train.out, progress=progress, say=tell)
        if trained is not None:
            finish("train", trained)
    return reports


def page_of(recipe: Recipe, folder: Path, *, run: str = "", progress: Progress = silent) -> PageReport | None:
    """The recipe's HTML report on a denoise run (the latest when empty), written anew; None where it asks for none."""
    if not recipe.report:
        return None
    media = recipe.release.media if recipe.release else None
    return report(
        folder / recipe.store,
        folder / recipe.report.out,
        run=run,
        media=folder / media if media else None,
        progress=progress,
    )


def sound(release: Path, *, validated: Path | None = None) -> VerifyReport:
    """What ``verify`` says of a release that was just built, its media decoded by the build. validated: see there.
    Raises CurateError where anything does not hold."""
    found = verify(release, media=False, validated=validated)
    if found.findings:
        first = found.findings[0]
        raise CurateError(
            f"{release}: {len(found.findings)} findings, the first: {first.check}: {first.where}: {first.what}",
            hint=f"curate release verify {release} lists all",
        )
    return found


def inside(config: TrainConfig, folder: Path) -> TrainConfig:
    """The config with its relative paths begun in ``folder``."""
    return config.model_copy(
        update={
            "shards": tuple(folder / path for path in config.shards),
            "validation": tuple(folder / path for path in config.validation),
            "media": folder / config.media if config.media else None,
            "pretraining": folder / config.pretraining if config.pretraining else None,
        }
    )
