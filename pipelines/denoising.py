"""The job ``denoise``: one ranking per prompt from the votes of a store.

Read the votes, rank them, report, save: all at once (``curate.denoising.ranking``), or bucket by bucket if they are too
many (``curate.denoising.buckets``).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import ValidationError

from curate.annotators.sides import one_sided
from curate.denoising.buckets import EQUAL, Decided, check_by_bucket, decide, unable_by_bucket
from curate.denoising.ranking import rank_votes
from curate.denoising.selection import Choice
from curate.engine import Engine, Part, engine_or_none, map_parts
from curate.processors import cores
from curate.rankers.registry import named_rankers, versions
from curate.rankers.stack import Stack
from curate.store import Store
from curate.store.buckets import many_votes, write_buckets
from curate.store.chosen import number_votes
from curate.store.opening import work_folder
from curate.store.rankings import load_votes, ranking_tables, save_rankings
from curate.store.reporting import votes_by_side
from curate.store.runs import Run, recall, record
from curate.votes.files import read_arrays, read_votes
from curate.votes.texts import TextNumbers
from pipelines.denoise_report import KeptChoice, added_up, design_report, report_of, with_sides
from pipelines.progress import Progress, silent
from pipelines.provenance import code_version, run_id
from schemas.config import EARLIER_DENOISE, DenoiseConfig
from schemas.denoise import DenoiseReport, DesignReport
from schemas.engine import EngineConfig
from schemas.rankers import AUTO, STACK, third_party

Tables = dict[str, pl.DataFrame]


def denoise(
    store: str | Path = "curate.duckdb",
    *,
    config: DenoiseConfig = DenoiseConfig(),
    keep_choice: bool = False,
    by_bucket: bool | None = None,
    engine: EngineConfig | None = None,
    progress: Progress = silent,
) -> DenoiseReport:
    """Rank the responses of every prompt, and write the rankings to the store.

    Parameters
    ----------
    store
        A DuckDB file, or the folder of a partitioned store.
    config
        The ranker and its hyperparameters. With ``compare``, all other rankers are run and stored as well.
    keep_choice
        Where the ranker is "auto" and a run with this config is in the store: take the method (and the stack) that the
        latest one chose, instead of holding out votes again. Everything else is computed from all votes.
    by_bucket
        Whether the votes on one bucket of prompts are in memory at a time (docs/scale.md); None: if there are more than
        20 million votes. Strengths then differ from those of all votes at once by what the rounds of both fits leave
        open, some thousandths of a logit.
    engine
        Whose workers fit the folds of held-out votes, and the buckets; None: threads, and this process.
    progress
        Called with (what is done, steps done, steps in total).

    Returns
    -------
    DenoiseReport
        What was ranked, by which method, and how certain it is. A run with equal config, votes and code is found in the
        store and not repeated.

    Raises
    ------
    CurateError
        Where the store has no votes, the config names an unknown prompt or criterion, the votes are by several criteria
        and the config names none, or the config needs all votes at once and these are ranked by bucket.
    """
    with Store.open(store) as opened:
        progress("reading votes", 0, 0)
        if by_bucket is None:
            by_bucket = not config.prompts and many_votes(opened)
        source = _ByBucket(opened, config) if by_bucket else _AtOnce(opened, config)
        inputs = {**source.inputs, **_third_party(config)}
        document = config.model_dump(mode="json")
        kept = None
        if keep_choice and config.ranker == AUTO and opened.run(run_id("denoise", document, inputs)) is None:
            kept = _kept_choice(opened, document, by_bucket=by_bucket)
        if kept is not None:
            inputs["choice"] = _choice_inputs(kept.choice)
        run = Run(
            run_id=run_id("denoise", document, inputs),
            step="denoise",
            config=document,
            # The batches are recorded but are no part of the run's id: equal votes give an equal run.
            inputs={**inputs, "batches": opened.batches()["batch_id"].to_list()},
            code_version=code_version(),
            seed=config.auto.seed if config.ranker == AUTO else None,
        )
        done = recall(opened, run.run_id)
        if done is not None:
            return DenoiseReport.from_stored(done).model_copy(update={"reused": True, "store": str(store)})
        with source.engine(engine, kept) as workers:
            source.prepare(run.run_id, kept, workers, progress)
            progress("writing", 0, 0)
            with opened.transaction():
                report = source.save(partial(save_rankings, opened, run.run_id), workers)
                sides = one_sided(votes_by_side(opened, report.criterion, without=report.spammer_ids))
                report = with_sides(report, sides)
                record(opened, run, report.model_dump(mode="json"))
        source.finish()
        return report


class _AtOnce:
    """All votes at once."""

    def __init__(self, store: Store, config: DenoiseConfig) -> None:
        self.store, self.config = store, config
        load = partial(
            load_votes, store, criterion=config.criterion, both_bad=config.both_bad, texts=config.text_comparison
        )
        self.loaded = load(prompts=config.prompts, control=config.control)
        self.inputs: dict[str, Any] = {"votes": self.loaded.digest}
        self.judged = None
        if config.prompts and config.max_spammer < 1:
            every = load()
            self.judged = every.votes if config.equal_texts == "keep" else every.merged.votes
            self.inputs["judged"] = every.digest

    def engine(self, config: EngineConfig | None, kept: KeptChoice | None) -> AbstractContextManager[Engine | None]:
        """The engine that fits the folds of held-out votes."""
        holds_out = self.config.ranker == AUTO and kept is None
        return engine_or_none(config if holds_out else None, workers=min(self.config.auto.folds, cores()))

    def prepare(self, run: str, kept: KeptChoice | None, engine: Engine | None, progress: Progress) -> None:
        """Compute the rankings."""
        assert self.loaded.texts is not None
        denoised = rank_votes(
            self.loaded.votes,
            self.config,
            texts=self.loaded.texts.equal,
            judged=self.judged,
            choice=kept.choice if kept else None,
            engine=engine,
            progress=progress,
        )
        path, by = str(self.store.path), self.loaded.criterion
        self.report = report_of(run, path, self.config, denoised, self.loaded.texts, criterion=by, kept=kept)
        self.tables = ranking_tables(denoised)

    def save(self, write: Callable[[Tables], None], _engine: Engine | None) -> DenoiseReport:
        """Save the rankings and return the report."""
        write(self.tables)
        return self.report

    def finish(self) -> None:
        """Nothing remains to be done."""


class _ByBucket:
    """The votes on one bucket of prompts at a time."""

    def __init__(self, store: Store, config: DenoiseConfig) -> None:
        check_by_bucket(config)
        self.store, self.config, self.home = store, config, work_folder(store.path)
        self.numbering = number_votes(store, config.criterion)
        self.inputs: dict[str, Any] = {"votes": self.numbering.digest, "by": "bucket"}

    def engine(self, config: EngineConfig | None, _kept: KeptChoice | None) -> AbstractContextManager[Engine | None]:
        """The engine that ranks buckets."""
        return engine_or_none(config)

    def prepare(self, run: str, kept: KeptChoice | None, engine: Engine | None, progress: Progress) -> None:
        """Write the votes of each bucket to a file, and decide what is decided once."""
        folder = self.home / run
        for other in self.home.glob("*"):  # of an interrupted run with other votes, config or code
            if other != folder:
                shutil.rmtree(other)
        self.files, some = write_buckets(
            self.store,
            folder,
            self.numbering,
            both_bad=self.config.both_bad,
            texts=self.config.text_comparison,
            progress=progress,
        )
        sample, others = read_votes(some)
        decided = decide(
            self.files,
            (sample, others[EQUAL]),
            self.config,
            folder,
            choice=kept.choice if kept else None,
            engine=engine,
            progress=progress,
        )
        design = design_report(decided.exclusion.kept(sample, others[EQUAL]).ranked.given)
        self.bucket = _Bucket(run, str(self.store.path), decided, kept, self.numbering.criterion or "", design)

    def save(self, write: Callable[[Tables], None], engine: Engine | None) -> DenoiseReport:
        """Rank and save bucket by bucket, and return the report of all."""
        reports, weights = list[DenoiseReport](), list[float]()
        parts = [Part(path.name, path) for path in self.files]
        for tables, report, weight in map_parts(self.bucket.rank, parts, engine=engine):
            write(tables)
            reports.append(report)
            weights.append(weight)
        return added_up(reports, weights)

    def finish(self) -> None:
        """Remove the files."""
        shutil.rmtree(self.home)


@dataclass(frozen=True)
class _Bucket:
    """What a worker needs to rank and report a bucket."""

    run: str
    store: str
    decided: Decided
    kept: KeptChoice | None
    criterion: str
    design: DesignReport

    def rank(self, path: Path) -> tuple[Tables, DenoiseReport, float]:
        """Return the rankings, their report and the weight of their votes."""
        denoised, others = self.decided.rank(path), read_arrays(path, [EQUAL, "near"])
        report = report_of(
            self.run,
            self.store,
            self.decided.exclusion.config,
            denoised,
            TextNumbers(others[EQUAL], others["near"]),
            criterion=self.criterion,
            kept=self.kept,
            design=self.design,
        )
        return ranking_tables(denoised), report, float(denoised.votes.weight.sum())


def _third_party(config: DenoiseConfig) -> dict[str, Any]:
    """The versions of the third-party rankers that the run depends on, as an input of it; nothing without any."""
    used = named_rankers(config)
    if config.compare or config.ranker == AUTO:
        used |= set(third_party())
    found = versions(used)
    return {"rankers": found} if found else {}


def _kept_choice(store: Store, config: dict[str, Any], *, by_bucket: bool) -> KeptChoice | None:
    """The choice of the latest run with this config; None where no such run held votes out.

    by_bucket: only a choice of rankers that can rank by bucket.
    """
    for run in store.runs().filter(pl.col("step") == "denoise").reverse().iter_rows(named=True):
        if not _same_config(run["config"], config):
            continue
        report = DenoiseReport.from_stored(run["report"])
        if report.auto is not None and report.auto.slopes:
            auto = report.auto
            stack = Stack(auto.weights, auto.slopes)
            choice = Choice(report.method, stack, auto.by, auto.prompts, auto.votes, auto.methods)
            single = [report.method] if report.method not in (STACK, "ensemble") else []
            if by_bucket and unable_by_bucket([*single, *(stack.members if report.method == STACK else ())]):
                continue
            return KeptChoice(choice, auto.chosen_run or run["run_id"], auto.chosen_on or report.votes)
    return None


def _same_config(stored: str, config: dict[str, Any]) -> bool:
    """Whether a run had this config; options that are newer than the run count as what it did."""
    known = EARLIER_DENOISE | json.loads(stored)
    try:
        return DenoiseConfig.from_stored(known).model_dump(mode="json") == config
    except ValidationError:  # of an option that has been removed since
        return False


def _choice_inputs(choice: Choice) -> dict[str, Any]:
    """The part of a choice that determines the ranking, as JSON."""
    stack = choice.stack if choice.method == STACK else None
    return {"method": choice.method, **({"weights": stack.weights, "slopes": stack.slopes} if stack else {})}
