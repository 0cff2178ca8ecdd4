"""Compiled kernels of one integral: the chance that jointly normal gaps are all above 0."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from curate.compiled import compiled
from curate.uncertainty.normal import below, value_below

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]
Single = npt.NDArray[np.float32]

FLOOR = 1e-9
"""A variance below this part of the item's largest is taken for rounding."""
TINY = float(np.finfo(np.float64).tiny)


@compiled
def gaps_of(mean: Float, covariance: Float, item: Int, best: Int) -> tuple[Float, Float]:
    """(C, D) gaps by which response ``best`` of ``item`` leads each other one, and (C, D, D) roots of their covariance.

    mean: (I, K), covariance: (I, K, K), item, best: (C,); D = K − 1. The tightest gap comes first (Gibson, Glasbey and
    Elston, 1994): what is integrated after it varies less. Gaps count in deviations, never 0 (``root_of``).
    """
    count, size = len(item), mean.shape[1] - 1
    gap, root = np.empty((count, size)), np.zeros((count, size, size))
    other, tight, spread = np.empty(size, dtype=np.int64), np.empty(size), np.empty((size, size))
    for c in range(count):
        b, of = best[c], covariance[item[c]]
        largest = 0.0
        for j in range(size):
            k = j + (j >= b)
            largest = max(largest, of[k, k] + of[b, b] - 2 * of[b, k])
        for j in range(size):  # sorted as they come; equals keep their order
            k = j + (j >= b)
            own = max(of[k, k] + of[b, b] - 2 * of[b, k], 0.0) + FLOOR * largest + TINY
            lead = (mean[item[c], b] - mean[item[c], k]) / math.sqrt(own)
            at = j
            while at > 0 and tight[at - 1] > lead:
                tight[at], other[at] = tight[at - 1], other[at - 1]
                at -= 1
            tight[at], other[at] = lead, k
        for i in range(size):
            gap[c, i] = mean[item[c], b] - mean[item[c], other[i]]
            for j in range(i + 1):
                spread[i, j] = of[other[i], other[j]] + of[b, b] - of[b, other[i]] - of[b, other[j]]
        root_of(spread, root[c])
    return gap, root


@compiled
def root_of(covariance: Float, root: Float) -> None:
    """Put into ``root``, which holds zeros, the lower triangular L with L Lᵀ = covariance, of which the lower half is
    read; every pivot is at least FLOOR of the largest variance."""
    size = len(covariance)
    largest = 0.0
    for k in range(size):
        largest = max(largest, covariance[k, k])
    least = FLOOR * largest + TINY
    for k in range(size):
        for i in range(k, size):
            rest = covariance[i, k]
            for j in range(k):
                rest -= root[i, j] * root[k, j]
            root[i, k] = math.sqrt(max(rest, least)) if i == k else rest / root[k, k]


@compiled
def orthants(gap: Float, root: Float, points: Float, weight: Float) -> Float:
    """(C,) P(root z + gap > 0 in all places), z standard normal, by separation of variables (Genz, 1992).

    gap: (C, D); root: (C, D, D) lower triangular; points: (D − 1, n) of the unit cube with (n,) weights.
    """
    count, size, n = len(gap), gap.shape[1], len(weight)
    chances = np.zeros(count)
    z, chance, product, left = np.empty((size, n)), np.empty(n), np.empty(n), np.empty(n)
    for c in range(count):
        first = below(gap[c, 0] / root[c, 0, 0])
        for p in range(n):
            chance[p] = product[p] = first
        for k in range(1, size):
            drawn, point, own = z[k - 1], points[k - 1], gap[c, k]
            for p in range(n):
                # z falls where its place is above 0; by symmetry −z is what is drawn.
                drawn[p] = value_below(min(max(point[p] * chance[p], 1e-300), 1 - 1e-16))
                left[p] = own
            for j in range(k):
                part, before = root[c, k, j], z[j]
                for p in range(n):
                    left[p] -= part * before[p]
            scale = 1 / root[c, k, k]
            for p in range(n):
                chance[p] = below(left[p] * scale)
                product[p] *= chance[p]
        for p in range(n):
            chances[c] += product[p] * weight[p]
    return chances


@compiled
def count_right(strength: Single, sets: Int, best: Int, right: Int) -> None:
    """Add to ``right``, (S,), for each draw the sets whose response labelled best is its only strongest.

    strength: (N, S) draws of strengths; sets: (M, K) of the N; best: (M,) positions.
    """
    draws = strength.shape[1]
    ahead = np.empty(draws, dtype=np.int64)
    for m in range(len(sets)):
        label = strength[sets[m, best[m]]]
        ahead[:] = 0
        for member in sets[m]:
            other = strength[member]
            for s in range(draws):
                ahead[s] += other[s] >= label[s]
        for s in range(draws):
            right[s] += ahead[s] == 1
