"""Annotators as the store knows them: how many votes, and how long they took."""

from __future__ import annotations

import polars as pl

from curate.store.database import Store

FAST = 1 / 3
"""A task is fast below this share of the store's median time: half of all people would have to hurry threefold."""


def people(store: Store) -> pl.DataFrame:
    """annotator_id, votes, median_seconds, fast_share (null where no time is known), in the order of their ids.

    votes: pairwise ones, as ``curate status`` counts them. fast_share: of their tasks with a time, those that took less
    than FAST × the median of all tasks. A K-wise ranking is one task that took its time once, whatever its pairs.
    """
    return store.frame(
        """
        WITH tasks AS (
            SELECT annotator_id, count(*) AS pairs, any_value(seconds) AS seconds
            FROM votes GROUP BY annotator_id, file_id, line
        )
        SELECT annotator_id, sum(pairs)::BIGINT AS votes, median(seconds) AS median_seconds,
            avg((seconds < $fast * (SELECT median(seconds) FROM tasks))::INTEGER) AS fast_share
        FROM tasks WHERE annotator_id IS NOT NULL GROUP BY annotator_id ORDER BY annotator_id
        """,
        {"fast": FAST},
    )
