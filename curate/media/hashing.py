"""Perceptual hashes of frames: 64 bits that change little when a picture is re-encoded, scaled, brightened or cropped.

A crop shifts every cosine wave of a picture, so the hash of a cropped copy is far from the hash of the original. Each
frame is therefore hashed in three views: whole, and without 3% and 6% of its height and width at each side.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import numpy.typing as npt

from curate.array_types import Float, Images

Hashes = npt.NDArray[np.uint64]

SAMPLED = 8
"""Frames of a video that are decoded and hashed; an image is one frame."""
CUTS = (0.0, 0.03, 0.06)
"""View -> share of height and width that is cut off at each side."""
SIDE = 32
"""Height and width of the downscaled picture, pixels."""
WAVES = (20, 6, 6)
"""Number of lowest frequencies of brightness and of the two colour differences: 32 together, 2 bits each."""
FLOOR = 0.5
"""Smallest amplitude that sets a bit, in grey levels (root mean square)."""
TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])
"""(3, 3) RGB to brightness and the differences of blue and red from it (JPEG's YCbCr without its offsets)."""


def view_hashes(images: Images) -> Hashes:
    """(V·T,) hashes of all frames in the first view, then in each other view. images: (T, H, W, 3) RGB."""
    return frame_hashes(images, cuts=CUTS)


def split_views(phash: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the hashes of the frames by view, whole frames first; one view if only whole frames were hashed.

    >>> split_views([1, 2, 3]), split_views([7] * 8) == [(7,) * 8]
    ([(1,), (2,), (3,)], True)
    """
    hashes = tuple(phash)
    frames = len(hashes) // len(CUTS)
    if len(hashes) % len(CUTS) or frames not in (1, SAMPLED):
        return [hashes]
    return [hashes[k * frames : (k + 1) * frames] for k in range(len(CUTS))]


def frame_hashes(images: Images, *, cuts: Sequence[float] = (0.0,)) -> Hashes:
    """(C·T,) hashes of the frames, cut by cut. images: (T, H, W, 3) RGB.

    cuts: (C,) shares of height and width that are cut off at each side before hashing.

    Each frame is downscaled to SIDE × SIDE pixels and decomposed into cosine waves. Each wave has two bits: amplitude
    above FLOOR and amplitude below −FLOOR; the mean is not used. A frame of one colour therefore has the hash 0, which
    matches nothing. curate.media.near_duplicates defines the distance of two hashes.

    The classical pHash (Zauner 2010) takes 64 waves of brightness, one bit each, above the median or not: its bits are
    noise for flat frames, and it ignores colour. benchmarks/near.py compares both.
    """
    from scipy.fft import dctn

    small = np.stack([_downscale(image, cuts) for image in images], axis=1).reshape(-1, SIDE, SIDE, 3)
    planes = np.moveaxis(small @ TO_YCC.T, -1, 1)  # (C·T, 3, SIDE, SIDE)
    waves = dctn(planes, axes=(2, 3), norm="ortho") / SIDE  # grey levels, root mean square
    chosen = np.concatenate([waves[:, i][:, *_lowest(n)] for i, n in enumerate(WAVES)], axis=1)  # (C·T, 32)
    bits = np.concatenate([chosen > FLOOR, chosen < -FLOOR], axis=1)
    return np.ascontiguousarray(np.packbits(bits, axis=1)).view(">u8")[:, 0].astype(np.uint64)


def _downscale(image: Images, cuts: Sequence[float]) -> Float:
    """(C, SIDE, SIDE, 3) means of the pixels after each cut. image: (H, W, 3)."""
    from PIL import Image

    picture = Image.fromarray(image)
    height, width = image.shape[:2]
    coarse = max(1, width // (2 * SIDE)), max(1, height // (2 * SIDE))
    picture = picture.reduce(coarse)  # by an integer factor first: twice as fast
    width, height = picture.size
    boxes = [(cut * width, cut * height, (1 - cut) * width, (1 - cut) * height) for cut in cuts]
    small = [picture.resize((SIDE, SIDE), Image.Resampling.BOX, box=box) for box in boxes]
    return np.stack([np.asarray(one, dtype=np.float64) for one in small])


def _lowest(count: int) -> tuple[list[int], list[int]]:
    """Vertical and horizontal frequencies of the ``count`` lowest waves without the mean, ordered by their sum.

    >>> _lowest(4)
    ([0, 1, 0, 1], [1, 0, 2, 1])
    """
    order = sorted((v + h, v, h) for v, h in product(range(SIDE), repeat=2))[1 : count + 1]
    return [v for _, v, _ in order], [h for _, _, h in order]
