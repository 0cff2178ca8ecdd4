"""``curate refresh``: new votes in the watched files become the next release.

It is safe to run again, to kill and to run by cron: each step is atomic and recognises its own finished work. The
rankings equal those of a full run bit for bit, since the hierarchical ranker couples all prompts and ranks them from
all votes again, which takes seconds. A refresh saves reading known files, choosing the method by held-out votes
(``denoise(keep_choice=True)``), and everything if nothing is new.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from annotations.campaign.folder import locked
from annotations.readers.files import VoteFile, find_files
from curate.rankers.hierarchical import shared_fits
from curate.release.manifest import latest, read_release
from curate.release.summary import new_inputs, summary_page
from curate.shards.atomic import publish_file
from curate.store import Store
from curate.store.insertion import files_with_rejects
from curate.store.reporting import release_of
from pipelines.denoising import denoise
from pipelines.ingestion import ingest
from pipelines.progress import Progress, silent
from pipelines.provenance import code_version
from pipelines.recipe import SUBJECTS, SUMMARIES, page_of, sound, subject_digests
from pipelines.releasing import build, diff
from schemas.base import Document
from schemas.denoise import DenoiseReport
from schemas.engine import EngineConfig
from schemas.errors import CurateError, MissingError
from schemas.recipe import DenoiseStep, IngestStep, Recipe, ReleaseStep
from schemas.refresh import RefreshPlan, RefreshReport
from schemas.release import DiffReport, Release, ReleaseReport
from schemas.reports import IngestReport

LOCK = ".refresh.lock"
VALIDATED = ".validated"
"""File in it with the outline of the Croissant metadata that mlcroissant found valid last."""
PENDING = ".pending"
"""File in it that exists while a release is being made; it holds the folder name of the previous release."""

Reporter = Callable[[str, Document], None]


def refresh(
    recipe: Recipe,
    folder: str | Path = ".",
    *,
    dry_run: bool = False,
    engine: EngineConfig | None = None,
    progress: Progress = silent,
    done: Reporter = lambda _step, _report: None,
) -> RefreshReport:
    """Update the store and the releases of a recipe from the files that its step [ingest] names.

    The recipe needs the steps ingest, denoise and release; the release number is always the next one. dry_run: plan
    the steps and change nothing. engine: as for ``run``. done: called with each step and its report. Raises CurateError
    if another refresh is running in the folder, and from a step that failed; the next refresh continues after the
    finished steps.
    """
    folder = Path(folder)
    if not recipe.ingest or not recipe.denoise or not recipe.release:
        raise CurateError(
            f"{recipe.title}: a refresh needs the steps ingest, denoise and release",
            hint="use a recipe that has them, such as mr2bench-video",
        )
    if not folder.is_dir():
        raise MissingError(f"{folder}: no such folder", hint="curate run makes the first release")
    store = folder / recipe.store
    with locked(folder / LOCK), shared_fits():
        files = find_files([folder / path for path in recipe.ingest.paths], recipe.ingest.config)
        known, waiting = _known(store)
        new, subjects = [file for file in files if file.sha256 not in known], folder / SUMMARIES / SUBJECTS
        digests = subject_digests(recipe.ingest, folder)
        changed = bool(digests) and not (subjects.exists() and subjects.read_text(encoding="utf-8") == digests)
        read = [file for file in files if file.sha256 not in known or (changed and file.sha256 in waiting)]
        ingested = None
        if changed or read:
            ingested = _ingest(recipe.ingest, folder, store, read, dry_run=dry_run, progress=progress)
        plan = _plan(recipe, folder, files, new, ingested)
        if dry_run:
            return RefreshReport(plan=plan, dry_run=True, run="", release="", released=False, summary="", changes=None)
        if ingested:
            done("ingest", ingested)
        publish_file(subjects, digests.encode())
        ranked = denoise(store, config=recipe.denoise.config, keep_choice=True, engine=engine, progress=progress)
        done("denoise", ranked)
        return _release(recipe, folder, plan, ranked, engine, progress, done)


def _known(store: Path) -> tuple[set[str], set[str]]:
    """Return the digests of the files that the store has read, and of those with votes on then unknown texts."""
    if not store.exists():
        return set(), set()
    with Store.open(store, read_only=True) as opened:
        return set(opened.file_digests()), files_with_rejects(opened, "unknown-prompt", "unknown-response")


def _ingest(
    step: IngestStep, folder: Path, store: Path, files: Sequence[VoteFile], *, dry_run: bool, progress: Progress
) -> IngestReport:
    return ingest(
        [file.path for file in files],
        store,
        config=step.config,
        prompts=folder / step.prompts if step.prompts else None,
        responses=folder / step.responses if step.responses else None,
        dry_run=dry_run,
        progress=progress,
    )


def _plan(
    recipe: Recipe, folder: Path, files: Sequence[VoteFile], new: Sequence[VoteFile], ingested: IngestReport | None
) -> RefreshPlan:
    """Return the steps that follow from new inputs, or from a config or code that differs from the latest release's.

    Media are probed when the release is built, not in the plan.
    """
    assert recipe.release
    assert recipe.denoise
    steps = [f"ingest {len(new)} new of {len(files)} watched files"] if new else []
    subjects = ingested.prompts + ingested.responses + ingested.updated if ingested else 0
    if subjects:
        steps += [f"ingest {subjects:,} new or changed prompts and responses"]
    newest = latest(recipe.release.config.name, folder / recipe.release.out)
    if ingested and (ingested.votes or ingested.superseded):
        steps += [f"denoise with {ingested.votes:,} new votes by the method chosen before"]
    elif newest and (votes := _unranked(folder / recipe.store, newest[1])):
        steps += [f"denoise with {votes:,} votes of an earlier refresh by the method chosen before"]
    if (folder / SUMMARIES / PENDING).exists():
        steps += ["finish the release of an interrupted refresh"]
    elif steps or newest is None:
        steps += ["build the next release"]
    elif why := _outdated(newest[1], recipe.release, recipe.denoise):
        steps += [f"build the next release: the {why} differs from that of {newest[0].name}"]
    if steps and recipe.report:
        steps += [f"write {recipe.report.out}"]
    unread = {file.sha256 for file in new}
    counts = [file for file in (ingested.files if ingested else ()) if file.sha256 in unread]
    return RefreshPlan(
        new_files=tuple(file.path.name for file in new),
        known_files=len(files) - len(new),
        votes=sum(file.votes for file in counts),
        duplicates=sum(file.duplicates for file in counts),
        rejects=sum(file.rejects for file in counts),
        recovered=ingested.recovered if ingested else 0,
        steps=tuple(steps),
    )


def _unranked(store: Path, release: Release) -> int:
    """Return the number of votes ingested after the denoise run of a release."""
    if not store.exists():
        return 0
    with Store.open(store, read_only=True) as opened:
        return opened.newer_votes(release.upstream[0].run)


def _outdated(release: Release, step: ReleaseStep, ranking: DenoiseStep) -> str:
    """Return what differs from a release: "code" or "config"; empty if neither does."""
    if release.run.code_version != code_version():
        return "code"
    own = {"version", "run", "media_as"}  # specific to one build
    current = step.config.model_dump(mode="json", exclude=own)
    built = {key: value for key, value in release.run.config.items() if key not in own}
    same = current == built and ranking.config.model_dump(mode="json") == release.upstream[0].config
    return "" if same else "config"


def _release(
    recipe: Recipe,
    folder: Path,
    plan: RefreshPlan,
    ranked: DenoiseReport,
    engine: EngineConfig | None,
    progress: Progress,
    done: Reporter,
) -> RefreshReport:
    """Build the next release, the page on changes and the recipe's report, unless the latest release is up to date."""
    assert recipe.release
    step, store = recipe.release, folder / recipe.store
    out, pending = folder / step.out, folder / SUMMARIES / PENDING
    newest = latest(step.config.name, out)
    before = newest[0].name if newest else ""
    if unfinished := pending.exists():
        before = pending.read_text(encoding="utf-8")
    publish_file(pending, before.encode())
    built = build(
        store,
        out=out,
        config=step.config.model_copy(update={"version": "next", "run": ranked.run}),
        media=folder / step.media if step.media else None,
        previous=[folder / path for path in step.previous],
        engine=engine,
        progress=progress,
    )
    release = Path(built.out)
    released = not built.reused or (unfinished and release.name != before)
    summary, changes, page = "", None, None
    if released:
        done("release", built)
        done("verify", sound(release, validated=folder / SUMMARIES / VALIDATED, engine=engine))
        changes = diff(out / before, release) if before else None
        earlier = read_release(out / before) if before else None
        summary = str(_write_summary(folder, store, built, earlier, changes, ranked))
        page = page_of(recipe, folder, run=ranked.run, progress=progress)
        if page:
            done("report", page)
    pending.unlink()
    return RefreshReport(
        plan=plan,
        dry_run=False,
        run=ranked.run,
        release=built.out,
        released=released,
        summary=summary,
        report=page.out if page else "",
        changes=changes,
    )


def _write_summary(
    folder: Path,
    store: Path,
    built: ReleaseReport,
    before: Release | None,
    changes: DiffReport | None,
    ranked: DenoiseReport,
) -> Path:
    """Write the page on changes since the previous release, including those of interrupted refreshes."""
    chosen_in = ""
    if ranked.auto and ranked.auto.chosen_run:
        with Store.open(store, read_only=True) as opened:
            chosen_in = release_of(opened, ranked.auto.chosen_run)
    inputs = new_inputs(read_release(Path(built.out)), before)
    page = summary_page(built, changes, ranked=ranked, chosen_in=chosen_in, inputs=inputs)
    path = folder / SUMMARIES / f"{Path(built.out).name}.md"
    publish_file(path, page.encode())
    return path
