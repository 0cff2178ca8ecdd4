"""The page's own files, read once: a name that is not among them reaches nothing."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

FOLDER = Path(__file__).parent / "static"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True)
class StaticFile:
    body: bytes
    type: str
    etag: str


@cache
def static_files() -> dict[str, StaticFile]:
    """Name → file, of all in static/."""
    found = {}
    for path in sorted(FOLDER.iterdir()):
        if path.suffix in TYPES:
            body = path.read_bytes()
            found[path.name] = StaticFile(body, TYPES[path.suffix], f'"{hashlib.sha256(body).hexdigest()[:32]}"')
    return found


def template(name: str, **parts: str) -> str:
    """An HTML file with each {{part}} put in as it is: parts are HTML already."""
    text = static_files()[name].body.decode()
    for part, html in parts.items():
        text = text.replace("{{" + part + "}}", html)
    return text


def static_response(request: Request, name: str) -> Response | None:
    """A script, a style or a picture; None where there is none of that name (the HTML files are not given by name)."""
    file = static_files().get(name)
    if file is None or file.type.startswith("text/html"):
        return None
    headers = {"etag": file.etag, "cache-control": "no-cache"}  # kept, and asked about: an update is seen at once
    if request.headers.get("if-none-match") == file.etag:
        return Response(status_code=304, headers=headers)
    return Response(file.body, media_type=file.type, headers=headers)
