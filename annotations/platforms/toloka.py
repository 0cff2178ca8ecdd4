"""Toloka: the TSV of assignments.

Shape: GetAssignmentsTsvParameters in toloka-kit's client/assignment.py: INPUT:x (what the task was given), OUTPUT:x
(answers), GOLDEN:x (the known answer of a control task, else empty), HINT:text, and ASSIGNMENT:link, assignment_id,
task_id, task_suite_id, worker_id, status, started, submitted, ... Blank lines separate task suites. A suite is one
assignment with several tasks, so both ids together identify a judgment, and the time of a suite is not that of a task.

Golden rows are control questions, not votes. Sides are known if INPUT: columns name left and right.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from annotations.platforms.base import SKIPPED, Head, Platform, by_columns, first_of, reject_where, with_data
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


def _rows(tasks: pl.DataFrame) -> pl.DataFrame:
    answer = _outcome(tasks.columns)
    status = first_of(tasks, OWN + "status").str.to_uppercase()
    ids = [first_of(tasks, OWN + name) for name in ("assignment_id", "task_id")]
    blank = pl.all_horizontal(pl.all().str.strip_chars().fill_null("") == "")
    columns = {
        SKIPPED: pl.when(blank).then(pl.lit("blank rows between task suites")),
        "annotator_id": first_of(tasks, OWN + "worker_id"),
        "voted_at": first_of(tasks, OWN + "submitted"),
        "vote_id": pl.format("toloka-{}-{}", *ids),
        **{name: pl.col(name) for name in tasks.columns if name.startswith(OWN) and name not in READ},
        **reject_where(*((status == word, why, f"the assignment is {word}") for word, why in NOT_DONE.items())),
    }
    if answer:
        columns |= {"outcome": pl.col(OUTPUT + answer), "control": first_of(tasks, GOLDEN + answer)}
    for start in (OUTPUT, GOLDEN):
        # Another answer with a well-known name keeps its prefix, so that no field of the vote takes it.
        columns |= {n: pl.col(n) for n in tasks.columns if n.startswith(start) and n != f"{start}{answer}"}
    data = {name.removeprefix(INPUT): pl.col(name) for name in tasks.columns if name.startswith(INPUT)}
    return tasks.select(**with_data(columns, data, INPUT))


def _outcome(columns: Sequence[str]) -> str | None:
    """Return the answer that holds the outcome: by its name, else the one with a golden column, else ``result``."""
    answers = [name.removeprefix(OUTPUT) for name in columns if name.startswith(OUTPUT)]
    known = [name for name in answers if GOLDEN + name in columns]
    return outcome_question(answers) or outcome_question(known) or ("result" if "result" in answers else None)


PLATFORM = Platform(
    name="toloka",
    description="TSV of assignments; golden rows are control questions",
    detected_by="columns that start with INPUT: and OUTPUT:",
    sides="known if INPUT: columns name left and right",
    dropped="links to assignments; hints",
    recognizes=_recognizes,
    read=by_columns(_rows),
)
