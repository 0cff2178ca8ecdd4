"""All that is to be known of one video or image: hashed and decoded, or a MediaError that says what is wrong."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from curate.media.crops import SAMPLED, view_hashes
from curate.media.frames import IMAGE_SUFFIXES, MediaError, check_file, decode, import_decord, read_image

PROBER = 3
"""Version of what is found out here and how; results of another are not trusted."""
UNEVEN = 0.25, 0.002
"""How far a frame's time may be from the median, as a share and in seconds (containers round to 1 ms), the larger."""


@dataclass(frozen=True)
class Probe:
    """What a sound file is. Fields as in schemas.media.MediaFile; phash: hashes of the frames looked at, by view
    (curate.media.crops)."""

    kind: str
    bytes: int
    duration: float | None
    frames: int
    fps: float | None
    variable: bool | None
    width: int
    height: int
    codec: str
    sha256: str
    phash: tuple[int, ...]


def probe(path: Path) -> Probe:
    """Look at a file in this process: an image where it has one of IMAGE_SUFFIXES, else a video.

    Its bytes are read once to hash them; SAMPLED frames, spread evenly over its time, are decoded once. Raises
    MediaError where it is not sound.
    """
    check_file(path)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.tell()
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({error.strerror})", hint="may you read it?") from error
    look = _image if path.suffix.lower() in IMAGE_SUFFIXES else _video
    return look(path, digest, size)


def _video(path: Path, digest: str, size: int) -> Probe:
    frames, begin = decode(path, SAMPLED)
    height, width = frames.images.shape[1:3]
    return Probe(
        kind="video",
        bytes=size,
        duration=frames.duration,
        frames=len(begin),
        fps=len(begin) / frames.duration if frames.duration > 0 else None,
        variable=is_variable(begin),
        width=width,
        height=height,
        codec=_codec(path),
        sha256=digest,
        phash=tuple(view_hashes(frames.images).tolist()),
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
        variable=None,
        width=pixels.shape[1],
        height=pixels.shape[0],
        codec=codec,
        sha256=digest,
        phash=tuple(view_hashes(pixels[None]).tolist()),
    )


def is_variable(begin: npt.NDArray[np.float64]) -> bool:
    """Whether frames are shown for unequal times. begin: (n,) seconds; how long the last is shown does not count.

    >>> is_variable(np.array([0.0, 0.033, 0.067, 0.1])), is_variable(np.array([0.0, 0.1, 0.2, 1.2]))
    (False, True)
    """
    gaps = np.diff(begin)
    if len(gaps) < 2:
        return False
    usual = float(np.median(gaps))
    share, least = UNEVEN
    return bool((np.abs(gaps - usual) > max(share * usual, least)).any())


def _codec(path: Path) -> str:
    """Name of the video stream's codec, which decord does not tell."""
    import_decord()
    try:
        import av
    except ImportError:  # decord alone reads videos too
        return "unknown"
    try:
        with av.open(str(path)) as container:
            return str(container.streams.video[0].codec_context.name)
    except (av.FFmpegError, IndexError):  # two builds of FFmpeg: what one has decoded the other may not know
        return "unknown"
