"""The files of a media folder: the rule that a path must stay inside it, and files named without their suffix."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from curate.media.frames import IMAGE_SUFFIXES, MediaError

_VIDEO = "3gp avi flv gif m4v mkv mov mp4 mpeg mpg ogv ts webm wmv"
SUFFIXES = (*(f".{name}" for name in _VIDEO.split()), *IMAGE_SUFFIXES)
"""Suffixes of the files that folders are searched for, and that an id may omit."""


def why_outside(name: str) -> str:
    """Return why a name in a data file may leave the folder that it is relative to; "" if only a link could.

    The rules of POSIX and of Windows both apply on every system, because a release is read on both.

    >>> why_outside("clips/a.mp4"), why_outside("..\\\\a.mp4"), why_outside("C:/a.mp4")
    ('', "it contains '..'", 'it is absolute')
    """
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if "\0" in name:
        return "it contains a NUL byte"
    if posix.is_absolute() or windows.drive or windows.root:
        return "it is absolute"
    return "it contains '..'" if ".." in windows.parts else ""  # Windows splits at both kinds of slashes


def inside(folder: Path, name: str) -> Path:
    """Return the path of ``name`` in the folder with links resolved; nothing is opened, and the file may be missing.

    A link to another place in the folder is followed, and the folder itself may be a link: whoever gave it trusts it.
    Raises MediaError (outside) for a name that is absolute or contains '..' (``why_outside``), and for a link that
    leads out of the folder; (missing) for a name that no file can have.
    """
    why = why_outside(name)
    if not why:
        root = folder.resolve()
        try:
            found = Path(os.path.realpath(root / name))  # unlike Path.resolve, it does not fail at a link to itself
        except ValueError as error:
            message = f"{name!r}: is not a possible path ({error})"
            raise MediaError(message, hint="check the path", code="missing") from error
        if found.is_relative_to(root):
            return folder / found.relative_to(root)
        why = "a link leads out of it"
    raise MediaError(
        f"{name}: is not a path inside the media folder ({why})",
        hint="name files by paths relative to the media folder, without '..'; copy linked files into it",
        code="outside",
    )


def open_inside(folder: Path, path: Path) -> IO[bytes]:
    """Open a file that ``inside`` returned without following links: one that was placed meanwhile is refused.

    Raises MediaError (outside), or OSError if the file cannot be opened.
    """
    *folders, last = inside(folder, path.relative_to(folder).as_posix()).relative_to(folder).parts
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name in folders:
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = below
        return os.fdopen(os.open(last, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=at), "rb")
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK):
            raise MediaError(f"{path}: was replaced by a link", hint="run the command again", code="outside") from error
        raise
    finally:
        os.close(at)


@dataclass(frozen=True)
class Locator:
    """Finds the files of one media folder; each folder is listed once."""

    folder: Path
    _listings: dict[Path, dict[str, list[Path]]] = field(default_factory=dict)
    """Folder -> name without suffix -> its videos and images."""

    def find(self, video: str) -> Path:
        """Return the file of ``video``: a path relative to the folder, with or without its suffix.

        Raises MediaError (missing, ambiguous or outside) if none or several files match, or the path leaves the folder
        (``inside``). The content is not checked.
        """
        if re.match(r"[a-z][a-z0-9+.-]+://", video):
            hint = "download it into the media folder and give its path"
            raise MediaError(f"{video}: is a URL, not a file", hint=hint, code="missing")
        path = inside(self.folder, video)
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
        return inside(self.folder, self.name(fits[0]))

    def name(self, path: Path) -> str:
        """The path of a file of the folder relative to it, with slashes."""
        return path.relative_to(self.folder).as_posix()

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
