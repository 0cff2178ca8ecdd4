"""Toloka: the TSV of assignments.

Shape: GetAssignmentsTsvParameters in toloka-kit's client/assignment.py: INPUT:x (what the task was given), OUTPUT:x
(answers), GOLDEN:x (the known answer of a control task, else empty), HINT:text, and ASSIGNMENT:link, assignment_id,
task_id, task_suite_id, worker_id, status, started, submitted, ... Blank lines separate task suites. A suite is one
assignment with several tasks, so both ids together identify a judgment, and the time of a suite is not that of a task.

Golden rows are control questions, not votes. Sides are known if INPUT: columns name left and right.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from annotations.platforms.base import SKIPPED, Head, Platform, Record, Row, by_record, reject, with_data
from annotations.readers.outcomes import outcome_question

INPUT, OUTPUT, GOLDEN, OWN = "INPUT:", "OUTPUT:", "GOLDEN:", "ASSIGNMENT:"
NOT_DONE = {
    "REJECTED": "refused-work",
    "SKIPPED": "cancelled",
    "EXPIRED": "cancelled",
    "ACTIVE": "no-answer",
}
READ = tuple(OWN + name for name in ("worker_id", "submitted", "link"))


def _recognizes(head: Head) -> bool:
    return head.has_prefixes(INPUT, OUTPUT)


def _rows(record: Record) -> Iterator[Row]:
    if all(value is None or not str(value).strip() for value in record.values()):
        yield {SKIPPED: "blank rows between task suites"}
        return
    answer = _outcome(record)
    ids = [record.get(OWN + name) for name in ("assignment_id", "task_id")]
    status = str(record.get(OWN + "status") or "").upper()
    row: dict[str, Any] = {
        "annotator_id": record.get(OWN + "worker_id"),
        "voted_at": record.get(OWN + "submitted"),
        "vote_id": None if None in ids else f"toloka-{ids[0]}-{ids[1]}",
        **{name: value for name, value in record.items() if name.startswith(OWN) and name not in READ},
    }
    if answer:
        row |= {"outcome": record.get(OUTPUT + answer), "control": record.get(GOLDEN + answer)}
    if status in NOT_DONE:
        row |= reject(NOT_DONE[status], f"the assignment is {status}")
    for start in (OUTPUT, GOLDEN):
        row |= {n: v for n, v in record.items() if n.startswith(start) and n != f"{start}{answer}"}
    # Another answer with a well-known name keeps its prefix, so that no field of the vote takes it.
    data = {name.removeprefix(INPUT): value for name, value in record.items() if name.startswith(INPUT)}
    yield with_data(row, data, INPUT)


def _outcome(record: Record) -> str | None:
    """Return the answer that holds the outcome: by its name, else the one with a golden column, else ``result``."""
    answers = [name.removeprefix(OUTPUT) for name in record if name.startswith(OUTPUT)]
    known = [name for name in answers if GOLDEN + name in record]
    return outcome_question(answers) or outcome_question(known) or ("result" if "result" in answers else None)


PLATFORM = Platform(
    name="toloka",
    description="TSV of assignments; golden rows are control questions",
    detected_by="columns that start with INPUT: and OUTPUT:",
    sides="known if INPUT: columns name left and right",
    dropped="links to assignments; hints",
    recognizes=_recognizes,
    read=by_record(_rows),
)
