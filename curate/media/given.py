"""Images that are given in memory, as files that the media readers open."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schemas.errors import CurateError

_BASE64 = re.compile(r"(?:data:image/[^,]*;base64,([A-Za-z0-9+/\s]*=*)|([A-Za-z0-9+/\s]{256,}=*))")
"""A data URI, or a long text without a dot, which a path has before its suffix."""
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA")


class GivenImages:
    """The paths of images. Those in memory are written once each, to a folder that is deleted with this object."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def path(self, image: Any) -> Path:
        """The file of an image: a path, a PIL image, the bytes of a file, base64, or a dict with bytes or path.

        Equal images have equal paths. Raises CurateError for anything else.
        """
        if isinstance(image, Mapping):
            image = image.get("bytes") or image.get("path")
        if isinstance(image, Path):
            return image
        if isinstance(image, str):
            encoded = _BASE64.fullmatch(image)
            return self._write(base64.b64decode(encoded[1] or encoded[2])) if encoded else Path(image)
        if isinstance(image, bytes):
            return self._write(image)
        if hasattr(image, "save") and hasattr(image, "convert"):
            return self._write(_png(image))
        raise CurateError(
            f"an image is a {type(image).__name__}",
            hint="give a path, a PIL image, bytes, base64, or a dict with bytes or path",
        )

    def _write(self, content: bytes) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="curate-images-")
        path = Path(self._folder.name) / hashlib.sha256(content).hexdigest()
        if not path.exists():
            path.write_bytes(content)
        return path


def _png(image: Any) -> bytes:
    """A PIL image as a PNG, rotated by its EXIF orientation."""
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(image)
    buffer = io.BytesIO()
    png = upright if upright.mode in _PNG_MODES else upright.convert("RGB")
    png.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
