"""The table of the videos and images that the prompts name."""

from __future__ import annotations

import polars as pl

from curate.store.database import Store

UNPROBED = "unprobed"
"""Status of a video that was not probed yet."""


def media_of(store: Store) -> pl.DataFrame:
    """One row per video that prompts name, sorted by ``video``: the columns of table media, and ``prompts``.

    ``status`` is ok, a code of schemas.media.MEDIA_REJECTS, or UNPROBED; unknown properties are null.
    """
    return store.frame(
        f"""SELECT n.video, coalesce(m.path, '') AS path, coalesce(m.status, '{UNPROBED}') AS status,
            coalesce(m.reason, 'not probed yet: curate media probe') AS reason, n.prompts,
            m.* EXCLUDE (video, path, status, reason)
        FROM (SELECT video, count(*) AS prompts FROM prompts WHERE video IS NOT NULL GROUP BY video) n
        LEFT JOIN media m USING (video) ORDER BY n.video"""
    )


def prompts_without_media(store: Store) -> int:
    """Number of prompts that name no video."""
    return int(store.value("SELECT count(*) FROM prompts WHERE video IS NULL"))


def save_media(store: Store, rows: pl.DataFrame) -> None:
    """Replace the rows of some videos. rows: the columns of table media."""
    with store.views(found=rows), store.transaction():
        store.execute("DELETE FROM media WHERE video IN (SELECT video FROM found)")
        store.execute("INSERT INTO media BY NAME SELECT * FROM found ORDER BY video")
