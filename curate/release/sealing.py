"""Versions of releases: the digest of the data, the seal of the manifest, and what stands in a folder of releases."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from curate.publish import MANIFEST, files_of, read_manifest, version
from schemas.errors import CurateError
from schemas.manifest import ManifestFile
from schemas.release import Release, ReleaseLine

CARD, CROISSANT = "README.md", "croissant.json"
STATING = (CARD, CROISSANT)
"""Files that state the version, and so cannot be part of it."""


def data_version(files: Iterable[ManifestFile]) -> str:
    """12 hex digits that move with the name or the content of any file but those that state the version."""
    return version([file for file in files if file.path not in STATING])


def seal(release: Release) -> str:
    """64 hex digits that move with anything in the manifest."""
    document = release.model_dump(mode="json", exclude={"seal"})
    return hashlib.sha256(json.dumps(document, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def sealed(release: Release) -> Release:
    return release.model_copy(update={"seal": seal(release)})


def read_release(folder: Path) -> Release:
    """The manifest of a release's folder. Raises CurateError where it is none."""
    manifest = read_manifest(folder)
    if not isinstance(manifest, Release):
        raise CurateError(f"{folder}: holds an export ({manifest.kind}), not a release", hint="curate release ls DIR")
    return manifest


def releases_in(folder: Path) -> list[ReleaseLine]:
    """Every release of a folder, by the names of their folders, with those that were begun and not finished.

    Folders without a manifest are somebody else's and are left out.
    """
    if not folder.is_dir():
        raise CurateError(f"{folder}: no such folder", hint="give the folder that releases were built into")
    lines = []
    for path in sorted(path for path in folder.iterdir() if path.is_dir()):
        if path.name.startswith(".") and path.name.endswith(".partial"):
            lines.append(ReleaseLine(folder=path.name, state="unfinished"))
        elif (path / MANIFEST).exists():
            line = _line(path)
            lines += [line] if line else []
    return lines


def _line(path: Path) -> ReleaseLine | None:
    try:
        found = read_manifest(path)
    except CurateError:
        return ReleaseLine(folder=path.name, state="damaged")
    if not isinstance(found, Release):
        return None
    return ReleaseLine(
        folder=path.name,
        state="whole" if found.seal == seal(found) and _sizes_hold(path, found) else "damaged",
        name=found.name,
        release=found.release,
        version=found.version,
        run=found.upstream[0].run,
        prompts=sum(found.counts["prompts"].values()),
        items=sum(found.counts["items"][name] for name in found.counts["candidates"]),
        votes=found.counts["votes"],
    )


def _sizes_hold(folder: Path, release: Release) -> bool:
    sizes = {file.path: file.bytes for file in release.files}
    return sizes == {name: (folder / name).stat().st_size for name in files_of(folder) if name != MANIFEST}


def check_free_version(release: Release, others: Sequence[tuple[Path, Release]]) -> None:
    """Raise CurateError where another release has the same name and version for people, but other content."""
    for path, other in others:
        same = release.release and (other.name, other.release) == (release.name, release.release)
        if same and other.version != release.version:
            raise CurateError(
                f"{path}: {other.name} {other.release} exists and holds other data (version {other.version}, "
                f"not {release.version})",
                hint="a version is given once: raise it in the config, or by --version",
            )


def next_version(name: str, digest: str, others: Iterable[Release]) -> str:
    """The version for people of new data: 1.0.0, else the last one's with the middle number raised; of data that
    another release of that name holds, that one's."""
    numbered = [other for other in others if other.name == name and other.release]
    for other in numbered:
        if other.version == digest:
            return other.release
    last = max((order_of(other) for other in numbered), default=None)
    return f"{last[0]}.{last[1] + 1}.0" if last else "1.0.0"


def latest(name: str, folder: Path) -> tuple[Path, Release] | None:
    """The release of that name with the highest version for people in a folder; None where there is none."""
    numbered = [(path, other) for path, other in siblings(folder) if other.name == name and other.release]
    return max(numbered, key=lambda found: order_of(found[1]), default=None)


def order_of(release: Release) -> tuple[int, ...]:
    """1.10.0 comes after 1.9.0."""
    return tuple(map(int, release.release.split(".")))


def siblings(folder: Path) -> list[tuple[Path, Release]]:
    """The finished releases of a folder; none where there is no such folder."""
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not path.name.startswith(".") and (path / MANIFEST).is_file():
            try:
                manifest = read_manifest(path)
            except CurateError:
                continue  # ls and verify say so
            if isinstance(manifest, Release):
                found.append((path, manifest))
    return found
