"""The job ``status``: the content of a store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from curate.store import Store
from schemas.choices import TextComparison
from schemas.reports import StatusReport, TextGroup
from schemas.tables import SCHEMA_VERSION


def status(
    store: str | Path = "curate.duckdb", *, equal_texts: bool = False, comparison: TextComparison = "careful"
) -> StatusReport:
    """Return the counts of a store and its runs. Raises CurateError if there is no store.

    equal_texts: also list the groups of equal and of nearly identical texts. comparison: when texts are equal.
    """
    with Store.open(store, read_only=True) as opened:
        counts = opened.counts()
        runs = [
            {"run": row["run_id"], "step": row["step"], "did": _summary(row["step"], json.loads(row["report"]))}
            for row in opened.rows("SELECT run_id, step, report FROM runs ORDER BY seq")
        ]
        size = opened.bytes()
        groups = _text_groups(opened, comparison) if equal_texts else ()
    return StatusReport(
        store=str(store),
        bytes=size,
        schema_version=SCHEMA_VERSION,
        runs=tuple(runs),
        equal_texts=groups,
        **counts,
    )


def _text_groups(store: Store, how: TextComparison) -> tuple[TextGroup, ...]:
    from curate.votes.texts import text_groups  # polars takes longer to import than the rest of the job

    found = text_groups(store.responses(), how)
    return tuple(TextGroup(**row) for row in found.iter_rows(named=True))


def _summary(step: str, report: dict[str, Any]) -> str:
    """One line about a run."""
    if step == "denoise":
        groups = (report.get("equal_texts") or {}).get("groups", 0)
        texts = f", {groups} groups of equal texts" if groups else ""
        return f"{report['ranker']}: {report['ranked']} of {report['prompts']} prompts ranked in full{texts}"
    items = ", ".join(f"{count} {name}" for name, count in report["items"].items())
    return f"{items} items to {report['out']}"
