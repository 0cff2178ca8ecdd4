"""Argilla: records as ``dataset.records.to_list`` gives them, flattened (as in a Hub dataset's Parquet) or nested.

Shape: argilla/records/_io/_generic.py of the Argilla SDK 2: a question Q of a flattened record is three lists of one
length, ``Q.responses``, ``Q.responses.users`` and ``Q.responses.status``, beside fields and metadata under their own
names; a nested record has ``responses: {Q: [{value, user_id}]}``, ``fields`` and ``metadata``. Suggestions are a
machine's and no votes. A ranking's value is a list of {value, rank}; it becomes a K-wise row.

Sides are not said, but where fields or metadata name left and right.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from annotations.platforms.base import Platform, Row, chunk_of, listing, mapping, nested, records_of, reject, renumbered
from annotations.platforms.questions import beside, outcome_of
from annotations.platforms.sniffing import Head
from annotations.readers.chunks import Chunk
from annotations.readers.files import VoteFile

END, USERS, STATUS = ".responses", ".responses.users", ".responses.status"
OPEN = {"draft": "no-answer", "pending": "no-answer", "discarded": "cancelled"}

Said = dict[tuple[str, str], tuple[Any, str]]
"""(user, question) -> (value, status) of one record."""


def _recognises(head: Head) -> bool:
    flat = any(name.endswith(USERS) and name.removesuffix(".users") in head.columns for name in head.columns)
    return flat or any(
        isinstance(r.get("fields"), dict) and isinstance(r.get("responses"), dict) and "suggestions" in r
        for r in head.records
    )


def _read(file: VoteFile) -> Iterator[Chunk]:
    blocks = list(records_of(file))
    records = [record for _, block, _ in blocks for record in block]
    said = [_said(record) for record in records]
    outcome = outcome_of(question for own in said if own is not None for _, question in own)
    unclear = outcome is None and any(said)
    rows: list[Row] = []
    unanswered = 0
    for record, own in zip(records, said, strict=True):
        unanswered += own == {}
        rows += [{**_data(record), **BAD_LISTS}] if own is None else list(_rows(record, own, outcome))
    if unclear:  # which question says who won is for the mapping to tell
        rows = [{name: value for name, value in row.items() if name != "outcome"} for row in rows]
    broken = renumbered([b for _, _, own in blocks for b in own], len(rows))
    chunk = chunk_of(rows, range(1, len(rows) + 1), broken)
    yield Chunk(chunk.frame, chunk.line, chunk.broken, {"records without a response": unanswered} if unanswered else {})


BAD_LISTS = reject("broken-record", "the lists of responses, users and statuses have unlike lengths")


def _said(record: dict[str, Any]) -> Said | None:
    """Who answered what; None where the lists do not fit each other."""
    found: Said = {}
    responses = nested(record.get("responses"))
    if isinstance(responses, dict) and "fields" in record:
        for question, answers in responses.items():
            for answer in filter(None, map(mapping, listing(answers))):
                status = answer.get("status") or record.get("status") or "submitted"
                found[str(answer.get("user_id")), question] = nested(answer.get("value")), str(status)
        return found
    for name in record:
        if not name.endswith(END):
            continue
        question = name.removesuffix(END)
        values, users = listing(record[name]), listing(record.get(question + USERS))
        states = listing(record.get(question + STATUS)) or ["submitted"] * len(users)
        if not len(values) == len(users) == len(states):
            return None
        for value, user, status in zip(values, users, states, strict=True):
            found[str(user), question] = nested(value), str(status or "submitted")
    return found


def _data(record: dict[str, Any]) -> dict[str, Any]:
    """Fields and metadata of a record under their own names."""
    if "fields" in record and isinstance(nested(record.get("responses")), dict):
        return mapping(record["fields"]) | mapping(record.get("metadata"))
    ours = ("id", "status", "_server_id", "vectors", "metadata", "fields", "responses", "suggestions")
    return {n: v for n, v in record.items() if n not in ours and END not in n and ".suggestion" not in n}


def _rows(record: dict[str, Any], said: Said, outcome: str | None) -> Iterator[Row]:
    """One row a user."""
    for user in dict.fromkeys(user for user, _ in said):
        own = {question: answer for (other, question), answer in said.items() if other == user}
        value, status = own.pop(outcome, (None, "submitted")) if outcome else (None, "submitted")
        row: dict[str, Any] = {
            "outcome": None,
            "annotator_id": user,
            "argilla.id": record.get("id"),
            "argilla.status": status,
            **{question: answer for question, (answer, _) in own.items()},
        }
        data = _data(record)
        if status.lower() in OPEN:
            row |= reject(OPEN[status.lower()], f"the response is {status.lower()}")
        elif isinstance(value, list) and value:
            ranked = [x if isinstance(x, dict) else {"value": x, "rank": i} for i, x in enumerate(value, start=1)]
            row |= {"responses": [x.get("value") for x in ranked], "rankings": [x.get("rank") for x in ranked]}
            del row["outcome"]
        else:
            row["outcome"] = value
        yield beside(row, data, "data.")


PLATFORM = Platform(
    name="argilla",
    about="records of Argilla 2 with a label or a ranking question, flattened or nested: JSON, JSONL, Parquet",
    told_by="a column Q.responses beside Q.responses.users; or records of fields, responses and suggestions",
    sides="shown, where fields or metadata name left and right; of rankings not said",
    dropped="suggestions and vectors",
    recognises=_recognises,
    read=_read,
)
