"""A few frames of each video side by side, as one small JPEG."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from curate.media.frames import IMAGE_SUFFIXES, Frames, Images, MediaError, read_image
from curate.media.locate import Locator
from curate.media.workers import MediaReader

COUNT, HEIGHT, GAP, QUALITY = 4, 150, 4, 78
"""Frames per video, their height and gap in pixels, and the JPEG quality."""
WIDEST = 1280
"""Largest width of a strip, pixels."""


def stills(
    videos: Mapping[str, str], media: Path, *, workers: int = 2, timeout: float = 30.0
) -> tuple[dict[str, bytes], dict[str, str]]:
    """Return key -> JPEG of COUNT frames (or of the image), and key -> code and reason why there is none.

    videos: key -> path, relative to ``media``. Worker processes decode the videos, each within timeout seconds.
    """
    paths: dict[str, Path] = {}
    found: dict[str, bytes] = {}
    failed: dict[str, str] = {}
    locator = Locator(media)
    for key, video in videos.items():
        try:
            paths[key] = locator.find(video)
        except MediaError as error:
            failed[key] = f"{error.code}: {str(error).partition(': ')[2]}"
    video_keys = [key for key, path in paths.items() if path.suffix.lower() not in IMAGE_SUFFIXES]

    def take(key: str, images: Images | MediaError) -> None:
        if isinstance(images, MediaError):
            failed[key] = f"{images.code}: {str(images).removeprefix(f'{paths[key]}: ')}"
        else:
            found[key] = strip(images)

    if video_keys:
        with MediaReader(workers=workers, timeout=timeout) as reader:
            for key, answer in zip(video_keys, reader.videos([paths[key] for key in video_keys], COUNT), strict=True):
                take(key, answer.images if isinstance(answer, Frames) else answer)
    for key in paths.keys() - set(video_keys):
        try:
            take(key, read_image(paths[key])[None])
        except MediaError as error:
            take(key, error)
    return found, failed


def strip(images: Images) -> bytes:
    """Return the JPEG of frames side by side. images: (T, H, W, 3) RGB."""
    from PIL import Image

    count, height, width = images.shape[:3]
    room = (WIDEST - (count - 1) * GAP) / count
    scale = min(HEIGHT / height if count > 1 else 2 * HEIGHT / height, room / width, 1.0)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    canvas = Image.new("RGB", (count * size[0] + (count - 1) * GAP, size[1]), "#808890")
    for k, frame in enumerate(images):
        canvas.paste(Image.fromarray(np.ascontiguousarray(frame)).resize(size), (k * (size[0] + GAP), 0))
    with io.BytesIO() as file:
        canvas.save(file, "JPEG", quality=QUALITY)
        return file.getvalue()
