"""A Hub on this machine: the parts of its HTTP interface that huggingface_hub and datasets use for data sets."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

DATE = "2026-01-01T00:00:00.000Z"


@dataclass
class Hub:
    """Repositories and the log of requests. Set HF_ENDPOINT to ``url`` before the libraries are imported."""

    url: str = ""
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """user/name -> path -> content."""
    requests: list[str] = field(default_factory=list)
    """METHOD path, in order."""

    def commit(self, name: str) -> str:
        """Return the id of the repository's state."""
        files = self.repositories[name]
        state = [(path, hashlib.sha256(files[path]).hexdigest()) for path in sorted(files)]
        return hashlib.sha1(json.dumps(state).encode()).hexdigest()

    def served(self, suffix: str) -> set[str]:
        """Return the paths of files whose content was sent."""
        found = (re.fullmatch(r"GET /datasets/[^/]+/[^/]+/resolve/[^/]+/(.+)", line) for line in self.requests)
        return {match[1] for match in found if match and match[1].endswith(suffix)}


@contextmanager
def serve() -> Iterator[Hub]:
    """Yield a Hub that listens on a port of this machine."""
    hub = Hub()

    class Handler(_Handler):
        state = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    state: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Be silent: the requests are in the Hub's log."""

    def do_HEAD(self) -> None:
        self._get()

    def do_GET(self) -> None:
        self._get()

    def do_POST(self) -> None:
        body = self._body()
        path = self._path()
        if path == "/api/repos/create":
            name = f"{json.loads(body).get('organization') or 'user'}/{json.loads(body)['name']}"
            self.state.repositories.setdefault(name, {})
            self._send({"url": f"{self.state.url}/datasets/{name}"})
        elif path == "/api/validate-yaml":
            self._send({"errors": [], "warnings": []})
        elif match := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/preupload/[^/]+", path):
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in json.loads(body)["files"]
            ]
            self._send({"files": files})
        elif match := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/commit/[^/]+", path):
            for line in body.decode().splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    content = base64.b64decode(entry["value"]["content"])
                    self.state.repositories[match[1]][entry["value"]["path"]] = content
            commit = self.state.commit(match[1])
            url = f"{self.state.url}/datasets/{match[1]}/commit/{commit}"
            self._send({"success": True, "commitOid": commit, "commitUrl": url, "hookOutput": ""})
        elif match := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/paths-info/[^/]+", path):
            self._send(self._entries(match[1], set(_form(body))))
        else:
            self._missing("EntryNotFound")

    def _get(self) -> None:
        path = self._path()
        names = self.state.repositories
        if match := re.fullmatch(r"/api/datasets/([^/]+/[^/]+?)(/revision/[^/]+)?", path):
            self._send(self._info(match[1])) if match[1] in names else self._missing("RepoNotFound")
        elif match := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/tree/([^/]+)(?:/(.*))?", path):
            self._send(
                self._tree(match[1], match[3] or "", "recursive=True" in self.path or "recursive=true" in self.path)
            )
        elif match := re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._file(match[1], match[3])
        else:
            self._missing("EntryNotFound")

    def _info(self, name: str) -> dict[str, Any]:
        return {
            "_id": "0" * 24,
            "id": name,
            "author": name.split("/")[0],
            "sha": self.state.commit(name),
            "lastModified": DATE,
            "createdAt": DATE,
            "private": False,
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "siblings": [{"rfilename": path} for path in sorted(self.state.repositories[name])],
        }

    def _entries(self, name: str, paths: set[str]) -> list[dict[str, Any]]:
        files = self.state.repositories[name]
        found = [_entry(path, files[path]) for path in sorted(paths & set(files))]
        folders = sorted(path for path in paths if any(file.startswith(f"{path}/") for file in files))
        return [
            *found,
            *({"type": "directory", "path": path, "oid": _oid(path.encode()), "size": 0} for path in folders),
        ]

    def _tree(self, name: str, folder: str, recursive: bool) -> list[dict[str, Any]]:
        prefix = f"{folder}/" if folder else ""
        inside = [path[len(prefix) :] for path in self.state.repositories[name] if path.startswith(prefix)]
        paths = {prefix + (path if recursive else path.split("/")[0]) for path in inside}
        if recursive:
            paths |= {prefix + path.rpartition("/")[0] for path in inside if "/" in path}
        return self._entries(name, paths)

    def _file(self, name: str, path: str) -> None:
        content = self.state.repositories.get(name, {}).get(path)
        if content is None:
            self._missing("EntryNotFound")
            return
        headers = {
            "ETag": f'"{_oid(content)}"',
            "X-Repo-Commit": self.state.commit(name),
            "Accept-Ranges": "bytes",
            "Content-Type": "application/octet-stream",
        }
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if span:
            start, end = int(span[1]), min(int(span[2] or len(content)), len(content) - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
            content = content[start : end + 1]
        self._respond(206 if span else 200, content, headers)

    def _path(self) -> str:
        path = unquote(urlsplit(self.path).path)
        self.state.requests.append(f"{self.command} {path}")
        return path

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _missing(self, code: str) -> None:
        self._respond(404, b"{}", {"X-Error-Code": code, "X-Error-Message": "not found"})

    def _send(self, document: Any) -> None:
        self._respond(200, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def _respond(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _form(body: bytes) -> list[str]:
    """Return the paths of a request, which is JSON or a form."""
    try:
        paths = json.loads(body)["paths"]
        return [paths] if isinstance(paths, str) else list(paths)
    except ValueError:
        return [
            unquote(value)
            for key, _, value in (part.partition("=") for part in body.decode().split("&"))
            if key == "paths"
        ]


def _entry(path: str, content: bytes) -> dict[str, Any]:
    return {"type": "file", "path": path, "oid": _oid(content), "size": len(content)}


def _oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
