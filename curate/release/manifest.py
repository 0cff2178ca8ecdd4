"""The manifest of a release: its seal, versions and release numbers, and the releases of a folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from curate.release.signature import signed_by
from curate.shards.atomic import MANIFEST, files_of, read_manifest, version
from schemas.base import Document
from schemas.errors import ConflictError, CurateError, MissingError
from schemas.manifest import ManifestFile
from schemas.release import Release, ReleaseConfig, ReleaseLine

D = TypeVar("D", bound=Document)

CARD, CROISSANT, HISTORY = "README.md", "croissant.json", "history.csv"
METADATA = (CARD, CROISSANT)
"""Files that are generated from the manifest, and state the version."""


def data_version(files: Iterable[ManifestFile]) -> str:
    """Return 12 hex digits that change with the name or content of any file except those that state the version."""
    return version([file for file in files if file.path not in (*METADATA, HISTORY)])


def sealed(release: Release) -> Release:
    """Return the manifest with its seal."""
    return release.model_copy(update={"seal": _seal(release.model_dump(mode="json"))})


def seal_is_valid(folder: Path) -> bool:
    """Return whether the manifest of a release is unchanged since it was sealed.

    The seal is computed from the JSON as stored: keys that were renamed since then do not matter.
    """
    document = json.loads((folder / MANIFEST).read_bytes())
    return bool(document.get("seal") == _seal(document))


def _seal(document: Mapping[str, Any]) -> str:
    """Return 64 hex digits that change with anything in the manifest but the seal."""
    kept = {key: value for key, value in document.items() if key != "seal"}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def read_release(folder: Path) -> Release:
    """Return the manifest of a release's folder. Raises CurateError if there is none."""
    manifest = read_manifest(folder)
    if not isinstance(manifest, Release):
        raise CurateError(f"{folder}: holds an export ({manifest.kind}), not a release", hint="curate release ls DIR")
    return manifest


def release_config(release: Release) -> ReleaseConfig | None:
    """Return the config of a release; None if another version of curate wrote it and this one cannot read it."""
    return stored_config(release.run.config, ReleaseConfig)


def stored_config(config: Mapping[str, Any], kind: type[D]) -> D | None:
    """Return a config from a manifest, with renamed fields under their current names; None if it is not readable."""
    try:
        return kind.from_stored(config)
    except ValidationError:
        return None


def releases_in(folder: Path) -> list[ReleaseLine]:
    """Return every release of a folder, by folder name, including unfinished ones. Other folders are skipped."""
    if not folder.is_dir():
        raise MissingError(f"{folder}: no such folder", hint="give the folder that contains the releases")
    lines = []
    for path in sorted(path for path in folder.iterdir() if path.is_dir()):
        if path.name.startswith(".") and path.name.endswith(".partial"):
            lines.append(ReleaseLine(folder=path.name, state="unfinished"))
        elif (path / MANIFEST).exists():
            line = _line(path)
            lines += [line] if line else []
    return lines


def _line(path: Path) -> ReleaseLine | None:
    """Return the entry of a folder with a manifest; None for an export."""
    try:
        found = read_manifest(path)
    except CurateError:
        return ReleaseLine(folder=path.name, state="damaged")
    if not isinstance(found, Release):
        return None
    return ReleaseLine(
        folder=path.name,
        state="complete" if seal_is_valid(path) and _sizes_match(path, found) else "damaged",
        name=found.name,
        release=found.release,
        version=found.version,
        run=found.upstream[0].run,
        prompts=sum(found.counts["prompts"].values()),
        items=sum(found.counts["items"][name] for name in found.counts["candidates"]),
        votes=found.counts["votes"],
        signed_by=signed_by(path),
    )


def _sizes_match(folder: Path, release: Release) -> bool:
    sizes = {file.path: file.bytes for file in release.files}
    return sizes == {name: (folder / name).stat().st_size for name in files_of(folder) if name != MANIFEST}


@dataclass(frozen=True)
class Numbered:
    """A release number that was given, whether or not the release's folder still exists."""

    name: str
    release: str
    """The number: 1.0.0."""
    version: str
    """Version of its data; empty if unknown."""
    where: str
    """The folder or store that records it."""


def numbered(folders: Iterable[tuple[Path, Release]]) -> list[Numbered]:
    """Return the numbers of these releases; those without one are skipped."""
    return [Numbered(own.name, own.release, own.version, str(path)) for path, own in folders if own.release]


def check_number(release: Release, given: Iterable[Numbered]) -> None:
    """Raise CurateError if the release's number was given to other content of the same name."""
    for other in given:
        same = (other.name, other.release) == (release.name, release.release)
        if same and other.version != release.version:
            raise ConflictError(
                f"{other.where}: {other.name} {other.release} exists and holds other data (version "
                f"{other.version or 'unknown'}, not {release.version})",
                hint="a number is used once, even if its folder was removed: raise it in the config or by --version, "
                "or use --version next",
            )


def next_number(name: str, digest: str, given: Iterable[Numbered]) -> str:
    """Return the number of new data: 1.0.0, or the highest of that name with its middle part raised.

    Data that have a number of their own keep it.
    """
    versions: dict[str, set[str]] = {}
    for other in given:
        if other.name == name:
            versions.setdefault(other.release, set()).add(other.version)
    own = [number for number, known in versions.items() if known == {digest}]
    if own:
        return max(own, key=number_parts)
    last = max(map(number_parts, versions), default=None)
    return f"{last[0]}.{last[1] + 1}.0" if last else "1.0.0"


def latest(name: str, folder: Path) -> tuple[Path, Release] | None:
    """Return the release of that name with the highest number in a folder; None if there is none."""
    own = [(path, other) for path, other in siblings(folder) if other.name == name and other.release]
    return max(own, key=lambda found: number_parts(found[1].release), default=None)


def number_parts(number: str) -> tuple[int, ...]:
    """Return the sort key of a release number: 1.10.0 comes after 1.9.0."""
    return tuple(map(int, number.split(".")))


def siblings(folder: Path) -> list[tuple[Path, Release]]:
    """Return the finished releases of a folder; none if the folder does not exist."""
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not path.name.startswith(".") and (path / MANIFEST).is_file():
            try:
                manifest = read_manifest(path)
            except CurateError:
                continue  # reported by ls and verify
            if isinstance(manifest, Release):
                found.append((path, manifest))
    return found
