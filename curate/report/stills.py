"""A few frames of each video side by side, as one small picture."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from curate.array_types import Images
from curate.engine import LocalEngine
from curate.media.frames import IMAGE_SUFFIXES, Frames, MediaError, read_image
from curate.media.locate import Locator
from curate.media.workers import processes_for, read_videos

COUNT, HEIGHT, GAP, QUALITY = 4, 96, 4, 70
"""Frames per video, their height and gap in pixels, and the JPEG quality."""
WIDEST = 760
"""Largest width of a strip, pixels."""
DRAWN = f"{COUNT}x{HEIGHT}q{QUALITY}"
"""How pictures are drawn: others are drawn again."""
MAX_BYTES = 9_000_000
"""Bytes of all pictures; base64 adds a third."""


@dataclass
class Stills:
    """The pictures of some videos."""

    names: dict[str, str] = field(default_factory=dict)
    """video -> path of its file, relative to the media folder."""
    pictures: dict[str, bytes] = field(default_factory=dict)
    """video -> JPEG of COUNT frames, or of the image."""
    errors: dict[str, str] = field(default_factory=dict)
    """video -> code and reason why there is no picture."""


def stills(
    videos: Sequence[str],
    media: Path,
    *,
    drawn: Mapping[str, bytes] | None = None,
    timeout: float = 30.0,
) -> Stills:
    """Return the pictures of the videos, in their order, as long as there is room for them.

    videos: paths relative to ``media``. drawn: pictures that are known already. Worker processes decode the videos,
    each within timeout seconds.
    """
    found, locator, drawn = Stills(), Locator(media), drawn or {}
    paths: dict[str, Path] = {}
    for video in videos:
        try:
            paths[video] = locator.find(video)
            found.names[video] = locator.name(paths[video])
        except MediaError as error:
            found.errors[video] = _reason(error, video, media / video)
    moving = [v for v, path in paths.items() if v not in drawn and path.suffix.lower() not in IMAGE_SUFFIXES]
    files, room = [paths[video] for video in moving], MAX_BYTES
    with LocalEngine(workers=processes_for(files)) as engine:
        frames = read_videos(engine, files, COUNT, timeout=timeout)
        unread = set(moving)
        for video, path in paths.items():
            try:
                if video in drawn:
                    picture = drawn[video]
                else:
                    picture = strip(_images(next(frames)) if video in unread else read_image(path)[None])
            except MediaError as error:
                found.errors[video] = _reason(error, video, path)
                continue
            room -= len(picture)
            if room < 0:
                break
            found.pictures[video] = picture
    return found


def _images(answer: Frames | MediaError) -> Images:
    if isinstance(answer, MediaError):
        raise answer
    return answer.images


def _reason(error: MediaError, video: str, path: Path) -> str:
    """The code and the message, without the path on this machine."""
    return f"{error.code}: {str(error).removeprefix(f'{path}: ').removeprefix(f'{video}: ')}"


def strip(images: Images) -> bytes:
    """Return the JPEG of frames side by side. images: (T, H, W, 3) RGB."""
    from PIL import Image

    count, height, width = images.shape[:3]
    room = (WIDEST - (count - 1) * GAP) / count
    scale = min(HEIGHT / height if count > 1 else 3 * HEIGHT / height, room / width, 1.0)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    canvas = Image.new("RGB", (count * size[0] + (count - 1) * GAP, size[1]), "#808890")
    for k, frame in enumerate(images):
        canvas.paste(Image.fromarray(np.ascontiguousarray(frame)).resize(size), (k * (size[0] + GAP), 0))
    with io.BytesIO() as file:
        canvas.save(file, "JPEG", quality=QUALITY)
        return file.getvalue()
