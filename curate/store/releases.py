"""Queries of releases, and the ledger of benchmark prompts that were published from the store."""

from __future__ import annotations

import polars as pl

from curate.store.database import Store
from schemas.manifest import ManifestRun


def prompt_facts(store: Store, run: ManifestRun) -> pl.DataFrame:
    """Return every prompt of the store, sorted by id, with its results in a denoise run (null if it is not in the run).

    prompt_id, question (null if unknown), video, status, votes (used by the run), annotators (anonymous ones count
    once), responses, pairs_covered, pairs_possible, agreement, expected_tau.
    """
    return store.frame(
        """
        WITH voters AS (
            SELECT prompt_id, count(DISTINCT coalesce(annotator_id, '')) AS annotators
            FROM votes JOIN files USING (file_id)
            WHERE $batches IS NULL OR list_contains($batches, batch_id) GROUP BY prompt_id)
        SELECT prompt_id, p.question, p.video, s.status, coalesce(s.votes, 0) AS votes,
            coalesce(v.annotators, 0) AS annotators, s.responses, s.pairs_covered, s.pairs_possible, s.agreement,
            s.expected_tau
        FROM prompts p LEFT JOIN (SELECT * FROM prompt_stats WHERE run_id = $run) s USING (prompt_id)
        LEFT JOIN voters v USING (prompt_id) ORDER BY prompt_id""",
        {"run": run.run, "batches": run.inputs.get("batches")},
    )


def annotators_of(store: Store, prompts: list[str], run: ManifestRun, *, without: list[str]) -> int:
    """Return the number of identified annotators of the run's votes on these prompts. without: excluded annotators."""
    return int(
        store.value(
            """SELECT count(DISTINCT annotator_id) FROM votes JOIN files USING (file_id)
            WHERE prompt_id IN (SELECT unnest($prompts)) AND annotator_id NOT IN (SELECT unnest($without::VARCHAR[]))
                AND ($batches IS NULL OR list_contains($batches, batch_id))""",
            {"prompts": prompts, "batches": run.inputs.get("batches"), "without": without},
        )
    )


def published(store: Store) -> pl.DataFrame:
    """Return the ledger: release, prompt_id, question, video, sha256, phash of every published benchmark prompt."""
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
