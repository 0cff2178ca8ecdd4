"""The job ``report``: one page on a denoise run, with all that the store knows of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import ValidationError

from curate.report.choosing import choose_prompts, given_prompts
from curate.report.contradiction import by_prompt, judged_pairs
from curate.report.funnel import KEPT, Block, export_block, prompts_block, release_block, votes_block
from curate.report.models import Models, models_of
from curate.report.page import GENERATOR, render
from curate.report.prompts import shown_prompts
from curate.report.sides import sides_of
from curate.report.view import Contradictions, LabelCeiling, PromptRow, ReportView, Source
from curate.shards.atomic import publish_file
from curate.store import Store
from curate.store.exports import manifest_batches, manifest_run, prompts_outside
from curate.store.reporting import (
    ingested,
    pair_votes,
    placed_responses,
    prompt_facts,
    release_of,
    runs_over,
    votes_by_side,
)
from pipelines.annotator_report import annotators
from pipelines.progress import Progress, silent
from schemas.annotators import AnnotatorsReport
from schemas.config import Mapping as Columns
from schemas.errors import CurateError, UsageError
from schemas.manifest import Ceiling
from schemas.reports import DenoiseReport, PageReport
from schemas.validation import ValidationReport

Pictures = Callable[[Mapping[str, str]], tuple[Mapping[str, bytes], Mapping[str, str]]]
"""From prompt_id -> its video, as the store names it, to pictures (PNG or JPEG) and to why there are none."""


def report(
    store_path: str | Path,
    out: str | Path,
    *,
    run: str = "",
    prompts: Sequence[str] = (),
    show: int = 12,
    seed: int = 0,
    gold: str | Path | None = None,
    mapping: Columns = Columns(),
    validation: str | Path | None = None,
    media: str | Path | None = None,
    pictures: Pictures | None = None,
    progress: Progress = silent,
) -> PageReport:
    """Write one self-contained HTML page on a denoise run (its id or a prefix; the latest when empty).

    prompts: those to show one by one; when empty, ``show`` of them are chosen: the most contradictory, the most and the
    least certain, and some by the seed. gold: as in ``annotators``. validation: the JSON of ``curate validate --json``.
    media: folder that video paths start from; frames are then drawn with the prompts shown. pictures: draws something
    else instead. The store is only read. Equal store and options give equal bytes. ``out`` appears whole or not at
    all; a report that is there already is replaced.
    Raises CurateError where there is no run, prompt or file of that name, and where ``out`` is anything but a report.
    """
    out = Path(out)
    if show < 0:
        raise UsageError(f"{show} prompts to show: a number below 0", hint="give 0 for none")
    _check_out(out)
    validated = _validation(Path(validation)) if validation else None
    progress("reading the store", 0, 0)
    with Store.open(store_path, read_only=True) as store:
        run_id = store.denoise_run(run)
        _check_prompts(store, run_id, prompts)
        progress("judging annotators", 0, 0)
        people = annotators(store_path, gold=gold, mapping=mapping)
        progress("counting", 0, 0)
        view = _view(store, run_id, people, validated, prompts=prompts, show=show, seed=seed)
    draw = pictures or (_frames(Path(media), progress) if media else None)
    videos = {prompt.prompt_id: prompt.video for prompt, _ in view.shown if prompt.video}
    drawn, missing = draw(videos) if draw else ({}, {})
    progress("writing", 0, 0)
    page = render(view, pictures=drawn, no_picture=missing).encode()
    publish_file(out, page)
    return PageReport(
        out=str(out),
        run=run_id,
        bytes=len(page),
        shown=tuple((prompt.prompt_id, prompt.reason) for prompt, _ in view.shown),
        pictures=len(drawn),
        no_picture={videos[prompt]: why for prompt, why in missing.items()},
        missing=tuple(_missing(view)),
    )


def _view(
    store: Store,
    run_id: str,
    people: AnnotatorsReport,
    validation: ValidationReport | None,
    *,
    prompts: Sequence[str],
    show: int,
    seed: int,
) -> ReportView:
    """All that the store says of the run, beside what is known of its people and methods."""
    placed, pairs = placed_responses(store, run_id), pair_votes(store, run_id)
    judged = judged_pairs(pairs, placed)
    facts = prompt_facts(store, run_id).join(by_prompt(judged), on="prompt_id", how="left", maintain_order="left")
    chosen = given_prompts(prompts) if prompts else choose_prompts(facts, show=show, seed=seed)
    found = store.run(run_id)
    told: dict[str, Any] = found["report"] if found else {}
    later = runs_over(store, run_id)
    denoised = _denoise_report(told)
    chosen_run = denoised.auto.chosen_run if denoised and denoised.auto else ""
    return ReportView(
        source=_source(store, run_id),
        responses=len(placed),
        run=denoised,
        chosen_in=release_of(store, chosen_run) if chosen_run else "",
        funnel=_funnel(store, run_id, facts, told, later),
        models=_models(facts, placed, pairs),
        people=people,
        sides=sides_of(votes_by_side(store)),
        contradictions=_contradictions(facts),
        validation=validation,
        ceilings=tuple(ceiling for export in later for ceiling in _ceilings(export["report"])),
        prompts=tuple(PromptRow(**{name: row[name] for name in _FIELDS}) for row in facts.to_dicts()),
        shown=shown_prompts(chosen, facts, placed, judged),
    )


_FIELDS = tuple(PromptRow.__dataclass_fields__)


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
    store: Store, run_id: str, facts: pl.DataFrame, told: Mapping[str, Any], later: Sequence[Mapping[str, Any]]
) -> tuple[Block, ...]:
    counts = store.counts()
    sums, reasons = ingested(store)
    status = dict(facts["status"].value_counts().sort("status").iter_rows())
    exports = [run for run in later if run["step"].startswith("export-")]
    releases = [run for run in later if run["step"] == "release"][-1:]
    return (
        votes_block(sums, reasons, counts["votes"], told),
        prompts_block(counts["prompts"], status, prompts_outside(store, run_id)),
        *(export_block(run["step"], run["run_id"], run["report"], len(facts)) for run in exports),
        *(release_block(run["run_id"], run["report"]) for run in releases),
    )


def _models(facts: pl.DataFrame, placed: pl.DataFrame, pairs: pl.DataFrame) -> Models | None:
    if placed["model"].drop_nulls().is_empty():
        return None
    return models_of(placed, pairs, facts.filter(pl.col("status") == "ranked")["prompt_id"])


def _contradictions(facts: pl.DataFrame) -> Contradictions:
    """Over the prompts with a ranking and votes."""
    ranked = facts.filter(pl.col("status").is_in(KEPT), pl.col("compared") > 0)
    weight, against = float(ranked["compared"].sum()), float(ranked["against"].sum())
    bounds = ranked["bound"]
    size = pl.col("responses").cast(pl.Int64)
    triples = ranked.select((size * (size - 1) * (size - 2) // 6).sum()).item()
    return Contradictions(
        share=against / weight if weight else None,
        least=float(bounds.sum()) / weight if weight and not bounds.has_nulls() else None,
        cyclic=int(ranked["cyclic_triads"].sum()),
        triples=int(triples),
        shares=tuple(ranked["contradicted"]),
    )


def _ceilings(export: Mapping[str, Any]) -> list[LabelCeiling]:
    """Of each config of an export (its report)."""
    ceilings = export.get("ceiling", {})
    return [
        LabelCeiling(
            kind=export.get("kind") or export.get("name", ""),
            config=name,
            items=items,
            ceiling=Ceiling.from_stored(ceilings[name]) if ceilings.get(name) else None,
            floor=export.get("floor", {}).get(name),
            confidence=export.get("confidence", {}).get(name),
        )
        for name, items in export.get("items", {}).items()
    ]


def _denoise_report(told: Mapping[str, Any]) -> DenoiseReport | None:
    try:
        return DenoiseReport.from_stored(told)
    except ValidationError:
        return None


def _frames(media: Path, progress: Progress) -> Pictures:
    """Draws a few frames of each video."""
    if not media.is_dir():
        raise CurateError(f"{media}: no such folder", hint="give the folder that video paths start from")

    def draw(videos: Mapping[str, str]) -> tuple[Mapping[str, bytes], Mapping[str, str]]:
        from curate.report.stills import stills

        progress("drawing frames", 0, len(videos))
        return stills(videos, media)

    return draw


def _check_prompts(store: Store, run_id: str, prompts: Sequence[str]) -> None:
    known = set(store.prompt_stats(run_id)["prompt_id"]) if prompts else set()
    for prompt in prompts:
        if prompt not in known:
            raise CurateError(
                f"{store.path}: run {run_id} says nothing of a prompt {prompt!r}",
                hint="curate rankings lists the prompts that are ranked",
            )


def _check_out(out: Path) -> None:
    """Only a report may be replaced by a report."""
    if out.is_dir():
        raise CurateError(f"{out}: is a folder", hint="name the file: --out report.html")
    if out.exists():
        with out.open("rb") as file:
            if f'content="{GENERATOR}"'.encode() not in file.read(1000):
                raise CurateError(f"{out}: exists, and is no report of curate", hint="choose another --out")


def _validation(path: Path) -> ValidationReport:
    try:
        return ValidationReport.from_stored(path.read_bytes())
    except FileNotFoundError as error:
        raise CurateError(f"{path}: no such file", hint="make one: curate validate --json > validation.json") from error
    except ValidationError as error:
        raise CurateError(
            f"{path}: not what curate validate says", hint="make one: curate validate --json > validation.json"
        ) from error


def _missing(view: ReportView) -> list[str]:
    """What the page could not say, each with what would let it."""
    found = {
        "no leaderboard: no response names its model": view.models is None,
        "no gold accuracy: --gold FILE": view.people.gold is None,
        "no held-out votes: curate validate --json > FILE, then --validation FILE": not (
            view.validation or (view.run and view.run.auto)
        ),
        "no split-half reliability: curate validate --json > FILE, then --validation FILE": not (
            view.validation and view.validation.reliability
        ),
        "no reliability ceiling: curate export benchmark --out DIR": not view.ceilings,
        "no position bias: no vote says what was shown left": view.sides.share is None,
    }
    return [what for what, absent in found.items() if absent]
