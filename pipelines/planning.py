"""The job ``plan``: which votes to ask next, as a file of tasks, and the accuracy that they are expected to bring."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from annotations.tasks.rows import lay_out, write_tasks
from curate.planning.information import Beliefs, Plan, foresee
from curate.planning.planner import beliefs_of, plan_votes, random_votes
from curate.rankers.hierarchical import Hierarchical
from curate.store import Store
from curate.store.rankings import load_votes
from curate.votes.arrays import VoteArrays
from pipelines.progress import Progress, silent
from schemas.errors import CurateError, UsageError
from schemas.plan import ExpectedAccuracy, Focus, PlanReport, TaskFormat

STAGES = (0.0, 0.1, 0.25, 0.5, 1.0)
"""Shares of the plan after which accuracy is foreseen."""


def plan(
    store_path: str | Path,
    out: str | Path,
    *,
    votes: int,
    file_format: TaskFormat | None = None,
    focus: Focus = "order",
    prompts: Sequence[str] = (),
    max_per_pair: int = 3,
    min_per_prompt: int = 0,
    annotators: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> PlanReport:
    """Write the ``votes`` votes to ask next as the task file ``out``, and say what they are expected to gain.

    file_format: by default JSONL where ``out`` ends so, else CSV; or the input of a platform. focus: the whole order,
    or who is best. prompts: ask about these only (all when empty). max_per_pair: votes on one pair, at most.
    min_per_prompt: votes on every prompt, as far as its order is in doubt. annotators: how many there will be, nobody
    being asked twice about a pair; by default those of the store, without a limit where its votes are anonymous.

    The joint model is fitted anew to all votes of the store, which is only read; the same store, arguments and seed
    give the same bytes. Raises CurateError where there is no store, no vote in it, no such prompt or nothing to ask,
    and where ``out`` holds anything else; UsageError for numbers that cannot be meant.
    """
    out = Path(out)
    with Store.open(store_path, read_only=True) as store:
        progress("reading votes", 0, 0)
        loaded = load_votes(store)
        questions, texts = store.prompts(), store.responses()
    known = loaded.votes
    people = len(known.annotators) if annotators is None else annotators
    chosen = _chosen(known, prompts, store_path)
    _check(votes, max_per_pair, annotators, min_per_prompt * int(chosen.sum()))

    progress("fitting the joint model", 0, 0)
    fit = Hierarchical().fit(known)
    beliefs = [part.of_prompts(chosen) for part in beliefs_of(known, fit, most=max_per_pair, people=people)]
    progress("choosing votes", 0, 0)
    found = plan_votes(beliefs, votes, focus=focus, least=min_per_prompt)
    if not len(found.row):
        raise _nothing_to_ask(store_path, people)
    progress("foreseeing accuracy", 0, 0)
    chance = random_votes(beliefs, len(found.row), np.random.default_rng(seed))
    planned, by_chance = _stages(beliefs, found, seed), _stages(beliefs, chance, seed)

    asked = _asked(known, beliefs, found)
    options = [loaded.digest, votes, focus, sorted(prompts), max_per_pair, min_per_prompt, people, seed]
    name = hashlib.sha256(json.dumps(options).encode()).hexdigest()[:8]
    tasks = lay_out(asked, questions, texts, plan=name, rng=np.random.default_rng(seed))
    by_suffix: TaskFormat = "jsonl" if out.suffix.lower() in (".jsonl", ".ndjson") else "csv"
    written, beside = write_tasks(tasks, out, file_format or by_suffix)
    return PlanReport(
        store=str(store_path),
        out=str(out),
        format=file_format or by_suffix,
        beside=str(beside or ""),
        written=written,
        focus=focus,
        seed=seed,
        known=len(known.left),
        votes=len(tasks),
        pairs=asked.n_unique(),
        prompts=asked["prompt_id"].n_unique(),
        planned=planned,
        random=by_chance,
        warnings=tuple(_warnings(votes, tasks, int((~fit.converged).sum()), max_per_pair)),
    )


def _check(votes: int, max_per_pair: int, annotators: int | None, least: int) -> None:
    """Raise UsageError for numbers that cannot be meant. least: votes that the prompts get in any case."""
    for name, number in (("votes", votes), ("max_per_pair", max_per_pair), ("annotators", annotators)):
        if number is not None and number < 1:
            raise UsageError(f"{name} is {number}: nothing would be asked", hint="give 1 or more")
    if least > votes:
        raise UsageError(
            f"{votes:,} votes are too few for the {least:,} that all prompts are to have at least",
            hint="ask for more votes, or for fewer on every prompt",
        )


def _chosen(votes: VoteArrays, prompts: Sequence[str], path: str | Path) -> npt.NDArray[np.bool_]:
    """(P,) which prompts to ask about: the named ones, all where none is named."""
    unknown = [prompt for prompt in prompts if prompt not in votes.prompts]
    if unknown:
        raise CurateError(f"{path}: no prompt {unknown[0]!r}", hint="curate rankings lists the prompts")
    return np.array([not prompts or prompt in prompts for prompt in votes.prompts])


def _nothing_to_ask(path: str | Path, people: int) -> CurateError:
    judged = f", or all {people} annotators have judged it" if people else ""
    hint = "give the number of people there will be: --annotators N" if people else "rank the votes: curate denoise"
    return CurateError(f"{path}: nothing to ask: the order of every pair is as good as certain{judged}", hint=hint)


def _asked(votes: VoteArrays, beliefs: Sequence[Beliefs], found: Plan) -> pl.DataFrame:
    """prompt_id, first, second of every vote of the plan."""
    rows = []
    for batch, row, (i, j) in zip(found.batch.tolist(), found.row.tolist(), found.pair.tolist(), strict=True):
        slots = beliefs[batch].slots[row]
        rows.append((votes.prompts[beliefs[batch].prompts[row]], votes.responses[slots[i]], votes.responses[slots[j]]))
    return pl.DataFrame(rows, schema=dict.fromkeys(("prompt_id", "first", "second"), pl.String), orient="row")


def _stages(beliefs: Sequence[Beliefs], found: Plan, seed: int) -> tuple[ExpectedAccuracy, ...]:
    """What is expected after each stage of the plan."""
    stages = []
    for votes in sorted({round(stage * len(found.row)) for stage in STAGES}):
        figures = foresee(beliefs, found.first(votes), seed=seed)._asdict()
        known = {name: None if math.isnan(x) else x for name, x in figures.items()}
        stages.append(ExpectedAccuracy(votes=votes, **known))
    return tuple(stages)


def _warnings(wanted: int, tasks: pl.DataFrame, not_converged: int, max_per_pair: int) -> list[str]:
    found = []
    if len(tasks) < wanted:
        found.append(
            f"{len(tasks):,} votes are all there is to ask, of {wanted:,}: {max_per_pair} on a pair at most, and none "
            "where the order is certain or nobody is left to judge"
        )
    if not_converged:
        found.append(f"the joint model stopped before its tolerance on {not_converged} prompts")
    wordless = int((tasks["left_text"].is_null() | tasks["right_text"].is_null()).sum())
    if wordless:
        found.append(f"{wordless:,} tasks have a response without text; curate ingest --responses FILE gives texts")
    return found
