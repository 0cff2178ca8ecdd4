"""The perceptual hash of a frame: 64 bits that stay almost the same when the picture is encoded, scaled or lit anew."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
Float = npt.NDArray[np.float64]
Hashes = npt.NDArray[np.uint64]

SIDE = 32
"""Pixels, height and width of the small picture that is transformed."""
WAVES = (20, 6, 6)
"""Lowest frequencies that count, of brightness and of the two differences of colour: 32 together, 2 bits each."""
FLOOR = 0.5
"""Grey levels, root mean square: a wave weaker than this says nothing and has neither bit."""
TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])
"""(3, 3) RGB to brightness and the differences of blue and red from it (JPEG's YCbCr without its offsets)."""


def frame_hashes(images: Images, *, cuts: Sequence[float] = (0.0,)) -> Hashes:
    """(T,) hashes of frames. images: (T, H, W, 3) RGB.

    cuts: for each of these shares of height and width the T hashes of what is left when so much is cut off at each
    side, one after the other: (C·T,).

    Each frame becomes SIDE × SIDE pixels, and those a sum of cosine waves. A wave has one bit that says that it is
    there and above zero, and one that says that it is there and below; the mean does not count. So a flat frame, black
    or of any colour, has the hash 0: it has nothing to tell it by. How near two hashes are says
    curate.media.near_duplicates.

    The classical pHash (Zauner 2010) takes 64 waves of brightness alone and one bit each, above the median or not: of
    a flat frame its bits are noise, and clips that differ in colour look alike. benchmarks/near.py has the figures.
    """
    from scipy.fft import dctn

    small = np.stack([_small(image, cuts) for image in images], axis=1).reshape(-1, SIDE, SIDE, 3)
    planes = np.moveaxis(small @ TO_YCC.T, -1, 1)  # (T, 3, SIDE, SIDE)
    waves = dctn(planes, axes=(2, 3), norm="ortho") / SIDE  # grey levels, root mean square
    chosen = np.concatenate([waves[:, i][:, *_lowest(n)] for i, n in enumerate(WAVES)], axis=1)  # (T, 32)
    bits = np.concatenate([chosen > FLOOR, chosen < -FLOOR], axis=1)
    return np.ascontiguousarray(np.packbits(bits, axis=1)).view(">u8")[:, 0].astype(np.uint64)


def _small(image: Images, cuts: Sequence[float]) -> Float:
    """(C, SIDE, SIDE, 3) means of the picture's pixels, with each cut. image: (H, W, 3)."""
    from PIL import Image

    picture = Image.fromarray(image)
    height, width = image.shape[:2]
    coarse = max(1, width // (2 * SIDE)), max(1, height // (2 * SIDE))
    picture = picture.reduce(coarse)  # by whole numbers first: twice as fast
    width, height = picture.size
    boxes = [(cut * width, cut * height, (1 - cut) * width, (1 - cut) * height) for cut in cuts]
    small = [picture.resize((SIDE, SIDE), Image.Resampling.BOX, box=box) for box in boxes]
    return np.stack([np.asarray(one, dtype=np.float64) for one in small])


def _lowest(count: int) -> tuple[list[int], list[int]]:
    """Vertical and horizontal numbers of the ``count`` lowest waves but the mean, by the sum of the two.

    >>> _lowest(4)
    ([0, 1, 0, 1], [1, 0, 2, 1])
    """
    order = sorted((v + h, v, h) for v, h in product(range(SIDE), repeat=2))[1 : count + 1]
    return [v for _, v, _ in order], [h for _, _, h in order]
