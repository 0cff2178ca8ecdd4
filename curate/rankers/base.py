"""Rankers and rankings: the protocols, the declaration, the result, and the cost and ranks of an order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from curate.array_types import Bool, Float, Index
from curate.votes.arrays import VoteArrays

if TYPE_CHECKING:
    from schemas.config import DenoiseConfig

Labels = npt.NDArray[np.integer[Any]]

TIE_DECIMALS = 9
"""Scores that agree to this many decimals are tied, wherever ranks or costs are computed."""


@dataclass(frozen=True)
class Ranking:
    """The result of one ranker for the P prompts and R responses of a VoteArrays."""

    scores: Float
    """(R,) higher is better; comparable within a prompt only. Equal scores are a tie."""
    converged: Bool
    """(P,) the method reached its tolerance; for an exact method: the optimality gap is within tolerance."""
    n_iter: Index
    """(P,) iterations used; 0 for a closed form."""
    cost: Float
    """(P,) vote weight that disagrees with the order; a pair ranked equal costs half its weight."""
    bound: Float
    """(P,) proven lower bound on the cost of any order; NaN if the method proves none."""


class Ranker(Protocol):
    """A frozen dataclass of hyperparameters. Calling it ranks every prompt of the votes."""

    def __call__(self, votes: VoteArrays, /) -> Ranking: ...


class Fit(Protocol):
    """The posterior distribution of the strengths, as ``PosteriorRanker.fit`` returns it."""

    @property
    def strength(self) -> Float:
        """(R,) posterior means, logits; higher is better."""

    @property
    def covariance(self) -> tuple[Float, ...]:
        """(B, N, N) posterior covariances for each batch of ``votes.graphs``, logits²."""

    def ranking(self, votes: VoteArrays, /) -> Ranking:
        """Return the ranking by posterior mean. votes: those of the fit."""

    def log_odds(self, votes: VoteArrays, /) -> Float:
        """Return the (V,) log odds of left, given a decisive outcome, of new votes on the responses of the fit."""


class PosteriorRanker(Ranker, Protocol):
    """A ranker with ``has_posterior``: it states probabilities, so that its intervals need no bootstrap."""

    def fit(self, votes: VoteArrays, /) -> Fit: ...


@dataclass(frozen=True)
class RankerSpec:
    """The declaration of a ranker: how it is built, and what it can do.

    A third-party package declares one under the entry point group ``curate.rankers``.

    >>> from curate.rankers.borda import Borda
    >>> spec = RankerSpec("my-borda", build=lambda config: Borda(**config.options.get("my-borda", {})))
    """

    name: str
    build: Callable[[DenoiseConfig], Ranker]
    """Makes the ranker with the hyperparameters of a config; third parties read ``config.options[name]``."""
    relative_cost: float = 1.0
    """CPU time as a multiple of Bradley-Terry's on the same votes, roughly."""
    needs_annotators: bool = False
    """It differs from ``without_annotators`` only where annotators are known."""
    without_annotators: str = ""
    """The ranker that it equals where all votes are anonymous."""
    has_posterior: bool = False
    """It is a ``PosteriorRanker``."""
    has_bound: bool = False
    """It proves a lower bound on the cost of any order."""
    pools_prompts: bool = True
    """The ranking of a prompt depends on votes on other prompts. False lets the bootstrap rank many draws at a time."""
    held_out: bool = True
    """``ranker = "auto"`` compares it on held-out votes; False: only where the config names it."""
    max_held_out: float = inf
    """The same, for at most so many votes."""
    needs_models: bool = False
    """It equals another ranker where no model answers several prompts."""
    combines: bool = False
    """It combines other rankers, and cannot be a member of an ensemble or a stack."""


def ranking_of(
    votes: VoteArrays,
    scores: Float,
    *,
    converged: Bool | None = None,
    n_iter: Index | None = None,
    bound: Float | None = None,
) -> Ranking:
    """Return the ranking of (R,) scores with the (P,) cost of its order.

    Without converged, n_iter and bound, the method counts as a closed form without a bound.
    """
    prompts = len(votes.prompts)
    cost = np.zeros(prompts)
    for graphs in votes.graphs:
        cost[graphs.prompts] = order_cost(graphs.wins, np.round(scores, TIE_DECIMALS)[graphs.slots])
    return Ranking(
        scores=scores,
        converged=np.ones(prompts, dtype=np.bool_) if converged is None else converged,
        n_iter=np.zeros(prompts, dtype=np.int64) if n_iter is None else n_iter,
        cost=cost,
        bound=np.full(prompts, np.nan) if bound is None else bound,
    )


def order_cost(wins: Float, scores: Float) -> Float:
    """Return the (B,) vote weight that disagrees with the order of scores; a tied pair costs half its weight.

    wins: (B, N, N) weight of votes that prefer i to j. scores: (B, N), higher is better.

    >>> wins = np.array([[[0.0, 3.0], [1.0, 0.0]]])
    >>> order_cost(wins, np.array([[1.0, 0.0]])).tolist(), order_cost(wins, np.array([[0.0, 0.0]])).tolist()
    ([1.0], [2.0])
    """
    cost = np.empty(len(wins))
    for rows in blocks(len(wins), wins.shape[1] ** 2):
        weight, i, j = wins[rows], scores[rows, :, None], scores[rows, None, :]
        disagreement = np.where(i < j, weight, np.where(i == j, weight / 2, 0.0))
        cost[rows] = disagreement.reshape(len(weight), -1).sum(axis=1)
    return cost


def blocks(count: int, width: int, elements: int = 2**16) -> Iterator[slice]:
    """Yield slices that cover ``count`` rows, so that a block of rows of this width has about so many elements.

    Intermediate arrays of one block then stay in the processor's cache.

    >>> list(blocks(5, width=3, elements=6))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    size = max(1, elements // width)
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def ranks(scores: Float, group: Labels) -> Index:
    """Return the (R,) rank of each score within its group: 1 is the highest, ties share the best of their ranks.

    scores: (R,) higher is better; equal to 9 decimals is a tie. group: (R,) integer labels in any order.

    >>> ranks(np.array([0.5, 0.9, 0.5, 0.1, 7.0]), np.array([0, 0, 0, 0, 1])).tolist()
    [2, 1, 2, 4, 1]
    """
    return tied_ranks(scores, group)[0]


def average_ranks(scores: Float, group: Labels) -> Float:
    """Return (R,) ranks like ``ranks``, but ties share the mean of the ranks that they occupy.

    >>> average_ranks(np.array([0.5, 0.9, 0.5, 0.1, 7.0]), np.array([0, 0, 0, 0, 1])).tolist()
    [2.5, 1.0, 2.5, 4.0, 1.0]
    """
    first, last = tied_ranks(scores, group)
    mean: Float = (first + last) / 2
    return mean


def tied_ranks(scores: Float, group: Labels) -> tuple[Index, Index]:
    """Return the (R,) best and worst rank that each response's run of tied scores occupies in its group."""
    if len(scores) == 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    rounded = np.round(scores, TIE_DECIMALS)
    order = np.lexsort((-rounded, group))
    place = np.arange(len(order))
    new_group = np.r_[True, np.diff(group[order]) != 0]
    new_run = new_group | np.r_[True, np.diff(rounded[order]) != 0]
    group_start = np.maximum.accumulate(np.where(new_group, place, 0))
    run = np.cumsum(new_run) - 1
    run_start = np.flatnonzero(new_run)
    run_end = np.r_[run_start[1:], len(order)]
    first, last = np.empty(len(order), dtype=np.int64), np.empty(len(order), dtype=np.int64)
    first[order] = run_start[run] - group_start + 1
    last[order] = run_end[run] - group_start
    return first, last
