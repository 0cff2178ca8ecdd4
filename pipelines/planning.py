"""The job ``plan``: the votes to collect next as a task file, and the predicted accuracy after them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from annotations.tasks import task_table, write_tasks
from curate.array_types import Bool
from curate.evaluation.overdispersion import widened_fit
from curate.media.locate import why_outside
from curate.planning.information import Plan, PosteriorBatch, predict_accuracy
from curate.planning.planner import pair_ids, plan_votes, posteriors_of, random_votes
from curate.store import Store
from curate.store.rankings import load_votes
from curate.votes.arrays import VoteArrays
from pipelines.progress import Progress, silent
from schemas.choices import Focus, TaskFormat, TextComparison
from schemas.errors import CurateError, MissingError, UsageError
from schemas.plan import ExpectedAccuracy, PlanReport

STAGES = (0.0, 0.1, 0.25, 0.5, 1.0)
"""Shares of the plan after which the accuracy is predicted."""


def plan(
    store_path: str | Path,
    out: str | Path,
    *,
    votes: int,
    file_format: TaskFormat | None = None,
    focus: Focus = "order",
    prompts: Sequence[str] = (),
    criterion: str = "",
    max_per_pair: int = 3,
    min_per_prompt: int = 0,
    annotators: int | None = None,
    per_sitting: int = 1,
    texts: TextComparison = "careful",
    seed: int = 0,
    progress: Progress = silent,
) -> PlanReport:
    """Write the ``votes`` most informative votes as the task file ``out``, and predict the accuracy after them.

    The hierarchical ranker is fitted to all votes of the store, which is not changed. The same store, arguments and
    seed give the same bytes.

    Parameters
    ----------
    store_path, out
        The store to read, and the task file to write. An existing file is never overwritten.
    votes
        Number of votes to collect.
    file_format
        The input of a platform, or a table; by default JSON lines for ``.jsonl`` and ``.ndjson``, else CSV.
    focus
        "order" for the whole order of every prompt, "best" for its best response.
    prompts
        Ask only about these prompts (empty: all).
    criterion
        Plan from the votes by this criterion; needed if the votes are by several.
    max_per_pair, min_per_prompt
        Maximum votes per pair; minimum votes per prompt with an uncertain order.
    annotators
        Number of annotators, none of whom gets a pair twice. Default: those of the store; unlimited if its votes are
        anonymous.
    per_sitting
        Pairs on a prompt that one annotator judges at a time: their votes share the annotator's errors of perception.
    texts
        When texts are equal (``DenoiseConfig.text_comparison``); pairs of equal texts are not asked.
    seed
        Seed of sides and order of the tasks.

    Raises
    ------
    CurateError
        Without a store, a vote in it, a named prompt or anything to ask; if ``out`` has other content.
    UsageError
        For invalid numbers.
    """
    out = Path(out)
    with Store.open(store_path, read_only=True) as store:
        progress("reading votes", 0, 0)
        loaded = load_votes(store, criterion=criterion, texts=texts)
        questions, responses = store.prompts(), store.responses()
    known = loaded.merged.votes
    count = len(known.annotators) if annotators is None else annotators
    videos = questions.select("prompt_id", "video").iter_rows()
    outside = {prompt for prompt, video in videos if video and why_outside(video)} & set(known.prompts)
    chosen = _chosen(known, prompts, store_path) & ~np.isin(known.prompts, list(outside))
    _check(votes, max_per_pair, annotators, min_per_prompt * int(chosen.sum()))

    progress("fitting the hierarchical ranker", 0, 0)
    fit, dependence = widened_fit(known)
    batches = posteriors_of(
        known,
        fit,
        max_per_pair=max_per_pair,
        annotators=count,
        per_sitting=per_sitting,
        overdispersion=dependence.widening,
    )
    posteriors = [batch.of_prompts(chosen) for batch in batches]
    progress("choosing votes", 0, 0)
    found = plan_votes(posteriors, votes, focus=focus, min_per_prompt=min_per_prompt)
    if not len(found.row):
        raise _nothing_to_ask(store_path, count)
    progress("predicting accuracy", 0, 0)
    baseline = random_votes(posteriors, len(found.row), np.random.default_rng(seed))
    planned, random = _stages(posteriors, found, seed), _stages(posteriors, baseline, seed)

    columns = dict.fromkeys(("prompt_id", "first", "second"), pl.String)
    asked = pl.DataFrame(pair_ids(known, posteriors, found), schema=columns, orient="row")
    options = [loaded.digest, votes, focus, sorted(prompts), max_per_pair, min_per_prompt, count, per_sitting, seed]
    name = hashlib.sha256(json.dumps(options).encode()).hexdigest()[:8]
    tasks = task_table(asked, questions, responses, plan=name, rng=np.random.default_rng(seed))
    by_suffix: TaskFormat = "jsonl" if out.suffix.lower() in (".jsonl", ".ndjson") else "csv"
    written, labelling_config = write_tasks(tasks, out, file_format or by_suffix)
    return PlanReport(
        store=str(store_path),
        out=str(out),
        format=file_format or by_suffix,
        labelling_config=str(labelling_config or ""),
        written=written,
        focus=focus,
        seed=seed,
        store_votes=len(loaded.votes.left),
        votes=len(tasks),
        pairs=asked.n_unique(),
        prompts=asked["prompt_id"].n_unique(),
        planned=planned,
        random=random,
        warnings=tuple(_warnings(votes, tasks, int((~fit.converged).sum()), max_per_pair, len(outside))),
    )


def _check(votes: int, max_per_pair: int, annotators: int | None, minimum: int) -> None:
    """Raise UsageError for invalid numbers. minimum: the votes that the prompts get in any case."""
    for name, number in (("votes", votes), ("max_per_pair", max_per_pair), ("annotators", annotators)):
        if number is not None and number < 1:
            raise UsageError(f"{name} is {number}", hint="give 1 or more")
    if minimum > votes:
        raise UsageError(
            f"{votes:,} votes are fewer than the minimum of {minimum:,} for all prompts together",
            hint="ask for more votes, or for fewer on every prompt",
        )


def _chosen(votes: VoteArrays, prompts: Sequence[str], path: str | Path) -> Bool:
    """(P,) whether to ask about each prompt: the named ones, or all without names."""
    unknown = [prompt for prompt in prompts if prompt not in votes.prompts]
    if unknown:
        raise MissingError(f"{path}: no prompt {unknown[0]!r}", hint="curate rankings lists the prompts")
    return np.array([not prompts or prompt in prompts for prompt in votes.prompts])


def _nothing_to_ask(path: str | Path, annotators: int) -> CurateError:
    judged = f", or every annotator ({annotators}) has judged it" if annotators else ""
    hint = "give the number of annotators: --annotators N" if annotators else "rank the votes: curate denoise"
    return CurateError(f"{path}: nothing to ask: the order of every pair is certain{judged}", hint=hint)


def _stages(posteriors: Sequence[PosteriorBatch], found: Plan, seed: int) -> tuple[ExpectedAccuracy, ...]:
    """The predicted accuracy after each stage of the plan."""
    stages = []
    for votes in sorted({round(stage * len(found.row)) for stage in STAGES}):
        figures = predict_accuracy(posteriors, found.first(votes), seed=seed)._asdict()
        known = {name: None if math.isnan(x) else x for name, x in figures.items()}
        stages.append(ExpectedAccuracy(votes=votes, **known))
    return tuple(stages)


def _warnings(wanted: int, tasks: pl.DataFrame, not_converged: int, max_per_pair: int, outside: int) -> list[str]:
    found = []
    if outside:
        found.append(f"{outside:,} prompts are not asked about: the path of their video is absolute or contains '..'")
    if len(tasks) < wanted:
        found.append(
            f"only {len(tasks):,} of {wanted:,} votes can be asked: at most {max_per_pair} per pair, and none on pairs "
            "whose order is certain or that every annotator has judged"
        )
    if not_converged:
        found.append(f"the hierarchical ranker did not converge on {not_converged} prompts")
    no_text = int((tasks["left_text"].is_null() | tasks["right_text"].is_null()).sum())
    if no_text:
        found.append(f"{no_text:,} tasks have a response without text; curate ingest --responses FILE gives texts")
    return found
