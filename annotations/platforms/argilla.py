"""Argilla: records from ``dataset.records.to_list``, flattened (as in a Hub dataset's Parquet) or nested.

Shape: argilla/records/_io/_generic.py of the Argilla SDK 2. A question Q of a flattened record is three lists of equal
length, ``Q.responses``, ``Q.responses.users`` and ``Q.responses.status``, beside fields and metadata under their own
names; a nested record has ``responses: {Q: [{value, user_id}]}``, ``fields`` and ``metadata``. Suggestions come from
models and are not votes. The value of a ranking is a list of {value, rank}; it becomes a K-wise row.

Sides are known only if fields or metadata name left and right.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from annotations.platforms.base import (
    Head,
    Platform,
    Row,
    all_records,
    numbered_chunk,
    reject,
    with_data,
    without_outcome,
)
from annotations.readers.files import VoteFile
from annotations.readers.formats import Chunk
from annotations.readers.json_text import decode, decode_list, decode_object
from annotations.readers.outcomes import outcome_question

END, USERS, STATUS = ".responses", ".responses.users", ".responses.status"
NOT_SUBMITTED = {"draft": "no-answer", "pending": "no-answer", "discarded": "cancelled"}

Answers = dict[tuple[str, str], tuple[Any, str]]
"""(user, question) -> (value, status) of one record."""
BAD_LISTS = reject("broken-record", "expected lists of responses, users and statuses of equal length")


def _recognizes(head: Head) -> bool:
    flat = any(name.endswith(USERS) and name.removesuffix(".users") in head.columns for name in head.columns)
    return flat or any(
        isinstance(r.get("fields"), dict) and isinstance(r.get("responses"), dict) and "suggestions" in r
        for r in head.records
    )


def _read(file: VoteFile, _: datetime) -> Iterator[Chunk]:
    records, _lines, broken = all_records(file)
    answers = [_answers(record) for record in records]
    said = [(question, value) for own in answers if own for (_, question), (value, _) in own.items()]
    ranked = {question for question, value in said if isinstance(value, list)}
    outcome = outcome_question(question for question, _ in said) or (ranked.pop() if len(ranked) == 1 else None)
    rows: list[Row] = []
    for record, own in zip(records, answers, strict=True):
        rows += [{**_data(record), **BAD_LISTS}] if own is None else list(_rows(record, own, outcome))
    if outcome is None and any(answers):
        rows = without_outcome(rows)
    yield numbered_chunk(rows, broken, {"records without a response": answers.count({})})


def _answers(record: dict[str, Any]) -> Answers | None:
    """Return the answers of one record; None if its lists have different lengths."""
    found: Answers = {}
    responses = decode(record.get("responses"))
    if isinstance(responses, dict) and "fields" in record:
        for question, answers in responses.items():
            for answer in filter(None, map(decode_object, decode_list(answers))):
                # The SDK omits the status of a response; the record's own states whether it needs more responses.
                status = answer.get("status") or "submitted"
                found[str(answer.get("user_id")), question] = decode(answer.get("value")), str(status)
        return found
    for name in record:
        if not name.endswith(END):
            continue
        question = name.removesuffix(END)
        values, users = decode_list(record[name]), decode_list(record.get(question + USERS))
        states = decode_list(record.get(question + STATUS)) or ["submitted"] * len(users)
        if not len(values) == len(users) == len(states):
            return None
        for value, user, status in zip(values, users, states, strict=True):
            found[str(user), question] = decode(value), str(status or "submitted")
    return found


def _data(record: dict[str, Any]) -> dict[str, Any]:
    """Return the fields and metadata of a record under their own names."""
    if "fields" in record and isinstance(decode(record.get("responses")), dict):
        return decode_object(record["fields"]) | decode_object(record.get("metadata"))
    ours = ("id", "status", "_server_id", "vectors", "metadata", "fields", "responses", "suggestions")
    return {n: v for n, v in record.items() if n not in ours and END not in n and ".suggestion" not in n}


def _rows(record: dict[str, Any], answers: Answers, outcome: str | None) -> Iterator[Row]:
    """Yield one row per user."""
    for user in dict.fromkeys(user for user, _ in answers):
        own = {question: answer for (other, question), answer in answers.items() if other == user}
        value, status = own.pop(outcome, (None, "submitted")) if outcome else (None, "submitted")
        row: dict[str, Any] = {
            "outcome": None,
            "annotator_id": user,
            "argilla.id": record.get("id"),
            "argilla.status": status,
            **{question: answer for question, (answer, _) in own.items()},
        }
        data = _data(record)
        if status.lower() in NOT_SUBMITTED:
            row |= reject(NOT_SUBMITTED[status.lower()], f"the response is {status.lower()}")
        elif isinstance(value, list) and value:
            ranked = [x if isinstance(x, dict) else {"value": x, "rank": i} for i, x in enumerate(value, start=1)]
            row |= {"responses": [x.get("value") for x in ranked], "rankings": [x.get("rank") for x in ranked]}
            del row["outcome"]
        else:
            row["outcome"] = value
        yield with_data(row, data, "data.")


PLATFORM = Platform(
    name="argilla",
    description="records of Argilla 2 with a label or a ranking question, flattened or nested: JSON, JSONL, Parquet",
    detected_by="a column Q.responses with Q.responses.users; or records of fields, responses and suggestions",
    sides="known if fields or metadata name left and right; unknown for rankings",
    dropped="suggestions and vectors",
    recognizes=_recognizes,
    read=_read,
)
