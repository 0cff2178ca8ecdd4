"""Vote counts and times per annotator, as stored."""

from __future__ import annotations

import polars as pl

from curate.store.criteria import CRITERION
from curate.store.database import Store

FAST = 1 / 3
"""A task is fast if it takes less than this share of the store's median time."""


def annotator_counts(store: Store, criterion: str = "") -> pl.DataFrame:
    """annotator_id, votes, median_seconds and fast_share of each annotator (null without times), ordered by id.

    votes: pairwise votes, as ``curate status`` counts them. fast_share: share of the tasks with a time that took less
    than FAST × the median of all tasks. A K-wise ranking is one task, with one time for all its pairs. criterion: only
    the votes by it.
    """
    return store.frame(
        f"""
        WITH tasks AS (
            SELECT annotator_id, count(*) AS pairs, any_value(seconds) AS seconds
            FROM votes WHERE $criterion IN ('', {CRITERION}) GROUP BY annotator_id, file_id, line
        )
        SELECT annotator_id, sum(pairs)::BIGINT AS votes, median(seconds) AS median_seconds,
            avg((seconds < $fast * (SELECT median(seconds) FROM tasks))::INTEGER) AS fast_share
        FROM tasks WHERE annotator_id IS NOT NULL GROUP BY annotator_id ORDER BY annotator_id
        """,
        {"fast": FAST, "criterion": criterion},
    )


def control_answers(store: Store, criterion: str = "") -> pl.DataFrame:
    """Return annotator_id, outcome and answer of every control answer of a named annotator, by file and line.

    criterion: only the answers by it or by none; empty: all.
    """
    return store.frame(
        """
        SELECT annotator_id, outcome, answer FROM controls
        WHERE annotator_id IS NOT NULL AND ($criterion = '' OR coalesce(criterion, $criterion) = $criterion)
        ORDER BY file_id, line
        """,
        {"criterion": criterion},
    )
