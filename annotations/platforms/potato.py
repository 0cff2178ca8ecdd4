"""Potato: annotated_instances of version 1; user_state.json and the JSONL, CSV and TSV exports of version 2.

Shapes: version 1, save_user_state and save_all_annotations in potato/flask_server.py of davidjurgens/potato: {id,
displayed_text, label_annotations, behavioral_data}, label_annotations {scheme: {label: value}; the table has user,
instance_id and columns scheme:::label. Version 2, to_json in potato/user_state_management.py (one object per annotator,
answers [[{schema, name}, value], …] or {scheme: {label: value} by instance) and potato/export/tabular_exporter.py:
instance_id, user_id and labels, or columns scheme.label.

The pairwise scheme gives {"selection": "A" | "B" | "tie"} or {"scale_value": "-2"}, below 0 for A; radio gives {label:
value}. A is left; where the order was random, the user state has the positions in the task of what was shown first and
second. Potato has only the instance's id: ``curate plan --format potato`` writes the pair into it. The annotator of
version 1's JSONL is the folder that holds it; the store keeps the path of the file and with it the name of that folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import partial

import polars as pl

from annotations.platforms.base import Head, Platform, by_columns, first_of, read_head, reject_where, with_missing
from annotations.readers.files import VoteFile
from annotations.readers.formats import Chunk
from annotations.readers.json_text import query
from annotations.readers.outcomes import outcome_question
from schemas.errors import CurateError

STATE_FILES = ("user_state.json", "annotation_order.txt", "assigned_user_data.json")
"""Files in the folder of one annotator."""
SIDES = {"a": "left", "b": "right", "no preference": "tie", "equal": "tie"}
PAIRWISE = ("selection", "scale_value")
"""Labels that only the pairwise scheme has."""
ID_FIELDS = ("task_id", "prompt_id", "left", "right")
ANSWERS = "instance_id_to_label_to_value"
BY_INSTANCE = {
    "labels": ANSWERS,
    "behaviour": "instance_id_to_behavioral_data",
    "orders": "instance_id_to_presentation_order",
}
"""Our column -> key of a user state that holds an object by instance."""
SHOWN = ("left", "right")
LISTED = 6
"""Labels of a scheme that a message lists."""
UNITS = (86400, 3600, 60, 1)
DURATION = r"(?:(\d+)d )?(?:(\d+)h )?(?:(\d+)m )?(\d+)s"

_LABELS = """
SELECT row, said.scheme, said.label, said.value::VARCHAR AS value, said.value ->> '$' AS text FROM (
    SELECT row, unnest(CASE WHEN starts_with(labels, '[') THEN
        list_transform(TRY(from_json(labels, '[["JSON"]]')), lambda x:
            {scheme: x[1] ->> '$.schema', label: x[1] ->> '$.name', value: x[2]})
        ELSE flatten(list_transform(map_entries(entries(labels)), lambda s: coalesce(nullif(
            list_transform(map_entries(entries(s.value)), lambda x: {scheme: s.key, label: x.key, value: x.value}), []),
            [{scheme: s.key, label: NULL, value: NULL}]))) END) AS said FROM chunk)
"""
"""SQL for (row, scheme, label, value as JSON, text); a scheme without an answer has only null after its name."""
_AS_OBJECTS = """
SELECT row, scheme, json_group_object(label, value::JSON)::VARCHAR AS said FROM chunk GROUP BY ALL ORDER BY ALL
"""
_FACTS = """
SELECT parts, TRY_CAST(behaviour ->> '$.total_time_ms' AS DOUBLE) / 1000 AS seconds,
       behaviour ->> '$.time_string' AS time_string,
       list_max(list_transform(list_filter(objects(behaviour ->> '$.annotation_changes'),
            lambda x: x ->> '$.schema_name' = ?), lambda x: TRY_CAST(x ->> '$.timestamp' AS DOUBLE))) AS voted_at,
       coalesce(TRY(from_json(entries(orders)[?], '["INTEGER"]')) = [1, 0], false) AS swapped
  FROM (SELECT list_transform(string_split(instance, '~'), lambda x: coalesce(TRY(url_decode(x)), x)) AS parts,
               CASE WHEN json_valid(behaviour) THEN behaviour END AS behaviour, orders FROM chunk)
"""


def _recognizes(head: Head) -> bool:
    table = head.has("user", "instance_id") and any(":::" in name for name in head.columns)
    exported = head.has("user_id", "instance_id") and any("." in name for name in head.columns)
    if table or (exported and head.format == "csv"):
        return True
    items = any(head.has(*keys) for keys in (("id", "label_annotations"), ("instance_id", "user_id", "labels")))
    return head.format in ("json", "jsonl") and (items or head.has("user_id", ANSWERS))


def _read(file: VoteFile, now: datetime) -> Iterator[Chunk]:
    folder = file.path.resolve().parent
    owner = folder.name if any((folder / name).exists() for name in STATE_FILES) else None
    states = read_head(file).has(ANSWERS)
    yield from by_columns(partial(_rows, file, owner), whole=True, several=states)(file, now)


def _rows(file: VoteFile, owner: str | None, records: pl.DataFrame) -> pl.DataFrame:
    """Return one row per instance and annotator."""
    states = ANSWERS in records.columns
    records = _by_instance(records) if states else records
    records = with_missing(records, "orders").with_columns(
        first_of(records, "instance_id", "id").fill_null("").alias("instance"),
        first_of(records, "labels", "label_annotations").alias("labels"),
        first_of(records, "behaviour", "behavioral_data").alias("behaviour"),
        pl.coalesce(first_of(records, "user", "user_id"), pl.lit(owner, pl.String)).alias("annotator_id"),
    )
    said = _answers(records)
    pairwise = said.filter(pl.col("label").is_in(PAIRWISE))
    outcome = outcome_question((said if pairwise.is_empty() else pairwise)["scheme"].drop_nulls().unique().sort())
    facts = query(_FACTS, [outcome, outcome], chunk=records.select("instance", "behaviour", "orders"))
    task = facts["parts"].list.len() == len(ID_FIELDS)
    if states and pairwise.is_empty() and not task.any():
        _refuse(file, said)
    return pl.concat([_task(records, facts, task), _answered(said, outcome, records.height)], how="horizontal")


def _refuse(file: VoteFile, said: pl.DataFrame) -> None:
    labels = said.drop_nulls("label").group_by("scheme").agg(pl.col("label").unique().sort()).sort("scheme")
    listed = ", ".join(f"{scheme} ({', '.join(words[:LISTED])})" for scheme, words in labels.iter_rows())
    raise CurateError(
        f"{file}: no votes here: no annotation scheme is pairwise; it has {listed or 'no answers'}",
        hint="omit this file; Potato writes votes for a scheme of type pairwise",
    )


def _by_instance(states: pl.DataFrame) -> pl.DataFrame:
    """Return (user_id, instance_id, labels, behaviour, orders) of user states: a row per annotated instance."""
    states = with_missing(states, *BY_INSTANCE.values()).with_row_index("state")
    found = None
    for name, key in BY_INSTANCE.items():
        sql = "SELECT state, unnest(map_entries(entries(object)), recursive := true) FROM chunk"
        part = query(sql, chunk=states.select("state", pl.col(key).alias("object")))
        part = part.select("state", pl.col("key").alias("instance_id"), pl.col("value").alias(name))
        on = ["state", "instance_id"]
        found = part if found is None else found.join(part, on=on, how="left", maintain_order="left")
    assert found is not None
    users = states.select("state", first_of(states, "user_id").alias("user_id"))
    return found.join(users, on="state", how="left", maintain_order="left").drop("state")


def _answers(records: pl.DataFrame) -> pl.DataFrame:
    """Return (row, scheme, label, value): what was said; without label and value for a scheme without an answer."""
    rows = pl.int_range(pl.len(), dtype=pl.Int64).alias("row")
    if records["labels"].count():
        return query(_LABELS, chunk=records.select(rows, "labels"))
    separator = ":::" if any(":::" in name for name in records.columns) else "."
    names = [name for name in records.columns if separator in name and not name.startswith("span_annotation")]
    said = records.select(rows, *names).unpivot(names, index="row", variable_name="name", value_name="text")
    parts = pl.col("name").str.splitn(separator, 2).struct.rename_fields(["scheme", "label"])
    said = said.sort("row", maintain_order=True).select("row", parts, "text").unnest("name")
    said = said.with_columns(pl.when(pl.col("text").is_not_null()).then("label").alias("label"))
    return query("SELECT *, to_json(text)::VARCHAR AS value FROM chunk", chunk=said)


def _task(records: pl.DataFrame, facts: pl.DataFrame, task: pl.Series) -> pl.DataFrame:
    """Return what was asked, of whom, when. task: which instance ids contain the pair."""
    part = {name: pl.when(task).then(facts["parts"].list.get(i, null_on_oob=True)) for i, name in enumerate(ID_FIELDS)}
    sides = [pl.when(facts["swapped"]).then(part[b]).otherwise(part[a]) for a, b in (SHOWN, SHOWN[::-1])]
    time = facts["time_string"].str.extract_groups(DURATION).struct.unnest()
    units = [time[name].cast(pl.Int64).fill_null(0) * n for name, n in zip(time.columns, UNITS, strict=True)]
    spent = pl.when(time["4"].is_not_null()).then(pl.sum_horizontal(units).cast(pl.Float64))
    rows = records.select(
        part["task_id"].alias("task_id"),
        part["prompt_id"].otherwise("instance").alias("prompt_id"),
        *(expr.alias(name) for name, expr in zip(SHOWN, sides, strict=True)),
        "annotator_id",
        facts["voted_at"],
        pl.when(facts["seconds"] > 0).then(facts["seconds"]).otherwise(spent).alias("seconds"),
        first_of(records, "displayed_text").alias("potato.displayed_text"),
    )
    return rows if task.any() else rows.drop("task_id", *SHOWN)


def _answered(said: pl.DataFrame, outcome: str | None, height: int) -> pl.DataFrame:
    """Return the outcome and the other answers. outcome: its scheme; None if the mapping must name it."""
    label, text = pl.col("label"), pl.col("text")
    said = said.filter(label.is_not_null(), pl.col("scheme").is_not_null())
    scale = text.cast(pl.Float64, strict=False)
    sign = (
        pl.when(scale < 0)
        .then(pl.lit("left"))
        .when(scale > 0)
        .then(pl.lit("right"))
        .when(scale == 0)
        .then(pl.lit("tie"))
    )
    kind = label.replace_strict({name: i for i, name in enumerate(PAIRWISE)}, default=-1, return_dtype=pl.Int8)
    word = pl.when(kind == 1).then(pl.coalesce(sign, text)).when(kind == 0).then(text).otherwise(label)
    outcomes = word.str.strip_chars().str.to_lowercase().replace_strict(SIDES, default=None, return_dtype=pl.String)
    words = said.filter(kind == kind.max().over("row", "scheme")).with_columns(
        pl.coalesce(outcomes, word).alias("word")
    )
    words = words.filter(pl.col("word") != "").group_by("row", "scheme", maintain_order=True).agg("word")
    rows = pl.DataFrame({"row": pl.int_range(height, eager=True, dtype=pl.Int64)})
    rest = said.filter(
        (pl.col("scheme").ne_missing(outcome)) | ((kind == -1) & (kind.max().over("row", "scheme") > -1))
    )
    rows = _beside(rows, query(_AS_OBJECTS, chunk=rest.select("row", "scheme", "label", "value")), "said", "potato.")
    if outcome is None:
        return _beside(rows, words.select("row", "scheme", pl.col("word").list.first()), "word", "").drop("row")
    scales = said.filter(pl.col("scheme") == outcome, kind == 1).select("row", text.alias("potato.scale_value"))
    if scales.height:
        rows = rows.join(scales.unique("row"), on="row", how="left", maintain_order="left")
    chosen = words.filter(pl.col("scheme") == outcome).select("row", "word")
    rows = rows.join(chosen, on="row", how="left", maintain_order="left")
    found = pl.col("word")
    problem = pl.format("expected one answer, found {}", found.list.join(" and "))
    return rows.select(
        pl.when(found.list.len() == 1).then(found.list.first()).alias("outcome"),
        pl.all().exclude("row", "word"),
        **reject_where((found.list.len() > 1, "ambiguous-outcome", problem)),
    )


def _beside(rows: pl.DataFrame, answers: pl.DataFrame, value: str, prefix: str) -> pl.DataFrame:
    """Return the rows with a column for each scheme of ``answers`` (row, scheme, value)."""
    if answers.is_empty():
        return rows
    wide = answers.pivot("scheme", index="row", values=value, sort_columns=True)
    wide = wide.rename(lambda name: name if name == "row" else f"{prefix}{name}")
    return rows.join(wide, on="row", how="left", maintain_order="left")


PLATFORM = Platform(
    name="potato",
    description="annotated_instances of Potato 1; user_state.json and the JSONL, CSV and TSV exports of Potato 2",
    detected_by="id and label_annotations; user, instance_id and columns scheme:::label; user_id and "
    "instance_id_to_label_to_value; or user_id, instance_id and labels or columns scheme.label",
    sides="known: A is left",
    dropped="interaction events, except the total time; spans",
    recognizes=_recognizes,
    read=_read,
)
