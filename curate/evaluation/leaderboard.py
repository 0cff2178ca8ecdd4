"""The leaderboard: models over all prompts, with intervals, classes of indistinguishable models, effects of style.

Strengths θ are those of ``curate.evaluation.models``, relative to the mean model of their connected component. Where
there is one video only, the intervals describe new annotators on this video.

All pairs of models are compared at once, each at level 5% / number of pairs (Bonferroni), so that the probability of
any false difference is at most 5%. From these comparisons follow the intervals of ranks (Mogstad, Romano, Shaikh and
Wilhelm, "Inference for ranks", 2024) and the classes: the best model that has no class yet is the anchor of the next
one, which takes all models without a class that do not differ significantly from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from curate.array_types import Bool, Float, Index
from curate.evaluation.acceptability import acceptability
from curate.evaluation.models import (
    Games,
    GamesInParts,
    Totals,
    between_models,
    components_of,
    fit_models,
    games_of,
    models_of,
    robust_covariance,
    total,
)
from curate.votes.arrays import VoteArrays
from curate.votes.covariates import POSITION
from schemas.errors import CurateError

LEVEL = 0.90
"""Confidence level of the intervals of strengths and effects."""
FAMILY_WISE_ERROR = 0.05
"""Probability of any false difference among all pairs of models."""


@dataclass(frozen=True)
class Leaderboard:
    """M models, best first within each connected component."""

    frame: pl.DataFrame
    """One row per model: see `COLUMNS` and `UNCONTROLLED`."""
    covariance: Float
    """(M, M) of the strengths, logits²."""
    significant: Bool
    """(M, M) whether two models differ significantly (family-wise)."""
    wins: Float
    """(M, M) vote weight that the row won against the column; a tie counts half."""
    clustered_by: tuple[str, ...]
    """What the standard errors take to be independent: video or prompt, annotator, vote."""
    effects: pl.DataFrame
    """One row per covariate: covariate, effect (log odds per unit of the left response's surplus), effect_se, low and
    high (its 90% interval). The first, ``position``, is that of being shown left, where sides are known."""
    votes: int
    """Votes between two different models: what the leaderboard is computed from."""
    excluded_votes: int
    """Votes on responses of an unknown model, or on two responses of one model."""
    n_iter: int
    converged: bool


COLUMNS = {
    "model": "the model",
    "component": "models that votes connect; 0 is the largest component, and ranks are counted within it",
    "rank": "1 = highest strength",
    "best_rank": "1 + the number of models that are significantly better",
    "worst_rank": "the number of models minus those that are significantly worse",
    "class": "1 = the models that do not differ significantly from the best; each next class likewise, of the others",
    "strength": "log odds of winning against the mean model",
    "strength_se": "its standard error, cluster-robust",
    "low": "lower end of the 90% confidence interval of strength",
    "high": "upper end",
    "win_rate": "share of vote weight won; a tie counts half",
    "votes": "votes that the model takes part in",
    "prompts": "prompts with such a vote",
    "acceptable": "mean probability that an annotator finds a response acceptable; null without a both_bad vote",
}
"""Column of `Leaderboard.frame` -> meaning."""


UNCONTROLLED = {
    "rank_uncontrolled": "rank where covariates are not controlled for",
    "strength_uncontrolled": "strength where they are not: what exceeds strength is the standing that style explains",
}
"""Further columns where the votes have covariates."""


def leaderboard(votes: VoteArrays) -> Leaderboard:
    """Return the leaderboard of the models behind the votes.

    Parameters
    ----------
    votes
        V votes. With one prompt and no models, each response counts as a model. The effects of their covariates are
        estimated together with the strengths, which are then those of models with equal covariates.

    Raises
    ------
    CurateError
        Where no vote compares two known models.

    Examples
    --------
    >>> prompts, outcomes = ["p1", "p2", "p3", "p4"], ["left", "left", "right", "left"]
    >>> votes = VoteArrays.from_columns(prompt=prompts, left=["a"] * 4, right=["b"] * 4, outcome=outcomes)
    >>> leaderboard(votes).frame.select("model", "rank", "win_rate", "class").rows()
    [('a', 1, 0.75, 1), ('b', 2, 0.25, 1)]
    """
    names, model = models_of(votes)
    i, j = model[votes.left], model[votes.right]
    used = between_models(votes, model)
    found = leaderboard_of(
        games_of(votes.of_votes(used), i[used], j[used], len(names)),
        names,
        acceptable_by_model(votes),
        excluded=int((~used).sum()),
        covariates=votes.covariate_names,
    )
    if not votes.covariate_names:
        return found
    plain = leaderboard(replace(votes, covariates=None, covariate_names=())).frame
    others = plain.select("model", **{name: name.removesuffix("_uncontrolled") for name in UNCONTROLLED})
    return replace(found, frame=found.frame.join(others, on="model", how="left", maintain_order="left"))


def leaderboard_of(
    games: GamesInParts,
    names: Sequence[str],
    acceptable: Float,
    *,
    excluded: int = 0,
    covariates: tuple[str, ...] = (),
) -> Leaderboard:
    """Return the leaderboard of M models from the votes between them, of which some are in memory at a time.

    names: of the models. acceptable: (M,) of ``acceptable_by_model``. excluded: votes that are not between two models.
    covariates: the names of those that the votes have. Raises CurateError where there is no vote.
    """
    if not any(games.sizes.values()):
        raise CurateError(
            "no vote compares two known models",
            hint="a leaderboard needs responses whose model is known: give a file of responses, or a column of models",
        )
    totals = total(games)
    fit = fit_models(totals.games)
    component = components_of(totals.games)
    strength = fit.theta[: games.models] - _component_mean(fit.theta[: games.models], component)
    variance, clustered_by, degrees = robust_covariance(games, fit)
    covariance = _centred(variance[: games.models, : games.models], component)
    significant = _significant(strength, covariance, component, degrees)
    order = np.lexsort((np.arange(len(names)), -np.round(strength, 9), component))
    order = order[totals.votes[order] > 0]
    frame = _frame(totals, strength, np.sqrt(np.diagonal(covariance)), significant, component, degrees)
    frame = frame.with_columns(
        pl.Series("model", names, pl.String), pl.Series("acceptable", acceptable).fill_nan(None)
    ).select(*COLUMNS)
    return Leaderboard(
        frame=frame[order],
        covariance=covariance[np.ix_(order, order)],
        significant=significant[np.ix_(order, order)],
        wins=_wins(totals.games)[np.ix_(order, order)],
        clustered_by=clustered_by,
        effects=_effects(totals.games, covariates, fit.theta, variance, degrees),
        votes=totals.count,
        excluded_votes=excluded,
        n_iter=fit.n_iter,
        converged=fit.converged,
    )


def by_group(votes: VoteArrays, group: pl.Series, *, name: str) -> pl.DataFrame:
    """Return the leaderboard of each group of votes, under one another.

    Parameters
    ----------
    votes
        V votes.
    group
        (V,) the group of each vote; votes without one (null) are left out.
    name
        The name of the column that holds the group.

    Raises
    ------
    CurateError
        Where the name is that of a column of a leaderboard, or no group has a vote between two known models. Other
        groups without such a vote have no rows.
    """
    values = group.cast(pl.String)

    def boards() -> Iterator[tuple[str, Leaderboard]]:
        for value in values.drop_nulls().unique().sort():
            own = votes.of_votes((values == value).fill_null(False).to_numpy())
            if between_models(own, models_of(own)[1]).any():
                yield value, leaderboard(own)

    return under_one_another(boards(), name=name)


def under_one_another(boards: Iterable[tuple[str, Leaderboard]], *, name: str) -> pl.DataFrame:
    """Return the leaderboards of groups as one frame, which starts with the column of this name. Raises as
    ``by_group``."""
    if name in COLUMNS:
        raise CurateError(f"{name!r} is a column of the leaderboard itself", hint="rename the column, or use another")
    frames = [board.frame.select(pl.lit(value).alias(name), pl.all()) for value, board in boards]
    if not frames:
        raise CurateError(f"no {name} has a vote between two known models", hint="use another column, or none")
    return pl.concat(frames)


def acceptable_by_model(votes: VoteArrays) -> Float:
    """Return (M,) the mean acceptability of each model's responses; NaN where a model has none with a vote."""
    total, count = acceptable_sums(votes)
    mean: Float = total / np.where(count > 0, count, np.nan)
    return mean


def acceptable_sums(votes: VoteArrays, share: float | None = None) -> tuple[Float, Index]:
    """Return (M,) the sum of the acceptability of each model's responses, and (M,) their number.

    share: as of ``acceptability``.
    """
    (names, model), found = models_of(votes), acceptability(votes, share)
    if found is None:
        return np.zeros(len(names)), np.zeros(len(names), dtype=np.int64)
    known = np.isfinite(found.estimate) & (model >= 0)
    total = np.bincount(model[known], found.estimate[known], len(names)).astype(np.float64)
    return total, np.bincount(model[known], minlength=len(names))


def _component_mean(values: Float, component: Index) -> Float:
    """(M,) the mean over each model's component."""
    mean: Float = np.bincount(component, values) / np.bincount(component)
    return mean[component]


def _centred(covariance: Float, component: Index) -> Float:
    """(M, M) the covariance of strengths relative to the mean of their component."""
    same = component[:, None] == component
    centre = np.eye(len(component)) - same / same.sum(axis=1)
    centred: Float = centre @ covariance @ centre.T
    return centred


def _effects(games: Games, names: tuple[str, ...], theta: Float, covariance: Float, degrees: int) -> pl.DataFrame:
    """The effects of the design's columns, in logits per unit of the covariate."""
    from scipy.special import stdtrit

    effect = theta[games.models :] / games.scale
    error = np.sqrt(np.diagonal(covariance)[games.models :]) / games.scale
    reach = float(stdtrit(degrees, (1 + LEVEL) / 2)) * error
    return pl.DataFrame(
        {
            "covariate": [POSITION, *names],
            "effect": effect,
            "effect_se": error,
            "low": effect - reach,
            "high": effect + reach,
        }
    )


def _significant(strength: Float, covariance: Float, component: Index, degrees: int) -> Bool:
    """(M, M) which pairs of one component differ, at a family-wise error rate of FAMILY_WISE_ERROR."""
    from scipy.special import stdtrit

    variance = np.diagonal(covariance)
    error = np.sqrt(np.maximum(variance[:, None] + variance - 2 * covariance, 0.0))
    same = (component[:, None] == component) & (error > 0)
    pairs = max(1, int(same.sum()) // 2)
    critical = float(stdtrit(degrees, 1 - FAMILY_WISE_ERROR / pairs / 2))
    found: Bool = same & (np.abs(strength[:, None] - strength) > critical * error)
    return found


def _frame(
    totals: Totals, strength: Float, error: Float, significant: Bool, component: Index, degrees: int
) -> pl.DataFrame:
    """The columns of `COLUMNS` but the model's name, one row per model in the order of their numbers."""
    from scipy.special import stdtrit

    won = _wins(totals.games)
    wins, played = won.sum(axis=1), won.sum(axis=1) + won.sum(axis=0)
    better = strength[None, :] > strength[:, None]  # [m, n]: n is better than m
    same = component[:, None] == component
    reach = float(stdtrit(degrees, (1 + LEVEL) / 2)) * error
    rounded = np.round(strength, 9)
    return pl.DataFrame(
        {
            "component": component,
            "rank": 1 + (same & (rounded[None, :] > rounded[:, None])).sum(axis=1),
            "best_rank": 1 + (significant & better).sum(axis=1),
            "worst_rank": same.sum(axis=1) - (significant & ~better).sum(axis=1),
            "class": _classes(significant, component, strength),
            "strength": strength,
            "strength_se": error,
            "low": strength - reach,
            "high": strength + reach,
            "win_rate": wins / np.where(played > 0, played, 1.0),
            "votes": totals.votes,
            "prompts": totals.prompts,
        }
    )


def _wins(games: Games) -> Float:
    """(M, M) vote weight that the row won against the column."""
    m = games.models
    won = np.bincount(games.i * m + games.j, games.weight * games.won, m * m)
    lost = np.bincount(games.j * m + games.i, games.weight * (1 - games.won), m * m)
    return (won + lost).astype(np.float64).reshape(m, m)


def _classes(significant: Bool, component: Index, strength: Float) -> Index:
    """(M,) the class of each model, 1 … within its component. The strongest model without a class is the next anchor.

    A fixed anchor keeps classes from chaining: no model joins one because it resembles another member.
    """
    found = np.zeros(len(component), dtype=np.int64)
    for anchor in np.lexsort((-strength, component)):
        if not found[anchor]:
            own = component == component[anchor]
            found[own & (found == 0) & ~significant[anchor]] = found[own].max() + 1
    return found
