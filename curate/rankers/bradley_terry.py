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

from curate.rankers.base import Float, Ranking
from curate.rankers.result import ranking_of
from curate.votes import VoteArrays

TOLERANCE = 1e-10
"""Largest gradient entry at which a prompt counts as solved, as a part of ridge + its busiest response's votes."""
MAX_ITERATIONS = 100


class Fit(NamedTuple):
    """Strengths of B prompts with N responses each."""

    strength: Float
    """(B, N) logits, mean 0."""
    solved: npt.NDArray[np.bool_]
    """(B,) the gradient is within tolerance."""
    iterations: npt.NDArray[np.int64]
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
        solved = np.ones(len(votes.prompts), dtype=np.bool_)
        iterations = np.zeros(len(votes.prompts), dtype=np.int64)
        for graphs in votes.graphs:
            answer = fit(graphs.wins, self.ridge)
            scores[graphs.slots] = answer.strength
            solved[graphs.prompts], iterations[graphs.prompts] = answer.solved, answer.iterations
        return ranking_of(votes, scores, solved=solved, iterations=iterations)

    def posterior(self, votes: VoteArrays, /) -> tuple[Float, Float]:
        """(R,) strengths and (R,) their standard deviations, logits: Laplace's normal approximation at the mode.

        A response without votes keeps nearly its prior, standard deviation ridge^(−1/2).
        """
        strength, deviation = np.zeros(len(votes.responses)), np.zeros(len(votes.responses))
        for graphs in votes.graphs:
            mode = fit(graphs.wins, self.ridge).strength
            pairs = _Pairs.of(graphs.wins)
            covariance = np.linalg.inv(_precision(_evaluate(mode, pairs, self.ridge), pairs, self.ridge))
            strength[graphs.slots] = mode
            deviation[graphs.slots] = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
        return strength, deviation


def fit(wins: Float, ridge: float, max_iterations: int = MAX_ITERATIONS) -> Fit:
    """Strengths of every prompt of wins (B, N, N), by Newton steps halved until the posterior does not fall.

    They start from each response's log odds of winning, which saves about three of seven steps. A prompt within
    tolerance is left as it is while the others go on.
    """
    odds = np.log((wins.sum(axis=2) + 0.5) / (wins.sum(axis=1) + 0.5))
    theta = odds - odds.mean(axis=1, keepdims=True)
    iterations = np.zeros(len(wins), dtype=np.int64)
    tolerance = TOLERANCE * (ridge + (wins.sum(axis=1) + wins.sum(axis=2)).max(axis=1))  # (B,)
    pairs = _Pairs.of(wins)
    at = _evaluate(theta, pairs, ridge)
    active = np.arange(len(wins))
    for _ in range(max_iterations):
        unsolved = np.abs(at.gradient).max(axis=1) > tolerance[active]
        if not unsolved.all():
            active, pairs, at = active[unsolved], pairs.of_prompts(unsolved), at.of_prompts(unsolved)
        if not len(active):
            break
        step = np.linalg.solve(_precision(at, pairs, ridge), at.gradient[..., None])[..., 0]
        theta[active], at = _damped(theta[active], step.astype(np.float64, copy=False), at.value, pairs, ridge)
        iterations[active] += 1
    solved = np.ones(len(wins), dtype=np.bool_)
    solved[active] = np.abs(at.gradient).max(axis=1) <= tolerance[active]
    return Fit(theta - theta.mean(axis=1, keepdims=True), solved, iterations)


class _Pairs(NamedTuple):
    """The votes once more, one column for each of the M pairs i < j."""

    i: npt.NDArray[np.int64]
    """(M,)"""
    j: npt.NDArray[np.int64]
    """(M,)"""
    incidence: Float
    """(M, N) 1 at i, −1 at j."""
    won: Float
    """(B, M) weight of votes that prefer i to j."""
    lost: Float
    """(B, M) and of those that prefer j."""

    @classmethod
    def of(cls, wins: Float) -> _Pairs:
        batch, n, _ = wins.shape
        i, j = np.triu_indices(n, 1)
        one, cells = np.eye(n), wins.reshape(batch, n * n)
        return cls(i, j, one[i] - one[j], cells.take(i * n + j, axis=1), cells.take(j * n + i, axis=1))

    def of_prompts(self, rows: npt.NDArray[np.bool_]) -> _Pairs:
        return self._replace(won=self.won[rows], lost=self.lost[rows])


class _Point(NamedTuple):
    """The log-posterior at some strengths."""

    value: Float
    """(B,) up to a constant."""
    gradient: Float
    """(B, N) votes won beyond those expected, less the prior's pull."""
    chance: Float
    """(B, M) that i is preferred to j."""

    def of_prompts(self, rows: npt.NDArray[np.bool_]) -> _Point:
        return _Point(self.value[rows], self.gradient[rows], self.chance[rows])


def _evaluate(theta: Float, pairs: _Pairs, ridge: float) -> _Point:
    gap = theta @ pairs.incidence.T
    small = np.exp(-np.abs(gap))  # never overflows
    chance = np.where(gap >= 0, 1.0, small) / (1 + small)
    # log σ(gap) = min(gap, 0) − log(1 + e^−|gap|), and log σ(−gap) is the same less gap.
    log_chance = np.minimum(gap, 0) - np.log1p(small)
    value = ((pairs.won + pairs.lost) * log_chance - pairs.lost * gap).sum(axis=1) - ridge / 2 * (theta**2).sum(axis=1)
    surplus = pairs.won - (pairs.won + pairs.lost) * chance
    return _Point(value, surplus @ pairs.incidence - ridge * theta, chance)


def _damped(theta: Float, step: Float, value: Float, pairs: _Pairs, ridge: float) -> tuple[Float, _Point]:
    """theta + step and the point there, each step halved until its prompt's value does not fall (beyond rounding)."""
    floor = value - 1e-12 * np.abs(value)
    at = _evaluate(theta + step, pairs, ridge)
    for _ in range(40):
        falls = at.value < floor
        if not falls.any():
            break
        step = np.where(falls[:, None], step / 2, step)
        at = _evaluate(theta + step, pairs, ridge)
    return theta + step, at


def _precision(at: _Point, pairs: _Pairs, ridge: float) -> Float:
    """(B, N, N) negative Hessian of the log-posterior: the graph's Laplacian, weighted by p(1 − p), plus ridge."""
    information = (pairs.won + pairs.lost) * at.chance * (1 - at.chance)  # (B, M)
    n = pairs.incidence.shape[1]
    precision = np.zeros((len(information), n, n))
    precision[:, pairs.i, pairs.j] = precision[:, pairs.j, pairs.i] = -information
    precision[:, np.arange(n), np.arange(n)] = information @ np.abs(pairs.incidence) + ridge
    return precision
