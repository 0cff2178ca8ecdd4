"""Queries of exports and releases, and the split of prompts between training and benchmark."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import PurePath
from types import MappingProxyType
from typing import Any

import polars as pl

from curate.store.criteria import CRITERION
from curate.store.database import RESPONSES, Store
from curate.store.runs import Run
from curate.votes.texts import comparable, first_equal
from schemas.choices import TextComparison
from schemas.config import EARLIER_DENOISE, SplitConfig
from schemas.errors import CurateError
from schemas.manifest import ManifestBatch, ManifestRun

NO_UNITS: Mapping[str, str] = MappingProxyType({})


def assign_splits(
    store: Store, config: SplitConfig, *, units: Mapping[str, str] = NO_UNITS, reserved: Collection[str] = ()
) -> None:
    """Assign a side, train or benchmark, to every prompt that has none. Call it in a transaction.

    Sides are assigned to units: a video, or a prompt without one; units: prompt -> unit of near-duplicates
    (curate.leakage.detect.units). A new unit with a prompt of ``reserved`` (prompts of published benchmarks) is
    assigned to the benchmark, any other new unit by the digest of seed and unit; a prompt of a known unit inherits its
    side. A stored side never changes.
    Raises CurateError if the store was split by another config, or if a video has prompts on both sides (which happens
    if it became known after its prompts were split).
    """
    _check_same_rule(store, config)
    named = pl.DataFrame([*units.items()], schema={"prompt_id": pl.String, "unit": pl.String}, orient="row")
    kept = pl.DataFrame({"prompt_id": sorted(reserved)}, schema={"prompt_id": pl.String})
    with store.views(named_units=named, reserved=kept):
        _assign(store, config)
    _check_undivided(store)


def _assign(store: Store, config: SplitConfig) -> None:
    store.execute(
        """INSERT INTO splits
        WITH units AS (
            SELECT prompt_id, coalesce(n.unit, video, prompt_id) AS unit
            FROM prompts LEFT JOIN named_units n USING (prompt_id)),
        present AS (  -- the side of a unit by its current prompts
            SELECT u.unit, min(s.split) AS split FROM units u JOIN splits s USING (prompt_id) GROUP BY u.unit),
        former AS (  -- and by its former ones
            SELECT unit, min(split) AS split FROM splits GROUP BY unit),
        kept AS (SELECT DISTINCT unit FROM units SEMI JOIN reserved USING (prompt_id)),
        fresh AS (
            SELECT *, ('0x' || substr(sha256($seed || chr(0) || unit), 1, 13))::BIGINT / 16.0 ** 13 AS draw
            FROM units WHERE prompt_id NOT IN (SELECT prompt_id FROM splits))
        SELECT prompt_id, unit,
            coalesce(present.split, former.split,
                CASE WHEN draw < $fraction OR unit IN (SELECT unit FROM kept) THEN 'benchmark' ELSE 'train' END),
            $config
        FROM fresh LEFT JOIN present USING (unit) LEFT JOIN former USING (unit) ORDER BY prompt_id""",
        {"seed": str(config.seed), "fraction": config.benchmark_fraction, "config": config.model_dump_json()},
    )


def _check_same_rule(store: Store, config: SplitConfig) -> None:
    for text in store.frame("SELECT DISTINCT config::VARCHAR AS config FROM splits")["config"]:
        found = SplitConfig.from_stored(text)
        if found != config:
            raise CurateError(
                f"{store.path}: its prompts were split with {_parameters(found)}, not {_parameters(config)}",
                hint="the first export fixes the split, so that no prompt ever changes sides: use its values, or a new "
                "store",
            )


def _parameters(config: SplitConfig) -> str:
    return f"benchmark_fraction {config.benchmark_fraction:g} and seed {config.seed}"


def _check_undivided(store: Store) -> None:
    divided = store.frame(
        """SELECT p.video, list(s.prompt_id || ' (' || s.split || ')' ORDER BY s.split, s.prompt_id) AS prompts
        FROM prompts p JOIN splits s USING (prompt_id) WHERE p.video IS NOT NULL
        GROUP BY p.video HAVING count(DISTINCT s.split) > 1 ORDER BY p.video"""
    )
    if divided.is_empty():
        return
    video, prompts = divided.row(0)
    more = f" (and {len(divided) - 1} more videos)" if len(divided) > 1 else ""
    raise CurateError(
        f"{store.path}: video {video!r} would be in both training and benchmark: {', '.join(prompts)}{more}",
        hint="these prompts were split before their video was known, so that an export would leak. Ingest votes and "
        "prompts with videos into a new store",
    )


def ranked_responses(store: Store, run_id: str) -> pl.DataFrame:
    """Return every response that a denoise run ranked, sorted by prompt_id and response_id.

    prompt_id, status, split, prompt and response (texts; the id if unknown), video, response_id, model, component (0 =
    the largest), rank, score, strength, covariance, place (the response's position in the covariances of its prompt),
    and text, a number that responses of one prompt with equal texts share. A prompt without a ranking has one row, its
    response_id null.
    """
    run = store.run(run_id)
    how: TextComparison = (EARLIER_DENOISE | (run["config"] if run else {}))["text_comparison"]
    ranked = store.frame(
        f"""SELECT s.prompt_id, s.status, d.split, coalesce(p.question, s.prompt_id) AS prompt, p.video,
            k.response_id, r.model, coalesce(r.text, k.response_id) AS response,
            r.text IS NOT NULL AS has_text, k.component, k.rank, k.score, k.strength, k.covariance,
            row_number() OVER (PARTITION BY s.prompt_id ORDER BY k.response_id) - 1 AS place
        FROM prompt_stats s JOIN prompts p USING (prompt_id) JOIN splits d USING (prompt_id)
        LEFT JOIN rankings k ON k.run_id = s.run_id AND k.prompt_id = s.prompt_id
        LEFT JOIN ({RESPONSES}) r ON r.prompt_id = k.prompt_id AND r.response_id = k.response_id
        WHERE s.run_id = ? ORDER BY s.prompt_id, k.response_id""",
        [run_id],
    )
    key = pl.when("has_text").then(comparable(pl.col("response"), how))  # ids are no texts
    text = first_equal(ranked.select("prompt_id", text=key))
    return ranked.with_columns(text=text).drop("has_text")


def prompts_outside(store: Store, run_id: str) -> int:
    """Return the number of prompts that are not in a denoise run."""
    in_run = "(SELECT prompt_id FROM prompt_stats WHERE run_id = ?)"
    return int(store.value(f"SELECT count(*) FROM prompts ANTI JOIN {in_run} USING (prompt_id)", [run_id]))


def as_manifest_run(run: Run) -> ManifestRun:
    """Return a run as an entry of a manifest."""
    return ManifestRun(
        run=run.run_id, step=run.step, config=run.config, inputs=run.inputs, code_version=run.code_version
    )


def manifest_run(store: Store, run_id: str) -> ManifestRun:
    """Return a recorded run as an entry of a manifest."""
    found = store.run(run_id)
    assert found is not None
    return ManifestRun(run=run_id, **{key: found[key] for key in ("step", "config", "inputs", "code_version")})


def manifest_batches(store: Store, run: ManifestRun) -> tuple[ManifestBatch, ...]:
    """Return the ingests behind a run, oldest first: the "batches" of its inputs, or all if it has none."""
    named = run.inputs.get("batches")
    rows = store.frame(
        """SELECT batch_id, counts::VARCHAR AS counts, config::VARCHAR AS config,
            (SELECT list({'path': path, 'sha256': sha256} ORDER BY file_id) FROM files f WHERE f.batch_id = b.batch_id)
                AS files
        FROM batches b ORDER BY seq"""
    )
    return tuple(
        ManifestBatch(
            batch=row["batch_id"],
            files=tuple((PurePath(file["path"]).name, file["sha256"]) for file in row["files"] or ()),
            counts=json.loads(row["counts"]),
            config=_published_config(json.loads(row["config"])),
        )
        for row in rows.to_dicts()
        if named is None or row["batch_id"] in named
    )


def _published_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return the config of an ingest as manifests state it: without what does not change votes, and without folders."""
    kept = {key: value for key, value in config.items() if key not in ("pseudonyms", "limits")}
    for mapping in kept.get("files", ()):
        mapping["match"] = PurePath(mapping["match"]).name
    return kept


def prompt_facts(store: Store, run: ManifestRun) -> pl.DataFrame:
    """Return every prompt of the store, sorted by id, with its results in a denoise run (null if it is not in the run).

    prompt_id, question (null if unknown), video, status, votes (used by the run), annotators (anonymous ones count
    once), responses, pairs_covered, pairs_possible, agreement, expected_tau.
    """
    return store.frame(
        f"""
        WITH voters AS (
            SELECT prompt_id, count(DISTINCT coalesce(annotator_id, '')) AS annotators
            FROM votes JOIN files USING (file_id)
            WHERE ($batches IS NULL OR list_contains($batches, batch_id)) AND $criterion IN ('', {CRITERION})
            GROUP BY prompt_id)
        SELECT prompt_id, p.question, p.video, s.status, coalesce(s.votes, 0) AS votes,
            coalesce(v.annotators, 0) AS annotators, s.responses, s.pairs_covered, s.pairs_possible, s.agreement,
            s.expected_tau
        FROM prompts p LEFT JOIN (SELECT * FROM prompt_stats WHERE run_id = $run) s USING (prompt_id)
        LEFT JOIN voters v USING (prompt_id) ORDER BY prompt_id""",
        {"run": run.run, "batches": run.inputs.get("batches"), "criterion": run.config.get("criterion", "")},
    )


def annotators_of(store: Store, prompts: list[str], run: ManifestRun, *, without: list[str]) -> int:
    """Return the number of identified annotators of the run's votes on these prompts. without: excluded annotators."""
    return int(
        store.value(
            f"""SELECT count(DISTINCT annotator_id) FROM votes JOIN files USING (file_id)
            WHERE prompt_id IN (SELECT unnest($prompts)) AND annotator_id NOT IN (SELECT unnest($without::VARCHAR[]))
                AND ($batches IS NULL OR list_contains($batches, batch_id)) AND $criterion IN ('', {CRITERION})""",
            {
                "prompts": prompts,
                "batches": run.inputs.get("batches"),
                "without": without,
                "criterion": run.config.get("criterion", ""),
            },
        )
    )


def published(store: Store) -> pl.DataFrame:
    """Return the ledger: release, prompt_id, question, video, sha256, phash and fingerprint of every published
    benchmark prompt."""
    return store.frame("SELECT * FROM published ORDER BY release, prompt_id")


def numbers_given(store: Store) -> pl.DataFrame:
    """Return every number given to a release of the store: name, release (1.0.0) and version (of its data; empty if
    only the ledger records it)."""
    return store.frame(
        """
        WITH built AS (
            SELECT DISTINCT report->>'name' AS name, report->>'release' AS release, report->>'version' AS version
            FROM runs WHERE step = 'release' AND report->>'release' <> ''),
        labels AS (
            SELECT DISTINCT regexp_extract(release, '^(.+)-([0-9]+[.][0-9]+[.][0-9]+)$', ['name', 'release']) AS label
            FROM published WHERE regexp_matches(release, '-[0-9]+[.][0-9]+[.][0-9]+$'))
        SELECT * FROM built UNION ALL
        SELECT label.name, label.release, '' FROM labels
        WHERE NOT EXISTS (FROM built b WHERE b.name = label.name AND b.release = label.release)
        ORDER BY name, release, version"""
    )


def publish(store: Store, rows: pl.DataFrame) -> None:
    """Add benchmark prompts to the ledger; entries of a release that are in it already stay unchanged."""
    with store.views(new_published=rows):
        store.execute(
            "INSERT INTO published BY NAME SELECT * FROM new_published "
            "ANTI JOIN published USING (release, prompt_id) ORDER BY release, prompt_id"
        )
