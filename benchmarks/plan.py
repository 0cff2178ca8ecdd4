"""Gains of planned votes compared with other votes and with the prediction, on simulated campaigns.

    python -m benchmarks.plan --prompts 150 --seeds 6

A campaign has few votes; then some more are asked: those of the plan (for the order, and for the best), random ones, or
those on the pairs with fewest votes. The world's own annotators answer, and the joint model is fitted again. tau, top-1
and best-of-4 are against the truth; ± is a standard error over seeds. Exits with 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from curate.array_types import Float, Int32
from curate.evaluation.agreement import best_of, kendall_tau, top1
from curate.planning.information import Plan, PosteriorBatch, predict_accuracy
from curate.planning.planner import plan_votes, posteriors_of, random_votes
from curate.rankers.hierarchical import Hierarchical, HierarchicalFit
from curate.simulation.world import World, draw_outcomes, simulate_world
from curate.votes.arrays import VoteArrays
from schemas.config import SimulateConfig

WAYS = ("plan, order", "plan, best", "random", "fewest first")
MEASURES = ("tau", "top-1", "best-of-4")
CLOSE = 0.25
"""Tolerated relative error of a predicted gain of tau, unless within two standard errors."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Measures what planned votes gain.")
    parser.add_argument("--prompts", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--votes-per-pair", type=float, default=0.3)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.1, 0.5], help="votes to add, of those there are")
    options = parser.parse_args(arguments)
    met = []
    for share in options.shares:
        runs = [campaign(options.prompts, options.votes_per_pair, share, seed) for seed in range(options.seeds)]
        before, gains, predicted = (np.array(values) for values in zip(*runs, strict=True))
        print(f"{options.prompts} prompts, {options.votes_per_pair:g} votes a pair, then {share:.0%} more")
        show("before", before)
        for k, way in enumerate(WAYS):
            show(way, gains[:, k], predicted[:, k])
        met += goals(gains, predicted)
    return 0 if all(met) else 1


def campaign(prompts: int, votes_per_pair: float, share: float, seed: int) -> tuple[Float, Float, Float]:
    """(3,) MEASURES before; (4, 3) actual gains of the WAYS; (4, 3) predicted gains."""
    world = simulate_world(SimulateConfig(prompts=prompts, votes_per_pair=votes_per_pair, seed=seed))
    votes = world.votes
    fit = Hierarchical().fit(votes)
    posteriors = posteriors_of(votes, fit, annotators=len(votes.annotators))
    number, rng = round(share * len(votes.left)), np.random.default_rng(seed)
    start = time.perf_counter()
    plans = [
        plan_votes(posteriors, number),
        plan_votes(posteriors, number, focus="best"),
        random_votes(posteriors, number, rng),
        fewest_first(votes, posteriors, number, rng),
    ]
    if seed == 0:
        print(f"{number:,} votes chosen in four ways in {time.perf_counter() - start:.2f} s")
    before, now = quality(world, votes, fit), np.array(predict_accuracy(posteriors, plans[0].first(0)))
    gains = []
    for plan in plans:
        after = answered(world, votes, posteriors, plan, np.random.default_rng(seed))
        gains.append(quality(world, after, Hierarchical().fit(after)) - before)
    predicted = [np.array(predict_accuracy(posteriors, plan)) - now for plan in plans]
    return before, np.array(gains), np.array(predicted)


def quality(world: World, votes: VoteArrays, fit: HierarchicalFit) -> Float:
    """(3,) MEASURES of the fitted order against the truth, means over prompts."""
    truth = world.responses.strength.ravel()
    return np.array([np.nanmean(of(fit.strength, truth, votes.offsets)) for of in (kendall_tau, top1, best_of)])


def fewest_first(
    votes: VoteArrays, posteriors: Sequence[PosteriorBatch], number: int, rng: np.random.Generator
) -> Plan:
    """One vote on each of the pairs with the fewest votes, ties broken at random."""
    every = random_votes(
        posteriors, sum(len(b.prompts) * b.slots.shape[1] * (b.slots.shape[1] - 1) // 2 for b in posteriors), rng
    )
    held = np.zeros(len(every.row))
    for k, graphs in enumerate(votes.graphs):
        mine = every.batch == k
        count = graphs.wins + graphs.wins.swapaxes(1, 2)
        held[mine] = count[every.row[mine], every.pair[mine, 0], every.pair[mine, 1]]
    order = np.argsort(held, kind="stable")[:number]
    return Plan(every.batch[order], every.row[order], every.pair[order])


def answered(
    world: World, votes: VoteArrays, posteriors: Sequence[PosteriorBatch], plan: Plan, rng: np.random.Generator
) -> VoteArrays:
    """The votes including those of the plan, answered by the world's annotators, none of whom gets a pair twice."""
    slots = [posteriors[b].slots[row] for b, row in zip(plan.batch, plan.row, strict=True)]
    pair = np.array([own[places] for own, places in zip(slots, plan.pair, strict=True)], dtype=np.int32)
    swapped = rng.integers(0, 2, len(pair))
    left, right = pair[np.arange(len(pair)), swapped], pair[np.arange(len(pair)), 1 - swapped]
    who = draw_annotators_for(world, votes, pair, rng)
    strength = world.responses.strength.ravel()
    outcome = draw_outcomes(rng, strength[left] - strength[right], world.annotators, who)
    fresh = replace(
        votes,
        left=left,
        right=right,
        outcome=outcome,
        weight=np.ones(len(pair)),
        sides_known=np.ones(len(pair), dtype=np.bool_),
        annotator=who,
        group=np.full(len(pair), -1, dtype=np.int32),
    )
    columns = ("left", "right", "outcome", "weight", "sides_known", "annotator", "group")
    return replace(votes, **{name: np.concatenate([getattr(votes, name), getattr(fresh, name)]) for name in columns})


def draw_annotators_for(world: World, votes: VoteArrays, pair: Int32, rng: np.random.Generator) -> Int32:
    """(V,) annotators who have not judged the pair, drawn by activity (exponential races). pair: (V, 2)."""
    responses = len(votes.responses)
    asked, place, turns = np.unique(pair.astype(np.int64) @ [responses, 1], return_inverse=True, return_counts=True)
    finish = rng.exponential(1.0, (len(asked), len(votes.annotators))) / world.annotators.tickets
    low, high = np.minimum(votes.left, votes.right), np.maximum(votes.left, votes.right)
    judged = low.astype(np.int64) * responses + high
    known = np.isin(judged, asked)
    finish[np.searchsorted(asked, judged[known]), votes.annotator[known]] = np.inf
    order = np.argsort(place, kind="stable")
    turn = np.empty(len(pair), dtype=np.int64)
    turn[order] = np.arange(len(pair)) - np.repeat(np.cumsum(turns) - turns, turns)
    return np.argsort(finish, axis=1)[place, turn].astype(np.int32)


def show(name: str, values: Float, predicted: Float | None = None) -> None:
    """Print the means over seeds of (seeds, 3) figures, and their predictions."""
    cells = [
        f"{what} {mean:+.4f} ± {error:.4f}" for what, mean, error in zip(MEASURES, *mean_and_error(values), strict=True)
    ]
    told = "" if predicted is None else "   predicted " + " ".join(f"{x:+.4f}" for x in predicted.mean(axis=0))
    print(f"  {name:<13} {'   '.join(cells)}{told}", flush=True)


def goals(gains: Float, predicted: Float) -> list[bool]:
    """Print PASS or FAIL for each goal; return which passed. gains, predicted: (seeds, 4, 3)."""
    met = []
    tau, first = gains[:, :, 0], gains[:, :, 1]
    for what, gain in (
        ("tau of the plan above random", tau[:, 0] - tau[:, 2]),
        ("tau of the plan above fewest first", tau[:, 0] - tau[:, 3]),
        ("top-1 of the plan for the best above random", first[:, 1] - first[:, 2]),
    ):
        mean, error = mean_and_error(gain)
        met.append(bool(mean >= 0))
        print(f"  {'PASS' if met[-1] else 'FAIL'}: {what} {mean:+.4f} ± {error:.4f}")
    for k in (0, 2):
        actual = tau[:, k].mean()
        miss, error = mean_and_error(predicted[:, k, 0] - tau[:, k])
        met.append(bool(abs(miss) <= max(CLOSE * abs(actual), 2 * error)))
        word = "PASS" if met[-1] else "FAIL"
        print(f"  {word}: {WAYS[k]}: predicted gain of tau misses the actual {actual:.4f} by {miss:+.4f} ± {error:.4f}")
    print()
    return met


def mean_and_error(values: Float) -> tuple[Float, Float]:
    """Mean over seeds and its standard error; NaN for one seed."""
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.full(values.shape[1:], np.nan)
    return values.mean(axis=0), error


if __name__ == "__main__":
    sys.exit(main())
