"""Near-duplicates: pairs of videos or images whose perceptual hashes are close."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curate.array_types import Float, Index
from curate.media.hashing import CUTS, Hashes, split_views

NEAR = 0.2
"""Largest distance of near-duplicates. In benchmarks/near.py it covers all copies that were re-encoded, scaled,
brightened or reduced to half the frame rate, and all that were cropped by 3% or 6% at each side; it covers no pair of
different textures, and one in 4,000 pairs of different simulated clips, which do look alike."""
MIN_BITS = 24
"""Bits in the union of two near-duplicates, at least: fewer bits, as in almost flat pictures, may agree by chance."""
BLOCK = 1024
"""Videos that are compared at a time."""

Pairs = tuple[Index, Index, Float]
"""(K,) index of the one, (K,) index of the other, (K,) distance."""


@dataclass(frozen=True)
class NearPairs:
    """K pairs, sorted by left, then right."""

    left: Index
    """(K,) index of one video."""
    right: Index
    """(K,) index of the other: in the same sequence and greater than left, or in ``others``."""
    distance: Float
    """(K,) from 0 (same hashes) to the threshold."""


def near_duplicates(
    phashes: Sequence[Sequence[int]],
    others: Sequence[Sequence[int]] | None = None,
    *,
    threshold: float = NEAR,
    min_bits: int = MIN_BITS,
) -> NearPairs:
    """Return the pairs whose smallest distance over all views is at most the threshold.

    Compared are whole with whole, and the whole of either with the cropped views of the other, so that a copy is found
    whichever of the two was cropped. phashes: the hashes of each video by view (curate.media.hashing.view_hashes).
    """
    within, own = others is None, _by_view(phashes)
    theirs = own if others is None else _by_view(others)
    compared = [(own[0], None if within else theirs[0])]
    compared += [(own[0], view) for view in theirs[1:]]
    compared += [(view, theirs[0]) for view in own[1:] if not within]
    found = [near_pairs(one, other, threshold=threshold, min_bits=min_bits) for one, other in compared]
    left, right, distance = (
        np.concatenate([getattr(pairs, name) for pairs in found]) for name in NearPairs.__dataclass_fields__
    )
    if within:  # whole against view compares each video with itself, and each pair in both directions
        left, right, distance = (values[left != right] for values in (left, right, distance))
        left, right = np.minimum(left, right), np.maximum(left, right)
    order = np.lexsort((distance, right, left))
    left, right, distance = left[order], right[order], distance[order]
    nearest = np.ones(len(order), dtype=np.bool_)
    nearest[1:] = (left[1:] != left[:-1]) | (right[1:] != right[:-1])
    return NearPairs(left[nearest], right[nearest], distance[nearest])


def near_pairs(
    phashes: Sequence[Sequence[int]],
    others: Sequence[Sequence[int]] | None = None,
    *,
    threshold: float = NEAR,
    min_bits: int = MIN_BITS,
) -> NearPairs:
    """Return the pairs within ``phashes``, or between it and ``others``, whose distance is at most the threshold.

    phashes: the hashes of each video's frames in the order of time. Only videos with the same positive number of hashes
    are compared, frame by frame. The distance is Σ|a xor b| / Σ|a or b|, the share of differing bits in their union. A
    flat frame has no bits: two black frames do not count, and a black frame opposite a picture increases the distance.
    """
    found: list[Pairs] = []
    for length in sorted({len(one) for one in phashes} - {0}):
        place, hashes = _of_length(phashes, length)
        if others is None:
            left, right, distance = _within(hashes, None, threshold, min_bits)
            pair = place[left], place[right]
            found.append((np.minimum(*pair), np.maximum(*pair), distance))
        else:
            other_place, other_hashes = _of_length(others, length)
            left, right, distance = _within(hashes, other_hashes, threshold, min_bits)
            found.append((place[left], other_place[right], distance))
    left, right, distance = _concatenate(found)
    order = np.lexsort((right, left))
    return NearPairs(left[order], right[order], distance[order])


def hash_distance(one: Sequence[int], other: Sequence[int]) -> float:
    """Return the distance of two sequences of equally many hashes; 1 if neither has a bit.

    >>> hash_distance([0b0111, 0], [0b0110, 0])
    0.3333333333333333
    """
    a, b = np.array(one, dtype=np.uint64), np.array(other, dtype=np.uint64)
    either = int(np.bitwise_count(a | b).sum())
    return int(np.bitwise_count(a ^ b).sum()) / either if either else 1.0


def _by_view(phashes: Sequence[Sequence[int]]) -> list[list[tuple[int, ...]]]:
    """View -> the hashes of each video; empty for a video without this view."""
    split = [split_views(phash) for phash in phashes]
    return [[own[k] if k < len(own) else () for own in split] for k in range(len(CUTS))]


def _of_length(phashes: Sequence[Sequence[int]], length: int) -> tuple[Index, Hashes]:
    """(n,) indices of the sequences of this length, and (n, length) their hashes."""
    place = np.array([i for i, one in enumerate(phashes) if len(one) == length], dtype=np.int64)
    hashes = np.array([phashes[i] for i in place], dtype=np.uint64).reshape(len(place), length)
    return place, hashes


def _within(a: Hashes, b: Hashes | None, threshold: float, min_bits: int) -> Pairs:
    """Return the pairs of rows of a (n, T) and b (m, T), or of a alone, within the threshold.

    If the rows have A and B bits and differ in x, their union has (A + B + x) / 2 bits, and x ≥ |A − B|. Sorted by the
    number of bits, only a window of b can be near a block of a.
    """
    alone, b = b is None, a if b is None else b
    bits_a, bits_b = (np.bitwise_count(hashes).sum(axis=1, dtype=np.int64) for hashes in (a, b))
    order_a, order_b = np.argsort(bits_a, kind="stable"), np.argsort(bits_b, kind="stable")
    a, b, bits_a, bits_b = a[order_a], b[order_b], bits_a[order_a], bits_b[order_b]
    columns = np.ascontiguousarray(b.T)
    found: list[Pairs] = []
    for start in range(0, len(a), BLOCK):
        rows = slice(start, start + BLOCK)
        low, high = int(bits_a[rows][0]), int(bits_a[rows][-1])
        first = int(np.searchsorted(bits_b, np.floor(low * (1 - threshold)), side="left"))
        last = int(np.searchsorted(bits_b, np.ceil(high / (1 - threshold)) if threshold < 1 else np.inf, side="right"))
        for begin in range(max(first, start) if alone else first, last, BLOCK):
            window = slice(begin, min(begin + BLOCK, last))
            differing = np.zeros((len(a[rows]), window.stop - begin), dtype=np.uint16)
            for hashes, column in zip(a[rows].T, columns[:, window], strict=True):
                differing += np.bitwise_count(hashes[:, None] ^ column)
            total = bits_a[rows][:, None] + bits_b[window]
            # x / ((A + B + x) / 2) ≤ t, without a division
            close = differing * (2 - threshold) <= threshold * total
            i, j = np.nonzero(close & (total + differing >= 2 * min_bits))
            if alone:
                once = start + i < begin + j
                i, j = i[once], j[once]
            x = differing[i, j].astype(np.float64)
            found.append((order_a[start + i], order_b[begin + j], 2 * x / (total[i, j] + x)))
    return _concatenate(found)


def _concatenate(found: Sequence[Pairs]) -> Pairs:
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    left, right, distance = (np.concatenate(part) for part in zip(*found, strict=True))
    return left, right, distance
