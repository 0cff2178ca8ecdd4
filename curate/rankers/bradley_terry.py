"""Bradley-Terry strengths of all prompts at once, by damped Newton steps on their log-posterior.

P(i is preferred to j) = σ(θᵢ − θⱼ), votes weighted, ties half a vote to each side (Bradley and Terry, 1952), with the
prior θᵢ ~ N(0, 1/ridge). The prior makes the log-posterior strictly concave, so that the answer exists, is unique
and finite, also for a response that never lost, has no votes, or is tied to the others by no chain of votes
(Caron and Doucet, 2012, discuss such priors). Its gradient sums to −ridge Σθ: at the answer strengths have mean 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curate.compiled import compiled
from curate.rankers.base import Float, Ranking
from curate.rankers.result import ranking_of
from curate.votes.arrays import VoteArrays

TOLERANCE = 1e-10
"""Largest gradient entry at which a prompt counts as converged, as a part of ridge + its busiest response's votes."""
MAX_ITERATIONS = 100
HALVINGS = 40
"""Of a Newton step, at most."""

Index = npt.NDArray[np.int64]


class Fit(NamedTuple):
    """Strengths of B prompts with N responses each."""

    strength: Float
    """(B, N) logits, mean 0."""
    converged: npt.NDArray[np.bool_]
    """(B,) the gradient is within tolerance."""
    n_iter: Index
    """(B,) Newton steps taken."""


@dataclass(frozen=True)
class BradleyTerry:
    """Ranks by posterior mode of Bradley-Terry strength, logits."""

    ridge: float = 0.1
    """Precision of the normal prior on strengths, 1 / logits²."""

    def __post_init__(self) -> None:
        if not self.ridge > 0:
            raise ValueError(f"ridge is {self.ridge}; it must be above 0, or undefeated responses have no strength")

    def __call__(self, votes: VoteArrays, /) -> Ranking:
        scores = np.zeros(len(votes.responses))
        converged = np.ones(len(votes.prompts), dtype=np.bool_)
        n_iter = np.zeros(len(votes.prompts), dtype=np.int64)
        for graphs in votes.graphs:
            answer = fit(graphs.wins, self.ridge)
            scores[graphs.slots] = answer.strength
            converged[graphs.prompts], n_iter[graphs.prompts] = answer.converged, answer.n_iter
        return ranking_of(votes, scores, converged=converged, n_iter=n_iter)

    def posterior(self, votes: VoteArrays, /) -> tuple[Float, Float]:
        """(R,) strengths and (R,) their standard deviations, logits: Laplace's normal approximation at the mode.

        A response without votes keeps nearly its prior, standard deviation ridge^(−1/2).
        """
        strength, deviation = np.zeros(len(votes.responses)), np.zeros(len(votes.responses))
        for graphs in votes.graphs:
            mode = fit(graphs.wins, self.ridge).strength
            variance = np.diagonal(covariance(graphs.wins, mode, self.ridge), axis1=1, axis2=2)
            strength[graphs.slots], deviation[graphs.slots] = mode, np.sqrt(variance)
        return strength, deviation


def fit(wins: Float, ridge: float, max_iterations: int = MAX_ITERATIONS, *, start: Float | None = None) -> Fit:
    """Strengths of every prompt of wins (B, N, N), by Newton steps halved until the largest gradient entry falls.

    They start from start (B, N), or from each response's log odds of winning, which saves about three of seven steps.
    Halving must help in the end: along a Newton step every entry of the gradient shrinks at first.
    """
    start = np.empty((0, 0)) if start is None else np.ascontiguousarray(start, dtype=np.float64)
    return Fit(*_modes(np.ascontiguousarray(wins, dtype=np.float64), float(ridge), max_iterations, start))


def covariance(wins: Float, strength: Float, ridge: float) -> Float:
    """(B, N, N) posterior covariance of the strengths, logits²: the inverse of the negative Hessian at the mode.

    wins: (B, N, N). strength: (B, N), the answer of ``fit`` with the same ridge.
    """
    return _covariances(np.ascontiguousarray(wins, dtype=np.float64), np.ascontiguousarray(strength), float(ridge))


@compiled
def _modes(wins: Float, ridge: float, max_iterations: int, start: Float) -> tuple[Float, npt.NDArray[np.bool_], Index]:
    """What ``Fit`` holds. start: (B, N), or empty."""
    batch, n, _ = wins.shape
    strength, converged = np.empty((batch, n)), np.zeros(batch, dtype=np.bool_)
    n_iter = np.zeros(batch, dtype=np.int64)
    precision = np.empty((n, n))
    gradient, step, trial = np.empty(n), np.empty(n), np.empty(n)
    for b in range(batch):
        i, j, won, both = _pairs(wins[b])
        information = np.empty(len(i))
        theta = strength[b]
        busiest = _log_odds(wins[b], theta)
        if len(start):
            for p in range(n):
                theta[p] = start[b, p]
        tolerance = TOLERANCE * (ridge + busiest)
        error = _gradient(theta, i, j, won, both, ridge, gradient, information)
        while error > tolerance and n_iter[b] < max_iterations:
            _precision(i, j, information, ridge, precision)
            _solve(precision, gradient, step)
            n_iter[b] += 1
            before = error
            for _ in range(HALVINGS):
                for p in range(n):
                    trial[p] = theta[p] + step[p]
                error = _gradient(trial, i, j, won, both, ridge, gradient, information)
                if error < before:
                    break
                for p in range(n):
                    step[p] /= 2
            for p in range(n):
                theta[p] = trial[p]
        converged[b] = error <= tolerance
        _centre(theta)
    return strength, converged, n_iter


@compiled
def _pairs(wins: Float) -> tuple[Index, Index, Float, Float]:
    """(M,) the pairs i < j with votes, the weight of votes that prefer i, and that of all votes on the two."""
    n = len(wins)
    i, j = np.empty(n * (n - 1) // 2, dtype=np.int64), np.empty(n * (n - 1) // 2, dtype=np.int64)
    won, both = np.empty(len(i)), np.empty(len(i))
    m = 0
    for p in range(n):
        for q in range(p + 1, n):
            if wins[p, q] + wins[q, p] > 0:
                i[m], j[m], won[m], both[m] = p, q, wins[p, q], wins[p, q] + wins[q, p]
                m += 1
    return i[:m], j[:m], won[:m], both[:m]


@compiled
def _log_odds(wins: Float, theta: Float) -> float:
    """Fills theta (N,) with each response's log odds of winning, mean 0; returns the votes of the busiest response."""
    n = len(theta)
    busiest = 0.0
    for p in range(n):
        won, lost = 0.0, 0.0
        for q in range(n):
            won += wins[p, q]
            lost += wins[q, p]
        theta[p] = np.log((won + 0.5) / (lost + 0.5))
        busiest = max(busiest, won + lost)
    _centre(theta)
    return busiest


@compiled
def _centre(theta: Float) -> None:
    mean = 0.0
    for p in range(len(theta)):
        mean += theta[p] / len(theta)
    for p in range(len(theta)):
        theta[p] -= mean


@compiled
def _gradient(
    theta: Float, i: Index, j: Index, won: Float, both: Float, ridge: float, gradient: Float, information: Float
) -> float:
    """Fills (N,) the log-posterior's gradient and (M,) each pair's information; returns the largest gradient entry."""
    for p in range(len(theta)):
        gradient[p] = -ridge * theta[p]
    for k in range(len(i)):
        gap = theta[i[k]] - theta[j[k]]
        small = np.exp(-abs(gap))  # never overflows
        likelier = 1 / (1 + small)
        information[k] = both[k] * small * likelier * likelier
        surplus = won[k] - both[k] * (likelier if gap >= 0 else small * likelier)
        gradient[i[k]] += surplus
        gradient[j[k]] -= surplus
    error = 0.0
    for p in range(len(theta)):
        error = max(error, abs(gradient[p]))
    return error


@compiled
def _precision(i: Index, j: Index, information: Float, ridge: float, precision: Float) -> None:
    """Fills (N, N) the log-posterior's negative Hessian: the graph's Laplacian, weighted by p(1 − p), plus ridge."""
    precision[:] = 0
    for p in range(len(precision)):
        precision[p, p] = ridge
    for k in range(len(i)):
        precision[i[k], j[k]] = precision[j[k], i[k]] = -information[k]
        precision[i[k], i[k]] += information[k]
        precision[j[k], j[k]] += information[k]


@compiled
def _solve(matrix: Float, right: Float, x: Float) -> None:
    """Fills x with matrix⁻¹ right, by elimination without pivots. matrix: (N, N) positive definite; it is used up."""
    n = len(x)
    for p in range(n):
        x[p] = right[p]
    for k in range(n):
        pivot = matrix[k]
        for p in range(k + 1, n):
            factor = pivot[p] / pivot[k]
            if factor != 0:
                x[p] -= factor * x[k]
                row = matrix[p]
                for q in range(p, n):
                    row[q] -= factor * pivot[q]
    for k in range(n - 1, -1, -1):
        for q in range(k + 1, n):
            x[k] -= matrix[k, q] * x[q]
        x[k] /= matrix[k, k]


@compiled
def _covariances(wins: Float, strength: Float, ridge: float) -> Float:
    """(B, N, N)"""
    batch, n, _ = wins.shape
    result = np.empty((batch, n, n))
    gradient = np.empty(n)
    for b in range(batch):
        i, j, won, both = _pairs(wins[b])
        information = np.empty(len(i))
        _gradient(strength[b], i, j, won, both, ridge, gradient, information)
        _precision(i, j, information, ridge, result[b])
        _invert(result[b])
    return result


@compiled
def _invert(matrix: Float) -> None:
    """Inverts a positive definite (N, N) matrix in place, by Gauss and Jordan's sweeps."""
    n = len(matrix)
    for k in range(n):
        pivot = matrix[k]
        inverse = 1 / pivot[k]
        for q in range(n):
            pivot[q] *= inverse
        for p in range(n):
            factor = matrix[p, k]
            if p != k and factor != 0:
                row = matrix[p]
                for q in range(n):
                    row[q] -= factor * pivot[q]
                row[k] = -factor * inverse
        pivot[k] = inverse
