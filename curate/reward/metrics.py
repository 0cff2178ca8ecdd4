"""How well scores order responses: top-1, pairs, tau, calibration, standard errors, paired tests of two models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from curate.reward.data import Example
from schemas.errors import CurateError
from schemas.reward import ComparisonRow, EvaluationReport, EvaluationRow, OfficialFigure

Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
Scores = Sequence[npt.ArrayLike]
"""I items, each (N,) scores of its responses, higher is better; N may differ between items."""
Ranks = Sequence[Sequence[int]]
"""I items, each (N,) ranks; 1 is best, equal responses share a rank."""

BINS = 10
"""Most bins of the calibration error."""
FLIPS = 10_000
"""Random exchanges of two models behind a p-value."""


@dataclass(frozen=True)
class Mean:
    """A weighted mean over I items, times a share: one term of a figure."""

    values: Float
    """(I,) values; ignored where the weight is 0."""
    weights: Float
    """(I,) at least 0."""
    share: float = 1.0


Figure = tuple[Mean, ...]
"""The sum of its terms: one for a mean over items, one per category for a macro average; NaN if a term has no items."""
Metric = Callable[[Sequence[Example], Scores], dict[str, Figure]]
"""Examples and their (N,) scores, higher is better, to the official figures of a benchmark by name; shares, 0 to 1. The
weights of a figure depend on the examples only, so that two models can be compared."""


@dataclass(frozen=True)
class Estimate:
    """A figure and its standard error; NaN without data."""

    value: float
    se: float
    """NaN with fewer than two clusters."""
    items: int
    """Items of positive weight in any term."""
    clusters: int


def top1(scores: Scores, ranks: Ranks) -> Float:
    """(I,) share of the highest-scored responses that have the best rank: 0 or 1, or between where scores tie."""
    hits = np.empty(len(scores))
    for rows, score, rank in _batches(scores, ranks):
        highest = score == score.max(axis=1, keepdims=True)
        hits[rows] = (highest & _best(rank)).sum(axis=1) / highest.sum(axis=1)
    return hits


def chance_level(ranks: Ranks) -> Float:
    """(I,) expected ``top1`` of random guessing: the share of responses that have the best rank."""
    return top1([np.zeros(len(rank)) for rank in ranks], ranks)


def pairwise(scores: Scores, ranks: Ranks) -> tuple[Float, Index]:
    """(I,) correctly ordered pairs and (I,) pairs with different ranks; a pair of equal scores counts half.

    Their quotient is the accuracy of an item; the quotient of their sums is the pooled accuracy.
    """
    right, pairs = np.empty(len(scores)), np.empty(len(scores), dtype=np.int64)
    for rows, score, rank in _batches(scores, ranks):
        ahead, better = _signs(score), _signs(-rank)
        pairs[rows] = (better != 0).sum(axis=(1, 2)) // 2
        right[rows] = (pairs[rows] + (ahead * better).sum(axis=(1, 2)) / 2) / 2
    return right, pairs


def kendall(scores: Scores, ranks: Ranks) -> Float:
    """(I,) Kendall's tau-b of scores and ranks; 1 is the same order; NaN where either consists of ties only.

    Concordant minus discordant pairs, divided by the geometric mean of the numbers of untied pairs (Kendall, 1945).
    """
    tau = np.empty(len(scores))
    for rows, score, rank in _batches(scores, ranks):
        ahead, better = _signs(score), _signs(-rank)
        untied = (ahead != 0).sum(axis=(1, 2)) * (better != 0).sum(axis=(1, 2))
        together = (ahead * better).sum(axis=(1, 2))
        tau[rows] = np.where(untied > 0, together / np.sqrt(np.maximum(untied, 1)), np.nan)
    return tau


@dataclass(frozen=True)
class Confidences:
    """Softmax probabilities of the best response of each item; NaN where the best rank is shared."""

    top: Float
    """(I,) highest probability."""
    hit: Float
    """(I,) ``top1`` of each item."""
    nll: Float
    """(I,) negative log probability of the best response, nats; lower is better."""
    brier: Float
    """(I,) squared distance of the probabilities from the one-hot best response, 0 to 2; lower is better."""

    def calibration_error(self, bins: int = BINS) -> tuple[float, int]:
        """Expected calibration error over bins of equal mass, and the number of bins (at most one per item).

        Not debiased: with few items per bin it is above 0 for a calibrated scorer too (Roelofs et al., 2022). Items of
        equal confidence share the mean of their hits, so that the order of the items does not matter.
        """
        known = np.isfinite(self.top)
        top, hit = self.top[known], self.hit[known]
        if len(top) == 0:
            return np.nan, 0
        levels, level = np.unique(top, return_inverse=True)
        shared = np.bincount(level, hit) / np.bincount(level)
        order = np.sort(level)
        gaps = np.array_split(levels[order] - shared[order], min(bins, len(top)))
        return float(sum(abs(gap.sum()) for gap in gaps) / len(top)), len(gaps)


def confidences(scores: Scores, ranks: Ranks) -> Confidences:
    """Softmax probabilities of each item's best response, with the scores as logits."""
    top, nll, brier = (np.full(len(scores), np.nan) for _ in range(3))
    for rows, score, rank in _batches(scores, ranks):
        log = score - score.max(axis=1, keepdims=True)
        log -= np.log(np.exp(log).sum(axis=1, keepdims=True))
        best = _best(rank)
        single = best.sum(axis=1) == 1
        one = rows[single]
        top[one] = np.exp(log[single].max(axis=1))
        nll[one] = -log[single][best[single]]
        brier[one] = ((np.exp(log[single]) - best[single]) ** 2).sum(axis=1)
    hit = np.where(np.isfinite(top), top1(scores, ranks), np.nan)
    return Confidences(top, hit, nll, brier)


def winner_changes(orders: Sequence[npt.ArrayLike]) -> Float:
    """(I,) 1 where the winner differs between K orders, else 0. orders: I items, each (K, N) in original columns."""
    winners = [np.asarray(scores).argmax(axis=1) for scores in orders]
    return np.array([float((own != own[0]).any()) for own in winners])


def score_differences(orders: Sequence[npt.ArrayLike]) -> Float:
    """(I,) mean absolute difference of a score between two of K ≥ 2 orders. orders: I items, each (K, N)."""
    means = np.empty(len(orders))
    for item, scores in enumerate(orders):
        ordered = np.sort(np.asarray(scores, dtype=np.float64), axis=0)
        k = len(ordered)
        # Sorted, x[i] is the larger one in i pairs and the smaller one in k − 1 − i pairs.
        times = 2 * np.arange(k) - (k - 1)
        means[item] = (times @ ordered).mean() / (k * (k - 1) / 2)
    return means


def mean(values: Float, weights: npt.ArrayLike | None = None) -> Figure:
    """The figure that is one mean. values, weights: (I,); None: equal weights."""
    return (Mean(values, np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)),)


def average(figures: Sequence[Figure]) -> Figure:
    """The unweighted mean of figures, as of categories in a macro average."""
    return tuple(replace(term, share=term.share / len(figures)) for figure in figures for term in figure)


def clustered(figure: Figure, clusters: npt.ArrayLike) -> Estimate:
    """The value of a figure and its cluster-robust standard error. clusters: (I,) names or numbers.

    The sandwich estimate of residuals from the mean of each term, summed by cluster, times G / (G − 1) for G clusters
    (Miller, 2024, "Adding error bars to evals"; Cameron and Miller, 2015). The items of each term are taken as fixed.
    """
    if not all(term.weights.any() for term in figure):
        return Estimate(np.nan, np.nan, 0, 0)
    used = np.any([term.weights > 0 for term in figure], axis=0)
    index = np.unique(np.asarray(clusters), return_inverse=True)[1]
    count = len(np.unique(index[used]))
    value, residuals = _by_cluster(figure, index).sum(), _by_cluster(figure, index, centered=True)
    se = np.sqrt(count / (count - 1) * (residuals**2).sum()) if count > 1 else np.nan
    return Estimate(float(value), float(se), int(used.sum()), count)


def _by_cluster(figure: Figure, index: Index, *, centered: bool = False) -> Float:
    """(G,) what each cluster adds to the figure; centered: to the deviation from the mean of each term.

    index: (I,) cluster of each item. NaN where a term has no items.
    """
    sums = np.zeros(index.max(initial=-1) + 1)
    with np.errstate(invalid="ignore"):
        for term in figure:
            total, values = term.weights.sum(), np.where(term.weights > 0, term.values, 0.0)
            values = values - term.weights @ values / total if centered else values
            sums += term.share * np.bincount(index, term.weights * values) / total
    return sums


def figures(examples: Sequence[Example], scores: Scores, metric: Metric | None = None) -> dict[tuple[str, str], Figure]:
    """(metric, name) -> figure: top-1 and pairs of all items, then the official ones, else those of each source."""
    ranks = [example.ranks for example in examples]
    right, pairs = pairwise(scores, ranks)
    whole = {"top1": mean(top1(scores, ranks)), "pairwise": mean(right / np.maximum(pairs, 1), pairs)}
    found = {(kind, "all"): figure for kind, figure in whole.items()}
    if metric is not None:
        return found | {("official", name): figure for name, figure in metric(examples, scores).items()}
    sources = np.array([example.source for example in examples])
    names = np.unique(sources).tolist()
    for name in names if len(names) > 1 else ():
        for kind, figure in whole.items():
            found[kind, name] = tuple(replace(term, weights=term.weights * (sources == name)) for term in figure)
    return found


def official(examples: Sequence[Example], found: Mapping[str, Figure]) -> tuple[OfficialFigure, ...]:
    """The figures with their standard errors, in the given order."""
    clusters = [_cluster(example) for example in examples]
    return tuple(
        OfficialFigure.model_validate({"name": name, **vars(clustered(figure, clusters))})
        for name, figure in found.items()
    )


def compare(
    examples: Sequence[Example],
    model: Mapping[tuple[str, str], Figure],
    against: Mapping[tuple[str, str], Figure],
    *,
    flips: int = FLIPS,
    seed: int = 0,
) -> tuple[ComparisonRow, ...]:
    """Each figure of two models on the same examples: difference, clustered standard error, and p-value.

    The p-value is that of a paired permutation test: under the hypothesis that the models are interchangeable, the
    difference that a cluster contributes is as likely to have the other sign, so that the observed difference is
    compared with those after exchanging the models in random clusters (two-sided; Dror et al., 2018). It assumes
    nothing about the dependence within a cluster, and is not adjusted for the number of figures.
    """
    index = np.unique([_cluster(example) for example in examples], return_inverse=True)[1]
    differences = {
        key: tuple(replace(mine, values=mine.values - its.values) for mine, its in zip(own, against[key], strict=True))
        for key, own in model.items()
    }
    effects = np.stack([_by_cluster(difference, index) for difference in differences.values()], axis=1)
    observed, extreme = np.abs(effects.sum(axis=0)), np.zeros(effects.shape[1])
    rng = np.random.default_rng(seed)
    for start in range(0, flips, 500):
        signs = rng.integers(0, 2, (min(500, flips - start), len(effects))) * 2.0 - 1.0
        extreme += (np.abs(signs @ effects) >= observed - 1e-12).sum(axis=0)
    p_values = np.where(np.isfinite(observed), (1 + extreme) / (1 + flips), np.nan)
    rows = []
    for (metric, name), p_value in zip(differences, p_values.tolist(), strict=True):
        found = clustered(differences[metric, name], index)
        own, its = (_by_cluster(side[metric, name], index).sum() for side in (model, against))
        values = {"metric": metric, "name": name, "model": own, "against": its, "p_value": p_value}
        values |= {"difference": found.value, "se": found.se, "items": found.items, "clusters": found.clusters}
        rows.append(ComparisonRow.model_validate(values))
    return tuple(rows)


def evaluate(
    scorer: str,
    data: str,
    examples: Sequence[Example],
    scores: Scores,
    *,
    logits: bool = True,
    orders: Sequence[npt.ArrayLike] | None = None,
    bins: int = BINS,
) -> EvaluationReport:
    """Compute all metrics of one scorer on one data set: over all items, by N, and by source.

    logits: the scores are logits; without it ece, nll and brier are null. orders: I items, each (K, N) scores under
    K ≥ 2 orders of the responses, column n for response n; without it the order metrics are null. Raises CurateError
    where an item has no ranks, or scores that are missing or not finite.
    """
    for example in examples:
        if not example.ranks:
            raise CurateError(f"item {example.item_id} has no ranks", hint="only ranked items can be evaluated")
    rank = [example.ranks for example in examples]
    right, pairs = pairwise(scores, rank)
    unknown = np.full(len(rank), np.nan)
    top1_of, chance_of, tau_of = top1(scores, rank), chance_level(rank), kendall(scores, rank)
    ceiling_of = np.array([_ceiling(example) for example in examples])
    changed = unknown if orders is None else winner_changes(orders)
    difference = unknown if orders is None else score_differences(orders)
    by_item = np.divide(right, pairs, out=unknown.copy(), where=pairs > 0)
    best = confidences(scores, rank)
    clusters = np.array([_cluster(example) for example in examples])

    def row(part: str, name: str, mask: npt.NDArray[np.bool_]) -> EvaluationRow:
        """The metrics of the items selected by (I,) mask."""
        own = Confidences(best.top[mask], best.hit[mask], best.nll[mask], best.brier[mask])
        cluster = clusters[mask].tolist()
        hits = clustered(mean(top1_of[mask]), cluster)
        pooled = clustered(mean(by_item[mask], pairs[mask]), cluster)
        ece, ece_bins = own.calibration_error(bins)
        values = {
            "items": int(mask.sum()),
            "clusters": hits.clusters,
            "top1": hits.value,
            "top1_se": hits.se,
            "chance_level": _mean(chance_of[mask]),
            "ceiling": float(ceiling_of[mask].mean()) if mask.any() else None,
            "pairwise": pooled.value,
            "pairwise_se": pooled.se,
            "pairwise_by_item": _mean(by_item[mask]),
            "tau": _mean(tau_of[mask]),
            "ece": ece if logits else None,
            "ece_bins": ece_bins if logits and ece_bins else None,
            "nll": _mean(own.nll) if logits else None,
            "brier": _mean(own.brier) if logits else None,
            "shared_best": int(np.isnan(own.top).sum()),
            "order_sensitivity": _mean(changed[mask]),
            "order_score_difference": _mean(difference[mask]),
        }
        return EvaluationRow.model_validate({"part": part, "name": name, **values})

    sizes, sources = np.array([len(r) for r in rank]), np.array([example.source for example in examples])
    rows = [row("all", "all", np.ones(len(rank), dtype=np.bool_))]
    rows += [row("size", str(size), sizes == size) for size in np.unique(sizes)]
    rows += [row("source", str(source), sources == source) for source in np.unique(sources)]
    return EvaluationReport(scorer=scorer, data=data, rows=tuple(rows))


def _mean(values: Float) -> float:
    """The mean of the finite values; NaN where there is none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else np.nan


def _ceiling(example: Example) -> float:
    """Expected top-1 of a judge that knows the true order: P(the best response has the best rank); NaN if unknown."""
    return sum(example.best_probabilities[i] for i in example.best) if example.best_probabilities else np.nan


def _cluster(example: Example) -> str:
    """The cluster of an item, whose errors are correlated: its video, else its images, else its prompt."""
    return str(example.video or "\n".join(map(str, example.images)) or example.prompt)


def _best(rank: Index) -> npt.NDArray[np.bool_]:
    """(I, N) bool: the rank is the best of the item."""
    best: npt.NDArray[np.bool_] = rank == rank.min(axis=1, keepdims=True)
    return best


def _signs(values: Float | Index) -> Float:
    """(I, N, N) sign of value i minus value j. values: (I, N)."""
    signs: Float = np.sign(values[:, :, None] - values[:, None, :]).astype(np.float64)
    return signs


def _batches(scores: Scores, ranks: Ranks) -> Iterator[tuple[Index, Float, Index]]:
    """For each N that occurs: (I,) rows of its items, (I, N) their scores and (I, N) their ranks.

    Raises CurateError where scores and ranks differ in number, or a score is not finite.
    """
    if len(scores) != len(ranks):
        raise CurateError(f"{len(scores)} items have scores and {len(ranks)} have ranks: they must be the same items")
    arrays = [np.asarray(score, dtype=np.float64) for score in scores]
    for item, (score, rank) in enumerate(zip(arrays, ranks, strict=True)):
        if score.shape != (len(rank),) or len(rank) == 0:
            raise CurateError(f"item {item} (from 0): scores of shape {score.shape} for {len(rank)} ranks")
        if not np.isfinite(score).all():
            raise CurateError(f"item {item} (from 0): scores {score.tolist()} are not all finite")
    sizes = np.array([len(score) for score in arrays])
    for size in np.unique(sizes):
        rows = np.flatnonzero(sizes == size)
        yield rows, np.stack([arrays[i] for i in rows]), np.array([ranks[i] for i in rows.tolist()], dtype=np.int64)
