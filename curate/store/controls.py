"""Answers to control questions: their outcome was known, so that they say nothing of responses and much of people."""

from __future__ import annotations

import polars as pl

from curate.store.database import Store


def judge_controls(store: Store) -> None:
    """Mark the staged answers that the store or an earlier row of the batch has: duplicates.

    The second, third, ... equal answer of one file is an answer of its own: its key takes in which one it is.
    """
    if not store.value("SELECT count(*) FROM staged_controls"):
        return
    store.execute("""
        CREATE OR REPLACE TEMP TABLE staged_controls AS
        WITH numbered AS (
            SELECT *, row_number() OVER (PARTITION BY file_no, control_key ORDER BY line) AS n FROM staged_controls
        ), keyed AS (
            SELECT * EXCLUDE (control_key, status, n),
                CASE WHEN n = 1 THEN control_key ELSE md5_number(to_hex(control_key) || '#' || n) END AS control_key
            FROM numbered
        )
        SELECT *, CASE WHEN row_number() OVER (PARTITION BY control_key ORDER BY file_no, line) > 1
            OR control_key IN (SELECT control_key FROM controls) THEN 'duplicate' ELSE 'control' END AS status
        FROM keyed
    """)


def write_controls(store: Store, base: int) -> int:
    """Write the new answers; returns how many. ``base``: the last file_id before this batch."""
    count = int(store.value("SELECT count(*) FROM staged_controls WHERE status = 'control'"))
    if count:
        store.execute(
            """
            INSERT INTO controls
            SELECT control_key, prompt_id, response_left, response_right, outcome, answer, sides_known, annotator_id,
                voted_at, seconds, vote_id, ? + file_no, line, meta
            FROM staged_controls WHERE status = 'control' ORDER BY file_no, line
            """,
            [base],
        )
    return count


def control_answers(store: Store) -> pl.DataFrame:
    """annotator_id, outcome, answer of every answer of a named person, in the order of files and lines."""
    return store.frame(
        "SELECT annotator_id, outcome, answer FROM controls WHERE annotator_id IS NOT NULL ORDER BY file_id, line"
    )
