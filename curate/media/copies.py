"""Copies: pairs of videos or images one of which, or a part of it, is an edited part of the other.

Found are mirrored, rotated, inverted, gray, cropped, captioned, reversed, repeated, frozen, cut and concatenated ones.
An index of frames yields candidates; then whole fingerprints are compared under each edit of the picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import groupby
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from curate.array_types import Bool, Float, Float32, Index, Int8
from curate.engine import Engine, Part, map_parts
from curate.media.fingerprints import (
    LUMA_COMPARED,
    LUMINANCE,
    WHOLE,
    Span,
    coloured,
    informative,
    symmetries,
    unpack,
    vectors,
)
from curate.media.near_duplicates import NearPairs

Code = npt.NDArray[np.uint64]

CUTS = (0.03, 0.06, 0.09, 0.12, 0.15)
"""Shares cut off at each side of a crop that the index knows; crops between them are close enough to be found."""
BETWEEN = (0.0, -0.0075, 0.0075, -0.015, 0.015)
"""Added to a crop of CUTS in the final comparison."""
CAPTION = 0.2
"""Share of the height that is cut off below, or above, on both sides, so that captions are not compared."""


def crop(share: float) -> Span:
    """The part without this share of height and width at each side."""
    return ((share, 1 - share), (share, 1 - share))


BANDS: tuple[Span, ...] = (WHOLE, ((0.0, 1 - CAPTION), (0.0, 1.0)), ((CAPTION, 1.0), (0.0, 1.0)))
"""Parts of the frame that are compared with the same part, or, the whole, with a crop."""
SPANS: tuple[tuple[Span, int], ...] = ((WHOLE, 0), *((crop(cut), 0) for cut in CUTS), (BANDS[1], 1), (BANDS[2], 2))
"""Spans of the indexed video, and the place in BANDS of the span of the other that each is compared with."""
INDEXED = 8
"""Frames of a video in the index, at most; every frame of a video is looked up."""
KEY_BITS = 24
"""Consecutive bits of two codes that are equal, from a byte's border, if one is a candidate for the other."""
MAX_BITS = 12
"""Largest number of different bits of two codes of 64 bits whose frames are compared."""
LOOSE = 0.45
"""Largest distance of two frames, one of them cropped, whose videos are compared completely: crops between CUTS are
further apart than in the final comparison."""
TRIED = 3
"""Pairs of frames that are compared for a pair of videos, those with the most similar codes."""
HYPOTHESES = 3
"""Edits of the picture that are compared completely for a pair of videos."""
LONGEST = 6.0
"""Seconds that two long videos must have in common: less may be a title or a logo."""
BLOCK = 1 << 16
"""Pairs of frames that are compared at once."""
PAIRS = 1000
"""Pairs of videos that a worker of an engine compares at a time."""

Likely = tuple[int, int, list[tuple[int, int]]]
"""An indexed video, another, and likely edits: places in SPANS and numbers of symmetries, likeliest first."""


def find_copies(fingerprints: Sequence[bytes], *, threshold: float, engine: Engine | None = None) -> NearPairs:
    """Return the pairs of videos whose distance is at most the threshold.

    fingerprints: of each video (``curate.media.fingerprints.pack``); empty for one without. engine: where they are
    compared; None: in this process.

    The distance of two frames is that of their waves as vectors of length 1: 0 for equal ones, √2 for unrelated ones;
    the smallest over the edits of the picture counts. The distance of two videos is that within which one of them has
    similar frames in the other for half the duration of the shorter, or for LONGEST.
    """
    videos = _Videos.of(fingerprints)
    spans = [Part(f"span {number}", number) for number in range(len(SPANS))]
    rows = [row for own in map_parts(_SimilarFrames(videos, threshold), spans, engine=engine) for row in own]
    likely = list(_hypotheses(rows))
    parts = [Part(f"pair {k}", likely[k : k + PAIRS]) for k in range(0, len(likely), PAIRS)]
    distances = (one for own in map_parts(partial(_distances, videos), parts, engine=engine) for one in own)
    found: dict[tuple[int, int], float] = {}
    for (i, j, _), distance in zip(likely, distances, strict=True):
        if distance <= threshold:
            pair = min(i, j), max(i, j)
            found[pair] = min(distance, found.get(pair, np.inf))
    pairs = sorted(found)
    left, right = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    return NearPairs(left, right, np.array([found[pair] for pair in pairs]))


def has_detail(fingerprint: bytes) -> bool:
    """Whether the frames of a video have enough detail to be compared, for half its duration."""
    seen = informative(vectors(unpack(fingerprint)[1]))
    return bool(seen.size and seen.mean() >= 0.5)


@dataclass(frozen=True)
class _Videos:
    """The frames of N videos."""

    frames: Int8
    """(F, BYTES) of all."""
    first: Index
    """(N + 1,) number of each video's first frame, and F."""
    interval: Float
    """(N,) seconds between frames; 0 for an image."""
    gray: Bool
    """(N,) whether no frame has colour."""

    @classmethod
    def of(cls, fingerprints: Sequence[bytes]) -> _Videos:
        found = [unpack(b""), *map(unpack, fingerprints)]
        frames = np.concatenate([own for _, own in found])
        first = np.cumsum([len(own) for _, own in found])
        colours = np.concatenate([[0], np.cumsum(coloured(frames))])
        interval = np.array([seconds for seconds, _ in found[1:]])
        return cls(frames, first, interval, colours[first[1:]] == colours[first[:-1]])

    def of_frame(self, frame: Index) -> Index:
        """Number of the video of each frame."""
        return np.searchsorted(self.first, frame, side="right") - 1

    def duration(self, video: int) -> float:
        return float(self.interval[video] * (self.first[video + 1] - self.first[video]))

    def indexed(self) -> Index:
        """Frames for the index: INDEXED of each video, at equal intervals."""
        chosen = [
            first + (np.arange(min(INDEXED, n := int(last - first))) + 0.5) * (n / min(INDEXED, max(n, 1)))
            for first, last in zip(self.first[:-1], self.first[1:], strict=True)
        ]
        return np.concatenate([np.zeros(0), *chosen]).astype(np.int64)


def frame_codes(found: Float32) -> Code:
    """(T,) codes of 64 bits that hardly differ for frames that are mirrored, rotated, inverted or gray.

    The magnitudes of waves, with the two frequencies of a wave exchanged or not, are the same for all of these. Each
    bit is the side of a hyperplane on which the magnitudes lie: two frames at an angle a differ in about 64·a/π bits.
    """
    planes, usual = _hyperplanes()
    grid = found[:, :LUMINANCE].reshape(-1, LUMA_COMPARED, LUMA_COMPARED)
    above = np.triu_indices(LUMA_COMPARED)
    sizes = np.hypot(grid, np.swapaxes(grid, 1, 2))[:, *above]
    sizes = sizes / np.maximum(np.linalg.norm(sizes, axis=1, keepdims=True), 1e-9) - usual
    bits = sizes @ planes > 0
    return np.ascontiguousarray(np.packbits(bits, axis=1)).view(">u8")[:, 0].astype(np.uint64)


@cache
def _hyperplanes() -> tuple[Float32, Float32]:
    """(M, 64) normal vectors, and (M,) the usual magnitudes, through which the planes go."""
    v, h = np.triu_indices(LUMA_COMPARED)
    usual = np.where(v + h == 0, 0.0, 1 / np.sqrt(np.maximum(v + h, 1)))
    signs = np.random.Generator(np.random.PCG64(0)).integers(0, 2, (len(v), 64)) * 2 - 1
    return signs.astype(np.float32), (usual / np.linalg.norm(usual)).astype(np.float32)


def matching_codes(indexed: Code, asked: Code) -> Iterator[tuple[Index, Index]]:
    """Yield (K,) places in ``indexed`` and (K,) in ``asked`` of codes that share a key and differ in MAX_BITS or less.

    A key is KEY_BITS consecutive bits from one of the eight borders of bytes, cyclically: codes that differ in two bits
    or less always share one. Each pair comes once.
    """
    for turn in range(8):
        left, right = _keys(indexed, turn), _keys(asked, turn)
        order = np.argsort(left, kind="stable")
        begin = np.searchsorted(left[order], right, side="left")
        many = np.searchsorted(left[order], right, side="right") - begin
        ends = np.cumsum(many)
        start = 0
        while start < len(right):
            stop = max(start + 1, int(np.searchsorted(ends, (ends[start - 1] if start else 0) + BLOCK, side="right")))
            count = many[start:stop]
            j = np.repeat(np.arange(start, stop), count)
            within = np.arange(len(j)) - np.repeat(np.cumsum(count) - count, count)
            i = order[begin[j] + within]
            different = indexed[i] ^ asked[j]
            close = np.bitwise_count(different) <= MAX_BITS
            for earlier in range(turn):
                close &= _keys(different, earlier) != 0
            yield i[close], j[close]
            start = stop


def _keys(codes: Code, turn: int) -> npt.NDArray[np.uint32]:
    turned = codes << np.uint64(8 * turn) | codes >> np.uint64((64 - 8 * turn) % 64) if turn else codes
    return (turned >> np.uint64(64 - KEY_BITS)).astype(np.uint32)


def _codes(videos: _Videos, chosen: Index, span: Span) -> tuple[Index, Code]:
    """Return those of the chosen frames that have enough detail in the span, and their codes."""
    kept, codes = [chosen[:0]], [np.zeros(0, np.uint64)]
    for start in range(0, len(chosen), BLOCK):
        part = chosen[start : start + BLOCK]
        found = vectors(videos.frames[part], span)
        clear = informative(found)
        kept.append(part[clear])
        codes.append(frame_codes(found[clear]))
    return np.concatenate(kept), np.concatenate(codes)


@dataclass
class _SimilarFrames:
    """Finds the similar frames of videos by one of the SPANS at a time."""

    videos: _Videos
    threshold: float
    _last: tuple[int, Index, Code] | None = None
    """A band, and the codes of all frames in it: successive spans have the same band."""

    def __call__(self, number: int) -> list[tuple[Index, ...]]:
        """Return (K,) columns: an indexed video, another, place in SPANS, number of the symmetry, distance of two
        frames."""
        videos, found = self.videos, []
        span, band = SPANS[number]
        if self._last is None or self._last[0] != band:
            self._last = band, *_codes(videos, np.arange(len(videos.frames)), BANDS[band])
        _, frames, codes = self._last
        own, own_codes = _codes(videos, videos.indexed(), span)
        largest = max(LOOSE, self.threshold) if _is_crop(number) else self.threshold
        for i, j in matching_codes(own_codes, codes):
            different = np.bitwise_count(own_codes[i] ^ codes[j])
            i, j = own[i], frames[j]
            video, other = videos.of_frame(i), videos.of_frame(j)
            order = np.lexsort((different, other, video))
            order = order[_few(video[order], other[order]) & (video != other)[order]]
            i, j, video, other = i[order], j[order], video[order], other[order]
            a, b = _vectors_of(videos, i, span), _vectors_of(videos, j, BANDS[band])
            distance, g = _nearest(a, b, videos.gray[video] | videos.gray[other])
            close = distance <= largest
            row = video, other, np.full(len(video), number), g, (distance * 1e4).astype(np.int64)
            found.append(tuple(column[close] for column in row))
        return found


def _is_crop(number: int) -> bool:
    """Whether this place in SPANS is that of a crop."""
    return 0 < number <= len(CUTS)


def _few(video: Index, other: Index) -> Bool:
    """(K,) whether a row is among the first TRIED of its pair. video, other: (K,) sorted."""
    begins = np.ones(len(video), np.bool_)
    begins[1:] = (video[1:] != video[:-1]) | (other[1:] != other[:-1])
    place = np.arange(len(video))
    return place - np.maximum.accumulate(np.where(begins, place, 0)) < TRIED


def _vectors_of(videos: _Videos, frames: Index, span: Span) -> Float32:
    """(K, D) vectors of frames, each of which may occur often."""
    once, places = np.unique(frames, return_inverse=True)
    return vectors(videos.frames[once], span)[places]


def _hypotheses(rows: Sequence[tuple[Index, ...]]) -> Iterator[Likely]:
    """Yield the pairs of videos with similar frames. rows: of ``_SimilarFrames``."""
    if not rows:
        return
    columns = np.stack([np.concatenate(part) for part in zip(*rows, strict=True)])
    order = np.lexsort(columns[[4, 1, 0]])
    for (i, j), group in groupby(columns[:4, order].T.tolist(), key=itemgetter(0, 1)):
        edits = dict.fromkeys((number, g) for _, _, number, g in group)
        yield i, j, list(edits)[:HYPOTHESES]


def _nearest(a: Float32, b: Float32, luma_only: Bool) -> tuple[Float32, Index]:
    """(K,) distance of frames a[k] and b[k] under the best symmetry of b, and (K,) its number."""
    a, b = a.copy(), b.copy()
    a[luma_only, LUMINANCE:] = b[luma_only, LUMINANCE:] = 0
    length = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    places, signs = symmetries()
    half = len(places) // 2  # the symmetries of each half have the same places
    products = np.concatenate([(a * b[:, places[g]]) @ signs[g : g + half].T for g in (0, half)], axis=1)
    similarity = np.abs(products) / np.maximum(length, 1e-9)[:, None]
    return _chord(similarity.max(axis=1)), similarity.argmax(axis=1)


def _chord(similarity: Float32) -> Float32:
    """The distance of vectors of length 1 with this scalar product."""
    return np.sqrt(np.maximum(0, 2 - 2 * similarity))


def _distances(videos: _Videos, pairs: Sequence[Likely]) -> list[float]:
    """Return the distance of each pair of videos under its best edit."""
    return [min(_distance(videos, i, j, number, g) for number, g in edits) for i, j, edits in pairs]


def _distance(videos: _Videos, i: int, j: int, number: int, g: int) -> float:
    """Return the distance of two videos under one edit of the picture."""
    span, band = SPANS[number]
    luma_only = bool(videos.gray[i] or videos.gray[j])
    places, signs = symmetries()
    own, other = (videos.frames[videos.first[k] : videos.first[k + 1]] for k in (i, j))
    b = vectors(other, BANDS[band])
    hidden = ~informative(b)
    b = _unit(b[:, places[g]] * signs[g], luma_only)
    needed = min(videos.duration(i) / 2, videos.duration(j) / 2, LONGEST)
    best = np.inf
    for one in [crop(CUTS[number - 1] + more) for more in BETWEEN] if _is_crop(number) else [span]:
        a = vectors(own, one)
        distances = _chord(np.abs(_unit(a, luma_only) @ b.T))
        distances[~informative(a)] = distances[:, hidden] = np.inf
        for k, axis in ((i, 1), (j, 0)):
            best = min(best, _enough(distances.min(axis=axis), needed, float(videos.interval[k])))
    return best


def _unit(found: Float32, luma_only: bool) -> Float32:
    used = found[:, :LUMINANCE] if luma_only else found
    scaled: Float32 = used / np.maximum(np.linalg.norm(used, axis=1, keepdims=True), 1e-9)
    return scaled


def _enough(nearest: Float32, needed: float, interval: float) -> float:
    """Return the distance within which the frames cover the needed seconds. nearest: (T,) distance of each frame."""
    count = max(1, int(np.ceil(needed / interval - 1e-6))) if interval else 1
    return float(np.sort(nearest)[min(count, len(nearest)) - 1])
