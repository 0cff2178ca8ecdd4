"""Label Studio: JSON (tasks with their annotations), JSON-MIN and CSV (one row an annotation).

Shapes: "Label Studio JSON format of annotated tasks" (labelstud.io/guide/task_format), tags Pairwise and Choices
(labelstud.io/tags), and the CSV and JSON-MIN writers of label-studio-converter (csv.py, utils.prettify_result), which
write what Pairwise says as a list of objects, in CSV in Python's spelling.

The first object of ``toName`` stands left, so that Pairwise's left and right are what was shown; so are the two answers
of a Choices control whose labelling config shows them side by side. Pairwise cannot say tie: where a Choices control
beside it does, and Pairwise is empty, that is the answer. ``completed_by`` is a number, or an object with an address.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from annotations.platforms.base import (
    Platform,
    Row,
    chunk_of,
    listing,
    mapping,
    nested,
    records_of,
    reject,
    renumbered,
)
from annotations.platforms.questions import beside, is_undecided, outcome_of
from annotations.platforms.sniffing import Head, head_of
from annotations.readers.chunks import Chunk
from annotations.readers.files import VoteFile

NAME = "label-studio"
COMMON = ("annotation_id", "annotator", "created_at", "updated_at", "lead_time")
KNOWN = {
    "id",
    "task",
    "project",
    "result",
    "completed_by",
    "created_at",
    "updated_at",
    "lead_time",
    "was_cancelled",
    "result_count",
}
"""Keys of an annotation that are read, or say what is known otherwise."""
SELECTED = re.compile(r"""['"]selected['"]\s*:\s*['"](\w+)['"]""")

Answers = dict[str, list[Any]]
"""Name of a control -> its different answers in one annotation."""


@dataclass(frozen=True)
class Results:
    """What one annotation says, by kind of control."""

    pairwise: Answers
    choices: Answers
    others: Answers
    """Reasons, ratings and the like."""

    @property
    def named(self) -> Answers:
        return self.others | self.choices | self.pairwise


def _recognises(head: Head) -> bool:
    if head.has(*COMMON):
        return True
    lists = ("annotations", "completions")
    return any(isinstance(r.get("data"), dict) and isinstance(r.get(k), list) for r in head.records for k in lists)


def _read(file: VoteFile) -> Iterator[Chunk]:
    """Tasks with annotations, or one row an annotation."""
    yield from _flat(file) if head_of(file).has(*COMMON) else _tasks(file)


def _tasks(file: VoteFile) -> Iterator[Chunk]:
    """The annotations of all tasks; a line is an annotation's number in the file."""
    blocks = list(records_of(file))
    records = [record for _, block, _ in blocks for record in block]
    found = [(record, annotation) for record in records for annotation in _annotations(record)]
    said = [_results(mapping(annotation).get("result")) for _, annotation in found]
    pairs = {name for own in said for name in own.pairwise}
    choices = {name for own in said for name in own.choices}
    which = outcome_of(sorted(pairs or choices))
    rows = [_row(*one, own, which) for one, own in zip(found, said, strict=True)]
    if which is None and (pairs or choices):  # which of them says who won is for the mapping to tell
        rows = [{name: value for name, value in row.items() if name != "outcome"} for row in rows]
    strays = [NO_TASK for record in records if not mapping(record.get("data"))]
    empty = sum(not _annotations(record) for record in records) - len(strays)
    rows += strays
    broken = renumbered([b for _, _, own in blocks for b in own], len(rows))
    chunk = chunk_of(rows, range(1, len(rows) + 1), broken)
    yield Chunk(chunk.frame, chunk.line, chunk.broken, {"tasks without an annotation": empty} if empty else {})


NO_TASK = reject("broken-record", "an item that is no task: it has no data")


def _annotations(record: dict[str, Any]) -> list[Any]:
    return listing(record.get("annotations") or record.get("completions")) if mapping(record.get("data")) else []


def _results(result: Any) -> Results:
    found = Results({}, {}, {})
    for item in map(mapping, listing(result)):
        value = mapping(item.get("value"))
        kind, name = str(item.get("type", "")).lower(), str(item.get("from_name", "result"))
        if kind == "pairwise":
            side = value.get("selected")
            said, into = (side if side in ("left", "right") else None), found.pairwise
        else:
            said, into = _said(value), found.choices if kind == "choices" else found.others
        known = into.setdefault(name, [])
        if said is not None and said not in known:  # an answer given twice is one
            known.append(said)
    return found


def _said(value: dict[str, Any]) -> Any:
    """What a control's value says: the choice, the text, the number."""
    for kind in ("choices", "text", "rating", "number"):
        if kind in value:
            said = value[kind]
            return said[0] if isinstance(said, list) and len(said) == 1 else said or None
    return value or None


def _row(record: dict[str, Any], annotation: Any, said: Results, which: str | None) -> dict[str, Any]:
    """One annotation. which: the control that says who won."""
    data = mapping(record.get("data"))
    if not isinstance(annotation, dict):
        return beside(reject("broken-record", "an annotation that is no object"), data, "data.")
    who, person = _person(annotation.get("completed_by"))
    name, answers = which, said.named.get(which or "", [])
    if not answers and which not in said.choices:  # Pairwise is empty: does a Choices control say tie?
        name, answers = next(
            ((own, told) for own, told in said.choices.items() if len(told) == 1 and is_undecided(told[0])), (which, [])
        )
    row: dict[str, Any] = {
        "outcome": None,
        "annotator_id": who,
        "vote_id": f"{NAME}-{annotation['id']}" if annotation.get("id") is not None else None,
        "voted_at": annotation.get("updated_at") or annotation.get("created_at"),
        "seconds": annotation.get("lead_time"),
        **person,
        **{f"annotation.{key}": value for key, value in annotation.items() if key not in KNOWN and value},
        **{f"task.{key}": nested(record.get(key)) or None for key in ("id", "project", "meta")},
        **{own: told[0] if len(told) == 1 else told or None for own, told in said.named.items() if own != name},
    }
    if annotation.get("was_cancelled"):
        row |= reject("cancelled", "the annotation was cancelled")
    elif len(answers) > 1 or any(isinstance(answer, list) for answer in answers):
        row |= reject("ambiguous-outcome", f"the annotation says {' and '.join(map(str, answers))}")
    elif answers:
        row["outcome"] = answers[0]
    return beside(row, data, "data.")


def _person(completed_by: Any) -> tuple[str | None, dict[str, Any]]:
    """(id of whoever did it, what else is said of them)."""
    if not isinstance(completed_by, dict):
        return (None if completed_by is None else str(completed_by)), {}
    who = completed_by.get("id", completed_by.get("email"))
    beside_it = {f"completed_by.{name}": value for name, value in completed_by.items() if name != "id"}
    return (None if who is None else str(who)), beside_it


def _flat(file: VoteFile) -> Iterator[Chunk]:
    """The rows of CSV or JSON-MIN."""
    blocks = list(records_of(file))
    pairs = {
        name
        for _, records, _ in blocks
        for record in records
        for name, value in record.items()
        if isinstance(value, str) and SELECTED.search(value)
    }
    which = outcome_of(sorted(pairs))
    for lines, records, broken in blocks:
        yield chunk_of([_flat_row(record, which) for record in records], lines, broken)


def _flat_row(record: dict[str, Any], which: str | None) -> Row:
    """One row. which: the Pairwise control that says who won; None where the columns' names say it."""
    who = nested(record.get("annotator"))
    person, more = _person(who)
    row: dict[str, Any] = {
        "annotator_id": person,
        "vote_id": f"{NAME}-{record['annotation_id']}" if record.get("annotation_id") is not None else None,
        "voted_at": record.get("updated_at") or record.get("created_at"),
        "seconds": record.get("lead_time"),
        "task.id": record.get("id"),
        **more,
    }
    data = {name: _unwrapped(value) for name, value in record.items() if name not in (*COMMON, "id")}
    if which:
        row["outcome"] = data.pop(which, None)
    return beside(row, data, "data.")


def _unwrapped(value: Any) -> Any:
    """What a field of CSV or JSON-MIN says: a Pairwise's side, the one choice of a list, or the value."""
    if isinstance(value, str) and (side := SELECTED.search(value)):
        return side[1] if side[1] in ("left", "right") else None
    inner = nested(value)
    if isinstance(inner, dict) and isinstance(inner.get("choices"), list) and len(inner["choices"]) == 1:
        return inner["choices"][0]
    return value


PLATFORM = Platform(
    name=NAME,
    about="JSON, JSON-MIN and CSV exports with a Pairwise or a Choices control",
    told_by="tasks with data and annotations; or annotation_id, annotator, created_at, updated_at and lead_time",
    sides="shown, where the data name left and right",
    dropped="addresses and names of completed_by; predictions and drafts",
    recognises=_recognises,
    read=_read,
)
