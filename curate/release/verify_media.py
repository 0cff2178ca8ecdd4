"""Verification of a release's media: digests against the tables, and what the decoded frames show."""

from __future__ import annotations

import hashlib
import math
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from curate.engine import Engine, open_engine
from curate.media.fingerprints import fingerprint_distance
from curate.media.frames import MediaError, import_decord
from curate.media.locate import why_outside
from curate.media.near_duplicates import hash_distance
from curate.media.probe import Probe
from curate.media.workers import probe_media, processes_for
from curate.release.tables import MEDIA, PROMPTS, Tables, fingerprint_bytes, hash_values
from schemas.errors import CurateError
from schemas.manifest import ManifestFile
from schemas.release import Finding, Release

SAME_FRAMES = 0.05
"""Largest distance of perceptual hashes between two decoders of the same frames."""
SAME_TIME = 1e-3
"""Relative tolerance of durations and rates: builds of FFmpeg round differently."""
TIMEOUT = 60.0
"""Seconds for one file."""


def media_findings(
    folder: Path, release: Release, tables: Tables, present: Mapping[str, ManifestFile]
) -> tuple[int, list[Finding]]:
    """Return the number of media, and findings for those that are missing or differ from the digest in the rows.

    present: all files of the folder but the manifest.
    """
    expected: dict[str, str] = {}
    findings: list[Finding] = []
    for name, frame in tables.items():
        if release.media_as == "embedded" and name not in (PROMPTS, MEDIA):
            findings += _embedded_findings(name, frame)
            continue
        for path, sha256 in frame.select(pl.coalesce("video", "image"), "media_sha256").unique().iter_rows():
            if path is not None and (why := why_outside(path)):
                findings.append(Finding(check="outside", where=f"{name}: {path}", what=f"leaves the folder: {why}"))
                continue
            if path is None or release.media_as == "none":
                continue
            if sha256 is None or expected.setdefault(path, sha256) != sha256:
                findings.append(_finding(f"{name}: {path}", f"has digest {sha256} here"))
    if release.media_as in ("files", "webdataset"):
        digests = {path: file.sha256 for path, file in present.items()} if release.media_as == "files" else {}
        for path, data in _tar_members(folder, release, findings):
            digests[path] = hashlib.sha256(data).hexdigest()
        for path, sha256 in sorted(expected.items()):
            if path not in digests:
                findings.append(_finding(path, "is named by rows, but missing"))
            elif digests[path] != sha256:
                findings.append(_finding(path, "differs from the digest in the rows"))
            if Path(path).stem != sha256[:32]:
                findings.append(_finding(path, "is not named after the digest in the rows"))
    return len(expected), findings


def _finding(where: str, what: str) -> Finding:
    return Finding(check="media", where=where, what=what)


def _embedded_findings(name: str, frame: pl.DataFrame) -> Iterator[Finding]:
    for number, row in enumerate(frame.select("video", "image", "media_sha256").iter_rows(named=True), start=1):
        medium = row["video"] or row["image"]
        digest = hashlib.sha256(medium["bytes"]).hexdigest() if medium and medium["bytes"] is not None else None
        if digest != row["media_sha256"]:
            yield _finding(f"{name}, row {number}", "its bytes differ from its digest")


def _tar_members(folder: Path, release: Release, findings: list[Finding]) -> Iterator[tuple[str, bytes]]:
    """Yield (path, bytes) of the media in tar shards. Appends a finding for each unreadable shard."""
    for file in release.files:
        if not file.path.endswith(".tar"):
            continue
        try:
            with tarfile.open(folder / file.path) as tar:
                for member in tar:
                    data = tar.extractfile(member)
                    if data is not None and not member.name.endswith(".json"):
                        yield f"media/{member.name}", data.read()
        except (OSError, tarfile.TarError) as error:
            findings.append(_finding(file.path, f"is not readable as tar: {error}"))


def decoded_findings(
    folder: Path, release: Release, tables: Tables, notes: list[str], engine: Engine | None = None
) -> tuple[int, list[Finding]]:
    """Return the number of decoded media, and findings for those that do not decode or differ from the media table.

    Size, frames, duration, rate and codec must be equal, the perceptual hashes nearly equal: this finds a video that
    was replaced even if every digest was made to match.
    """
    if release.media_as == "none" or MEDIA not in tables:
        return 0, []
    rows = tables[MEDIA].unique("media_sha256", keep="first", maintain_order=True).to_dicts()
    if find_spec("PIL") is None:
        notes.append("media were not decoded: pillow is not installed (pip install 'mr2-curate[video]')")
        return 0, []
    with _unpacked(folder, release, tables) as home:
        present = [row for row in rows if (home / _file_name(row)).is_file()]  # the check of media reports the others
        paths = [home / _file_name(row) for row in present]
        if not present:
            return 0, []
        try:
            import_decord()
        except CurateError as error:
            notes.append(f"media were not decoded: {error}")
            return 0, []
        with nullcontext(engine) if engine else open_engine(None, workers=processes_for(paths)) as opened:
            findings = [
                Finding(check="decoded", where=f"media/{_file_name(row)}", what=what)
                for row, answer in zip(present, probe_media(opened, paths, timeout=TIMEOUT), strict=True)
                for what in _probe_differences(row, answer, home)
            ]
    return len(present), findings


def _probe_differences(row: Mapping[str, Any], found: Probe | MediaError, home: Path) -> Iterator[str]:
    """Yield differences between the media table and a probe. Null in the table: not probed."""
    if isinstance(found, MediaError):
        yield f"does not decode: {str(found).replace(f'{home}/', '')}"
        return
    exact = ["kind", "bytes", "width", "height", "frames"]
    if "unknown" not in (row["codec"], found.codec):
        exact.append("codec")
    for name in exact:
        if row[name] not in (None, getattr(found, name)):
            yield f"its {name} is {getattr(found, name)}, in the table {row[name]}"
    for name in ("duration", "fps"):
        stated, value = row[name], getattr(found, name)
        if stated is not None and (value is None or not math.isclose(stated, value, rel_tol=SAME_TIME)):
            yield f"its {name} is {value}, in the table {stated}"
    try:
        phash, fingerprint = hash_values(row["phash"]), fingerprint_bytes(row["fingerprint"])
    except ValueError as error:
        yield f"its phash is not hexadecimal, or its fingerprint not base64, in the table: {error}"
        return
    hashes = found.phash[: len(phash)]  # earlier versions hashed whole frames only, which come first
    if phash and phash != hashes:
        difference = hash_distance(phash, hashes) if len(phash) == len(hashes) else 1.0
        if difference > SAME_FRAMES:
            yield f"its frames differ from the table: distance of perceptual hashes {difference:.2f}"
    if fingerprint and fingerprint != found.fingerprint:
        difference = fingerprint_distance(fingerprint, found.fingerprint)
        if difference > SAME_FRAMES:
            yield f"its frames differ from the table: distance of fingerprints {difference:.2f}"


def _file_name(row: Mapping[str, Any]) -> str:
    """Return the file name of a medium in media/."""
    return Path(row["video"] or row["image"] or "").name


@contextmanager
def _unpacked(folder: Path, release: Release, tables: Tables) -> Iterator[Path]:
    """Yield a folder with the media as files: that of the release, or a temporary one."""
    if release.media_as == "files":
        yield folder / "media"
        return
    with TemporaryDirectory() as scratch:
        home = Path(scratch)
        if release.media_as == "embedded":
            for name, frame in tables.items():
                if name not in (PROMPTS, MEDIA):
                    _write_embedded(home, frame)
        for path, data in _tar_members(folder, release, []):
            (home / Path(path).name).write_bytes(data)
        yield home


def _write_embedded(home: Path, frame: pl.DataFrame) -> None:
    for medium in (*frame["video"].to_list(), *frame["image"].to_list()):
        if medium and medium["bytes"] is not None and not (home / Path(medium["path"]).name).exists():
            (home / Path(medium["path"]).name).write_bytes(medium["bytes"])
