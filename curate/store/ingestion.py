"""Taking a judged batch into the store: what it counts, its votes, and the record of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from curate.store.controls import write_controls
from curate.store.database import Store
from curate.store.rejecting import supersede, write_rejects
from curate.store.subjects import TAKEN, Told, add_mentioned


@dataclass(frozen=True)
class Taken:
    """What a batch brought."""

    pairs: int
    """Pairwise votes written."""
    superseded: int
    """Stored votes that newer ones replaced."""
    mended: int
    """Rows that were rejects before and are votes or duplicates now."""
    new_rejects: int
    controls: int
    """Answers to control questions written."""
    told: Told
    """What its votes told of prompts and responses."""


def file_counts(store: Store) -> dict[int, dict[str, int]]:
    """file_no -> rows, votes, controls, duplicates and rejects of the judged batch. rows is the sum of the others."""
    rows = store.frame("""
        WITH outcome AS (
            SELECT file_no, coalesce(v.status, 'vote') AS status FROM staged LEFT JOIN verdicts v USING (file_no, line)
            UNION ALL
            SELECT file_no, 'reject' FROM staged_rejects ANTI JOIN verdicts USING (file_no, line)
            UNION ALL
            SELECT file_no, status FROM staged_controls
        )
        SELECT f.file_no, count(status) AS rows, count(status) FILTER (status = 'vote') AS votes,
            count(status) FILTER (status = 'control') AS controls,
            count(status) FILTER (status = 'duplicate') AS duplicates,
            count(status) FILTER (status = 'reject') AS rejects
        FROM staged_files f LEFT JOIN outcome USING (file_no) GROUP BY f.file_no ORDER BY f.file_no
    """)
    return {row.pop("file_no"): row for row in rows.to_dicts()}


def reject_reasons(store: Store) -> dict[str, int]:
    """reason -> rows of the judged batch, the most frequent first."""
    reasons = store.frame("SELECT reason, count(*) AS n FROM staged_rejects GROUP BY reason ORDER BY n DESC, reason")
    return dict(reasons.iter_rows())


def vote_facts(store: Store) -> dict[str, int]:
    """Of the batch's new votes: annotators (distinct), anonymous, sides_known."""
    [facts] = store.frame(f"""
        SELECT count(DISTINCT annotator_id) AS annotators, count(*) FILTER (annotator_id IS NULL) AS anonymous,
            count(*) FILTER (sides_known) AS sides_known
        FROM {TAKEN}
    """).to_dicts()
    return facts


def remapped_rows(store: Store) -> int:
    """Rows whose line of the very same file is another vote already: the file is read otherwise than before."""
    if not store.value("SELECT count(*) FROM files SEMI JOIN staged_files USING (sha256)"):
        return 0
    return int(
        store.value("""
            SELECT count(DISTINCT (s.file_no, s.line))
            FROM staged s
            JOIN staged_files USING (file_no)
            JOIN files USING (sha256)
            JOIN votes ON votes.file_id = files.file_id AND votes.line = s.line
            LEFT JOIN verdicts v ON v.file_no = s.file_no AND v.line = s.line
            WHERE CASE WHEN votes.vote_key <> s.vote_key THEN v.status IS NULL
                ELSE v.status = 'reject' OR votes.sides_known <> s.sides_known END
        """)
    )


def doubtful_repeats(store: Store) -> tuple[int, int]:
    """(rows that repeat a named annotator's vote, anonymous rows that equal rows of another file never read before).

    Both may be judgments of their own that the file's columns do not tell apart.
    """
    repeats = "SELECT count(*) FROM staged_rejects WHERE reason = 'repeated-vote'"
    equal = """
        SELECT count(*) FROM staged JOIN verdicts USING (file_no, line)
        WHERE status = 'duplicate' AND occurrence > 1 AND annotator_id IS NOT NULL
    """
    anonymous = """
        SELECT count(*) FROM staged JOIN verdicts USING (file_no, line) JOIN staged_files f USING (file_no)
        WHERE status = 'duplicate' AND annotator_id IS NULL AND vote_id IS NULL
            AND f.path NOT IN (SELECT path FROM files) AND f.sha256 NOT IN (SELECT sha256 FROM files)
    """
    return int(store.value(repeats)) + int(store.value(equal)), int(store.value(anonymous))


def pseudonym_keys(store: Store) -> set[str]:
    """Fingerprints of the keys under which earlier ingests gave people their pseudonyms."""
    found = store.frame(
        "SELECT DISTINCT config ->> 'pseudonyms' AS key FROM batches WHERE config ->> 'pseudonyms' <> ''"
    )
    return set(found["key"])


def next_batch(store: Store) -> int:
    """The number of the next batch: 1, 2, …"""
    return int(store.value("SELECT coalesce(max(seq), 0) + 1 FROM batches"))


def accept(store: Store, batch_id: str) -> Taken:
    """Write the judged batch's votes, rejects, prompts and responses. Belongs in the transaction that staged it."""
    base = int(store.value("SELECT coalesce(max(file_id), 0) FROM files"))
    told = add_mentioned(store)
    superseded = supersede(store, batch_id)
    mended, new_rejects = write_rejects(store, batch_id, base)
    pairs = _write_votes(store, base)
    return Taken(pairs, superseded, mended, new_rejects, write_controls(store, base), told)


def record_batch(store: Store, batch_id: str, config: dict[str, Any], counts: dict[str, Any]) -> None:
    """Write down the batch and its files."""
    base = int(store.value("SELECT coalesce(max(file_id), 0) FROM files"))
    store.execute(
        "INSERT INTO batches VALUES (?, ?, ?, ?)",
        [batch_id, next_batch(store), json.dumps(config, sort_keys=True), json.dumps(counts, sort_keys=True)],
    )
    for file_no, found in file_counts(store).items():
        store.execute(
            "INSERT INTO files SELECT ?, ? + file_no, path, sha256, ? FROM staged_files WHERE file_no = ?",
            [batch_id, base, json.dumps(found, sort_keys=True), file_no],
        )


def _write_votes(store: Store, base: int) -> int:
    """Pairwise rows as they are, K-wise rows as their pairs; returns how many pairs were written."""
    before = int(store.value("SELECT count(*) FROM votes"))
    common = "sides_known, annotator_id, voted_at, seconds, weight"
    store.execute(
        f"""
        INSERT INTO votes
        SELECT vote_key, prompt_id, response_left, response_right, outcome, {common}, NULL, vote_id,
            ? + file_no, line, meta
        FROM {TAKEN} WHERE ranking IS NULL
        """,
        [base],
    )
    store.execute(
        f"""
        INSERT INTO votes
        SELECT vote_key, prompt_id, p.response_left, p.response_right, p.outcome, {common},
            lower(to_hex(vote_key)), vote_id, ? + file_no, line, meta
        FROM (SELECT * EXCLUDE (response_left, response_right, outcome) FROM {TAKEN} WHERE ranking IS NOT NULL)
        JOIN staged_pairs p USING (file_no, line)
        """,
        [base],
    )
    return int(store.value("SELECT count(*) FROM votes")) - before
