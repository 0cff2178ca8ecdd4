"""Temporary tables that hold a batch until every row is classified."""

from __future__ import annotations

import polars as pl

from curate.store.database import Store

# Identity of a vote without a platform id: its content with sides, but without weight and time on task. Absent values
# are spelled out, because concat_ws omits nulls and different rows could become equal.
_JUDGED = "coalesce(ranking, response_left || chr(30) || response_right || chr(30) || outcome)"
_CONTENT = f"""concat_ws(chr(31), prompt_id, {_JUDGED}, sides_known::VARCHAR, coalesce(annotator_id, chr(29)),
    coalesce(epoch_us(voted_at)::VARCHAR, chr(29)))"""
_OF_ANY = f"md5_number(CASE WHEN vote_id IS NULL THEN {_CONTENT} ELSE 'id' || chr(31) || vote_id END)"
_KEY = f"CASE WHEN criterion IS NULL THEN {_OF_ANY} ELSE md5_number(to_hex({_OF_ANY}) || chr(31) || criterion) END"
# Identity of a control answer: its id and its content, because two answers may have one id.
_CONTROL_KEY = """md5_number(concat_ws(chr(31), coalesce(vote_id, chr(29)), prompt_id, response_left, response_right,
    outcome, answer, sides_known::VARCHAR, coalesce(annotator_id, chr(29)),
    coalesce(epoch_us(voted_at)::VARCHAR, chr(29)), criterion))"""

_TABLES = {
    "staged_files": """file_no INTEGER, path VARCHAR, sha256 VARCHAR, prompt_column VARCHAR, id_column VARCHAR,
        annotator_column VARCHAR, first_column VARCHAR, second_column VARCHAR""",
    "staged": """file_no INTEGER, line BIGINT, vote_id VARCHAR, prompt_id VARCHAR, response_left VARCHAR,
        response_right VARCHAR, outcome VARCHAR, sides_known BOOLEAN, annotator_id VARCHAR, voted_at TIMESTAMP,
        seconds DOUBLE, weight DOUBLE, ranking VARCHAR, criterion VARCHAR, group_id VARCHAR, question VARCHAR,
        video VARCHAR, category VARCHAR, model_left VARCHAR, model_right VARCHAR, text_left VARCHAR, text_right VARCHAR,
        meta VARCHAR, vote_key UHUGEINT, occurrence INTEGER""",
    "staged_controls": """file_no INTEGER, line BIGINT, vote_id VARCHAR, prompt_id VARCHAR, response_left VARCHAR,
        response_right VARCHAR, outcome VARCHAR, answer VARCHAR, sides_known BOOLEAN, annotator_id VARCHAR,
        voted_at TIMESTAMP, seconds DOUBLE, meta VARCHAR, criterion VARCHAR, control_key UHUGEINT, status VARCHAR""",
    "staged_pairs": """file_no INTEGER, line BIGINT, response_left VARCHAR, response_right VARCHAR,
        outcome VARCHAR""",
    "staged_rejects": """file_no INTEGER, line BIGINT, column_name VARCHAR, value VARCHAR, reason VARCHAR,
        message VARCHAR, row VARCHAR, vote_key UHUGEINT""",
    "classified": "file_no INTEGER, line BIGINT, status VARCHAR",
    "superseded": "file_id INTEGER, line BIGINT, vote_key UHUGEINT",
}

BYTES_PER_GROUP = 100
"""Of DuckDB's memory for a key by which rows are grouped, with what is kept of them."""
NEW_VOTES = "(SELECT * FROM staged ANTI JOIN classified USING (file_no, line))"
"""The staged rows that are new votes, once all rows are classified; before that, the rows without a class."""
VALID_ROWS = "(SELECT * FROM staged ANTI JOIN staged_rejects USING (file_no, line))"
"""The staged rows that are votes, new or duplicate: their facts about prompts and responses count."""


def create_staging(store: Store) -> None:
    """Create the empty tables for one batch."""
    for table, columns in _TABLES.items():
        store.execute(f"CREATE TEMP TABLE {table} ({columns})")


def drop_staging(store: Store) -> None:
    """Drop the tables."""
    for table in _TABLES:
        store.execute(f"DROP TABLE IF EXISTS temp.{table}")


def stage_file(store: Store, file_no: int, path: str, sha256: str, columns: dict[str, str]) -> None:
    """Add file number ``file_no`` (1, 2, …) of the batch. ``columns``: field -> column, for messages."""
    named = [columns.get(field, field) for field in ("prompt_id", "vote_id", "annotator_id")]
    named += [columns.get(field, columns.get("responses", field)) for field in ("first", "second")]
    store.execute("INSERT INTO staged_files VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [file_no, path, sha256, *named])


def stage_rows(
    store: Store,
    file_no: int,
    *,
    rows: pl.DataFrame,
    pairs: pl.DataFrame,
    controls: pl.DataFrame,
    rejects: pl.DataFrame,
) -> None:
    """Add one chunk: clean rows, the pairs of its K-wise rows, control answers, and the rejects of the rules."""
    store.append("staged", rows, f"{file_no}, *, {_KEY}, 1")
    if pairs.height:
        store.append("staged_pairs", pairs, f"{file_no}, *")
    if controls.height:
        store.append("staged_controls", controls, f"{file_no}, *, {_CONTROL_KEY}, 'control'")
    if rejects.height:
        store.append("staged_rejects", rejects, f"{file_no}, *, NULL")


def slices(store: Store, count: int, key: str) -> list[str]:
    """Return SQL conditions that divide rows by a key, so that DuckDB's memory can group those of one.

    count: of the groups, at least about. The remainder is that of a hash, because DuckDB takes 4 µs to divide an
    integer of 128 bits.
    """
    limit = store.value("SELECT parse_formatted_bytes(current_setting('memory_limit'))")
    parts = 1 + count * BYTES_PER_GROUP // limit
    return [f"hash({key}) % {parts} = {part}" for part in range(parts)]


def find_repeated(store: Store, table: str, rows: str, key: str) -> None:
    """Create a temporary table of the keys that occur more than once among rows."""
    for part, some in enumerate(slices(store, store.value(f"SELECT count(*) FROM {rows}"), key)):
        store.execute(f"""
            {f"INSERT INTO {table}" if part else f"CREATE TEMP TABLE {table} AS"}
            SELECT {key} FROM {rows} WHERE {some} GROUP BY {key} HAVING count(*) > 1
        """)
