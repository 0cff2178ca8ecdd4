"""Video files for tests, encoded by PyAV; the grey level of a frame is its number."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from curate.media.frames import read_video
from schemas.errors import CurateError

STEP = 8
"""Grey levels from one frame to the next."""


def encode(path: Path, begin_ms: Sequence[int], *, size: int = 64, bf: int = 2, noise: bool = False) -> Path:
    """A video whose i-th frame begins at begin_ms[i] and has grey STEP·i (modulo 256), or noise of large packets."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = size, size, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        stream.options = {"bf": str(bf), "g": "12", "threads": "1", "preset": "veryfast"}
        for number, begin in enumerate(begin_ms):
            image = np.full((size, size, 3), number * STEP % 256, dtype=np.uint8)
            if noise:
                image = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = begin, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def numbers(images: np.ndarray) -> list[int]:
    """Which frames of ``encode`` these are, below 256 / STEP."""
    return [round(float(mean) / STEP) for mean in images.mean(axis=(1, 2, 3))]


def sound_without_video(path: Path) -> Path:
    """An mp4 file of one second of silence."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def print_duration(path: str) -> None:
    """Print the duration of a video, or the error."""
    try:
        print(read_video(Path(path), 2).duration)  # noqa: T201
    except CurateError as error:
        print(error, error.hint)  # noqa: T201
