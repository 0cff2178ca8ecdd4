"""The videos and images of a campaign: each looked at, and given to browsers as a file that they play."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from annotations.campaign.folder import MEDIA
from curate.media.frames import MediaError
from curate.media.locate import Locator
from curate.media.transcode import encode, playable
from pipelines.media import probe_media
from pipelines.progress import Progress, silent
from schemas.campaign import MediaLine
from schemas.media import MediaFile

NAMED = 24
"""Hex digits of a digest that a file is named by."""


def prepare(
    store: Path, videos: Path, wanted: Sequence[str], folder: Path, *, progress: Progress = silent
) -> tuple[MediaLine, ...]:
    """One line for each of the ``wanted`` videos: its file in ``folder``/media, or why it is refused.

    All videos of the store are probed first, as curate media does (what is known is not read again). A file that
    browsers play is copied; another is encoded once. Files are named by their digests: equal videos are one file.
    """
    found = {file.video: file for file in probe_media(store, media=videos, progress=progress).files}
    locator = Locator(videos)
    lines = []
    for done, video in enumerate(wanted):
        progress("preparing media for browsers", done, len(wanted))
        lines.append(_line(found[video], locator, folder / MEDIA))
    return tuple(lines)


def _line(file: MediaFile, locator: Locator, folder: Path) -> MediaLine:
    kind = "image" if file.kind == "image" else "video"
    if file.status != "ok":
        return _refused(file.video, f"{file.status}: {file.reason}")
    try:
        path = locator.find(file.video)
        how = playable(path)
        fresh = folder / ".fresh"
        shutil.copyfile(path, fresh) if how.as_is else encode(path, fresh)
    except MediaError as error:
        return _refused(file.video, str(error))
    with fresh.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    name = digest[:NAMED] + how.suffix
    fresh.replace(folder / name)
    return MediaLine(
        video=file.video,
        file=name,
        kind="image" if how.image else kind,
        seconds=None if how.image else file.duration,
        how="copied" if how.as_is else "transcoded",
    )


def _refused(video: str, reason: str) -> MediaLine:
    return MediaLine(video=video, file="", kind="none", seconds=None, how="refused", reason=reason)
