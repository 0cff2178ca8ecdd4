"""Where a foreign row's images and video lie: paths are resolved, embedded bytes are written to a cache folder."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.reward.foreign.tables import BadRow, Row
from schemas.errors import CurateError

SIGNATURES = ((b"\x89PNG\r\n\x1a\n", ".png"), (b"\xff\xd8\xff", ".jpg"), (b"GIF8", ".gif"), (b"BM", ".bmp"))
"""How the files of each kind begin; WebP is told by its bytes 8 to 12."""


@dataclass(frozen=True)
class Media:
    """Paths are not checked here: what opens a file names it when it is missing."""

    folder: Path
    """What relative paths are relative to."""
    cache: Path | None = None
    """Where embedded images are written, under the SHA-256 of their bytes; equal images are one file."""

    def images(self, row: Row, column: str) -> tuple[Path, ...]:
        """None, one or a list of images: each a path, or {bytes, path} as Hugging Face's ``Image`` stores it.

        Raises BadRow where a value is neither, and CurateError where there are bytes and no cache folder.
        """
        value = row.cells.get(column)
        if value is None:
            return ()
        several = value if isinstance(value, list) else [value]
        return tuple(self._image(column, image) for image in several)

    def video(self, row: Row, column: str) -> Path | None:
        """Path of the video, a file or a folder of frames; None where there is none. Raises BadRow."""
        return None if row.cells.get(column) is None else self.folder / row.text(column)

    def _image(self, column: str, image: Any) -> Path:
        if isinstance(image, str) and image.strip():
            return self.folder / image
        if isinstance(image, dict) and isinstance(image.get("bytes"), bytes):
            return self._write(column, image["bytes"])
        if isinstance(image, dict) and isinstance(image.get("path"), str) and image["path"].strip():
            return self.folder / str(image["path"])
        raise BadRow(column, image, "a path, or an image as {bytes, path}")

    def _write(self, column: str, content: bytes) -> Path:
        if self.cache is None:
            raise CurateError(
                f"images are embedded in column '{column}', and there is no folder to write them to",
                hint="name a cache folder",
            )
        path = self.cache / (hashlib.sha256(content).hexdigest() + _suffix(column, content))
        if not path.exists():
            self.cache.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
            partial.write_bytes(content)
            partial.replace(path)
        return path


def _suffix(column: str, content: bytes) -> str:
    for begin, suffix in SIGNATURES:
        if content.startswith(begin):
            return suffix
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return ".webp"
    raise BadRow(column, content[:16], "the bytes of a PNG, JPEG, GIF, BMP or WebP image")
