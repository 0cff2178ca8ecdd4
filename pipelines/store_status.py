"""The job ``status``: the content of a store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from curate.store import Store
from schemas.reports import StatusReport
from schemas.tables import SCHEMA_VERSION


def status(store: str | Path = "curate.duckdb") -> StatusReport:
    """Return the counts of a store and its runs. Raises CurateError if there is no store."""
    with Store.open(store, read_only=True) as opened:
        counts = opened.counts()
        runs = [
            {"run": row["run_id"], "step": row["step"], "did": _summary(row["step"], json.loads(row["report"]))}
            for row in opened.rows("SELECT run_id, step, report FROM runs ORDER BY seq")
        ]
    return StatusReport(
        store=str(store), bytes=Path(store).stat().st_size, schema_version=SCHEMA_VERSION, runs=tuple(runs), **counts
    )


def _summary(step: str, report: dict[str, Any]) -> str:
    """One line about a run."""
    if step == "denoise":
        return f"{report['ranker']}: {report['ranked']} of {report['prompts']} prompts ranked in full"
    items = ", ".join(f"{count} {name}" for name, count in report["items"].items())
    return f"{items} items to {report['out']}"
