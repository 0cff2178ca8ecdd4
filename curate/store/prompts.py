"""Prompts and responses: those from files and those that votes mention."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import polars as pl

from curate.store.database import Store
from curate.store.staging import VALID_ROWS, slices
from schemas.errors import CurateError


@dataclass(frozen=True)
class PromptChanges:
    """What a batch changed in the tables of prompts and responses."""

    prompts: int = 0
    """New prompts."""
    responses: int = 0
    """New responses."""
    updated: int = 0
    """Prompts and responses with new or changed facts."""
    conflicts: int = 0
    """Prompts and responses about which the batch's votes state different facts."""

    def __add__(self, other: PromptChanges) -> PromptChanges:
        pairs = zip(astuple(self), astuple(other), strict=True)
        return PromptChanges(*(a + b for a, b in pairs))


PROMPTS = ("prompts", ("prompt_id",), ("question", "video", "category"))
RESPONSES = ("responses", ("prompt_id", "response_id"), ("model", "text", "meta"))


def write_prompts(store: Store, frame: pl.DataFrame) -> PromptChanges:
    """Write prompts (prompt_id, question, video, category) from a file; their facts replace the stored ones."""
    with store.views(seen=frame):
        store.execute("CREATE TEMP TABLE seen_prompts AS SELECT * FROM seen")
    updated = _update(store, *PROMPTS, from_file=True)
    return PromptChanges(prompts=_add(store, *PROMPTS, from_file=True), updated=updated)


def write_responses(store: Store, frame: pl.DataFrame) -> PromptChanges:
    """Write responses (prompt_id, response_id, model, text, meta) from a file; their facts replace the stored ones."""
    with store.views(seen=frame):
        store.execute("CREATE TEMP TABLE seen_responses AS SELECT * FROM seen")
    updated = _update(store, *RESPONSES, from_file=True)
    return PromptChanges(responses=_add(store, *RESPONSES, from_file=True), updated=updated)


def add_mentioned_prompts(store: Store) -> PromptChanges:
    """Add the prompts and responses that the batch's votes mention, and fill in facts that the store lacks."""
    store.execute(f"""
        CREATE TEMP TABLE seen_prompts AS
        SELECT prompt_id, min(question) AS question, min(video) AS video, min(category) AS category,
            coalesce(min(question) <> max(question), false) OR coalesce(min(video) <> max(video), false)
                OR coalesce(min(category) <> max(category), false) AS conflict
        FROM {VALID_ROWS} GROUP BY prompt_id
    """)
    # Most votes state only the id of a response: then there is nothing to aggregate.
    known = "SELECT count(model_left) + count(model_right) + count(text_left) + count(text_right) FROM staged"
    facts = "NULL AS model, NULL AS text, NULL AS meta, false AS conflict"
    groups = "2 * approx_count_distinct((prompt_id, response_left))"
    if store.value(known):
        groups = "count(*)"  # texts can be long
        facts = """min(model) AS model, min(text) AS text, NULL AS meta,
            coalesce(min(model) <> max(model), false) OR coalesce(min(text) <> max(text), false) AS conflict"""
    count = store.value(f"SELECT {groups} FROM staged")
    for part, some in enumerate(slices(store, count, "prompt_id")):
        rows = f"(FROM {VALID_ROWS} WHERE {some})"
        store.execute(f"""
            {"INSERT INTO seen_responses" if part else "CREATE TEMP TABLE seen_responses AS"}
            SELECT prompt_id, response_id, {facts}
            FROM (
                SELECT prompt_id, response_left AS response_id, model_left AS model, text_left AS text
                FROM {rows} WHERE ranking IS NULL
                UNION ALL
                SELECT prompt_id, response_right, model_right, text_right FROM {rows} WHERE ranking IS NULL
                UNION ALL
                SELECT prompt_id, unnest([p.response_left, p.response_right]), NULL, NULL
                FROM (SELECT file_no, line, prompt_id FROM {rows} WHERE ranking IS NOT NULL)
                JOIN staged_pairs p USING (file_no, line)
            )
            GROUP BY prompt_id, response_id
        """)
    _check_videos(store)
    tables = ("seen_prompts", "seen_responses")
    conflicts = sum(int(store.value(f"SELECT count(*) FROM {table} WHERE conflict")) for table in tables)
    updated = _update(store, *PROMPTS, from_file=False) + _update(store, *RESPONSES, from_file=False)
    prompts, responses = _add(store, *PROMPTS, from_file=False), _add(store, *RESPONSES, from_file=False)
    return PromptChanges(prompts, responses, updated, conflicts)


def _check_videos(store: Store) -> None:
    """Raise CurateError for a prompt with two videos: its votes would be about different things."""
    videos = """
        SELECT prompt_id, video FROM staged WHERE video IS NOT NULL
        UNION SELECT prompt_id, video FROM prompts WHERE video IS NOT NULL
    """
    if not store.value("SELECT count(video) FROM staged"):
        return
    repeated = store.frame(f"""
        SELECT prompt_id, min(video) AS one, max(video) AS other FROM ({videos})
        GROUP BY prompt_id HAVING count(DISTINCT video) > 1 ORDER BY prompt_id
    """)
    if not repeated.is_empty():
        prompt, one, other = repeated.row(0)
        raise CurateError(
            f"{len(repeated)} prompts have two videos, for example {prompt!r}: {one} and {other}",
            hint="a prompt is one video and one question; --map prompt_id=COLUMN names an id for each such pair",
        )


def _update(store: Store, table: str, key: tuple[str, ...], facts: tuple[str, ...], *, from_file: bool) -> int:
    """Update known rows from ``seen_{table}`` and return how many changed.

    Facts from a file replace stored facts; facts from votes only fill in absent ones.
    """
    match = " AND ".join(f"t.{name} = s.{name}" for name in key)
    after = {fact: f"coalesce(s.{fact}, t.{fact})" if from_file else f"coalesce(t.{fact}, s.{fact})" for fact in facts}
    differs = " OR ".join(f"{value} IS DISTINCT FROM t.{fact}" for fact, value in after.items())
    if from_file:
        differs += " OR NOT t.from_file"
    count = int(store.value(f"SELECT count(*) FROM {table} t JOIN seen_{table} s ON {match} WHERE {differs}"))
    if count:
        sets = ", ".join(f"{fact} = {value}" for fact, value in after.items()) + (
            ", from_file = true" if from_file else ""
        )
        store.execute(f"UPDATE {table} t SET {sets} FROM seen_{table} s WHERE {match} AND ({differs})")
    return count


def _add(store: Store, table: str, key: tuple[str, ...], facts: tuple[str, ...], *, from_file: bool) -> int:
    """Add the rows of ``seen_{table}`` that the table lacks, drop ``seen_{table}``, and return how many were added."""
    new = f"FROM seen_{table} ANTI JOIN {table} USING ({', '.join(key)})"
    count = int(store.value(f"SELECT count(*) {new}"))
    columns = ", ".join((*key, *facts))
    rows = f"SELECT {columns}, {from_file} AS from_file {new} ORDER BY {', '.join(key)}"
    store.execute(f"INSERT INTO {table} BY NAME {rows}")
    store.execute(f"DROP TABLE seen_{table}")
    return count
