"""What a release states of itself, beside what its tables say: the figures of the manifest, the card and Croissant."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from difflib import unified_diff
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import ValidationError

from curate.release.card import card
from curate.release.columns import ITEM_CONFIGS, MEDIA, PROMPTS, side_of
from curate.release.croissant import croissant, outline
from curate.release.figures import figures
from curate.release.funnel import ingest_stage, item_stages
from curate.release.loading import loader_version
from curate.release.rules import rules_of
from curate.release.sealing import CARD, CROISSANT, STATING
from curate.sampling.items import item_statistics
from curate.shards.atomic import MANIFEST, publish_file
from schemas.release import SIDES, Finding, Release, ReleaseConfig

Tables = Mapping[str, pl.DataFrame]
CLOSE = 1e-9
"""How far a mean may be from the one stated, as a share: sums differ in their last digits by the order of adding."""


def figure_findings(release: Release, tables: Tables) -> Iterator[Finding]:
    """Figures of the manifest that the tables contradict. What only the store knows (annotators, contradicted votes,
    sets considered) is held to the rest of the manifest alone."""
    counts = release.counts
    if PROMPTS in tables and all(name in tables for name in ITEM_CONFIGS if counts["items"].get(name)):
        for key, is_ in _recomputed(tables).items():
            yield from _differing(key, counts.get(key), is_)
    for name, ceiling in counts["ceiling"].items():
        sure = counts["confidence"].get(name)
        if ceiling is None:
            if sure is not None:
                yield _finding(MANIFEST, f"ceiling.{name} is missing, though its items have a confidence")
        elif not _same(ceiling["mean"], sure) or not ceiling["low"] <= ceiling["mean"] <= ceiling["high"]:
            yield _finding(MANIFEST, f"ceiling.{name} is {ceiling}, its mean confidence {sure}")
    yield from _funnel_findings(release)


def _recomputed(tables: Tables) -> dict[str, Any]:
    """The figures of the manifest that the tables tell, under the keys that they have there."""
    items = {name: tables[name] for name in ITEM_CONFIGS if name in tables}
    own = {name: item_statistics(frame) for name, frame in items.items()}
    of_side = {side: [frame["prompt_id"] for name, frame in items.items() if side_of(name) == side] for side in SIDES}
    found = {
        **{key: {name: values[key] for name, values in own.items()} for key in ("difficulty", "confidence", "floor")},
        **figures(items, tables[PROMPTS]),
        "prompts": {side: pl.concat(ids).n_unique() if ids else 0 for side, ids in of_side.items()},
    }
    if MEDIA in tables:
        found["videos"] = len(tables[MEDIA])
        found["hashed"] = bool(len(tables[MEDIA])) and bool((tables[MEDIA]["phash"].list.len() > 0).all())
    return found


def _differing(key: str, stated: Any, found: Any) -> Iterator[Finding]:
    """Where what is stated under a key is not what was found; of nested figures, only those that were found."""
    if isinstance(found, Mapping) and isinstance(stated, Mapping):
        for name, value in found.items():
            yield from _differing(f"{key}.{name}", stated.get(name), value)
    elif not _same(stated, found):
        yield _finding(MANIFEST, f"{key} is stated as {stated}, the tables say {found}")


def _same(stated: Any, found: Any) -> bool:
    if isinstance(stated, float) and isinstance(found, float):
        return math.isclose(stated, found, rel_tol=CLOSE, abs_tol=CLOSE)
    return bool(stated == found)


def _funnel_findings(release: Release) -> Iterator[Finding]:
    """Stages that contradict the ingests, the counts, or the stage before them."""
    stages = {stage.stage: stage for stage in release.funnel.stages}
    came: dict[str, int] = {
        side: stages[name].came for side in SIDES if (name := f"prompts with items: {side}") in stages
    }
    if len(came) < len(SIDES):
        yield _finding(MANIFEST, "the funnel has no stage of the prompts with items")
        return
    try:
        expected = [ingest_stage(release.batches), *item_stages(release.counts, came)]
    except (ValidationError, KeyError) as error:
        yield _finding(MANIFEST, f"the counts make no funnel: {error}")
        return
    for stage in expected:
        if stages.get(stage.stage) != stage:
            yield _finding(MANIFEST, f"stage {stage.stage!r} of the funnel is not what ingests and counts make of it")
    chain = [stages[name] for name in ("filters", "media", "leakage") if name in stages]
    kept = [stage.kept for stage in chain]
    for name, before, after in zip(
        [*(stage.stage for stage in chain[1:]), "prompts with items"],
        kept,
        [*(stage.came for stage in chain[1:]), sum(came.values())],
        strict=True,
    ):
        if before != after:
            yield _finding(MANIFEST, f"{after} prompts came to stage {name!r} of the funnel, {before} were kept before")


def statement_findings(
    folder: Path, release: Release, notes: list[str], *, code: str, validated: Path | None = None
) -> Iterator[Finding]:
    """A card or Croissant metadata that do not say what the manifest makes them say, or that do not validate.

    Both are written again of the manifest and compared. code: the version of curate at work; empty: that of the build.
    Where it is another, other words are noted, and other figures in the same words are still a finding.
    validated: see ``verify``.
    """
    written, problem = written_again(release)
    if problem:
        notes.append(problem)
    for name in STATING:
        is_ = _text(folder / name)
        if is_ is None or name not in written or is_ == written[name]:
            continue
        what = _first_difference(is_, written[name])
        figure = _other_figure(is_, written[name]) if name == CARD else ""
        if figure or code in ("", release.run.code_version):
            what = figure or what
            check = {CARD: "card", CROISSANT: "croissant"}[name]
            yield Finding(check=check, where=name, what=f"does not say what the manifest makes it say: {what}")
        else:
            notes.append(f"{name} was written by another curate ({release.run.code_version}): {what}")
    if (text := _text(folder / CARD)) is not None:
        yield from _card_findings(text, release)
    if (text := _text(folder / CROISSANT)) is not None:
        yield from _croissant_findings(folder / CROISSANT, text, release, notes, validated)


def _card_findings(text: str, release: Release) -> Iterator[Finding]:
    """Versions that the card states and that are not the release's."""
    number = loader_version(release.version)
    versions = set(re.findall(r'^  version: "([^"]*)"$', text, flags=re.MULTILINE))
    if versions != {number}:
        yield Finding(check="card", where=CARD, what=f"its configs are of version {', '.join(versions)}, not {number}")
    if f"Version `{release.version}`" not in text:
        yield Finding(check="card", where=CARD, what=f"does not state version {release.version}")


def _croissant_findings(
    path: Path, text: str, release: Release, notes: list[str], validated: Path | None
) -> Iterator[Finding]:
    """Versions and digests that it states and that are not the release's, and what mlcroissant says against it."""
    try:
        document = json.loads(text)
        told = {key: document.get(key) for key in ("version", "alternateName")}
    except (ValueError, AttributeError):
        yield Finding(check="croissant", where=CROISSANT, what="is not a JSON object")
        return
    expected = {"version": loader_version(release.version), "alternateName": f"{release.name}-{release.version}"}
    for key, value in expected.items():
        if told[key] != value:
            yield Finding(check="croissant", where=CROISSANT, what=f"{key} is {told[key]!r}, not {value!r}")
    digests = {file.path: file.sha256 for file in release.files}
    for entry in document.get("distribution", []):
        name = entry.get("contentUrl")
        if name and entry.get("sha256") != digests.get(name):
            yield Finding(check="croissant", where=CROISSANT, what=f"states another digest of {name}")
    if find_spec("mlcroissant") is None:
        notes.append("croissant.json was not validated: mlcroissant is not installed")
        return
    known = f"{outline(document)} mlcroissant {metadata.version('mlcroissant')}\n"
    if validated is not None and validated.is_file() and validated.read_text(encoding="utf-8") == known:
        return
    problem = _invalid_croissant(path)
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


def written_again(release: Release) -> tuple[dict[str, str], str]:
    """The files that state the version, as the manifest makes them; and why there are none, where so."""
    try:
        config = ReleaseConfig.from_stored(release.run.config)
    except ValidationError:
        return {}, "the release's config is of another curate: card and Croissant were not written again to compare"
    configs = [name for name, items in release.counts["items"].items() if items]
    rules = tuple(rule for side in SIDES for rule in rules_of(config, side) if rule.name in configs)
    data = tuple(file for file in release.files if file.path not in STATING)
    bare = release.model_copy(update={"files": data})
    try:
        return {CARD: card(bare, rules, config, configs), CROISSANT: croissant(bare, config, configs)}, ""
    except (KeyError, TypeError, ValueError) as error:  # counts that this card knows no words for
        return {}, f"card and Croissant cannot be written again of this manifest: {error!r}"


FIGURE = re.compile(r"\d[\d,]*(?:\.\d+)?")
"""A number as the card writes it: 67,498 or 0.85."""


def _other_figure(is_: str, should: str) -> str:
    """The first line that differs from one of the same words in its figures alone; empty where there is none."""
    stated, expected = is_.splitlines(), should.splitlines()
    lost = {FIGURE.sub("#", line): line for line in reversed(expected) if line not in set(stated)}
    for line in stated:
        own = lost.get(FIGURE.sub("#", line)) if line not in set(expected) else None
        if own and not all(map(_equal_figures, FIGURE.findall(line), FIGURE.findall(own))):
            return f"has the line {line!r} for {own!r}"
    return ""


def _equal_figures(one: str, other: str) -> bool:
    """Whether two numbers are the same as far as both are written out."""
    places = [len(text.partition(".")[2]) for text in (one, other)]
    apart = abs(float(one.replace(",", "")) - float(other.replace(",", "")))
    return apart <= (0.5 * 10.0 ** -min(places) if places[0] != places[1] else 0.0)


def _first_difference(is_: str, should: str) -> str:
    """The first line of each that the other has not."""
    lines = list(unified_diff(should.splitlines(), is_.splitlines(), n=0, lineterm=""))[2:]
    lost = next((line[1:] for line in lines if line.startswith("-")), None)
    came = next((line[1:] for line in lines if line.startswith("+")), None)
    if came is None:
        return f"lacks the line {lost!r}" if lost is not None else "another end of the file"
    return f"has the line {came!r}" + (f" for {lost!r}" if lost is not None else "")


def _finding(where: str, what: str) -> Finding:
    return Finding(check="figures", where=where, what=what)


def _text(path: Path) -> str | None:
    """None where the check of files has said enough."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
