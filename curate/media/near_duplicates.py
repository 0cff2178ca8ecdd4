"""Which videos or images show the same: pairs that are near by the perceptual hashes of their frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]

NEAR = 0.2
"""Distance up to which two are near. In benchmarks/near.py these are all copies encoded anew, scaled, lit anew or
at half the frame rate, 95% or more of those cropped by 3% on each side and a third of those cropped by 6% (all of
them, where curate.media.crops compares); no pair of different textures, and one in 4,000 of the simulated clips,
which do
look alike."""
LEAST_BITS = 24
"""Bits that two must have between them to be called near: fewer may be equal by chance, as of nearly flat pictures."""
BLOCK = 1024
"""Videos that are compared at a time."""


@dataclass(frozen=True)
class NearPairs:
    """Pairs that are near, sorted by left, then right."""

    left: Int
    """(K,) place of one among those given."""
    right: Int
    """(K,) place of the other: among the same, and greater than left; or among ``others``, where those were given."""
    distance: Float
    """(K,) 0 (the same) to the threshold."""


def near_videos(
    phashes: Sequence[Sequence[int]],
    others: Sequence[Sequence[int]] | None = None,
    *,
    threshold: float = NEAR,
    least_bits: int = LEAST_BITS,
) -> NearPairs:
    """All pairs of ``phashes``, or of one of them and one of ``others``, whose distance is at most the threshold.


    Each has the hashes of its frames (curate.media.hashing), in the order of time; only those of equally many frames
    are compared, frame by frame, and those without hashes never. The distance is the share of bits that one of two
    has, in any of their frames, and the other has not: Σ|a xor b| / Σ|a or b|. A flat frame has no bits: two black
    frames say nothing, a black one beside a picture speaks against. The distances are exact; those that the numbers of
    bits alone keep apart are not computed.
    """
    found = []
    for length in sorted({len(one) for one in phashes} - {0}):
        place, hashes = _of_length(phashes, length)
        if others is None:
            left, right, distance = _within(hashes, None, threshold, least_bits)
            pair = place[left], place[right]
            found.append((np.minimum(*pair), np.maximum(*pair), distance))
        else:
            other_place, other_hashes = _of_length(others, length)
            left, right, distance = _within(hashes, other_hashes, threshold, least_bits)
            found.append((place[left], other_place[right], distance))
    if not found:
        return NearPairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    left, right, distance = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.lexsort((right, left))
    return NearPairs(left[order], right[order], distance[order])


def distance(one: Sequence[int], other: Sequence[int]) -> float:
    """The distance of two with equally many frames; 1 where neither has a bit.

    >>> distance([0b0111, 0], [0b0110, 0])
    0.3333333333333333
    """
    a, b = np.array(one, dtype=np.uint64), np.array(other, dtype=np.uint64)
    either = int(np.bitwise_count(a | b).sum())
    return int(np.bitwise_count(a ^ b).sum()) / either if either else 1.0


def _of_length(phashes: Sequence[Sequence[int]], length: int) -> tuple[Int, Hashes]:
    """(n,) places of those with so many hashes, and (n, length) their hashes."""
    place = np.array([i for i, one in enumerate(phashes) if len(one) == length], dtype=np.int64)
    hashes = np.array([phashes[i] for i in place], dtype=np.uint64).reshape(len(place), length)
    return place, hashes


def _within(a: Hashes, b: Hashes | None, threshold: float, least_bits: int) -> tuple[Int, Int, Float]:
    """Rows of a (n, T) and of b (m, T) within the threshold of each other, and their distances; of a alone without b.

    With A and B bits, x of them in one only, the union is (A + B + x) / 2; and x ≥ |A − B|: in the order of their
    numbers of bits only a window of b can be near to a block of a.
    """
    alone, b = b is None, a if b is None else b
    bits_a, bits_b = (np.bitwise_count(hashes).sum(axis=1, dtype=np.int64) for hashes in (a, b))
    order_a, order_b = np.argsort(bits_a, kind="stable"), np.argsort(bits_b, kind="stable")
    a, b, bits_a, bits_b = a[order_a], b[order_b], bits_a[order_a], bits_b[order_b]
    columns = np.ascontiguousarray(b.T)
    found: list[tuple[Int, Int, Float]] = []
    for start in range(0, len(a), BLOCK):
        rows = slice(start, start + BLOCK)
        low, high = int(bits_a[rows][0]), int(bits_a[rows][-1])
        first = int(np.searchsorted(bits_b, np.floor(low * (1 - threshold)), side="left"))
        last = int(np.searchsorted(bits_b, np.ceil(high / (1 - threshold)) if threshold < 1 else np.inf, side="right"))
        for begin in range(max(first, start) if alone else first, last, BLOCK):
            window = slice(begin, min(begin + BLOCK, last))
            apart = np.zeros((len(a[rows]), window.stop - begin), dtype=np.uint16)
            for hashes, column in zip(a[rows].T, columns[:, window], strict=True):
                apart += np.bitwise_count(hashes[:, None] ^ column)
            total = bits_a[rows][:, None] + bits_b[window]
            # x / ((A + B + x) / 2) ≤ t, without a division
            i, j = np.nonzero((apart * (2 - threshold) <= threshold * total) & (total + apart >= 2 * least_bits))
            if alone:
                once = start + i < begin + j
                i, j = i[once], j[once]
            x = apart[i, j].astype(np.float64)
            found.append((order_a[start + i], order_b[begin + j], 2 * x / (total[i, j] + x)))
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    left, right, distances = (np.concatenate(part) for part in zip(*found, strict=True))
    return left, right, distances
