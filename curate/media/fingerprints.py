"""Fingerprints: the low-frequency waves of a video's frames, by which an edited copy of it is found.

A frame is downscaled and decomposed into cosine waves of brightness and of the two colour differences. The waves of a
mirrored, rotated, inverted or cropped frame are linear functions of those of the original, so that these edits are
compared without decoding again: mirroring changes the sign of odd waves, a rotation by 90° also exchanges the two
frequencies, inversion changes every sign, and a crop is a matrix on either side.
"""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np

from curate.array_types import Bool, Float32, Images, Index, Int8
from curate.media.hashing import SAMPLED, TO_YCC

LUMA, CHROMA = 14, 6
"""Stored waves in each direction: of brightness, and of each colour difference."""
BYTES = LUMA**2 + 2 * CHROMA**2
"""Of one frame."""
SCALE = 11.0
"""A byte is SCALE times the square root of an amplitude, with its sign: amplitudes to 133 grey levels, fine near 0."""
FINE = 64
"""Pixels, height and width, to which a frame is reduced by whole numbers before: it then has FINE or more."""
_bytes = np.arange(256).astype(np.int8).astype(np.float32)
AMPLITUDES: Float32 = np.sign(_bytes) * (_bytes / SCALE) ** 2
"""(256,) amplitude of each byte, which is read as unsigned."""
COUNTS = {SAMPLED: 4.0, 3 * SAMPLED: 12.0, 9 * SAMPLED: 108.0, 27 * SAMPLED: np.inf}
"""Number of frames of a fingerprint, in the middle of equal slices of the time -> longest video with it, seconds."""
CHEAP = 256 * 256
"""Pixels of a frame up to which more than the first of COUNTS are decoded."""

LUMA_COMPARED, CHROMA_COMPARED = 8, 4
"""Compared waves in each direction: fewer than stored, since a crop's waves depend on higher ones of the whole."""
COLOUR = 1.5
"""Weight of the waves of colour."""
GRAY = 2.0
"""Largest amplitude of colour in a gray video, grey levels."""
CONTRAST = 3.0
"""Smallest contrast of a frame that is compared: root mean square of its weighted waves of brightness, grey levels."""
WAVES = 4.0
"""Smallest effective number of waves of such a frame, (Σ e)² / Σ e² over their energies e; a gradient has less."""

Fingerprint = bytes
"""What is stored of a video: see ``pack``."""
Span = tuple[tuple[float, float], tuple[float, float]]
"""(top, bottom), (left, right) of a part of the frame, as shares of height and width."""
WHOLE: Span = ((0.0, 1.0), (0.0, 1.0))


def frame_count(duration: float, pixels: int) -> int:
    """Return the number of frames to fingerprint. duration: seconds; pixels: of a frame.

    >>> [frame_count(seconds, 1280 * 720) for seconds in (4, 12, 30, 3600)], frame_count(2, 64 * 64)
    ([8, 24, 72, 216], 24)
    """
    found = next(count for count, longest in COUNTS.items() if duration <= longest)
    return max(found, 3 * SAMPLED) if pixels <= CHEAP else found


def fingerprint(images: Images) -> bytes:
    """Return BYTES bytes for each frame: its waves of brightness, blue and red difference. images: (T, H, W, 3) RGB."""
    from PIL import Image

    height, width = images.shape[1:3]
    factor = max(1, width // FINE), max(1, height // FINE)
    small = np.stack([np.asarray(Image.fromarray(image).reduce(factor), dtype=np.float32) for image in images])
    planes = np.moveaxis(small @ TO_YCC.T.astype(np.float32), -1, 1)  # (T, 3, h, w)
    waves = _waves(planes.shape[2]) @ planes @ _waves(planes.shape[3]).T  # grey levels, root mean square
    kept = (waves[:, 0], waves[:, 1, :CHROMA, :CHROMA], waves[:, 2, :CHROMA, :CHROMA])
    flat = np.concatenate([part.reshape(len(images), -1) for part in kept], axis=1)
    return bytes((np.sign(flat) * np.sqrt(np.abs(flat)) * SCALE).round().clip(-127, 127).astype(np.int8).tobytes())


@cache
def _waves(pixels: int) -> Float32:
    """(LUMA, pixels) the cosine waves in one direction, of root mean square 1, divided by the number of pixels."""
    place = np.pi * np.arange(LUMA)[:, None] * (np.arange(pixels) + 0.5) / pixels
    size = np.where(np.arange(LUMA) == 0, 1.0, np.sqrt(2.0))[:, None]
    return (size * np.cos(place) / pixels).astype(np.float32)


def pack(frames: bytes, duration: float) -> bytes:
    """Return the stored fingerprint: the seconds between frames as a float of four bytes, then the frames."""
    return np.array(duration * BYTES / max(len(frames), 1), dtype="<f4").tobytes() + frames


def unpack(stored: bytes) -> tuple[float, Int8]:
    """Return the seconds between frames (0 for an image), and (T, BYTES) the frames. Nothing is a video of no frame.

    Raises ValueError for other bytes.

    >>> unpack(pack(bytes(2 * BYTES), 3.0))[0], unpack(b"")[1].shape == (0, BYTES)
    (1.5, True)
    """
    interval = float(np.frombuffer(stored[:4], "<f4")[0]) if stored else 0.0
    if not 0 <= interval < np.inf:
        raise ValueError(f"a fingerprint states {interval} seconds between frames")
    return interval, np.frombuffer(stored[4:], dtype=np.int8).reshape(-1, BYTES)


def fingerprint_distance(one: bytes, other: bytes) -> float:
    """Return the relative difference of two fingerprints of one video, 0 to 1; 1 if their sizes differ."""
    if len(one) != len(other):
        return 1.0
    a, b = (np.frombuffer(stored[4:], dtype=np.int8).astype(np.float64) for stored in (one, other))
    size = max(float(np.linalg.norm(a)), float(np.linalg.norm(b)), 1.0)
    return min(1.0, float(np.linalg.norm(a - b)) / size)


def vectors(frames: Int8, span: Span = WHOLE) -> Float32:
    """(T, D) the weighted waves of a part of each frame, LUMINANCE of brightness first. frames: (T, BYTES)."""
    waves = AMPLITUDES[frames.view(np.uint8)]
    parts, first = [], 0
    for kept, compared, weight in CHANNELS:
        parts.append(waves[:, first : first + kept**2] @ _part(span, kept, compared, weight))
        first += kept**2
    found: Float32 = np.concatenate(parts, axis=1)
    found[:, 0] = 0  # the mean brightness
    return found


def coloured(frames: Int8) -> Bool:
    """(T,) whether a frame has colour. frames: (T, BYTES)."""
    colour = np.abs(frames[:, LUMA**2 :].astype(np.int16)).max(axis=1, initial=0)
    found: Bool = colour > SCALE * np.sqrt(GRAY)
    return found


CHANNELS = ((LUMA, LUMA_COMPARED, 1.0), (CHROMA, CHROMA_COMPARED, COLOUR), (CHROMA, CHROMA_COMPARED, COLOUR))
"""Stored waves, compared waves and weight: brightness, blue difference, red difference."""
LUMINANCE = LUMA_COMPARED**2
"""Number of waves of brightness in a vector."""


def informative(found: Float32) -> Bool:
    """(T,) whether the brightness of a frame has enough contrast and detail to be compared. found: (T, D) vectors."""
    energy = found[:, :LUMINANCE].astype(np.float64) ** 2
    total = energy.sum(axis=1)
    effective = total**2 / np.maximum((energy**2).sum(axis=1), 1e-9)
    clear: Bool = (np.sqrt(total) >= CONTRAST) & (effective >= WAVES)
    return clear


@cache
def _part(span: Span, stored: int, compared: int, weight: float) -> Float32:
    """(stored², compared²) waves of the whole frame -> weighted waves of its part.

    The weight of a wave has the root of its frequency as a factor: pictures have larger low waves, which distinguish
    less.
    """
    place = (np.arange(512) + 0.5) / 512
    size = np.where(np.arange(stored) == 0, 1.0, np.sqrt(2.0))[:, None]
    part = (size * np.cos(np.pi * np.arange(stored)[:, None] * place))[:compared]
    matrices = []
    for begin, end in span:
        whole = size * np.cos(np.pi * np.arange(stored)[:, None] * (begin + (end - begin) * place))
        matrices.append(part @ whole.T / 512)
    frequency = np.add.outer(np.arange(compared), np.arange(compared))
    emphasis = weight * np.sqrt(np.maximum(1, frequency)).ravel()
    matrix: Float32 = (np.kron(*matrices).T * emphasis).astype(np.float32)
    return matrix


@cache
def symmetries() -> tuple[Index, Float32]:
    """(8, D) places and (8, D) signs: ``found[:, places[g]] * signs[g]`` are those of mirrored and rotated frames."""
    places, signs = [], []
    for transpose, rows, columns in product((False, True), repeat=3):
        place, sign, first = [], [], 0
        for compared in (LUMA_COMPARED, CHROMA_COMPARED, CHROMA_COMPARED):
            grid = first + np.arange(compared**2).reshape(compared, compared)
            odd = (-1.0) ** np.arange(compared)
            place.append((grid.T if transpose else grid).ravel())
            sign.append(np.multiply.outer(odd if rows else odd**2, odd if columns else odd**2).ravel())
            first += compared**2
        places.append(np.concatenate(place))
        signs.append(np.concatenate(sign))
    return np.array(places), np.array(signs, dtype=np.float32)
