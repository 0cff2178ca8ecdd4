"""Figures over items, such as accuracies, with clustered standard errors; a paired test of those of two models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from curate.array_types import Float, Index
from curate.reward.data import Example
from curate.reward.metrics import Scores, pairwise, top1
from schemas.reward import ComparisonRow, OfficialFigure

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
    clusters = [cluster_of(example) for example in examples]
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
    index = np.unique([cluster_of(example) for example in examples], return_inverse=True)[1]
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


def cluster_of(example: Example) -> str:
    """The cluster of an item, whose errors are correlated: its video, else its images, else its prompt."""
    return str(example.video or "\n".join(map(str, example.images)) or example.prompt)
