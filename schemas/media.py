"""Properties and defects of videos and images, and the reports of the commands ``curate media``."""

from __future__ import annotations

from typing import ClassVar

from schemas.base import Document

MEDIA_REJECTS: dict[str, str] = {
    "missing": "no such file in the media folder",
    "outside": "a path that leaves the media folder: absolute, with `..`, or through a symbolic link; it is not opened",
    "ambiguous": "several files of the media folder match the id",
    "not-a-file": "a folder, a pipe or a device",
    "empty": "a file of 0 bytes",
    "not-media": "neither a video nor an image, or truncated at its beginning",
    "no-video": "a file without a video stream, or truncated before it",
    "no-frames": "a video without frames",
    "no-times": "a video whose frames have no usable timestamps",
    "damaged": "truncated or damaged",
    "unreadable": "cannot be decoded, or permission denied",
    "unsupported": "an image with more than 8 bits per channel",
    "timeout": "not decoded within the time limit",
    "crashed": "the process that decoded it died",
}
"""Code of a defect -> its meaning. Every unusable file has one of these codes."""


class MediaFile(Document):
    """One video or image as it was last probed. All fields after ``prompts`` but bytes are None if it is unusable."""

    renamed: ClassVar[dict[str, str]] = {"variable": "variable_frame_rate"}

    video: str
    """Its name in the prompts, or as it was given."""
    path: str
    """Its file, relative to the media folder; empty if there is none."""
    status: str
    """ok, or a code of MEDIA_REJECTS."""
    reason: str
    """The defect; empty if there is none."""
    prompts: int = 0
    """Prompts that name it."""
    kind: str | None = None
    """video | image"""
    bytes: int | None = None
    duration: float | None = None
    """Seconds from the start of the first frame to the end of the last; None for an image."""
    frames: int | None = None
    fps: float | None = None
    """Mean frames per second; None for an image."""
    variable_frame_rate: bool | None = None
    """Whether frames are shown for unequal durations; None for an image."""
    width: int | None = None
    """Pixels of a displayed frame, after the rotation that the file states; pixels are taken as square."""
    height: int | None = None
    codec: str | None = None
    sha256: str | None = None
    phash: tuple[str, ...] | None = None
    """Perceptual hashes, 16 hex digits each: of 8 frames (an image: 1) whole, then of the same frames without 3%, then
    without 6%, of height and width at each side."""


class MediaReport(Document):
    """The media of a store, or given files. total = ok + the sum of rejected."""

    renamed: ClassVar[dict[str, str]] = {
        "variable": "variable_frame_rate",
        "prompts_without": "prompts_without_media",
        "prompts_bad": "prompts_with_unusable_media",
    }

    store: str
    """Empty if files were given."""
    media: str
    """The folder that relative paths start from; empty if files were given."""
    total: int
    ok: int
    rejected: dict[str, int]
    """Code of MEDIA_REJECTS -> files."""
    probed: int
    """Files that were read this time; the stored results of the others are still valid."""
    images: int
    """Usable images."""
    variable_frame_rate: int
    """Usable videos of a variable frame rate."""
    bytes: int
    """Size of the usable files."""
    seconds: float
    """Total duration of the usable videos."""
    prompts_without_media: int
    """Prompts that name no video or image."""
    prompts_with_unusable_media: int
    """Prompts whose video or image is not usable."""
    files: tuple[MediaFile, ...]
    """Sorted by name."""

    @property
    def unusable(self) -> tuple[MediaFile, ...]:
        """The files with a defect."""
        return tuple(file for file in self.files if file.status != "ok")


class FramesReport(Document):
    """The frames that ``curate media frames`` wrote."""

    renamed: ClassVar[dict[str, str]] = {"unreadable": "missing_glyphs"}

    out: str
    video: str
    duration: float | None
    """Seconds; None for an image."""
    times: tuple[float, ...]
    """Start of each frame, seconds since the first frame of the video; empty for an image."""
    files: tuple[str, ...]
    """Names in the folder ``out``."""
    missing_glyphs: str
    """Characters of the contact sheet that the font lacks; empty if there are none."""
