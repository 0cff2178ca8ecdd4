"""Folders of frames: videos that are stored as one image for each frame, such as those of MM-RLHF."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np

from curate.media.fingerprints import fingerprint, frame_count, pack
from curate.media.frames import IMAGE_SUFFIXES, Frames, MediaError, read_image, read_video, shown_at, slice_centres
from curate.media.hashing import SAMPLED, view_hashes
from curate.media.probe import Probe

INTERVAL = 4.0
"""Seconds from frame to frame, which a folder does not state: as in the trainer of arXiv 2604.10966."""


def frame_files(folder: Path) -> list[Path]:
    """Return the images in a folder by the last number in their names, then by name. Raises MediaError for none."""
    found = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    if not found:
        raise MediaError(f"{folder}: is a folder without frames", hint="give a video or its frames", code="no-frames")
    return sorted(found, key=lambda path: (int((re.findall(r"\d+", path.stem) or ["0"])[-1]), path.name))


def read_frames_or_video(path: Path, count: int, fps: float | None = None) -> Frames:
    """Return ``read_frames`` of a folder, ``curate.media.frames.read_video`` of a file."""
    return (read_frames if path.is_dir() else read_video)(path, count, fps)


def read_frames(folder: Path, count: int, fps: float | None = None) -> Frames:
    """Return ``count`` frames in the middle of equal slices of the duration, as ``curate.media.frames.read_video``.

    Raises MediaError if a frame cannot be read or has another size than the first.
    """
    files = frame_files(folder)
    duration = INTERVAL * len(files)
    if fps is not None:
        count = min(count, max(1, round(duration * fps)))
    begin = np.arange(len(files), dtype=np.float64) * INTERVAL
    chosen = shown_at(begin, slice_centres(duration, count))
    read = {number: read_image(files[number]) for number in sorted(set(chosen.tolist()))}
    first = read[int(chosen[0])].shape
    for number, image in read.items():
        if image.shape != first:
            raise MediaError(f"{files[number]}: has another size than the other frames", code="unsupported")
    return Frames(np.stack([read[number] for number in chosen.tolist()]), begin[chosen], duration)


def probe_frames(folder: Path) -> Probe:
    """Return the properties of a folder of frames, as ``curate.media.probe.probe``. Raises MediaError.

    sha256: the digest of the digests of all frames in their order.
    """
    files = frame_files(folder)
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    frames = read_frames(folder, SAMPLED)
    height, width = frames.images.shape[1:3]
    more = read_frames(folder, min(frame_count(frames.duration, height * width), 9 * SAMPLED))
    return Probe(
        kind="video",
        bytes=sum(path.stat().st_size for path in files),
        duration=frames.duration,
        frames=len(files),
        fps=1 / INTERVAL,
        variable_frame_rate=False,
        width=width,
        height=height,
        codec="frames",
        sha256=hashlib.sha256("\n".join(digests).encode()).hexdigest(),
        phash=tuple(view_hashes(frames.images).tolist()),
        fingerprint=pack(fingerprint(more.images), frames.duration),
    )
