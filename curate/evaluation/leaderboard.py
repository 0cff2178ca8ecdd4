"""The leaderboard: models over all prompts, with confidence intervals and classes of indistinguishable models.

A vote for model i over model j shown left and right has log odds θᵢ − θⱼ + β: Bradley-Terry on the models, with one
bias β toward the left side where sides are known; a tie counts half a vote for each. Strengths θ are relative to the
mean model of their connected component.

Votes on one prompt are dependent, and so are votes by one annotator. The covariance of θ is therefore the two-way
cluster-robust sandwich (Cameron, Gelbach and Miller, "Robust inference with multiway clustering", 2011):

    V = Vₚ + Vₐ − Vₚₐ,   Vₚ and Vₐ = (G − 1)/G Σ_g d_g d_gᵀ, d_g = (H − H_g)⁻¹ u_g,   Vₚₐ = Σ_g H⁻¹ u_g u_gᵀ H⁻¹,

where H is the negative Hessian, H_g and u_g the part of it and of the gradient that the votes in cluster g contribute,
and the clusters are prompts (p), annotators (a), and their intersections (pa). d_g is how far θ moves when cluster g is
left out (one Newton step), so that Vₚ and Vₐ are jackknife estimates, which do not understate the variance where
clusters are few (Bell and McCaffrey, "Bias reduction in standard errors", 2002). In no direction is V taken to be less
than H⁻¹, the variance if votes were independent. The intervals thus describe new prompts and new annotators. Where
there is one prompt only, they describe new annotators on this prompt. Critical values are Student's t with min(G) − 1
degrees of freedom.

All pairs of models are compared at once, each at level 5% / number of pairs (Bonferroni), so that the probability of
any false difference is at most 5%. From these comparisons follow the intervals of ranks (Mogstad, Romano, Shaikh and
Wilhelm, "Inference for ranks", 2024) and the classes (Piepho, "An algorithm for a letter-based representation of
all-pairwise comparisons", 2004): two models share a letter if and only if they do not differ significantly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.votes.arrays import LEFT, RIGHT, VoteArrays
from schemas.errors import CurateError

LEVEL = 0.95
"""Confidence level of the intervals; 1 − LEVEL is the family-wise error rate of the comparisons."""
RIDGE = 0.5
"""Precision of the normal prior on strengths and bias, 1 / logits², so that a model that won every vote has a finite
strength and a wide interval. Its information is that of about two votes."""
MAX_WORK = 2_000_000_000
"""G (M + 1)³ above which clusters are not left out in turn: they are then so many that it makes no difference."""
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
    """One row per model: see `COLUMNS`."""
    covariance: Float
    """(M, M) of the strengths, logits²."""
    significant: Bool
    """(M, M) whether two models differ significantly (family-wise)."""
    wins: Float
    """(M, M) vote weight that the row won against the column; a tie counts half."""
    clustered_by: tuple[str, ...]
    """What the standard errors take to be independent: prompt, annotator, vote."""
    side_bias: float
    """Log odds in favour of the left side; 0 where no side is known."""
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
    "classes": "letters: two models share one if and only if they do not differ significantly",
    "strength": "log odds of winning against the mean model",
    "strength_se": "its standard error, cluster-robust",
    "low": "lower end of the 95% confidence interval of strength",
    "high": "upper end",
    "win_rate": "share of vote weight won; a tie counts half",
    "votes": "votes that the model takes part in",
    "prompts": "prompts with such a vote",
}
"""Column of `Leaderboard.frame` -> meaning."""


def leaderboard(votes: VoteArrays) -> Leaderboard:
    """Return the leaderboard of the models behind the votes.

    Parameters
    ----------
    votes
        V votes. With one prompt and no models, each response counts as a model.

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
    >>> leaderboard(votes).frame.select("model", "rank", "win_rate", "classes").rows()
    [('a', 1, 0.75, 'a'), ('b', 2, 0.25, 'a')]
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
    strength = fit.theta[:-1] - _component_mean(fit.theta[:-1], component)
    covariance, clustered_by, degrees = _robust_covariance(games, fit, component)
    significant = _significant(strength, covariance, component, degrees)
    order = np.lexsort((np.arange(len(names)), -np.round(strength, 9), component))
    order = order[np.bincount(np.concatenate([games.i, games.j]), minlength=len(names))[order] > 0]
    frame = _frame(games, strength, np.sqrt(np.diagonal(covariance)), significant, component, degrees)[order]
    return Leaderboard(
        frame=frame.with_columns(pl.Series("model", [names[m] for m in order])).select(*COLUMNS),
        covariance=covariance[np.ix_(order, order)],
        significant=significant[np.ix_(order, order)],
        wins=_wins(games)[np.ix_(order, order)],
        clustered_by=clustered_by,
        side_bias=float(fit.theta[-1]),
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
    side: Float
    """(V,) 1 where sides are known, else 0."""
    won: Float
    """(V,) 1 a win of i, 0 of j, ½ a tie."""
    weight: Float
    """(V,)"""
    prompt: Index
    """(V,)"""
    annotator: Index
    """(V,) a number per annotator; per K-wise ranking or vote where the annotator is anonymous."""


def _games(votes: VoteArrays, i: Index, j: Index, models: int) -> _Games:
    groups = int(votes.group.max(initial=-1)) + 1
    alone = len(votes.annotators) + np.where(votes.group >= 0, votes.group, groups + np.arange(len(i)))
    return _Games(
        models=models,
        i=i,
        j=j,
        side=votes.sides_known.astype(np.float64),
        won=np.select([votes.outcome == LEFT, votes.outcome == RIGHT], [1.0, 0.0], 0.5),
        weight=votes.weight,
        prompt=votes.response_prompt[votes.left].astype(np.int64),
        annotator=np.unique(np.where(votes.annotator >= 0, votes.annotator, alone), return_inverse=True)[1],
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
    """(M + 1,) strengths, then the side bias."""
    residual: Float
    """(V,) weighted residual of each vote: its gradient in θᵢ, and minus that in θⱼ."""
    curvature: Float
    """(V,) weighted p (1 − p) of each vote."""
    hessian: Float
    """(M + 1, M + 1) negative Hessian, with the ridge."""
    n_iter: int
    converged: bool


def _bradley_terry(games: _Games) -> _Fit:
    """Maximise Σ weight · log-likelihood − RIDGE ‖θ‖² / 2 by Newton's method; the objective is concave."""
    theta, n_iter, converged = np.zeros(games.models + 1), 0, False
    while n_iter < MAX_ITER and not converged:
        n_iter += 1
        probability = 1 / (1 + np.exp(-(theta[games.i] - theta[games.j] + theta[-1] * games.side)))
        residual = games.weight * (games.won - probability)
        curvature = games.weight * probability * (1 - probability)
        hessian = _hessian(games, curvature)
        step = np.linalg.solve(hessian, _gradient(games, residual) - RIDGE * theta)
        converged = bool(np.abs(step).max() < TOLERANCE)
        theta = theta + step / max(1.0, float(np.abs(step).max()))
    return _Fit(theta, residual, curvature, hessian, n_iter, converged)


def _gradient(games: _Games, residual: Float) -> Float:
    """(M + 1,) sum over votes of residual · x, with x = eᵢ − eⱼ + side · e_bias."""
    total = np.zeros(games.models + 1)
    total[:-1] = np.bincount(games.i, residual, games.models) - np.bincount(games.j, residual, games.models)
    total[-1] = residual @ games.side
    return total


def _hessian(games: _Games, curvature: Float) -> Float:
    """(M + 1, M + 1) Σ curvature · x xᵀ + RIDGE · I: minus the second derivatives."""
    m, sided = games.models, curvature * games.side
    cross = np.bincount(games.i * m + games.j, curvature, m * m).reshape(m, m)
    total = RIDGE * np.eye(m + 1)
    total[:-1, :-1] += np.diag(cross.sum(axis=0) + cross.sum(axis=1)) - cross - cross.T
    total[-1, :-1] = total[:-1, -1] = np.bincount(games.i, sided, m) - np.bincount(games.j, sided, m)
    total[-1, -1] += sided @ games.side
    return total


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


def _robust_covariance(games: _Games, fit: _Fit, component: Index) -> tuple[Float, tuple[str, ...], int]:
    """(M, M) covariance of the centred strengths, what it clusters by, and the degrees of freedom."""
    clusters = {"prompt": games.prompt, "annotator": games.annotator}
    used = {name: cluster for name, cluster in clusters.items() if len(np.unique(cluster)) > 1}
    used = used or {"vote": np.arange(len(games.i))}  # one prompt and one annotator: only votes are left to vary
    parts = {name: _jackknife(cluster, games, fit) for name, cluster in used.items()}
    total: Float = np.sum([variance for variance, _ in parts.values()], axis=0)
    if len(parts) == 2:
        both = games.prompt * (int(games.annotator.max()) + 1) + games.annotator
        moves = np.linalg.solve(fit.hessian, _cluster_sums(both, games, fit.residual).toarray().T)
        total = total - moves @ moves.T
    # At least the model's own variance H⁻¹ = L Lᵀ in every direction: votes that all agree have no residual variance.
    half = np.linalg.cholesky(np.linalg.inv(fit.hessian))
    inverse = np.linalg.inv(half)
    values, vectors = np.linalg.eigh(inverse @ total @ inverse.T)
    root = half @ vectors
    total = (root * np.maximum(values, 1.0)) @ root.T
    same = component[:, None] == component
    centre = np.eye(games.models) - same / same.sum(axis=1)
    covariance: Float = centre @ total[:-1, :-1] @ centre.T
    return covariance, tuple(parts), max(1, min(count for _, count in parts.values()) - 1)


def _jackknife(cluster: Index, games: _Games, fit: _Fit) -> tuple[Float, int]:
    """(M + 1, M + 1) variance of θ over G clusters that are left out in turn, and G."""
    _, number = np.unique(cluster, return_inverse=True)
    count, size = int(number.max()) + 1, len(fit.theta)
    gradient = _cluster_sums(number, games, fit.residual)
    total = np.zeros((size, size))
    corrected = count * size**3 <= MAX_WORK
    step = max(1, CHUNK // size**2) if corrected else count
    for start in range(0, count, step):
        part = gradient[start : start + step].toarray()  # (clusters, M + 1)
        if corrected:
            hessian = fit.hessian - _cluster_hessians(number - start, len(part), games, fit.curvature)
            moves = np.linalg.solve(hessian, part[:, :, None])[:, :, 0]
        else:
            moves = np.linalg.solve(fit.hessian, part.T).T
        total += moves.T @ moves
    return total * (count - 1) / count if corrected else total, count


def _cluster_sums(cluster: Index, games: _Games, residual: Float) -> csr_array:
    """(G, M + 1) gradient of the votes of each cluster."""
    from scipy.sparse import csr_array

    _, number = np.unique(cluster, return_inverse=True)
    bias = np.full(len(games.i), games.models)
    rows, columns = np.tile(number, 3), np.concatenate([games.i, games.j, bias])
    values = np.concatenate([residual, -residual, residual * games.side])
    return csr_array((values, (rows, columns)), shape=(int(number.max()) + 1, games.models + 1))


def _cluster_hessians(cluster: Index, count: int, games: _Games, curvature: Float) -> Float:
    """(G, M + 1, M + 1) Σ curvature · x xᵀ over the votes of clusters 0 … G − 1; others are ignored."""
    own = (cluster >= 0) & (cluster < count)
    size = games.models + 1
    g, i, j = cluster[own], games.i[own], games.j[own]
    value, side, bias = curvature[own], games.side[own], np.full(int(own.sum()), games.models)
    cells = ((i, i, value), (j, j, value), (i, j, -value), (j, i, -value), (bias, bias, value * side))
    with_bias = ((i, bias, value * side), (bias, i, value * side), (j, bias, -value * side), (bias, j, -value * side))
    place = np.concatenate([(g * size + row) * size + column for row, column, _ in (*cells, *with_bias)])
    values = np.concatenate([each for _, _, each in (*cells, *with_bias)])
    hessians: Float = np.bincount(place, values, count * size**2).astype(np.float64).reshape(count, size, size)
    return hessians


def _significant(strength: Float, covariance: Float, component: Index, degrees: int) -> Bool:
    """(M, M) which pairs of one component differ, at a family-wise error rate of 1 − LEVEL."""
    from scipy.special import stdtrit

    variance = np.diagonal(covariance)
    error = np.sqrt(np.maximum(variance[:, None] + variance - 2 * covariance, 0.0))
    same = (component[:, None] == component) & (error > 0)
    pairs = max(1, int(same.sum()) // 2)
    critical = float(stdtrit(degrees, 1 - (1 - LEVEL) / pairs / 2))
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
            "classes": _classes(significant, component, strength),
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


def _classes(significant: Bool, component: Index, strength: Float) -> list[str]:
    """The letters of each model: one per maximal set of models of a component without a significant difference."""
    import networkx as nx

    place = np.argsort(np.lexsort((-strength, component)))
    alike = ~significant & (component[:, None] == component)
    graph = nx.from_numpy_array(np.triu(alike, 1))
    cliques = [sorted(clique, key=place.__getitem__) for clique in nx.find_cliques(graph)]
    cliques.sort(key=lambda clique: [int(place[member]) for member in clique])
    letters: list[list[str]] = [[] for _ in component]
    for number, clique in enumerate(cliques):
        for member in clique:
            letters[member].append(_letter(number))
    return [("" if len(cliques) <= 26 else " ").join(each) for each in letters]


def _letter(number: int) -> str:
    """a … z, then aa, ab, …"""
    letters = ""
    number += 1
    while number:
        number, digit = divmod(number - 1, 26)
        letters = chr(ord("a") + digit) + letters
    return letters
