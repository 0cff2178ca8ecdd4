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
from typing import Any

from annotations.chunks import Chunk
from annotations.files import VoteFile
from annotations.platforms.base import Platform, Row, by_record, chunk_of, nested, records_of, reject, renumbered
from annotations.platforms.heads import Head, head_of
from annotations.platforms.questions import beside, is_undecided, outcome_of

NAME = "label-studio"
COMMON = ("annotation_id", "annotator", "created_at", "updated_at", "lead_time")
KNOWN = {"id", "result", "completed_by", "created_at", "updated_at", "lead_time", "was_cancelled", "result_count"}
"""Keys of an annotation that are read, or say what is known otherwise."""
SELECTED = re.compile(r"""['"]selected['"]\s*:\s*['"](\w+)['"]""")

Answers = dict[str, list[Any]]
"""Name of a control -> its different answers in one annotation."""


def _recognises(head: Head) -> bool:
    if head.has(*COMMON):
        return True
    lists = ("annotations", "completions")
    return any(isinstance(r.get("data"), dict) and isinstance(r.get(k), list) for r in head.records for k in lists)


def _read(file: VoteFile) -> Iterator[Chunk]:
    """Tasks with annotations, or one row an annotation; a line is the number of the annotation in the file."""
    flat = head_of(file).has(*COMMON)
    yield from by_record(_flat)(file) if flat else _tasks(file)


def _tasks(file: VoteFile) -> Iterator[Chunk]:
    blocks = list(records_of(file))
    records = [record for _, block, _ in blocks for record in block]
    found = [(record, a) for record in records for a in _annotations(record)]
    answers = [_answers(a.get("result")) for _, a in found]
    pairwise = outcome_of(name for own, _ in answers for name in own)
    choices = outcome_of(name for _, own in answers for name in own)
    rows = [
        _row(record, annotation, *own, pairwise, choices)
        for (record, annotation), own in zip(found, answers, strict=True)
    ]
    rows += [NO_TASK for record in records if not isinstance(nested(record.get("data")), dict)]
    empty = sum(not _annotations(record) for record in records) - rows.count(NO_TASK)
    broken = renumbered([b for _, _, own in blocks for b in own], len(rows))
    chunk = chunk_of(rows, range(1, len(rows) + 1), broken)
    yield Chunk(chunk.frame, chunk.line, chunk.broken, {"tasks without an annotation": empty} if empty else {})


NO_TASK = reject("broken-record", "an item that is no task: it has no data")


def _annotations(record: dict[str, Any]) -> list[dict[str, Any]]:
    """A task's annotations, each once: an export may list one twice."""
    listed = nested(record.get("annotations") or record.get("completions")) or []
    own = [a for a in listed if isinstance(a, dict)] if isinstance(nested(record.get("data")), dict) else []
    return list({str(a["id"]) if a.get("id") is not None else f"#{i}": a for i, a in enumerate(own)}.values())


def _answers(result: Any) -> tuple[Answers, Answers]:
    """(of Pairwise controls, of all others)."""
    pairwise: Answers = {}
    others: Answers = {}
    for item in result if isinstance(result, list) else []:
        value = item.get("value") if isinstance(item, dict) else None
        if not isinstance(value, dict):
            continue
        kind, name = str(item.get("type", "")).lower(), str(item.get("from_name", "result"))
        if kind == "pairwise":
            side = value.get("selected")
            said, into = (side if side in ("left", "right") else None), pairwise
        else:
            said, into = _said(value), others
        known = into.setdefault(name, [])
        if said is not None and said not in known:
            known.append(said)
    return pairwise, others


def _said(value: dict[str, Any]) -> Any:
    """What a control's value says: the choice, the text, the number."""
    for kind in ("choices", "text", "rating", "number"):
        if kind in value:
            said = value[kind]
            return said[0] if isinstance(said, list) and len(said) == 1 else said or None
    return value or None


def _row(
    record: dict[str, Any],
    annotation: dict[str, Any],
    pairs: Answers,
    others: Answers,
    pairwise: str | None,
    choices: str | None,
) -> Row:
    data = nested(record.get("data"))
    who, person = _person(annotation.get("completed_by"))
    row: dict[str, Any] = {
        "outcome": None,
        "annotator_id": who,
        "vote_id": f"{NAME}-{annotation['id']}" if annotation.get("id") is not None else None,
        "voted_at": annotation.get("updated_at") or annotation.get("created_at"),
        "seconds": annotation.get("lead_time"),
        **person,
        **{f"annotation.{name}": value for name, value in annotation.items() if name not in KNOWN and value},
        **{f"task.{name}": record.get(name) for name in ("id", "project", "meta")},
    }
    said = pairs.get(pairwise or "", [])
    name = pairwise
    if not said and (pairwise is None or any(is_undecided(x) for x in others.get(choices or "", []))):
        said, name = others.get(choices or "", []), choices
    rest = {own: values for own, values in (pairs | others).items() if own != name}
    row |= {own: values[0] if len(values) == 1 else values or None for own, values in rest.items()}
    if annotation.get("was_cancelled"):
        row |= reject("cancelled", "the annotation was cancelled")
    elif len(said) > 1 or any(isinstance(x, list) for x in said):
        row |= reject("ambiguous-outcome", f"the annotation says {' and '.join(map(str, said))}")
    elif said:
        row["outcome"] = said[0]
    return beside(row, data if isinstance(data, dict) else {}, "data.")


def _person(completed_by: Any) -> tuple[str | None, dict[str, Any]]:
    """(id of whoever did it, what else is said of them)."""
    if not isinstance(completed_by, dict):
        return (None if completed_by is None else str(completed_by)), {}
    who = completed_by.get("id", completed_by.get("email"))
    beside_it = {f"completed_by.{name}": value for name, value in completed_by.items() if name != "id"}
    return (None if who is None else str(who)), beside_it


def _flat(record: dict[str, Any]) -> Iterator[Row]:
    """One row of CSV or JSON-MIN."""
    row: dict[str, Any] = {
        "annotator_id": record.get("annotator"),
        "vote_id": f"{NAME}-{record['annotation_id']}" if record.get("annotation_id") is not None else None,
        "voted_at": record.get("updated_at") or record.get("created_at"),
        "seconds": record.get("lead_time"),
        "task.id": record.get("id"),
    }
    data = {name: _unwrapped(value) for name, value in record.items() if name not in (*COMMON, "id")}
    pairs = [name for name, value in record.items() if isinstance(value, str) and SELECTED.search(value)]
    if pairs:
        row["outcome"] = data.pop(pairs[0])
    person = nested(row["annotator_id"])
    if isinstance(person, dict):
        row["annotator_id"], more = _person(person)
        row |= more
    yield beside(row, data, "data.")


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
