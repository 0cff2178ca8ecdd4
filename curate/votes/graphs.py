"""Preference graphs: for each prompt, the weight of votes that prefer one response to another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from curate.array_types import Float, Index, Int32


@dataclass(frozen=True, eq=False)  # equal only to itself, so that results can be kept by batch
class GraphBatch:
    """B prompts with N responses each, without padding."""

    prompts: Index
    """(B,) prompt numbers."""
    slots: Index
    """(B, N) response numbers."""
    wins: Float
    """(B, N, N) weight of votes that prefer i to j; a tie gives half to each side. The diagonal is 0."""


def build_graphs(
    *, left: Int32, right: Int32, share_left: Float, weight: Float, offsets: Index
) -> tuple[GraphBatch, ...]:
    """Return one batch for each number of responses N ≥ 1, smallest first; prompts are in order within a batch.

    left, right: (V,) response numbers. share_left: (V,) in [0, 1], the share of the vote that prefers left.
    weight: (V,). offsets: (P + 1,) the first response of each prompt.
    """
    size = np.diff(offsets)
    prompt = np.repeat(np.arange(len(size)), size)[left]
    batches = []
    for n in np.unique(size[size > 0]):
        prompts = np.flatnonzero(size == n)
        place = np.full(len(size), -1)
        place[prompts] = np.arange(len(prompts))
        mine = place[prompt] >= 0
        b, first = place[prompt[mine]], offsets[prompt[mine]]
        i, j, w, s = left[mine] - first, right[mine] - first, weight[mine], share_left[mine]
        cells = len(prompts) * n * n
        wins = _sum_cells((b * n + i) * n + j, w * s, cells) + _sum_cells((b * n + j) * n + i, w * (1 - s), cells)
        slots = offsets[prompts, None] + np.arange(n)
        batches.append(GraphBatch(prompts=prompts, slots=slots, wins=wins.reshape(len(prompts), n, n)))
    return tuple(batches)


def _sum_cells(cell: Index, weight: Float, cells: int) -> Float:
    """Return (cells,) the sum of the weights of each cell."""
    return np.bincount(cell, weights=weight, minlength=cells).astype(np.float64, copy=False)
