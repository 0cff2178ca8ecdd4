"""What the store knows of the videos and images that its prompts name."""

from __future__ import annotations

import polars as pl

from curate.store.database import Store

UNPROBED = "unprobed"
"""Status of a video that nobody has looked at yet."""

NAMED = "(SELECT video, count(*) AS prompts FROM prompts WHERE video IS NOT NULL GROUP BY video)"
"""The videos that prompts name, and how many prompts do."""


def media_of(store: Store) -> pl.DataFrame:
    """One row for each video that prompts name, sorted by ``video``: the columns of table media, and ``prompts``.

    ``status`` is ok, a code of schemas.media.MEDIA_REJECTS, or UNPROBED; all that is not known is null.
    """
    return store.frame(
        f"""SELECT n.video, coalesce(m.path, '') AS path, coalesce(m.status, '{UNPROBED}') AS status,
            coalesce(m.reason, 'not looked at yet: curate media probe') AS reason, n.prompts,
            m.* EXCLUDE (video, path, status, reason)
        FROM {NAMED} n LEFT JOIN media m USING (video) ORDER BY n.video"""
    )


def prompts_without_video(store: Store) -> int:
    """Prompts that name no video."""
    return int(store.value("SELECT count(*) FROM prompts WHERE video IS NULL"))


def save_media(store: Store, found: pl.DataFrame) -> None:
    """Write what was found out of some videos in place of what was known of them. found: the columns of table media."""
    with store.views(found=found), store.transaction():
        store.execute("DELETE FROM media WHERE video IN (SELECT video FROM found)")
        store.execute("INSERT INTO media BY NAME SELECT * FROM found ORDER BY video")
