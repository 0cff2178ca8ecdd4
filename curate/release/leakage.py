"""Leakage between releases: the prompts of a build, a release or the ledger, and the search for leaks among them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from curate.leakage.detect import Subject, find_leaks
from curate.release.manifest import read_release
from curate.release.media import MediaFacts, public_name
from curate.release.tables import MEDIA, PROMPTS, fingerprint_bytes, hash_values, read_table
from schemas.errors import CheckError, CurateError
from schemas.leakage import Leak, LeakConfig
from schemas.release import Release, Side

SHOWN = 8
"""Leaks that an error message lists; it counts the rest."""

Sides = dict[Side, list[Subject]]


class LeakError(CheckError):
    """A build that was refused because of leaks; ``leaks`` is the evidence."""

    def __init__(self, leaks: Sequence[Leak], store: Path) -> None:
        listed = "".join(f"\n  {describe_leak(leak)}" for leak in leaks[:SHOWN])
        more = f"\n  … and {len(leaks) - SHOWN} more" if len(leaks) > SHOWN else ""
        super().__init__(
            f"{store}: {len(leaks)} pairs of prompts leak between training and benchmark:{listed}{more}",
            hint="correct the data in a new store (its first build keeps similar prompts on one side); or exclude such "
            "prompts: leakage.on_leak = 'drop'; or list reviewed pairs that are no leak in leakage.cleared",
        )
        self.leaks = tuple(leaks)


def describe_leak(leak: Leak) -> str:
    """Return one line: the prompts, the rule and the evidence."""
    train = f"{leak.train!r}" + (f" of {leak.train_release}" if leak.train_release else "")
    benchmark = f"{leak.benchmark!r}" + (f" of {leak.benchmark_release}" if leak.benchmark_release else "")
    evidence = []
    if leak.rule != "question" and any(leak.videos):
        evidence.append(f"videos {leak.videos[0]!r} and {leak.videos[1]!r}")
    if leak.distance is not None:
        evidence.append(f"distance {leak.distance:.2f}")
    if leak.similarity > 0:
        evidence.append(f"questions {leak.questions[0]!r} and {leak.questions[1]!r} share {leak.similarity:.0%}")
    return f"same {leak.rule}: training {train}, benchmark {benchmark} ({', '.join(evidence)})"


def leaks_of(sides: Mapping[Side, Sequence[Subject]], earlier: Sides, config: LeakConfig) -> tuple[Leak, ...]:
    """Return the leaks of a release: within it, and in both directions with earlier releases."""
    return (
        *find_leaks(sides["train"], [*sides["benchmark"], *earlier["benchmark"]], config),
        *find_leaks(earlier["train"], sides["benchmark"], config),
    )


def subjects_of(prompts: pl.DataFrame, facts: Mapping[str, MediaFacts]) -> list[Subject]:
    """Return one subject per prompt, in order. prompts: prompt_id, question (null if unknown) and video."""
    return [
        Subject(
            prompt_id=prompt,
            question=question or "",
            video=public_name(video) if video else None,
            sha256=facts[video].sha256 if video in facts else "",
            phash=facts[video].phash if video in facts else (),
            fingerprint=facts[video].fingerprint if video in facts else b"",
        )
        for prompt, question, video in prompts.select("prompt_id", "question", "video").iter_rows()
    ]


def read_subjects(folder: Path, label: str = "") -> Sides:
    """Return the prompts of a release's folder by side. Raises CurateError if its tables cannot be read."""
    try:
        prompts = pl.read_parquet(folder / f"{PROMPTS}.parquet")
        known: dict[str, dict[str, Any]] = {}
        if (folder / f"{MEDIA}.parquet").exists():
            media = read_table(folder / f"{MEDIA}.parquet").select(["media_sha256", "phash", "fingerprint"]).to_pylist()
            known = {row["media_sha256"]: row for row in media}
            for row in media:
                row |= {
                    "phash": hash_values(row["phash"]),
                    "fingerprint": fingerprint_bytes(row["fingerprint"]),
                }
        rows = prompts.select(
            "prompt_id", "split", "question", video="media_name", sha256="media_sha256", release=pl.lit(label)
        ).to_dicts()
    except (OSError, ValueError, pa.ArrowException, pl.exceptions.PolarsError) as error:
        raise CurateError(f"{folder}: its prompts cannot be read: {error}", hint="curate release verify") from error
    found: Sides = {"train": [], "benchmark": []}
    for row in rows:
        side: Side = "train" if row["split"] == "train" else "benchmark"
        found[side].append(_subject(known.get(row["sha256"], {}) | row))
    return found


def earlier_subjects(ledger: pl.DataFrame, previous: Sequence[Path], beside: Sequence[tuple[Path, Release]]) -> Sides:
    """Return the prompts of earlier releases, each once.

    These are both sides of the folders given, the benchmarks in the store's ledger, and the benchmarks of releases in
    the same folder, which other stores may have made.
    """
    found: Sides = {"train": [], "benchmark": ledger_subjects(ledger)}
    known = {(subject.release, subject.prompt_id) for subject in found["benchmark"]}
    for folder, release in beside:
        own = read_subjects(folder, release.label)["benchmark"]
        found["benchmark"] += [subject for subject in own if (subject.release, subject.prompt_id) not in known]
    known |= {(subject.release, subject.prompt_id) for subject in found["benchmark"]}
    for folder in previous:
        sides = read_subjects(folder, read_release(folder).label)
        found["train"] += sides["train"]
        found["benchmark"] += [s for s in sides["benchmark"] if (s.release, s.prompt_id) not in known]
    return found


def limits_of(subjects: Iterable[Subject]) -> tuple[str, ...]:
    """Return a note for each release that has hashes of its videos but no fingerprints."""
    lacking = Counter(subject.release for subject in subjects if subject.phash and not subject.fingerprint)
    return tuple(
        f"{release} is of an earlier version: {prompts} of its prompts have no fingerprints of their videos, so that "
        "only copies that were re-encoded, scaled or slightly cropped are detected"
        for release, prompts in sorted(lacking.items())
    )


def ledger_subjects(rows: pl.DataFrame) -> list[Subject]:
    """Return the benchmark prompts of the ledger. rows: as of ``curate.store.exports.published``."""
    return [_subject(row) for row in rows.iter_rows(named=True)]


def ledger_rows(label: str, benchmark: Sequence[Subject]) -> pl.DataFrame:
    """Return the rows of the ledger for a release's benchmark."""
    rows = [
        (
            *(label, s.prompt_id, s.question or None, s.video, s.sha256 or None),
            *(list(s.phash) or None, s.fingerprint or None),
        )
        for s in benchmark
    ]
    texts = dict.fromkeys(("release", "prompt_id", "question", "video", "sha256"), pl.String)
    return pl.DataFrame(rows, schema={**texts, "phash": pl.List(pl.UInt64), "fingerprint": pl.Binary}, orient="row")


def _subject(row: Mapping[str, Any]) -> Subject:
    """Return the prompt of a row; without hashes where none are known."""
    return Subject(
        prompt_id=row["prompt_id"],
        question=row["question"] or "",
        video=row["video"],
        sha256=row["sha256"] or "",
        phash=tuple(row.get("phash") or ()),
        fingerprint=row.get("fingerprint") or b"",
        release=row["release"],
    )
