"""Split-half reliability: the agreement of the orders that two halves of the votes give, by each method.

It measures how far an order would be reproduced with other annotators, not how true it is: a method that always returns
the same order is perfectly reliable. The halves share no votes, and each method is fitted to each half alone; yet a
method that pools prompts (the hierarchical ranker) shrinks both orders of a prompt towards the same model means, and so
agrees with itself more than with the prompt's true order. To compare methods, use their agreement with Bradley-Terry of
the *other* half (``Agreement.against_bt``): that reference knows only the other half's votes on the same prompt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from curate.array_types import Bool, Float, Index, Int32
from curate.evaluation.agreement import kendall_tau
from curate.evaluation.cross_validation import units
from curate.rankers.base import average_ranks
from curate.rankers.ensemble import combine
from curate.rankers.registry import REFERENCE, build, compared_rankers
from curate.votes.arrays import VoteArrays
from curate.votes.coverage import component_labels, cover
from schemas.config import DenoiseConfig
from schemas.rankers import MethodName
from schemas.validation import SplitBy

MAX_COST = 10.0
"""Rankers with a higher ``relative_cost`` are run (twice per split) only where the config ranks by them."""
LARGEST_SHARE = 2 / 3
"""Of a prompt's votes that one annotator may have cast, where annotators are kept whole."""


@dataclass(frozen=True)
class Agreement:
    """Between the orders of two halves, mean over splits; NaN for a prompt that no split let both halves rank."""

    tau: Float
    """(P,) Kendall's tau-b."""
    rho: Float
    """Return (P,) Spearman's rank correlation."""
    against_bt: Float
    """(P,) Kendall's tau-b to Bradley-Terry of the other half, mean of both directions."""


@dataclass(frozen=True)
class SplitHalf:
    """The agreement of halves over S random splits of the votes on P prompts."""

    by: SplitBy
    """The unit that no split divides."""
    methods: dict[MethodName, Agreement]
    """All on the same prompts, splits and pairs."""


def split_half(
    votes: VoteArrays, config: DenoiseConfig, *, splits: int, seed: int, progress: Callable[[str, int, int], None]
) -> SplitHalf:
    """Return the agreement of every method's two orders, except costly ones that the config does not rank by.

    Responses are compared where the votes of each half connect them; a prompt in several such components counts by
    their mean, weighted by pairs. A component where any method ranks all responses equal in a half is excluded.
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


def methods_of(votes: VoteArrays, config: DenoiseConfig) -> list[str]:
    """Return the single rankers to compare."""
    if config.ranker != "ensemble":
        config = config.model_copy(update={"weights": {}})
    return compared_rankers(config, annotators=bool(votes.annotators), models=bool(votes.models), max_cost=MAX_COST)


def split_units(votes: VoteArrays) -> tuple[Index, SplitBy]:
    """Return (V,) numbers 0 … U − 1: votes with the same number go into the same half; and the unit that they share.

    All votes of an annotator stay together, so that no annotator is in both halves; anonymous votes are alone. Where in
    most prompts one annotator cast more than two thirds of the votes, so that the other half would hardly rank them,
    each vote is alone instead. The votes of a K-wise ranking always stay together.
    """
    unit = units(votes, "annotator")
    prompt = votes.response_prompt[votes.left].astype(np.int64)
    cell, count = np.unique(prompt * len(unit) + unit, return_counts=True)
    share = np.zeros(len(votes.prompts))  # of the votes on a prompt, those of its most active annotator
    np.maximum.at(share, cell // len(unit), count / np.bincount(prompt)[cell // len(unit)])
    divided = float(np.median(share[np.unique(prompt)])) <= LARGEST_SHARE
    if divided and (votes.annotator >= 0).any():
        return unit, "annotator"
    return units(votes, "vote"), "vote"


def halve(unit: Index, prompt: Int32, rng: np.random.Generator) -> Bool:
    """Return (V,) whether each vote is in the second half.

    Units of similar size, of one prompt as far as possible, form pairs, and one random unit of each pair goes to the
    second half: so the halves differ by no more votes than the largest unit has. unit: (V,) 0 … U − 1. prompt: (V,).
    """
    _, first, size = np.unique(unit, return_index=True, return_counts=True)
    order = np.lexsort((rng.random(len(size)), prompt[first], -size))
    place = np.arange(len(size))
    coin = rng.integers(0, 2, len(size) // 2 + 1)
    second = np.zeros(len(size), dtype=np.bool_)
    second[order] = (place + coin[place // 2]) % 2 == 1
    return second[unit]


def spearman(a: Float, b: Float, offsets: Index) -> Float:
    """Return (P,) Spearman's rank correlation of two scores, ties at their mean rank; NaN where either ranks all equal.

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
    """Return the reliability of the whole from the correlation of its halves, 2ρ / (1 + ρ); for ρ from 0 to 1.

    Spearman, "Correlation calculated from faulty data", 1910; Brown, "Some experimental results in the correlation of
    mental abilities", 1910. Exact for scores whose errors are independent and halve in variance with twice the votes;
    close to it for Bradley-Terry's ranks; too high for methods that pool prompts.

    >>> round(step_up(0.6), 6)
    0.75
    """
    return 2 * rho / (1 + rho)


@dataclass(frozen=True)
class _Half:
    """All methods fitted to half of the votes."""

    used: Bool
    """(P,) prompts that are ranked."""
    component: Index
    """(R,)"""
    scores: dict[MethodName, Float]
    """(R,) higher is better; 0 on prompts that are not ranked."""


def _rank(votes: VoteArrays, config: DenoiseConfig, names: list[str]) -> _Half:
    coverage = cover(votes, config)
    used = votes.of_prompts(coverage.used)
    ranked = coverage.used[votes.response_prompt]
    rankings = {name: build(name, config)(used) for name in names}
    scores: dict[MethodName, Float] = {name: ranking.scores for name, ranking in rankings.items()}
    members = config.members
    if members and set(members) <= set(names):
        group = component_labels(used, coverage.component[ranked])
        combined = combine(used, [rankings[name] for name in members], list(members.values()), group=group)
        scores["ensemble"] = combined.scores
    everywhere = {name: np.zeros(len(votes.responses)) for name in scores}
    for name, of_used in scores.items():
        everywhere[name][ranked] = of_used
    return _Half(coverage.used, coverage.component, everywhere)


def _compare(votes: VoteArrays, one: _Half, two: _Half) -> tuple[Bool, dict[MethodName, Float]]:
    """Return (P,) whether all methods can be compared, and (3, P) tau, rho and against_bt of each; 0 elsewhere."""
    prompt = votes.response_prompt.astype(np.int64)
    member = np.flatnonzero((one.used & two.used)[prompt])
    wide = int(max(one.component.max(initial=0), two.component.max(initial=0))) + 1
    label = (prompt[member] * wide + one.component[member]) * wide + two.component[member]
    order = member[np.argsort(label, kind="stable")]  # responses that both halves connect form C blocks
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
