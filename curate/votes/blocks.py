"""Votes as index arrays, and the matrices of all prompts in one flat array, processed in blocks of equal size."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from curate.votes.arrays import LEFT, RIGHT, VoteArrays

Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

BLOCK_PROMPTS = 256
"""Prompts that are processed together: their matrices fit into the processor's cache."""


class Block(NamedTuple):
    """B prompts with N responses each."""

    cells: slice  # of their (B, N, N) matrices in a flat array
    prompts: Index  # (B,)
    responses: Index  # (B, N) response numbers
    model: Index  # (B, N) model of each response; M where it is unknown

    def of(self, cells: Float) -> Float:
        """(B, N, N) view of a flat array of cells."""
        return cells[self.cells].reshape(*self.responses.shape, self.responses.shape[1])

    @property
    def model_pair(self) -> tuple[Index, Index]:
        """Index of an (M + 1, M + 1) matrix that gives (B, N, N)."""
        return self.model[:, :, None], self.model[:, None, :]

    def model_sums(self, matrix: Float, models: int) -> Float:
        """(M + 1, M + 1) sums of the entries of (B, N, N) for each pair of models."""
        place = self.model_pair[0] * (models + 1) + self.model_pair[1]
        return sums(place, matrix, (models + 1) ** 2).reshape(models + 1, models + 1)


@dataclass(frozen=True)
class VoteData:
    """V votes on R responses to P prompts as index arrays, and the layout of the prompts' matrices in flat arrays."""

    left: Index  # (V,) response number
    right: Index  # (V,)
    side: Float  # (V,) 1 for left, −1 for right, 0 for a tie or both_bad
    weight: Float  # (V,) the pairs of a K-wise ranking count as K − 1 votes together
    sides_known: Bool  # (V,)
    annotator: Index  # (V,) 0 … A − 1; A for all anonymous votes
    prompt: Index  # (V,)
    cell: tuple[Index, Index, Index]  # (V,) cells of (left, left), (right, right) and (left, right)
    response_prompt: Index  # (R,)
    response_model: Index  # (R,) 0 … M − 1; M where the model is unknown
    blocks: tuple[Block, ...]
    prompts: int
    models: int
    annotators: int  # A + 1

    @property
    def cells(self) -> int:
        return self.blocks[-1].cells.stop if self.blocks else 0

    @cached_property
    def diagonal(self) -> Index:
        """(R,) cell of each response's variance."""
        found = np.empty(len(self.response_prompt), dtype=np.int64)
        for block in self.blocks:
            cells = np.arange(block.cells.start, block.cells.stop).reshape(*block.responses.shape, -1)
            found[block.responses] = np.einsum("bii->bi", cells)
        return found

    def gap_variance(self, covariance: Float) -> Float:
        """(V,) variance of θ[left] − θ[right]. covariance: flat."""
        left, right, pair = self.cell
        return np.asarray(np.maximum(covariance[left] + covariance[right] - 2 * covariance[pair], 0.0))

    def product(self, cells: Float, vector: Float) -> Float:
        """(R,) each prompt's matrix times its part of the vector."""
        found = np.empty(len(vector))
        for block in self.blocks:
            found[block.responses] = times(block.of(cells), vector[block.responses])
        return found

    def inverse(self, cells: Float) -> Float:
        """The inverses of all matrices, flat."""
        found = np.empty(self.cells)
        for block in self.blocks:
            block.of(found)[:] = np.linalg.inv(block.of(cells))
        return found

    def by_size(self, cells: Float) -> tuple[Float, ...]:
        """(B, N, N) matrices of each batch of ``VoteArrays.graphs``: blocks of one size are neighbours in the array."""
        found: dict[int, list[slice]] = {}
        for block in self.blocks:
            found.setdefault(block.responses.shape[1], []).append(block.cells)
        return tuple(cells[same[0].start : same[-1].stop].reshape(-1, n, n) for n, same in found.items())

    def log_determinant(self, cells: Float) -> float:
        """The sum of the log-determinants of all matrices."""
        return float(sum(np.linalg.slogdet(block.of(cells))[1].sum() for block in self.blocks))


def vote_data(votes: VoteArrays) -> VoteData:
    """The index arrays of the votes."""
    offsets, size, models = votes.offsets.astype(np.int64), np.diff(votes.offsets), len(votes.models)
    model = np.where(votes.response_model < 0, models, votes.response_model).astype(np.int64)
    first_cell, blocks, stop = np.zeros(len(votes.prompts), dtype=np.int64), list[Block](), 0
    for n in np.unique(size[size > 0]).tolist():
        of_size = np.flatnonzero(size == n)
        for prompts in np.split(of_size, range(BLOCK_PROMPTS, len(of_size), BLOCK_PROMPTS)):
            start, stop = stop, stop + n * n * len(prompts)
            first_cell[prompts] = start + n * n * np.arange(len(prompts))
            responses = offsets[prompts, None] + np.arange(n)
            blocks.append(Block(slice(start, stop), prompts, responses, model[responses]))
    left, right = votes.left.astype(np.int64), votes.right.astype(np.int64)
    prompt = votes.response_prompt[left].astype(np.int64)
    i, j, n_of, cell = left - offsets[prompt], right - offsets[prompt], size[prompt], first_cell[prompt]
    side = np.zeros(4)
    side[LEFT], side[RIGHT] = 1.0, -1.0
    return VoteData(
        left=left,
        right=right,
        side=side[votes.outcome],
        weight=votes.weight * votes.group_share,
        sides_known=votes.sides_known,
        annotator=np.where(votes.annotator < 0, len(votes.annotators), votes.annotator).astype(np.int64),
        prompt=prompt,
        cell=(cell + i * n_of + i, cell + j * n_of + j, cell + i * n_of + j),
        response_prompt=votes.response_prompt.astype(np.int64),
        response_model=model,
        blocks=tuple(blocks),
        prompts=len(votes.prompts),
        models=models,
        annotators=len(votes.annotators) + 1,
    )


def sums(place: npt.NDArray[np.integer[Any]], weight: Float, length: int) -> Float:
    """(length,) sums of the weights at each place; both of any shape."""
    return np.bincount(place.ravel(), weight.ravel(), length).astype(np.float64, copy=False)


def times(matrix: Float, vector: Float) -> Float:
    """(B, N) products of (B, N, N) and (B, N)."""
    return np.asarray((matrix @ vector[:, :, None])[:, :, 0])
