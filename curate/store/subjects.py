"""Prompts and responses: those that files give, and those that votes mention."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import polars as pl

from curate.store.database import Store
from schemas.errors import CurateError

TAKEN = "(SELECT * FROM staged ANTI JOIN verdicts USING (file_no, line))"
"""The staged rows that are new votes."""

SOUND = "(SELECT * FROM staged ANTI JOIN staged_rejects USING (file_no, line))"
"""The staged rows that are votes, new or known: what they say of prompts and responses counts."""


@dataclass(frozen=True)
class Told:
    """What a batch told of prompts and responses."""

    prompts: int = 0
    """New to the store."""
    responses: int = 0
    """New to the store."""
    updated: int = 0
    """Of both, those of which the store now knows more, or something else."""
    conflicts: int = 0
    """Of both, those of which the batch's votes say two things."""

    def __add__(self, other: Told) -> Told:
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Told(*(a + b for a, b in pairs))


PROMPTS = ("prompts", ("prompt_id",), ("question", "video"))
RESPONSES = ("responses", ("prompt_id", "response_id"), ("model", "text"))


def give_prompts(store: Store, frame: pl.DataFrame) -> Told:
    """Write prompts (prompt_id, question, video) that came from a file: what it says replaces what was known."""
    with store.views(seen=frame):
        store.execute("CREATE TEMP TABLE seen_prompts AS SELECT * FROM seen")
    updated = _update(store, *PROMPTS, given=True)
    return Told(prompts=_add(store, *PROMPTS, given=True), updated=updated)


def give_responses(store: Store, frame: pl.DataFrame) -> Told:
    """Write responses (prompt_id, response_id, model, text) that came from a file, in the same way."""
    with store.views(seen=frame):
        store.execute("CREATE TEMP TABLE seen_responses AS SELECT * FROM seen")
    updated = _update(store, *RESPONSES, given=True)
    return Told(responses=_add(store, *RESPONSES, given=True), updated=updated)


def add_mentioned(store: Store) -> Told:
    """Write what the batch's votes mention: what is new is added, facts that the store lacks are filled in."""
    store.execute(f"""
        CREATE TEMP TABLE seen_prompts AS
        SELECT prompt_id, min(question) AS question, min(video) AS video,
            coalesce(min(question) <> max(question), false) OR coalesce(min(video) <> max(video), false) AS conflict
        FROM {SOUND} GROUP BY prompt_id
    """)
    # Votes seldom say more of a response than its id: then there is nothing to aggregate.
    known = "SELECT count(model_left) + count(model_right) + count(text_left) + count(text_right) FROM staged"
    facts = "NULL AS model, NULL AS text, false AS conflict"
    if store.value(known):
        facts = """min(model) AS model, min(text) AS text,
            coalesce(min(model) <> max(model), false) OR coalesce(min(text) <> max(text), false) AS conflict"""
    store.execute(f"""
        CREATE TEMP TABLE seen_responses AS
        SELECT prompt_id, response_id, {facts}
        FROM (
            SELECT prompt_id, response_left AS response_id, model_left AS model, text_left AS text
            FROM {SOUND} WHERE ranking IS NULL
            UNION ALL
            SELECT prompt_id, response_right, model_right, text_right FROM {SOUND} WHERE ranking IS NULL
            UNION ALL
            SELECT prompt_id, unnest([p.response_left, p.response_right]), NULL, NULL
            FROM (SELECT file_no, line, prompt_id FROM {SOUND} WHERE ranking IS NOT NULL)
            JOIN staged_pairs p USING (file_no, line)
        )
        GROUP BY prompt_id, response_id
    """)
    _check_videos(store)
    tables = ("seen_prompts", "seen_responses")
    conflicts = sum(int(store.value(f"SELECT count(*) FROM {table} WHERE conflict")) for table in tables)
    updated = _update(store, *PROMPTS, given=False) + _update(store, *RESPONSES, given=False)
    prompts, responses = _add(store, *PROMPTS, given=False), _add(store, *RESPONSES, given=False)
    return Told(prompts, responses, updated, conflicts)


def _check_videos(store: Store) -> None:
    """Raise CurateError for a prompt with two videos: it would pool votes on unlike things."""
    videos = """
        SELECT prompt_id, video FROM staged WHERE video IS NOT NULL
        UNION SELECT prompt_id, video FROM prompts WHERE video IS NOT NULL
    """
    if not store.value("SELECT count(video) FROM staged"):
        return
    twice = store.frame(f"""
        SELECT prompt_id, min(video) AS one, max(video) AS other FROM ({videos})
        GROUP BY prompt_id HAVING count(DISTINCT video) > 1 ORDER BY prompt_id
    """)
    if not twice.is_empty():
        prompt, one, other = twice.row(0)
        raise CurateError(
            f"{len(twice)} prompts have two videos, for example {prompt!r}: {one} and {other}",
            hint="a prompt is one video and one question: --map prompt_id=COLUMN of an id that tells them apart",
        )


def _update(store: Store, table: str, key: tuple[str, ...], facts: tuple[str, ...], *, given: bool) -> int:
    """Bring known rows up to date from ``seen_{table}``; returns how many change.

    A file's word replaces what was known; a vote's word only fills what was not.
    """
    match = " AND ".join(f"t.{name} = s.{name}" for name in key)
    after = {fact: f"coalesce(s.{fact}, t.{fact})" if given else f"coalesce(t.{fact}, s.{fact})" for fact in facts}
    differs = " OR ".join(f"{value} IS DISTINCT FROM t.{fact}" for fact, value in after.items())
    if given:
        differs += " OR NOT t.given"
    count = int(store.value(f"SELECT count(*) FROM {table} t JOIN seen_{table} s ON {match} WHERE {differs}"))
    if count:
        sets = ", ".join(f"{fact} = {value}" for fact, value in after.items()) + (", given = true" if given else "")
        store.execute(f"UPDATE {table} t SET {sets} FROM seen_{table} s WHERE {match} AND ({differs})")
    return count


def _add(store: Store, table: str, key: tuple[str, ...], facts: tuple[str, ...], *, given: bool) -> int:
    """Add the rows of ``seen_{table}`` that the table lacks, then drop it; returns how many there were."""
    new = f"FROM seen_{table} ANTI JOIN {table} USING ({', '.join(key)})"
    count = int(store.value(f"SELECT count(*) {new}"))
    columns = ", ".join((*key, *facts))
    store.execute(f"INSERT INTO {table} SELECT {columns}, {given} {new} ORDER BY {', '.join(key)}")
    store.execute(f"DROP TABLE seen_{table}")
    return count
