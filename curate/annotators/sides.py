"""Votes that are nearly all for one side: a mistake in reading a file, or annotators who do not look."""

from __future__ import annotations

import polars as pl

ONE_SIDE = 0.95
"""Share of decisive votes for one side above which all votes are suspect."""
MANY, MANY_OF_ANNOTATOR = 50, 20
"""Decisive votes from which all votes, or those of one annotator, are judged."""


def one_sided(counts: pl.DataFrame) -> dict[str, int]:
    """Return code of a warning -> annotators concerned (0: all votes); empty if there is nothing to warn of.

    counts: annotator_id (null: anonymous), left and right: decisive votes whose sides are known.
    """
    left, right = int(counts["left"].sum()), int(counts["right"].sum())
    if left + right >= MANY and max(left, right) > ONE_SIDE * (left + right):
        return {"one_sided": 0}
    least, most = pl.min_horizontal("left", "right"), pl.max_horizontal("left", "right")
    people = counts.filter(pl.col("annotator_id").is_not_null(), least == 0, most >= MANY_OF_ANNOTATOR).height
    return {"one_sided_annotators": people} if people else {}
