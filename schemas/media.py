"""What is known of the videos and images of a store, why one is refused, and what the job that looks at them says."""

from __future__ import annotations

from schemas.base import Document

MEDIA_REJECTS: dict[str, str] = {
    "missing": "there is no such file in the folder of media",
    "ambiguous": "an id that several files of the folder fit",
    "not-a-file": "a folder, a pipe or a device",
    "empty": "a file of 0 bytes",
    "not-media": "no video or image, or cut off before its content can be told",
    "no-video": "a file without a video stream, or cut off before it",
    "no-frames": "a video of no frames",
    "no-times": "a video whose frames have no usable timestamps",
    "damaged": "cut off or damaged: some of its content is not what it was",
    "unreadable": "it cannot be decoded, or may not be read",
    "unsupported": "an image with more than 8 bits a channel",
    "timeout": "it was not decoded within the time limit",
    "crashed": "the process that decoded it died",
}
"""code -> what it means. Every file that is not sound has one of these."""


class MediaFile(Document):
    """One video or image, as it was last probed. All but the first four are None where it is not sound."""

    video: str
    """As the prompts name it, or as it was given."""
    path: str
    """Its file, from the folder of media; empty where there is none."""
    status: str
    """ok, or a code of MEDIA_REJECTS."""
    reason: str
    """What is wrong with it, in words; empty where nothing is."""
    prompts: int = 0
    """Prompts that name it."""
    kind: str | None = None
    """video | image"""
    bytes: int | None = None
    duration: float | None = None
    """Seconds, from the beginning of the first frame to the end of the last; None for an image."""
    frames: int | None = None
    fps: float | None = None
    """Frames a second, the mean; None for an image."""
    variable: bool | None = None
    """Whether frames are shown for unequal times; None for an image."""
    width: int | None = None
    """Pixels of a frame as it is shown: turned as the file says (a display matrix, or EXIF); pixels taken as square."""
    height: int | None = None
    codec: str | None = None
    sha256: str | None = None
    phash: tuple[str, ...] | None = None
    """16 hex digits for each of 8 frames (of an image one): its perceptual hash; then the same of each frame without
    3%, and without 6%, of height and width at each side."""


class MediaReport(Document):
    """One look at the media of a store, or at files. files = ok + all that are rejected."""

    store: str
    """Empty where files were given."""
    media: str
    """The folder that relative paths start from; empty where files were given."""
    total: int
    ok: int
    rejected: dict[str, int]
    """Code of MEDIA_REJECTS -> files."""
    probed: int
    """Files that were read this time; of the others the kept results still hold."""
    images: int
    """Of the sound ones."""
    variable: int
    """Sound videos of a variable frame rate."""
    bytes: int
    """Of the sound ones."""
    seconds: float
    """How long the sound videos last together."""
    prompts_without: int
    """Prompts that name no video."""
    prompts_bad: int
    """Prompts whose video is not sound."""
    files: tuple[MediaFile, ...]
    """Sorted by name."""

    @property
    def bad(self) -> tuple[MediaFile, ...]:
        """Those that are not sound."""
        return tuple(file for file in self.files if file.status != "ok")


class FramesReport(Document):
    """Frames that were written."""

    out: str
    video: str
    duration: float | None
    """Seconds; None for an image."""
    times: tuple[float, ...]
    """Seconds since the first frame: when each frame begins to be shown; empty for an image."""
    files: tuple[str, ...]
    """In the folder."""
    unreadable: str
    """Characters of the contact sheet that its font has no picture of; empty for none."""
