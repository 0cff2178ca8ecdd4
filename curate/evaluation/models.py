"""The strengths of models over all prompts, with cluster-robust covariance: Bradley-Terry with covariates.

A vote for model i over model j shown left and right has log odds θᵢ − θⱼ + βᵀx, with a bias toward the left side where
sides are known, and an effect of each covariate of the responses (x: 1, left − right). A tie counts half a vote for
each. Votes on one video (one prompt, where videos are unknown) are dependent, and so are votes by one annotator. The
covariance of θ is therefore the two-way cluster-robust sandwich (Cameron, Gelbach and Miller, "Robust inference with
multiway clustering", 2011):

    V = Vᵥ + Vₐ − Vᵥₐ,   Vᵥ and Vₐ = (G − 1)/G Σ_g d_g d_gᵀ, d_g = (H − H_g)⁻¹ u_g,   Vᵥₐ = Σ_g H⁻¹ u_g u_gᵀ H⁻¹,

where H is the negative Hessian, H_g and u_g the part of it and of the gradient that the votes in cluster g contribute,
and the clusters are videos (v), annotators (a), and their intersections (va). Prompts are nested in videos. d_g is how
far θ moves when cluster g is left out (one Newton step), so that Vᵥ and Vₐ are jackknife estimates, which do not
understate the variance where clusters are few (Bell and McCaffrey, "Bias reduction in standard errors", 2002). In no
direction is V taken to be less than H⁻¹, the variance if votes were independent. The intervals thus describe new videos
and new annotators. Critical values are Student's t with min(G) − 1 degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from curate.array_types import Bool, Float, Index
from curate.votes.arrays import LEFT, RIGHT, VoteArrays

RIDGE = 0.5
"""Precision of the normal prior on strengths and effects, 1 / logits², so that a model that won every vote has a finite
strength and a wide interval. Its information is that of about two votes."""
MAX_WORK = 2_000_000_000
"""G size³ above which clusters are not left out in turn: they are then so many that it makes no difference."""
CHUNK = 4_000_000
"""Numbers in the Hessians, or else gradients, of clusters at a time."""
TOLERANCE = 1e-10
MAX_ITER = 100


def between_models(votes: VoteArrays, model: Index) -> Bool:
    """(V,) whether each vote compares two different known models. model: (R,), −1 unknown."""
    i, j = model[votes.left], model[votes.right]
    between: Bool = (i >= 0) & (j >= 0) & (i != j)
    return between


def models_of(votes: VoteArrays) -> tuple[tuple[str, ...], Index]:
    """Names of the models, and (R,) the model of each response (−1 unknown)."""
    if not votes.models and len(votes.prompts) == 1:
        return votes.responses, np.arange(len(votes.responses))
    return votes.models, votes.response_model.astype(np.int64)


OF_VOTES = ("i", "j", "design", "won", "weight", "prompt")
"""The arrays of ``Games`` with a row per vote, besides clusters."""


@dataclass(frozen=True)
class Games:
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
    """What votes are clustered by -> (V,) numbers 0, 1, …. Anonymous annotators: a number per group, or per vote."""

    @property
    def sizes(self) -> dict[str, int]:
        """What votes are clustered by -> the number of clusters."""
        return {name: int(cluster.max(initial=-1)) + 1 for name, cluster in self.clusters.items()}

    def parts(self, _by: str) -> Iterable[Games]:
        """All votes, as one part."""
        return [self]

    def of_votes(self, keep: Bool | Index) -> Games:
        """The chosen votes. keep: (V,), or their numbers."""
        columns = {name: getattr(self, name)[keep] for name in OF_VOTES}
        return replace(self, **columns, clusters={name: number[keep] for name, number in self.clusters.items()})


class GamesInParts(Protocol):
    """Votes between two of M models, some of them in memory at a time; ``Games`` are one part."""

    @property
    def models(self) -> int:
        """M"""

    @property
    def sizes(self) -> Mapping[str, int]:
        """What all votes are clustered by -> the number of clusters."""

    def parts(self, by: str) -> Iterable[Games]:
        """All votes in parts, in the same order each time; those of a cluster of this kind are in one part."""


@dataclass(frozen=True)
class Totals:
    """Votes added up."""

    games: Games
    """Equal votes as one with their total weight, or all where they have covariates; not clustered."""
    votes: Index
    """(M,) votes that each model takes part in."""
    prompts: Index
    """(M,) prompts with such a vote."""
    count: int
    """V"""


def total(games: GamesInParts) -> Totals:
    """Return the totals of all votes."""
    m, sums = games.models, list[Games]()
    votes, prompts, count = np.zeros(m, dtype=np.int64), np.zeros(m, dtype=np.int64), 0
    for part in games.parts(next(iter(games.sizes))):  # of prompts or videos: a prompt is in one part
        sums.append(_summed(part))
        votes += np.bincount(part.i, minlength=m) + np.bincount(part.j, minlength=m)
        sides = np.concatenate([part.i, part.j]), np.tile(np.unique(part.prompt, return_inverse=True)[1], 2)
        prompts += np.bincount(np.unique(sides[1] * m + sides[0]) % m, minlength=m)
        count += len(part.i)
    every = sums[0]
    if len(sums) > 1:
        together: Any = {name: np.concatenate([getattr(part, name) for part in sums]) for name in OF_VOTES}
        every = _summed(replace(every, **together))
    return Totals(every, votes, prompts, count)


def _summed(games: Games) -> Games:
    """Equal votes as one with their total weight; all votes where there are covariates."""
    bare = replace(games, prompt=np.zeros_like(games.i), clusters={})
    if len(games.scale) > 1:
        return bare
    kind = ((games.i * games.models + games.j) * 2 + (games.design[:, 0] > 0)) * 3 + np.round(2 * games.won)
    _, first, number = np.unique(kind, return_index=True, return_inverse=True)
    weight: Float = np.bincount(number, games.weight).astype(np.float64)
    return replace(bare.of_votes(first), weight=weight)


def games_of(votes: VoteArrays, i: Index, j: Index, models: int) -> Games:
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
    return Games(
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


def components_of(games: Games) -> Index:
    """(M,) the connected component of each model; 0 is the largest (of equal ones, the one with the first model)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(games.i)), (games.i, games.j)), shape=(games.models, games.models))
    _, label = connected_components(graph, directed=False)
    order = np.argsort(-np.bincount(label), kind="stable")
    component: Index = np.argsort(order)[label]
    return component


@dataclass(frozen=True)
class Fit:
    theta: Float
    """(M + 1 + K,) strengths, then side bias and effects of covariates in units of the design."""
    hessian: Float
    """(M + 1 + K, M + 1 + K) negative Hessian, with the ridge."""
    n_iter: int
    converged: bool


def residuals(games: Games, theta: Float) -> tuple[Float, Float]:
    """Return of each vote (V,) its gradient in θᵢ, which is minus that in θⱼ; and (V,) weighted p (1 − p)."""
    log_odds = theta[games.i] - theta[games.j] + games.design @ theta[games.models :]
    probability = 1 / (1 + np.exp(-log_odds))
    return games.weight * (games.won - probability), games.weight * probability * (1 - probability)


def fit_models(games: Games) -> Fit:
    """Maximise Σ weight · log-likelihood − RIDGE ‖θ‖² / 2 by Newton's method; the objective is concave."""
    n_iter, converged = 0, False
    theta, one = np.zeros(games.models + games.design.shape[1]), np.zeros(len(games.i), dtype=np.int64)
    while n_iter < MAX_ITER and not converged:
        n_iter += 1
        residual, curvature = residuals(games, theta)
        hessian = _hessians(one, 1, games, curvature)[0] + RIDGE * np.eye(len(theta))
        gradient = _gradients(one, 1, games, residual)[0]
        step = np.linalg.solve(hessian, gradient - RIDGE * theta)
        converged = bool(np.abs(step).max() < TOLERANCE)
        theta = theta + step / max(1.0, float(np.abs(step).max()))
    return Fit(theta, hessian, n_iter, converged)


def moves(games: Games, fit: Fit, better: int, worse: int) -> Float:
    """Return (V,) by how much the gap in strength of two models shrinks without each vote, to first order, logits."""
    contrast = np.zeros(len(fit.theta))
    contrast[better], contrast[worse] = 1.0, -1.0
    along = np.linalg.solve(fit.hessian, contrast)
    per_residual: Float = along[games.i] - along[games.j] + games.design @ along[games.models :]
    moved: Float = residuals(games, fit.theta)[0] * per_residual
    return moved


def robust_covariance(games: GamesInParts, fit: Fit) -> tuple[Float, tuple[str, ...], int]:
    """(M + 1 + K, M + 1 + K) covariance of θ, what it clusters by, and the degrees of freedom."""
    sizes = {name: size for name, size in games.sizes.items() if size > 1}
    variance = np.zeros_like(fit.hessian)
    for place, (name, size) in enumerate(sizes.items()):
        leave_out = size * len(fit.theta) ** 3 <= MAX_WORK
        for part in games.parts(name):
            own = _moved(part.clusters[name], part, fit, leave_out=leave_out)
            variance += own * (size - 1) / size if leave_out else own
            if place == 0 and len(sizes) == 2:
                first, second = part.clusters.values()
                variance -= _moved(first * (second.max() + 1) + second, part, fit, leave_out=False)
    if not sizes:  # one video and one annotator: only votes are left to vary
        for part in games.parts(next(iter(games.sizes))):
            sizes["vote"] = sizes.get("vote", 0) + len(part.i)
            variance += _moved(np.arange(len(part.i)), part, fit, leave_out=False)
    # At least the model's own variance H⁻¹ = L Lᵀ in every direction: votes that all agree have no residual variance.
    half = np.linalg.cholesky(np.linalg.inv(fit.hessian))
    inverse = np.linalg.inv(half)
    values, vectors = np.linalg.eigh(inverse @ variance @ inverse.T)
    root = half @ vectors
    return (root * np.maximum(values, 1.0)) @ root.T, tuple(sizes), max(1, min(sizes.values()) - 1)


def _moved(cluster: Index, games: Games, fit: Fit, *, leave_out: bool) -> Float:
    """(M + 1 + K, M + 1 + K) Σ d dᵀ over clusters. leave_out: each is left out in turn, else d = H⁻¹ u."""
    order = np.argsort(cluster, kind="stable")
    number = np.cumsum(np.diff(cluster[order], prepend=cluster[order[:1]]) > 0)  # 0 … G − 1
    count, size = int(number[-1]) + 1, len(fit.theta)
    sums, step = np.zeros((size, size)), max(1, CHUNK // (size**2 if leave_out else size))
    for start in range(0, count, step):
        part = slice(*np.searchsorted(number, [start, start + step]))
        own, place, clusters = games.of_votes(order[part]), number[part] - start, min(step, count - start)
        residual, curvature = residuals(own, fit.theta)
        gradient = _gradients(place, clusters, own, residual)
        if leave_out:
            hessian = fit.hessian - _hessians(place, clusters, own, curvature)
            moved = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        else:
            moved = np.linalg.solve(fit.hessian, gradient.T).T
        sums += moved.T @ moved
    return sums


def _gradients(cluster: Index, count: int, games: Games, residual: Float) -> Float:
    """(G, M + 1 + K) Σ residual · x over the votes of clusters 0 … G − 1, x = eᵢ − eⱼ and the design."""
    m = games.models
    won, lost = (np.bincount(cluster * m + side, residual, count * m) for side in (games.i, games.j))
    design = [np.bincount(cluster, residual * column, count) for column in games.design.T]
    return np.column_stack([(won - lost).reshape(count, m), *design])


def _hessians(cluster: Index, count: int, games: Games, curvature: Float) -> Float:
    """(G, M + 1 + K, M + 1 + K) Σ curvature · x xᵀ over the votes of clusters 0 … G − 1."""
    m, size = games.models, games.models + games.design.shape[1]
    hessians = np.zeros((count, size, size))

    def add(rows: Index, columns: Index, values: Float, width: int) -> Float:
        """(G, rows, columns) sums at the places of one kind."""
        place = (cluster * m + rows) * width + columns
        return np.bincount(place, values, count * m * width).astype(np.float64).reshape(count, m, width)

    cross = add(games.i, games.j, curvature, m)
    hessians[:, :m, :m] = -cross - cross.swapaxes(1, 2)
    hessians[:, np.arange(m), np.arange(m)] += cross.sum(axis=1) + cross.sum(axis=2)
    zero = np.zeros_like(games.i)
    for k in range(size - m):
        weighted = curvature * games.design[:, k]
        hessians[:, :m, m + k] = (add(games.i, zero, weighted, 1) - add(games.j, zero, weighted, 1))[:, :, 0]
        hessians[:, m + k, :m] = hessians[:, :m, m + k]
        for other in range(k, size - m):
            both = np.bincount(cluster, weighted * games.design[:, other], count)
            hessians[:, m + k, m + other] = hessians[:, m + other, m + k] = both
    return hessians
