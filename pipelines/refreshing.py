"""The job ``refresh``: what is new in the watched files goes through ingest and denoise into the next release.

It may be run twice, killed anywhere and run by cron: each step is whole or not done, and recognises its own finished
work. The rankings are those of a full run, to the bit: the joint model couples all prompts, so that they are ranked
from all votes again, which takes seconds. What is saved is reading known files, holding votes out anew to choose the
method (``denoise(keep_choice=True)``), and everything where nothing is new.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from annotations.campaign.lock import locked
from annotations.readers.files import VoteFile, find_files
from curate.release.sealing import latest, read_release
from curate.release.summary import came_in, summary_page
from curate.shards.atomic import publish_file
from curate.store import Store
from curate.store.reporting import release_of
from pipelines.denoising import denoise
from pipelines.ingestion import ingest
from pipelines.progress import Progress, silent
from pipelines.provenance import code_version
from pipelines.recipe import page_of, sound
from pipelines.releasing import build, diff
from schemas.base import Document
from schemas.errors import CurateError
from schemas.recipe import DenoiseStep, IngestStep, Recipe, ReleaseStep
from schemas.refresh import RefreshPlan, RefreshReport
from schemas.release import DiffReport, Release, ReleaseReport
from schemas.reports import DenoiseReport, IngestReport

LOCK = ".refresh.lock"
SUMMARIES = "refreshes"
"""Folder of the pages on what moved, one a release, beside the store."""
SUBJECTS = ".subjects"
"""File in it with digests of the files of prompts and responses that were read last."""
VALIDATED = ".validated"
"""File in it with the outline of the Croissant metadata that mlcroissant found valid last."""
PENDING = ".pending"
"""File in it that is there while a release is being made: the folder name of the one before."""

Tell = Callable[[str, Document], None]


def refresh(
    recipe: Recipe,
    folder: str | Path = ".",
    *,
    dry_run: bool = False,
    progress: Progress = silent,
    done: Tell = lambda _step, _report: None,
) -> RefreshReport:
    """Bring the store and the releases of a recipe up to date with the files that its step [ingest] names.

    The recipe needs the steps ingest, denoise and release; the version for people is the next one, whatever it says.
    dry_run: say what would be done and change nothing. Raises CurateError where another refresh is at work in the
    folder, naming it, and from the step that failed; what earlier steps did stays and is taken up by the next refresh.
    """
    folder = Path(folder)
    if not recipe.ingest or not recipe.denoise or not recipe.release:
        raise CurateError(
            f"{recipe.title}: a refresh needs the steps ingest, denoise and release",
            hint="give a recipe that has them, such as mr2bench-video",
        )
    if not folder.is_dir():
        raise CurateError(f"{folder}: no such folder", hint="curate run makes the first release")
    store = folder / recipe.store
    with locked(folder / LOCK):
        files = find_files([folder / path for path in recipe.ingest.paths])
        new, subjects = _unread(store, files), folder / SUMMARIES / SUBJECTS
        told = _subjects(recipe.ingest, folder)
        # What was said of prompts and responses decides what becomes of votes, of those rejected before too.
        changed = bool(told) and not (subjects.exists() and subjects.read_text(encoding="utf-8") == told)
        came = _ingest(recipe.ingest, folder, store, files if changed else new, dry_run=dry_run, progress=progress)
        plan = _plan(recipe, folder, files, new, came)
        if dry_run:
            return RefreshReport(plan=plan, dry_run=True, run="", release="", moved=False, summary="", changes=None)
        if came:
            done("ingest", came)
        publish_file(subjects, told.encode())
        ranked = denoise(store, config=recipe.denoise.config, keep_choice=True, progress=progress)
        done("denoise", ranked)
        return _release(recipe, folder, plan, ranked, progress, done)


def _unread(store: Path, files: Sequence[VoteFile]) -> list[VoteFile]:
    """The files whose bytes the store has not read."""
    if not store.exists():
        return list(files)
    with Store.open(store, read_only=True) as opened:
        known = set(opened.file_digests())
    return [file for file in files if file.sha256 not in known]


def _subjects(step: IngestStep, folder: Path) -> str:
    """Digests of the files of prompts and responses; empty where the recipe names none."""
    paths = [folder / path for path in (step.prompts, step.responses) if path]
    for path in paths:
        if not path.is_file():
            raise CurateError(f"{path}: no such file", hint="the recipe's step [ingest] names it")
    return " ".join(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)


def _ingest(
    step: IngestStep, folder: Path, store: Path, files: Sequence[VoteFile], *, dry_run: bool, progress: Progress
) -> IngestReport | None:
    if not files:
        return None
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
    recipe: Recipe, folder: Path, files: Sequence[VoteFile], new: Sequence[VoteFile], came: IngestReport | None
) -> RefreshPlan:
    """What follows from what came in, and from a config or code other than the newest release's. Media are looked at
    when the release is built, and not before."""
    assert recipe.release
    assert recipe.denoise
    steps = [f"ingest {len(new)} new of {len(files)} watched files"] if new else []
    subjects = came.prompts + came.responses + came.updated if came else 0
    if subjects:
        steps += [f"take in {subjects:,} new or changed prompts and responses"]
    newest = latest(recipe.release.config.name, folder / recipe.release.out)
    if came and (came.votes or came.mended or came.superseded):
        steps += [f"denoise with {came.votes + came.mended:,} new votes, by the method chosen before"]
    elif newest and (votes := _unranked(folder / recipe.store, newest[1])):
        steps += [f"denoise with {votes:,} votes that an earlier refresh took in, by the method chosen before"]
    if (folder / SUMMARIES / PENDING).exists():
        steps += ["finish the release that an earlier refresh began"]
    elif steps or newest is None:
        steps += ["build the next release"]
    elif why := _outdated(newest[1], recipe.release, recipe.denoise):
        steps += [f"build the next release: another {why} than that of {newest[0].name}"]
    if steps and recipe.report:
        steps += [f"write {recipe.report.out} anew"]
    return RefreshPlan(
        new_files=tuple(file.path.name for file in new),
        known_files=len(files) - len(new),
        votes=came.votes if came else 0,
        duplicates=came.duplicates if came else 0,
        rejects=came.rejects if came else 0,
        steps=tuple(steps),
    )


def _unranked(store: Path, release: Release) -> int:
    """Votes of ingests that the release does not rest on."""
    if not store.exists():
        return 0
    with Store.open(store, read_only=True) as opened:
        return opened.newer_votes(release.upstream[0].run)


def _outdated(release: Release, step: ReleaseStep, ranking: DenoiseStep) -> str:
    """Whether it is the code or the config that differs from what a release was made by; empty where neither does."""
    if release.run.code_version != code_version():
        return "code"
    own = {"version", "run", "media_as"}  # of one build
    ours = step.config.model_dump(mode="json", exclude=own)
    theirs = {key: value for key, value in release.run.config.items() if key not in own}
    same = ours == theirs and ranking.config.model_dump(mode="json") == release.upstream[0].config
    return "" if same else "config"


def _release(
    recipe: Recipe,
    folder: Path,
    plan: RefreshPlan,
    ranked: DenoiseReport,
    progress: Progress,
    done: Tell,
) -> RefreshReport:
    """Build the next release, the page on what moved and the recipe's report, unless what stands is the same."""
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
        progress=progress,
    )
    release = Path(built.out)
    moved = not built.reused or (unfinished and release.name != before)
    summary, changes, page = "", None, None
    if moved:
        done("release", built)
        done("verify", sound(release, validated=folder / SUMMARIES / VALIDATED))
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
        moved=moved,
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
    """The page on what moved since the release before, however many calls it took."""
    chosen_in = ""
    if ranked.auto and ranked.auto.chosen_run:
        with Store.open(store, read_only=True) as opened:
            chosen_in = release_of(opened, ranked.auto.chosen_run)
    came = came_in(read_release(Path(built.out)), before)
    page = summary_page(built, changes, ranked=ranked, chosen_in=chosen_in, came=came)
    path = folder / SUMMARIES / f"{Path(built.out).name}.md"
    publish_file(path, page.encode())
    return path
