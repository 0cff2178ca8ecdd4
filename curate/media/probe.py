"""Properties and hashes of one video or image, or a MediaError with the defect."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curate.array_types import Float
from curate.media.fingerprints import Fingerprint, fingerprint, frame_count, pack
from curate.media.frames import IMAGE_SUFFIXES, MediaError, check_file, decode_more, import_decord, read_image
from curate.media.hashing import SAMPLED, view_hashes

PROBE_VERSION = 4
"""Version of this code; stored results of another version are computed again."""
TOLERANCE = 0.25, 0.002
"""Allowed deviation of a frame's duration from the median: the larger of a share of it and of seconds (containers
round to 1 ms)."""


@dataclass(frozen=True)
class Probe:
    """Properties of a usable file, as in schemas.media.MediaFile. phash: hashes of the sampled frames, by view.
    fingerprint: curate.media.fingerprints."""

    kind: str
    bytes: int
    duration: float | None
    frames: int
    fps: float | None
    variable_frame_rate: bool | None
    width: int
    height: int
    codec: str
    sha256: str
    phash: tuple[int, ...]
    fingerprint: Fingerprint


def probe(path: Path) -> Probe:
    """Return the properties of a file: an image if it has one of IMAGE_SUFFIXES, else a video.

    The file is read once for its digest, and SAMPLED frames at equal intervals are decoded once, in this process.
    Raises MediaError if the file cannot be used.
    """
    check_file(path)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({error.strerror})", hint="check its permissions") from error
    read = _image if path.suffix.lower() in IMAGE_SUFFIXES else _video
    return read(path, digest, size)


def _video(path: Path, digest: str, size: int) -> Probe:
    frames, begin, more = decode_more(path, SAMPLED, frame_count, fingerprint)
    height, width = frames.images.shape[1:3]
    return Probe(
        kind="video",
        bytes=size,
        duration=frames.duration,
        frames=len(begin),
        fps=len(begin) / frames.duration if frames.duration > 0 else None,
        variable_frame_rate=is_variable(begin),
        width=width,
        height=height,
        codec=_codec(path),
        sha256=digest,
        phash=tuple(view_hashes(frames.images).tolist()),
        fingerprint=pack(more, frames.duration),
    )


def _image(path: Path, digest: str, size: int) -> Probe:
    from PIL import Image

    pixels = read_image(path)
    with Image.open(path) as file:
        codec = (file.format or "").lower()
    return Probe(
        kind="image",
        bytes=size,
        duration=None,
        frames=1,
        fps=None,
        variable_frame_rate=None,
        width=pixels.shape[1],
        height=pixels.shape[0],
        codec=codec,
        sha256=digest,
        phash=tuple(view_hashes(pixels[None]).tolist()),
        fingerprint=pack(fingerprint(pixels[None]), 0.0),
    )


def is_variable(begin: Float) -> bool:
    """Whether frames are shown for unequal durations. begin: (n,) start times, seconds; the last frame is ignored.

    >>> is_variable(np.array([0.0, 0.033, 0.067, 0.1])), is_variable(np.array([0.0, 0.1, 0.2, 1.2]))
    (False, True)
    """
    gaps = np.diff(begin)
    if len(gaps) < 2:
        return False
    usual = float(np.median(gaps))
    share, least = TOLERANCE
    return bool((np.abs(gaps - usual) > max(share * usual, least)).any())


def _codec(path: Path) -> str:
    """Name of the video stream's codec, which decord does not report."""
    import_decord()
    try:
        import av
    except ImportError:  # PyAV is optional
        return "unknown"
    try:
        with av.open(str(path)) as container:
            return str(container.streams.video[0].codec_context.name)
    except (av.FFmpegError, IndexError):  # PyAV has another build of FFmpeg, which may lack the codec
        return "unknown"
