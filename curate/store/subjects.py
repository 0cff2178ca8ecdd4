"""Prompts and responses: those that files give, and those that votes mention."""

from __future__ import annotations

import polars as pl

from curate.store.database import Store

TAKEN = "(SELECT * FROM staged ANTI JOIN verdicts USING (file_no, line))"
"""The staged rows that are new votes."""


def give_prompts(store: Store, frame: pl.DataFrame) -> int:
    """Write prompts (prompt_id, question, video) that came from a file; returns how many are new to the store."""
    with store.views(seen=frame):
        store.execute("CREATE TEMP TABLE seen_prompts AS SELECT *, false AS conflict FROM seen")
    store.execute("""
        UPDATE prompts SET question = coalesce(s.question, prompts.question), video = coalesce(s.video, prompts.video),
            given = true
        FROM seen_prompts s WHERE s.prompt_id = prompts.prompt_id
    """)
    return _add_new(store, "prompts", ("prompt_id",), ("question", "video"), given=True)


def give_responses(store: Store, frame: pl.DataFrame) -> int:
    """Write responses (prompt_id, response_id, model, text) that came from a file; returns how many are new."""
    with store.views(seen=frame):
        store.execute("CREATE TEMP TABLE seen_responses AS SELECT *, false AS conflict FROM seen")
    store.execute("""
        UPDATE responses SET model = coalesce(s.model, responses.model), text = coalesce(s.text, responses.text),
            given = true
        FROM seen_responses s WHERE s.prompt_id = responses.prompt_id AND s.response_id = responses.response_id
    """)
    return _add_new(store, "responses", ("prompt_id", "response_id"), ("model", "text"), given=True)


def add_mentioned(store: Store) -> tuple[int, int, int]:
    """(prompts new to the store, responses new to the store, those of which the batch says two things).

    What the new votes mention is added; facts that the store lacks are filled in, facts that it has are kept.
    """
    store.execute(f"""
        CREATE TEMP TABLE seen_prompts AS
        SELECT prompt_id, min(question) AS question, min(video) AS video,
            coalesce(min(question) <> max(question), false) OR coalesce(min(video) <> max(video), false) AS conflict
        FROM {TAKEN} GROUP BY prompt_id
    """)
    # Votes seldom say more of a response than its id: then there is nothing to aggregate.
    known = int(
        store.value("SELECT count(model_left) + count(model_right) + count(text_left) + count(text_right) FROM staged")
    )
    facts = """min(model) AS model, min(text) AS text,
        coalesce(min(model) <> max(model), false) OR coalesce(min(text) <> max(text), false) AS conflict"""
    store.execute(f"""
        CREATE TEMP TABLE seen_responses AS
        SELECT prompt_id, response_id, {facts if known else "NULL AS model, NULL AS text, false AS conflict"}
        FROM (
            SELECT prompt_id, response_left AS response_id, model_left AS model, text_left AS text
            FROM {TAKEN} WHERE ranking IS NULL
            UNION ALL
            SELECT prompt_id, response_right, model_right, text_right FROM {TAKEN} WHERE ranking IS NULL
            UNION ALL
            SELECT prompt_id, unnest([p.response_left, p.response_right]), NULL, NULL
            FROM (SELECT file_no, line, prompt_id FROM {TAKEN} WHERE ranking IS NOT NULL)
            JOIN staged_pairs p USING (file_no, line)
        )
        GROUP BY prompt_id, response_id
    """)
    conflicts = sum(
        int(store.value(f"SELECT count(*) FROM {table} WHERE conflict")) for table in ("seen_prompts", "seen_responses")
    )
    for table, key in (("prompts", ("prompt_id",)), ("responses", ("prompt_id", "response_id"))):
        for fact in {"prompts": ("question", "video"), "responses": ("model", "text")}[table]:
            match = " AND ".join(f"{table}.{name} = s.{name}" for name in key)
            store.execute(
                f"UPDATE {table} SET {fact} = s.{fact} FROM seen_{table} s "
                f"WHERE {match} AND {table}.{fact} IS NULL AND s.{fact} IS NOT NULL"
            )
    prompts = _add_new(store, "prompts", ("prompt_id",), ("question", "video"), given=False)
    responses = _add_new(store, "responses", ("prompt_id", "response_id"), ("model", "text"), given=False)
    return prompts, responses, conflicts


def _add_new(store: Store, table: str, key: tuple[str, ...], facts: tuple[str, ...], *, given: bool) -> int:
    """Add the rows of ``seen_{table}`` that the table lacks, then drop it; returns how many there were."""
    new = f"FROM seen_{table} ANTI JOIN {table} USING ({', '.join(key)})"
    count = int(store.value(f"SELECT count(*) {new}"))
    columns = ", ".join((*key, *facts))
    store.execute(f"INSERT INTO {table} SELECT {columns}, {given} {new} ORDER BY {', '.join(key)}")
    store.execute(f"DROP TABLE seen_{table}")
    return count
