"""The waiting room of an ingest: temporary tables in which a batch stands until every row has its verdict."""

from __future__ import annotations

import polars as pl

from curate.store.database import Store

# What makes two rows the same vote, where the platform gives them no id. Sides are part of it; weight and time on
# task are not. Absent values are spelled out, since concat_ws would skip them and let unlike rows meet.
_JUDGED = "coalesce(ranking, response_left || chr(30) || response_right || chr(30) || outcome)"
_CONTENT = f"""concat_ws(chr(31), prompt_id, {_JUDGED}, sides_known::VARCHAR, coalesce(annotator_id, chr(29)),
    coalesce(epoch_us(voted_at)::VARCHAR, chr(29)))"""
_KEY = f"md5_number(CASE WHEN vote_id IS NULL THEN {_CONTENT} ELSE 'id' || chr(31) || vote_id END)"
# An answer to a control question is told by all that it says: an id that comes twice may be two answers.
_CONTROL_KEY = """md5_number(concat_ws(chr(31), coalesce(vote_id, chr(29)), prompt_id, response_left, response_right,
    outcome, answer, sides_known::VARCHAR, coalesce(annotator_id, chr(29)),
    coalesce(epoch_us(voted_at)::VARCHAR, chr(29))))"""

_TABLES = """
CREATE TEMP TABLE staged_files (
    file_no INTEGER, path VARCHAR, sha256 VARCHAR, prompt_column VARCHAR, id_column VARCHAR, annotator_column VARCHAR);
CREATE TEMP TABLE staged (
    file_no INTEGER, line BIGINT, vote_id VARCHAR, prompt_id VARCHAR, response_left VARCHAR, response_right VARCHAR,
    outcome VARCHAR, sides_known BOOLEAN, annotator_id VARCHAR, voted_at TIMESTAMP, seconds DOUBLE, weight DOUBLE,
    ranking VARCHAR, question VARCHAR, video VARCHAR, model_left VARCHAR, model_right VARCHAR, text_left VARCHAR,
    text_right VARCHAR, meta VARCHAR, vote_key UHUGEINT, occurrence INTEGER);
CREATE TEMP TABLE staged_controls (
    file_no INTEGER, line BIGINT, vote_id VARCHAR, prompt_id VARCHAR, response_left VARCHAR, response_right VARCHAR,
    outcome VARCHAR, answer VARCHAR, sides_known BOOLEAN, annotator_id VARCHAR, voted_at TIMESTAMP, seconds DOUBLE,
    meta VARCHAR, control_key UHUGEINT, status VARCHAR);
CREATE TEMP TABLE staged_pairs (
    file_no INTEGER, line BIGINT, response_left VARCHAR, response_right VARCHAR, outcome VARCHAR);
CREATE TEMP TABLE staged_rejects (
    file_no INTEGER, line BIGINT, column_name VARCHAR, value VARCHAR, reason VARCHAR, message VARCHAR, row VARCHAR,
    vote_key UHUGEINT);
CREATE TEMP TABLE verdicts (file_no INTEGER, line BIGINT, status VARCHAR);
CREATE TEMP TABLE superseded (file_id INTEGER, line BIGINT, vote_key UHUGEINT);
"""


def open_staging(store: Store) -> None:
    """Empty waiting rooms, for one batch."""
    for statement in _TABLES.split(";"):
        if statement.strip():
            store.execute(statement)


def stage_file(store: Store, file_no: int, path: str, sha256: str, columns: dict[str, str]) -> None:
    """Announce file number ``file_no`` (1, 2, …) of the batch. ``columns``: field -> column, for messages."""
    named = [columns.get(field, field) for field in ("prompt_id", "vote_id", "annotator_id")]
    store.execute("INSERT INTO staged_files VALUES (?, ?, ?, ?, ?, ?)", [file_no, path, sha256, *named])


def stage_controls(store: Store, file_no: int, controls: pl.DataFrame) -> None:
    """Add one chunk's answers to control questions."""
    with store.views(chunk_controls=controls):
        store.execute(
            f"INSERT INTO staged_controls SELECT ?, *, {_CONTROL_KEY}, 'control' FROM chunk_controls", [file_no]
        )


def stage_rows(store: Store, file_no: int, rows: pl.DataFrame, pairs: pl.DataFrame, rejects: pl.DataFrame) -> None:
    """Add one chunk: clean rows, the pairs of its K-wise rows, and what the rules rejected."""
    with store.views(chunk_rows=rows, chunk_pairs=pairs, chunk_rejects=rejects):
        store.execute(f"INSERT INTO staged SELECT ?, *, {_KEY}, 1 FROM chunk_rows", [file_no])
        if pairs.height:
            store.execute("INSERT INTO staged_pairs SELECT ?, * FROM chunk_pairs", [file_no])
        if rejects.height:
            store.execute("INSERT INTO staged_rejects SELECT ?, *, NULL FROM chunk_rejects", [file_no])


def close_staging(store: Store) -> None:
    """Leave nothing behind."""
    for table in (
        "staged_files",
        "staged",
        "staged_controls",
        "staged_pairs",
        "staged_rejects",
        "verdicts",
        "superseded",
    ):
        store.execute(f"DROP TABLE IF EXISTS temp.{table}")
