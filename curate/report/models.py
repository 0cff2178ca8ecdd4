"""The models over all prompts: mean strength, win rate and mean rank with intervals, and pairwise win rates.

Prompts are the sampling units: intervals use the variance over prompts (Cochran, "Sampling Techniques", 1977, §11.8)
and Student's t with one degree of freedom less than prompts. Strengths are posterior means, which are shrunken and
therefore vary less than the true strengths. With the variance v over prompts and the mean posterior variance s, the
unshrunken values of a normal model have the variance (v + s)² / v, which the intervals of mean strengths use.

`models_of` is the only function that the report calls.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.uncertainty.intervals import LEVEL, percentile_intervals

DRAWS = 2000
"""Bootstrap draws of prompts for the intervals of ranks."""

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Estimate:
    """A value with its interval; low and high equal the value if there is no interval."""

    value: float
    low: float
    high: float
    known: bool = True
    """Whether there is an interval."""


@dataclass(frozen=True)
class ModelRow:
    """One model over all prompts."""

    model: str
    rank: int
    """1 = highest mean strength (highest win rate if no prompt is ranked in full)."""
    best_rank: int | None
    """Bootstrap interval of the rank; None with less than two prompts."""
    worst_rank: int | None
    strength: Estimate | None
    """Mean over prompts of the strength, logits relative to the mean response of the prompt."""
    win_rate: Estimate | None
    """Share of its vote weight that it won; a tie counts half."""
    mean_rank: Estimate | None
    """Mean rank over prompts ranked in full."""
    prompts: int
    """Number of fully ranked prompts with its responses."""
    comparisons: float
    """Vote weight on pairs with another model."""


@dataclass(frozen=True)
class Models:
    """M models, the best first, and their pairwise results."""

    rows: tuple[ModelRow, ...]
    win_rate: Float
    """(M, M) share of the vote weight between row and column that the row won; NaN without votes."""
    comparisons: Float
    """(M, M) vote weight between row and column; NaN on the diagonal."""


def models_of(placed: pl.DataFrame, pairs: pl.DataFrame, ranked: pl.Series) -> Models:
    """Return the models of a run.

    placed: ``ranked_responses``; pairs: ``pair_votes`` of the same run; ranked: ids of fully ranked prompts. Responses
    without a model are excluded; several responses of a model to one prompt are averaged.
    """
    names = placed["model"].drop_nulls().unique().sort()
    number = pl.DataFrame({"model": names, "number": np.arange(len(names))})
    full = placed.filter(pl.col("prompt_id").is_in(ranked.implode()), pl.col("rank").is_not_null())
    strength, variance = _table(full, number, "strength"), _table(full, number, "variance")
    rank = _table(full, number, "rank")
    won, weight, wins = _against(placed, pairs, number)
    total = wins + wins.T
    means = [_mean(strength[:, m], variance[:, m]) for m in range(len(names))]
    rates = [_ratio(won[:, m], weight[:, m]) for m in range(len(names))]
    by_strength = np.array([np.nan if mean is None else mean.value for mean in means])
    by_rate = np.array([-1.0 if rate is None else rate.value for rate in rates])
    key = by_rate if np.isnan(by_strength).all() else np.nan_to_num(by_strength, nan=-np.inf)
    order = np.lexsort((np.arange(len(names)), -by_rate, -key))
    low, high = _ranks(strength, variance)
    rows = tuple(
        ModelRow(
            model=names[int(m)],
            rank=place,
            best_rank=min(int(low[m]), place) if low[m] else None,
            worst_rank=max(int(high[m]), place) if high[m] else None,
            strength=means[m],
            win_rate=rates[m],
            mean_rank=_mean(rank[:, m], np.zeros(len(rank))),
            prompts=int(np.isfinite(rank[:, m]).sum()),
            comparisons=float(total[m].sum()),
        )
        for place, m in enumerate(order, start=1)
    )
    share = np.where(total > 0, wins / np.where(total > 0, total, 1), np.nan)
    np.fill_diagonal(total, np.nan)
    return Models(rows, share[np.ix_(order, order)], total[np.ix_(order, order)])


def _table(full: pl.DataFrame, number: pl.DataFrame, column: str) -> Float:
    """(P, M) mean of the column over a model's responses to each prompt; NaN without responses."""
    prompts = full["prompt_id"].unique().sort()
    table = np.full((len(prompts), len(number)), np.nan)
    value = pl.col("strength_se") ** 2 if column == "variance" else pl.col(column)
    cells = (
        full.join(number, on="model")
        .group_by("prompt_id", "number")
        .agg(value.cast(pl.Float64).mean().alias("mean"))
        .sort("prompt_id", "number")
    )
    rows = prompts.search_sorted(cells["prompt_id"]).to_numpy()
    table[rows, cells["number"].to_numpy()] = cells["mean"].to_numpy()
    return table


def _against(placed: pl.DataFrame, pairs: pl.DataFrame, number: pl.DataFrame) -> tuple[Float, Float, Float]:
    """Return (P, M) weight won per prompt, (P, M) weight of the pairs, (M, M) weight that row won from column."""
    model = placed.join(number, on="model").select("prompt_id", "response_id", "number")
    prompts = pairs["prompt_id"].unique().sort()
    found = pairs
    for side in ("first", "second"):
        own = model.rename({"response_id": side, "number": f"{side}_model"})
        found = found.join(own, on=["prompt_id", side], how="inner", maintain_order="left")
    found = found.filter(pl.col("first_model") != pl.col("second_model"))
    p = prompts.search_sorted(found["prompt_id"]).to_numpy()
    i, j = found["first_model"].to_numpy(), found["second_model"].to_numpy()
    for_i = (found["for_first"] + found["tied"] / 2).to_numpy()
    for_j = (found["for_second"] + found["tied"] / 2).to_numpy()
    won, weight = np.zeros((2, len(prompts), len(number)))
    wins = np.zeros((len(number), len(number)))
    for one, other, mine in ((i, j, for_i), (j, i, for_j)):
        np.add.at(won, (p, one), mine)
        np.add.at(weight, (p, one), for_i + for_j)
        np.add.at(wins, (one, other), mine)
    return won, weight, wins


def _mean(values: Float, variance: Float) -> Estimate | None:
    """Return the mean over the prompts with a value. variance: (P,) posterior variances, 0 for exact values."""
    known = np.isfinite(values)
    count = int(known.sum())
    if not count:
        return None
    mean = float(values[known].mean())
    if count < 2:
        return Estimate(mean, mean, mean, known=False)
    observed = float(values[known].var(ddof=1))
    return _around(mean, _widening(observed, variance[known]) * float(np.sqrt(observed / count)), count)


def _widening(observed: float, variance: Float) -> float:
    """Ratio of the unshrunken to the shrunken standard deviation. observed: variance of the posterior means."""
    return (observed + float(variance.mean())) / observed if observed > 0 else 1.0


def _ratio(won: Float, weight: Float) -> Estimate | None:
    """Return Σ won / Σ weight with prompts as clusters. won, weight: (P,)."""
    voted = weight > 0
    count, total = int(voted.sum()), float(weight.sum())
    if not count:
        return None
    rate = float(won.sum()) / total
    if count < 2:
        return Estimate(rate, rate, rate, known=False)
    deviation = won[voted] - rate * weight[voted]
    error = float(np.sqrt(count / (count - 1) * (deviation @ deviation))) / total
    estimate = _around(rate, error, count)
    return Estimate(rate, max(estimate.low, 0.0), min(estimate.high, 1.0))


def _around(value: float, error: float, count: int) -> Estimate:
    from scipy.special import stdtrit

    margin = float(stdtrit(count - 1, (1 + LEVEL) / 2)) * error
    return Estimate(value, value - margin, value + margin)


def _ranks(strength: Float, variance: Float) -> tuple[Int, Int]:
    """(M,) best and worst rank of each model by bootstrap over prompts; 0 with less than two prompts.

    Deviations of the drawn means are corrected for shrinkage as the intervals of the means are.
    """
    count, models = strength.shape
    nothing = np.zeros(models, dtype=np.int64)
    answers = np.isfinite(strength)
    if count < 2 or not models:
        return nothing, nothing
    times = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=DRAWS).astype(np.float64)
    drawn = times @ answers  # (draws, M) drawn prompts with a response of each model
    sums = times @ np.where(answers, strength, 0.0)
    seen = answers.sum(axis=0)
    mean = np.where(answers, strength, 0.0).sum(axis=0) / np.maximum(seen, 1)
    wide = [
        _widening(float(strength[answers[:, m], m].var(ddof=1)), variance[answers[:, m], m]) if seen[m] > 1 else 1.0
        for m in range(models)
    ]
    value = mean + np.array(wide) * (np.where(drawn > 0, sums / np.maximum(drawn, 1), mean) - mean)
    value[:, seen == 0] = -np.inf
    ranks = 1 + np.argsort(np.argsort(-value, axis=1, kind="stable"), axis=1)
    low, high = percentile_intervals(ranks.astype(np.int64), LEVEL)
    return np.where(seen > 0, low, 0), np.where(seen > 0, high, 0)
