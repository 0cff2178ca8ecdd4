"""Accuracy of every method on held-out real votes: parts held out in turn, or a file reduced to one vote per pair.

For votes of your own, through ``benchmarks.accuracy --votes FILE``: whatever ``curate ingest`` reads.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import compress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from curate.array_types import Bool, Float, Index
from curate.denoising.selection import choose, with_stack
from curate.evaluation.cross_validation import HeldOut, hold_out, mean_and_error, scores, units
from curate.rankers.base import TIE_DECIMALS, Ranking
from curate.rankers.registry import build, compared_rankers
from curate.store import Store
from curate.store.rankings import load_votes
from curate.votes.arrays import LEFT, RIGHT, VoteArrays
from curate.votes.coverage import cover
from pipelines import ingest
from pipelines.progress import silent
from schemas.choices import HoldOut
from schemas.config import DenoiseConfig
from schemas.rankers import BUILT_IN, MethodName

CONFIG = DenoiseConfig()
FOLDS = 5
"""Each is a fifth of the votes, or of the pairs of responses with all their votes."""


def read(path: Path) -> VoteArrays:
    """Return the votes of a file, as ``curate ingest`` reads it."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "votes.duckdb"
        ingest(path, store)
        with Store.open(store, read_only=True) as opened:
            return load_votes(opened).votes


def report(votes: VoteArrays, *, seeds: int, thin: int | None) -> int:
    """Print the tables of both designs, or of the thinned votes with ``thin`` responses per prompt.

    Return 1 where the hierarchical ranker is worse than Bradley-Terry on thinned votes; the others have no goals.
    """
    print(f"{len(votes.left):,} votes, {len(votes.prompts)} prompts, {len(votes.responses):,} responses, ", end="")
    print(f"{len(votes.annotators):,} annotators; {seeds} seeds; ± over prompts\n")
    if thin:
        return _report_thinned(votes, thin, seeds)
    _print_held_out("a fifth of the votes held out", votes, "vote", seeds)
    _print_held_out("a fifth of the pairs held out, with all their votes", votes, "pair", seeds)
    return 0


def _print_held_out(title: str, votes: VoteArrays, by: HoldOut, seeds: int) -> None:
    """Print log-loss and accuracy on decisive held-out votes, every fold held out once with each seed."""
    unit = units(votes, by)
    names = compared_rankers(CONFIG, annotators=bool(votes.annotators), models=bool(votes.models))
    parts = [
        hold_out(votes, unit, CONFIG, names=names, folds=FOLDS, seed=seed, progress=silent) for seed in range(seeds)
    ]
    held = pooled([with_stack(part)[0] for part in parts])
    prompt = votes.response_prompt[votes.left][held.vote].astype(np.int64)
    print(f"{title:<52}{'log-loss':>9}{'±':>7}{'accuracy':>10}{'±':>7}{'difference':>12}{'±':>7}")
    for score in scores(held, prompt):
        loss = f"{score.log_loss:>9.4f}{_figure(score.log_loss_se)}"
        accuracy = f"{score.accuracy:>10.4f}{_figure(score.accuracy_se)}"
        difference = f"{score.log_loss_difference:>12.4f}{_figure(score.log_loss_difference_se)}"
        print(f"  {score.method:<50}{loss}{accuracy}{difference}")
    print(flush=True)


def pooled(parts: Sequence[HeldOut]) -> HeldOut:
    """Concatenate: a vote is in each part once, so that standard errors must be over clusters that contain it."""
    first = parts[0]
    return HeldOut(
        vote=np.concatenate([part.vote for part in parts]),
        left=np.concatenate([part.left for part in parts]),
        weight=np.concatenate([part.weight for part in parts]),
        fold=np.concatenate([part.fold for part in parts]),
        odds={name: np.concatenate([part.odds[name] for part in parts]) for name in first.odds},
        order={name: np.concatenate([part.order[name] for part in parts]) for name in first.order},
        slopes={name: float(np.mean([part.slopes[name] for part in parts])) for name in first.slopes},
    )


def _report_thinned(votes: VoteArrays, size: int, seeds: int) -> int:
    """Print the accuracy of every method fitted to one vote per pair, on other annotators' votes on these pairs."""
    runs = [_ranked(*thinned(votes, size, np.random.default_rng(seed))) for seed in range(seeds)]
    weight, prompt = (np.concatenate([getattr(run, name) for run in runs]) for name in ("weight", "prompt"))
    correct = {name: np.concatenate([run.correct[name] for run in runs]) for name in runs[0].correct}
    title = f"one vote per pair, at most {size} responses per prompt; {len(weight):,} votes of others"
    print(f"{title:<78}{'accuracy':>10}{'±':>7}")
    for name, hit in sorted(correct.items(), key=lambda item: -float(weight @ item[1])):
        accuracy, error = mean_and_error(hit, weight, prompt)
        print(f"  {name:<76}{accuracy:>10.4f}{_figure(error)}")
    print(f"  auto chose {', '.join(run.chosen for run in runs)}\n")
    gain, error = mean_and_error(correct["hierarchical"] - correct["bradley-terry"], weight, prompt)
    met = gain >= 0
    print(f"{'PASS' if met else 'FAIL'}  hierarchical − bradley-terry {gain:+.4f} ±{_figure(error)}, at least 0")
    return 0 if met else 1


def thinned(votes: VoteArrays, size: int, rng: np.random.Generator) -> tuple[VoteArrays, VoteArrays]:
    """Return a random vote on each pair of at most ``size`` random responses per prompt, and others' decisive votes."""
    draw = rng.permutation(len(votes.responses))
    order = np.lexsort((draw, votes.response_prompt))
    place = np.empty(len(order), dtype=np.int64)  # (R,) random order within the prompt
    place[order] = np.arange(len(order)) - votes.offsets[votes.response_prompt]
    votes = _of_responses(votes, place < size)
    votes = votes.of_votes(rng.permutation(len(votes.left)))
    low, high = np.minimum(votes.left, votes.right), np.maximum(votes.left, votes.right)
    pair = low.astype(np.int64) * len(votes.responses) + high
    _, first, number = np.unique(pair, return_index=True, return_inverse=True)
    who, ranker = votes.annotator, votes.annotator[first][number]  # (V,) and the annotator of the pair's first vote
    other = np.arange(len(pair)) != first[number]
    other &= (who != ranker) | (who < 0)
    return votes.of_votes(np.sort(first)), votes.of_votes(other & np.isin(votes.outcome, [LEFT, RIGHT]))


def _of_responses(votes: VoteArrays, keep: Bool) -> VoteArrays:
    """Return the votes between the responses to keep (R,), renumbered."""
    number = (np.cumsum(keep) - 1).astype(np.int32)
    votes = votes.of_votes(keep[votes.left] & keep[votes.right])
    return replace(
        votes,
        left=number[votes.left],
        right=number[votes.right],
        response_prompt=votes.response_prompt[keep],
        response_model=votes.response_model[keep],
        responses=tuple(compress(votes.responses, keep)),
    )


class _Ranked(NamedTuple):
    """S votes that every method predicts."""

    correct: dict[str, Float]
    """(S,) 1 where the method's order agrees with the vote, 0.5 where it ranks both equal, else 0."""
    weight: Float
    prompt: Index
    chosen: str
    """The method that auto chose."""


def _ranked(train: VoteArrays, test: VoteArrays) -> _Ranked:
    """Return the agreement of the methods' orders, fitted to train, with the votes of test."""
    coverage = cover(train, CONFIG)
    used = train.of_prompts(coverage.used)
    choice = choose(used, CONFIG, progress=silent)
    rankings: dict[MethodName, Ranking] = {name: build(name, CONFIG)(used) for name in BUILT_IN}
    if choice.stack is not None:
        rankings["stack"] = choice.stack.combine(used, rankings)
    together = coverage.component[test.left] == coverage.component[test.right]
    test = test.of_votes(together & coverage.used[test.response_prompt[test.left]])
    prompt = test.response_prompt[test.left].astype(np.int64)
    known = test.of_prompts(coverage.used)
    toward = np.where(known.outcome == LEFT, 1, -1)
    correct: dict[str, Float] = {}
    for name, ranking in rankings.items():
        rounded = np.round(ranking.scores, TIE_DECIMALS)
        correct[name] = (1 + toward * np.sign(rounded[known.left] - rounded[known.right])) / 2
    return _Ranked({**correct, "auto": correct[choice.method]}, known.weight, prompt, choice.method)


def _figure(error: float | None) -> str:
    """Format a standard error."""
    return f"{'–':>7}" if error is None else f"{error:>7.4f}"
