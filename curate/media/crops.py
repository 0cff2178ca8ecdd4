"""A video seen three ways: whole, and without 3% and 6% at each side, so that a copy whose border was cut off is found.

A crop moves every wave of a picture, so that its hash is far from that of the whole; but it is near to the hash of the
same part of the whole. So each video keeps the hashes of its parts as well, and two are as far apart as the nearest of:
the one whole and the other whole, and either one whole and a part of the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curate.media.hashing import Hashes, Images, frame_hashes
from curate.media.near_duplicates import LEAST_BITS, NEAR, NearPairs, near_videos

SAMPLED = 8
"""Frames of a video that are decoded and hashed; an image is one frame."""
CUTS = (0.0, 0.03, 0.06)
"""Shares of height and width that are left out at each side: the views."""

Views = list[tuple[int, ...]]
"""One view of each video."""
FIELDS = ("left", "right", "distance")


def view_hashes(images: Images) -> Hashes:
    """(V·T,) the hashes of all frames as they are, then those of each other view. images: (T, H, W, 3) RGB."""
    return frame_hashes(images, cuts=CUTS)


def views(phash: Sequence[int]) -> list[tuple[int, ...]]:
    """The hashes of the frames by view, the whole first; of a video that was hashed whole only, that view.

    >>> views([1, 2, 3]), views([7] * 8) == [(7,) * 8]
    ([(1,), (2,), (3,)], True)
    """
    every = tuple(phash)
    frames = len(every) // len(CUTS)
    if len(every) % len(CUTS) or frames not in (1, SAMPLED):
        return [every]
    return [every[k * frames : (k + 1) * frames] for k in range(len(CUTS))]


def near_views(
    phashes: Sequence[Sequence[int]],
    others: Sequence[Sequence[int]] | None = None,
    *,
    threshold: float = NEAR,
    least_bits: int = LEAST_BITS,
) -> NearPairs:
    """As ``near_videos``, of which each video is seen every way: the least of their distances."""
    within, own = others is None, _by_view(phashes)
    theirs = own if others is None else _by_view(others)
    compared: list[tuple[Views, Views | None]] = [(own[0], None if within else theirs[0])]
    compared += [(own[0], part) for part in theirs[1:]]
    compared += [(part, theirs[0]) for part in own[1:] if not within]
    found = [near_videos(one, other, threshold=threshold, least_bits=least_bits) for one, other in compared]
    left, right, distance = (np.concatenate([getattr(near, name) for near in found]) for name in FIELDS)
    if within:  # a whole beside a part has either video on either side, and each beside itself
        left, right, distance = (values[left != right] for values in (left, right, distance))
        left, right = np.minimum(left, right), np.maximum(left, right)
    order = np.lexsort((distance, right, left))
    left, right, distance = left[order], right[order], distance[order]
    nearest = np.ones(len(order), dtype=np.bool_)
    nearest[1:] = (left[1:] != left[:-1]) | (right[1:] != right[:-1])
    return NearPairs(left[nearest], right[nearest], distance[nearest])


def _by_view(phashes: Sequence[Sequence[int]]) -> list[Views]:
    """view -> the hashes of each video; empty where a video has not that view."""
    split = [views(phash) for phash in phashes]
    return [[own[k] if k < len(own) else () for own in split] for k in range(len(CUTS))]
