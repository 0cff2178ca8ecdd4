"""The votes as the joint model reads them: columns over votes, and where each falls in the prompts' matrices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.votes import LEFT, RIGHT, VoteArrays

Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Block:
    """B prompts with N responses each; their (B, N, N) matrices lie one after another in a flat column of cells."""

    prompts: Index
    """(B,)"""
    slots: Index
    """(B, N) response numbers."""
    model: Index
    """(B, N) 0 … M − 1, and M where it is not known."""
    pair_of_models: Index
    """(B, N, N) first model · (M + 1) + second model."""
    start: int
    """First cell of the block."""

    @property
    def cells(self) -> slice:
        return slice(self.start, self.start + self.slots.size * self.slots.shape[1])

    def matrices(self, flat: Float) -> Float:
        """(B, N, N) the block's part of a flat column of cells, as a view."""
        view: Float = flat[self.cells].reshape(*self.slots.shape, self.slots.shape[1])
        return view


@dataclass(frozen=True)
class Columns:
    """V votes with a weight above 0."""

    left: Index
    right: Index
    side: Float
    """(V,) 1 a vote for left, −1 for right, 0 for neither (tie and both_bad)."""
    seen: Float
    """(V,) 1 where left is what the annotator saw on the left, else 0."""
    weight: Float
    """(V,) the votes' own, those of a K-wise ranking scaled down to K − 1 votes together."""
    annotator: Index
    """(V,) 0 … A − 1, and A for all anonymous votes."""
    cell: Index
    """(4, V) flat cells (left, left), (right, right), (left, right), (right, left)."""
    blocks: tuple[Block, ...]
    model: Index
    """(R,) 0 … M − 1, and M where it is not known."""
    responses: int
    prompts: int
    models: int
    annotators: int
    """A + 1: the last row stands for the anonymous votes."""

    def gap_variance(self, flat: Float) -> Float:
        """(V,) variance of strength left − strength right, from flat covariances."""
        ll, rr, lr, _ = self.cell
        variance: Float = flat[ll] + flat[rr] - 2 * flat[lr]
        return variance

    def per_response(self, slope: Float) -> Float:
        """(R,) gradient in the strengths, from the slope (V,) of each vote in its gap."""
        return sums(self.left, slope, self.responses) - sums(self.right, slope, self.responses)

    def per_cell(self, curve: Float) -> Float:
        """Flat matrices Σ curve · (eₗ − eᵣ)(eₗ − eᵣ)ᵀ, from one number (V,) for each vote."""
        last = self.blocks[-1].cells.stop if self.blocks else 0
        weights = np.concatenate([curve, curve, -curve, -curve])
        return sums(self.cell, weights, last)


def sums(place: Index, weight: Float, length: int) -> Float:
    """(length,) sums of the weights that fall on each place; both of any shape, in the same order."""
    return np.bincount(place.ravel(), weight.ravel(), length).astype(np.float64, copy=False)


def columns_of(votes: VoteArrays) -> Columns:
    """The columns of the votes, in the order of the votes."""
    models, annotators = len(votes.models), len(votes.annotators)
    blocks = []
    start = 0
    base, size = np.zeros(len(votes.prompts), dtype=np.int64), np.diff(votes.offsets)
    known = np.where(votes.response_model < 0, models, votes.response_model).astype(np.int64)
    for n in np.unique(size[size > 0]):
        prompts = np.flatnonzero(size == n)
        slots = votes.offsets[prompts, None] + np.arange(n)
        model = known[slots]
        pair_of_models = model[:, :, None] * (models + 1) + model[:, None, :]
        blocks.append(Block(prompts, slots, model, pair_of_models, start))
        base[prompts] = start + n * n * np.arange(len(prompts))
        start = blocks[-1].cells.stop
    left, right = votes.left.astype(np.int64), votes.right.astype(np.int64)
    prompt = votes.response_prompt[left]
    first, width = votes.offsets[prompt], size[prompt]
    i, j = left - first, right - first
    return Columns(
        left=left,
        right=right,
        side=np.where(votes.outcome == LEFT, 1.0, np.where(votes.outcome == RIGHT, -1.0, 0.0)),
        seen=votes.sides_known.astype(np.float64),
        weight=votes.weight * group_share(votes),
        annotator=np.where(votes.annotator < 0, annotators, votes.annotator).astype(np.int64),
        cell=base[prompt] + np.stack([i * width + i, j * width + j, i * width + j, j * width + i]),
        blocks=tuple(blocks),
        model=known,
        responses=len(votes.responses),
        prompts=len(votes.prompts),
        models=models,
        annotators=annotators + 1,
    )


def group_share(votes: VoteArrays) -> Float:
    """(V,) what a vote counts: 1 alone; a ranking of K responses counts as K − 1 votes, shared among its pairs.

    A ranking of K is K − 1 choices, one after another (Plackett, 1975), though it decides K(K − 1)/2 pairs.
    """
    share = np.ones(len(votes.left))
    of_group = votes.group >= 0
    if not of_group.any():
        return share
    group = votes.group[of_group].astype(np.int64)
    pairs = np.bincount(group)
    named = np.unique(np.stack([np.tile(group, 2), np.r_[votes.left[of_group], votes.right[of_group]]]), axis=1)
    ranked = np.bincount(named[0], minlength=len(pairs))
    share[of_group] = np.minimum(1.0, (ranked - 1) / np.maximum(pairs, 1))[group]
    return share
