"""Prodigy: the JSONL of ``prodigy db-out`` with the choice interface.

Shape: prodi.gy/docs/api-interfaces#choice and recipes/other/choice.py of explosion/prodigy-recipes: a task with
``options`` ([{id, text}, ...]), ``accept`` (ids of those chosen), ``answer`` (accept, reject, ignore), hashes, and
``_session_id`` and ``_annotator_id``, which are the data set's name, a hyphen, and the session's name.

Options are shown in their order, the first on top or left. Option ids that are outcomes (left, right, tie) are read as
such; otherwise the two options that are not a word for a tie are the first and the second response. The answers ignore
and reject are not ties.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

import polars as pl

from annotations.platforms.base import Head, Platform, by_columns, first_of, reject_where, with_data, with_missing
from annotations.readers.files import VoteFile
from annotations.readers.formats import Chunk
from annotations.readers.json_text import query
from annotations.readers.outcomes import UNDECIDED_WORDS

KNOWN = ("options", "accept", "answer", "_session_id", "_annotator_id", "_timestamp", "_input_hash", "_task_hash")
SIDES = ("left", "right")
OPTION = '{"id": "VARCHAR", "text": "VARCHAR", "model": "VARCHAR", "response_id": "VARCHAR"}'


def _recognizes(head: Head) -> bool:
    return head.has("_task_hash", "answer", "accept", "options")


def _read(file: VoteFile, now: datetime) -> Iterator[Chunk]:
    return by_columns(lambda tasks: _rows(tasks, file.path.name), whole=True)(file, now)


def _rows(tasks: pl.DataFrame, filename: str) -> pl.DataFrame:
    annotator = first_of(tasks, "_annotator_id", "_session_id")
    prefix = _prefix(filename, set(tasks.select(annotator.drop_nulls().unique()).to_series()))
    data = {name: pl.col(name) for name in tasks.columns if name not in KNOWN}
    answer = first_of(tasks, "answer")
    several = pl.format("expected one answer, found {}", pl.col("_accepted").list.join(" and "))
    rejects = reject_where(
        *((answer == word, "cancelled", f"the answer is {word}") for word in ("ignore", "reject")),
        (pl.col("_accepted").list.len() > 1, "ambiguous-outcome", several),
    )
    tasks = tasks.hstack(_choices(tasks))
    responses = _responses(tasks)
    data |= {name: pl.when(responses["left"].is_not_null()).then(name) for name in responses if name in data}
    columns = {
        "outcome": pl.when(rejects["reject"].is_null()).then("_outcome"),
        "annotator_id": annotator.str.strip_prefix(prefix),
        "voted_at": first_of(tasks, "_timestamp"),
        **{name: pl.coalesce(response, first_of(tasks, name)) for name, response in responses.items()},
        **rejects,
    }
    return tasks.select(**with_data(columns, data, "data."))


def _prefix(filename: str, people: set[str]) -> str:
    """Return the data set's name and a hyphen, with which its annotators' ids start; empty if unknown.

    It is the name of the file (``prodigy db-out answers > answers.jsonl``) or the common prefix of all ids.
    """
    named = filename.removesuffix(".gz").rpartition(".")[0] + "-"
    if people and all(who.startswith(named) and who != named for who in people):
        return named
    if len(people) < 2:
        return ""
    first, last = min(people), max(people)
    same = [a == b for a, b in zip(first, last, strict=False)]
    shared = first[: [*same, False].index(False)]
    return shared[: shared.rfind("-") + 1]


def _choices(tasks: pl.DataFrame) -> pl.DataFrame:
    """Return what was accepted, its outcome (left, right, or a text), and the two options that are no tie, if two."""
    undecided = "coalesce(regexp_full_match({}, $1, 'i'), false)".format
    return query(
        f"""
        WITH tasks AS (
            SELECT list_filter(TRY(from_json(options, '[{OPTION}]')), lambda option: option.id IS NOT NULL) AS options,
                   CASE WHEN starts_with(accept, '[') THEN TRY(from_json(accept, '["VARCHAR"]'))
                        WHEN accept <> '' THEN [accept] END AS accepted
              FROM chunk),
        found AS (
            SELECT accepted, list_filter(options, lambda option: option.id = accepted[1])[1].text AS label,
                   list_filter(options, lambda option: NOT {undecided("option.id")} AND NOT {undecided("option.text")})
                       AS responses
              FROM tasks),
        paired AS (SELECT *, CASE WHEN len(responses) = 2 THEN responses END AS pair FROM found)
        SELECT accepted AS _accepted, pair[1] AS _left, pair[2] AS _right,
               CASE WHEN accepted[1] = pair[1].id THEN 'left'
                    WHEN accepted[1] = pair[2].id THEN 'right'
                    WHEN {undecided("label")} AND NOT {undecided("accepted[1]")} THEN label
                    ELSE accepted[1] END AS _outcome
          FROM paired
        """,
        [rf"\s*({'|'.join(map(re.escape, sorted(UNDECIDED_WORDS)))})\s*"],
        chunk=with_missing(tasks, "options", "accept").select("options", "accept"),
    )


def _responses(tasks: pl.DataFrame) -> dict[str, pl.Expr]:
    """Return left and right with their texts where the options name them and the task does not; empty if nowhere."""
    columns: dict[str, pl.Expr] = {}
    named = first_of(tasks, "left", "response_a", "model_a").is_null()
    for side in SIDES:
        option = pl.col(f"_{side}").struct.field
        name = pl.coalesce(option("response_id").replace("", None), option("model").replace("", None), option("id"))
        named &= name.is_not_null() & ~name.str.contains(r"^\d+$") & ~name.str.to_lowercase().is_in(SIDES)
        columns |= {side: name, f"{side}_text": option("text"), f"model_{side}": option("model")}
    if not tasks.select(named.any()).item():
        return {}
    return {name: pl.when(named).then(own) for name, own in columns.items()}


PLATFORM = Platform(
    name="prodigy",
    description="JSONL of prodigy db-out with the choice interface",
    detected_by="the keys _task_hash, answer, accept and options",
    sides="known: options are shown in their order",
    dropped="the data set's name in annotators' ids; hashes",
    recognizes=_recognizes,
    read=_read,
)
