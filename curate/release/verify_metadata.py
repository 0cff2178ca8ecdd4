"""Metadata verification: recompute what the manifest, card and Croissant metadata state, and compare."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from difflib import unified_diff
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from curate.release.build import metadata_texts
from curate.release.croissant import validate
from curate.release.figures import figures, ingest_stage, item_stages, media_figures, media_kinds
from curate.release.manifest import CARD, CROISSANT, METADATA, release_config
from curate.release.tables import ITEM_CONFIGS, MEDIA, PROMPTS, Tables, loader_version, rules_of
from curate.shards.atomic import MANIFEST
from schemas.release import SIDES, Finding, Release

TOLERANCE = 1e-9
"""Relative tolerance of means: the last digits of a sum depend on the order of its terms."""
FIGURE = re.compile(r"\d[\d,]*(?:\.\d+)?")
"""A number in the card: 67,498 or 0.85."""


def figure_findings(release: Release, tables: Tables) -> Iterator[Finding]:
    """Yield figures of the manifest that differ from those of the tables.

    Figures that only the store can give (annotators, disagreement, candidates) are compared with the rest of the
    manifest only.
    """
    counts = release.counts
    items = {name: tables[name] for name in ITEM_CONFIGS if name in tables}
    if PROMPTS in tables and all(name in items for name in ITEM_CONFIGS if counts["items"].get(name)):
        found = figures(items, tables[PROMPTS])
        if MEDIA in tables:
            found |= media_figures(tables[MEDIA]["phash"].to_list())
            if "media_kinds" in counts:  # not in releases of earlier versions
                found["media_kinds"] = media_kinds(tables[MEDIA]["kind"])
        for key, value in found.items():
            yield from _differences(key, counts.get(key), value)
    for name, ceiling in counts["ceiling"].items():
        confidence = counts["confidence"].get(name)
        if ceiling is None:
            if confidence is not None:
                yield _finding(f"ceiling.{name} is missing, although its items have a confidence")
        elif not _same(ceiling["mean"], confidence) or not ceiling["low"] <= ceiling["mean"] <= ceiling["high"]:
            yield _finding(f"ceiling.{name} is {ceiling}, its mean confidence {confidence}")
    yield from _funnel_findings(release)


def _differences(key: str, stated: Any, found: Any) -> Iterator[Finding]:
    """Yield stated figures that differ from those found; of nested figures, only those that were recomputed."""
    if isinstance(found, Mapping) and isinstance(stated, Mapping):
        for name, value in found.items():
            yield from _differences(f"{key}.{name}", stated.get(name), value)
    elif not _same(stated, found):
        yield _finding(f"{key} is stated as {stated}, the tables give {found}")


def _same(stated: Any, found: Any) -> bool:
    if isinstance(stated, float) and isinstance(found, float):
        return math.isclose(stated, found, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(stated == found)


def _funnel_findings(release: Release) -> Iterator[Finding]:
    """Yield stages that contradict the ingests, the counts, or the stage before them."""
    stages = {stage.stage: stage for stage in release.funnel.stages}
    chosen: dict[str, int] = {
        side: stages[name].input for side in SIDES if (name := f"prompts with items: {side}") in stages
    }
    if len(chosen) < len(SIDES):
        yield _finding("the funnel has no stage of the prompts with items")
        return
    try:
        expected = [ingest_stage(release.batches), *item_stages(release.counts, chosen)]
    except (ValidationError, KeyError) as error:
        yield _finding(f"the counts give no valid funnel: {error}")
        return
    for stage in expected:
        if stages.get(stage.stage) != stage:
            yield _finding(f"stage {stage.stage!r} of the funnel differs from the ingests and counts")
    chain = [stages[name] for name in ("filters", "media", "leakage") if name in stages]
    following = [(stage.stage, stage.input) for stage in chain[1:]] + [("prompts with items", sum(chosen.values()))]
    for before, (name, count) in zip(chain, following, strict=True):
        if before.kept != count:
            yield _finding(f"stage {name!r} of the funnel has an input of {count}, but {before.kept} were kept before")


def _finding(what: str) -> Finding:
    return Finding(check="figures", where=MANIFEST, what=what)


def metadata_findings(
    folder: Path, release: Release, notes: list[str], *, code: str, validated: Path | None = None
) -> Iterator[Finding]:
    """Yield differences of the card and the Croissant metadata from those generated from the manifest.

    code: version of curate that is running; empty: that of the build. If another version built the release, other text
    is noted; other figures in the same text are findings. validated: see ``verify``.
    """
    expected, problem = generated_metadata(release)
    if problem:
        notes.append(problem)
    for name in METADATA:
        text = _text(folder / name)
        if text is None or name not in expected or text == expected[name]:
            continue
        difference = _first_difference(text, expected[name])
        figure = _other_figure(text, expected[name]) if name == CARD else ""
        if figure or code in ("", release.run.code_version):
            what = f"differs from the manifest: {figure or difference}"
            yield Finding(check={CARD: "card", CROISSANT: "croissant"}[name], where=name, what=what)
        else:
            notes.append(f"{name} was written by another version of curate ({release.run.code_version}): {difference}")
    if (text := _text(folder / CARD)) is not None:
        yield from _card_findings(text, release)
    if (text := _text(folder / CROISSANT)) is not None:
        yield from _croissant_findings(folder / CROISSANT, text, release, notes, validated)


def generated_metadata(release: Release) -> tuple[dict[str, str], str]:
    """Return the card and Croissant metadata generated from the manifest; and, if there are none, the reason."""
    config = release_config(release)
    if config is None:
        return {}, "the config is of another version of curate: card and Croissant metadata were not compared"
    rules = tuple(rule for side in SIDES for rule in rules_of(config, side))
    data = tuple(file for file in release.files if file.path not in METADATA)
    try:
        return metadata_texts(release.model_copy(update={"files": data}), config, rules), ""
    except (KeyError, TypeError, ValueError) as error:  # counts of another version
        return {}, f"card and Croissant metadata cannot be generated from this manifest: {error!r}"


def _card_findings(text: str, release: Release) -> Iterator[Finding]:
    """Yield versions in the card that are not the release's."""
    number = loader_version(release.version)
    versions = set(re.findall(r'^  version: "([^"]*)"$', text, flags=re.MULTILINE))
    if versions != {number}:
        yield Finding(check="card", where=CARD, what=f"its configs have version {', '.join(versions)}, not {number}")
    if f"Version `{release.version}`" not in text:
        yield Finding(check="card", where=CARD, what=f"does not state version {release.version}")


def _croissant_findings(
    path: Path, text: str, release: Release, notes: list[str], validated: Path | None
) -> Iterator[Finding]:
    """Yield versions and digests that are not the release's, and errors of mlcroissant."""

    def finding(what: str) -> Finding:
        return Finding(check="croissant", where=CROISSANT, what=what)

    try:
        document = json.loads(text)
        stated = {key: document.get(key) for key in ("version", "alternateName")}
    except (ValueError, AttributeError):
        yield finding("is not a JSON object")
        return
    expected = {"version": loader_version(release.version), "alternateName": f"{release.name}-{release.version}"}
    for key, value in expected.items():
        if stated[key] != value:
            yield finding(f"{key} is {stated[key]!r}, not {value!r}")
    digests = {file.path: file.sha256 for file in release.files}
    for entry in document.get("distribution", []):
        name = entry.get("contentUrl")
        if name and entry.get("sha256") != digests.get(name):
            yield finding(f"states another digest of {name}")
    problem = validate(path, document, notes, validated)
    if problem:
        yield finding(f"is not valid: {problem}")


def _other_figure(text: str, expected: str) -> str:
    """Return the first line that differs from an expected one in its figures only; empty if there is none."""
    stated, wanted = text.splitlines(), expected.splitlines()
    lost = {FIGURE.sub("#", line): line for line in reversed(wanted) if line not in set(stated)}
    for line in stated:
        own = lost.get(FIGURE.sub("#", line)) if line not in set(wanted) else None
        if own and not all(map(_equal_figures, FIGURE.findall(line), FIGURE.findall(own))):
            return f"line {line!r}, expected {own!r}"
    return ""


def _equal_figures(one: str, other: str) -> bool:
    """Return whether two numbers are equal to the precision of the one with fewer decimals."""
    places = [len(text.partition(".")[2]) for text in (one, other)]
    difference = abs(float(one.replace(",", "")) - float(other.replace(",", "")))
    return difference <= (0.5 * 10.0 ** -min(places) if places[0] != places[1] else 0.0)


def _first_difference(text: str, expected: str) -> str:
    """Return the first added and the first missing line."""
    lines = list(unified_diff(expected.splitlines(), text.splitlines(), n=0, lineterm=""))[2:]
    missing = next((_short(line[1:]) for line in lines if line.startswith("-")), None)
    added = next((_short(line[1:]) for line in lines if line.startswith("+")), None)
    if added is None:
        return f"line {missing!r} is missing" if missing is not None else "another end of the file"
    return f"line {added!r}" + (f", expected {missing!r}" if missing is not None else "")


def _short(line: str, length: int = 120) -> str:
    return line if len(line) <= length else f"{line[:length]}…"


def _text(path: Path) -> str | None:
    """Return the text of a file; None if it cannot be read, which the check of files reports."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
