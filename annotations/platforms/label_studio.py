"""Label Studio: JSON (tasks with their annotations, or annotations with their task), JSON-MIN and CSV (one row each).

Shapes: "Label Studio JSON format of annotated tasks" (labelstud.io/guide/task_format), tags Pairwise and Choices
(labelstud.io/tags), and the CSV and JSON-MIN writers of label-studio-converter (csv.py, utils.prettify_result), which
write a Pairwise answer as a list of objects, in CSV in Python syntax.

The first object of ``toName`` is shown left, so Pairwise's left and right are the sides on the screen; so are the two
texts of a Choices control whose labelling config shows them side by side. Pairwise has no tie: if Pairwise is empty and
a Choices control states a tie, that is the outcome. ``completed_by`` is a number, or an object with an address.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import polars as pl

from annotations.platforms.base import (
    SKIPPED,
    Head,
    Platform,
    by_columns,
    first_of,
    read_head,
    reject_where,
    with_data,
    with_missing,
)
from annotations.readers.files import VoteFile
from annotations.readers.formats import Chunk
from annotations.readers.json_text import query, spread
from annotations.readers.outcomes import UNDECIDED_WORDS, outcome_question

NAME = "label-studio"
COMMON = ("annotation_id", "annotator", "created_at", "updated_at", "lead_time")
KNOWN = {*COMMON[2:], "id", "task", "project", "result", "completed_by", "was_cancelled", "result_count"}
"""Keys of an annotation that are read, or that only count its results."""
EMPTY = ("", "0", "0.0", "false", "[]", "{}")
SELECTED = r"""^\[?\{[^{}]*['"]selected['"]\s*:\s*['"](\w+)['"][^{}]*\}\]?$"""
"""A Pairwise answer in CSV or JSON-MIN."""
SIDES = ("left", "right")
ROW = pl.int_range(pl.len(), dtype=pl.Int64).alias("row")
PAIRWISE, CHOICES = "pairwise", "choices"

_ANNOTATIONS = """
SELECT row, unnest(CASE WHEN len(listed) = 0 THEN [NULL] ELSE listed END)::VARCHAR AS annotation, len(listed) AS n
  FROM (SELECT row, CASE WHEN starts_with(data, '{') THEN items(annotations) ELSE [] END AS listed FROM chunk)
"""
_RESULTS = """
SELECT row, name, kind, answer::VARCHAR AS answer, answer ->> '$' AS text, json_type(answer) = 'ARRAY' AS several
  FROM (SELECT row, name, kind, CASE json_type(answer) WHEN 'NULL' THEN NULL WHEN 'ARRAY' THEN
               CASE json_array_length(answer) WHEN 0 THEN NULL WHEN 1 THEN answer -> '$[0]' ELSE answer END
               ELSE answer END AS answer
          FROM (SELECT row, coalesce(item ->> '$.from_name', 'result') AS name,
                       lower(coalesce(item ->> '$.type', '')) AS kind, item -> '$.value' AS value,
                       CASE WHEN json_type(value) IS DISTINCT FROM 'OBJECT' THEN NULL
                            WHEN kind = 'pairwise' THEN CASE WHEN value ->> '$.selected' IN ('left', 'right')
                                                             THEN value -> '$.selected' END
                            ELSE coalesce(value -> '$.choices', value -> '$.text', value -> '$.rating',
                                          value -> '$.number', nullif(value, '{}'::JSON)) END AS answer
                  FROM (SELECT row, unnest(objects(result)) AS item FROM chunk)))
"""
"""SQL for (row, control, its type, answer as JSON, as text, whether it is a list): the answers of each annotation."""


def _recognizes(head: Head) -> bool:
    if head.has(*COMMON):
        return True
    lists = ("annotations", "completions")
    return any(
        (isinstance(r.get("data"), dict) and any(isinstance(r.get(key), list) for key in lists))
        or (isinstance(r.get("task"), dict) and "data" in r["task"] and isinstance(r.get("result"), list))
        for r in head.records
    )


def _is_stored(record: dict[str, object]) -> bool:
    """Return whether a record is an annotation from a target storage, which holds its task."""
    task = record.get("task")
    return isinstance(task, dict) and "data" in task and isinstance(record.get("result"), list)


def _read(file: VoteFile, now: datetime) -> Iterator[Chunk]:
    """Yield the rows of CSV or JSON-MIN, of tasks with annotations, or of annotations with their tasks."""
    head = read_head(file)
    flat = head.has(*COMMON)
    rows = _flat_rows if flat else _stored_rows if any(map(_is_stored, head.records)) else _task_rows
    yield from by_columns(rows, whole=True, several=not flat)(file, now)


def _task_rows(tasks: pl.DataFrame) -> pl.DataFrame:
    """Return one row for each annotation of tasks."""
    lists = first_of(tasks, "annotations", "completions").alias("annotations")
    found = query(_ANNOTATIONS, chunk=with_missing(tasks, "data").select(ROW, lists, "data"))
    annotations = spread(found["annotation"]).with_columns(
        (~found["annotation"].str.starts_with("{")).alias("no annotation"), (found["n"] == 0).alias("none")
    )
    return _rows(tasks[found["row"]], annotations)


def _stored_rows(annotations: pl.DataFrame) -> pl.DataFrame:
    """Return one row for each annotation that holds its task."""
    tasks = spread(with_missing(annotations, "task")["task"])
    flags = (pl.lit(False).alias(name) for name in ("no annotation", "none"))
    return _rows(tasks, annotations.with_columns(flags))


def _rows(tasks: pl.DataFrame, annotations: pl.DataFrame) -> pl.DataFrame:
    """Return one row for each annotation.

    tasks: that of each annotation. annotations: their keys; "none" is true for a task without an annotation, and
    "no annotation" for an item that is no object.
    """
    tasks = with_missing(tasks, "data")
    is_task = tasks["data"].str.starts_with("{").fill_null(False)
    said = query(_RESULTS, chunk=with_missing(annotations, "result").select(ROW, "result"))
    controls = [said.filter(pl.col("kind") == kind)["name"].unique().sort() for kind in (PAIRWISE, CHOICES)]
    outcome = outcome_question(controls[0] if len(controls[0]) else controls[1])
    answers = _answers(said, outcome, len(is_task))
    annotator, person = _person(annotations, "completed_by")
    columns = {
        "annotator_id": annotator,
        "vote_id": f"{NAME}-" + first_of(annotations, "id"),
        "voted_at": first_of(annotations, "updated_at", "created_at"),
        "seconds": first_of(annotations, "lead_time"),
        **person,
        **{
            f"annotation.{name}": pl.when(~pl.col(name).is_in(EMPTY)).then(name)
            for name in annotations.columns
            if name not in (*KNOWN, "none", "no annotation")
        },
        **{f"task.{name}": pl.lit(_column(tasks, name).replace("{}", None)) for name in ("id", "project", "meta")},
        **{name: pl.lit(answers[name]) for name in answers.columns if name not in ("outcome ", "problem ")},
    }
    cancelled = first_of(annotations, "was_cancelled").is_in(EMPTY).not_().fill_null(False)
    if outcome or not any(map(len, controls)):
        columns["outcome"] = pl.when(~cancelled).then(pl.lit(answers["outcome "]))
    rejects = reject_where(
        (pl.lit(~is_task), "broken-record", "expected a task; the item has no data"),
        (pl.col("no annotation"), "broken-record", "expected an annotation that is an object"),
        (cancelled, "cancelled", "the annotation was cancelled"),
        (pl.lit(answers["problem "].is_not_null()), "ambiguous-outcome", pl.lit(answers["problem "])),
    )
    empty = pl.when(pl.col("none") & is_task).then(pl.lit("tasks without an annotation"))
    data = spread(tasks["data"])
    given = {name: pl.lit(data[name]) for name in data.columns}
    return annotations.select(**with_data(columns | rejects, given, "data."), **{SKIPPED: empty})


def _answers(said: pl.DataFrame, outcome: str | None, height: int) -> pl.DataFrame:
    """Return (n,) the answers to each control beside the one with the outcome, "outcome " and "problem ".

    The names of controls cannot end with a space.
    """
    distinct = said.unique(["row", "name", "kind", "answer"], maintain_order=True)
    found = (
        distinct.group_by("row", "name", maintain_order=True)
        .agg(
            pl.col("kind").last(),
            pl.col("text").drop_nulls(),
            pl.col("answer").drop_nulls(),
            pl.col("several").any().fill_null(False),
        )
        .with_columns(pl.col("text").list.len().alias("n"), pl.col("text").list.first().alias("first"))
    )
    rows = pl.DataFrame({"row": pl.int_range(height, eager=True, dtype=pl.Int64)})
    main = found.filter(pl.col("name") == outcome) if outcome else found.clear()
    rows = rows.join(main, on="row", how="left", maintain_order="left")
    # Pairwise has no tie: if it is empty, a Choices control may state one.
    undecided = pl.col("first").str.strip_chars().str.to_lowercase().is_in(UNDECIDED_WORDS)
    ties = found.filter(pl.col("kind") == CHOICES, pl.col("n") == 1, undecided).unique("row", keep="first")
    ties = ties.select("row", pl.col("first").alias("tie"), pl.col("name").alias("tie of"))
    rows = rows.join(ties, on="row", how="left", maintain_order="left")
    unsaid = (pl.col("n").fill_null(0) == 0) & (pl.col("kind") != CHOICES).fill_null(True) & (outcome is not None)
    problem = pl.when((pl.col("n") > 1) | pl.col("several")).then(pl.col("text").list.join(" and "))
    rows = rows.select(
        "row",
        pl.when(unsaid).then("tie").otherwise(pl.when(problem.is_null()).then("first")).alias("outcome "),
        pl.format("expected one answer, found {}", problem).alias("problem "),
        pl.when(unsaid).then("tie of").alias("tie of"),
    )
    others = found.join(rows.select("row", "tie of"), on="row", how="left", maintain_order="left").filter(
        pl.col("name").ne_missing(outcome), pl.col("name").ne_missing(pl.col("tie of"))
    )
    one = pl.when(pl.col("n") == 1).then("first").otherwise(pl.format("[{}]", pl.col("answer").list.join(",")))
    others = others.select("row", "name", pl.when(pl.col("n") > 0).then(one).alias("said"))
    rows = rows.drop("tie of")
    if others.height:
        wide = others.pivot("name", index="row", values="said", sort_columns=True)
        rows = rows.join(wide, on="row", how="left", maintain_order="left")
    return rows.drop("row")


def _column(frame: pl.DataFrame, *names: str) -> pl.Series:
    """Return (n,) the first of these columns that is not empty, row by row."""
    return frame.with_columns(first_of(frame, *names).alias(names[0]))[names[0]]


def _person(frame: pl.DataFrame, column: str) -> tuple[pl.Expr, dict[str, pl.Expr]]:
    """Return (id of the annotator, other facts about them) of a number, a name, or an object."""
    given = _column(frame, column)
    if not given.str.starts_with("{").any():
        return pl.lit(given), {}
    facts = spread(given)
    own = _column(facts, "id", "email")
    is_object = given.str.starts_with("{")
    others = {f"completed_by.{name}": pl.lit(facts[name]) for name in facts.columns if name != "id"}
    return pl.when(is_object).then(own).otherwise(given), others


def _flat_rows(records: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of CSV or JSON-MIN."""
    annotator, person = _person(records, "annotator")
    columns = {
        "annotator_id": annotator,
        "vote_id": f"{NAME}-" + first_of(records, "annotation_id"),
        "voted_at": first_of(records, "updated_at", "created_at"),
        "seconds": first_of(records, "lead_time"),
        "task.id": first_of(records, "id"),
        **person,
    }
    names = [name for name in records.columns if name not in (*COMMON, "id")]
    pairwise = [name for name in names if records[name].str.contains(SELECTED).any()]
    data = {name: pl.col(name) for name in names}
    for name in pairwise:
        side = pl.col(name).str.extract(SELECTED)
        data[name] = pl.when(side.is_null()).then(name).when(side.is_in(SIDES)).then(side)
    listed = [name for name in names if records[name].str.contains(r'^\{.*"choices"').any()]
    if listed:
        chosen = query(f"SELECT {', '.join(map(_only_choice, listed))} FROM chunk", chunk=records.select(listed))
        data |= {name: pl.lit(chosen[name]) for name in listed}
    if outcome := outcome_question(sorted(pairwise)):
        columns["outcome"] = data.pop(outcome)
    return records.select(**with_data(columns, data, "data."))


def _only_choice(column: str) -> str:
    """Return SQL for the choice in a column of {choices: [choice]}; other values unchanged."""
    name = '"' + column.replace('"', '""') + '"'
    only = f"json_valid({name}) AND json_array_length({name}, '$.choices') = 1"
    return f"CASE WHEN {only} THEN {name} ->> '$.choices[0]' ELSE {name} END AS {name}"


PLATFORM = Platform(
    name=NAME,
    description="JSON, JSON-MIN and CSV exports and target storages with a Pairwise or a Choices control",
    detected_by="tasks with data and annotations; annotations with result and task; "
    "or annotation_id, annotator, created_at, updated_at and lead_time",
    sides="known if the data name left and right",
    dropped="addresses and names of completed_by; predictions and drafts",
    recognizes=_recognizes,
    read=_read,
)
