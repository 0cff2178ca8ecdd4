"""Amazon Mechanical Turk: the CSV of a batch's results ("Download CSV" on its Review page).

Shape: docs.aws.amazon.com/AWSMechTurk, Requester UI guide: HITId, HITTypeId, Title, ..., AssignmentId, WorkerId,
AssignmentStatus (Submitted, Approved, Rejected), AcceptTime, SubmitTime, WorkTimeInSeconds, Input.x (what the HIT was
given), Answer.x. Radio buttons of crowd-html give Answer.x.option = true or false, and the same answers as JSON in
Answer.taskAnswers. Times are like "Tue Mar 02 12:34:56 PST 2021".

Sides are known if Input. columns name left and right. Rejected assignments are not votes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from annotations.platforms.base import Head, Platform, Record, Row, by_record, reject, with_data
from annotations.readers.json_text import decode_list, decode_object
from annotations.readers.outcomes import outcome_question

INPUT, ANSWER, JSON_ANSWERS = "Input.", "Answer.", "Answer.taskAnswers"
BATCH = ("Title", "Description", "Keywords", "RequesterAnnotation")
REVIEW = ("Approve", "Reject")
"""Columns for the requester's review, which the header ends with and the rows of a download omit."""
READ = ("WorkerId", "AssignmentId", "SubmitTime", "WorkTimeInSeconds", *BATCH)
TIME = re.compile(r"\w{3} (\w{3} \d{1,2} \d\d:\d\d:\d\d) (\w+) (\d{4})")
ZONES = {"PST": -8, "PDT": -7, "UTC": 0, "GMT": 0, "EST": -5, "EDT": -4}


def _recognizes(head: Head) -> bool:
    return head.has_prefixes(ANSWER) and (head.has("HITId") or (head.has("WorkerId") and head.has_prefixes(INPUT)))


def _rows(record: Record) -> Iterator[Row]:
    answers = _answers(record)
    question = outcome_question(answers)
    chosen = answers.pop(question) if question else []
    row: dict[str, Any] = {
        **({"outcome": chosen[0] if len(chosen) == 1 else None} if question else {}),
        "annotator_id": record.get("WorkerId"),
        "vote_id": f"mturk-{record['AssignmentId']}" if record.get("AssignmentId") else None,
        "voted_at": _time(record.get("SubmitTime")),
        "seconds": record.get("WorkTimeInSeconds"),
        **{ANSWER + name: each[0] if len(each) == 1 else each or None for name, each in answers.items()},
    }
    row |= {n: v for n, v in record.items() if not n.startswith((INPUT, ANSWER)) and n not in READ}
    if str(record.get("AssignmentStatus")).lower() == "rejected":
        row |= reject("refused-work", "the assignment was rejected")
    elif len(chosen) > 1:
        row |= reject("ambiguous-outcome", f"expected one answer, found {' and '.join(map(str, chosen))}")
    data = {name.removeprefix(INPUT): value for name, value in record.items() if name.startswith(INPUT)}
    yield with_data(row, data, INPUT)


def _answers(record: Record) -> dict[str, list[Any]]:
    """Return question -> answers: the options that are true, or the text."""
    found: dict[str, list[Any]] = {}
    for name, value in record.items():
        if not name.startswith(ANSWER) or name == JSON_ANSWERS:
            continue
        question, _, option = name.removeprefix(ANSWER).partition(".")
        answers = found.setdefault(question, [])
        if option and str(value).lower() in ("true", "false"):
            answers += [option] if str(value).lower() == "true" else []
        elif value is not None:
            answers.append(value)
    as_json = decode_list(record.get(JSON_ANSWERS))
    for question, value in decode_object(as_json[0] if as_json else None).items():
        if not found.get(question):
            chosen = [name for name, on in value.items() if on is True] if isinstance(value, dict) else [value]
            found[question] = [answer for answer in chosen if answer is not None]
    return found


def _time(text: Any) -> Any:
    """Return MTurk's time as ISO 8601 in UTC; another spelling unchanged."""
    found = TIME.fullmatch(str(text or "").strip())
    if not found or found[2] not in ZONES:
        return text
    when = datetime.strptime(f"{found[1]} {found[3]}", "%b %d %H:%M:%S %Y").replace(tzinfo=UTC)
    return f"{when - timedelta(hours=ZONES[found[2]]):%Y-%m-%dT%H:%M:%SZ}"


PLATFORM = Platform(
    name="mturk",
    description="CSV of a batch's results",
    detected_by="Answer. columns with HITId, or with WorkerId and Input. columns",
    sides="known if Input. columns name left and right",
    dropped="the batch's title, description, keywords and annotation",
    recognizes=_recognizes,
    read=by_record(_rows, optional=REVIEW),
)
