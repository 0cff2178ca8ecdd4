"""The votes as the joint model reads them: columns sorted by prompt, and where each prompt's matrices lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curate.compiled import compiled
from curate.votes.arrays import LEFT, RIGHT, VoteArrays

Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
Int = npt.NDArray[np.int32]


class Ballots(NamedTuple):
    """V votes, those of one prompt together, prompts in order."""

    left: Int
    right: Int
    """Response numbers."""
    side: npt.NDArray[np.int8]
    """(V,) 1 a vote for left, −1 for right, 0 for neither (tie and both_bad)."""
    seen: npt.NDArray[np.bool_]
    """(V,) whether left is what the annotator saw on the left."""
    weight: Float
    """(V,) the votes' own, those of a K-wise ranking scaled down to K − 1 votes together."""
    annotator: Int
    """(V,) 0 … A − 1, and A for all anonymous votes."""


class Places(NamedTuple):
    """Where P prompts are found. The (N, N) matrices of all prompts lie in one flat column of cells."""

    response: Index
    """(P + 1,) the first response of each prompt; the last is R."""
    vote: Index
    """(P + 1,) its first vote; the last is V."""
    cell: Index
    """(P,) its first cell."""
    model: Index
    """(R,) 0 … M − 1, and M where it is not known."""


class Batch(NamedTuple):
    """B prompts with N responses each, as in ``VoteArrays.graphs``."""

    shape: tuple[int, int, int]
    """B, N, N"""
    cells: slice
    """Theirs of the flat column."""
    responses: Index
    """(B, N) response numbers."""


@dataclass(frozen=True)
class Columns:
    """The votes and the numbers of what they are about."""

    ballots: Ballots
    places: Places
    batches: tuple[Batch, ...]
    prompt: Index
    """(R,) 0 … P − 1"""
    responses: int
    prompts: int
    models: int
    annotators: int
    """A + 1: the last row stands for the anonymous votes."""

    @property
    def model(self) -> Index:
        """(R,) 0 … M − 1, and M where it is not known."""
        return self.places.model

    @property
    def cells(self) -> int:
        return self.batches[-1].cells.stop if self.batches else 0

    def diagonal(self) -> Float:
        """The flat column in which each matrix is 1."""
        flat = np.zeros(self.cells)
        for batch in self.batches:
            flat[batch.cells].reshape(batch.shape)[:, np.eye(batch.shape[1], dtype=np.bool_)] = 1.0
        return flat

    def by_batch(self, flat: Float) -> tuple[Float, ...]:
        """(B, N, N) of each batch, views of a flat column."""
        return tuple(flat[batch.cells].reshape(batch.shape) for batch in self.batches)

    def diagonal_of(self, flat: Float) -> Float:
        """(R,) the diagonals of the matrices in a flat column."""
        diagonal = np.empty(self.responses)
        for batch in self.batches:
            diagonal[batch.responses] = np.einsum("bii->bi", flat[batch.cells].reshape(batch.shape))
        return diagonal

    def per_prompt(self, of_response: Float) -> Float:
        """(P,) sums over each prompt's responses. of_response: (R,)."""
        return sums(self.prompt, of_response, self.prompts)


def sums(place: npt.NDArray[np.integer], weight: Float, length: int) -> Float:
    """(length,) sums of the weights that fall on each place; both of any shape, in the same order."""
    return np.bincount(place.ravel(), weight.ravel(), length).astype(np.float64, copy=False)


def columns_of(votes: VoteArrays) -> Columns:
    """The columns of the votes; votes on one prompt keep their order."""
    models, annotators = len(votes.models), len(votes.annotators)
    offsets, size = votes.offsets.astype(np.int64), np.diff(votes.offsets)
    cell = np.zeros(len(votes.prompts), dtype=np.int64)
    batches = []
    start = 0
    for n in np.unique(size[size > 0]).tolist():
        prompts = np.flatnonzero(size == n)
        cell[prompts] = start + n * n * np.arange(len(prompts))
        stop = start + n * n * len(prompts)
        batches.append(Batch((len(prompts), n, n), slice(start, stop), offsets[prompts, None] + np.arange(n)))
        start = stop
    prompt = votes.response_prompt[votes.left]
    first_vote = np.concatenate([[0], np.cumsum(np.bincount(prompt, minlength=len(votes.prompts)))])
    order = sorted_by(prompt, first_vote)
    side = np.zeros(4, dtype=np.int8)
    side[LEFT], side[RIGHT] = 1, -1
    ballots = Ballots(
        left=votes.left[order],
        right=votes.right[order],
        side=side[votes.outcome[order]],
        seen=votes.sides_known[order],
        weight=(votes.weight * votes.group_share)[order],
        annotator=np.where(votes.annotator < 0, annotators, votes.annotator).astype(np.int32)[order],
    )
    model = np.where(votes.response_model < 0, models, votes.response_model).astype(np.int64)
    return Columns(
        ballots=ballots,
        places=Places(response=offsets, vote=first_vote, cell=cell, model=model),
        batches=tuple(batches),
        prompt=votes.response_prompt.astype(np.int64),
        responses=len(votes.responses),
        prompts=len(votes.prompts),
        models=models,
        annotators=annotators + 1,
    )


@compiled
def sorted_by(key: Int, first: Index) -> Int:
    """(V,) places of the keys in increasing order, equal ones in theirs: a counting sort.

    key: (V,) 0 … K − 1. first: (K + 1,) how many keys are below each.
    """
    to = first.copy()
    order = np.empty(len(key), np.int32)
    for v in range(len(key)):
        order[to[key[v]]] = v
        to[key[v]] += 1
    return order
