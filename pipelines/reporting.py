"""The job ``report``: one HTML page on a denoise run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
from pydantic import ValidationError

from curate.evaluation.leaderboard import Leaderboard
from curate.report.data import MAX_VOTES, NO_MEDIA, PageMedia, items_of, listed_prompts, page_data
from curate.report.figures import (
    KEPT,
    Block,
    Disagreement,
    LabelCeiling,
    ReportView,
    Source,
    export_block,
    pair_disagreement,
    prompt_disagreement,
    prompts_block,
    release_block,
    sides_of,
    votes_block,
)
from curate.report.page import GENERATOR, pictures_of, render
from curate.report.prompts import Chosen, choose_prompts, requested_prompts, shown_prompts
from curate.shards.atomic import publish_file
from curate.shards.formats import derived_format
from curate.store import Store
from curate.store.exports import manifest_batches, manifest_run, prompts_outside
from curate.store.games import store_leaderboard
from curate.store.media import media_of
from curate.store.reporting import (
    criterion_of,
    ingested,
    pair_votes,
    prompt_facts,
    ranked_responses,
    release_of,
    run_votes,
    runs_over,
    votes_by_side,
)
from pipelines.annotator_report import annotators
from pipelines.progress import Progress, silent
from schemas.annotators import AnnotatorsReport
from schemas.denoise import DenoiseReport
from schemas.errors import ConflictError, CurateError, MissingError, UsageError
from schemas.manifest import Ceiling, FragilityFigures
from schemas.mapping import Mapping as Columns
from schemas.reports import PageReport
from schemas.validation import ValidationReport

TITLE = "Preference report"


def report(
    store_path: str | Path,
    out: str | Path,
    *,
    run: str = "",
    criterion: str = "",
    prompts: Sequence[str] = (),
    show: int = 12,
    seed: int = 0,
    gold: str | Path | None = None,
    mapping: Columns = Columns(),
    validation: str | Path | None = None,
    media: str | Path | None = None,
    title: str = "",
    progress: Progress = silent,
) -> PageReport:
    """Write one self-contained HTML page on a denoise run; equal stores and options give equal bytes.

    Parameters
    ----------
    store_path
        The DuckDB file, which is only read.
    out
        The HTML file. It appears completely or not at all; an existing report is replaced.
    run
        The id of the denoise run or a prefix of it; the latest run if empty.
    criterion
        Of the run; needed if there are runs by several criteria and ``run`` is empty.
    prompts
        Prompts that are readable without scripts; the page has all prompts where scripts run. If empty, ``show``
        prompts are chosen: by highest disagreement, by highest and by lowest expected tau, and at random.
    seed
        Seed of the random choice.
    gold, mapping
        Votes with known outcomes and how their columns are read, as in ``annotators``.
    validation
        The JSON file of ``curate validate --json``.
    media
        Folder that video paths are relative to; if given, the page has frames of the videos and links to them,
        relative to ``out``. Frames are taken over from the report that ``out`` is, if their files are the same.
    title
        Title of the page.
    progress
        Called with the current step.

    Raises
    ------
    CurateError
        If a run, prompt or file does not exist, or ``out`` exists and is not a report.
    """
    out = Path(out)
    if show < 0:
        raise UsageError(f"show is {show}; expected 0 or more", hint="give 0 for none")
    _check_out(out)
    validated = read_validation(Path(validation)) if validation else None
    progress("reading the store", 0, 0)
    if media and not Path(media).is_dir():
        raise MissingError(f"{media}: no such folder", hint="give the folder that video paths are relative to")
    with Store.open(store_path, read_only=True) as store:
        run_id = store.denoise_run(run, criterion=criterion)
        _check_prompts(store, run_id, prompts)
        progress("estimating annotators", 0, 0)
        people = annotators(store_path, gold=gold, mapping=mapping, criterion=criterion_of(store, run_id))
        progress("counting", 0, 0)
        responses = ranked_responses(store, run_id)
        facts, chosen = _prompts(store, run_id, responses, prompts=prompts, show=show, seed=seed)
        listed = listed_prompts(facts, responses, chosen)
        view = _view(store, run_id, people, validated, facts, chosen, responses, len(listed))
        by_pair = int(facts["votes"].sum()) > MAX_VOTES
        votes = run_votes(store, run_id, by_pair=by_pair)
        items = items_of(_later(store, run_id), run_id)
        shown = [prompt.video for prompt in view.shown if prompt.video]
        videos = list(dict.fromkeys([*shown, *listed["video"].drop_nulls()]))
        seen = _media(store, videos, Path(media), out, progress) if media else NO_MEDIA
    progress("writing", 0, 0)
    data = page_data(
        listed, responses, votes, items, models=view.models, people=people.annotators, chosen=chosen, media=seen
    )
    page = render(view, data, title=title or TITLE, media=seen).encode()
    publish_file(out, page)
    return PageReport(
        out=str(out),
        run=run_id,
        bytes=len(page),
        listed=len(listed),
        shown=tuple((prompt.prompt_id, prompt.reason) for prompt in view.shown),
        pictures=len(seen.pictures),
        picture_errors=dict(seen.errors),
        not_computed=tuple(_not_computed(view)),
    )


def _prompts(
    store: Store, run_id: str, responses: pl.DataFrame, *, prompts: Sequence[str], show: int, seed: int
) -> tuple[pl.DataFrame, tuple[Chosen, ...]]:
    """Return the prompts of the run with their disagreement, and those to show without scripts."""
    pairs = pair_disagreement(pair_votes(store, run_id), responses)
    facts = prompt_facts(store, run_id).join(
        prompt_disagreement(pairs), on="prompt_id", how="left", maintain_order="left"
    )
    return facts, requested_prompts(prompts) if prompts else choose_prompts(facts, show=show, seed=seed)


def _view(
    store: Store,
    run_id: str,
    people: AnnotatorsReport,
    validation: ValidationReport | None,
    facts: pl.DataFrame,
    chosen: Sequence[Chosen],
    responses: pl.DataFrame,
    listed: int,
) -> ReportView:
    """Return all values that the page has without scripts."""
    criterion = criterion_of(store, run_id)
    found = store.run(run_id)
    run_report: dict[str, Any] = found["report"] if found else {}
    later = _later(store, run_id)
    denoised = stored_report(run_report)
    chosen_run = denoised.auto.chosen_run if denoised and denoised.auto else ""
    return ReportView(
        source=_source(store, run_id),
        responses=len(responses),
        run=denoised,
        chosen_in=release_of(store, chosen_run) if chosen_run else "",
        funnel=_funnel(store, run_id, facts, run_report, later),
        models=_models(store, criterion, found["config"].get("control", ()) if found else ()),
        people=people,
        sides=sides_of(votes_by_side(store, criterion, without=run_report.get("spammer_ids", []))),
        disagreement=_disagreement(facts),
        validation=validation,
        ceilings=tuple(ceiling for export in later for ceiling in _ceilings(export["report"])),
        shown=tuple(shown_prompts(chosen, facts, responses)),
        prompts=len(facts),
        listed=listed,
    )


def _later(store: Store, run_id: str) -> list[dict[str, Any]]:
    """Return the exports of a run and its latest release."""
    later = runs_over(store, run_id)
    exports = [run for run in later if run["step"].startswith("export-")]
    return exports + [run for run in later if run["step"] == "release"][-1:]


def _media(store: Store, videos: Sequence[str], media: Path, out: Path, progress: Progress) -> PageMedia:
    """Return links to the videos and pictures of them; those of unchanged files are taken over from the report."""
    from curate.report.stills import DRAWN, stills

    files = {row["video"]: row for row in media_of(store).to_dicts()}
    digests = {v: f"{files[v]['sha256']}-{DRAWN}" for v in videos if _unchanged(files.get(v), media)}
    earlier = pictures_of(out.read_bytes()) if out.exists() else {}
    drawn = {video: earlier[digest] for video, digest in digests.items() if digest in earlier}
    progress("drawing frames", 0, len(videos) - len(drawn))
    found = stills(videos, media, drawn=drawn)
    base = Path(os.path.relpath(media.resolve(), out.resolve().parent))
    links = {video: quote((base / name).as_posix()) for video, name in found.names.items()}
    return PageMedia(links, found.pictures, found.errors, digests)


def _unchanged(row: Mapping[str, Any] | None, media: Path) -> bool:
    """Whether a file has the size and time that it had when it was probed. row: of table media."""
    if row is None or not row["sha256"]:
        return False
    try:
        state = (media / row["path"]).stat()
    except OSError:
        return False
    return bool((state.st_size, state.st_mtime_ns) == (row["bytes"], row["mtime_ns"]))


def _source(store: Store, run_id: str) -> Source:
    recorded = manifest_run(store, run_id)
    return Source(
        store=store.path.name,
        run_id=run_id,
        code_version=recorded.code_version,
        config=json.dumps(recorded.config, indent=2, ensure_ascii=False),
        files=tuple(file for batch in manifest_batches(store, recorded) for file in batch.files),
        newer_votes=store.newer_votes(run_id) if "batches" in recorded.inputs else 0,
    )


def _funnel(
    store: Store, run_id: str, facts: pl.DataFrame, run_report: Mapping[str, Any], later: Sequence[Mapping[str, Any]]
) -> tuple[Block, ...]:
    counts = store.counts()
    sums, reasons = ingested(store)
    status = dict(facts["status"].value_counts().sort("status").iter_rows())
    return (
        votes_block(sums, reasons, counts["votes"], run_report),
        prompts_block(counts["prompts"], status, prompts_outside(store, run_id)),
        *(
            release_block(run["run_id"], run["report"])
            if run["step"] == "release"
            else export_block(run["step"], run["run_id"], run["report"], len(facts))
            for run in later
        ),
    )


def _models(store: Store, criterion: str, control: Sequence[str]) -> Leaderboard | None:
    """Return the leaderboard of all votes by the criterion; None if no vote compares two known models."""
    try:
        return store_leaderboard(store, criterion=criterion, control=control)
    except CurateError:
        return None


def _disagreement(facts: pl.DataFrame) -> Disagreement:
    """Return the disagreement over the prompts with a ranking and votes."""
    ranked = facts.filter(pl.col("status").is_in(KEPT), pl.col("compared") > 0)
    weight, against = float(ranked["compared"].sum()), float(ranked["against"].sum())
    bounds = ranked["bound"]
    size = pl.col("responses").cast(pl.Int64)
    triples = ranked.select((size * (size - 1) * (size - 2) // 6).sum()).item()
    return Disagreement(
        share=against / weight if weight else None,
        lower_bound=float(bounds.sum()) / weight if weight and not bounds.has_nulls() else None,
        cyclic=int(ranked["cyclic_triads"].sum()),
        triples=int(triples),
        shares=tuple(ranked["disagreement"]),
    )


def _ceilings(export: Mapping[str, Any]) -> list[LabelCeiling]:
    """Return the label reliability of each config of an export. export: its report."""
    ceilings, fragility = export.get("ceiling", {}), export.get("fragility") or {}
    return [
        LabelCeiling(
            kind=export.get("kind") or export.get("name", ""),
            config=name,
            items=items,
            ceiling=Ceiling.from_stored(ceilings[name]) if ceilings.get(name) else None,
            floor=export.get("floor", {}).get(name),
            confidence=export.get("confidence", {}).get(name),
            fragility=FragilityFigures.from_stored(fragility[name]).summary if fragility.get(name) else "",
        )
        for name, items in export.get("items", {}).items()
        if derived_format(name) is None
    ]


def stored_report(stored: Mapping[str, Any]) -> DenoiseReport | None:
    """Return the report of a run; None if this version cannot read it."""
    try:
        return DenoiseReport.from_stored(stored)
    except ValidationError:
        return None


def _check_prompts(store: Store, run_id: str, prompts: Sequence[str]) -> None:
    known = set(store.prompt_stats(run_id)["prompt_id"]) if prompts else set()
    for prompt in prompts:
        if prompt not in known:
            raise MissingError(
                f"{store.path}: run {run_id} has no prompt {prompt!r}",
                hint="curate rankings lists the ranked prompts",
            )


def _check_out(out: Path) -> None:
    """Raise CurateError if ``out`` exists and is not a report."""
    if out.is_dir():
        raise ConflictError(f"{out}: is a folder", hint="name the file: --out report.html")
    if out.exists():
        with out.open("rb") as file:
            if f'content="{GENERATOR}"'.encode() not in file.read(1000):
                raise ConflictError(f"{out}: exists and is not a report of curate", hint="choose another --out")


def read_validation(path: Path) -> ValidationReport:
    """Return the report in a file of ``curate validate --json``."""
    try:
        return ValidationReport.from_stored(path.read_bytes())
    except FileNotFoundError as error:
        raise MissingError(
            f"{path}: no such file", hint="create it: curate validate --json > validation.json"
        ) from error
    except ValidationError as error:
        raise CurateError(
            f"{path}: not a report of curate validate", hint="create it: curate validate --json > validation.json"
        ) from error


def _not_computed(view: ReportView) -> list[str]:
    """Return what the page lacks, and the command that computes it."""
    found = {
        "no leaderboard: no vote compares two known models": view.models is None,
        "no gold accuracy: --gold FILE": view.people.gold is None,
        "no held-out votes: curate validate --json > FILE, then --validation-report FILE": not (
            view.validation or (view.run and view.run.auto)
        ),
        "no split-half reliability: curate validate --json > FILE, then --validation-report FILE": not (
            view.validation and view.validation.reliability
        ),
        "no reliability ceiling: curate export benchmark --out DIR": not view.ceilings,
        "no position bias: no vote has known sides": view.sides.share is None,
    }
    return [what for what, absent in found.items() if absent]
