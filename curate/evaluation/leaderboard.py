"""The leaderboard: models over all prompts, with intervals, classes of indistinguishable models, effects of style.

A vote for model i over model j shown left and right has log odds θᵢ − θⱼ + βᵀx: Bradley-Terry on the models, with a
bias toward the left side where sides are known, and an effect of each covariate of the responses (x: 1, left − right).
A tie counts half a vote for each. Strengths θ are relative to the mean model of their connected component.

Votes on one video (one prompt, where videos are unknown) are dependent, and so are votes by one annotator. The
covariance of θ is therefore the two-way cluster-robust sandwich (Cameron, Gelbach and Miller, "Robust inference with
multiway clustering", 2011):

    V = Vᵥ + Vₐ − Vᵥₐ,   Vᵥ and Vₐ = (G − 1)/G Σ_g d_g d_gᵀ, d_g = (H − H_g)⁻¹ u_g,   Vᵥₐ = Σ_g H⁻¹ u_g u_gᵀ H⁻¹,

where H is the negative Hessian, H_g and u_g the part of it and of the gradient that the votes in cluster g contribute,
and the clusters are videos (v), annotators (a), and their intersections (va). Prompts are nested in videos. d_g is how
far θ moves when cluster g is left out (one Newton step), so that Vᵥ and Vₐ are jackknife estimates, which do not
understate the variance where clusters are few (Bell and McCaffrey, "Bias reduction in standard errors", 2002). In no
direction is V taken to be less than H⁻¹, the variance if votes were independent. The intervals thus describe new videos
and new annotators. Where there is one video only, they describe new annotators on this video. Critical values are
Student's t with min(G) − 1 degrees of freedom.

All pairs of models are compared at once, each at level 5% / number of pairs (Bonferroni), so that the probability of
any false difference is at most 5%. From these comparisons follow the intervals of ranks (Mogstad, Romano, Shaikh and
Wilhelm, "Inference for ranks", 2024) and the classes: the best model that has no class yet is the anchor of the next
one, which takes all models without a class that do not differ significantly from it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.evaluation.acceptability import acceptability
from curate.votes.arrays import LEFT, RIGHT, VoteArrays
from curate.votes.covariates import POSITION
from schemas.errors import CurateError

LEVEL = 0.90
"""Confidence level of the intervals of strengths and effects."""
FAMILY_WISE_ERROR = 0.05
"""Probability of any false difference among all pairs of models."""
RIDGE = 0.5
"""Precision of the normal prior on strengths and effects, 1 / logits², so that a model that won every vote has a finite
strength and a wide interval. Its information is that of about two votes."""
MAX_WORK = 2_000_000_000
"""G size³ above which clusters are not left out in turn: they are then so many that it makes no difference."""
CHUNK = 4_000_000
"""Numbers in the Hessians of clusters at a time."""
TOLERANCE = 1e-10
MAX_ITER = 100

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


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
    >>> import polars as pl
    >>> from curate.votes.tables import find_columns, vote_arrays
    >>> rows = [("p1", "a", "b", "left"), ("p2", "a", "b", "left"), ("p3", "b", "a", "left"), ("p4", "a", "b", "left")]
    >>> frame = pl.DataFrame(rows, schema=["prompt", "left", "right", "winner"], orient="row")
    >>> votes = vote_arrays(frame, find_columns(frame))
    >>> leaderboard(votes).frame.select("model", "rank", "win_rate", "class").rows()
    [('a', 1, 0.75, 1), ('b', 2, 0.25, 1)]
    """
    names, model = _models(votes)
    i, j = model[votes.left], model[votes.right]
    used = _between_models(votes, model)
    if not used.any():
        raise CurateError(
            "no vote compares two known models",
            hint="a leaderboard needs responses whose model is known: give a file of responses, or a column of models",
        )
    games = _games(votes.of_votes(used), i[used], j[used], len(names))
    fit = _bradley_terry(games)
    component = _components(games)
    strength = fit.theta[: games.models] - _component_mean(fit.theta[: games.models], component)
    total, clustered_by, degrees = _robust_covariance(games, fit)
    covariance = _centred(total[: games.models, : games.models], component)
    significant = _significant(strength, covariance, component, degrees)
    order = np.lexsort((np.arange(len(names)), -np.round(strength, 9), component))
    order = order[np.bincount(np.concatenate([games.i, games.j]), minlength=len(names))[order] > 0]
    frame = _frame(games, strength, np.sqrt(np.diagonal(covariance)), significant, component, degrees)[order]
    accepted = acceptability(votes)
    by_model = _means(accepted.estimate, model, len(names)) if accepted else np.full(len(names), np.nan)
    frame = frame.with_columns(
        pl.Series("model", [names[m] for m in order]), pl.Series("acceptable", by_model[order]).fill_nan(None)
    ).select(*COLUMNS)
    if votes.covariate_names:
        plain = leaderboard(replace(votes, covariates=None, covariate_names=())).frame
        others = plain.select("model", **{name: name.removesuffix("_uncontrolled") for name in UNCONTROLLED})
        frame = frame.join(others, on="model", how="left", maintain_order="left")
    return Leaderboard(
        frame=frame,
        covariance=covariance[np.ix_(order, order)],
        significant=significant[np.ix_(order, order)],
        wins=_wins(games)[np.ix_(order, order)],
        clustered_by=clustered_by,
        effects=_effects(games, votes.covariate_names, fit.theta, total, degrees),
        votes=len(games.i),
        excluded_votes=int((~used).sum()),
        n_iter=fit.n_iter,
        converged=fit.converged,
    )


@dataclass(frozen=True)
class _Games:
    """V votes between two of M models."""

    models: int
    i: Index
    """(V,) the model shown left (the first named, where sides are unknown)."""
    j: Index
    """(V,) the other model."""
    design: Float
    """(V, 1 + K) 1 where sides are known, else 0; and the covariates of i minus those of j, over their scale."""
    scale: Float
    """(1 + K,) units of the covariates in one unit of the design."""
    won: Float
    """(V,) 1 a win of i, 0 of j, ½ a tie."""
    weight: Float
    """(V,)"""
    prompt: Index
    """(V,)"""
    clusters: dict[str, Index]
    """What votes are clustered by -> (V,) numbers. Anonymous annotators: a number per group, or per vote."""


def _games(votes: VoteArrays, i: Index, j: Index, models: int) -> _Games:
    groups = int(votes.group.max(initial=-1)) + 1
    alone = len(votes.annotators) + np.where(votes.group >= 0, votes.group, groups + np.arange(len(i)))
    sides = votes.sides_known.astype(np.float64)[:, None]
    names = len(votes.covariate_names)
    covariates = votes.covariates if votes.covariates is not None else np.zeros((len(votes.responses), names))
    surplus = covariates[votes.left] - covariates[votes.right]
    scale = np.sqrt(np.average(surplus**2, axis=0, weights=votes.weight)) if len(i) else np.ones(names)
    scale = np.where(scale > 0, scale, 1.0)
    prompt = votes.response_prompt[votes.left].astype(np.int64)
    clusters = {"prompt": prompt}
    if votes.prompt_video is not None and (votes.prompt_video >= 0).any():
        video = votes.prompt_video.astype(np.int64)
        clusters = {"video": np.where(video >= 0, video, video.max() + 1 + np.arange(len(video)))[prompt]}
    annotator = np.where(votes.annotator >= 0, votes.annotator, alone)
    return _Games(
        models=models,
        i=i,
        j=j,
        design=np.hstack([sides, surplus / scale]),
        scale=np.append(1.0, scale),
        won=np.select([votes.outcome == LEFT, votes.outcome == RIGHT], [1.0, 0.0], 0.5),
        weight=votes.weight,
        prompt=prompt,
        clusters={
            name: np.unique(cluster, return_inverse=True)[1]
            for name, cluster in {**clusters, "annotator": annotator}.items()
        },
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
    if name in COLUMNS:
        raise CurateError(f"{name!r} is a column of the leaderboard itself", hint="rename the column, or use another")
    values = group.cast(pl.String)
    frames = []
    for value in values.drop_nulls().unique().sort():
        own = votes.of_votes((values == value).fill_null(False).to_numpy())
        if _between_models(own, _models(own)[1]).any():
            frames.append(leaderboard(own).frame.select(pl.lit(value).alias(name), pl.all()))
    if not frames:
        raise CurateError(f"no {name} has a vote between two known models", hint="use another column, or none")
    return pl.concat(frames)


def _between_models(votes: VoteArrays, model: Index) -> Bool:
    """(V,) whether each vote compares two different known models. model: (R,), −1 unknown."""
    i, j = model[votes.left], model[votes.right]
    between: Bool = (i >= 0) & (j >= 0) & (i != j)
    return between


def _models(votes: VoteArrays) -> tuple[tuple[str, ...], Index]:
    """Names of the models, and (R,) the model of each response (−1 unknown)."""
    if not votes.models and len(votes.prompts) == 1:
        return votes.responses, np.arange(len(votes.responses))
    return votes.models, votes.response_model.astype(np.int64)


@dataclass(frozen=True)
class _Fit:
    theta: Float
    """(M + 1 + K,) strengths, then side bias and effects of covariates in units of the design."""
    residual: Float
    """(V,) weighted residual of each vote: its gradient in θᵢ, and minus that in θⱼ."""
    curvature: Float
    """(V,) weighted p (1 − p) of each vote."""
    hessian: Float
    """(M + 1 + K, M + 1 + K) negative Hessian, with the ridge."""
    n_iter: int
    converged: bool


def _bradley_terry(games: _Games) -> _Fit:
    """Maximise Σ weight · log-likelihood − RIDGE ‖θ‖² / 2 by Newton's method; the objective is concave."""
    m, n_iter, converged = games.models, 0, False
    theta, one = np.zeros(m + games.design.shape[1]), np.zeros(len(games.i), dtype=np.int64)
    while n_iter < MAX_ITER and not converged:
        n_iter += 1
        log_odds = theta[games.i] - theta[games.j] + games.design @ theta[m:]
        probability = 1 / (1 + np.exp(-log_odds))
        residual = games.weight * (games.won - probability)
        curvature = games.weight * probability * (1 - probability)
        hessian = _hessians(one, 1, games, curvature)[0] + RIDGE * np.eye(len(theta))
        gradient = _cluster_sums(one, games, residual).toarray()[0]
        step = np.linalg.solve(hessian, gradient - RIDGE * theta)
        converged = bool(np.abs(step).max() < TOLERANCE)
        theta = theta + step / max(1.0, float(np.abs(step).max()))
    return _Fit(theta, residual, curvature, hessian, n_iter, converged)


def _means(value: Float, model: Index, models: int) -> Float:
    """(M,) the mean over each model's responses with a value. value, model: (R,)."""
    known = np.isfinite(value) & (model >= 0)
    count = np.bincount(model[known], minlength=models)
    mean: Float = np.bincount(model[known], value[known], models) / np.where(count > 0, count, np.nan)
    return mean


def _components(games: _Games) -> Index:
    """(M,) the connected component of each model; 0 is the largest (of equal ones, the one with the first model)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(games.i)), (games.i, games.j)), shape=(games.models, games.models))
    _, label = connected_components(graph, directed=False)
    order = np.argsort(-np.bincount(label), kind="stable")
    component: Index = np.argsort(order)[label]
    return component


def _component_mean(values: Float, component: Index) -> Float:
    """(M,) the mean over each model's component."""
    mean: Float = np.bincount(component, values) / np.bincount(component)
    return mean[component]


def _robust_covariance(games: _Games, fit: _Fit) -> tuple[Float, tuple[str, ...], int]:
    """(M + 1 + K, M + 1 + K) covariance of θ, what it clusters by, and the degrees of freedom."""
    used = {name: cluster for name, cluster in games.clusters.items() if cluster.max() > 0}
    used = used or {"vote": np.arange(len(games.i))}  # one video and one annotator: only votes are left to vary
    total: Float = np.sum([_jackknife(cluster, games, fit) for cluster in used.values()], axis=0)
    counts = [int(cluster.max()) + 1 for cluster in used.values()]
    if len(used) == 2:
        first, second = used.values()
        moves = np.linalg.solve(fit.hessian, _cluster_sums(first * counts[1] + second, games, fit.residual).toarray().T)
        total = total - moves @ moves.T
    # At least the model's own variance H⁻¹ = L Lᵀ in every direction: votes that all agree have no residual variance.
    half = np.linalg.cholesky(np.linalg.inv(fit.hessian))
    inverse = np.linalg.inv(half)
    values, vectors = np.linalg.eigh(inverse @ total @ inverse.T)
    root = half @ vectors
    return (root * np.maximum(values, 1.0)) @ root.T, tuple(used), max(1, min(counts) - 1)


def _centred(covariance: Float, component: Index) -> Float:
    """(M, M) the covariance of strengths relative to the mean of their component."""
    same = component[:, None] == component
    centre = np.eye(len(component)) - same / same.sum(axis=1)
    centred: Float = centre @ covariance @ centre.T
    return centred


def _jackknife(cluster: Index, games: _Games, fit: _Fit) -> Float:
    """(M + 1 + K, M + 1 + K) variance of θ over G clusters, 0 … G − 1, that are left out in turn."""
    count, size = int(cluster.max()) + 1, len(fit.theta)
    gradient = _cluster_sums(cluster, games, fit.residual)
    total = np.zeros((size, size))
    corrected = count * size**3 <= MAX_WORK
    step = max(1, CHUNK // size**2) if corrected else count
    for start in range(0, count, step):
        part = gradient[start : start + step].toarray()  # (clusters, M + 1 + K)
        if corrected:
            hessian = fit.hessian - _hessians(cluster - start, len(part), games, fit.curvature)
            moves = np.linalg.solve(hessian, part[:, :, None])[:, :, 0]
        else:
            moves = np.linalg.solve(fit.hessian, part.T).T
        total += moves.T @ moves
    return total * (count - 1) / count if corrected else total


def _cluster_sums(cluster: Index, games: _Games, residual: Float) -> csr_array:
    """(G, M + 1 + K) gradient of the votes of each distinct cluster: Σ residual · x, x = eᵢ − eⱼ and the design."""
    from scipy.sparse import csr_array

    _, number = np.unique(cluster, return_inverse=True)
    extra = games.design.shape[1]
    rows = np.concatenate([number, number, np.repeat(number, extra)])
    columns = np.concatenate([games.i, games.j, np.tile(games.models + np.arange(extra), len(number))])
    values = np.concatenate([residual, -residual, (residual[:, None] * games.design).ravel()])
    return csr_array((values, (rows, columns)), shape=(int(number.max()) + 1, games.models + extra))


def _hessians(cluster: Index, count: int, games: _Games, curvature: Float) -> Float:
    """(G, M + 1 + K, M + 1 + K) Σ curvature · x xᵀ over the votes of clusters 0 … G − 1; others are ignored."""
    own = (cluster >= 0) & (cluster < count)
    m, size = games.models, games.models + games.design.shape[1]
    g, i, j, value, design = cluster[own], games.i[own], games.j[own], curvature[own], games.design[own]
    hessians = np.zeros((count, size, size))

    def add(rows: Index, columns: Index, values: Float, width: int) -> Float:
        """(G, rows, columns) sums at the places of one kind."""
        place = (g * m + rows) * width + columns
        return np.bincount(place, values, count * m * width).astype(np.float64).reshape(count, m, width)

    cross = add(i, j, value, m)
    hessians[:, :m, :m] = -cross - cross.swapaxes(1, 2)
    hessians[:, np.arange(m), np.arange(m)] += cross.sum(axis=1) + cross.sum(axis=2)
    zero = np.zeros_like(i)
    for k in range(size - m):
        weighted = value * design[:, k]
        hessians[:, :m, m + k] = (add(i, zero, weighted, 1) - add(j, zero, weighted, 1))[:, :, 0]
        hessians[:, m + k, :m] = hessians[:, :m, m + k]
        for other in range(k, size - m):
            both = np.bincount(g, weighted * design[:, other], count)
            hessians[:, m + k, m + other] = hessians[:, m + other, m + k] = both
    return hessians


def _effects(games: _Games, names: tuple[str, ...], theta: Float, covariance: Float, degrees: int) -> pl.DataFrame:
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
    games: _Games, strength: Float, error: Float, significant: Bool, component: Index, degrees: int
) -> pl.DataFrame:
    """The columns of `COLUMNS` but the model's name, one row per model in the order of their numbers."""
    from scipy.special import stdtrit

    m = games.models
    won = _wins(games)
    wins, total = won.sum(axis=1), won.sum(axis=1) + won.sum(axis=0)
    prompts = int(games.prompt.max()) + 1
    seen = np.unique(np.concatenate([games.i, games.j]) * prompts + np.tile(games.prompt, 2)) // prompts
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
            "win_rate": wins / np.where(total > 0, total, 1.0),
            "votes": np.bincount(games.i, minlength=m) + np.bincount(games.j, minlength=m),
            "prompts": np.bincount(seen, minlength=m),
        }
    )


def _wins(games: _Games) -> Float:
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
