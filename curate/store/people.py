"""Annotators as the store knows them: how many votes, and how long they took."""

from __future__ import annotations

import polars as pl

from curate.store.database import Store


def people(store: Store) -> pl.DataFrame:
    """annotator_id, votes, median_seconds (null where no time is known), in the order of their ids.

    votes: pairwise ones, as ``curate status`` counts them. A K-wise ranking took its time once, whatever its pairs.
    """
    return store.frame("""
        SELECT annotator_id, sum(pairs)::BIGINT AS votes, median(seconds) AS median_seconds
        FROM (SELECT annotator_id, count(*) AS pairs, any_value(seconds) AS seconds
              FROM votes WHERE annotator_id IS NOT NULL GROUP BY annotator_id, file_id, line)
        GROUP BY annotator_id ORDER BY annotator_id
    """)
