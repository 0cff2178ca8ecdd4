"""The models over all prompts: mean strength, win rate and mean rank with intervals, and who beat whom how often.

Prompts are what is drawn at random: intervals rest on how a figure varies from prompt to prompt (Cochran, "Sampling
Techniques", 1977, §11.8; Student's t with one freedom less than prompts). Strengths are posterior means, which a model
that pools draws towards each other: they vary less than what the votes say of each prompt. Where v is their variance
over prompts and s the mean posterior variance, normal means say that the unshrunk ones vary by (v + s)² / v, and that
is what the intervals of mean strengths rest on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.uncertainty.intervals import LEVEL, percentile_intervals

DRAWS = 2000
"""Of prompts, for the intervals of the models' ranks."""

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Estimate:
    """A figure with its interval; low and high are the figure itself where one prompt says nothing of its error."""

    value: float
    low: float
    high: float
    known: bool = True
    """False where there is no interval."""


@dataclass(frozen=True)
class ModelRow:
    """One model over all prompts."""

    model: str
    rank: int
    """1 = highest mean strength (win rate, where no prompt is ranked in full)."""
    best_rank: int | None
    """Interval of that rank over draws of prompts; None below two prompts."""
    worst_rank: int | None
    strength: Estimate | None
    """Mean over prompts of the joint model's strength, logits above the mean response of the prompt."""
    win_rate: Estimate | None
    """Share of its vote weight that it won, a tie counting half."""
    mean_rank: Estimate | None
    """Mean rank over prompts ranked in full."""
    prompts: int
    """Prompts ranked in full that it answers."""
    comparisons: float
    """Vote weight on pairs with another model."""


@dataclass(frozen=True)
class Models:
    """M models, the best first, and how they did against each other."""

    rows: tuple[ModelRow, ...]
    win_rate: Float
    """(M, M) share of the vote weight between row and column that row won; NaN where there is none."""
    comparisons: Float
    """(M, M) vote weight between row and column; NaN on the diagonal."""


def models_of(placed: pl.DataFrame, pairs: pl.DataFrame, ranked: pl.Series) -> Models:
    """placed: ``placed_responses``; pairs: ``pair_votes`` of the same run. ranked: ids of prompts ranked in full.

    Responses whose model is not known do not count; a model that has two responses to a prompt counts by their mean.
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
    """(P, M) mean of the column over a model's responses to each prompt; NaN where it has none."""
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
    """(P, M) weight that each model won in each prompt, (P, M) weight of its pairs, (M, M) what row won from column."""
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
    """The mean of a figure over the prompts that have it. variance: (P,) posterior variance of each, 0 where exact."""
    known = np.isfinite(values)
    count = int(known.sum())
    if not count:
        return None
    mean = float(values[known].mean())
    if count < 2:
        return Estimate(mean, mean, mean, known=False)
    spread = float(values[known].var(ddof=1))
    return _around(mean, _widening(spread, variance[known]) * float(np.sqrt(spread / count)), count)


def _widening(spread: float, variance: Float) -> float:
    """How many times as far the unshrunk values lie apart. spread: variance of the posterior means over prompts."""
    return (spread + float(variance.mean())) / spread if spread > 0 else 1.0


def _ratio(won: Float, weight: Float) -> Estimate | None:
    """Σ won / Σ weight, prompts being independent. won, weight: (P,)."""
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

    reach = float(stdtrit(count - 1, (1 + LEVEL) / 2)) * error
    return Estimate(value, value - reach, value + reach)


def _ranks(strength: Float, variance: Float) -> tuple[Int, Int]:
    """(M,) best and worst rank of each model's mean strength over draws of prompts with replacement; 0 below two.

    Deviations of the drawn means are widened as the intervals of the means are.
    """
    count, models = strength.shape
    nothing = np.zeros(models, dtype=np.int64)
    answers = np.isfinite(strength)
    if count < 2 or not models:
        return nothing, nothing
    times = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=DRAWS).astype(np.float64)
    drawn = times @ answers  # (draws, M) answers of each model among the prompts drawn
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
