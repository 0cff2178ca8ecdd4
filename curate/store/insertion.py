"""Insert a classified batch into the store: its counts, its votes, control answers and rejects, and its record."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from curate.store.database import SIDE_COUNTS, Store
from curate.store.partitions import add_votes, remove_votes
from curate.store.prompts import PromptChanges, add_mentioned_prompts
from curate.store.staging import NEW_VOTES


@dataclass(frozen=True)
class Inserted:
    """What a batch changed in the store."""

    pairs: int
    """Pairwise votes written."""
    superseded: int
    """Stored votes that newer ones replaced."""
    recovered: int
    """Rows that an earlier ingest rejected and that are votes or duplicates now."""
    new_rejects: int
    controls: int
    """Answers to control questions written."""
    prompts: PromptChanges
    """Prompts and responses that its votes mention."""

    @property
    def changes(self) -> int:
        """The number of changed rows, without prompts and responses."""
        return self.pairs + self.superseded + self.recovered + self.new_rejects + self.controls


def file_counts(store: Store) -> dict[int, dict[str, int]]:
    """Return file_no -> rows, votes, controls, duplicates and rejects of the batch; rows is the sum of the others."""
    rows = store.frame("""
        WITH outcome AS (
            SELECT file_no, coalesce(c.status, 'vote') AS status
            FROM staged LEFT JOIN classified c USING (file_no, line)
            UNION ALL
            SELECT file_no, 'reject' FROM staged_rejects ANTI JOIN classified USING (file_no, line)
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


def reject_reasons(store: Store, *, files: Collection[int]) -> dict[str, int]:
    """Return reason -> rows of these files of the batch (by file_no), the most frequent first."""
    reasons = store.frame(
        """SELECT reason, count(*) AS n FROM staged_rejects WHERE list_contains($files::INTEGER[], file_no)
        GROUP BY reason ORDER BY n DESC, reason""",
        {"files": sorted(files)},
    )
    return dict(reasons.iter_rows())


class Recorded(NamedTuple):
    """The counts of a batch as the store keeps them: rows of a file that was read before count only if recovered."""

    files: dict[int, dict[str, int]]
    """file_no -> its counts."""
    reasons: dict[str, int]
    """Reason -> rejects."""
    recovered: dict[str, int]
    """Reason -> recovered rows, which an earlier batch counts as rejects for it."""


def recorded_counts(store: Store, counts: Mapping[int, dict[str, int]]) -> Recorded:
    """Return what to record of a classified batch, before its insertion. counts: of each file, all its rows."""
    again = store.frame(f"""
        SELECT DISTINCT g.file_no, s.line, r.reason FROM staged_files g JOIN files f USING (sha256)
        LEFT JOIN {_ACCEPTED} s ON s.file_no = g.file_no
        LEFT JOIN rejects r ON r.file_id = f.file_id AND r.line = s.line
    """)
    known, recovered = set(again["file_no"]), again.drop_nulls()
    files = dict(counts)
    for n in known:
        rows = recovered.filter(pl.col("file_no") == n).height
        duplicates = rows - counts[n]["votes"] - counts[n]["controls"]
        files[n] = counts[n] | {"rows": rows, "duplicates": duplicates, "rejects": 0}
    reasons = dict(recovered["reason"].value_counts().sort("reason").iter_rows())
    return Recorded(files, reject_reasons(store, files=counts.keys() - known), reasons)


def files_with_rejects(store: Store, *reasons: str) -> set[str]:
    """Return the digests of the files that have rejects for one of the reasons."""
    query = "SELECT DISTINCT sha256 FROM rejects JOIN files USING (file_id) WHERE list_contains(?, reason)"
    rows = store.frame(query, [list(reasons)])
    return set(rows["sha256"])


@dataclass(frozen=True)
class ReasonCount:
    """The rejects of one file for one reason, before the batch is classified."""

    reason: str
    count: int
    column: str | None
    message: str
    values: tuple[tuple[str, int], ...]
    """The most frequent values and their counts."""


def rejects_of_file(store: Store, file_no: int) -> list[ReasonCount]:
    """Return the rejects of a staged file by reason, the most frequent first; an empty outcome is no answer."""
    rows = store.rows(
        """
        SELECT reason, sum(n)::BIGINT AS count, mode(column_name) AS "column", any_value(message) AS message,
            list({value: value, n: n} ORDER BY n DESC, value)[:6] AS values
        FROM (SELECT CASE WHEN reason = 'unknown-outcome' AND value IS NULL THEN 'no-answer' ELSE reason END AS reason,
                value, any_value(column_name) AS column_name, any_value(message) AS message, count(*) AS n
              FROM staged_rejects WHERE file_no = ? GROUP BY 1, value)
        GROUP BY reason ORDER BY count DESC, reason
        """,
        [file_no],
    )
    return [
        ReasonCount(**{**row, "values": tuple((v["value"], v["n"]) for v in row["values"] if v["value"] is not None)})
        for row in rows
    ]


def vote_facts(store: Store) -> dict[str, int]:
    """Return counts of the batch's new votes: annotators (distinct), anonymous, sides_known."""
    [facts] = store.frame(f"""
        SELECT count(DISTINCT annotator_id) AS annotators, count(*) FILTER (annotator_id IS NULL) AS anonymous,
            count(*) FILTER (sides_known) AS sides_known
        FROM {NEW_VOTES}
    """).to_dicts()
    return facts


def new_votes_by_side(store: Store) -> pl.DataFrame:
    """annotator_id (null: anonymous), left, right, undecided: numbers of the batch's new votes with known sides."""
    return store.frame(f"SELECT annotator_id, {SIDE_COUNTS} FROM {NEW_VOTES} WHERE sides_known GROUP BY annotator_id")


def remapped_rows(store: Store) -> int:
    """Return the number of rows whose line of the same file is stored as another vote: the mapping has changed."""
    if not store.value("SELECT count(*) FROM files SEMI JOIN staged_files USING (sha256)"):
        return 0
    return int(
        store.value("""
            SELECT count(DISTINCT (s.file_no, s.line))
            FROM staged s
            JOIN staged_files USING (file_no)
            JOIN files USING (sha256)
            JOIN votes ON votes.file_id = files.file_id AND votes.line = s.line
            LEFT JOIN classified v ON v.file_no = s.file_no AND v.line = s.line
            WHERE CASE WHEN votes.vote_key <> s.vote_key THEN v.status IS NULL
                ELSE v.status = 'reject' OR votes.sides_known <> s.sides_known END
        """)
    )


def doubtful_repeats(store: Store) -> tuple[int, int]:
    """Return the numbers of rows that may be separate votes which the file's columns do not distinguish.

    (rows that repeat a named annotator's vote, anonymous rows that equal rows of another new file)
    """
    repeats = "SELECT count(*) FROM staged_rejects WHERE reason = 'repeated-vote'"
    equal = """
        SELECT count(*) FROM staged JOIN classified USING (file_no, line)
        WHERE status = 'duplicate' AND occurrence > 1 AND annotator_id IS NOT NULL
    """
    anonymous = """
        SELECT count(*) FROM staged JOIN classified USING (file_no, line) JOIN staged_files f USING (file_no)
        WHERE status = 'duplicate' AND annotator_id IS NULL AND vote_id IS NULL
            AND f.path NOT IN (SELECT path FROM files) AND f.sha256 NOT IN (SELECT sha256 FROM files)
    """
    return int(store.value(repeats)) + int(store.value(equal)), int(store.value(anonymous))


def ids_in_several_forms(store: Store) -> int:
    """Return how many prompts and responses have several ids that differ only in their Unicode form (NFC, NFD)."""
    ids = {"prompts": "prompt_id", "responses": "prompt_id || chr(0) || response_id"}
    found = [
        f"SELECT 1 FROM {table} WHERE strlen({key}) > length({key}) GROUP BY nfc_normalize({key}) HAVING count(*) > 1"
        for table, key in ids.items()
    ]
    return int(store.value(f"SELECT count(*) FROM ({' UNION ALL '.join(found)})"))


def pseudonym_keys(store: Store) -> set[str]:
    """Return the fingerprints of the pseudonym keys of earlier ingests."""
    found = store.frame(
        "SELECT DISTINCT config ->> 'pseudonyms' AS key FROM batches WHERE config ->> 'pseudonyms' <> ''"
    )
    return set(found["key"])


def next_batch(store: Store) -> int:
    """Return the number of the next batch: 1, 2, …"""
    return int(store.value("SELECT coalesce(max(seq), 0) + 1 FROM batches"))


def insert_batch(store: Store, batch_id: str) -> Inserted:
    """Write the classified batch. Call it in the transaction that staged the batch."""
    base = int(store.value("SELECT coalesce(max(file_id), 0) FROM files"))
    prompts = add_mentioned_prompts(store)
    superseded = _supersede(store, batch_id)
    recovered, new_rejects = _write_rejects(store, batch_id, base)
    pairs = _write_votes(store, base)
    return Inserted(pairs, superseded, recovered, new_rejects, _write_controls(store, base), prompts)


def record_batch(
    store: Store, batch_id: str, config: dict[str, Any], counts: dict[str, Any], files: dict[int, dict[str, int]]
) -> None:
    """Write the record of the batch and of its files. files: the counts of each."""
    base = int(store.value("SELECT coalesce(max(file_id), 0) FROM files"))
    store.execute(
        "INSERT INTO batches VALUES (?, ?, ?, ?)",
        [batch_id, next_batch(store), json.dumps(config, sort_keys=True), json.dumps(counts, sort_keys=True)],
    )
    for file_no, found in files.items():
        store.execute(
            "INSERT INTO files SELECT ?, ? + file_no, path, sha256, ? FROM staged_files WHERE file_no = ?",
            [batch_id, base, json.dumps(found, sort_keys=True), file_no],
        )


def _write_votes(store: Store, base: int) -> int:
    """Write pairwise rows and the pairs of K-wise rows, and return how many pairs were written.

    The file's name of a group is unique only for its annotator; without one, only in its file.
    """
    common = "sides_known, annotator_id, voted_at, seconds, weight"
    return add_votes(
        store,
        f"""
        SELECT vote_key, prompt_id, response_left, response_right, outcome, {common},
            CASE WHEN group_id IS NOT NULL
                THEN md5(coalesce(annotator_id, chr(30) || sha256) || chr(31) || group_id) END AS group_id,
            vote_id AS platform_id, $base + file_no AS file_id, line, meta, criterion
        FROM {NEW_VOTES} JOIN staged_files USING (file_no) WHERE ranking IS NULL
        UNION ALL
        SELECT vote_key, prompt_id, p.response_left, p.response_right, p.outcome, {common},
            lower(to_hex(vote_key)), vote_id, $base + file_no, line, meta, criterion
        FROM (SELECT * EXCLUDE (response_left, response_right, outcome) FROM {NEW_VOTES} WHERE ranking IS NOT NULL)
        JOIN staged_pairs p USING (file_no, line)
        """,
        {"base": base},
    )


def _write_controls(store: Store, base: int) -> int:
    """Write the new control answers and return how many. ``base``: the last file_id before this batch."""
    count = int(store.value("SELECT count(*) FROM staged_controls WHERE status = 'control'"))
    if count:
        store.execute(
            """
            INSERT INTO controls
            SELECT control_key, prompt_id, response_left, response_right, outcome, answer, sides_known, annotator_id,
                voted_at, seconds, vote_id, ? + file_no, line, meta, criterion
            FROM staged_controls WHERE status = 'control' ORDER BY file_no, line
            """,
            [base],
        )
    return count


# Staged rows that are votes, control answers or duplicates now.
_ACCEPTED = """(SELECT file_no, line, vote_key FROM staged ANTI JOIN staged_rejects USING (file_no, line)
    UNION ALL SELECT file_no, line, control_key FROM staged_controls)"""

_RECOVERED = f"""
    SELECT r.rowid AS old FROM rejects r
    JOIN files f ON f.file_id = r.file_id
    JOIN staged_files g ON g.sha256 = f.sha256
    JOIN {_ACCEPTED} s ON s.file_no = g.file_no AND s.line = r.line
    UNION
    SELECT r.rowid FROM rejects r JOIN {_ACCEPTED} s ON s.vote_key = r.vote_key
    ANTI JOIN staged_rejects still ON still.vote_key = r.vote_key  -- the duplicate of a row that is rejected again
"""

# Stored rejects of the same row of the same file, or of the file at the same path.
_STORED = """
    SELECT r.rowid AS old, s.file_no, s.line, s.reason = r.reason AS same
    FROM rejects r
    JOIN files f ON f.file_id = r.file_id
    JOIN staged_files g ON g.sha256 = f.sha256 OR g.path = f.path
    JOIN staged_rejects s ON s.file_no = g.file_no AND s.line = r.line
        AND (s.row IS NOT DISTINCT FROM r.row OR s.vote_key = r.vote_key)
"""


def _write_rejects(store: Store, batch_id: str, base: int) -> tuple[int, int]:
    """Write each reject once; return (recovered rows, written rejects).

    ``base``: the last file_id before this batch.
    """
    store.execute(f"CREATE TEMP TABLE stored_rejects AS {_STORED}")
    store.execute(f"CREATE TEMP TABLE recovered AS {_RECOVERED}")
    recovered = int(store.value("SELECT count(*) FROM recovered"))
    before = int(store.value("SELECT count(*) FROM rejects"))
    store.execute("""
        DELETE FROM rejects
        WHERE rowid IN (SELECT old FROM stored_rejects WHERE NOT same UNION ALL SELECT old FROM recovered)
    """)
    gone = before - int(store.value("SELECT count(*) FROM rejects"))
    store.execute(
        """
        INSERT INTO rejects
        SELECT ?, ? + s.file_no, g.path, s.line, s.column_name, s.value, s.reason, s.message, s.row, s.vote_key
        FROM (SELECT * FROM staged_rejects ANTI JOIN (SELECT * FROM stored_rejects WHERE same) USING (file_no, line)) s
        JOIN staged_files g USING (file_no) ORDER BY s.file_no, s.line
        """,
        [batch_id, base],
    )
    written = int(store.value("SELECT count(*) FROM rejects")) - before + gone
    store.execute("DROP TABLE stored_rejects")
    store.execute("DROP TABLE recovered")
    return recovered, written


def _supersede(store: Store, batch_id: str) -> int:
    """Move stored votes that newer votes of the same annotators replace to the rejects, and return how many."""
    store.execute(
        """
        INSERT INTO rejects
        SELECT ?, v.file_id, any_value(f.path), v.line, 'annotator_id', any_value(v.annotator_id), 'repeated-vote',
            format('column ''annotator_id'' holds ''{}'', who voted on these responses again; the later vote counts',
                any_value(v.annotator_id)),
            to_json(list({prompt_id: v.prompt_id, response_left: v.response_left, response_right: v.response_right,
                outcome: v.outcome, annotator_id: v.annotator_id, criterion: v.criterion, voted_at: v.voted_at,
                weight: v.weight})), v.vote_key
        FROM votes v JOIN superseded s USING (vote_key) JOIN files f ON f.file_id = v.file_id
        GROUP BY v.vote_key, v.file_id, v.line
        """,
        [batch_id],
    )
    remove_votes(store)
    return int(store.value("SELECT count(*) FROM superseded"))
