"""The job ``run``: the steps of a recipe in order. A recipe is the config of plain functions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from curate.rankers.hierarchical import shared_fits
from curate.shards.atomic import publish_file
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
from schemas.config import IngestConfig, Settings
from schemas.engine import EngineConfig
from schemas.errors import CheckError, CurateError, MissingError
from schemas.recipe import IngestStep, Recipe
from schemas.release import VerifyReport
from schemas.reports import PageReport
from schemas.reward import TrainConfig

RECIPES = Path(__file__).parent / "recipes"
"""The recipes that curate contains; the name of a recipe is its file name, with - or _."""

SUMMARIES = "refreshes"
"""Folder of the pages on changes, one per release, next to the store."""
SUBJECTS = ".subjects"
"""File in it with the digests of the files of prompts and responses that were read last."""


def load_recipe(name: str | Path) -> Recipe:
    """Return the recipe of a TOML file or of the name of a contained one. Raises CurateError if there is none."""
    own = RECIPES / f"{str(name).replace('-', '_')}.toml"
    if Path(name).is_file() or not own.is_file():
        if not Path(name).is_file():
            known = ", ".join(sorted(path.stem.replace("_", "-") for path in RECIPES.glob("*.toml")))
            raise MissingError(f"{name}: no such recipe", hint=f"give a TOML file, or one of: {known}")
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
    """Return the recipe for given votes instead of a simulated world, without the steps simulate and compare.

    videos: the folder that video paths are relative to; without it a release contains names only. Paths are relative to
    the working directory. Raises CurateError if the recipe has no step ingest.
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


def with_settings(recipe: Recipe, settings: Settings) -> Recipe:
    """Return the recipe with the project's own [ingest] settings where the recipe sets none.

    A recipe that simulates its votes reads them as they are.
    """
    if recipe.ingest is None or recipe.simulate is not None:
        return recipe
    own = recipe.ingest.config.model_dump(exclude_unset=True)
    common = settings.ingest.model_dump(exclude_unset=True)
    merged = {**common, **own, "mapping": {**common.get("mapping", {}), **own.get("mapping", {})}}
    config = IngestConfig.model_validate(merged)
    return recipe.model_copy(update={"ingest": recipe.ingest.model_copy(update={"config": config})})


@shared_fits()
def run(
    recipe: Recipe,
    folder: str | Path = ".",
    *,
    engine: EngineConfig | None = None,
    progress: Progress = silent,
    done: Callable[[str, Document], None] = lambda _step, _report: None,
    say: Callable[[str], None] = lambda _line: None,
) -> dict[str, Document]:
    """Run the steps of a recipe in ``folder`` and return the report of each.

    Every step recognises its finished work, so a recipe can be run again after a failure or a change.

    Parameters
    ----------
    recipe
        The steps and their configs (``load_recipe``).
    folder
        The folder that paths of the recipe are relative to.
    engine
        Where the heavy parts of denoise, release and verify are computed (docs/scale.md); None: on this machine.
    progress
        Called with the progress of a step.
    done
        Called with the name and the report of each finished step.
    say
        Called with lines about the training of a model.

    Raises
    ------
    CurateError
        From the step that failed; the output of earlier steps is kept.
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
        step, subjects = recipe.ingest, subject_digests(recipe.ingest, folder)
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
        publish_file(folder / SUMMARIES / SUBJECTS, subjects.encode())
    by = criterion_of(recipe)
    if recipe.denoise:
        finish("denoise", denoise(store, config=recipe.denoise.config, engine=engine, progress=progress))
    if recipe.export:
        config = recipe.export.config
        if recipe.export.train:
            own = recipe.export.train_config or config
            finish("export train", export(store, "train", out=folder / recipe.export.train, config=own, criterion=by))
        if recipe.export.benchmark:
            out = folder / recipe.export.benchmark
            finish("export benchmark", export(store, "benchmark", out=out, config=config, criterion=by))
    if recipe.release:
        built = build(
            store,
            out=folder / recipe.release.out,
            config=recipe.release.config,
            media=folder / recipe.release.media if recipe.release.media else None,
            previous=[folder / path for path in recipe.release.previous],
            criterion=by,
            engine=engine,
            progress=progress,
        )
        finish("release", built)
        finish("verify", sound(Path(built.out), engine=engine))
    if recipe.compare:
        finish("compare", compare(store, folder / recipe.compare.truth))
    page = page_of(recipe, folder, progress=progress)
    if page:
        finish("report", page)
    if recipe.train:
        trained = train(inside(recipe.train.config, folder), folder / recipe.train.out, progress=progress, say=say)
        if trained is not None:
            finish("train", trained)
    return reports


def criterion_of(recipe: Recipe) -> str:
    """Return the criterion that the recipe ranks by; empty if it names none."""
    return recipe.denoise.config.criterion if recipe.denoise else ""


def subject_digests(step: IngestStep, folder: Path) -> str:
    """Return the digests of the files of prompts and responses; empty if the step names none."""
    paths = [folder / path for path in (step.prompts, step.responses) if path]
    for path in paths:
        if not path.is_file():
            raise MissingError(f"{path}: no such file", hint="the recipe's step [ingest] names it")
    return " ".join(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)


def page_of(recipe: Recipe, folder: Path, *, run: str = "", progress: Progress = silent) -> PageReport | None:
    """Write the recipe's HTML report on a denoise run (the latest if empty); None if the recipe has no report."""
    if not recipe.report:
        return None
    media = recipe.release.media if recipe.release else None
    return report(
        folder / recipe.store,
        folder / recipe.report.out,
        run=run,
        criterion="" if run else criterion_of(recipe),
        media=folder / media if media else None,
        title=recipe.title,
        progress=progress,
    )


def sound(release: Path, *, validated: Path | None = None, engine: EngineConfig | None = None) -> VerifyReport:
    """Verify a release that was just built, without decoding its media again. validated, engine: as in ``verify``.

    Raises CurateError if there are findings.
    """
    found = verify(release, media=False, validated=validated, engine=engine)
    if found.findings:
        first = found.findings[0]
        raise CheckError(
            f"{release}: {len(found.findings)} findings, the first: {first.check}: {first.where}: {first.what}",
            hint=f"curate release verify {release} lists all",
        )
    return found


def inside(config: TrainConfig, folder: Path) -> TrainConfig:
    """Return the config with its paths relative to ``folder``."""
    return config.model_copy(
        update={
            "shards": tuple(folder / path for path in config.shards),
            "validation": tuple(folder / path for path in config.validation),
            "media": folder / config.media if config.media else None,
            "pretraining": folder / config.pretraining if config.pretraining else None,
        }
    )
