"""Ablation of the hierarchical ranker: what each ingredient of the model gains, on simulated worlds and on real votes.

    python -m benchmarks.ablation --seeds 4
    python -m benchmarks.ablation --data votes.csv

Each row is one variant of the model on the same worlds. tau: Kendall's tau-b to the true strengths. stated: the tau
that the posterior expects, minus tau (0 is calibrated). ECE: expected calibration error of P(i beats j) over all pairs.
log-loss: of held-out decisive votes. Differences (±: standard error over worlds) are to the full model; a negative
difference of tau, or a positive one of log-loss, means that the ingredient helps.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np

from benchmarks import heldout
from curate.array_types import Bool, Float
from curate.evaluation.agreement import kendall_tau
from curate.rankers.hierarchical import Hierarchical, HierarchicalFit, priors, ranker
from curate.rankers.hierarchical.priors import Hyperprior, StrengthPrior
from curate.simulation.world import draw_outcomes, simulate_world
from curate.uncertainty.posterior import beats
from curate.votes.arrays import LEFT, RIGHT, VoteArrays
from schemas.config import SimulateConfig

BINS = 10
FOLDS = 5


class Sample(NamedTuple):
    """Votes and the (P, N) true strengths."""

    votes: VoteArrays
    strength: Float


class Quality(NamedTuple):
    tau: float
    stated: float
    """Expected tau minus tau."""
    ece: float
    seconds: float


@dataclass(frozen=True)
class Structure:
    """Departures from independent normal strengths, which the simulator itself does not draw."""

    factors: int = 0
    """Latent factors by which models move together over prompts; they make up 70% of a response's own variance."""
    scale: float = 0.0
    """Standard deviation of the prompts' log scale."""
    ties: float = 0.0
    """Standard deviation of the prompts' log ν."""


WORLDS: dict[str, tuple[dict[str, object], Structure]] = {
    "independent": ({}, Structure()),
    "correlated": ({}, Structure(factors=2)),
    "scales": ({}, Structure(scale=0.5)),
    "prompt ties": ({}, Structure(ties=0.8)),
    "few votes": ({"votes_per_pair": 0.3}, Structure()),
    "right/wrong": ({"video": True}, Structure()),
    "heavy tails": ({"strength_distribution": "heavy-tailed"}, Structure()),
    "sittings": ({"sittings_per_prompt": 15, "perception_error": 1.5}, Structure()),
    "steady models": ({"interaction_sd": 0.15, "models": 10, "votes_per_pair": 2.0}, Structure()),
}


def sample(name: str, prompts: int, seed: int) -> Sample:
    """One world: votes of curate.simulation, with strengths and ties changed as the structure says."""
    changes, structure = WORLDS[name]
    base = {"prompts": prompts, "votes_per_pair": 1.1, "spammers": 0.1, "seed": seed}
    world = simulate_world(SimulateConfig.model_validate(base | changes))
    rng = np.random.default_rng([seed, 1])
    strength, model = world.responses.strength.copy(), world.responses.model
    own = strength - world.responses.model_strength[model]
    if structure.factors:
        loading = rng.normal(size=(len(world.responses.model_strength), structure.factors))
        loading /= np.linalg.norm(loading, axis=1, keepdims=True)
        shared = (loading[model] * rng.normal(size=(prompts, 1, structure.factors))).sum(axis=2)
        strength += np.sqrt(0.7) * own.std() * shared - (1 - np.sqrt(0.3)) * own
    if structure.scale:
        strength += own * np.expm1(rng.normal(0, structure.scale, (prompts, 1)))
    gap = strength.ravel()[world.left] - strength.ravel()[world.right]
    annotators, annotator = world.annotators, world.annotator
    if structure.ties:
        level, who = np.unique(rng.normal(0, structure.ties, prompts).round(1), return_inverse=True)
        odds = annotators.tie_share / (1 - annotators.tie_share) * np.exp(level)[:, None]  # one copy of all per level
        copies = [np.tile(column, len(level)) for column in (annotators.discrimination, annotators.left_bias)]
        annotators = replace(
            annotators, discrimination=copies[0], left_bias=copies[1], tie_share=(odds / (1 + odds)).ravel()
        )
        annotator = who[world.votes.response_prompt[world.left]] * len(world.annotators.median_seconds) + annotator
    outcome = draw_outcomes(rng, gap, annotators, annotator)
    return Sample(replace(world.votes, outcome=outcome), strength)


# Variants.


@dataclass(frozen=True)
class Variant:
    """The ranker with some of its parts replaced."""

    errors: bool = True
    mixtures: bool = True
    replaced: tuple[tuple[object, str, object], ...] = ()
    """(owner, name, replacement) of functions and constants."""

    def fit(self, votes: VoteArrays) -> HierarchicalFit:
        with ExitStack() as stack:
            for owner, name, replacement in self.replaced:
                stack.enter_context(patch.object(owner, name, replacement))
            return Hierarchical(errors=self.errors, mixtures=self.mixtures).fit(votes)


NO_CORRELATIONS = (StrengthPrior, "correlation_shrinkage", lambda *_: 1.0)
NO_SCALES = (ranker, "first_scale_variance", lambda *_: 0.0)
NO_PROMPT_TIES = (ranker, "PROMPT_TIE_VARIANCE", Hyperprior(0.0, 0.0))
NO_EXTRAPOLATION = (ranker.Aitken, "next", lambda _self, new, _old: new)
ANY_PROMPTS = (priors, "MIN_PROMPTS_PER_MODEL", 0)

FULL = "full"
VARIANTS = {
    FULL: Variant(),
    "− correlated models": Variant(replaced=(NO_CORRELATIONS,)),
    "+ correlations, few prompts": Variant(replaced=(ANY_PROMPTS,)),
    "− prompt scales": Variant(replaced=(NO_SCALES,)),
    "− prompt ties": Variant(replaced=(NO_PROMPT_TIES,)),
    "− mixtures": Variant(mixtures=False),
    "− extrapolation": Variant(replaced=(NO_EXTRAPOLATION,)),
    "− errors of perception": Variant(errors=False),
    "none of these": Variant(False, False, (NO_CORRELATIONS, NO_SCALES, NO_PROMPT_TIES, NO_EXTRAPOLATION)),
}


# Measures.


def quality(variant: Variant, world: Sample) -> Quality:
    start = time.process_time()
    found = variant.fit(replace(world.votes))
    seconds = time.process_time() - start
    prompts, models = world.strength.shape
    tau = float(np.nanmean(kendall_tau(found.strength, world.strength.ravel(), world.votes.offsets)))
    (graphs,) = world.votes.graphs
    mean = np.empty((prompts, models))
    mean[graphs.prompts] = found.strength[graphs.slots]
    i, j = np.triu_indices(models, 1)
    chance = beats(mean[graphs.prompts], found.covariance[0])[:, i, j].ravel()
    truly = (world.strength[:, i] > world.strength[:, j])[graphs.prompts].ravel()
    sure = np.maximum(chance, 1 - chance)
    return Quality(tau, float((2 * sure - 1).mean()) - tau, calibration_error(sure, (chance > 0.5) == truly), seconds)


def calibration_error(probability: Float, right: Bool) -> float:
    """Mean distance between stated probability and observed frequency over equal bins of 0.5 … 1."""
    place = np.minimum(((probability - 0.5) * 2 * BINS).astype(np.int64), BINS - 1)
    total = np.bincount(place, probability - right, BINS)
    return float(np.abs(total).sum() / len(probability))


def held_out_loss(variant: Variant, votes: VoteArrays, seed: int) -> float:
    """Mean log-loss of decisive held-out votes, each in one of FOLDS folds."""
    fold = np.random.default_rng(seed).permutation(len(votes.left)) % FOLDS
    decisive = (votes.outcome == LEFT) | (votes.outcome == RIGHT)
    losses = []
    for k in range(FOLDS):
        train, held = votes.of_votes(fold != k), votes.of_votes((fold == k) & decisive)
        odds = variant.fit(train).log_odds(held)
        losses.append(np.logaddexp(0, np.where(held.outcome == LEFT, -odds, odds)))
    return float(np.concatenate(losses).mean())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Ablation of the hierarchical ranker.")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--prompts", type=int, nargs="+", default=[30, 500])
    parser.add_argument("--worlds", nargs="+", choices=WORLDS, default=list(WORLDS), metavar="NAME")
    parser.add_argument("--data", type=Path, help="a file of real votes: held-out log-loss instead of simulated worlds")
    options = parser.parse_args(arguments)
    if options.data:
        report_held_out(heldout.read(options.data), options.seeds)
        return 0
    for prompts in options.prompts:
        for name in options.worlds:
            report_world(name, prompts, options.seeds)
    return 0


def report_world(name: str, prompts: int, seeds: int) -> None:
    worlds = [sample(name, prompts, seed) for seed in range(seeds)]
    print(f"{f'{name}, {prompts} prompts':<30}{'tau':>8}{'diff':>9}{'±':>8}{'stated':>9}{'ECE':>8}{'seconds':>9}")
    base = np.zeros(0)
    for label, variant in VARIANTS.items():
        found = [quality(variant, world) for world in worlds]
        tau, stated, ece, seconds = np.array(found).T
        base = tau if label == FULL else base
        difference = tau - base
        error = difference.std(ddof=1) / np.sqrt(seeds) if seeds > 1 else float("nan")
        print(f"  {label:<28}{tau.mean():>8.4f}{difference.mean():>+9.4f}{error:>8.4f}", end="")
        print(f"{stated.mean():>+9.4f}{ece.mean():>8.4f}{seconds.mean():>9.2f}", flush=True)
    print()


def report_held_out(votes: VoteArrays, seeds: int) -> None:
    print(
        f"{len(votes.left):,} votes, {len(votes.prompts)} prompts: held-out log-loss of decisive votes, {FOLDS} folds"
    )
    base = np.zeros(0)
    for label, variant in VARIANTS.items():
        start = time.process_time()
        loss = np.array([held_out_loss(variant, votes, seed) for seed in range(seeds)])
        base = loss if label == FULL else base
        error = (loss - base).std(ddof=1) / np.sqrt(seeds) if seeds > 1 else float("nan")
        seconds = (time.process_time() - start) / seeds / FOLDS
        print(f"  {label:<28}{loss.mean():>8.4f}{(loss - base).mean():>+9.4f}{error:>8.4f}{seconds:>9.2f}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
