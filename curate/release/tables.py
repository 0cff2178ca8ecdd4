"""The tables of a release, read back and compared with what they promise: schemas, labels, sides and formats."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.release.columns import (
    BENCHMARK,
    FULL,
    ITEM_CONFIGS,
    MEDIA,
    PREFERENCES,
    PROMPTS,
    TRAIN_FULL,
    TRAIN_PAIRWISE,
    kind_of,
    schema_of,
    side_of,
)
from curate.release.loading import loader_of, tables_of
from curate.release.preferences import best_of_n, preferences
from curate.shards.tables import official
from schemas.items import JSONL_KEYS
from schemas.release import Finding, Release

Tables = Mapping[str, pl.DataFrame]
"""config -> its rows, as they are in its files; those that could not be read are left out."""


def read_tables(folder: Path, release: Release) -> tuple[dict[str, pl.DataFrame], list[Finding]]:
    """The tables that open and have the columns and rows that the manifest promises; and findings of the others."""
    paths = [file.path for file in release.files]
    rows = {file.path: file.rows for file in release.files}
    loader = loader_of(paths, release.media_as)
    found: dict[str, pl.DataFrame] = {}
    findings: list[Finding] = []
    names = [name for name, count in release.counts["items"].items() if count] + [PROMPTS]
    for name in names + ([MEDIA] if f"{MEDIA}.parquet" in paths else []):
        parts: list[pa.Table] = []
        tables = tables_of(name, paths)
        if not tables:
            findings.append(_finding("tables", name, "the manifest counts its items, but lists no file of it"))
        for path in tables:
            try:
                part = pq.read_table(folder / path)
            except (OSError, pa.ArrowException) as error:
                findings.append(_finding("tables", path, f"does not open as Parquet: {str(error).splitlines()[0]}"))
                continue
            expected = schema_of(name, release.media_as, loader)
            if not part.schema.equals(expected):
                findings.append(_finding("tables", path, f"has other columns: {_difference(part.schema, expected)}"))
            elif part.num_rows != rows.get(path):
                what = f"has {part.num_rows} rows, the manifest says {rows.get(path)}"
                findings.append(_finding("tables", path, what))
            else:
                parts.append(part)
        if parts and len(parts) == len(tables):
            frame = pl.from_arrow(pa.concat_tables(parts))
            assert isinstance(frame, pl.DataFrame)
            found[name] = frame
            count = release.counts["items"].get(name, len(frame))
            if count != len(frame):
                findings.append(_finding("tables", name, f"has {len(frame)} rows, the manifest counts {count} items"))
    return found, findings


def label_findings(tables: Tables) -> Iterator[Finding]:
    """What is inconsistent in the labels: within an item, with the full ranking, and with the split.

    The order of an item's ranks must be that of its prompt's full ranking, whose ranks each config holds again.
    """
    sides, asked = _sides(tables), _asked(tables)
    for name in (name for name in ITEM_CONFIGS if name in tables):
        whole_table = tables.get(TRAIN_FULL if side_of(name) == "train" else FULL)
        full, said = _full_ranks(whole_table), _said(whole_table)
        seen: set[str] = set()
        for number, row in enumerate(tables[name].iter_rows(named=True), start=1):
            where = f"{name}, row {number} ({row['prompt_id']})"
            for what in _row_faults(row):
                yield _finding("labels", where, what)
            if row["item_id"] in seen:
                yield _finding("labels", where, f"item_id {row['item_id']} occurs twice")
            seen.add(row["item_id"])
            for column, told in asked.get(row["prompt_id"], {}).items():
                if row[column] != told:
                    yield _finding("labels", where, f"its {column} is not that of the prompt in prompts.parquet")
            known = said.get(row["prompt_id"], {})
            for response, model, text, score in zip(
                row["response_ids"], row["models"], row["responses"], row["scores"], strict=False
            ):
                if known and known.get(response) != (model, text, score):
                    yield _finding(
                        "labels", where, f"{response} has another model, text or score than in the full ranking"
                    )
            whole = full.get(row["prompt_id"])
            if full and whole is None:
                yield _finding("labels", where, "its prompt has no full ranking")
            elif whole is not None and not _in_order(row["response_ids"], row["ranks"], whole):
                yield _finding("labels", where, f"its ranks {row['ranks']} contradict the prompt's full ranking")
            side = sides.get(row["prompt_id"])
            if sides and side != side_of(name):
                yield _finding("split", where, f"its prompt is on the side {side or 'that prompts.parquet lacks'}")


def _row_faults(row: Mapping[str, object]) -> Iterator[str]:
    ids, ranks, best = row["response_ids"], row["ranks"], row["best"]
    assert isinstance(ids, list)
    assert isinstance(ranks, list)
    for column in ("models", "responses", "scores", "best_probabilities", "ranks"):
        values = row[column]
        if not isinstance(values, list) or len(values) != len(ids):
            yield f"column {column} does not hold one value for each of {len(ids)} responses"
            return
    digest = hashlib.sha256(json.dumps([row["prompt_id"], sorted(ids)]).encode()).hexdigest()[:16]
    if row["item_id"] != digest:
        yield f"item_id {row['item_id']} is not that of its prompt and responses ({digest})"
    order = sorted(ranks)
    if ranks != [1 + order.index(rank) for rank in ranks]:
        yield f"ranks {ranks} are no ranks from 1, equals sharing one"
    scores = row["scores"]
    assert isinstance(scores, list)
    placed = sorted(zip(ranks, scores, strict=True), key=lambda pair: (pair[0], -pair[1]))
    if any(i < j and a < b for (i, a), (j, b) in pairwise(placed)):
        yield "its scores contradict its ranks"
    alone = ranks.index(1) if ranks.count(1) == 1 else None
    if best != alone:
        yield f"best is {best}, its ranks say {alone}"


def _asked(tables: Tables) -> dict[str, dict[str, object]]:
    """prompt -> the question and the digest of the video that every item of it has, as prompts.parquet says."""
    if PROMPTS not in tables:
        return {}
    rows = tables[PROMPTS].select("prompt_id", "question", "media_sha256").iter_rows()
    return {
        prompt: {"media_sha256": sha256, **({"prompt": question} if question is not None else {})}
        for prompt, question, sha256 in rows
    }


def _said(full: pl.DataFrame | None) -> dict[str, dict[str, tuple[object, ...]]]:
    """prompt -> response -> its model, text and score, by the full ranking."""
    if full is None:
        return {}
    rows = full.select("prompt_id", "response_ids", "models", "responses", "scores").iter_rows()
    return {prompt: {r[0]: r[1:] for r in zip(*lists, strict=False)} for prompt, *lists in rows}


def _full_ranks(frame: pl.DataFrame | None) -> dict[str, dict[str, int]]:
    if frame is None:
        return {}
    rows = frame.select("prompt_id", "response_ids", "ranks").iter_rows()
    return {prompt: dict(zip(ids, ranks, strict=False)) for prompt, ids, ranks in rows}


def _in_order(ids: list[str], ranks: list[int], whole: Mapping[str, int]) -> bool:
    if any(response not in whole for response in ids):
        return False
    order = sorted(zip(ranks, (whole[response] for response in ids), strict=False))
    return all((a[0] < b[0]) == (a[1] < b[1]) for a, b in pairwise(order))


def _sides(tables: Tables) -> dict[str, str]:
    return dict(tables[PROMPTS].select("prompt_id", "split").iter_rows()) if PROMPTS in tables else {}


def split_findings(tables: Tables) -> Iterator[Finding]:
    """Prompts of prompts.parquet that occur twice, or without an item."""
    if PROMPTS not in tables:
        return
    prompts = tables[PROMPTS]["prompt_id"]
    for prompt in prompts.filter(prompts.is_duplicated()).unique().sort():
        yield _finding("split", prompt, "occurs twice in prompts.parquet")
    if all(name in tables for name in (TRAIN_FULL, FULL)):
        used = {prompt for name in ITEM_CONFIGS if name in tables for prompt in tables[name]["prompt_id"]}
        for prompt in sorted(set(prompts) - used):
            yield _finding("split", prompt, "is in prompts.parquet, but has no item")


def format_findings(folder: Path, release: Release, tables: Tables) -> Iterator[Finding]:
    """Where the JSONL, the preference pairs or the best-of-N say something else than the items."""
    for name in (name for name in ITEM_CONFIGS if name in tables):
        yield from _jsonl_findings(folder / f"{name}.jsonl", release, tables[name])
    derived = {PREFERENCES: (TRAIN_PAIRWISE, preferences)} | {
        name: (BENCHMARK, best_of_n) for name in tables if kind_of(name) == "best_of"
    }
    for name, (source, make) in derived.items():
        if name not in tables or source not in tables:
            continue
        expected = make(tables[source]).select(tables[name].columns)
        if len(expected) != len(tables[name]):
            yield _finding("formats", name, f"has {len(tables[name])} rows, {source} has {len(expected)}")
            continue
        for number, (is_, should) in enumerate(zip(tables[name].rows(), expected.rows(), strict=True), start=1):
            if is_ != should:
                yield _finding("formats", f"{name}, row {number}", f"does not say what row {number} of {source} says")


def _jsonl_findings(path: Path, release: Release, items: pl.DataFrame) -> Iterator[Finding]:
    try:
        lines = path.read_bytes().removesuffix(b"\n").split(b"\n")
    except OSError:
        return  # the check of files says so
    if len(lines) != len(items):
        yield _finding("formats", path.name, f"has {len(lines)} lines, the Parquet files {len(items)} rows")
        return
    inside = release.media_as == "inside"
    if inside:
        medium = pl.coalesce(pl.col(kind).struct.field("path") for kind in ("video", "image"))
        items = items.with_columns(video=pl.lit("media/") + medium)
    else:
        items = items.with_columns(video=pl.coalesce("video", "image"))
    for number, (line, row) in enumerate(zip(lines, official(items).iter_rows(named=True), strict=True), start=1):
        try:
            told = json.loads(line)
        except ValueError:
            yield _finding("formats", f"{path.name}:{number}", "is not JSON")
            continue
        wrong = [key for key in JSONL_KEYS if not isinstance(told, dict) or told.get(key, ...) != row[key]]
        if wrong or set(told) != set(JSONL_KEYS):
            yield _finding("formats", f"{path.name}:{number}", f"differs from the Parquet row in {', '.join(wrong)}")


def _difference(found: pa.Schema, expected: pa.Schema) -> str:
    have, want = (
        {(field.name, str(field.type).replace("element: ", "item: ")) for field in schema}
        for schema in (found, expected)
    )
    extra, missing = sorted(have - want), sorted(want - have)
    parts = [
        f"{word} {', '.join(f'{n} ({t})' for n, t in some)}"
        for word, some in (("has", extra), ("lacks", missing))
        if some
    ]
    return "; ".join(parts) or "another order"


def _finding(check: str, where: str, what: str) -> Finding:
    return Finding(check=check, where=where, what=what)
