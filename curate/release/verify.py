"""``verify``: everything that a release promises is looked at again, and everything that does not hold is told."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import polars as pl
from pydantic import ValidationError

from curate.leakage import Subject, find_leaks
from curate.publish import MANIFEST, describe, files_of, publish_file
from curate.release.columns import ITEM_CONFIGS, MEDIA, PROMPTS
from curate.release.croissant import outline
from curate.release.loading import loader_version
from curate.release.sealing import CARD, CROISSANT, data_version, order_of, read_release, seal, siblings
from curate.release.subjects import read_subjects
from curate.release.tables import (
    Tables,
    format_findings,
    label_findings,
    read_tables,
    split_findings,
)
from schemas.errors import CurateError
from schemas.leakage import LeakConfig
from schemas.release import Finding, Release, ReleaseConfig, Side, VerifyReport


def verify(folder: Path, *, previous: Sequence[Path] = (), validated: Path | None = None) -> VerifyReport:
    """Look at all of a release again. previous: earlier releases that it must be apart from.

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
    findings += statement_findings(folder, release, notes, validated)
    checks["statements"] = 2
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


def statement_findings(
    folder: Path, release: Release, notes: list[str], validated: Path | None = None
) -> Iterator[Finding]:
    """A card or Croissant metadata that state another version, or that do not validate."""
    number = loader_version(release.version)
    card = _text(folder / CARD)
    if card is not None:
        versions = set(re.findall(r'^  version: "([^"]*)"$', card, flags=re.MULTILINE))
        if versions != {number}:
            yield Finding(
                check="card", where=CARD, what=f"its configs are of version {', '.join(versions)}, not {number}"
            )
        if f"Version `{release.version}`" not in card:
            yield Finding(check="card", where=CARD, what=f"does not state version {release.version}")
    text = _text(folder / CROISSANT)
    if text is None:
        return
    try:
        document = json.loads(text)
        stated = {key: document.get(key) for key in ("version", "alternateName")}
    except (ValueError, AttributeError):
        yield Finding(check="croissant", where=CROISSANT, what="is not a JSON object")
        return
    expected = {"version": number, "alternateName": f"{release.name}-{release.version}"}
    for key, value in expected.items():
        if stated[key] != value:
            yield Finding(check="croissant", where=CROISSANT, what=f"{key} is {stated[key]!r}, not {value!r}")
    digests = {file.path: file.sha256 for file in release.files}
    for entry in document.get("distribution", []):
        path = entry.get("contentUrl")
        if path and entry.get("sha256") != digests.get(path):
            yield Finding(check="croissant", where=CROISSANT, what=f"states another digest of {path}")
    if find_spec("mlcroissant") is None:
        notes.append("croissant.json was not validated: mlcroissant is not installed")
        return
    known = f"{outline(document)} mlcroissant {metadata.version('mlcroissant')}\n"
    if validated is not None and validated.is_file() and validated.read_text(encoding="utf-8") == known:
        return
    problem = _invalid_croissant(folder / CROISSANT)
    if problem:
        yield Finding(check="croissant", where=CROISSANT, what=f"does not validate: {problem}")
    elif validated is not None:
        publish_file(validated, known.encode())


def _invalid_croissant(path: Path) -> str:
    """What mlcroissant says against it; empty where it validates."""
    import logging

    import mlcroissant

    level = logging.getLogger("absl").level
    logging.getLogger("absl").setLevel(logging.ERROR)  # recommendations are no findings
    try:
        mlcroissant.Dataset(jsonld=path)
    except (mlcroissant.ValidationError, ValueError, KeyError) as error:
        return " ".join(str(error).split())
    finally:
        logging.getLogger("absl").setLevel(level)
    return ""


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
            if other.name == release.name and other.release and release.release and order_of(other) < order_of(release):
                earlier["benchmark"] += read_subjects(path, other.label)["benchmark"]
    except CurateError as error:
        return 0, [Finding(check="leakage", where=PROMPTS, what=str(error))]
    try:
        rules = ReleaseConfig.model_validate(release.run.config).leakage
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


def _text(path: Path) -> str | None:
    """None where the check of files has said enough."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
