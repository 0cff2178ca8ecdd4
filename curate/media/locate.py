"""Which file a prompt's video is: its path from the folder of media, or the one file that its id fits."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from curate.media.frames import IMAGE_SUFFIXES, MediaError

_VIDEO = "3gp avi flv gif m4v mkv mov mp4 mpeg mpg ogv ts webm wmv"
SUFFIXES = (*(f".{name}" for name in _VIDEO.split()), *IMAGE_SUFFIXES)
"""What is looked for in folders, and what an id may lack."""


@dataclass(frozen=True)
class Locator:
    """Finds files of one folder; each folder that is looked into is looked into once."""

    folder: Path
    _listings: dict[Path, dict[str, list[Path]]] = field(default_factory=dict)
    """Folder -> name without suffix -> the videos and images so called."""

    def find(self, video: str) -> Path:
        """The file that ``video`` names: a path, absolute or from the folder; else an id, a path without its suffix.

        Raises MediaError (missing or ambiguous) where none or several fit. That it is sound is not said.
        """
        if re.match(r"[a-z][a-z0-9+.-]+://", video):
            hint = "fetch it into the folder of media, and name the file"
            raise MediaError(f"{video}: is an address, not a file", hint=hint, code="missing")
        path = self.folder / video
        try:
            if path.exists():
                return path
            fits = self._listing(path.parent).get(path.name, [])
        except (OSError, ValueError) as error:
            raise MediaError(
                f"{path}: cannot be looked for ({error})", hint="check the path", code="missing"
            ) from error
        if not fits:
            hint = "--media DIR gives the folder that paths start from"
            raise MediaError(f"{path}: no such file", hint=hint, code="missing")
        if len(fits) > 1:
            names = ", ".join(fit.name for fit in fits)
            raise MediaError(f"{path}: may be any of {names}", hint="name the file in full", code="ambiguous")
        return fits[0]

    def name(self, path: Path) -> str:
        """The path from the folder on, with slashes; as it is where it leads elsewhere."""
        return (path.relative_to(self.folder) if path.is_relative_to(self.folder) else path).as_posix()

    def _listing(self, folder: Path) -> dict[str, list[Path]]:
        if folder not in self._listings:
            by_stem: dict[str, list[Path]] = {}
            for path in media_below(folder, deep=False):
                by_stem.setdefault(path.stem, []).append(path)
            self._listings[folder] = by_stem
        return self._listings[folder]


def media_below(folder: Path, *, deep: bool = True) -> list[Path]:
    """The videos and images in a folder (and in those below it), by their names, sorted; hidden ones are left out."""
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
