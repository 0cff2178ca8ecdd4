"""Bradley-Terry strengths with a normal prior, for all prompts at once, by Newton's method.

Model: P(i is preferred to j) = σ(θᵢ − θⱼ) (Bradley and Terry, 1952). Votes are weighted; a tie is half a vote for each
side. Prior: θᵢ ~ N(0, 1/ridge) (compare Caron and Doucet, 2012). With W[i, j] the weight of votes that prefer i to j,
V = W + Wᵀ and p[i, j] = σ(θᵢ − θⱼ):

    log-posterior       Σ_ij W[i, j] log p[i, j] − ridge/2 Σ θᵢ²
    gradient            g_i = Σ_j (W[i, j] − V[i, j] p[i, j]) − ridge θᵢ
    negative Hessian    H = Laplacian of V p (1 − p) + ridge I
    Newton step         θ ← θ + H⁻¹ g

The log-posterior is strictly concave. Therefore the mode exists, is unique and finite, also for a response that never
lost, has no votes, or is not connected to the others. Σ g_i = −ridge Σ θᵢ, so strengths have mean 0 at the mode.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from curate.array_types import Bool, Float, Index
from curate.rankers.base import RankerSpec, Ranking, blocks, ranking_of
from curate.votes.arrays import VoteArrays
from curate.votes.graphs import GraphBatch

TOLERANCE = 1e-10
"""Convergence: no entry of the gradient exceeds this share of ridge + the votes of the prompt's busiest response."""
MAX_ITERATIONS = 100
MAX_HALVINGS = 40
"""Halvings of one Newton step."""


class Fit(NamedTuple):
    """The posterior mode of B prompts with N responses each."""

    strength: Float
    """(B, N) logits, mean 0."""
    converged: Bool
    """(B,) the gradient is within tolerance."""
    n_iter: Index
    """(B,) Newton steps."""


@dataclass(frozen=True)
class BradleyTerry:
    """Rank by the posterior mode of Bradley-Terry strength, in logits."""

    ridge: float = 0.1
    """Precision of the normal prior on strengths, 1 / logits²."""

    def __post_init__(self) -> None:
        check_ridge(self.ridge)

    def __call__(self, votes: VoteArrays, /) -> Ranking:
        scores = np.zeros(len(votes.responses))
        converged = np.ones(len(votes.prompts), dtype=np.bool_)
        n_iter = np.zeros(len(votes.prompts), dtype=np.int64)
        for graphs in votes.graphs:
            mode = mode_of(graphs, self.ridge)
            scores[graphs.slots] = mode.strength
            converged[graphs.prompts], n_iter[graphs.prompts] = mode.converged, mode.n_iter
        return ranking_of(votes, scores, converged=converged, n_iter=n_iter)


def check_ridge(ridge: float) -> None:
    """Raise ValueError unless the prior is proper."""
    if not ridge > 0:
        raise ValueError(f"ridge is {ridge}; it must be above 0, because undefeated responses need a prior")


def mode_of(graphs: GraphBatch, ridge: float) -> Fit:
    """Return ``fit`` of the graphs. It is kept as long as they are: several rankers begin with these strengths."""
    known = _MODES.setdefault(graphs, {})
    if ridge not in known:
        known[ridge] = fit(graphs.wins, ridge)
    return known[ridge]


_MODES: WeakKeyDictionary[GraphBatch, dict[float, Fit]] = WeakKeyDictionary()


def fit(wins: Float, ridge: float, max_iterations: int = MAX_ITERATIONS, *, start: Float | None = None) -> Fit:
    """Return the posterior mode of each prompt.

    A Newton step is halved until the largest gradient entry decreases; along a Newton step every entry decreases at
    first. Prompts that have converged are not changed by further iterations.

    Parameters
    ----------
    wins : (B, N, N) vote weight that prefers i to j
    ridge : precision of the prior, 1 / logits²
    max_iterations : Newton steps
    start : (B, N) logits; by default each response's log odds of winning, which saves about three of seven steps

    Examples
    --------
    >>> fit(np.array([[[0.0, 3.0], [1.0, 0.0]]]), ridge=1e-6).strength.round(3).tolist()  # ±½ log 3
    [[0.549, -0.549]]
    """
    found = [
        _fit_block(wins[rows], ridge, max_iterations, _log_odds(wins[rows]) if start is None else start[rows].copy())
        for rows in blocks(len(wins), wins.shape[1] ** 2)
    ]
    return Fit(*map(np.concatenate, zip(*found, strict=True)))


def _fit_block(wins: Float, ridge: float, max_iterations: int, strength: Float) -> Fit:
    """Return the posterior modes of some prompts. strength: (B, N) where to start; it is overwritten."""
    weight = wins + wins.swapaxes(1, 2)
    busiest = weight.sum(axis=2).max(axis=1, initial=0)
    tolerance = TOLERANCE * (ridge + busiest)
    gradient, information = _derivatives(wins, weight, strength, ridge)
    error = np.abs(gradient).max(axis=1, initial=0)
    n_iter = np.zeros(len(wins), dtype=np.int64)
    for _ in range(max_iterations):
        rows = np.flatnonzero(error > tolerance)
        if not len(rows):
            break
        n_iter[rows] += 1
        step = np.linalg.solve(_precision(information[rows], ridge), gradient[rows, :, None])[..., 0]
        before, limit = strength.copy(), error.copy()
        for _ in range(MAX_HALVINGS):
            strength[rows] = before[rows] + step
            gradient[rows], information[rows] = _derivatives(wins[rows], weight[rows], strength[rows], ridge)
            error[rows] = np.abs(gradient[rows]).max(axis=1)
            worse = error[rows] >= limit[rows]
            rows, step = rows[worse], step[worse] / 2
            if not len(rows):
                break
    return Fit(strength - strength.mean(axis=1, keepdims=True), error <= tolerance, n_iter)


def covariance(wins: Float, strength: Float, ridge: float) -> Float:
    """Return the (B, N, N) posterior covariance of the strengths, logits²: the inverse negative Hessian at the mode.

    wins: (B, N, N). strength: (B, N), the result of ``fit`` with the same ridge.
    """
    _, information = _derivatives(wins, wins + wins.swapaxes(1, 2), strength, ridge)
    return np.asarray(np.linalg.inv(_precision(information, ridge)))


def _log_odds(wins: Float) -> Float:
    """Return each response's log odds of winning, (B, N) with mean 0."""
    odds = np.log((wins.sum(axis=2) + 0.5) / (wins.sum(axis=1) + 0.5))
    return np.asarray(odds - odds.mean(axis=1, keepdims=True))


def _derivatives(wins: Float, weight: Float, strength: Float, ridge: float) -> tuple[Float, Float]:
    """Return the (B, N) gradient and the (B, N, N) information V p (1 − p). weight: (B, N, N), V above."""
    gap = strength[:, :, None] - strength[:, None, :]
    small = np.exp(-np.abs(gap))  # never overflows; several times as fast as scipy's expit
    probability = np.where(gap >= 0, 1.0, small) / (1 + small)
    gradient = (wins - weight * probability).sum(axis=2) - ridge * strength
    return gradient, weight * small / (1 + small) ** 2


def _precision(information: Float, ridge: float) -> Float:
    """Return the (B, N, N) negative Hessian: the Laplacian of the information plus ridge on the diagonal."""
    hessian: Float = -information
    n = information.shape[1]
    hessian[:, np.arange(n), np.arange(n)] += information.sum(axis=2) + ridge
    return hessian


RANKER = RankerSpec("bradley-terry", build=lambda config: BradleyTerry(config.bradley_terry.ridge), pools_prompts=False)
