"""Cross-validation of rankers: votes held out in whole units, and the log odds that each method gives to them.

The joint model states its own chances. All other methods state only scores: a gap in score becomes log odds by one
slope, fitted by maximum likelihood to votes that the scores had not seen (a part of the training votes, held out once
more), since scores always agree too well with the votes they were made from. No method sees a held-out vote.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.special import expit, log_expit, stdtrit

from curate.denoising.ranking import cover, group_of, rankers_of
from curate.evaluation.log_odds import fit_slope, joint_odds
from curate.rankers import Hierarchical, Ranking, build, combine
from curate.rankers.base import TIE_DECIMALS
from curate.rankers.hierarchical import HierarchicalFit
from curate.votes.arrays import LEFT, RIGHT, VoteArrays
from schemas.config import DenoiseConfig, MethodName, RankerName
from schemas.validation import CalibrationBin, HoldOut, MethodScore

BINS = 10
"""Of the calibration error, and of the reliability diagram."""
LEVEL = 0.05
"""Two methods are told apart where a difference as large has less than this chance between equals."""

Bool = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]


@dataclass(frozen=True)
class HeldOut:
    """S decisive held-out votes on which every method was asked."""

    vote: Int
    """(S,) their places among all votes."""
    left: Bool
    """(S,) whether left was chosen."""
    weight: Float
    """(S,) the votes' own, those of a K-wise ranking scaled down to K − 1 votes together."""
    fold: Int
    """(S,) the fold that each was held out with."""
    odds: dict[MethodName, Float]
    """(S,) log odds of left, given that the vote is decisive, as each method says without having seen the vote."""
    order: dict[MethodName, Float]
    """(S,) 1 where the method holds left to be better, −1 right, 0 equal: of its scores, also where these speak so
    wrongly of other votes that its odds are 0; of the odds for the joint model, which knows the annotator."""
    slopes: dict[RankerName, float]
    """Log odds by unit of score, mean over folds; 1 for the joint model, whose strengths are logits."""

    def loss(self, method: MethodName) -> Float:
        """(S,) −log of the chance given to what was chosen, nats; lower is better."""
        loss: Float = -log_expit(np.where(self.left, 1, -1) * self.odds[method])
        return loss

    def hit(self, method: MethodName) -> Float:
        """(S,) 1 where the choice was held to be better, 0.5 where both were held equal, else 0."""
        return (1 + np.where(self.left, 1, -1) * self.order[method]) / 2


def units(votes: VoteArrays, by: HoldOut) -> Int:
    """(V,) 0 … U − 1: votes with the same number are held out together.

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
    nodes = count + int(key.max(initial=-1)) + 1  # groups first, then keys: a vote ties its group to its key
    number = connected_components(coo_array((np.ones(count), (group, count + key)), shape=(nodes, nodes)))[1]
    found: Int = np.unique(number[group], return_inverse=True)[1]
    return found


def deal(unit: Int, folds: int, rng: np.random.Generator) -> Int:
    """(V,) the fold, 0 … folds − 1, of each vote: units shuffled and dealt like cards. unit: (V,)."""
    _, unit = np.unique(unit, return_inverse=True)
    hand = rng.permutation(int(unit.max(initial=-1)) + 1) % folds
    return hand[unit]


def hold_out(
    votes: VoteArrays,
    unit: Int,
    config: DenoiseConfig,
    *,
    folds: int,
    seed: int,
    leave_out: Collection[RankerName] = (),
    progress: Callable[[str, int, int], None],
) -> HeldOut:
    """Every method's log odds for each decisive vote, from the votes of the other folds; but for those to leave out.

    unit: (V,) as of ``units``, at least as many as folds. A vote is left out where its training votes do not rank its
    prompt, or do not connect its two responses.
    """
    rng = np.random.default_rng(seed)
    fold = deal(unit, folds, rng)
    decisive = np.isin(votes.outcome, [LEFT, RIGHT])
    answers = []
    for k in range(folds):
        progress(f"fold {k + 1}", k, folds)
        train = np.flatnonzero(fold != k)
        part = deal(unit[train], folds, rng)
        answers.append(_answers(votes, train, np.flatnonzero((fold == k) & decisive), part, config, leave_out))
    vote = np.concatenate([answer.vote for answer in answers])
    names = list(answers[0].odds)
    return HeldOut(
        vote=vote,
        left=votes.outcome[vote] == LEFT,
        weight=(votes.weight * votes.group_share)[vote],
        fold=fold[vote],
        odds={name: np.concatenate([answer.odds[name] for answer in answers]) for name in names},
        order={name: np.concatenate([answer.order[name] for answer in answers]) for name in names},
        slopes={name: float(np.mean([answer.slopes[name] for answer in answers])) for name in answers[0].slopes},
    )


def scores(held: HeldOut, cluster: Int) -> tuple[MethodScore, ...]:
    """Every method on the held-out votes, lowest log-loss first. cluster: (S,) votes of one are not independent."""
    losses = {name: held.loss(name) for name in held.odds}
    order = sorted(losses, key=lambda name: mean_and_error(losses[name], held.weight, cluster)[0])
    freedom = len(np.unique(cluster)) - 1

    def score(name: MethodName) -> MethodScore:
        loss, loss_se = mean_and_error(losses[name], held.weight, cluster)
        accuracy, accuracy_se = mean_and_error(held.hit(name), held.weight, cluster)
        behind, behind_se = mean_and_error(losses[name] - losses[order[0]], held.weight, cluster)
        apart = None if behind_se is None else behind > behind_se * float(stdtrit(freedom, 1 - LEVEL / 2))
        return MethodScore(
            method=name,
            log_loss=loss,
            log_loss_se=loss_se,
            accuracy=accuracy,
            accuracy_se=accuracy_se,
            calibration_error=calibration_error(held.odds[name], held.left, held.weight),
            behind=behind,
            behind_se=behind_se,
            told_apart=None if name == order[0] else apart,
            calibration=calibration_bins(held.odds[name], held.left, held.weight, cluster),
        )

    return tuple(score(name) for name in order)


def mean_and_error(value: Float, weight: Float, cluster: Int) -> tuple[float, float | None]:
    """The weighted mean and its standard error, which holds clusters to be independent, not the votes within one.

    The linearised variance of a ratio (Cochran, "Sampling Techniques", 1977, §11.8), C / (C − 1) · Σ (sum of a
    cluster's weighted deviations)² over the squared total weight; None for one cluster. All three are (S,).
    """
    total = float(weight.sum())
    mean = float(weight @ value) / total
    _, cluster = np.unique(cluster, return_inverse=True)
    sums = np.bincount(cluster, weights=weight * (value - mean))
    if len(sums) < 2:
        return mean, None
    return mean, float(np.sqrt(len(sums) / (len(sums) - 1) * (sums @ sums))) / total


def calibration_error(odds: Float, left: Bool, weight: Float) -> float:
    """ECE: the mean distance between chance and share of left over BINS bins of equal weight, sorted by chance.

    Naeini, Cooper and Hauskrecht, 2015, with equal-count bins. Above 0 by chance alone, the more the fewer votes. Every
    vote enters both ways round: which response is named first must not count (a ranking's winners always are).
    """
    odds, left, weight = np.r_[odds, -odds], np.r_[left, ~left], np.r_[weight, weight]
    order = np.argsort(odds, kind="stable")
    w = weight[order]
    place = (np.cumsum(w) - w / 2) / w.sum()  # in (0, 1)
    surplus = np.bincount((place * BINS).astype(np.int64), weights=w * (expit(odds[order]) - left[order]))
    return float(np.abs(surplus).sum() / w.sum())


def calibration_bins(odds: Float, left: Bool, weight: Float, cluster: Int) -> tuple[CalibrationBin, ...]:
    """The reliability diagram: votes sorted by the chance given to the likelier response, in BINS of equal weight.

    Each vote is seen from the side of the response held to be better, so that chances are 0.5 and above; where neither
    is, half of it was chosen. cluster: (S,) votes of one are not independent. Empty bins are left out.
    """
    chance = expit(np.abs(odds))
    chosen = np.where(odds == 0, 0.5, (odds > 0) == left)
    order = np.argsort(chance, kind="stable")
    place = np.empty(len(odds))
    place[order] = (np.cumsum(weight[order]) - weight[order] / 2) / weight.sum()  # in (0, 1)
    bins = (place * BINS).astype(np.int64)
    found = []
    for number in np.unique(bins):
        mine = bins == number
        share, error = mean_and_error(chosen[mine], weight[mine], cluster[mine])
        mean = float(np.average(chance[mine], weights=weight[mine]))
        found.append(CalibrationBin(chance=mean, share=share, share_se=error, votes=int(mine.sum())))
    return tuple(found)


@dataclass(frozen=True)
class _Fitted:
    """What the methods make of some votes. R counts the responses of the prompts that these votes rank."""

    votes: VoteArrays
    used: Bool
    """(P,) of all prompts, those ranked."""
    component: Int
    """(all responses,)"""
    scores: dict[RankerName, Float]
    """(R,) higher is better, of each method that states no chances."""
    joint: HierarchicalFit | None

    def compares(self, votes: VoteArrays) -> Bool:
        """(V,) whether each of these votes is on two responses of one ranking."""
        together = self.component[votes.left] == self.component[votes.right]
        answer: Bool = self.used[votes.response_prompt[votes.left]] & together
        return answer

    def gap(self, name: RankerName, held: VoteArrays) -> Float:
        """(V,) score left − score right, exactly 0 where ranks are equal. held: numbered as ``votes``."""
        scores = np.round(self.scores[name], TIE_DECIMALS)
        gap: Float = scores[held.left] - scores[held.right]
        return gap


def _fit(votes: VoteArrays, config: DenoiseConfig, leave_out: Collection[RankerName], *, joint: bool) -> _Fitted:
    """All methods on these votes; the joint model, which costs most, where asked for or a member of the ensemble."""
    coverage = cover(votes, config)
    used = votes.of_prompts(coverage.used)
    rankings: dict[RankerName, Ranking] = {}
    fit = None
    for name in rankers_of(votes, config):
        if name in leave_out:
            continue
        ranker = build(name, config)
        if not isinstance(ranker, Hierarchical):
            rankings[name] = ranker(used)
        elif joint or config.weights.get(name, 0) > 0:
            fit = ranker.fit(used)
            rankings[name] = fit.ranking(used)
    if members := [name for name in rankings if config.weights.get(name, 0) > 0]:
        group = group_of(used, coverage.component[coverage.used[votes.response_prompt]])
        weights = [config.weights[name] for name in members]
        rankings["ensemble"] = combine(used, [rankings[name] for name in members], weights, group=group)
    stated: dict[RankerName, Float] = {name: found.scores for name, found in rankings.items() if name != "joint"}
    return _Fitted(used, coverage.used, coverage.component, stated, fit)


class _Answers(NamedTuple):
    """One fold of a HeldOut."""

    vote: Int
    odds: dict[MethodName, Float]
    order: dict[MethodName, Float]
    slopes: dict[RankerName, float]


def _answers(
    votes: VoteArrays, train: Int, held: Int, part: Int, config: DenoiseConfig, leave_out: Collection[RankerName]
) -> _Answers:
    """The held votes that the training votes compare, and each method's log odds and order for them.

    train, held: places of votes. part: (train,) those of part 0 are for the slopes, which are fitted to them by the
    scores of the others.
    """
    fitted = _fit(votes.of_votes(train), config, leave_out, joint=True)
    assert fitted.joint is not None
    held = held[fitted.compares(votes.of_votes(held))]
    asked = votes.of_votes(held).of_prompts(fitted.used)

    inner = _fit(votes.of_votes(train[part != 0]), config, leave_out, joint=False)
    tuning = train[(part == 0) & np.isin(votes.outcome[train], [LEFT, RIGHT])]
    tuning = tuning[inner.compares(votes.of_votes(tuning))]
    shown = votes.of_votes(tuning).of_prompts(inner.used)
    weight = (votes.weight * votes.group_share)[tuning]

    gaps = {name: fitted.gap(name, asked) for name in fitted.scores}
    slopes = {name: fit_slope(inner.gap(name, shown), shown.outcome == LEFT, weight) for name in gaps}
    odds: dict[MethodName, Float] = {name: slopes[name] * gap for name, gap in gaps.items()}
    odds["joint"] = joint_odds(fitted.joint, fitted.votes, asked, config.joint.ties)
    order: dict[MethodName, Float] = {name: np.sign(gap) for name, gap in gaps.items()}
    order["joint"] = np.sign(np.round(odds["joint"], TIE_DECIMALS))
    return _Answers(held, odds, order, {**slopes, "joint": 1.0})
