"""Label Studio: JSON (tasks with their annotations), JSON-MIN and CSV (one row per annotation).

Shapes: "Label Studio JSON format of annotated tasks" (labelstud.io/guide/task_format), tags Pairwise and Choices
(labelstud.io/tags), and the CSV and JSON-MIN writers of label-studio-converter (csv.py, utils.prettify_result), which
write a Pairwise answer as a list of objects, in CSV in Python syntax.

The first object of ``toName`` is shown left, so Pairwise's left and right are the sides on the screen; so are the two
texts of a Choices control whose labelling config shows them side by side. Pairwise has no tie: if Pairwise is empty and
a Choices control states a tie, that is the outcome. ``completed_by`` is a number, or an object with an address.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from annotations.platforms.base import (
    Head,
    Platform,
    Row,
    all_records,
    chunk_of,
    numbered_chunk,
    read_head,
    reject,
    with_data,
    without_outcome,
)
from annotations.readers.files import VoteFile
from annotations.readers.formats import Chunk
from annotations.readers.json_text import decode, decode_list, decode_object
from annotations.readers.outcomes import is_undecided, outcome_question

NAME = "label-studio"
COMMON = ("annotation_id", "annotator", "created_at", "updated_at", "lead_time")
KNOWN = {*COMMON[2:], "id", "task", "project", "result", "completed_by", "was_cancelled", "result_count"}
"""Keys of an annotation that are read, or that only count its results."""
SELECTED = re.compile(r"""['"]selected['"]\s*:\s*['"](\w+)['"]""")

Answers = dict[str, list[Any]]
"""Name of a control -> its distinct answers in one annotation."""


@dataclass(frozen=True)
class Results:
    """The answers of one annotation, by kind of control."""

    pairwise: Answers
    choices: Answers
    others: Answers
    """Reasons, ratings and the like."""

    @property
    def named(self) -> Answers:
        return self.others | self.choices | self.pairwise


def _recognizes(head: Head) -> bool:
    if head.has(*COMMON):
        return True
    lists = ("annotations", "completions")
    return any(isinstance(r.get("data"), dict) and isinstance(r.get(k), list) for r in head.records for k in lists)


def _read(file: VoteFile, _: datetime) -> Iterator[Chunk]:
    """Yield the rows of CSV or JSON-MIN, or of tasks with annotations."""
    yield _flat(file) if read_head(file).has(*COMMON) else _tasks(file)


def _tasks(file: VoteFile) -> Chunk:
    """Return the annotations of all tasks; a row's line is the number of its annotation in the file."""
    records, _, broken = all_records(file)
    found = [(record, annotation) for record in records for annotation in _annotations(record)]
    results = [_results(decode_object(annotation).get("result")) for _, annotation in found]
    pairwise = {name for own in results for name in own.pairwise}
    choices = {name for own in results for name in own.choices}
    outcome = outcome_question(sorted(pairwise or choices))
    rows: list[Row] = [_row(*one, own, outcome) for one, own in zip(found, results, strict=True)]
    if outcome is None and (pairwise or choices):
        rows = without_outcome(rows)
    no_tasks = [NO_TASK for record in records if not decode_object(record.get("data"))]
    empty = sum(not _annotations(record) for record in records) - len(no_tasks)
    return numbered_chunk([*rows, *no_tasks], broken, {"tasks without an annotation": empty})


NO_TASK = reject("broken-record", "expected a task; the item has no data")


def _annotations(record: dict[str, Any]) -> list[Any]:
    listed = decode_list(record.get("annotations") or record.get("completions"))
    return listed if decode_object(record.get("data")) else []


def _results(result: Any) -> Results:
    found = Results({}, {}, {})
    for item in map(decode_object, decode_list(result)):
        value = decode_object(item.get("value"))
        kind, name = str(item.get("type", "")).lower(), str(item.get("from_name", "result"))
        if kind == "pairwise":
            side = value.get("selected")
            answer, into = (side if side in ("left", "right") else None), found.pairwise
        else:
            answer, into = _answer(value), found.choices if kind == "choices" else found.others
        known = into.setdefault(name, [])
        if answer is not None and answer not in known:  # a repeated answer counts once
            known.append(answer)
    return found


def _answer(value: dict[str, Any]) -> Any:
    """Return the answer in a control's value: the choice, the text, the number."""
    for kind in ("choices", "text", "rating", "number"):
        if kind in value:
            answer = value[kind]
            return answer[0] if isinstance(answer, list) and len(answer) == 1 else answer or None
    return value or None


def _row(record: dict[str, Any], annotation: Any, results: Results, outcome: str | None) -> Row:
    """Return the row of one annotation. outcome: the control that holds the outcome."""
    data = decode_object(record.get("data"))
    if not isinstance(annotation, dict):
        return with_data(dict(reject("broken-record", "expected an annotation that is an object")), data, "data.")
    annotator, person = _person(annotation.get("completed_by"))
    name, answers = outcome, results.named.get(outcome or "", [])
    if not answers and outcome not in results.choices:  # Pairwise is empty: a Choices control may state a tie
        ties = ((own, each) for own, each in results.choices.items() if len(each) == 1 and is_undecided(each[0]))
        name, answers = next(ties, (outcome, []))
    row: dict[str, Any] = {
        "outcome": None,
        "annotator_id": annotator,
        "vote_id": f"{NAME}-{annotation['id']}" if annotation.get("id") is not None else None,
        "voted_at": annotation.get("updated_at") or annotation.get("created_at"),
        "seconds": annotation.get("lead_time"),
        **person,
        **{f"annotation.{key}": value for key, value in annotation.items() if key not in KNOWN and value},
        **{f"task.{key}": decode(record.get(key)) or None for key in ("id", "project", "meta")},
        **{own: each[0] if len(each) == 1 else each or None for own, each in results.named.items() if own != name},
    }
    if annotation.get("was_cancelled"):
        row |= reject("cancelled", "the annotation was cancelled")
    elif len(answers) > 1 or any(isinstance(answer, list) for answer in answers):
        row |= reject("ambiguous-outcome", f"expected one answer, found {' and '.join(map(str, answers))}")
    elif answers:
        row["outcome"] = answers[0]
    return with_data(row, data, "data.")


def _person(completed_by: Any) -> tuple[str | None, dict[str, Any]]:
    """Return (id of the annotator, other facts about them)."""
    if not isinstance(completed_by, dict):
        return (None if completed_by is None else str(completed_by)), {}
    annotator = completed_by.get("id", completed_by.get("email"))
    others = {f"completed_by.{name}": value for name, value in completed_by.items() if name != "id"}
    return (None if annotator is None else str(annotator)), others


def _flat(file: VoteFile) -> Chunk:
    """Return the rows of CSV or JSON-MIN."""
    records, lines, broken = all_records(file)
    pairwise = {
        name
        for record in records
        for name, value in record.items()
        if isinstance(value, str) and SELECTED.search(value)
    }
    outcome = outcome_question(sorted(pairwise))
    return chunk_of([_flat_row(record, outcome) for record in records], lines, broken)


def _flat_row(record: dict[str, Any], outcome: str | None) -> Row:
    """Return one row. outcome: the Pairwise control that holds the outcome; None if a well-known column does."""
    annotator, person = _person(decode(record.get("annotator")))
    row: dict[str, Any] = {
        "annotator_id": annotator,
        "vote_id": f"{NAME}-{record['annotation_id']}" if record.get("annotation_id") is not None else None,
        "voted_at": record.get("updated_at") or record.get("created_at"),
        "seconds": record.get("lead_time"),
        "task.id": record.get("id"),
        **person,
    }
    data = {name: _unwrapped(value) for name, value in record.items() if name not in (*COMMON, "id")}
    if outcome:
        row["outcome"] = data.pop(outcome, None)
    return with_data(row, data, "data.")


def _unwrapped(value: Any) -> Any:
    """Return the value of a CSV or JSON-MIN field: the side of a Pairwise, the only choice of a list, or the value."""
    if isinstance(value, str) and (side := SELECTED.search(value)):
        return side[1] if side[1] in ("left", "right") else None
    inner = decode(value)
    if isinstance(inner, dict) and isinstance(inner.get("choices"), list) and len(inner["choices"]) == 1:
        return inner["choices"][0]
    return value


PLATFORM = Platform(
    name=NAME,
    description="JSON, JSON-MIN and CSV exports with a Pairwise or a Choices control",
    detected_by="tasks with data and annotations; or annotation_id, annotator, created_at, updated_at and lead_time",
    sides="known if the data name left and right",
    dropped="addresses and names of completed_by; predictions and drafts",
    recognizes=_recognizes,
    read=_read,
)
