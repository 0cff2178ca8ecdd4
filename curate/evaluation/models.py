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

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

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

Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


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
    """What votes are clustered by -> (V,) numbers. Anonymous annotators: a number per group, or per vote."""

    def of_votes(self, keep: Bool | Index) -> Games:
        """The chosen votes. keep: (V,), or their numbers."""
        columns = {name: getattr(self, name)[keep] for name in ("i", "j", "design", "won", "weight", "prompt")}
        return replace(self, **columns, clusters={name: number[keep] for name, number in self.clusters.items()})


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
    residual: Float
    """(V,) weighted residual of each vote: its gradient in θᵢ, and minus that in θⱼ."""
    curvature: Float
    """(V,) weighted p (1 − p) of each vote."""
    hessian: Float
    """(M + 1 + K, M + 1 + K) negative Hessian, with the ridge."""
    n_iter: int
    converged: bool


def fit_models(games: Games) -> Fit:
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
        gradient = _gradients(one, 1, games, residual)[0]
        step = np.linalg.solve(hessian, gradient - RIDGE * theta)
        converged = bool(np.abs(step).max() < TOLERANCE)
        theta = theta + step / max(1.0, float(np.abs(step).max()))
    return Fit(theta, residual, curvature, hessian, n_iter, converged)


def moves(games: Games, fit: Fit, better: int, worse: int) -> Float:
    """Return (V,) by how much the gap in strength of two models shrinks without each vote, to first order, logits."""
    contrast = np.zeros(len(fit.theta))
    contrast[better], contrast[worse] = 1.0, -1.0
    along = np.linalg.solve(fit.hessian, contrast)
    moved: Float = fit.residual * (along[games.i] - along[games.j] + games.design @ along[games.models :])
    return moved


def robust_covariance(games: Games, fit: Fit) -> tuple[Float, tuple[str, ...], int]:
    """(M + 1 + K, M + 1 + K) covariance of θ, what it clusters by, and the degrees of freedom."""
    used = {name: cluster for name, cluster in games.clusters.items() if cluster.max() > 0}
    used = used or {"vote": np.arange(len(games.i))}  # one video and one annotator: only votes are left to vary
    counts = [int(cluster.max()) + 1 for cluster in used.values()]
    total = np.zeros_like(fit.hessian)
    for cluster, count in zip(used.values(), counts, strict=True):
        total += _variance(cluster, games, fit, leave_out=count * len(fit.theta) ** 3 <= MAX_WORK)
    if len(used) == 2:
        first, second = used.values()
        total -= _variance(first * counts[1] + second, games, fit, leave_out=False)
    # At least the model's own variance H⁻¹ = L Lᵀ in every direction: votes that all agree have no residual variance.
    half = np.linalg.cholesky(np.linalg.inv(fit.hessian))
    inverse = np.linalg.inv(half)
    values, vectors = np.linalg.eigh(inverse @ total @ inverse.T)
    root = half @ vectors
    return (root * np.maximum(values, 1.0)) @ root.T, tuple(used), max(1, min(counts) - 1)


def _variance(cluster: Index, games: Games, fit: Fit, *, leave_out: bool) -> Float:
    """(M + 1 + K, M + 1 + K) variance of θ over G clusters; with ``leave_out`` each is left out in turn."""
    order = np.argsort(cluster, kind="stable")
    number = np.cumsum(np.diff(cluster[order], prepend=cluster[order[:1]]) > 0)  # 0 … G − 1
    count, size = int(number[-1]) + 1, len(fit.theta)
    total, step = np.zeros((size, size)), max(1, CHUNK // (size**2 if leave_out else size))
    for start in range(0, count, step):
        part = slice(*np.searchsorted(number, [start, start + step]))
        own, place, clusters = games.of_votes(order[part]), number[part] - start, min(step, count - start)
        gradient = _gradients(place, clusters, own, fit.residual[order[part]])
        if leave_out:
            hessian = fit.hessian - _hessians(place, clusters, own, fit.curvature[order[part]])
            moved = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        else:
            moved = np.linalg.solve(fit.hessian, gradient.T).T
        total += moved.T @ moved
    return total * (count - 1) / count if leave_out else total


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
