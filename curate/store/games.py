"""The leaderboard of a store: from votes as arrays, or, if they are many, with a part of them in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from math import ceil

import numpy as np
import polars as pl

from curate.array_types import Float
from curate.evaluation.leaderboard import (
    Leaderboard,
    acceptable_sums,
    by_group,
    leaderboard,
    leaderboard_of,
    under_one_another,
)
from curate.evaluation.models import Games
from curate.store.chosen import Numbering, chosen, number_votes
from curate.store.database import Store
from curate.store.failures import StoreError
from curate.store.rankings import label_of, load_votes, no_value

PER_PART = 2_000_000
"""Votes in a part, if no video, prompt or annotator has more."""
SORTED = {"video": "games_by_video", "annotator": "games_by_annotator"}
"""What votes are clustered by -> the table of votes in which the rows of a part are together."""


def store_leaderboard(
    store: Store, *, criterion: str = "", control: Sequence[str] = (), batches: Sequence[str] | None = None
) -> Leaderboard:
    """Return the leaderboard of the votes of a store. Parameters and errors as of ``load_votes``.

    Of more than two million votes, and without ``control``, those in some buckets are in memory at a time, or those on
    some videos or by some annotators. The prior of ``acceptable`` is then that of the votes in memory.
    """
    if not control:
        with stored_games(store, criterion=criterion, batches=batches) as games:
            if games is not None:
                return games.leaderboard()
    return leaderboard(load_votes(store, criterion=criterion, control=control, batches=batches).votes)


def store_leaderboards(store: Store, by: str, *, criterion: str = "", control: Sequence[str] = ()) -> pl.DataFrame:
    """Return the leaderboard of each group of votes, under one another, with the column ``by`` first.

    by: a column of the table prompts, a key of the votes' meta, or "criterion". Otherwise as ``store_leaderboard``.
    """
    if not control:
        with stored_games(store, criterion=criterion, by=by) as games:
            if games is not None:
                return under_one_another(((own.label or "", own.leaderboard()) for own in games.groups()), name=by)
    loaded = load_votes(store, by=by, criterion=criterion, control=control)
    assert loaded.labels is not None
    return by_group(loaded.votes, loaded.labels, name=by)


@dataclass(frozen=True)
class StoredGames:
    """The votes in the table ``games`` of ``stored_games``, or those with one label."""

    store: Store
    names: tuple[str, ...]
    """Of the M models."""
    bounds: tuple[int, ...]
    """Numbers of prompts: a part of the table has those from one bound up to the next."""
    acceptable: Mapping[str | None, Float]
    """Label -> (M,) mean acceptability of each model's responses; None is the label without ``by``. Absent without a
    vote that is ``both_bad``."""
    label: str | None = None

    @property
    def models(self) -> int:
        """M"""
        return len(self.names)

    @cached_property
    def sizes(self) -> dict[str, int]:
        """What votes are clustered by -> the number of clusters."""
        by = "video" if self.store.value("SELECT count(video) FROM prompts") else "prompt"
        return {by: self._count("DISTINCT cluster"), "annotator": self._count("DISTINCT annotator")}

    def parts(self, by: str) -> Iterator[Games]:
        """Return the votes in parts; those of a cluster of this kind are in one part."""
        table, conditions = "games", [f"prompt >= {low} AND prompt < {high}" for low, high in pairwise(self.bounds)]
        if by != "prompt":
            table, every = self._sorted(by), len(conditions)
            step = max(1, int(every * PER_PART / max(1, self._count("*"))))
            conditions = [f"part >= {low} AND part < {low + step}" for low in range(0, every, step)]
        for condition in conditions:
            rows = self._frame(
                f"""* {self._of(table)} AND {condition}
                ORDER BY cluster, annotator, prompt, i, j, sides_known, won, weight"""
            )
            if rows.is_empty():
                continue
            clusters = (np.unique(rows[name], return_inverse=True)[1] for name in ("cluster", "annotator"))
            yield Games(
                models=self.models,
                i=rows["i"].to_numpy().astype(np.int64),
                j=rows["j"].to_numpy().astype(np.int64),
                design=rows["sides_known"].to_numpy().astype(np.float64)[:, None],
                scale=np.ones(1),
                won=rows["won"].to_numpy().astype(np.float64),
                weight=rows["weight"].to_numpy(),
                prompt=rows["prompt"].to_numpy(),
                clusters=dict(zip(self.sizes, clusters, strict=True)),
            )

    def groups(self) -> Iterator[StoredGames]:
        """Return the votes with each label that some of them have."""
        for label in self._frame(f"DISTINCT label {self._of()} AND label IS NOT NULL ORDER BY label")["label"]:
            yield replace(self, label=label)

    def leaderboard(self) -> Leaderboard:
        """Return their leaderboard."""
        acceptable = self.acceptable.get(self.label, np.full(self.models, np.nan))
        excluded = int(self._frame(f"count(*) AS n {self._of(between=False)}")["n"][0])
        return leaderboard_of(self, self.names, acceptable, excluded=excluded)

    def _sorted(self, by: str) -> str:
        """Create a table of all votes, unless it exists, in which the rows of a part are together; return its name."""
        table, number = SORTED[by], "abs(annotator)" if by == "annotator" else "cluster"
        self.store.execute(f"""
            CREATE TEMP TABLE IF NOT EXISTS {table} AS
            SELECT *, ({number} % {len(self.bounds) - 1})::INTEGER AS part FROM games WHERE i >= 0 ORDER BY part
        """)
        return table

    def _count(self, what: str) -> int:
        return int(self._frame(f"count({what}) AS n {self._of()}")["n"][0])

    def _frame(self, query: str) -> pl.DataFrame:
        return self.store.frame(f"SELECT {query}", {} if self.label is None else {"label": self.label})

    def _of(self, table: str = "games", *, between: bool = True) -> str:
        """The SQL of these votes: those between two different known models, or the others."""
        own = "" if self.label is None else " AND label = $label"
        return f"FROM {table} WHERE {'' if between else 'NOT '}i >= 0{own}"


@contextmanager
def stored_games(
    store: Store, *, criterion: str = "", by: str | None = None, batches: Sequence[str] | None = None
) -> Iterator[StoredGames | None]:
    """Create a table ``games`` of the votes by a criterion for the block, one at a time per store.

    The table is filled from some buckets of prompts at a time, so that the join with responses fits into memory. Yields
    None if there are at most two million votes, or no models. Parameters and errors as of ``load_votes``.
    """
    if store.value("SELECT count(*) FROM votes") <= PER_PART:
        yield None
        return
    if by is not None:  # before the table is filled, which can take minutes
        label = label_of(by)
        given = {"by": by} if "$by" in label else {}
        one = f"SELECT 1 FROM votes v JOIN prompts p USING (prompt_id) WHERE {label} IS NOT NULL LIMIT 1"
        if not store.value(f"SELECT count(*) FROM ({one})", given):
            raise no_value(store, by)
    try:
        numbering = number_votes(store, criterion, by=by, batches=batches, digest=False)
        if numbering.votes <= PER_PART or not numbering.models:
            yield None
            return
        every = numbering.buckets
        step = ceil(len(every) * PER_PART / numbering.votes)
        parts = [replace(numbering, buckets=every[at : at + step]) for at in range(0, len(every), step)]
        bounds = _fill(store, parts, by, batches)
        acceptable = _acceptable(store, parts, by, batches)
        yield StoredGames(store, numbering.models, bounds, acceptable)
    finally:
        with suppress(StoreError):  # after an error in the block, which is the one to report
            for table in ("games", *SORTED.values(), "known_models", "known_videos", "known_responses"):
                store.execute(f"DROP TABLE IF EXISTS {table}")


def _fill(store: Store, parts: Sequence[Numbering], by: str | None, batches: Sequence[str] | None) -> tuple[int, ...]:
    """Create the table ``games``, and return the bounds of the prompts of the parts in it."""
    store.execute("""
        CREATE OR REPLACE TEMP TABLE known_models AS SELECT model, row_number() OVER (ORDER BY model) - 1 AS number
        FROM (SELECT DISTINCT model FROM known_responses WHERE model IS NOT NULL)
    """)
    store.execute("""
        CREATE OR REPLACE TEMP TABLE known_videos AS SELECT video, row_number() OVER (ORDER BY video) - 1 AS number
        FROM (SELECT DISTINCT video FROM prompts WHERE video IS NOT NULL)
    """)
    store.execute("""
        CREATE OR REPLACE TEMP TABLE games (i INTEGER, j INTEGER, sides_known BOOLEAN, won FLOAT, both_bad BOOLEAN,
        weight DOUBLE, prompt BIGINT, cluster BIGINT, annotator BIGINT, label VARCHAR)
    """)
    label, bounds = label_of(by), [0]
    given = {"videos": store.value("SELECT count(*) FROM known_videos"), **({"by": by} if "$by" in label else {})}
    for part in parts:
        with chosen(store, by=by, batches=batches, numbering=part):
            store.execute(_INSERT.format(label=label), {**given, "prompts": bounds[-1]})
            bounds.append(bounds[-1] + store.value("SELECT count(*) FROM chosen_prompts"))
    return tuple(bounds)


_INSERT = """
    INSERT INTO games
    SELECT CASE WHEN between THEN i ELSE -1 END, j, sides_known, won, both_bad, weight, prompt, cluster, annotator,
        label
    FROM (
        SELECT lm.number AS i, rm.number AS j, v.sides_known, v.weight, $prompts + c.number AS prompt, {label} AS label,
            coalesce(lm.number <> rm.number, false) AS between, v.outcome = 'both_bad' AS both_bad,
            CASE v.outcome WHEN 'left' THEN 1 WHEN 'right' THEN 0 ELSE 0.5 END AS won,
            coalesce(w.number, $videos + $prompts + c.number) AS cluster,
            -- anonymous annotators: one per group, or per vote
            coalesce(a.number, -1 - (md5_number_lower(coalesce(v.group_id, to_hex(v.vote_key))) >> 2)::BIGINT)
                AS annotator
        FROM chosen_votes v
        JOIN prompts p USING (prompt_id)
        JOIN chosen_prompts c USING (prompt_id)
        JOIN chosen_responses l ON l.prompt_id = v.prompt_id AND l.response_id = v.response_left
        JOIN chosen_responses r ON r.prompt_id = v.prompt_id AND r.response_id = v.response_right
        LEFT JOIN known_models lm ON lm.model = l.model
        LEFT JOIN known_models rm ON rm.model = r.model
        LEFT JOIN known_videos w ON w.video = p.video
        LEFT JOIN chosen_annotators a USING (annotator_id)
    )
"""


def _acceptable(
    store: Store, parts: Sequence[Numbering], by: str | None, batches: Sequence[str] | None
) -> dict[str | None, Float]:
    """Label -> (M,) the mean acceptability of each model's responses, estimated part by part."""
    shares = store.frame(
        "SELECT label, count(*) FILTER (both_bad) / count(*) AS share FROM games GROUP BY label HAVING share > 0"
    )
    of_label = dict(shares.iter_rows())
    sums = {label: np.zeros((2, len(parts[0].models))) for label in of_label if label is not None or by is None}
    for part in parts if sums else ():
        loaded = load_votes(store, by=by, batches=batches, numbering=part)
        for label, own in sums.items():
            votes = loaded.votes
            if by is not None and loaded.labels is not None:
                votes = votes.of_votes((loaded.labels == label).fill_null(False).to_numpy())
            if len(votes.left):
                own += acceptable_sums(votes, of_label[label])
    return {label: total / np.where(count > 0, count, np.nan) for label, (total, count) in sums.items()}
