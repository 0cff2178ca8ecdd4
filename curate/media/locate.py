"""The file of a prompt's video: a path relative to the media folder, or the only file with this name but suffix."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from curate.media.frames import IMAGE_SUFFIXES, MediaError

_VIDEO = "3gp avi flv gif m4v mkv mov mp4 mpeg mpg ogv ts webm wmv"
SUFFIXES = (*(f".{name}" for name in _VIDEO.split()), *IMAGE_SUFFIXES)
"""Suffixes of the files that folders are searched for, and that an id may omit."""


@dataclass(frozen=True)
class Locator:
    """Finds the files of one media folder; each folder is listed once."""

    folder: Path
    _listings: dict[Path, dict[str, list[Path]]] = field(default_factory=dict)
    """Folder -> name without suffix -> its videos and images."""

    def find(self, video: str) -> Path:
        """Return the file of ``video``: a path, absolute or relative to the folder, with or without its suffix.

        Raises MediaError (missing or ambiguous) if none or several files match. The content is not checked.
        """
        if re.match(r"[a-z][a-z0-9+.-]+://", video):
            hint = "download it into the media folder and give its path"
            raise MediaError(f"{video}: is a URL, not a file", hint=hint, code="missing")
        path = self.folder / video
        try:
            if path.exists():
                return path
            fits = self._listing(path.parent).get(path.name, [])
        except (OSError, ValueError) as error:
            raise MediaError(
                f"{path}: is not a possible path ({error})", hint="check the path", code="missing"
            ) from error
        if not fits:
            hint = "--media DIR sets the folder that paths are relative to"
            raise MediaError(f"{path}: no such file", hint=hint, code="missing")
        if len(fits) > 1:
            names = ", ".join(fit.name for fit in fits)
            raise MediaError(f"{path}: matches several files: {names}", hint="add the suffix", code="ambiguous")
        return fits[0]

    def name(self, path: Path) -> str:
        """The path relative to the folder, with slashes; unchanged if it is elsewhere."""
        return (path.relative_to(self.folder) if path.is_relative_to(self.folder) else path).as_posix()

    def _listing(self, folder: Path) -> dict[str, list[Path]]:
        if folder not in self._listings:
            by_stem: dict[str, list[Path]] = {}
            for path in media_below(folder, deep=False):
                by_stem.setdefault(path.stem, []).append(path)
            self._listings[folder] = by_stem
        return self._listings[folder]


def media_below(folder: Path, *, deep: bool = True) -> list[Path]:
    """The videos and images in a folder and its subfolders, sorted, without hidden ones."""
    if not folder.is_dir():
        return []
    paths = folder.rglob("*") if deep else folder.iterdir()
    return sorted(
        path
        for path in paths
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not path.is_dir()
    )
