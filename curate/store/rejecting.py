"""Rejects: written once however often a file is read, replaced when their reason changes, gone when they are mended."""

from __future__ import annotations

from curate.store.database import Store

# Staged rows that are votes, answers to control questions or duplicates now.
_SETTLED = """(SELECT file_no, line, vote_key FROM staged ANTI JOIN staged_rejects USING (file_no, line)
    UNION ALL SELECT file_no, line, control_key FROM staged_controls)"""

_MENDED = f"""
    SELECT r.rowid AS old FROM rejects r
    JOIN files f ON f.file_id = r.file_id
    JOIN staged_files g ON g.sha256 = f.sha256
    JOIN {_SETTLED} s ON s.file_no = g.file_no AND s.line = r.line
    UNION
    SELECT r.rowid FROM rejects r JOIN {_SETTLED} s ON s.vote_key = r.vote_key
    ANTI JOIN staged_rejects still ON still.vote_key = r.vote_key  -- the duplicate of a row that is rejected again
"""

# A staged reject that the store holds already: the same row of the same file (or of the file at the same path).
_MET = """
    SELECT r.rowid AS old, s.file_no, s.line, s.reason = r.reason AS same
    FROM rejects r
    JOIN files f ON f.file_id = r.file_id
    JOIN staged_files g ON g.sha256 = f.sha256 OR g.path = f.path
    JOIN staged_rejects s ON s.file_no = g.file_no AND s.line = r.line
        AND (s.row IS NOT DISTINCT FROM r.row OR s.vote_key = r.vote_key)
"""


def write_rejects(store: Store, batch_id: str, base: int) -> tuple[int, int]:
    """(earlier rejects whose rows are settled now, rejects written). ``base``: the last file_id before this batch."""
    store.execute(f"CREATE TEMP TABLE met AS {_MET}")
    store.execute(f"CREATE TEMP TABLE mended AS {_MENDED}")
    mended = int(store.value("SELECT count(*) FROM mended"))
    before = int(store.value("SELECT count(*) FROM rejects"))
    store.execute("""
        DELETE FROM rejects
        WHERE rowid IN (SELECT old FROM met WHERE NOT same UNION ALL SELECT old FROM mended)
    """)
    gone = before - int(store.value("SELECT count(*) FROM rejects"))
    store.execute(
        """
        INSERT INTO rejects
        SELECT ?, ? + s.file_no, g.path, s.line, s.column_name, s.value, s.reason, s.message, s.row, s.vote_key
        FROM (SELECT * FROM staged_rejects ANTI JOIN (SELECT * FROM met WHERE same) USING (file_no, line)) s
        JOIN staged_files g USING (file_no) ORDER BY s.file_no, s.line
        """,
        [batch_id, base],
    )
    written = int(store.value("SELECT count(*) FROM rejects")) - before + gone
    store.execute("DROP TABLE met")
    store.execute("DROP TABLE mended")
    return mended, written


def supersede(store: Store, batch_id: str) -> int:
    """Move stored votes that newer votes of the same annotators replace to the rejects; returns how many."""
    store.execute(
        """
        INSERT INTO rejects
        SELECT ?, v.file_id, any_value(f.path), v.line, 'annotator_id', any_value(v.annotator_id), 'repeated-vote',
            format('column ''annotator_id'' holds ''{}'', who voted on these responses again: the later vote stands',
                any_value(v.annotator_id)),
            to_json(list({prompt_id: v.prompt_id, response_left: v.response_left, response_right: v.response_right,
                outcome: v.outcome, annotator_id: v.annotator_id, voted_at: v.voted_at, weight: v.weight})), v.vote_key
        FROM votes v JOIN superseded s USING (vote_key) JOIN files f ON f.file_id = v.file_id
        GROUP BY v.vote_key, v.file_id, v.line
        """,
        [batch_id],
    )
    store.execute("DELETE FROM votes WHERE vote_key IN (SELECT vote_key FROM superseded)")
    return int(store.value("SELECT count(*) FROM superseded"))
