"""The data of the interactive page, as compact JSON: columns over prompts, responses, votes and items."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from curate.evaluation.leaderboard import Leaderboard
from curate.report.prompts import Chosen
from schemas.annotators import AnnotatorRow

MAX_RESPONSES = 60_000
"""Responses on the page; further prompts are counted only."""
MAX_TEXT = 20_000_000
"""Bytes of their texts, before compression."""
MAX_VOTES = 300_000
"""Single votes on the page; of more, only their sums by pair are there."""
MAX_MODELS = 200
"""Models with win rates against each other."""
DIGITS = 4
"""Decimals of strengths, shares and weights."""
ITEM: dict[str, Any] = {
    "item_id": pl.String,
    "prompt_id": pl.String,
    "response_ids": pl.List(pl.String),
    "best": pl.Int32,
    "confidence": pl.Float64,
    "fragility": pl.Int32,
}
"""Columns of an item that the page shows; earlier releases lack the last."""


@dataclass(frozen=True)
class PageMedia:
    """What the page shows of the videos."""

    links: Mapping[str, str]
    """video -> URL of its file, relative to the page."""
    pictures: Mapping[str, bytes]
    """video -> a few frames side by side, or the image; JPEG."""
    errors: Mapping[str, str]
    """video -> why there is no picture."""
    digests: Mapping[str, str]
    """video -> digest of its file and of how pictures are drawn, where it is known."""


NO_MEDIA = PageMedia({}, {}, {}, {})


def listed_prompts(facts: pl.DataFrame, responses: pl.DataFrame, chosen: Sequence[Chosen]) -> pl.DataFrame:
    """Return the facts of the prompts whose responses fit on the page, by id. The chosen ones come before others."""
    size = responses.group_by("prompt_id").agg(bytes=pl.col("text").str.len_bytes().sum())
    first = pl.col("prompt_id").is_in([one.prompt_id for one in chosen])
    ordered = facts.join(size, on="prompt_id", how="left").sort(first, "prompt_id", descending=[True, False])
    fits = pl.col("responses").cast(pl.Int64).cum_sum() <= MAX_RESPONSES
    fits &= pl.col("bytes").fill_null(0).cast(pl.Int64).cum_sum() <= MAX_TEXT
    return ordered.filter(fits).drop("bytes").sort("prompt_id")


def page_data(
    prompts: pl.DataFrame,
    responses: pl.DataFrame,
    votes: pl.DataFrame,
    items: pl.DataFrame,
    *,
    models: Leaderboard | None,
    people: Sequence[AnnotatorRow],
    chosen: Sequence[Chosen],
    media: PageMedia = NO_MEDIA,
) -> dict[str, Any]:
    """Return the document that the script of the page reads.

    Tables are columns. Responses and votes are in the order of the prompts, and a response is referred to by its place
    among those of its prompt. prompts: of ``listed_prompts``; responses: ``ranked_responses``; votes: ``run_votes`` or
    ``pair_votes``; items: ``items_of``.
    """
    own = prompts.select("prompt_id", place=pl.int_range(pl.len()))
    listed = responses.join(own, on="prompt_id", how="inner").sort("place", maintain_order=True)
    listed = listed.with_columns(local=pl.int_range(pl.len()).over("prompt_id"))
    names = models.frame["model"].to_list() if models else []
    names += sorted(set(listed["model"].drop_nulls()) - set(names))
    videos = prompts["video"].drop_nulls().unique(maintain_order=True).to_list()
    number = {name: k for k, name in enumerate(names)}
    annotators = _annotators(people, votes)
    size = listed.group_by("place").len().sort("place")
    return {
        "models": names,
        "wins": _wins(models) if models else None,
        "videos": {
            "name": videos,
            "link": [media.links.get(video) for video in videos],
            "error": [media.errors.get(video) for video in videos],
        },
        "prompts": {
            **_columns(prompts, "prompt_id", "question", "split", "status", "votes", "ties", "pairs_covered"),
            **_columns(prompts, "pairs_possible", "cyclic_triads", "disagreement", "bound", "compared", "expected_tau"),
            "video": _codes(prompts["video"], {video: k for k, video in enumerate(videos)}),
            "size": prompts.select(place=pl.int_range(pl.len())).join(size, on="place", how="left")["len"].to_list(),
            "reason": [{one.prompt_id: one.reason for one in chosen}.get(prompt) for prompt in prompts["prompt_id"]],
        },
        "responses": {
            **_columns(listed, "response_id", "text", "component", "rank", "best_rank", "worst_rank"),
            **_columns(listed, "strength", "strength_se"),
            "model": _codes(listed["model"], number),
        },
        "votes": _votes(votes, own, listed, annotators),
        "items": _items(items, own, listed),
        "annotators": annotators,
    }


def items_of(runs: Sequence[Mapping[str, Any]], run_id: str) -> pl.DataFrame:
    """Return the items of exports and releases of a denoise run, from their files: source, config and ITEM.

    runs: as of ``runs_over``. A folder that was moved or replaced has no items here.
    """
    frames = [pl.DataFrame(schema={"source": pl.String, "config": pl.String, **ITEM})]
    for run in runs:
        report = run["report"]
        source = f"{report['name']} {report['release'] or report['version']}" if "name" in report else "export"
        for config in report.get("items", {}):
            paths = sorted(Path(report["out"]).glob(f"{config}-*-of-*.parquet"))
            known = pl.read_parquet_schema(paths[0]) if paths else {}
            if "response_ids" in known:
                rows = pl.scan_parquet(paths).filter(pl.col("run_id") == run_id)
                rows = rows.select([name for name in ITEM if name in known])
                frames.append(rows.collect().with_columns(source=pl.lit(source), config=pl.lit(config)))
    return pl.concat(frames, how="diagonal_relaxed")


def packed(data: Mapping[str, Any]) -> str:
    """Return the document as JSON, gzip and base64; equal documents give equal text."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode("utf-8", "surrogatepass"), 6, mtime=0)).decode()


def _columns(frame: pl.DataFrame, *names: str) -> dict[str, list[Any]]:
    """Columns as lists: numbers rounded, and those that JSON lacks as null."""
    found: dict[str, list[Any]] = {}
    for name in names:
        column = frame[name]
        if column.dtype.is_float():
            column = frame.select(pl.when(pl.col(name).is_finite()).then(pl.col(name).round(DIGITS)))[name]
        found[name] = column.to_list()
    return found


def _codes(column: pl.Series, number: Mapping[str, int]) -> list[int | None]:
    return column.replace_strict(number, default=None, return_dtype=pl.Int64).to_list()


def _wins(models: Leaderboard) -> dict[str, Any]:
    """Vote weight of the row against the column, standard errors of the differences, and what is significant.

    reach: half the length of a 90% interval, in standard errors.
    """
    count = min(len(models.frame), MAX_MODELS)
    own = models.covariance[:count, :count]
    variance = np.diagonal(own)
    errors = np.sqrt(np.maximum(variance[:, None] + variance[None, :] - 2 * own, 0.0))
    first = models.frame.row(0, named=True)
    known = first["strength_se"] and np.isfinite(first["strength_se"])
    return {
        "won": np.round(models.wins[:count, :count], 2).tolist(),
        "error": [[round(e, DIGITS) if np.isfinite(e) else None for e in row] for row in errors.tolist()],
        "significant": models.significant[:count, :count].astype(int).tolist(),
        "reach": round((first["high"] - first["strength"]) / first["strength_se"], DIGITS) if known else None,
        **_columns(models.frame, "strength", "component"),
    }


def _annotators(people: Sequence[AnnotatorRow], votes: pl.DataFrame) -> dict[str, list[Any]]:
    """The annotators of single votes: id, agreement with others and P(spammer)."""
    if "annotator_id" not in votes.columns:
        return {"id": [], "agreement": [], "p_spammer": []}
    ids = votes["annotator_id"].drop_nulls().unique().sort().to_list()
    known = {row.annotator_id: row for row in people}
    rows = [known.get(name) for name in ids]
    return {
        "id": ids,
        "agreement": [None if row is None or row.agreement is None else round(row.agreement, 3) for row in rows],
        "p_spammer": [None if row is None else round(row.p_spammer, 3) for row in rows],
    }


def _votes(
    votes: pl.DataFrame, prompts: pl.DataFrame, listed: pl.DataFrame, annotators: Mapping[str, list[Any]]
) -> dict[str, Any]:
    """Votes by prompt: number of rows per prompt; places of both responses, and the weights for each and tied.

    Of single votes also the annotator's number, whether both are bad, and whether the first was shown left.
    """
    found = votes.join(prompts, on="prompt_id", how="inner")
    for side in ("first", "second"):
        local = listed.select("prompt_id", pl.col("response_id").alias(side), pl.col("local").alias(f"{side}_at"))
        found = found.join(local, on=["prompt_id", side], how="inner")
    found = found.sort("place", "first_at", "second_at", maintain_order=True)
    size = prompts.join(found.group_by("place").len(), on="place", how="left")["len"].fill_null(0)
    single = {}
    if "annotator_id" in found.columns:
        number = {name: k for k, name in enumerate(annotators["id"])}
        single = {
            "annotator": _codes(found["annotator_id"], number),
            "both_bad": found["both_bad"].cast(pl.Int8).to_list(),
            "first_left": found["first_left"].cast(pl.Int8).to_list(),
        }
    names = ("first_at", "second_at", "for_first", "for_second", "tied")
    return {"size": size.to_list(), **_whole(_columns(found, *names)), **single}


def _whole(columns: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Numbers without a fraction as integers, which are shorter."""
    return {
        name: [int(value) if value == int(value) else value for value in values] for name, values in columns.items()
    }


def _items(items: pl.DataFrame, prompts: pl.DataFrame, listed: pl.DataFrame) -> dict[str, list[Any]]:
    """Items by prompt: source, config, id, places of their responses, labelled best, confidence and fragility."""
    local = listed.select("prompt_id", pl.col("response_id").alias("response_ids"), "local")
    found = items.join(prompts, on="prompt_id", how="inner").with_row_index("row")
    members = found.explode("response_ids").join(local, on=["prompt_id", "response_ids"], how="left")
    places = members.group_by("row", maintain_order=True).agg("local")
    found = found.join(places, on="row", how="left").sort("place", "row")
    return {
        **_columns(found, "source", "config", "item_id", "best", "confidence", "fragility"),
        "prompt": found["place"].to_list(),
        "members": found["local"].to_list(),
    }
