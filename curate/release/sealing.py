"""Versions of releases: the digest of the data, the seal of the manifest, and what stands in a folder of releases."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from curate.shards.atomic import MANIFEST, files_of, read_manifest, version
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


@dataclass(frozen=True)
class Numbered:
    """A version for people that was given to a release, whether its folder is still there or not."""

    name: str
    release: str
    """The version for people: 1.0.0."""
    version: str
    """Of its data; empty where that is not known any more."""
    where: str
    """What says so: a folder, or a store."""


def numbered(folders: Iterable[tuple[Path, Release]]) -> list[Numbered]:
    """The numbers that the releases of these folders have; those without one are left out."""
    return [Numbered(own.name, own.release, own.version, str(path)) for path, own in folders if own.release]


def check_free_version(release: Release, given: Iterable[Numbered]) -> None:
    """Raise CurateError where the release's version for people was given to other content of the same name."""
    for other in given:
        same = (other.name, other.release) == (release.name, release.release)
        if same and other.version != release.version:
            raise CurateError(
                f"{other.where}: {other.name} {other.release} exists and holds other data (version "
                f"{other.version or 'not known'}, not {release.version})",
                hint="a version is given once, even where its folder is gone: raise it in the config or by --version, "
                "or let it be counted: --version next",
            )


def next_version(name: str, digest: str, given: Iterable[Numbered]) -> str:
    """The version for people of new data: 1.0.0, else the highest one of that name with the middle number raised; of
    data that have a number which nothing else has, that one."""
    versions: dict[str, set[str]] = {}
    for other in given:
        if other.name == name:
            versions.setdefault(other.release, set()).add(other.version)
    own = [number for number, known in versions.items() if known == {digest}]
    if own:
        return max(own, key=order_of)
    last = max(map(order_of, versions), default=None)
    return f"{last[0]}.{last[1] + 1}.0" if last else "1.0.0"


def latest(name: str, folder: Path) -> tuple[Path, Release] | None:
    """The release of that name with the highest version for people in a folder; None where there is none."""
    own = [(path, other) for path, other in siblings(folder) if other.name == name and other.release]
    return max(own, key=lambda found: order_of(found[1].release), default=None)


def order_of(number: str) -> tuple[int, ...]:
    """1.10.0 comes after 1.9.0."""
    return tuple(map(int, number.split(".")))


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
