"""Split-half reliability: how alike the orders are that two halves of the votes give, by each method.

It says how far an order would come out again with other voters, not how true it is: a method that always answers the
same is perfectly reliable. Nothing is shared between the halves, which each method sees apart; yet a method that pools
prompts (the joint model) draws both orders of a prompt towards the same means of models, and so agrees with itself more
than with the prompt's truth. What compares methods is their agreement with Bradley-Terry of the *other* half
(``Agreement.against_bt``): that reference knows only the other half's votes on the very prompt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.denoising.ranking import cover, group_of, members_of, rankers_of
from curate.evaluation.agreement import kendall_tau
from curate.evaluation.cross_validation import units
from curate.rankers import build, combine
from curate.rankers.base import average_ranks
from curate.votes.arrays import VoteArrays
from schemas.config import DenoiseConfig, MethodName, RankerName
from schemas.validation import SplitBy

COSTLY: tuple[RankerName, ...] = ("feedback-arc-set", "weighted-feedback-arc-set", "crowd-bt")
"""They take longer than all others together, and are run (twice a split) only where the config ranks by them."""
REFERENCE: RankerName = "bradley-terry"
"""It pools neither prompts nor annotators, and is always at hand."""
LARGEST = 2 / 3
"""Share of a prompt's votes that one annotator may have cast, where annotators are to be kept whole."""

Bool = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Agreement:
    """Between the orders of two halves, mean over splits; NaN for a prompt that no split let both halves rank."""

    tau: Float
    """(P,) Kendall's tau-b."""
    rho: Float
    """(P,) Spearman's rank correlation."""
    against_bt: Float
    """(P,) Kendall's tau-b to Bradley-Terry of the other half, mean of both ways round."""


@dataclass(frozen=True)
class SplitHalf:
    """What S random splits say of P prompts."""

    by: SplitBy
    """What no split divides."""
    methods: dict[MethodName, Agreement]
    """All on the same prompts, splits and pairs."""


def split_half(
    votes: VoteArrays, config: DenoiseConfig, *, splits: int, seed: int, progress: Callable[[str, int, int], None]
) -> SplitHalf:
    """The agreement of every method's two orders: all but the COSTLY ones that the config does not rank by.

    Compared are responses that the votes of each half connect; a prompt in several such components counts by their
    mean, weighted by pairs. A component where any method holds all responses equal in a half is left out.
    """
    names = methods_of(votes, config)
    unit, by = split_units(votes)
    prompt = votes.response_prompt[votes.left]
    rng = np.random.default_rng(seed)
    times = np.zeros(len(votes.prompts))
    total: dict[MethodName, Float] = {}
    for k in range(splits):
        progress(f"split {k + 1}", k, splits)
        second = halve(unit, prompt, rng)
        one, two = (_rank(votes.of_votes(part), config, names) for part in (~second, second))
        compared, found = _compare(votes, one, two)
        times += compared
        for name, values in found.items():
            total[name] = total.get(name, 0) + values
    mean = {name: np.where(times > 0, sums / np.maximum(times, 1), np.nan) for name, sums in total.items()}
    return SplitHalf(by, {name: Agreement(*values) for name, values in mean.items()})


def methods_of(votes: VoteArrays, config: DenoiseConfig) -> list[RankerName]:
    """The single rankers to ask."""
    asked = {config.ranker}
    if config.ranker == "ensemble":
        asked |= {name for name, weight in config.weights.items() if weight > 0}
    return [name for name in rankers_of(votes, config) if name not in COSTLY or name in asked]


def split_units(votes: VoteArrays) -> tuple[Int, SplitBy]:
    """(V,) 0 … U − 1: votes with the same number go into the same half; and what they share.

    All votes of an annotator, so that no habit is in both halves; anonymous ones alone. Where in most prompts one
    annotator cast more than two thirds of the votes, so that the other half would hardly rank them, each vote alone
    instead. The votes of a K-wise ranking always stay together.
    """
    unit = units(votes, "annotator")
    prompt = votes.response_prompt[votes.left].astype(np.int64)
    cell, count = np.unique(prompt * len(unit) + unit, return_counts=True)
    share = np.zeros(len(votes.prompts))  # of the votes on a prompt, those of its busiest annotator
    np.maximum.at(share, cell // len(unit), count / np.bincount(prompt)[cell // len(unit)])
    divided = float(np.median(share[np.unique(prompt)])) <= LARGEST
    if divided and (votes.annotator >= 0).any():
        return unit, "annotator"
    return units(votes, "vote"), "vote"


def halve(unit: Int, prompt: npt.NDArray[np.int32], rng: np.random.Generator) -> Bool:
    """(V,) whether each vote is in the second half.

    Units of like size, of one prompt as far as possible, stand in pairs, and a coin says which of the two goes where:
    so the halves differ by no more votes than the largest unit has. unit: (V,) 0 … U − 1. prompt: (V,).
    """
    _, first, size = np.unique(unit, return_index=True, return_counts=True)
    order = np.lexsort((rng.random(len(size)), prompt[first], -size))
    place = np.arange(len(size))
    coin = rng.integers(0, 2, len(size) // 2 + 1)
    second = np.zeros(len(size), dtype=np.bool_)
    second[order] = (place + coin[place // 2]) % 2 == 1
    return second[unit]


def spearman(a: Float, b: Float, offsets: Int) -> Float:
    """(P,) Spearman's rank correlation of two scores, equals at their mean rank; NaN where either ranks all equal.

    a, b: (R,) scores; equal to 9 decimals is a tie. offsets: (P + 1,) the first response of each prompt.
    """
    size = np.diff(offsets)
    group = np.repeat(np.arange(len(size)), size)
    x, y = (average_ranks(scores, group) - (size[group] + 1) / 2 for scores in (a, b))
    xy, xx, yy = (np.bincount(group, product, len(size)) for product in (x * y, x * x, y * y))
    spread = np.sqrt(xx * yy)
    rho: Float = np.where(spread > 0, xy / np.where(spread > 0, spread, 1.0), np.nan)
    return rho


def step_up(rho: float) -> float:
    """Reliability of the whole from the correlation of its halves, 2ρ / (1 + ρ); meant for ρ from 0 to 1.

    Spearman, "Correlation calculated from faulty data", 1910; Brown, "Some experimental results in the correlation of
    mental abilities", 1910. Exact for scores whose errors are independent and halve in variance with twice the votes;
    close to it for Bradley-Terry's ranks; too high for methods that pool prompts, which know much from elsewhere.

    >>> round(step_up(0.6), 6)
    0.75
    """
    return 2 * rho / (1 + rho)


@dataclass(frozen=True)
class _Half:
    """What the methods make of half of the votes."""

    used: Bool
    """(P,) prompts that they rank."""
    component: Int
    """(R,)"""
    scores: dict[MethodName, Float]
    """(R,) higher is better; 0 on prompts that are not ranked."""


def _rank(votes: VoteArrays, config: DenoiseConfig, names: list[RankerName]) -> _Half:
    coverage = cover(votes, config)
    used = votes.of_prompts(coverage.used)
    ranked = coverage.used[votes.response_prompt]
    rankings = {name: build(name, config)(used) for name in names}
    scores: dict[MethodName, Float] = {name: ranking.scores for name, ranking in rankings.items()}
    members = members_of(config, names)
    if members and len(members) == sum(weight > 0 for weight in config.weights.values()):
        group = group_of(used, coverage.component[ranked])
        weights = [config.weights[name] for name in members]
        scores["ensemble"] = combine(used, [rankings[name] for name in members], weights, group=group).scores
    everywhere = {name: np.zeros(len(votes.responses)) for name in scores}
    for name, of_used in scores.items():
        everywhere[name][ranked] = of_used
    return _Half(coverage.used, coverage.component, everywhere)


def _compare(votes: VoteArrays, one: _Half, two: _Half) -> tuple[Bool, dict[MethodName, Float]]:
    """(P,) prompts on which all methods can be compared, and (3, P) tau, rho and against_bt of each; 0 elsewhere."""
    prompt = votes.response_prompt.astype(np.int64)
    member = np.flatnonzero((one.used & two.used)[prompt])
    wide = int(max(one.component.max(initial=0), two.component.max(initial=0))) + 1
    label = (prompt[member] * wide + one.component[member]) * wide + two.component[member]
    order = member[np.argsort(label, kind="stable")]  # responses that both halves connect stand together: C blocks
    _, first, size = np.unique(np.sort(label), return_index=True, return_counts=True)
    offsets = np.append(first, len(order))
    home, pairs = prompt[order][first], size * (size - 1) / 2

    def of(name: MethodName) -> Float:
        """(3, C)"""
        a, b = one.scores[name][order], two.scores[name][order]
        other_b, other_a = two.scores[REFERENCE][order], one.scores[REFERENCE][order]
        against = (kendall_tau(a, other_b, offsets) + kendall_tau(b, other_a, offsets)) / 2
        return np.stack([kendall_tau(a, b, offsets), spearman(a, b, offsets), against])

    found = {name: of(name) for name in one.scores}
    clear = ~np.isnan(np.concatenate(list(found.values()))).any(axis=0)
    weight = np.bincount(home[clear], pairs[clear], len(votes.prompts))
    means = {
        name: np.stack([np.bincount(home[clear], (pairs * row)[clear], len(weight)) for row in values])
        / np.where(weight > 0, weight, 1.0)
        for name, values in found.items()
    }
    return weight > 0, means
