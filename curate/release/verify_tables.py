"""Verification of a release's tables: schemas, labels, sides, and the derived formats."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from curate.release.tables import (
    BENCHMARK,
    FULL,
    ITEM_CONFIGS,
    MEDIA,
    PAIRWISE,
    PROMPTS,
    TRAIN_FULL,
    Tables,
    read_table,
    schema_in,
    side_of,
    tables_of,
)
from curate.shards.formats import derived_format, official
from curate.votes.texts import comparable
from schemas.items import ADDED_COLUMNS, JSONL_KEYS
from schemas.release import Finding, Release

EQUAL = 1e-6
"""Probabilities that differ by less are equal."""


def read_tables(folder: Path, release: Release) -> tuple[dict[str, pl.DataFrame], list[Finding]]:
    """Return the tables with the columns and rows that the manifest states; and findings for the others.

    Each has the columns video and image.
    """
    paths = [file.path for file in release.files]
    rows = {file.path: file.rows for file in release.files}
    found: dict[str, pl.DataFrame] = {}
    findings: list[Finding] = []
    names = [name for name, count in release.counts["items"].items() if count] + [PROMPTS]
    for name in names + ([MEDIA] if f"{MEDIA}.parquet" in paths else []):
        expected = schema_in(release, name)
        if "fragility" not in release.counts:  # of an earlier version
            expected = pa.schema([field for field in expected if field.name not in ADDED_COLUMNS])
        tables = tables_of(name, paths)
        if not tables:
            findings.append(_finding("tables", name, "the manifest counts its items, but lists no file"))
        parts = [_checked(folder, path, expected, rows.get(path)) for path in tables]
        findings += [part for part in parts if isinstance(part, Finding)]
        good = [part for part in parts if isinstance(part, pa.Table)]
        if good and len(good) == len(tables):
            frame = pl.from_arrow(pa.concat_tables(good))
            assert isinstance(frame, pl.DataFrame)
            if "image" not in frame.columns:
                frame = frame.with_columns(image=pl.lit(None, frame.schema["video"]))
            found[name] = frame
            count = release.counts["items"].get(name, len(frame))
            if count != len(frame):
                findings.append(_finding("tables", name, f"has {len(frame)} rows, the manifest counts {count} items"))
    return found, findings


def _checked(folder: Path, path: str, expected: pa.Schema, rows: int | None) -> pa.Table | Finding:
    """Return a file's table, or the finding."""
    try:
        table = read_table(folder / path)
    except (OSError, pa.ArrowException) as error:
        return _finding("tables", path, f"is not readable as Parquet: {str(error).splitlines()[0]}")
    if not table.schema.equals(expected):
        return _finding("tables", path, f"has other columns: {_schema_difference(table.schema, expected)}")
    if table.num_rows != rows:
        return _finding("tables", path, f"has {table.num_rows} rows, the manifest states {rows}")
    return table


def _schema_difference(found: pa.Schema, expected: pa.Schema) -> str:
    has, wants = (
        {(field.name, str(field.type).replace("element: ", "item: ")) for field in schema}
        for schema in (found, expected)
    )
    parts = [
        f"{word} {', '.join(f'{name} ({kind})' for name, kind in sorted(some))}"
        for word, some in (("extra", has - wants), ("missing", wants - has))
        if some
    ]
    return "; ".join(parts) or "another order"


def text_findings(release: Release, tables: Tables) -> Iterator[Finding]:
    """Yield items with two equal texts; of full rankings, which have all responses, those that rank them differently.

    Releases of earlier versions are held to the same rule.
    """
    config = release.upstream[0].config if release.upstream else {}
    how, keep = config.get("text_comparison", "careful"), config.get("equal_texts") == "keep"
    for name, frame in tables.items():
        if name in (PROMPTS, MEDIA) or (name in (TRAIN_FULL, FULL) and keep):
            continue
        full = name in (TRAIN_FULL, FULL)
        # In derived formats an id in place of an unknown text cannot be recognised: only equal bytes count there.
        key = comparable(pl.col("text"), how if name in ITEM_CONFIGS else "exact")
        found = (
            _texts(frame)
            .with_columns(key=pl.when(pl.col("text") != pl.col("id")).then(key))
            .drop_nulls("key")
            .group_by("row", "key")
            .agg(pl.len(), pl.col("prompt_id").first(), pl.col("text").first(), ranks=pl.col("rank").n_unique())
            .filter(pl.col("ranks" if full else "len") > 1)
            .sort("row", "key")
        )
        for row, prompt, text in found.select("row", "prompt_id", "text").iter_rows():
            what = "equal texts have different ranks" if full else "two of its responses have equal texts"
            yield _finding("texts", f"{name}, row {row + 1} ({prompt})", f"{what}: {_shortened(text)}")


def _texts(frame: pl.DataFrame) -> pl.DataFrame:
    """Return row, prompt_id, text, id and rank (empty and null in derived formats) of the texts of a table's rows."""
    frame = frame.with_row_index("row")
    if "ranks" in frame.columns:
        lists = ("responses", "ranks", "response_ids")
        alike = frame.filter(pl.all_horizontal(pl.col(lists).list.len() == pl.col("ranks").list.len()))
        texts = alike.select("row", "prompt_id", text="responses", id="response_ids", rank="ranks")
        return texts.explode("text", "id", "rank")
    both = pl.concat_list("chosen", "rejected")
    if frame.schema["chosen"] != pl.List(pl.String):
        both = both.list.eval(pl.element().struct.field("content"))
    prompt = "prompt_id" if "prompt_id" in frame.columns else "id"
    return frame.select("row", pl.col(prompt).alias("prompt_id"), text=both, id=pl.lit(""), rank=None).explode("text")


def _shortened(text: str, length: int = 60) -> str:
    return repr(text if len(text) <= length else f"{text[:length]}…")


def label_findings(release: Release, tables: Tables) -> Iterator[Finding]:
    """Yield inconsistent labels: within an item, with the prompt's full ranking, and with the split.

    An item's ranks must have the order of its prompt's full ranking.
    """
    prompts = _prompts(tables)
    for name in (name for name in ITEM_CONFIGS if name in tables):
        full = _full_rankings(tables.get(TRAIN_FULL if side_of(name) == "train" else FULL))
        seen: set[str] = set()
        for number, row in enumerate(tables[name].iter_rows(named=True), start=1):
            where = f"{name}, row {number} ({row['prompt_id']})"
            for what in (*_row_errors(row), *_ranking_errors(row, full)):
                yield _finding("labels", where, what)
            if "media_kinds" in release.counts:  # earlier versions promised less
                for what in _probability_errors(row, strict=name in (BENCHMARK, PAIRWISE)):
                    yield _finding("labels", where, what)
            if row["item_id"] in seen:
                yield _finding("labels", where, f"item_id {row['item_id']} is not unique")
            seen.add(row["item_id"])
            known = prompts.get(row["prompt_id"], {"split": None})
            for column in ("media_sha256", "prompt"):
                if column in known and row[column] != known[column]:
                    yield _finding("labels", where, f"its {column} differs from prompts.parquet")
            if prompts and known["split"] != side_of(name):
                side = known["split"] or "missing in prompts.parquet"
                yield _finding("split", where, f"its prompt is on another side: {side}")


def _row_errors(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield inconsistencies within an item."""
    ids, ranks = row["response_ids"], row["ranks"]
    for column in ("models", "responses", "scores", "best_probabilities", "ranks"):
        if not isinstance(row[column], list) or len(row[column]) != len(ids):
            yield f"column {column} does not have one value for each of {len(ids)} responses"
            return
    digest = hashlib.sha256(json.dumps([row["prompt_id"], sorted(ids)]).encode()).hexdigest()[:16]
    if row["item_id"] != digest:
        yield f"item_id {row['item_id']} is not that of its prompt and responses ({digest})"
    order = sorted(ranks)
    if ranks != [1 + order.index(rank) for rank in ranks]:
        yield f"ranks {ranks} do not count from 1 with ties sharing a rank"
    by_rank = sorted(zip(ranks, row["scores"], strict=True), key=lambda pair: (pair[0], -pair[1]))
    if any(i < j and a < b for (i, a), (j, b) in pairwise(by_rank)):
        yield "its scores contradict its ranks"
    best = ranks.index(1) if ranks.count(1) == 1 else None
    if row["best"] != best:
        yield f"best is {row['best']}, by its ranks {best}"
    if best is None and row.get("fragility") is not None:
        yield f"fragility is {row['fragility']}, but it has no best response"


def _probability_errors(row: Mapping[str, Any], *, strict: bool) -> Iterator[str]:
    """Yield contradictions of the probabilities and the label. strict: the label has to be the most probable best."""
    best, values = row["best"], row["best_probabilities"]
    if not isinstance(values, list) or len(values) != len(row["ranks"]) or None in values:
        yield "best_probabilities are not one number for each response"
        return
    if abs(sum(values) - 1) > EQUAL:
        yield f"best_probabilities sum to {sum(values):.6g}"
    if best is None or not 0 <= best < len(values):
        return  # another check compares best with the ranks
    if row["confidence"] is None or abs(row["confidence"] - values[best]) > EQUAL:
        yield f"confidence is {row['confidence']}, the probability of its best {values[best]:.6g}"
    if strict and values[best] < max(values) - EQUAL:
        yield f"best is {best}, but response {values.index(max(values))} is more probably the best"


def _ranking_errors(row: Mapping[str, Any], full: Mapping[str, Mapping[str, tuple[Any, ...]]]) -> Iterator[str]:
    """Yield contradictions of an item to its prompt's full ranking. full: as of ``_full_rankings``."""
    if not full:
        return
    known = full.get(row["prompt_id"])
    if known is None:
        yield "its prompt has no full ranking"
        return
    ids = row["response_ids"]
    for response, *stated in zip(ids, row["models"], row["responses"], row["scores"], strict=False):
        if response not in known or tuple(stated) != known[response][1:]:
            yield f"{response} has another model, text or score than in the full ranking"
    order = sorted(
        (rank, known[response][0]) for response, rank in zip(ids, row["ranks"], strict=False) if response in known
    )
    if any((a[0] < b[0]) != (a[1] < b[1]) for a, b in pairwise(order)) or not known.keys() >= set(ids):
        yield f"its ranks {row['ranks']} contradict the prompt's full ranking"


def _prompts(tables: Tables) -> dict[str, dict[str, Any]]:
    """Return prompt -> its split, the digest of its video, and its question if known, by prompts.parquet."""
    if PROMPTS not in tables:
        return {}
    rows = tables[PROMPTS].select("prompt_id", "split", "question", "media_sha256").iter_rows()
    return {
        prompt: {"split": split, "media_sha256": sha256, **({"prompt": question} if question is not None else {})}
        for prompt, split, question, sha256 in rows
    }


def _full_rankings(full: pl.DataFrame | None) -> dict[str, dict[str, tuple[Any, ...]]]:
    """Return prompt -> response -> its rank, model, text and score in the full ranking."""
    if full is None:
        return {}
    rows = full.select("prompt_id", "response_ids", "ranks", "models", "responses", "scores").iter_rows()
    return {prompt: {r[0]: r[1:] for r in zip(*lists, strict=False)} for prompt, *lists in rows}


def split_findings(tables: Tables) -> Iterator[Finding]:
    """Yield prompts of prompts.parquet that are duplicated or have no item."""
    if PROMPTS not in tables:
        return
    prompts = tables[PROMPTS]["prompt_id"]
    for prompt in prompts.filter(prompts.is_duplicated()).unique().sort():
        yield _finding("split", prompt, "is not unique in prompts.parquet")
    if all(name in tables for name in (TRAIN_FULL, FULL)):
        used = {prompt for name in ITEM_CONFIGS if name in tables for prompt in tables[name]["prompt_id"]}
        for prompt in sorted(set(prompts) - used):
            yield _finding("split", prompt, "is in prompts.parquet, but has no item")


def format_findings(folder: Path, release: Release, tables: Tables) -> Iterator[Finding]:
    """Yield differences of the JSONL and the derived formats from the items."""
    for name in (name for name in ITEM_CONFIGS if name in tables):
        yield from _jsonl_findings(folder / f"{name}.jsonl", release, tables[name])
    for name in tables:
        derived = derived_format(name)
        if derived is None or derived.source not in tables:
            continue
        expected = derived.convert(tables[derived.source]).select(tables[name].columns)
        if len(expected) != len(tables[name]):
            yield _finding("formats", name, f"has {len(tables[name])} rows, {derived.source} has {len(expected)}")
            continue
        for number, (row, wanted) in enumerate(zip(tables[name].rows(), expected.rows(), strict=True), start=1):
            if row != wanted:
                yield _finding("formats", f"{name}, row {number}", f"differs from row {number} of {derived.source}")


def _jsonl_findings(path: Path, release: Release, items: pl.DataFrame) -> Iterator[Finding]:
    try:
        lines = path.read_bytes().removesuffix(b"\n").split(b"\n")
    except OSError:
        return  # reported by the check of files
    if len(lines) != len(items):
        yield _finding("formats", path.name, f"has {len(lines)} lines, the Parquet files {len(items)} rows")
        return
    if release.media_as == "embedded":
        medium = pl.coalesce(pl.col(kind).struct.field("path") for kind in ("video", "image"))
        items = items.with_columns(video=pl.lit("media/") + medium)
    else:
        items = items.with_columns(video=pl.coalesce("video", "image"))
    for number, (line, row) in enumerate(zip(lines, official(items).iter_rows(named=True), strict=True), start=1):
        try:
            stated = json.loads(line)
        except ValueError:
            yield _finding("formats", f"{path.name}:{number}", "is not JSON")
            continue
        wrong = [key for key in JSONL_KEYS if not isinstance(stated, dict) or stated.get(key, ...) != row[key]]
        if wrong or set(stated) != set(JSONL_KEYS):
            yield _finding("formats", f"{path.name}:{number}", f"differs from the Parquet row in {', '.join(wrong)}")


def _finding(check: str, where: str, what: str) -> Finding:
    return Finding(check=check, where=where, what=what)
