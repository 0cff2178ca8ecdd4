"""Votes as index arrays, and the matrices of all prompts in one flat array, processed in blocks of equal size."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from curate.array_types import Bool, Float, Index, Int8, Int32
from curate.votes.arrays import LEFT, RIGHT, VoteArrays

BLOCK_CELLS = 2**17
"""Cells of the matrices that are processed together: they fit into the processor's cache."""


class Block(NamedTuple):
    """B prompts (or sittings) with N responses each."""

    cells: slice  # of their (B, N, N) matrices in a flat array
    prompts: Index  # (B,) numbers of the prompts (or sittings)
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
class Layout:
    """The matrices of all prompts (or sittings) in a flat array, and the places of V votes on their responses."""

    left: Index  # (V,) response number
    right: Index  # (V,)
    pair: Index  # (V,) cell of (left, right)
    response_model: Index  # (R,) 0 … M − 1; M where the model is unknown
    blocks: tuple[Block, ...]

    @property
    def cells(self) -> int:
        return self.blocks[-1].cells.stop if self.blocks else 0

    @cached_property
    def diagonal(self) -> Index:
        """(R,) cell of each response's variance."""
        found = np.empty(len(self.response_model), dtype=np.int64)
        for block in self.blocks:
            cells = np.arange(block.cells.start, block.cells.stop).reshape(*block.responses.shape, -1)
            found[block.responses] = np.einsum("bii->bi", cells)
        return found

    def gap_variance(self, covariance: Float) -> Float:
        """(V,) variance of θ[left] − θ[right]. covariance: flat."""
        variance = covariance[self.diagonal]
        return np.asarray(np.maximum(variance[self.left] + variance[self.right] - 2 * covariance[self.pair], 0.0))

    def gradient(self, slope: Float) -> Float:
        """(R,) Σ over votes of slope x, x = e_l − e_r. slope: (V,)."""
        count = len(self.response_model)
        return sums(self.left, slope, count) - sums(self.right, slope, count)

    def laplacian(self, weight: Float) -> Float:
        """Flat Σ over votes of weight x xᵀ, x = e_l − e_r. weight: (V,)."""
        return self.with_diagonal(sums(self.pair, -weight, self.cells))

    def with_diagonal(self, found: Float) -> Float:
        """The Laplacian whose cells of (left, right) hold the negative sums over the votes of each pair; in place."""
        for block in self.blocks:
            matrix = block.of(found)
            matrix += matrix.swapaxes(1, 2).copy()
            np.einsum("bii->bi", matrix)[:] = -matrix.sum(axis=2)
        return found

    def product(self, cells: Float, vector: Float) -> Float:
        """(R,) each matrix times its part of the vector."""
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


@dataclass(frozen=True)
class Sittings(Layout):
    """The sittings of several votes: each numbers its votes and responses from the start."""

    votes: Index  # (V,) their numbers among all votes
    response: Index  # (R,) the numbers of the responses among all responses; one of several sittings occurs as often
    prompt_cell: Index  # (cells,) the cells in the matrices of the prompts


@dataclass(frozen=True)
class VoteData(Layout):
    """V votes on R responses to P prompts as index arrays, and the layout of the prompts' matrices."""

    side: Int8  # (V,) 1 for left, −1 for right, 0 for a tie or both_bad
    weight: Float  # (V,)
    sides_known: Bool  # (V,)
    annotator: Int32  # (V,) 0 … A − 1; A for all anonymous votes
    prompt: Int32  # (V,)
    response_prompt: Index  # (R,)
    prompts: int
    models: int
    annotators: int  # A + 1
    source: VoteArrays

    @cached_property
    def covariate_scale(self) -> Float:
        """(K,) root mean square of the covariates' differences from the prompt's mean; 1 where all are 0."""
        scale = np.sqrt((self._covariates**2).mean(axis=0)) if len(self._covariates) else np.ones(0)
        return np.where(scale > 0, scale, 1.0)

    @cached_property
    def covariates(self) -> Float:
        """(R, K) covariates less the prompt's mean, over their scale."""
        return self._covariates / self.covariate_scale

    @cached_property
    def _covariates(self) -> Float:
        given = self.source.covariates
        if given is None:
            return np.zeros((len(self.response_model), 0))
        count = np.maximum(np.bincount(self.response_prompt, minlength=self.prompts), 1)
        mean = np.stack([sums(self.response_prompt, column, self.prompts) / count for column in given.T], axis=1)
        return np.asarray(given - mean[self.response_prompt])

    @cached_property
    def alone(self) -> Bool:
        """(V,) votes that are a sitting of their own."""
        sitting = self.source.sitting
        return np.asarray(np.bincount(sitting)[sitting] == 1)

    @property
    def sitting_work(self) -> float:
        """Upper limit of Σ N³ over the sittings of several votes on N responses."""
        votes = np.bincount(self.source.sitting)
        first = np.full(len(votes), -1)
        first[self.source.sitting] = self.prompt
        responses = np.minimum(2 * votes, np.diff(self.source.offsets)[first])[votes > 1]
        return float((responses.astype(np.float64) ** 3).sum())

    @cached_property
    def sittings(self) -> Sittings:
        """The sittings of several votes, on one pair or on several."""
        sitting, responses = self.source.sitting, len(self.response_model)
        votes = np.flatnonzero(~self.alone)
        number = np.unique(sitting[votes], return_inverse=True)[1]
        ends = np.stack([number * responses + self.left[votes], number * responses + self.right[votes]])
        members, (left, right) = np.unique(ends, return_inverse=True)
        owner, response = np.divmod(members, max(responses, 1))
        offsets = np.searchsorted(owner, np.arange(int(number.max(initial=-1)) + 2))
        layout = _layout(offsets, number, left, right, self.response_model[response])
        prompt_cell, first = np.empty(layout.cells, dtype=np.int64), self.source.offsets
        for block in layout.blocks:
            own = response[block.responses]
            prompt = self.response_prompt[own[:, 0]]
            row = self.diagonal[own] - (own - first[prompt][:, None])  # the cell of (i, 0) of row i
            prompt_cell[block.cells] = (row[:, :, None] + (own - first[prompt][:, None])[:, None, :]).ravel()
        return Sittings(**vars(layout), votes=votes, response=response, prompt_cell=prompt_cell)


def vote_data(votes: VoteArrays) -> VoteData:
    """The index arrays of the votes."""
    models = len(votes.models)
    model = np.where(votes.response_model < 0, models, votes.response_model).astype(np.int64)
    left, right = votes.left.astype(np.int64), votes.right.astype(np.int64)
    prompt = votes.response_prompt[left]
    side = np.zeros(4, dtype=np.int8)
    side[LEFT], side[RIGHT] = 1, -1
    return VoteData(
        **vars(_layout(votes.offsets.astype(np.int64), prompt, left, right, model)),
        side=side[votes.outcome],
        weight=votes.weight,
        sides_known=votes.sides_known,
        annotator=np.where(votes.annotator < 0, len(votes.annotators), votes.annotator).astype(np.int32),
        prompt=prompt,
        response_prompt=votes.response_prompt.astype(np.int64),
        prompts=len(votes.prompts),
        models=models,
        annotators=len(votes.annotators) + 1,
        source=votes,
    )


def _layout(offsets: Index, prompt: Index | Int32, left: Index, right: Index, model: Index) -> Layout:
    """The layout of prompts whose responses begin at these offsets (P + 1,). prompt: (V,) of each vote."""
    size = np.diff(offsets)
    first_cell, blocks, stop = np.zeros(len(size), dtype=np.int64), list[Block](), 0
    for n in np.unique(size[size > 0]).tolist():
        of_size, at_once = np.flatnonzero(size == n), max(1, BLOCK_CELLS // (n * n))
        for prompts in np.split(of_size, range(at_once, len(of_size), at_once)):
            start, stop = stop, stop + n * n * len(prompts)
            first_cell[prompts] = start + n * n * np.arange(len(prompts))
            responses = offsets[prompts, None] + np.arange(n)
            blocks.append(Block(slice(start, stop), prompts, responses, model[responses]))
    pair = first_cell[prompt] + (left - offsets[prompt]) * size[prompt] + (right - offsets[prompt])
    return Layout(left, right, pair, model, tuple(blocks))


def sums(place: npt.NDArray[np.integer[Any]], weight: Float, length: int) -> Float:
    """(length,) sums of the weights at each place; both of any shape."""
    return np.bincount(place.ravel(), weight.ravel(), length).astype(np.float64, copy=False)


def times(matrix: Float, vector: Float) -> Float:
    """(B, N) products of (B, N, N) and (B, N)."""
    return np.asarray((matrix @ vector[:, :, None])[:, :, 0])
