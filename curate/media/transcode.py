"""Encoding: files that browsers cannot play into files that they can, and frames into a video."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.media.frames import MediaError
from schemas.errors import MissingError

PLAIN = ("yuv420p", "yuvj420p")
"""Pixel formats that hardware decoders support: 8 bits, colour at half resolution."""
SAFE = {"mp4": ("h264",), "webm": ("vp8", "vp9", "av1")}
"""Container -> video codecs that browsers play."""
SOUND = {"mp4": ("aac", "mp3"), "webm": ("vorbis", "opus")}
"""Container -> audio codecs that browsers play."""
PICTURES = {"JPEG": ".jpg", "PNG": ".png", "GIF": ".gif", "WEBP": ".webp"}
LONGEST = 1920
"""Largest longer side of an encoded video, pixels."""
ENCODER = {"preset": "veryfast", "crf": "20", "threads": "1", "bf": "0"}
"""Without B-frames: with them mp4 stores wrong durations of frames of a variable frame rate."""
RATE = 48_000
"""Sample rate of encoded sound, Hz."""


@dataclass(frozen=True)
class Playable:
    """How a file is served to browsers."""

    suffix: str
    """Suffix of the served file."""
    as_is: bool
    """Whether the file is served unchanged; otherwise it is encoded first (``encode``)."""
    image: bool


def playable(path: Path) -> Playable:
    """Return how a file is served. Raises MediaError if it is neither a video nor an image that can be opened."""
    picture = _picture(path)
    if picture is not None:
        return picture
    av = import_av()
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise MediaError(f"{path}: has no video stream", hint="give a video or an image", code="no-video")
            video, names = container.streams.video[0], container.format.name.split(",")
            kind = "mp4" if "mp4" in names else "webm" if "webm" in names and path.suffix.lower() == ".webm" else ""
            sound = [stream.codec_context.name for stream in container.streams.audio]
            plain = video.codec_context.pix_fmt in PLAIN
            safe = kind and video.codec_context.name in SAFE[kind] and all(name in SOUND[kind] for name in sound)
            return Playable(f".{kind}", True, False) if safe and plain else Playable(".mp4", False, False)
    except av.FFmpegError as error:
        raise MediaError(f"{path}: cannot be opened ({error.strerror})", hint="encode the file again") from error


def encode(path: Path, out: Path) -> None:
    """Encode a file for browsers: a video as mp4 with H.264 and AAC and its index in front, an image as PNG.

    Frame times are kept, and the rotation of a display matrix is applied. Equal files give equal bytes. Raises
    MediaError if the file cannot be decoded completely; ``out`` is then removed.
    """
    try:
        if _picture(path) is not None:
            _encode_picture(path, out)
        else:
            _encode_video(path, out)
    except BaseException:
        out.unlink(missing_ok=True)
        raise


def _picture(path: Path) -> Playable | None:
    """Return how an image is served; None for a file that is not an image."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise MissingError(f"images cannot be read: {error}", hint="pip install 'mr2-curate[video]'") from error
    try:
        with Image.open(path) as image:
            suffix = PICTURES.get(image.format or "")
    except (UnidentifiedImageError, Image.DecompressionBombError):
        return None
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({error.strerror or error})", hint="check its permissions") from error
    return Playable(suffix or ".png", suffix is not None, True)


def _encode_picture(path: Path, out: Path) -> None:
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            ImageOps.exif_transpose(file).convert("RGB").save(out, "PNG")
    except (OSError, ValueError, SyntaxError) as error:
        raise MediaError(f"{path}: cannot be decoded: {error}", hint="save the image again") from error


def _encode_video(path: Path, out: Path) -> None:
    av = import_av()
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    try:
        with av.open(str(path)) as source, av.open(str(out), "w", format="mp4", options=options) as target:
            streams = [source.streams.video[0], *source.streams.audio[:1]]
            begin = Fraction(source.start_time or 0, av.time_base)
            writers = {stream.index: _writer(av, target, stream, begin) for stream in streams}
            frames = 0
            for packet in source.demux(streams):
                for frame in packet.decode():
                    if frame.pts is None:
                        raise MediaError(
                            f"{path}: a frame has no timestamp", hint="encode the file again", code="no-times"
                        )
                    frames += packet.stream.type == "video"
                    target.mux(writers[packet.stream.index](frame))
            for write in writers.values():
                target.mux(write(None))
    except av.FFmpegError as error:
        raise MediaError(f"{path}: cannot be encoded ({error.strerror})", hint="encode the file yourself") from error
    if not frames:
        raise MediaError(f"{path}: no frame can be decoded", hint="encode the file again", code="no-frames")


def _writer(av: Any, target: Any, stream: Any, begin: Fraction) -> Any:
    """Return a function from a decoded frame (None at the end) to encoded packets of a new stream of ``target``.

    begin: the time that becomes 0, seconds.
    """
    base = stream.time_base or Fraction(1, 1000)
    first = round(begin / base)
    if stream.type == "audio":
        sound = target.add_stream("aac", rate=RATE, layout="stereo")
        resampler = av.AudioResampler(format="fltp", layout="stereo", rate=RATE)

        def write_sound(frame: Any) -> Iterable[Any]:
            if frame is not None:
                frame.pts -= first
            parts = resampler.resample(frame)
            packets = [packet for part in parts for packet in sound.encode(part)]
            return packets if frame is not None else [*packets, *sound.encode(None)]

        return write_sound

    video = target.add_stream("libx264", rate=stream.average_rate or 25, options=ENCODER)
    video.pix_fmt = "yuv420p"
    video.time_base = video.codec_context.time_base = base
    sized = False
    rotate: Any = None

    def write_frame(frame: Any) -> Iterable[Any]:
        nonlocal sized, rotate
        if frame is None:
            return list(video.encode(None)) if sized else []
        if not sized:
            rotate = _rotation(av, frame)
        moment = max(0, frame.pts - first)
        frame = rotate(frame)
        if not sized:
            video.width, video.height = _size(frame.width, frame.height)
            sized = True
        shown = frame.reformat(width=video.width, height=video.height, format="yuv420p")
        shown.pts, shown.time_base = moment, base
        shown.pict_type = av.video.frame.PictureType.NONE
        return list(video.encode(shown))

    return write_frame


def _rotation(av: Any, frame: Any) -> Any:
    """Return a function that rotates frames by the display matrix of the first."""
    turn = {90: ["2"], 180: ["2", "2"], 270: ["1"]}.get(frame.rotation % 360)
    if turn is None:
        return lambda frame: frame
    graph = av.filter.Graph()
    nodes = [graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base)]
    nodes += [graph.add("transpose", direction) for direction in turn]
    nodes.append(graph.add("buffersink"))
    graph.link_nodes(*nodes).configure()

    def rotated(frame: Any) -> Any:
        graph.push(frame)
        return graph.pull()

    return rotated


def _size(width: int, height: int) -> tuple[int, int]:
    """Even width and height, the longer side at most LONGEST.

    >>> _size(3840, 2161), _size(33, 20)
    ((1920, 1080), (32, 20))
    """
    scale = min(1.0, LONGEST / max(width, height))
    return max(2, int(width * scale) // 2 * 2), max(2, int(height * scale) // 2 * 2)


def write_video(path: Path, frames: npt.NDArray[np.uint8], *, rate: int, options: dict[str, str]) -> None:
    """Write an mp4 file of H.264 at a constant frame rate. frames: (T, H, W, 3) RGB; options: of the encoder x264."""
    av = import_av()
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=rate, options=options)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def import_av() -> Any:
    """Return the module av (PyAV). Raises CurateError if it is not installed."""
    try:
        import av
    except ImportError as error:
        raise MissingError(f"videos cannot be encoded: {error}", hint="pip install 'mr2-curate[video]'") from error
    return av
