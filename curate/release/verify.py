"""``verify``: everything that a release promises is looked at again, and everything that does not hold is told."""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl
from pydantic import ValidationError

from curate.leakage.detect import Subject, find_leaks
from curate.release.columns import ITEM_CONFIGS, MEDIA, PROMPTS
from curate.release.decoding import decoded_findings
from curate.release.metadata_verification import figure_findings, statement_findings
from curate.release.sealing import STATING, data_version, order_of, read_release, seal, siblings
from curate.release.subjects import read_subjects
from curate.release.tables import (
    Tables,
    format_findings,
    label_findings,
    read_tables,
    split_findings,
)
from curate.shards.atomic import MANIFEST, describe, files_of
from schemas.errors import CurateError
from schemas.leakage import LeakConfig
from schemas.release import Finding, Release, ReleaseConfig, Side, VerifyReport


def verify(
    folder: Path,
    *,
    previous: Sequence[Path] = (),
    decode: bool = False,
    code: str = "",
    validated: Path | None = None,
) -> VerifyReport:
    """Look at all of a release again. previous: earlier releases that it must be apart from.

    decode: decode the media too, and compare what they show with what the tables say of them. code: the version of
    curate that is at work; card and Croissant of another one may have other words, which is noted and no finding.
    validated: a file that remembers the outline of the Croissant metadata that mlcroissant found valid last; metadata
    that differ only in the versions, digests and sizes that are compared here are not validated by it again.
    Raises CurateError only where there is no manifest of a release to begin with.
    """
    release = read_release(folder)
    checks = Counter[str]()
    findings: list[Finding] = []
    notes: list[str] = []
    findings += file_findings(folder, release)
    checks["files"] = len(release.files)
    findings += manifest_findings(folder, release)
    checks["manifest"] = 3
    tables, wrong = read_tables(folder, release)
    findings += wrong
    checks["tables"] = len(tables)
    findings += label_findings(tables)
    checks["labels"] = sum(len(tables[name]) for name in ITEM_CONFIGS if name in tables)
    findings += split_findings(tables)
    checks["split"] = len(tables[PROMPTS]) if PROMPTS in tables else 0
    findings += format_findings(folder, release, tables)
    checks["formats"] = sum(len(frame) for frame in tables.values()) - checks["split"]
    looked_at, wrong = media_findings(folder, release, tables)
    findings += wrong
    checks["media"] = looked_at
    if decode:
        looked_at, wrong = decoded_findings(folder, release, tables, notes)
        findings += wrong
        checks["decoded"] = looked_at
    findings += figure_findings(release, tables)
    checks["figures"] = len(release.counts)
    findings += statement_findings(folder, release, notes, code=code, validated=validated)
    checks["statements"] = len(STATING)
    looked_at, wrong = leak_findings(folder, release, previous, notes)
    findings += wrong
    checks["leakage"] = looked_at
    return VerifyReport(
        folder=str(folder),
        name=release.name,
        version=release.version,
        checks=dict(checks),
        findings=tuple(findings),
        notes=tuple(notes),
    )


def file_findings(folder: Path, release: Release) -> Iterator[Finding]:
    """Files that are missing, differ from the manifest, or are not in it; hidden ones too."""
    present = set(files_of(folder)) - {MANIFEST}
    for entry in sorted(folder.rglob("*")):
        where = entry.relative_to(folder).as_posix()
        if entry.is_symlink():
            yield Finding(check="files", where=where, what="is a link: what it leads to is not part of the release")
        elif entry.is_dir() and not any(name.startswith(f"{where}/") for name in present):
            yield Finding(check="files", where=where, what="is a folder without a file")
    for file in release.files:
        if file.path not in present:
            yield Finding(check="files", where=file.path, what="is missing")
            continue
        found = describe(folder / file.path, file.rows, root=folder)
        if found.bytes != file.bytes:
            yield Finding(check="files", where=file.path, what=f"has {found.bytes} bytes, not {file.bytes}")
        elif found.sha256 != file.sha256:
            yield Finding(check="files", where=file.path, what="has other bytes than the manifest says (sha256)")
    for path in sorted(present - {file.path for file in release.files}):
        yield Finding(check="files", where=path, what="is not in the manifest")


def manifest_findings(folder: Path, release: Release) -> Iterator[Finding]:
    """A seal that does not hold, a version that is not that of the files, a folder of another name."""
    if seal(release) != release.seal:
        yield Finding(check="manifest", where=MANIFEST, what="was changed after it was sealed")
    version = data_version(release.files)
    if version != release.version:
        what = f"states version {release.version}, but its files make {version}"
        yield Finding(check="manifest", where=MANIFEST, what=what)
    name = folder.resolve().name
    labelled = re.fullmatch(re.escape(release.name) + r"-([0-9a-f]{12}|\d+\.\d+\.\d+)", name)
    if labelled and name != release.label:
        yield Finding(check="manifest", where=name, what=f"holds {release.label}")


def media_findings(folder: Path, release: Release, tables: Tables) -> tuple[int, list[Finding]]:
    """How many media were looked at; and those that are missing, or not those that the rows name."""
    expected: dict[str, str] = {}
    findings: list[Finding] = []
    for name, frame in tables.items():
        if release.media_as == "inside" and name not in (PROMPTS, MEDIA):
            findings += _inside(name, frame)
            continue
        for path, sha256 in frame.select(pl.coalesce("video", "image"), "media_sha256").unique().iter_rows():
            if path is None or release.media_as == "none":
                continue
            if sha256 is None or expected.setdefault(path, sha256) != sha256:
                findings.append(Finding(check="media", where=f"{name}: {path}", what=f"has digest {sha256} here"))
    if release.media_as == "files":
        findings += _beside(folder, expected)
    elif release.media_as == "webdataset":
        findings += _in_tars(folder, release, expected)
    return len(expected), findings


def _beside(folder: Path, expected: Mapping[str, str]) -> Iterator[Finding]:
    for path, sha256 in sorted(expected.items()):
        file = folder / path
        if not file.is_file():
            yield Finding(check="media", where=path, what="rows name it, but it is missing")
        elif hashlib.sha256(file.read_bytes()).hexdigest() != sha256:
            yield Finding(check="media", where=path, what="is not the file whose digest the rows state")
        if Path(path).stem != sha256[:32]:
            yield Finding(check="media", where=path, what="is not named after the digest that the rows state")


def _in_tars(folder: Path, release: Release, expected: Mapping[str, str]) -> Iterator[Finding]:
    found: dict[str, str] = {}
    for file in release.files:
        if not file.path.endswith(".tar"):
            continue
        try:
            with tarfile.open(folder / file.path) as tar:
                for member in tar:
                    data = tar.extractfile(member)
                    if data is not None and not member.name.endswith(".json"):
                        found[f"media/{member.name}"] = hashlib.sha256(data.read()).hexdigest()
        except (OSError, tarfile.TarError) as error:
            yield Finding(check="media", where=file.path, what=f"does not open as tar: {error}")
    for path, sha256 in sorted(expected.items()):
        if path not in found:
            yield Finding(check="media", where=path, what="rows name it, but it is in no tar file")
        elif found[path] != sha256:
            yield Finding(check="media", where=path, what="is not the file whose digest the rows state")


def _inside(name: str, frame: pl.DataFrame) -> Iterator[Finding]:
    for number, row in enumerate(frame.select("video", "image", "media_sha256").iter_rows(named=True), start=1):
        medium = row["video"] or row["image"]
        digest = hashlib.sha256(medium["bytes"]).hexdigest() if medium and medium["bytes"] is not None else None
        if digest != row["media_sha256"]:
            yield Finding(check="media", where=f"{name}, row {number}", what="its bytes are not those of its digest")


def leak_findings(
    folder: Path, release: Release, previous: Sequence[Path], notes: list[str]
) -> tuple[int, list[Finding]]:
    """How many prompts were compared; and the pairs that leak, by the rules that the release was built by."""
    try:
        sides = read_subjects(folder)
        earlier: dict[Side, list[Subject]] = {"train": [], "benchmark": []}
        for path in previous:
            for side, subjects in read_subjects(path, read_release(path).label).items():
                earlier[side] += subjects
        for path, other in siblings(folder.resolve().parent):
            numbers = other.release, release.release
            if other.name == release.name and all(numbers) and order_of(numbers[0]) < order_of(numbers[1]):
                earlier["benchmark"] += read_subjects(path, other.label)["benchmark"]
    except CurateError as error:
        return 0, [Finding(check="leakage", where=PROMPTS, what=str(error))]
    try:
        rules = ReleaseConfig.from_stored(release.run.config).leakage
    except ValidationError:
        rules = LeakConfig()
        notes.append("the release's config is of another curate: leakage was judged by today's defaults")
    told = {read_release(path).label for path in previous}
    unseen = [label for label in release.previous if label not in told]
    if unseen:
        notes.append(f"not compared with {', '.join(unseen)}: give their folders by --previous")
    leaks = (
        *find_leaks(sides["train"], [*sides["benchmark"], *earlier["benchmark"]], rules),
        *find_leaks(earlier["train"], sides["benchmark"], rules),
    )
    findings = [
        Finding(
            check="leakage",
            where=f"{leak.train} ~ {leak.benchmark}"
            + (f" of {leak.benchmark_release}" if leak.benchmark_release else ""),
            what=f"same {leak.rule}, on both sides of training and benchmark",
        )
        for leak in leaks
    ]
    return len(sides["train"]) + len(sides["benchmark"]), findings
