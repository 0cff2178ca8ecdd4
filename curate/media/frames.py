"""Decoding of images, and of video frames chosen by time; a missing, broken or damaged file raises MediaError."""

from __future__ import annotations

import os
import re
import struct
import sys
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from curate.array_types import Float, Images, Index
from schemas.errors import CurateError, MissingError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
"""File name suffixes of images; every other file is read as a video."""
SLACK = 1e-3
"""Seconds by which a frame may begin after t and still count as shown at t: decord rounds timestamps to float32."""
DAMAGE = (
    "error while decoding",
    "damaged",
    "Invalid NAL unit size",
    "Error splitting",
    "partial file",
    "ended premature",
)
"""Parts of FFmpeg's log lines about damage that it conceals by repeating other content or by ending early."""
PLAYLISTS = b"#EXTM3U", b"ffconcat", b"<?xml", b"<MPD"
"""First bytes of files for which FFmpeg would open others, inside or outside the media folder."""
KEY_FRAMES = 50
"""Frames between two that are read, above which key frames are read."""
MANY_PIXELS = 10**9
"""Of a frame, while its size is unknown."""
HINT = "fetch or encode the file again, or exclude the prompts that need it"


class MediaError(CurateError):
    """A video or image that cannot be used. The message names the file and the defect.

    ``code`` is a key of schemas.media.MEDIA_REJECTS.
    """

    def __init__(self, message: str, *, hint: str = "", code: str = "unreadable") -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.exit_code = MissingError.exit_code if code == "missing" else CurateError.exit_code


@dataclass(frozen=True)
class Frames:
    """T frames of one video in the order of time; a frame that is shown for long may occur several times."""

    images: Images
    """(T, H, W, 3) RGB."""
    times: Float
    """(T,) seconds from the start of the first frame to the start of each."""
    duration: float
    """Seconds from the start of the first frame to the end of the last."""


def read_video(path: Path, count: int, fps: float | None = None) -> Frames:
    """Return ``count`` frames of a video: those shown in the middle of ``count`` equal slices of its duration.

    fps: frames per second of the video, at least 1 frame and at most ``count``.
    """
    return decode(path, count, fps)[0]


def decode(path: Path, count: int, fps: float | None = None) -> tuple[Frames, Float]:
    """Return the frames of ``read_video``, and (n,) start times of all n frames, seconds since the first.

    Only these frames and their reference frames are decoded. FFmpeg's output on stderr is captured meanwhile. Decoding
    runs in this process; curate.media.workers survives files that make the decoder hang or crash. Raises
    MediaError if the file is missing, empty, truncated, damaged or not a video.
    """
    with _opened(path) as (reader, begin, duration):
        if fps is not None:
            count = min(count, max(1, round(duration * fps)))
        chosen = shown_at(begin, slice_centres(duration, count))
        images = _pixels(reader, chosen)
    return Frames(images=images, times=begin[chosen], duration=duration), begin


def decode_more(
    path: Path, count: int, more: Callable[[float, int], int], digest: Callable[[Images], bytes]
) -> tuple[Frames, Float, bytes]:
    """Return the same as ``decode``, and ``digest`` of more frames, in the order of time.

    more: (duration, pixels of a frame) -> number of equal slices of the duration that have a frame each: an odd
    multiple of count, so that the frames of ``decode`` are among them. Where frames are further apart than KEY_FRAMES,
    the nearest key frame of the slice is taken for the others, because it is decoded alone.
    """
    with _opened(path) as (reader, begin, duration):
        base = shown_at(begin, slice_centres(duration, count))
        total = more(duration, MANY_PIXELS)
        if total == count:
            images = _pixels(reader, base)
            total = more(duration, images.shape[1] * images.shape[2])
            if total == count:
                return Frames(images=images, times=begin[base], duration=duration), begin, digest(images)
        step = total // count
        size = max(step, 9)  # frames at once: all of them need much memory
        chosen = shown_at(begin, slice_centres(duration, total))
        if len(begin) > KEY_FRAMES * total:
            further = np.arange(total) % step != step // 2
            chosen = np.where(further, _key_frames(reader, chosen, len(begin) / total), chosen)
        kept, digests = [], []
        for first in range(0, total, size):
            images = _pixels(reader, chosen[first : first + size])
            kept.append(images[step // 2 :: step])
            digests.append(digest(images))
    return Frames(images=np.concatenate(kept), times=begin[base], duration=duration), begin, b"".join(digests)


def _key_frames(reader: Any, chosen: Index, slice_frames: float) -> Index:
    """The number of the nearest key frame for each frame, if it is within half a slice; else that of the frame."""
    keys = np.array(sorted(reader.get_key_indices()), dtype=np.int64)
    after = np.searchsorted(keys, chosen).clip(0, len(keys) - 1)
    before = (after - 1).clip(0)
    nearest = np.where(np.abs(keys[after] - chosen) <= np.abs(keys[before] - chosen), keys[after], keys[before])
    return np.where(np.abs(nearest - chosen) <= slice_frames / 2, nearest, chosen)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Float, float]]:
    """Open a video: decord's reader, the start times of its frames, its duration. Errors and damage: MediaError."""
    decord = import_decord()
    check_file(path)
    with _decoder_log() as log:
        try:
            reader = decord.VideoReader(os.fspath(path), num_threads=1)
            spans = reader.get_frame_timestamp(np.arange(len(reader))).astype(np.float64)  # (n, 2) begin and end
            yield reader, *_timeline(path, spans)
        except (decord.DECORDError, RuntimeError, AssertionError) as error:
            code, reason = _reason(log.lines(), error)
            raise MediaError(f"{path}: {reason}", hint=HINT, code=code) from error
        damage = [line for line in log.lines() if any(word in line for word in DAMAGE)]
    if damage:
        raise MediaError(f"{path}: is truncated or damaged ({damage[0]})", hint=HINT, code="damaged")


def _pixels(reader: Any, chosen: Index) -> Images:
    """(T, H, W, 3) frames by their numbers.

    decord fails on a batch of narrow rotated frames (less than 64 pixels) because their rows are padded. Read one by
    one, the first 3·W bytes of each row are the pixels.
    """
    decord = import_decord()
    try:
        images: Images = reader.get_batch(chosen).asnumpy()
    except decord.DECORDError as error:
        if "size must exactly match" not in str(error):
            raise
        padded = np.stack([reader[number].asnumpy() for number in chosen.tolist()])
        count, height, width, _ = padded.shape
        images = padded.reshape(count, height, -1)[:, :, : 3 * width].reshape(count, height, width, 3)
    return images


def slice_centres(duration: float, count: int) -> Float:
    """(count,) centres of ``count`` equal slices of [0, duration], seconds.

    >>> slice_centres(2.0, 4)
    array([0.25, 0.75, 1.25, 1.75])
    """
    centres: Float = (np.arange(count, dtype=np.float64) + 0.5) * (duration / count)
    return centres


def shown_at(begin: Float, moments: Float) -> Index:
    """Index of the frame that is shown at each moment. begin: (n,) start times, seconds, increasing from 0.

    >>> shown_at(np.array([0.0, 0.1, 5.0]), np.array([0.0, 1.0, 4.0, 5.0, 9.0]))
    array([0, 1, 1, 2, 2])
    """
    return np.searchsorted(begin, moments + SLACK, side="right") - 1


def _timeline(path: Path, spans: Float) -> tuple[Float, float]:
    """(n,) start times, seconds since the first frame, and the duration. spans: (n, 2) start and end by decord.

    Only the last end is used: decord computes the others from the nominal frame rate.
    """
    begin = spans[:, 0] - spans[0, 0]
    duration = float(spans.max() - spans[0, 0])
    if not (np.isfinite(spans).all() and (np.diff(begin) >= 0).all()):
        raise MediaError(f"{path}: has no usable timestamps", hint="encode the file again", code="no-times")
    return begin, duration


def read_image(path: Path) -> Images:
    """(H, W, 3) RGB, rotated by its EXIF orientation, on a white background. Raises MediaError."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    check_file(path)
    broken = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
    except broken as error:
        if isinstance(error, UnidentifiedImageError):
            raise MediaError(f"{path}: is not an image", hint=HINT, code="not-media") from error
        raise MediaError(f"{path}: cannot be decoded: {error}", hint=HINT) from error
    if image.mode.startswith(("I", "F")):
        raise MediaError(
            f"{path}: has more than 8 bits a channel (mode {image.mode})",
            hint="save it as 8-bit RGB",
            code="unsupported",
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


@cache
def import_decord() -> Any:
    """Return the module decord. Raises CurateError if it is not installed or FFmpeg's log cannot be read.

    Libraries that are loaded after decord share its FFmpeg, and PyAV switches its log off. PyAV is therefore loaded
    first; it then uses an FFmpeg build of its own.
    """
    try:
        if find_spec("av"):
            import_module("av")
        import decord
    except ImportError as error:
        raise MissingError(f"videos cannot be read: {error}", hint="pip install 'mr2-curate[video]'") from error
    decord.logging.set_level(decord.logging.ERROR)
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file, _decoder_log() as log:
        file.write(b"\0\0\0\x10ftypisom\0\0\0\0")  # an mp4 file without an index: FFmpeg logs an error
        file.flush()
        with suppress(decord.DECORDError, RuntimeError):
            decord.VideoReader(file.name, num_threads=1)
        heard = any("moov" in line for line in log.lines())
    if not heard:
        raise CurateError(
            "damaged videos cannot be detected: another library has switched off the log of FFmpeg",
            hint="import av before decord",
        )
    return decord


def check_file(path: Path) -> None:
    """Raise MediaError unless the path is a regular file with content: a pipe could block the decoder for ever."""
    if not path.exists():
        raise MediaError(
            f"{path}: no such file", hint="check the path and the folder that it is relative to", code="missing"
        )
    if not path.is_file():
        raise MediaError(
            f"{path}: is not a regular file", hint="give the path of a video or an image", code="not-a-file"
        )
    if path.stat().st_size == 0:
        raise MediaError(f"{path}: is empty (0 bytes)", hint=HINT, code="empty")
    with suppress(OSError), path.open("rb") as file:  # decoding reports what cannot be opened
        if file.read(max(map(len, PLAYLISTS))).startswith(PLAYLISTS):
            hint = "store the video itself as one file: ffmpeg -i PLAYLIST -c copy video.mp4"
            raise MediaError(f"{path}: is a playlist, whose video is in other files", hint=hint, code="not-media")


def _reason(log: list[str], error: Exception) -> tuple[str, str]:
    """Return the code of MEDIA_REJECTS and the reason of a decoding error, from FFmpeg's log or decord's message."""
    first = (str(error) or repr(error)).splitlines()[0]
    message = re.sub(r"\[[\d:]+\] \S+\.cc:\d+: |\[[^]]*\] ?", "", first)
    if "cannot find video stream" in message:
        return "no-video", "has no video stream, or is truncated"
    if isinstance(error, AssertionError):
        return "no-frames", "has no frames"
    if "Cannot create buffer source" in message:  # size and pixel format are known only from a frame
        return "no-frames", "has a video stream without frames, or is truncated before them"
    if log and "ERROR opening" in log[-1]:
        return "not-media", f"is not a video, or is truncated ({log[0].rsplit(', ', 1)[-1]})"
    damage = [line for line in log if any(word in line for word in DAMAGE)]
    return (
        ("damaged", f"cannot be decoded ({damage[0]})") if damage else ("unreadable", f"cannot be decoded ({message})")
    )


# FFmpeg reports damage that it conceals only on stderr, file descriptor 2.


@dataclass(frozen=True)
class _Log:
    """What was written to file descriptor 2 since it was redirected."""

    file: Any = field(default_factory=tempfile.TemporaryFile)

    def lines(self) -> list[str]:
        """The lines without the address of the codec, [h264 @ 0x55e59b05d800]."""
        size = os.fstat(self.file.fileno()).st_size
        text = os.pread(self.file.fileno(), size, 0).decode("utf-8", "replace")
        return [re.sub(r"^(\[[^]]*\] )+", "", line) for line in text.splitlines() if line.strip()]


_ONE_AT_A_TIME = threading.Lock()


@contextmanager
def _decoder_log() -> Iterator[_Log]:
    """Redirect file descriptor 2 into a log. Lines that other threads write meanwhile are lost."""
    log = _Log()
    with _ONE_AT_A_TIME:
        sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(log.file.fileno(), 2)
        try:
            yield log
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            log.file.close()
