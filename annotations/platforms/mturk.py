"""Amazon Mechanical Turk: the CSV of a batch's results ("Download CSV" on its Review page).

Shape: docs.aws.amazon.com/AWSMechTurk, Requester UI guide: HITId, HITTypeId, Title, ..., AssignmentId, WorkerId,
AssignmentStatus (Submitted, Approved, Rejected), AcceptTime, SubmitTime, WorkTimeInSeconds, Input.x (what the HIT was
given), Answer.x. Radio buttons of crowd-html give Answer.x.option = true or false, and all of them once more in
Answer.taskAnswers as JSON. Times are like "Tue Mar 02 12:34:56 PST 2021".

Sides are shown where Input. columns name left and right. Rejected assignments are no votes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from annotations.platforms.base import Platform, Record, Row, by_record, listing, mapping, reject
from annotations.platforms.questions import beside, outcome_of
from annotations.platforms.sniffing import Head

INPUT, ANSWER, JSON_ANSWERS = "Input.", "Answer.", "Answer.taskAnswers"
BATCH = ("Title", "Description", "Keywords", "RequesterAnnotation")
READ = ("WorkerId", "AssignmentId", "SubmitTime", "WorkTimeInSeconds", *BATCH)
TIME = re.compile(r"\w{3} (\w{3} \d{1,2} \d\d:\d\d:\d\d) (\w+) (\d{4})")
ZONES = {"PST": -8, "PDT": -7, "UTC": 0, "GMT": 0, "EST": -5, "EDT": -4}


def _recognises(head: Head) -> bool:
    return head.has("HITId", "AssignmentId", "WorkerId") and head.begins(ANSWER)


def _rows(record: Record) -> Iterator[Row]:
    answers = _answers(record)
    which = outcome_of(answers)
    chosen = answers.pop(which) if which else []
    row: dict[str, Any] = {
        **({"outcome": chosen[0] if len(chosen) == 1 else None} if which else {}),
        "annotator_id": record.get("WorkerId"),
        "vote_id": f"mturk-{record['AssignmentId']}" if record.get("AssignmentId") else None,
        "voted_at": _time(record.get("SubmitTime")),
        "seconds": record.get("WorkTimeInSeconds"),
        **{ANSWER + name: said[0] if len(said) == 1 else said or None for name, said in answers.items()},
    }
    row |= {n: v for n, v in record.items() if not n.startswith((INPUT, ANSWER)) and n not in READ}
    if str(record.get("AssignmentStatus")).lower() == "rejected":
        row |= reject("refused-work", "the assignment was rejected")
    elif len(chosen) > 1:
        row |= reject("ambiguous-outcome", f"the answer is {' and '.join(map(str, chosen))}")
    data = {name.removeprefix(INPUT): value for name, value in record.items() if name.startswith(INPUT)}
    yield beside(row, data, INPUT)


def _answers(record: Record) -> dict[str, list[Any]]:
    """Question -> what was answered: the options that are true, or the text."""
    found: dict[str, list[Any]] = {}
    for name, value in record.items():
        if not name.startswith(ANSWER) or name == JSON_ANSWERS:
            continue
        question, _, option = name.removeprefix(ANSWER).partition(".")
        said = found.setdefault(question, [])
        if option and str(value).lower() in ("true", "false"):
            said += [option] if str(value).lower() == "true" else []
        elif value is not None:
            said.append(value)
    told = listing(record.get(JSON_ANSWERS))
    for question, value in mapping(told[0] if told else None).items():
        if found.get(question):
            continue
        on = [option for option, chosen in value.items() if chosen is True] if isinstance(value, dict) else [value]
        found[question] = [o for o in on if o is not None]
    return found


def _time(text: Any) -> Any:
    """MTurk's time as ISO 8601 in UTC; another spelling as it is."""
    found = TIME.fullmatch(str(text or "").strip())
    if not found or found[2] not in ZONES:
        return text
    when = datetime.strptime(f"{found[1]} {found[3]}", "%b %d %H:%M:%S %Y").replace(tzinfo=UTC)
    return f"{when - timedelta(hours=ZONES[found[2]]):%Y-%m-%dT%H:%M:%SZ}"


PLATFORM = Platform(
    name="mturk",
    about="CSV of a batch's results",
    told_by="HITId, AssignmentId and WorkerId beside Answer. columns",
    sides="shown, where Input. columns name left and right",
    dropped="the batch's title, description, keywords and annotation",
    recognises=_recognises,
    read=by_record(_rows),
)
