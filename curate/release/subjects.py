"""The prompts of a release as leakage sees them: from its tables, and from the ledger of what was published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from curate.leakage.detect import Subject
from curate.release.columns import MEDIA, PROMPTS
from curate.release.media import MediaFacts, public_name
from schemas.errors import CurateError
from schemas.release import Side


def subjects_of(prompts: pl.DataFrame, facts: Mapping[str, MediaFacts]) -> list[Subject]:
    """One for each prompt, in order. prompts: prompt_id, question (null: not known) and video."""
    return [
        Subject(
            prompt_id=prompt,
            question=question or "",
            video=public_name(video) if video else None,
            sha256=facts[video].sha256 if video in facts else "",
            phash=facts[video].phash if video in facts else (),
        )
        for prompt, question, video in prompts.select("prompt_id", "question", "video").iter_rows()
    ]


def read_subjects(folder: Path, label: str = "") -> dict[Side, list[Subject]]:
    """The prompts of a release's folder, by side. label: what they are to be told as.

    Raises CurateError where its tables cannot be read.
    """
    try:
        prompts = pl.read_parquet(folder / f"{PROMPTS}.parquet")
        hashes: dict[str, tuple[int, ...]] = {}
        if (folder / f"{MEDIA}.parquet").exists():
            media = pl.read_parquet(folder / f"{MEDIA}.parquet")
            hashes = {sha256: tuple(phash or ()) for sha256, phash in media.select("media_sha256", "phash").iter_rows()}
        rows = prompts.select("prompt_id", "split", "question", "media_name", "media_sha256").to_dicts()
    except (OSError, pl.exceptions.PolarsError) as error:
        raise CurateError(f"{folder}: its prompts cannot be read: {error}", hint="curate release verify") from error
    found: dict[Side, list[Subject]] = {"train": [], "benchmark": []}
    for row in rows:
        found["train" if row["split"] == "train" else "benchmark"].append(
            _subject({**row, "video": row["media_name"], "sha256": row["media_sha256"]}, hashes, label)
        )
    return found


def ledger_subjects(rows: pl.DataFrame) -> list[Subject]:
    """The benchmark prompts of the ledger. rows: as of ``curate.store.releases.published``."""
    return [
        replace(_subject(row, {}, row["release"]), phash=tuple(row["phash"] or ()))
        for row in rows.iter_rows(named=True)
    ]


def ledger_rows(label: str, benchmark: Sequence[Subject]) -> pl.DataFrame:
    """What the ledger is to hold of a release's benchmark."""
    schema: dict[str, pl.DataType | type[pl.DataType]] = {
        "release": pl.String,
        "prompt_id": pl.String,
        "question": pl.String,
        "video": pl.String,
        "sha256": pl.String,
        "phash": pl.List(pl.UInt64),
    }
    rows = [
        {
            "release": label,
            "prompt_id": subject.prompt_id,
            "question": subject.question or None,
            "video": subject.video,
            "sha256": subject.sha256 or None,
            "phash": list(subject.phash) or None,
        }
        for subject in benchmark
    ]
    return pl.DataFrame(rows, schema=schema)


def _subject(row: Mapping[str, Any], hashes: Mapping[str, tuple[int, ...]], label: str) -> Subject:
    sha256 = row["sha256"] or ""
    return Subject(
        prompt_id=row["prompt_id"],
        question=row["question"] or "",
        video=row["video"],
        sha256=sha256,
        phash=hashes.get(sha256, ()),
        release=label,
    )
