"""Toloka: the TSV of assignments.

Shape: GetAssignmentsTsvParameters in toloka-kit's client/assignment.py: INPUT:x (what the task was given), OUTPUT:x
(answers), GOLDEN:x (the known answer of a control task, else empty), HINT:text, and ASSIGNMENT:link, assignment_id,
task_id, task_suite_id, worker_id, status, started, submitted, ... Task suites are parted by blank lines. A suite is one
assignment with several tasks, so that a judgment is told by both ids, and the suite's time is nobody's time on a task.

Golden rows are control questions and no votes. Sides are shown where INPUT: columns name left and right.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from annotations.platforms.base import SKIPPED, Platform, Record, Row, by_record, reject
from annotations.platforms.questions import beside, outcome_of
from annotations.platforms.sniffing import Head

INPUT, OUTPUT, GOLDEN, OWN = "INPUT:", "OUTPUT:", "GOLDEN:", "ASSIGNMENT:"
NOT_DONE = {
    "REJECTED": "refused-work",
    "SKIPPED": "cancelled",
    "EXPIRED": "cancelled",
    "ACTIVE": "no-answer",
}
READ = tuple(OWN + name for name in ("worker_id", "submitted", "link"))


def _recognises(head: Head) -> bool:
    return head.begins(INPUT, OUTPUT)


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
    # A second answer that is well known for something else keeps its prefix: it is no field of the vote.
    data = {name.removeprefix(INPUT): value for name, value in record.items() if name.startswith(INPUT)}
    yield beside(row, data, INPUT)


def _outcome(record: Record) -> str | None:
    """The answer that says who won: by its name, else the one that control tasks know, else Toloka's usual result."""
    answers = [name.removeprefix(OUTPUT) for name in record if name.startswith(OUTPUT)]
    known = [name for name in answers if GOLDEN + name in record]
    return outcome_of(answers) or outcome_of(known) or ("result" if "result" in answers else None)


PLATFORM = Platform(
    name="toloka",
    about="TSV of assignments; golden rows are control questions",
    told_by="columns that begin with INPUT: and OUTPUT:",
    sides="shown, where INPUT: columns name left and right",
    dropped="links to assignments; hints",
    recognises=_recognises,
    read=by_record(_rows),
)
