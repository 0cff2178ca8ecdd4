"""How well every method foretells real votes that it has not seen: parts held out in turn, or a file thinned out.

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
import numpy.typing as npt

from curate.denoising.selection import choose, with_stack
from curate.evaluation.cross_validation import HeldOut, hold_out, mean_and_error, scores, units
from curate.rankers import Ranking, build
from curate.rankers.base import TIE_DECIMALS
from curate.rankers.registry import compared_rankers
from curate.store import Store
from curate.store.rankings import load_votes
from curate.votes.arrays import LEFT, RIGHT, VoteArrays
from curate.votes.coverage import cover
from pipelines import ingest
from pipelines.progress import silent
from schemas.config import DenoiseConfig
from schemas.rankers import BUILT_IN, MethodName
from schemas.validation import HoldOut

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

CONFIG = DenoiseConfig()
FOLDS = 5
"""Each is a fifth: of the votes, or of the pairs of responses with all their votes."""


def read(path: Path) -> VoteArrays:
    """The votes of a file, as ``curate ingest`` reads it."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "votes.duckdb"
        ingest(path, store)
        with Store.open(store, read_only=True) as opened:
            return load_votes(opened).votes


def report(votes: VoteArrays, *, seeds: int, thin: int | None) -> int:
    """Prints the tables of both designs, or of the thinned votes where ``thin`` says to how many responses a prompt.

    1 where the hierarchical ranker is worse than Bradley-Terry on thinned votes; there are no goals for the others.
    """
    print(f"{len(votes.left):,} votes, {len(votes.prompts)} prompts, {len(votes.responses):,} responses, ", end="")
    print(f"{len(votes.annotators):,} annotators; {seeds} seeds; ± over prompts\n")
    if thin:
        return _report_thinned(votes, thin, seeds)
    _print_held_out("a fifth of the votes held out", votes, "vote", seeds)
    _print_held_out("a fifth of the pairs held out, with all their votes", votes, "pair", seeds)
    return 0


def _print_held_out(title: str, votes: VoteArrays, by: HoldOut, seeds: int) -> None:
    """Log-loss and accuracy on decisive held-out votes, every fold held out once with each seed."""
    unit = units(votes, by)
    names = compared_rankers(CONFIG, annotators=bool(votes.annotators))
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
    """One after another: a vote comes once in each part, so that errors must be taken over clusters that hold it."""
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
    """Accuracy of every method that ranks by one vote a pair, on the other people's votes on these pairs."""
    runs = [_ranked(*thinned(votes, size, np.random.default_rng(seed))) for seed in range(seeds)]
    weight, prompt = (np.concatenate([getattr(run, name) for run in runs]) for name in ("weight", "prompt"))
    hits = {name: np.concatenate([run.hits[name] for run in runs]) for name in runs[0].hits}
    title = f"one vote a pair, at most {size} responses a prompt; {len(weight):,} votes of others"
    print(f"{title:<78}{'accuracy':>10}{'±':>7}")
    for name, hit in sorted(hits.items(), key=lambda item: -float(weight @ item[1])):
        accuracy, error = mean_and_error(hit, weight, prompt)
        print(f"  {name:<76}{accuracy:>10.4f}{_figure(error)}")
    print(f"  auto took {', '.join(run.chosen for run in runs)}\n")
    gain, error = mean_and_error(hits["hierarchical"] - hits["bradley-terry"], weight, prompt)
    met = gain >= 0
    print(f"{'PASS' if met else 'FAIL'}  hierarchical − bradley-terry {gain:+.4f} ±{_figure(error)}, at least 0")
    return 0 if met else 1


def thinned(votes: VoteArrays, size: int, rng: np.random.Generator) -> tuple[VoteArrays, VoteArrays]:
    """A random vote on each pair of at most ``size`` random responses a prompt, and others' decisive ones on it."""
    draw = rng.permutation(len(votes.responses))
    order = np.lexsort((draw, votes.response_prompt))
    place = np.empty(len(order), dtype=np.int64)  # (R,) within the prompt, as drawn
    place[order] = np.arange(len(order)) - votes.offsets[votes.response_prompt]
    votes = _of_responses(votes, place < size)
    votes = votes.of_votes(rng.permutation(len(votes.left)))
    low, high = np.minimum(votes.left, votes.right), np.maximum(votes.left, votes.right)
    pair = low.astype(np.int64) * len(votes.responses) + high
    _, first, number = np.unique(pair, return_index=True, return_inverse=True)
    who, ranker = votes.annotator, votes.annotator[first][number]  # (V,) and who cast the pair's first vote
    other = np.arange(len(pair)) != first[number]
    other &= (who != ranker) | (who < 0)
    return votes.of_votes(np.sort(first)), votes.of_votes(other & np.isin(votes.outcome, [LEFT, RIGHT]))


def _of_responses(votes: VoteArrays, keep: npt.NDArray[np.bool_]) -> VoteArrays:
    """The votes between the responses to keep (R,), which are numbered anew."""
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
    """S votes on which every method was asked."""

    hits: dict[str, Float]
    """(S,) 1 where the method's order agrees with the vote, 0.5 where it holds both equal, else 0."""
    weight: Float
    prompt: Int
    chosen: str
    """The method that auto took."""


def _ranked(train: VoteArrays, test: VoteArrays) -> _Ranked:
    """What the methods' orders, from the votes of train, say of those of test."""
    coverage = cover(train, CONFIG)
    used = train.of_prompts(coverage.used)
    choice = choose(used, CONFIG, progress=silent)
    rankings: dict[MethodName, Ranking] = {name: build(name, CONFIG)(used) for name in BUILT_IN}
    if choice.stack is not None:
        rankings["stack"] = choice.stack.combine(used, rankings)
    together = coverage.component[test.left] == coverage.component[test.right]
    test = test.of_votes(together & coverage.used[test.response_prompt[test.left]])
    prompt = test.response_prompt[test.left].astype(np.int64)
    asked = test.of_prompts(coverage.used)
    toward = np.where(asked.outcome == LEFT, 1, -1)
    hits: dict[str, Float] = {}
    for name, ranking in rankings.items():
        rounded = np.round(ranking.scores, TIE_DECIMALS)
        hits[name] = (1 + toward * np.sign(rounded[asked.left] - rounded[asked.right])) / 2
    return _Ranked({**hits, "auto": hits[choice.method]}, asked.weight, prompt, choice.method)


def _figure(error: float | None) -> str:
    """A standard error, where there is one."""
    return f"{'–':>7}" if error is None else f"{error:>7.4f}"
