"""Ensemble: the weighted mean of the places that several rankers give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curate.rankers.base import Float, Ranker, Ranking
from curate.rankers.ranks import average_ranks
from curate.rankers.result import TIE_DECIMALS, ranking_of
from curate.votes import VoteArrays


@dataclass(frozen=True)
class Ensemble:
    """Ranks by ``combine`` of its members' rankings."""

    members: tuple[tuple[str, Ranker, float], ...]
    """(name, ranker, weight); weights at least 0 and not all 0. They need not sum to 1."""

    def __post_init__(self) -> None:
        _check_weights([weight for _, _, weight in self.members])

    def __call__(self, votes: VoteArrays, /) -> Ranking:
        used = [(ranker, weight) for _, ranker, weight in self.members if weight > 0]
        return combine(votes, [ranker(votes) for ranker, _ in used], [weight for _, weight in used])


def combine(votes: VoteArrays, rankings: Sequence[Ranking], weights: Sequence[float]) -> Ranking:
    """The ranking by weighted mean of normalised places (N − average rank) / (N − 1): 1 = first for all, 0 = last.

    Solved where all rankings are. The bound is the best of theirs, since each bounds the cost of any order at all.
    A prompt's only response scores 1.
    """
    if len(rankings) != len(weights):
        raise ValueError(f"{len(rankings)} rankings with {len(weights)} weights; each ranking needs one weight")
    _check_weights(weights)
    share = np.asarray(weights, dtype=np.float64) / sum(weights)
    places = np.stack([places_of(votes, ranking.scores) for ranking in rankings])
    return ranking_of(
        votes,
        np.round(share @ places, TIE_DECIMALS),
        solved=np.logical_and.reduce([ranking.solved for ranking in rankings]),
        iterations=np.maximum.reduce([ranking.iterations for ranking in rankings]),
        bound=np.fmax.reduce([ranking.bound for ranking in rankings]),
    )


def places_of(votes: VoteArrays, scores: Float) -> Float:
    """(R,) place within the prompt, from 1 for its best response to 0 for its worst; equals share their mean."""
    size = np.diff(votes.offsets)[votes.response_prompt]
    rank = average_ranks(scores, votes.response_prompt)
    place: Float = np.where(size > 1, (size - rank) / np.maximum(size - 1, 1), 1.0)
    return place


def _check_weights(weights: Sequence[float]) -> None:
    if not weights or min(weights) < 0 or not sum(weights) > 0:
        raise ValueError(f"the ensemble's weights are {list(weights)}; they must be at least 0 and not all 0")
