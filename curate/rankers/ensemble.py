"""Ensemble: the weighted mean of several rankers' normalised ranks, at weights given in the config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curate.array_types import Float
from curate.rankers.base import TIE_DECIMALS, Labels, Ranker, RankerSpec, Ranking, average_ranks, ranking_of
from curate.votes.arrays import VoteArrays
from schemas.config import DenoiseConfig


@dataclass(frozen=True)
class Ensemble:
    """Rank by ``combine`` of the members' rankings."""

    members: tuple[tuple[str, Ranker, float], ...]
    """(name, ranker, weight); weights are at least 0, not all 0, and need not sum to 1."""

    def __post_init__(self) -> None:
        _check_weights([weight for _, _, weight in self.members])

    def __call__(self, votes: VoteArrays, /) -> Ranking:
        used = [(ranker, weight) for _, ranker, weight in self.members if weight > 0]
        return combine(votes, [ranker(votes) for ranker, _ in used], [weight for _, weight in used])


def combine(
    votes: VoteArrays, rankings: Sequence[Ranking], weights: Sequence[float], *, group: Labels | None = None
) -> Ranking:
    """Return the ranking by weighted mean of normalised ranks (N − average rank) / (N − 1), 1 = best.

    It has converged where all rankings have. Its bound is the highest of theirs, because each bounds the cost of any
    order. The only response of a group scores 1. group: (R,) ranks are counted within it (a connected component); by
    default within the prompt.
    """
    if len(rankings) != len(weights):
        raise ValueError(f"{len(rankings)} rankings with {len(weights)} weights; each ranking needs one weight")
    _check_weights(weights)
    share = np.asarray(weights, dtype=np.float64) / sum(weights)
    group = votes.response_prompt if group is None else group
    normalised = np.stack([normalised_ranks(ranking.scores, group) for ranking in rankings])
    return ranking_of(
        votes,
        np.round(share @ normalised, TIE_DECIMALS),
        converged=np.logical_and.reduce([ranking.converged for ranking in rankings]),
        n_iter=np.maximum.reduce([ranking.n_iter for ranking in rankings]),
        bound=np.fmax.reduce([ranking.bound for ranking in rankings]),
    )


def normalised_ranks(scores: Float, group: Labels) -> Float:
    """Return (R,) ranks within the group from 1 for its best response to 0 for its worst; ties share their mean."""
    _, number, count = np.unique(group, return_inverse=True, return_counts=True)
    size = count[number]
    rank = average_ranks(scores, group)
    normalised: Float = np.where(size > 1, (size - rank) / np.maximum(size - 1, 1), 1.0)
    return normalised


def _check_weights(weights: Sequence[float]) -> None:
    if not weights or min(weights) < 0 or not 0 < sum(weights) < float("inf"):
        raise ValueError(f"the ensemble's weights are {list(weights)}; they must be at least 0 and not all 0")


def _ensemble(config: DenoiseConfig) -> Ensemble:
    from curate.rankers.registry import build

    return Ensemble(tuple((name, build(name, config), weight) for name, weight in config.members.items()))


RANKER = RankerSpec("ensemble", build=_ensemble, combines=True)
