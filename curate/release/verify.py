"""``verify``: check everything that a release promises, and report every violation."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from curate.engine import Engine, Part, map_parts
from curate.leakage.detect import Subject, compare_videos
from curate.media.locate import why_outside
from curate.release.leakage import Sides, leaks_of, limits_of, read_subjects
from curate.release.manifest import (
    METADATA,
    data_version,
    number_parts,
    read_release,
    release_config,
    seal_is_valid,
    siblings,
)
from curate.release.signature import signature_findings, signed_by
from curate.release.tables import ITEM_CONFIGS, MEDIA, PROMPTS
from curate.release.verify_history import history_findings
from curate.release.verify_media import decoded_findings, media_findings
from curate.release.verify_metadata import figure_findings, metadata_findings
from curate.release.verify_tables import format_findings, label_findings, read_tables, split_findings, text_findings
from curate.shards.atomic import MANIFEST, describe, files_of, of_the_hub
from schemas.errors import CurateError
from schemas.leakage import LeakConfig
from schemas.manifest import ManifestFile
from schemas.release import Finding, Release, VerifyReport


def verify(
    folder: Path,
    *,
    previous: Sequence[Path] = (),
    decode: bool = False,
    code: str = "",
    validated: Path | None = None,
    key: str = "",
    engine: Engine | None = None,
) -> VerifyReport:
    """Check all of a release.

    Parameters
    ----------
    previous
        Folders of earlier releases that it is compared with: for leakage, and for items that it kept.
    decode
        Decode the media too, and compare their frames with the media table.
    code
        Version of curate that is running. The card and Croissant metadata of another version may have other text, which
        is noted.
    validated
        A file that stores the outline of the Croissant metadata that mlcroissant validated last. Metadata that differ
        only in versions, digests and sizes, which are compared here, are not validated again.
    key
        The public key, or its file, with which the release must be signed; "": a signature is not checked.
    engine
        Where files are hashed, media decoded and videos compared; None: media are decoded in processes of this machine,
        all else in this one.

    Raises
    ------
    CurateError
        The folder has no manifest of a release, or the key cannot be used.
    """
    release = read_release(folder)
    checks = Counter[str]()
    findings: list[Finding] = []
    notes: list[str] = []

    def report() -> VerifyReport:
        return VerifyReport(
            folder=str(folder),
            name=release.name,
            version=release.version,
            checks=dict(checks),
            findings=tuple(findings),
            notes=tuple(notes),
            signed_by=signed,
            signature="none" if not signed else "not checked" if not key else "invalid" if forged else "valid",
        )

    signed = signed_by(folder)
    forged = list(signature_findings(folder, key)) if key else []
    checks |= {"signature": 1} if key else {}
    findings += forged
    checks["files"] = len(release.files)
    leaving = list(outside_findings(folder, release))
    findings += leaving
    if leaving:
        notes.append("nothing else was checked, because files outside the folder would be opened")
        return report()
    names = [name for name in files_of(folder) if name != MANIFEST]
    parts = [Part(name, name) for name in names]
    present = dict(zip(names, map_parts(partial(_describe, folder), parts, engine=engine), strict=True))
    findings += file_findings(folder, release, present)
    findings += manifest_findings(folder, release)
    checks["manifest"] = 3
    tables, wrong = read_tables(folder, release)
    findings += wrong
    checks["tables"] = len(tables)
    findings += label_findings(release, tables)
    checks["labels"] = sum(len(tables[name]) for name in ITEM_CONFIGS if name in tables)
    findings += text_findings(release, tables)
    checks["texts"] = sum(len(frame) for name, frame in tables.items() if name not in (PROMPTS, MEDIA))
    findings += split_findings(tables)
    checks["split"] = len(tables[PROMPTS]) if PROMPTS in tables else 0
    findings += format_findings(folder, release, tables)
    checks["formats"] = sum(len(frame) for frame in tables.values()) - checks["split"]
    checks["media"], wrong = media_findings(folder, release, tables, present)
    findings += wrong
    if decode:
        checks["decoded"], wrong = decoded_findings(folder, release, tables, notes, engine)
        findings += wrong
    findings += figure_findings(release, tables)
    checks["figures"] = len(release.counts)
    findings += metadata_findings(folder, release, notes, code=code, validated=validated)
    checks["metadata"] = len(METADATA)
    checks["history"], wrong = history_findings(folder, release, tables, previous, notes)
    findings += wrong
    checks["leakage"], wrong = leak_findings(folder, release, previous, notes, engine)
    findings += wrong
    return report()


def outside_findings(folder: Path, release: Release) -> Iterator[Finding]:
    """Yield links in the folder and paths of the manifest that leave it; nothing is opened."""
    for entry in sorted(folder.rglob("*")):
        if entry.is_symlink():
            what = "is a link: its target is not part of the release"
            yield Finding(check="outside", where=entry.relative_to(folder).as_posix(), what=what)
    for file in release.files:
        if why := why_outside(file.path):
            yield Finding(check="outside", where=MANIFEST, what=f"names {file.path!r}, a path that leaves it: {why}")


def _describe(folder: Path, name: str) -> ManifestFile:
    return describe(folder / name, root=folder)


def file_findings(folder: Path, release: Release, present: Mapping[str, ManifestFile]) -> Iterator[Finding]:
    """Yield files that are missing, differ from the manifest, or are not in it, including hidden ones.

    present: all files of the folder but the manifest.
    """

    def finding(where: str, what: str) -> Finding:
        return Finding(check="files", where=where, what=what)

    for entry in sorted(folder.rglob("*")):
        where = entry.relative_to(folder).as_posix()
        if entry.is_dir() and not of_the_hub(where) and not any(name.startswith(f"{where}/") for name in present):
            yield finding(where, "is a folder without files")
    for file in release.files:
        if file.path not in present:
            yield finding(file.path, "is missing")
            continue
        found = present[file.path]
        if found.bytes != file.bytes:
            yield finding(file.path, f"has {found.bytes} bytes, not {file.bytes}")
        elif found.sha256 != file.sha256:
            yield finding(file.path, "has other bytes than the manifest states (sha256)")
    for path in sorted(present.keys() - {file.path for file in release.files}):
        yield finding(path, "is not in the manifest")


def manifest_findings(folder: Path, release: Release) -> Iterator[Finding]:
    """Yield an invalid seal, a version that is not that of the files, and a folder named after another release."""
    if not seal_is_valid(folder):
        yield Finding(check="manifest", where=MANIFEST, what="was changed after it was sealed")
    version = data_version(release.files)
    if version != release.version:
        what = f"states version {release.version}, but its files give {version}"
        yield Finding(check="manifest", where=MANIFEST, what=what)
    name = folder.resolve().name
    labelled = re.fullmatch(re.escape(release.name) + r"-([0-9a-f]{12}|\d+\.\d+\.\d+)", name)
    if labelled and name != release.label:
        yield Finding(check="manifest", where=name, what=f"holds {release.label}")


def leak_findings(
    folder: Path, release: Release, previous: Sequence[Path], notes: list[str], engine: Engine | None
) -> tuple[int, list[Finding]]:
    """Return the number of prompts compared, and findings for leaks by the thresholds of the build."""
    try:
        sides = read_subjects(folder)
        earlier = _earlier(folder, release, previous)
    except CurateError as error:
        return 0, [Finding(check="leakage", where=PROMPTS, what=str(error))]
    own = [replace(subject, release=release.label) for side in sides.values() for subject in side]
    every = [*own, *earlier["train"], *earlier["benchmark"]]
    notes += limits_of(every)
    config = release_config(release)
    leakage = config.leakage if config else LeakConfig()
    compare_videos((subject.fingerprint for subject in every), leakage, engine=engine)
    if config is None:
        notes.append("the config is of another version of curate: leakage was checked with default thresholds")
    given = {read_release(path).label for path in previous}
    missing = [label for label in release.previous if label not in given]
    if missing:
        notes.append(f"not compared with {', '.join(missing)}: give their folders by --previous")
    findings = [
        Finding(
            check="leakage",
            where=f"{leak.train} ~ {leak.benchmark}"
            + (f" of {leak.benchmark_release}" if leak.benchmark_release else ""),
            what=f"same {leak.rule} in training and benchmark",
        )
        for leak in leaks_of(sides, earlier, leakage)
    ]
    return len(sides["train"]) + len(sides["benchmark"]), findings


def _earlier(folder: Path, release: Release, previous: Sequence[Path]) -> Sides:
    """Return the prompts of earlier releases: those given, and benchmarks of lower numbers of the same name beside."""
    found: dict[str, list[Subject]] = {"train": [], "benchmark": []}
    for path in previous:
        for side, subjects in read_subjects(path, read_release(path).label).items():
            found[side] += subjects
    for path, other in siblings(folder.resolve().parent):
        numbers = other.release, release.release
        if other.name == release.name and all(numbers) and number_parts(numbers[0]) < number_parts(numbers[1]):
            found["benchmark"] += read_subjects(path, other.label)["benchmark"]
    return {"train": found["train"], "benchmark": found["benchmark"]}
