"""A video or an image to the browser, whole or by ranges, so that it can be sought in."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response

TYPES = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".webm": "video/webm",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".gif": "image/gif",
    ".webp": "image/webp",
}
"""What browsers play and show; everything else is sent as bytes, which they do neither play nor run."""


class MediaResponse(FileResponse):
    """Starlette's answer to ranges: 206 with one or several, 416 past the end, all of it where If-Range differs."""

    max_ranges = 8
    """A player asks for one; who asks for more than these gets the whole file."""


def media_response(request: Request, path: Path) -> Response:
    """The file, the ranges of it that were asked for, or 304 where the browser has it already."""
    stat = path.stat()
    headers = {"etag": _etag(path, stat), "cache-control": "private, max-age=3600"}
    if headers["etag"] in (tag.strip() for tag in request.headers.get("if-none-match", "").split(",")):
        return Response(status_code=304, headers=headers)
    kind = TYPES.get(path.suffix.lower(), "application/octet-stream")
    return MediaResponse(path, media_type=kind, stat_result=stat, headers=headers)


def _etag(path: Path, stat: os.stat_result) -> str:
    """A campaign's media are named by their digest and never change; size and time guard against one put in by hand."""
    told = f"{path.name} {stat.st_size} {stat.st_mtime_ns}"
    return f'"{hashlib.sha256(told.encode()).hexdigest()[:32]}"'
