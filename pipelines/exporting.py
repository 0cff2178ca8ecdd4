"""``curate export``: rankings become training shards or a benchmark, with a card and a manifest."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import polars as pl

from curate.media.locate import why_outside
from curate.release.card import export_card
from curate.sampling.items import Drawn, Fragility, Rule, draw_items, item_statistics
from curate.shards.atomic import describe, finished, publishing, version, write_manifest
from curate.shards.formats import write_jsonl, write_shards
from curate.store import Store
from curate.store.criteria import NO_CRITERION
from curate.store.exports import (
    as_manifest_run,
    assign_splits,
    manifest_batches,
    manifest_run,
    prompts_outside,
    ranked_responses,
)
from curate.store.reporting import criterion_of
from curate.store.runs import Run, recall, record
from pipelines.provenance import code_version, run_id
from schemas.config import ExportConfig
from schemas.errors import ConflictError, CurateError
from schemas.manifest import Ceiling, Manifest, ManifestFile
from schemas.reports import ExportReport
from schemas.tables import SCHEMA_VERSION

Kind = Literal["train", "benchmark"]
OUTSIDE = "prompt: outside (its video's path is absolute or contains '..')"


def export(
    store_path: str | Path,
    kind: Kind,
    *,
    out: str | Path,
    config: ExportConfig = ExportConfig(),
    criterion: str = "",
) -> ExportReport:
    """Write one side of a denoise run, train or benchmark, into the folder ``out``, which appears atomically.

    criterion: of the run; needed if the store has runs by several and the config names none.

    Prompts whose video is named by a path that may leave the media folder are excluded and counted.

    Equal rankings, config and seed give equal bytes. A folder that holds exactly this export is left unchanged. The
    first export of a store fixes its split. Raises CurateError if there is nothing to export, if ``out`` holds anything
    else, or if the split would leak or differs from that of the store.
    """
    out = Path(out)
    rules = rules_of(kind, config)
    present = finished(out)
    with Store.open(store_path) as store:
        with store.transaction():
            config = config.model_copy(update={"run": store.denoise_run(config.run, criterion=criterion)})
            assign_splits(store, config.split)
            ranked = ranked_responses(store, config.run)
            run = _run(kind, config, ranked)
            names = [video for video in ranked["video"].unique() if video and why_outside(video)]
            outside = ranked.filter(pl.col("video").is_in(names))
            ranked = ranked.filter(~pl.col("prompt_id").is_in(outside["prompt_id"].unique().to_list()))
            if present is not None:
                _check_same(out, present, run)
            else:  # inside the transaction, so that an export without items fixes no split
                drawn, counts = draw(ranked, kind, rules, config, unseen=prompts_outside(store, config.run))
                counts |= stated_criterion(store, config.run)
                if found := outside.filter(pl.col("split") == kind)["prompt_id"].n_unique():
                    counts["excluded"][OUTSIDE] = found
                _check_any(store, counts)
        if present is None:
            with publishing(out) as folder:
                manifest = _write(folder, _manifest(store, kind, run, counts), rules, drawn, config)
        newer = store.newer_votes(config.run)
        report = _report(out, present or manifest, reused=present is not None, newer_votes=newer)
        if recall(store, run.run_id) is None:
            record(store, run, report.model_dump(mode="json"))
    return report


def rules_of(kind: Kind, config: ExportConfig) -> tuple[Rule, ...]:
    """Return the sampling rules of an export, the default first. Raises CurateError for a benchmark of pairs only."""
    if kind == "train":
        return (Rule("train", config.responses, config.items_per_prompt, strict=False),)
    if config.responses < 3:
        raise CurateError(
            f"a benchmark item needs 3 responses or more, not {config.responses}",
            hint="a benchmark always has pairs too, as its config pairwise",
        )
    return (
        Rule(f"{config.responses}way", config.responses, config.items_per_prompt, strict=True),
        Rule("pairwise", 2, config.items_per_prompt, strict=True),
    )


def draw(
    ranked: pl.DataFrame,
    kind: Kind,
    rules: tuple[Rule, ...],
    config: ExportConfig,
    *,
    unseen: int,
    fragility: Fragility | None = None,
    min_fragility: int = 0,
    earlier: Mapping[str, pl.DataFrame] = MappingProxyType({}),
) -> tuple[dict[str, pl.DataFrame], dict[str, Any]]:
    """Return the items of each config, and the counts of the manifest.

    excluded: reason -> number; a reason of one of several configs names it. unseen: prompts that are not in the run.
    fragility, min_fragility: as in ``draw_items``. earlier: config -> previous items, whose counts then include
    retired: config -> id -> reason.
    """
    side = ranked.filter(pl.col("split") == kind)
    unranked = side.filter(pl.col("response_id").is_null())
    connected = side.filter(pl.col("component") == 0)
    excluded = Counter({f"prompt: {status}": n for status, n in unranked["status"].value_counts().iter_rows()})
    excluded["prompt: in the other split"] = ranked["prompt_id"].n_unique() - side["prompt_id"].n_unique()
    excluded["prompt: not in the denoise run"] = unseen
    excluded["response: not connected to the others"] = len(side) - len(unranked) - len(connected)
    if not all(rule.repeat_texts for rule in rules):
        texts = connected.select("prompt_id", "text").n_unique()
        excluded["response: equal text of another"] = len(connected) - texts
    drawn = {
        rule.name: draw_items(
            connected,
            rule,
            seed=config.seed,
            min_confidence=config.min_confidence,
            fragility=fragility,
            min_fragility=min_fragility,
            earlier=earlier.get(rule.name),
        )
        for rule in rules
    }
    for name, config_drawn in drawn.items():
        suffix = f" ({name})" if len(rules) > 1 else ""
        excluded.update({reason + suffix: number for reason, number in config_drawn.excluded.items()})
    items = {name: found.items.with_columns(run_id=pl.lit(config.run)) for name, found in drawn.items()}
    figures = {name: item_statistics(found.items) for name, found in drawn.items()}
    return items, {
        "items": {name: len(found.items) for name, found in drawn.items()},
        "candidates": {name: found.candidates for name, found in drawn.items()},
        "eligible": {name: found.eligible for name, found in drawn.items()},
        "difficulty": {name: found["difficulty"] for name, found in figures.items()},
        "confidence": {name: found["confidence"] for name, found in figures.items()},
        "ceiling": {name: _ceiling(found) for name, found in drawn.items()},
        "floor": {name: found["floor"] for name, found in figures.items()},
        "prompts": pl.concat([found["prompt_id"] for found in items.values()]).n_unique(),
        "excluded": dict(sorted((+excluded).items())),
        **({"retired": {name: found.retired for name, found in drawn.items()}} if earlier else {}),
    }


def stated_criterion(store: Store, run_id: str) -> dict[str, str]:
    """Return the criterion of a denoise run as an entry of the counts; none if its votes have no criterion."""
    found = criterion_of(store, run_id)
    return {"criterion": found} if found not in ("", NO_CRITERION) else {}


def _ceiling(drawn: Drawn) -> dict[str, float] | None:
    """Return the score of a judge that knows the true order; None if no item has a best response."""
    if not len(drawn.scores):
        return None
    low, high = np.quantile(drawn.scores, [0.05, 0.95])
    mean = float(drawn.items.select(pl.col("confidence").mean()).item())
    return Ceiling(mean=mean, low=min(low, mean), high=max(high, mean)).model_dump()


def _run(kind: Kind, config: ExportConfig, ranked: pl.DataFrame) -> Run:
    """Return the run of this export. Its inputs have a digest of texts and sides, which the denoise run lacks."""
    document = config.model_dump(mode="json")
    inputs = {"denoise": config.run, "prompts": text_digest(ranked)}
    step = f"export-{kind}"
    return Run(run_id(step, document, inputs), step, document, inputs, code_version(), config.seed)


def text_digest(ranked: pl.DataFrame) -> str:
    """Return the digest of the texts, videos, models and sides of ranked responses."""
    digest = hashlib.sha256()
    columns = ranked.select("prompt_id", "split", "prompt", "video", "response_id", "model", "response")
    for part in columns.iter_slices(100_000):
        digest.update(part.write_ndjson().encode())
    return digest.hexdigest()


def _check_any(store: Store, counts: Mapping[str, Any]) -> None:
    if not any(counts["items"].values()):
        why = "; ".join(f"{reason}: {number}" for reason, number in counts["excluded"].items())
        raise CurateError(
            f"{store.path}: nothing to export ({why or 'the run ranked no prompt'})",
            hint="collect more votes, lower min_confidence, or change benchmark_fraction",
        )


def _check_same(out: Path, present: Manifest, run: Run) -> None:
    if present.run.run != run.run_id:
        raise ConflictError(
            f"{out}: holds another export ({present.kind}, run {present.run.run}), not run {run.run_id}",
            hint="choose another --out, or remove it",
        )


def _manifest(store: Store, kind: Kind, run: Run, counts: dict[str, Any]) -> Manifest:
    """Return the manifest without files."""
    upstream = manifest_run(store, run.inputs["denoise"])
    return Manifest(
        kind=kind,
        schema_version=SCHEMA_VERSION,
        version="",
        run=as_manifest_run(run),
        upstream=(upstream,),
        batches=manifest_batches(store, upstream),
        counts=counts,
        files=(),
    )


def _write(
    folder: Path, manifest: Manifest, rules: tuple[Rule, ...], drawn: Mapping[str, pl.DataFrame], config: ExportConfig
) -> Manifest:
    """Write the export into the folder, its manifest last; return the manifest.

    A config without items gets no files, since datasets cannot load a shard without rows.
    """
    files: list[ManifestFile] = []
    rules = tuple(rule for rule in rules if len(drawn[rule.name]))
    for rule in rules:
        files += write_shards(folder, rule.name, drawn[rule.name], rows_per_shard=config.rows_per_shard)
        files.append(write_jsonl(folder, rule.name, drawn[rule.name]))
    readme = folder / "README.md"
    readme.write_text(export_card(manifest.kind, rules, config=config, counts=manifest.counts), encoding="utf-8")
    files.append(describe(readme))
    manifest = manifest.model_copy(update={"files": tuple(files), "version": version(files)})
    write_manifest(folder, manifest)
    return manifest


def _report(out: Path, manifest: Manifest, *, reused: bool, newer_votes: int) -> ExportReport:
    return ExportReport(
        out=str(out),
        run=manifest.run.run,
        kind=manifest.kind,
        version=manifest.version,
        reused=reused,
        files=len(manifest.files),
        bytes=sum(file.bytes for file in manifest.files),
        newer_votes=newer_votes,
        **manifest.counts,
    )
