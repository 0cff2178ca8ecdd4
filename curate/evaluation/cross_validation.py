"""Cross-validation of rankers: the log odds that each method assigns to held-out votes, and their scores.

Votes are held out in whole units. A ranker with a posterior states its own probabilities. All other methods state only
scores: a difference in score becomes log odds by one slope, fitted by maximum likelihood to votes that the scores were
not made from (a part of the training votes, held out once more). No method sees a held-out vote.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, cast

import numpy as np
from scipy.special import expit, log_expit, stdtrit

from curate.array_types import Bool, Float, Index
from curate.engine import Engine, Part, map_parts
from curate.processors import cores
from curate.rankers.base import TIE_DECIMALS, Fit, PosteriorRanker, Ranking
from curate.rankers.ensemble import combine
from curate.rankers.registry import build, spec_of
from curate.votes.arrays import LEFT, RIGHT, VoteArrays
from curate.votes.coverage import component_labels, cover
from schemas.choices import HoldOut
from schemas.config import DenoiseConfig
from schemas.rankers import MethodName
from schemas.validation import CalibrationBin, MethodScore

BINS = 10
"""Of the calibration error, and of the reliability diagram."""
LEVEL_EDGES = (0.7, 0.9)
"""Probabilities of the likelier response between which votes are of one level: about 60, 80 and 95%."""
MAX_AT_ONCE = 1_000_000
"""Votes above which folds are fitted one after another, to save memory."""
LEVEL = 0.05
"""Significance level of the difference between two methods."""


@dataclass(frozen=True)
class HeldOut:
    """S decisive held-out votes, and the log odds of every method for them."""

    vote: Index
    """(S,) their positions among all votes."""
    left: Bool
    """(S,) whether left was chosen."""
    weight: Float
    """(S,) the votes' own, those of a K-wise ranking scaled down to K − 1 votes together."""
    fold: Index
    """(S,) the fold that each was held out with."""
    odds: dict[MethodName, Float]
    """(S,) log odds of left, given a decisive outcome, by each method fitted without the vote."""
    order: dict[MethodName, Float]
    """(S,) 1 where the method ranks left higher, −1 right, 0 equal: by its scores, also where these predict so badly
    that the odds are 0; by the odds for a ranker with a posterior, which may know the annotator."""
    slopes: dict[MethodName, float]
    """Log odds per unit of score, mean over folds; 1 for a ranker with a posterior, whose strengths are logits."""

    def loss(self, method: MethodName) -> Float:
        """Return the (S,) negative log probability of the chosen response, nats; lower is better."""
        loss: Float = -log_expit(np.where(self.left, 1, -1) * self.odds[method])
        return loss

    def correct(self, method: MethodName) -> Float:
        """Return (S,) 1 where the chosen response was ranked higher, 0.5 where both were ranked equal, else 0."""
        return (1 + np.where(self.left, 1, -1) * self.order[method]) / 2


def units(votes: VoteArrays, by: HoldOut) -> Index:
    """Return (V,) numbers 0 … U − 1: votes with the same number are held out together.

    by: "vote" each alone; "pair" all votes on the same two responses; "annotator" all votes of one annotator, anonymous
    ones each alone. The votes of a K-wise ranking always stay together, and so do units that share one.
    """
    count = len(votes.left)
    alone = np.arange(count)
    key = {
        "vote": alone,
        "pair": np.minimum(votes.left, votes.right).astype(np.int64) * len(votes.responses)
        + np.maximum(votes.left, votes.right),
        "annotator": np.where(votes.annotator >= 0, votes.annotator, len(votes.annotators) + alone),
    }[by]
    group = np.where(votes.group >= 0, votes.group, int(votes.group.max(initial=-1)) + 1 + alone)
    _, key = np.unique(key, return_inverse=True)
    _, group = np.unique(group, return_inverse=True)
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    nodes = count + int(key.max(initial=-1)) + 1  # groups first, then keys: a vote links its group to its key
    number = connected_components(coo_array((np.ones(count), (group, count + key)), shape=(nodes, nodes)))[1]
    found: Index = np.unique(number[group], return_inverse=True)[1]
    return found


def assign_folds(unit: Index, folds: int, rng: np.random.Generator) -> Index:
    """Return the (V,) fold, 0 … folds − 1, of each vote: a random balanced assignment of units. unit: (V,)."""
    _, unit = np.unique(unit, return_inverse=True)
    fold = rng.permutation(int(unit.max(initial=-1)) + 1) % folds
    return fold[unit]


def hold_out(
    votes: VoteArrays,
    unit: Index,
    config: DenoiseConfig,
    *,
    names: Sequence[str],
    folds: int,
    seed: int,
    progress: Callable[[str, int, int], None],
    engine: Engine | None = None,
) -> HeldOut:
    """Return every method's log odds for each decisive vote, fitted on the votes of the other folds.

    Folds are fitted by the workers of an engine; None: in threads. They share nothing but the votes, so that this does
    not change the result. No optimality is proven: only orders count here. names: the single rankers to compare; the
    ensemble is added where it has members among them. unit: (V,) as of ``units``, at least as many as folds. A vote is
    excluded where its training votes do not rank its prompt, or do not connect its two responses. Raises PartError for
    a fold whose worker died.
    """
    config = config.unproven
    rng = np.random.default_rng(seed)
    fold = assign_folds(unit, folds, rng)
    decisive = np.isin(votes.outcome, [LEFT, RIGHT])
    jobs = []
    for k in range(folds):  # random numbers are drawn in this order, whichever fold is fitted first
        train = np.flatnonzero(fold != k)
        jobs.append((train, np.flatnonzero((fold == k) & decisive), assign_folds(unit[train], folds, rng)))
    function = partial(_predict, votes, config, names)
    found = []
    parts = [Part(f"fold {k}", job) for k, job in enumerate(jobs, start=1)]
    with ThreadPoolExecutor(fitted_at_once(folds, votes)) as threads:
        results = map_parts(function, parts, engine=engine) if engine else threads.map(function, jobs)
        for k, result in enumerate(results):
            progress(f"fold {k + 1}", k, folds)
            found.append(result)
    vote = np.concatenate([one.vote for one in found])
    methods = list(found[0].odds)
    return HeldOut(
        vote=vote,
        left=votes.outcome[vote] == LEFT,
        weight=(votes.weight * votes.group_share)[vote],
        fold=fold[vote],
        odds={name: np.concatenate([one.odds[name] for one in found]) for name in methods},
        order={name: np.concatenate([one.order[name] for one in found]) for name in methods},
        slopes={name: float(np.mean([one.slopes[name] for one in found])) for name in found[0].slopes},
    )


def fitted_at_once(folds: int, votes: VoteArrays) -> int:
    """Return how many folds are fitted at once."""
    return min(folds, cores()) if len(votes.left) <= MAX_AT_ONCE else 1


def scores(held: HeldOut, cluster: Index) -> tuple[MethodScore, ...]:
    """Return every method's scores on the held-out votes, lowest log-loss first.

    cluster: (S,) votes with the same number are not independent.
    """
    cluster = np.unique(cluster, return_inverse=True)[1]
    losses = {name: held.loss(name) for name in held.odds}
    order = sorted(losses, key=lambda name: held.weight @ losses[name])
    freedom = len(np.unique(cluster)) - 1

    def score(name: MethodName) -> MethodScore:
        loss, loss_se = mean_and_error(losses[name], held.weight, cluster)
        accuracy, accuracy_se = mean_and_error(held.correct(name), held.weight, cluster)
        difference, error = mean_and_error(losses[name] - losses[order[0]], held.weight, cluster)
        significant = None if error is None else difference > error * float(stdtrit(freedom, 1 - LEVEL / 2))
        return MethodScore(
            method=name,
            log_loss=loss,
            log_loss_se=loss_se,
            accuracy=accuracy,
            accuracy_se=accuracy_se,
            calibration_error=calibration_error(held.odds[name], held.left, held.weight),
            log_loss_difference=difference,
            log_loss_difference_se=error,
            significant=None if name == order[0] else significant,
            calibration=calibration_bins(held.odds[name], held.left, held.weight, cluster),
            levels=calibration_levels(held.odds[name], held.left, held.weight, cluster),
        )

    return tuple(score(name) for name in order)


def mean_and_error(value: Float, weight: Float, cluster: Index) -> tuple[float, float | None]:
    """Return the weighted mean and its standard error, for independent clusters of dependent votes.

    The linearised variance of a ratio (Cochran, "Sampling Techniques", 1977, §11.8), C / (C − 1) · Σ (sum of a
    cluster's weighted deviations)² over the squared total weight; None for one cluster. value, weight: (S,). cluster:
    (S,) integers, 0 or above.
    """
    total = float(weight.sum())
    mean = float(weight @ value) / total
    count = np.count_nonzero(np.bincount(cluster))
    if count < 2:
        return mean, None
    sums = np.bincount(cluster, weights=weight * (value - mean))
    return mean, float(np.sqrt(count / (count - 1) * (sums @ sums))) / total


def calibration_error(odds: Float, left: Bool, weight: Float) -> float:
    """Return the ECE: the mean distance between probability and observed frequency of left over BINS bins.

    Bins have equal weight, sorted by probability (Naeini, Cooper and Hauskrecht, 2015). Sampling noise alone makes the
    value positive, the more the fewer votes. Every vote enters in both directions, so that it does not matter which
    response is named first (a ranking's winners always are).
    """
    odds, left, weight = np.r_[odds, -odds], np.r_[left, ~left], np.r_[weight, weight]
    order = np.argsort(odds, kind="stable")
    w = weight[order]
    quantile = (np.cumsum(w) - w / 2) / w.sum()  # in (0, 1)
    surplus = np.bincount((quantile * BINS).astype(np.int64), weights=w * (expit(odds[order]) - left[order]))
    return float(np.abs(surplus).sum() / w.sum())


def calibration_bins(odds: Float, left: Bool, weight: Float, cluster: Index) -> tuple[CalibrationBin, ...]:
    """Return the reliability diagram: votes sorted by probability of the likelier response, in BINS of equal weight.

    Probabilities are those of the response ranked higher, 0.5 and above; where both are equal, half of it was chosen.
    cluster: (S,) votes with the same number are not independent. Empty bins are omitted.
    """
    order = np.argsort(np.abs(odds), kind="stable")
    quantile = np.empty(len(odds))
    quantile[order] = (np.cumsum(weight[order]) - weight[order] / 2) / weight.sum()  # in (0, 1)
    return _calibration((quantile * BINS).astype(np.int64), odds, left, weight, cluster)


def calibration_levels(odds: Float, left: Bool, weight: Float, cluster: Index) -> tuple[CalibrationBin, ...]:
    """Return the same for the votes with probabilities about 60, 80 and 95%: between the LEVEL_EDGES."""
    return _calibration(np.digitize(expit(np.abs(odds)), LEVEL_EDGES), odds, left, weight, cluster)


def _calibration(bins: Index, odds: Float, left: Bool, weight: Float, cluster: Index) -> tuple[CalibrationBin, ...]:
    """Return mean probability and observed frequency in each bin. bins: (S,)."""
    probability = expit(np.abs(odds))
    chosen = np.where(odds == 0, 0.5, (odds > 0) == left)
    found = []
    for number in np.unique(bins):
        mine = bins == number
        observed, error = mean_and_error(chosen[mine], weight[mine], cluster[mine])
        mean, varies = float(np.average(probability[mine], weights=weight[mine])), 0 < observed < 1
        found.append(
            CalibrationBin(
                probability=mean, observed=observed, observed_se=error if varies else None, votes=int(mine.sum())
            )
        )
    return tuple(found)


def fit_slope(gap: Float, left: Bool, weight: Float) -> float:
    """Return the maximum-likelihood slope, at least 0, of log odds of left on the difference in score.

    One vote each way on a pair with the root-mean-square difference is added, so that the slope is finite where all
    votes agree with the scores. gap: (V,) score left − score right; left: (V,) whether left was chosen; weight: (V,).
    """
    size = float(np.sqrt(np.mean(gap**2))) if len(gap) else 0.0
    if size == 0:
        return 0.0
    agreeing = np.append(np.where(left, gap, -gap) / size, [1.0, -1.0])
    weight = np.append(weight, [1.0, 1.0])

    def gradient(slope: float) -> float:
        return float((weight * agreeing * expit(-slope * agreeing)).sum())

    if gradient(0.0) <= 0:
        return 0.0
    from scipy.optimize import brentq

    # x σ(−sx) < 0.28 / s for x > 0, and the two added votes contribute −tanh(s / 2): negative at any s above the sum
    return float(brentq(gradient, 0.0, 1.0 + weight.sum())) / size


@dataclass(frozen=True)
class _Fitted:
    """All methods fitted to some votes. R counts the responses of the prompts that these votes rank."""

    votes: VoteArrays
    used: Bool
    """(P,) of all prompts, those ranked."""
    component: Index
    """(all responses,)"""
    scores: dict[MethodName, Float]
    """(R,) higher is better, of each method without a posterior."""
    fits: dict[MethodName, Fit]

    def compares(self, votes: VoteArrays) -> Bool:
        """Return (V,) whether each of these votes is on two responses of one ranking."""
        together = self.component[votes.left] == self.component[votes.right]
        answer: Bool = self.used[votes.response_prompt[votes.left]] & together
        return answer

    def gap(self, name: MethodName, held: VoteArrays) -> Float:
        """Return (V,) score left − score right, exactly 0 where ranks are equal. held: numbered as ``votes``."""
        rounded = np.round(self.scores[name], TIE_DECIMALS)
        gap: Float = rounded[held.left] - rounded[held.right]
        return gap


def _fit(votes: VoteArrays, config: DenoiseConfig, names: Sequence[str], *, posteriors: bool) -> _Fitted:
    """Fit all methods to these votes; with a posterior only if ``posteriors``, or as members of the ensemble."""
    coverage = cover(votes, config)
    used = votes.of_prompts(coverage.used)
    rankings: dict[MethodName, Ranking] = {}
    fits: dict[MethodName, Fit] = {}
    for name in names:
        ranker = build(name, config)
        if not spec_of(name).has_posterior:
            rankings[name] = ranker(used)
        elif posteriors or name in config.members:
            fits[name] = cast("PosteriorRanker", ranker).fit(used)
            rankings[name] = fits[name].ranking(used)
    if members := [name for name in rankings if name in config.members]:
        group = component_labels(used, coverage.component[coverage.used[votes.response_prompt]])
        weights = [config.weights[name] for name in members]
        rankings["ensemble"] = combine(used, [rankings[name] for name in members], weights, group=group)
    stated = {name: found.scores for name, found in rankings.items() if name not in fits}
    return _Fitted(used, coverage.used, coverage.component, stated, fits)


class _Predicted(NamedTuple):
    """One fold of a HeldOut."""

    vote: Index
    odds: dict[MethodName, Float]
    order: dict[MethodName, Float]
    slopes: dict[MethodName, float]


def _predict(
    votes: VoteArrays, config: DenoiseConfig, names: Sequence[str], fold: tuple[Index, Index, Index]
) -> _Predicted:
    """Return the held votes that the training votes compare, and each method's log odds and order for them.

    fold: positions of the votes to train on, of those held out, and the part of each training vote: the slopes are
    fitted to the votes of part 0, by scores made from the other parts.
    """
    train, held, part = fold
    fitted = _fit(votes.of_votes(train), config, names, posteriors=True)
    held = held[fitted.compares(votes.of_votes(held))]
    held_votes = votes.of_votes(held).of_prompts(fitted.used)

    inner = _fit(votes.of_votes(train[part != 0]), config, names, posteriors=False)
    tuning = train[(part == 0) & np.isin(votes.outcome[train], [LEFT, RIGHT])]
    tuning = tuning[inner.compares(votes.of_votes(tuning))]
    tuning_votes = votes.of_votes(tuning).of_prompts(inner.used)
    weight = (votes.weight * votes.group_share)[tuning]

    gaps = {name: fitted.gap(name, held_votes) for name in fitted.scores}
    slopes = {name: fit_slope(inner.gap(name, tuning_votes), tuning_votes.outcome == LEFT, weight) for name in gaps}
    odds = {name: slopes[name] * gap for name, gap in gaps.items()}
    order: dict[MethodName, Float] = {name: np.sign(gap) for name, gap in gaps.items()}
    for name, fit in fitted.fits.items():
        odds[name] = fit.log_odds(held_votes)
        order[name] = np.sign(np.round(odds[name], TIE_DECIMALS))
        slopes[name] = 1.0
    return _Predicted(held, odds, order, slopes)
