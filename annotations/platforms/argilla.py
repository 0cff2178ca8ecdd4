"""Argilla: records from ``dataset.records.to_list``, flattened (as in a Hub dataset's Parquet) or nested.

Shape: argilla/records/_io/_generic.py of the Argilla SDK 2. A question Q of a flattened record is three lists of equal
length, ``Q.responses``, ``Q.responses.users`` and ``Q.responses.status``, beside fields and metadata under their own
names; a nested record has ``responses: {Q: [{value, user_id}]}``, ``fields`` and ``metadata``. Suggestions come from
models and are not votes. The value of a ranking is a list of {value, rank}; it becomes a K-wise row.

Sides are known only if fields or metadata name left and right.
"""

from __future__ import annotations

import polars as pl

from annotations.platforms.base import (
    SKIPPED,
    Head,
    Platform,
    by_columns,
    first_of,
    reject_where,
    with_data,
    with_missing,
)
from annotations.readers.json_text import query, spread
from annotations.readers.outcomes import outcome_question

END, USERS, STATUS = ".responses", ".responses.users", ".responses.status"
OWN = ("id", "status", "_server_id", "vectors", "metadata", "fields", "responses", "suggestions")
"""Columns of a flattened record that are not data."""
NOT_SUBMITTED = {"draft": "no-answer", "pending": "no-answer", "discarded": "cancelled"}
KEY = ("row", "user")
SAID, DATA = "said:", "data:"
"""Prefixes of columns while rows are put together."""
ROW = pl.int_range(pl.len(), dtype=pl.Int64).alias("row")

_NESTED = """
SELECT row, question, answer ->> '$.user_id' AS user, answer -> '$.value' AS value,
       coalesce(nullif(answer ->> '$.status', ''), 'submitted') AS status, false AS uneven
  FROM (SELECT row, said.key AS question, unnest(objects(said.value)) AS answer
          FROM (SELECT row, unnest(map_entries(entries(responses))) AS said FROM chunk))
"""
"""SQL for the responses of nested records. The SDK omits the status of a response; it exports submitted ones."""
_FLAT = """
SELECT row, ? AS question, unnest(CASE WHEN uneven THEN [NULL] ELSE users END) ->> '$' AS user,
       unnest(CASE WHEN uneven THEN [NULL] ELSE said END) AS value,
       coalesce(unnest(CASE WHEN uneven THEN [NULL] ELSE states END) ->> '$', 'submitted') AS status, uneven
  FROM (SELECT *, len(said) <> len(users) OR len(states) NOT IN (0, len(users)) AS uneven
          FROM (SELECT row, items(said) AS said, items(users) AS users, items(states) AS states FROM chunk))
"""
"""SQL for the responses to one question of flattened records; one row for a record whose lists are uneven."""
_VALUES = """
SELECT * EXCLUDE value, value ->> '$' AS text, json_type(value) = 'ARRAY' AS is_list,
       CASE WHEN json_type(value) = 'ARRAY' THEN list_transform(items(value::VARCHAR), lambda item, place:
            CASE json_type(item) WHEN 'OBJECT' THEN {value: item ->> '$.value', rank: item ->> '$.rank'}
                                 ELSE {value: item ->> '$', rank: place::VARCHAR} END) END AS ranked
  FROM chunk
"""


def _recognizes(head: Head) -> bool:
    flat = any(name.endswith(USERS) and name.removesuffix(".users") in head.columns for name in head.columns)
    return flat or any(
        isinstance(r.get("fields"), dict) and isinstance(r.get("responses"), dict) and "suggestions" in r
        for r in head.records
    )


def _rows(records: pl.DataFrame) -> pl.DataFrame:
    """Return one row per record and user."""
    records = with_missing(records, "id")
    nested = {"fields", "responses"}.issubset(records.columns)
    said = query(_VALUES, chunk=_nested(records) if nested else _flat(records))
    uneven = said.filter("uneven")["row"].unique()
    said = said.filter(~pl.col("row").is_in(uneven.implode())).unique(
        [*KEY, "question"], keep="last", maintain_order=True
    )
    ranked = said.filter("is_list")["question"].unique()
    outcome = outcome_question(said["question"]) or (ranked[0] if len(ranked) == 1 else None)
    users = said.select(KEY).unique(maintain_order=True)
    rows = records.select(ROW).join(users, on="row", how="left", maintain_order="left_right")
    main = said.filter(pl.col("question") == outcome) if outcome else said.clear()
    rows = rows.join(main.drop("question", "uneven"), on=KEY, how="left", nulls_equal=True, maintain_order="left")
    others = said.filter(pl.col("question").ne_missing(outcome))
    if others.height:
        wide = others.pivot("question", index=KEY, values="text", maintain_order=True)
        wide = wide.rename(lambda name: name if name in KEY else f"{SAID}{name}")
        rows = rows.join(wide, on=KEY, how="left", nulls_equal=True, maintain_order="left")
    data = _data(records, nested=nested)
    if data.width:
        rows = rows.hstack(data[rows["row"]].rename(lambda name: f"{DATA}{name}"))
    return _assembled(rows, records["id"][rows["row"]], uneven, outcome)


def _nested(records: pl.DataFrame) -> pl.DataFrame:
    """Return (row, question, user, value, status, uneven) of nested records."""
    return query(_NESTED, chunk=records.select(ROW, "responses"))


def _flat(records: pl.DataFrame) -> pl.DataFrame:
    """Return the same of flattened records."""
    found = []
    for name in records.columns:
        if name.endswith(END):
            question = name.removesuffix(END)
            lists = {"said": name, "users": question + USERS, "states": question + STATUS}
            chunk = records.select(ROW, **{own: first_of(records, column) for own, column in lists.items()})
            found.append(query(_FLAT, [question], chunk=chunk))
    return pl.concat(found) if found else _nested(with_missing(records.head(0), "responses"))


def _data(records: pl.DataFrame, *, nested: bool) -> pl.DataFrame:
    """Return the fields and metadata of records under their own names."""
    if not nested:
        return records.select(n for n in records.columns if n not in OWN and END not in n and ".suggestion" not in n)
    fields, metadata = (spread(with_missing(records, name)[name]) for name in ("fields", "metadata"))
    both = [
        pl.Series(name, metadata[name]).fill_null(fields[name]) for name in metadata.columns if name in fields.columns
    ]
    return fields.hstack(metadata.select(pl.exclude(fields.columns))).with_columns(both)


def _assembled(rows: pl.DataFrame, ids: pl.Series, uneven: pl.Series, outcome: str | None) -> pl.DataFrame:
    """Return rows in our columns. ids: of their records. uneven: records whose lists have different lengths."""
    is_uneven = pl.col("row").is_in(uneven.implode())
    silent = pl.col("user").is_null() & pl.col("status").is_null() & ~is_uneven
    status = pl.col("status").fill_null("submitted")
    state = status.str.to_lowercase()
    not_submitted = [
        (state == name, reason, pl.format("the response is {}", state)) for name, reason in NOT_SUBMITTED.items()
    ]
    columns = {
        "annotator_id": pl.col("user"),
        "argilla.id": pl.lit(ids),
        "argilla.status": status,
        **{name.removeprefix(SAID): pl.col(name) for name in rows.columns if name.startswith(SAID)},
    }
    ranked = pl.col("ranked").list.len().fill_null(0) > 0
    submitted = ~state.is_in(list(NOT_SUBMITTED))
    rankings = rows.filter(submitted, pl.col("user").is_not_null()).select(ranked).to_series()
    if outcome and rankings.any():
        parts = {"responses": "value", "rankings": "rank"}
        columns |= {
            name: pl.when(ranked).then(pl.col("ranked").list.eval(pl.element().struct.field(part)))
            for name, part in parts.items()
        }
    if (outcome or not rows["user"].count()) and not (rankings.any() and rankings.all()):
        columns["outcome"] = pl.when(submitted & ~pl.col("is_list").fill_null(False)).then("text")
    columns |= reject_where(
        (is_uneven, "broken-record", "expected lists of responses, users and statuses of equal length"), *not_submitted
    )
    data = {name.removeprefix(DATA): pl.col(name) for name in rows.columns if name.startswith(DATA)}
    skipped = pl.when(silent).then(pl.lit("records without a response"))
    return rows.select(**with_data(columns, data, "data."), **{SKIPPED: skipped})


PLATFORM = Platform(
    name="argilla",
    description="records of Argilla 2 with a label or a ranking question, flattened or nested: JSON, JSONL, Parquet",
    detected_by="a column Q.responses with Q.responses.users; or records of fields, responses and suggestions",
    sides="known if fields or metadata name left and right; unknown for rankings",
    dropped="suggestions and vectors",
    recognizes=_recognizes,
    read=by_columns(_rows, whole=True, several=True),
)
