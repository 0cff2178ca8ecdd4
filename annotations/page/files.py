"""What the page serves besides JSON: its own static files, HTML templates, instructions, and the campaign's media."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from starlette.requests import Request
from starlette.responses import FileResponse, MalformedRangeHeader, Response

FOLDER = Path(__file__).parent / "static"
STATIC_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
MEDIA_TYPES = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".webm": "video/webm",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".gif": "image/gif",
    ".webp": "image/webp",
}
"""The formats that browsers show; other files are sent as plain bytes."""


@dataclass(frozen=True)
class StaticFile:
    """A file of static/, with its content type."""

    body: bytes
    packed: bytes
    """gzip of the body."""
    type: str
    etag: str


IMPORT = re.compile(r'^import \{.*\} from "\./([\w-]+\.js)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export ", re.MULTILINE)


def script(name: str, modules: set[str] | None = None) -> str:
    """A script of static/ after the modules that it imports, as one file: on a slow network each file costs a wait.

    The names at the top level of its modules must differ. modules: those that come before it already; added to.
    """
    modules, text = modules if modules is not None else set(), (FOLDER / name).read_text(encoding="utf-8")
    modules.add(name)
    before = [script(other, modules) for other in IMPORT.findall(text) if other not in modules]
    return "".join([*before, EXPORT.sub("", IMPORT.sub("", text))])


@cache
def static_files() -> dict[str, StaticFile]:
    """The files of static/ by name, read once. Other names reach nothing."""
    found = {}
    for path in sorted(FOLDER.iterdir()):
        if path.suffix in STATIC_TYPES:
            body = script(path.name).encode() if path.suffix == ".js" else path.read_bytes()
            packed = gzip.compress(body, mtime=0)
            found[path.name] = StaticFile(body, packed, STATIC_TYPES[path.suffix], f'W/"{_digest(body)}"')
    return found


@cache
def version() -> str:
    """A digest of all scripts and styles, which is in their addresses: these change with each new version."""
    served = [file.body for file in static_files().values() if not file.type.startswith("text/html")]
    return _digest(b"\0".join(served))[:16]


def template(name: str, **parts: str) -> str:
    """An HTML file with each {{part}} replaced, and {{static}} by the address of static/. The parts must be HTML."""
    parts["static"] = f"/static/{version()}"
    return re.sub(r"\{\{([\w.-]+)\}\}", lambda found: parts[found[1]], static_files()[name].body.decode())


def service_worker() -> Response:
    """The service worker of the voting page."""
    return Response(template("service-worker.js"), media_type="text/javascript")


def static_response(request: Request, path: str) -> Response | None:
    """A script, stylesheet or image of static/ by VERSION/NAME; None for any other name (HTML files have none).

    Browsers keep those of this version. A page of an earlier one gets the present file, and asks again each time.
    """
    wanted, _, name = path.rpartition("/")
    file = static_files().get(name)
    if file is None or file.type.startswith("text/html"):
        return None
    cache = "public, max-age=31536000, immutable" if wanted == version() else "no-cache"
    headers = {"etag": file.etag, "cache-control": cache, "vary": "accept-encoding"}
    if request.headers.get("if-none-match") == file.etag:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.packed, media_type=file.type, headers=headers | {"content-encoding": "gzip"})
    return Response(file.body, media_type=file.type, headers=headers)


def rendered(text: str) -> str:
    """The HTML of Markdown instructions.

    HTML tags in the text are shown as text. Links are those that markdown-it considers safe (no javascript:), and open
    in a new tab. An image becomes a link, because the page loads nothing from other hosts.

    >>> rendered("Be *fair* to <b>both</b>.")
    '<p>Be <em>fair</em> to &lt;b&gt;both&lt;/b&gt;.</p>\\n'
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    parser.add_render_rule("link_open", _open_in_new_tab)
    return str(parser.render(text))


def _open_in_new_tab(renderer: RendererHTML, tokens: Sequence[Token], at: int, options: OptionsDict, _: EnvType) -> str:
    tokens[at].attrs |= {"target": "_blank", "rel": "noopener noreferrer"}
    return renderer.renderToken(tokens, at, options, _)


class MediaResponse(FileResponse):
    """A file with range support: 206 for ranges, 416 past the end, the whole file if If-Range differs."""

    max_ranges = 8
    """A player requests one range; a request for more than these gets the whole file."""

    @classmethod
    def _parse_range_header(cls, http_range: str, file_size: int) -> list[tuple[int, int]]:
        """The ranges; none, so that the whole file is sent, for a header that is not one (RFC 9110, section 14.2)."""
        try:
            return super()._parse_range_header(http_range, file_size)
        except MalformedRangeHeader:
            return []


def media_response(request: Request, path: Path) -> Response:
    """The media file or the requested ranges; 304 if the browser has it already."""
    stat = path.stat()
    # Media are named by their digests and never change; size and time detect a file that was replaced by hand.
    etag = f'"{_digest(f"{path.name} {stat.st_size} {stat.st_mtime_ns}".encode())}"'
    headers = {"etag": etag, "cache-control": "private, max-age=3600"}
    if etag in (tag.strip() for tag in request.headers.get("if-none-match", "").split(",")):
        return Response(status_code=304, headers=headers)
    kind = MEDIA_TYPES.get(path.suffix.lower(), "application/octet-stream")
    return MediaResponse(path, media_type=kind, stat_result=stat, headers=headers)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
