"""The choice of a ranker by held-out votes, and the weights of a stack of several.

The stack's log odds of a vote are Σ wₖ · odds of ranker k with weights of at least 0 (a logarithmic opinion pool;
Genest and Zidek, 1986), fitted by maximum likelihood to held-out votes (Wolpert, "Stacked generalization", 1992;
Breiman, "Stacked regressions", 1996). As a ranker's odds are a slope times a difference of its scores, the stack is
itself a score of each response (curate.rankers.stack).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from scipy.special import expit, log_expit

from curate.array_types import Bool, Float
from curate.engine import Engine
from curate.evaluation.cross_validation import HeldOut, hold_out, scores, units
from curate.rankers.base import TIE_DECIMALS, PosteriorRanker
from curate.rankers.hierarchical import HierarchicalFit
from curate.rankers.registry import MODEL_MEANS, POSTERIOR, build, compared_rankers, spec_of
from curate.rankers.stack import Stack
from curate.votes.arrays import VoteArrays
from schemas.choices import HoldOut
from schemas.config import DenoiseConfig
from schemas.rankers import AUTO, STACK, MethodName
from schemas.validation import MethodScore

PRIOR_PRECISION = 1.0
"""Of the normal prior of the weights, whose mean is an equal share of 1, in votes' information. It matters only where
rankers agree closely, or votes are few."""
SMALLEST_WEIGHT = 0.01
"""Weights below this are 0."""

MEANS_SHARE = 0.1
"""Model means are compared where the strengths of a model vary by at most this share of the variance of the means."""
CALIBRATION_MARGIN = 0.005
"""Calibration errors that differ by no more count as equal."""
MAX_STEPS, SMALLEST_STEP, TOLERANCE = 50, 1e-6, 1e-10
"""Of Newton's method for the weights: steps, the smallest part of one, the relative decrease of the loss at its end."""
FEWEST = 20
"""Prompts that decide at least, where there are so many; and held-out votes below which they choose no ranker."""


@dataclass(frozen=True)
class Choice:
    """The method chosen by held-out votes, and the scores of all."""

    method: MethodName
    stack: Stack | None
    """None where fewer than FEWEST votes could be held out; the method is then the hierarchical ranker."""
    by: HoldOut
    """The unit that was held out whole."""
    prompts: int
    """Prompts whose votes were held out."""
    votes: int
    """Held-out votes that the methods are scored on."""
    methods: tuple[MethodScore, ...]
    """Best first."""


def silent(_doing: str, _done: int, _total: int) -> None:
    """Report no progress."""


def choose(
    votes: VoteArrays,
    config: DenoiseConfig,
    *,
    engine: Engine | None = None,
    by_bucket: bool = False,
    progress: Callable[[str, int, int], None] = silent,
) -> Choice:
    """Return the choice by cross-validation, on at most ``config.auto.prompts`` prompts and ``votes`` votes.

    Whole annotators are held out where there are at least two for each fold, since a ranking should hold for people who
    did not vote on it; else single votes. The votes of a K-wise ranking stay together. engine: where the folds are
    fitted; None: in threads. by_bucket: only rankers that rank the prompts of a bucket without the others qualify.
    """
    auto = config.auto
    sample = draw_sample(votes, config)
    by = held_out_unit(sample, auto.folds)
    unit = units(sample, by)
    if int(unit.max(initial=-1)) + 1 >= auto.folds:
        known = {"annotators": bool(sample.annotators), "models": bool(sample.models)}
        names = compared_rankers(config, **known, held_out=True, votes=len(sample.left), by_bucket=by_bucket)
        if MODEL_MEANS in names and config.ranker == AUTO and not _means_suffice(sample, config):
            names.remove(MODEL_MEANS)
        held = hold_out(
            sample, unit, config, names=names, folds=auto.folds, seed=auto.seed, progress=progress, engine=engine
        )
        if len(held.vote) >= FEWEST:
            held, stack = with_stack(held)
            cluster = unit if by == "annotator" else sample.response_prompt[sample.left].astype(np.int64)
            methods = scores(held, cluster[held.vote])
            method = chosen(methods)
            if method == STACK and len(stack.members) == 1:
                (method,) = stack.members  # the stack has the order of its only member
            return Choice(method, stack, by, len(sample.prompts), len(held.vote), methods)
    return Choice(POSTERIOR, None, by, len(sample.prompts), 0, ())


def _means_suffice(votes: VoteArrays, config: DenoiseConfig) -> bool:
    """Whether strengths vary little between prompts, as the hierarchical ranker estimates it from these votes.

    Held-out votes alone cannot tell where they are few: ignoring what differs then costs little log-loss, but order.
    """
    prior = cast("HierarchicalFit", cast("PosteriorRanker", build(POSTERIOR, config)).fit(votes)).prior
    return prior.variance <= MEANS_SHARE * prior.mean_variance


def draw_sample(votes: VoteArrays, config: DenoiseConfig) -> VoteArrays:
    """Return the votes that decide: those of prompts drawn at random, up to both limits of ``config.auto``.

    Where FEWEST prompts have more votes than the limit, only as many units of held-out votes are drawn from them. More
    prompts are preferred to that, because thinned votes compare rankers at another density.
    """
    auto, rng = config.auto, np.random.default_rng(config.auto.seed)
    prompts, limit = (max(1, int(number * config.effort_factor)) for number in (auto.prompts, auto.votes))
    drawn = rng.permutation(len(votes.prompts))[:prompts]
    each = np.bincount(votes.response_prompt[votes.left], minlength=len(votes.prompts))
    few = max(FEWEST, int(np.searchsorted(np.cumsum(each[drawn]), limit, side="right")))
    sample = votes.of_prompts(np.isin(np.arange(len(votes.prompts)), drawn[:few]))
    if len(sample.left) <= limit:
        return sample
    unit = units(sample, held_out_unit(sample, auto.folds))
    size = np.bincount(unit)
    order = rng.permutation(len(size))
    kept = order[: max(2 * auto.folds, int(np.searchsorted(np.cumsum(size[order]), limit, side="right")))]
    return sample.of_votes(np.isin(unit, kept))


def held_out_unit(votes: VoteArrays, folds: int) -> HoldOut:
    """Return what is held out whole: annotators where there are at least two for each fold, else votes."""
    people = len(np.unique(votes.annotator[votes.annotator >= 0]))
    return "annotator" if people >= 2 * folds else "vote"


def chosen(methods: Sequence[MethodScore]) -> MethodName:
    """Return the simplest method within one standard error of the best that is calibrated as well as any of its kind.

    Kinds, the simplest first: the hierarchical ranker (model means only, then the whole), any other single ranker, what
    combines several. The one-standard-error rule (Breiman, Friedman, Olshen and Stone, 1984, section 3.4.3) is on
    paired differences. methods: best first, as ``scores`` gives them.
    """
    eligible = [
        score.method
        for score in methods
        if score.log_loss_difference_se is None or score.log_loss_difference <= score.log_loss_difference_se
    ]
    hierarchical = [name for name in (MODEL_MEANS, POSTERIOR) if name in eligible]
    kind = hierarchical or [name for name in eligible if is_single(name)] or eligible
    error = {score.method: score.calibration_error for score in methods}
    best = min(error[name] for name in kind)
    return next(name for name in kind if error[name] <= best + CALIBRATION_MARGIN)


def is_single(name: MethodName) -> bool:
    """Return whether the method is one ranker, neither the ensemble nor the stack."""
    return name != STACK and not spec_of(name).combines


def with_stack(held: HeldOut) -> tuple[HeldOut, Stack]:
    """Return the held-out votes with the stack of all single rankers as one more method, and that stack.

    Its odds are cross-fitted: the weights for a fold's votes are fitted to the votes of the other folds.
    """
    names = [name for name in held.odds if is_single(name)]
    odds = np.stack([held.odds[name] for name in names], axis=1)  # (S, K)
    crossed = np.zeros(len(held.vote))
    for fold in np.unique(held.fold):
        own = held.fold == fold
        crossed[own] = odds[own] @ fit_weights(odds[~own], held.left[~own], held.weight[~own])
    weights = fit_weights(odds, held.left, held.weight)
    order = np.sign(np.round(crossed, TIE_DECIMALS))
    more = replace(held, odds={**held.odds, STACK: crossed}, order={**held.order, STACK: order})
    return more, Stack(dict(zip(names, weights.tolist(), strict=True)), {name: held.slopes[name] for name in names})


def fit_weights(odds: Float, left: Bool, weight: Float) -> Float:
    """Return the (K,) maximum-likelihood weights, at least 0, of the rankers' odds; 0 where the odds are all 0.

    odds: (S, K) log odds of left; left: (S,) whether it was chosen; weight: (S,).
    """
    informative: Bool = np.any(odds, axis=0)  # (K,)
    if not informative.all() and informative.any():
        fitted = np.zeros(len(informative))
        fitted[informative] = fit_weights(odds[:, informative], left, weight)
        return fitted
    count = odds.shape[1]
    share = np.full(count, 1 / count)
    toward = np.where(left, 1.0, -1.0)[:, None] * odds  # (S, K) log odds of what was chosen

    def loss(w: Float) -> float:
        away = w - share
        return PRIOR_PRECISION / 2 * float(away @ away) - float(weight @ log_expit(toward @ w))

    from scipy.optimize import nnls

    found, value = share, loss(share)
    for _ in range(MAX_STEPS):  # Newton steps, each of them a least-squares problem with weights of at least 0
        wrong = expit(-(toward @ found))
        gradient = PRIOR_PRECISION * (found - share) - (weight * wrong) @ toward
        root = np.linalg.cholesky(
            toward.T @ ((weight * wrong * (1 - wrong))[:, None] * toward) + PRIOR_PRECISION * np.eye(count)
        )
        step = nnls(root.T, root.T @ found - np.linalg.solve(root, gradient))[0] - found
        size = 1.0
        while (new := loss(found + size * step)) > value and size > SMALLEST_STEP:
            size /= 2
        if value - new <= TOLERANCE * abs(value):
            break
        found, value = found + size * step, new
    kept: Float = np.where(found < SMALLEST_WEIGHT, 0.0, found)
    return kept if kept.any() else share
