"""Frames of videos by the time at which they are shown, and images: decoded whole and sound, or a MediaError."""

from __future__ import annotations

import os
import re
import struct
import sys
import tempfile
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.errors import CurateError

Images = npt.NDArray[np.uint8]
Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
"""What is taken for an image by its name; everything else is taken for a video."""
SLACK = 1e-3
"""Seconds: a frame that begins this little after t is shown at t. decord's timestamps are rounded to float32."""
DAMAGE = (
    "error while decoding",
    "damaged",
    "Invalid NAL unit size",
    "Error splitting",
    "partial file",
    "ended premature",
)
"""What FFmpeg says of broken data that it conceals: pieces of other frames, or the frames before the break alone."""
HINT = "fetch or encode the file again, or leave out what needs it"


class MediaError(CurateError):
    """A video or an image that does not come out. The message names the file and what is wrong with it.

    ``code`` is one of schemas.media.MEDIA_REJECTS.
    """

    def __init__(self, message: str, *, hint: str = "", code: str = "unreadable") -> None:
        super().__init__(message, hint=hint)
        self.code = code


@dataclass(frozen=True)
class Frames:
    """T frames of one video, in the order of time; a frame that is shown for long may come several times."""

    images: Images
    """(T, H, W, 3) RGB."""
    times: Float
    """(T,) seconds since the first frame: when each frame begins to be shown."""
    duration: float
    """Seconds, from the beginning of the first frame to the end of the last."""


def read_video(path: Path, count: int) -> Frames:
    """``count`` frames of a video, those shown in the middle of ``count`` equal slices of its time: see decode."""
    return decode(path, count)[0]


def decode(path: Path, count: int) -> tuple[Frames, Float]:
    """What read_video returns, and (n,) seconds since the first: when each of the video's n frames begins.

    Only these frames, and what they need to be decoded, are decoded, in this process. While it runs, lines that FFmpeg
    writes to stderr are kept from it. A file that makes the decoder hang or die does so to this process
    (curate.media.workers.MediaReader survives it). Raises MediaError where the file is missing, empty, no video, cut
    off or
    damaged.
    """
    decord = import_decord()
    check_file(path)
    with _decoder_log() as log:
        try:
            reader = decord.VideoReader(os.fspath(path), num_threads=1)
            spans = reader.get_frame_timestamp(np.arange(len(reader))).astype(np.float64)  # (n, 2) begin and end
            begin, duration = _timeline(path, spans)
            chosen = shown_at(begin, slice_centres(duration, count))
            images = _pixels(decord, reader, chosen)
        except (decord.DECORDError, RuntimeError, AssertionError) as error:
            code, reason = _reason(log.lines(), error)
            raise MediaError(f"{path}: {reason}", hint=HINT, code=code) from error
        damage = [line for line in log.lines() if any(word in line for word in DAMAGE)]
    if damage:
        raise MediaError(f"{path}: is cut off or damaged ({damage[0]})", hint=HINT, code="damaged")
    return Frames(images=images, times=begin[chosen], duration=duration), begin


def _pixels(decord: Any, reader: Any, chosen: Index) -> Images:
    """(T, H, W, 3) the frames of these numbers.

    decord takes the padding of narrow turned frames (less than 64 pixels) for further channels, and makes no batch of
    them. One by one they come, their rows padded: the first 3·W bytes of each are its pixels.
    """
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
    """(count,) seconds: the centres of ``count`` equal slices of [0, duration].

    >>> slice_centres(2.0, 4)
    array([0.25, 0.75, 1.25, 1.75])
    """
    centres: Float = (np.arange(count, dtype=np.float64) + 0.5) * (duration / count)
    return centres


def shown_at(begin: Float, moments: Float) -> Index:
    """The number of the frame that is being shown at each moment. begin: (n,) seconds, increasing, the first 0.

    >>> shown_at(np.array([0.0, 0.1, 5.0]), np.array([0.0, 1.0, 4.0, 5.0, 9.0]))
    array([0, 1, 1, 2, 2])
    """
    return np.searchsorted(begin, moments + SLACK, side="right") - 1


def _timeline(path: Path, spans: Float) -> tuple[Float, float]:
    """(n,) when each frame begins, seconds since the first, and when the last ends. spans: (n, 2) as decord has them.

    Of the ends only the last is used: where frames vary in length, decord takes others from the nominal rate.
    """
    begin = spans[:, 0] - spans[0, 0]
    duration = float(spans.max() - spans[0, 0])
    if not (np.isfinite(spans).all() and (np.diff(begin) >= 0).all()):
        raise MediaError(f"{path}: its frames have no usable timestamps", hint="encode the file again", code="no-times")
    return begin, duration


def read_image(path: Path) -> Images:
    """(H, W, 3) RGB, turned as its EXIF orientation says, what is transparent on white. Raises MediaError."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    check_file(path)
    broken = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
    except broken as error:
        if isinstance(error, UnidentifiedImageError):
            raise MediaError(f"{path}: is no image", hint=HINT, code="not-media") from error
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
    """The decoder. CurateError where it is not installed, or where its FFmpeg cannot be heard in this process.

    decord shares its FFmpeg with all that is loaded after it. PyAV would turn off the log by which damage is known: it
    is loaded first, and keeps to its own.
    """
    try:
        if find_spec("av"):
            import_module("av")
        import decord
    except ImportError as error:
        raise CurateError(f"videos cannot be read: {error}", hint="pip install 'mr2-curate[video]'") from error
    decord.logging.set_level(decord.logging.ERROR)
    with tempfile.NamedTemporaryFile(suffix=".mp4") as file, _decoder_log() as log:
        file.write(b"\0\0\0\x10ftypisom\0\0\0\0")  # an mp4 file without an index, which FFmpeg complains of
        file.flush()
        with suppress(decord.DECORDError, RuntimeError):
            decord.VideoReader(file.name, num_threads=1)
        heard = any("moov" in line for line in log.lines())
    if not heard:
        raise CurateError(
            "videos cannot be read soundly: another library keeps what FFmpeg says of damage from being heard",
            hint="import av before decord",
        )
    return decord


def check_file(path: Path) -> None:
    """Raise MediaError where there is no file with bytes: a pipe or a device may block a decoder for ever."""
    if not path.exists():
        raise MediaError(
            f"{path}: no such file", hint="check the path, and the folder that it starts from", code="missing"
        )
    if not path.is_file():
        raise MediaError(
            f"{path}: is not a regular file", hint="give the path of a video or an image", code="not-a-file"
        )
    if path.stat().st_size == 0:
        raise MediaError(f"{path}: is empty (0 bytes)", hint=HINT, code="empty")


def _reason(log: list[str], error: Exception) -> tuple[str, str]:
    """Why it cannot be decoded, as a code of MEDIA_REJECTS and in words: FFmpeg's where they say it, else decord's,
    without the place in its source."""
    first = (str(error) or repr(error)).splitlines()[0]
    said = re.sub(r"\[[\d:]+\] \S+\.cc:\d+: |\[[^]]*\] ?", "", first)
    if "cannot find video stream" in said:
        return "no-video", "has no video stream, or is cut off"
    if isinstance(error, AssertionError):
        return "no-frames", "has no frames"
    if "Cannot create buffer source" in said:  # no frame has told their size and colours
        return "no-frames", "has a video stream, but no frames in it, or is cut off before them"
    if log and "ERROR opening" in log[-1]:
        return "not-media", f"is no video, or is cut off ({log[0].rsplit(', ', 1)[-1]})"
    damage = [line for line in log if any(word in line for word in DAMAGE)]
    return ("damaged", f"cannot be decoded ({damage[0]})") if damage else ("unreadable", f"cannot be decoded ({said})")


# FFmpeg tells of damage that it conceals only by lines on the process's stderr, file descriptor 2.


@dataclass(frozen=True)
class _Log:
    """What was written to file descriptor 2 since the beginning."""

    file: Any = field(default_factory=tempfile.TemporaryFile)

    def lines(self) -> list[str]:
        """Each without the address of its writer, [h264 @ 0x55e59b05d800]."""
        size = os.fstat(self.file.fileno()).st_size
        text = os.pread(self.file.fileno(), size, 0).decode("utf-8", "replace")
        return [re.sub(r"^(\[[^]]*\] )+", "", line) for line in text.splitlines() if line.strip()]


_ONE_AT_A_TIME = threading.Lock()


@contextmanager
def _decoder_log() -> Iterator[_Log]:
    """File descriptor 2 leads into a log meanwhile. Lines of other threads are lost: others decode elsewhere."""
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
