"""The record of runs: finding a finished one, and recording a new one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from curate.store.database import Store


@dataclass(frozen=True)
class Run:
    """One execution of a step. ``config``, ``inputs`` and ``report`` are JSON documents."""

    run_id: str
    step: str
    config: dict[str, Any]
    inputs: dict[str, Any]
    code_version: str
    seed: int | None


def recall(store: Store, run_id: str) -> dict[str, Any] | None:
    """Return the report of a run in the store and make it the latest; None where there is no such run."""
    found = store.run(run_id)
    if found is None:
        return None
    store.execute("UPDATE runs SET seq = (SELECT max(seq) + 1 FROM runs) WHERE run_id = ?", [run_id])
    report: dict[str, Any] = found["report"]
    return report


def record(store: Store, run: Run, report: dict[str, Any]) -> None:
    """Record a run as the latest, in the transaction that writes its results."""
    store.execute(
        "INSERT INTO runs SELECT ?, coalesce(max(seq), 0) + 1, ?, ?, ?, ?, ?, ? FROM runs",
        [
            run.run_id,
            run.step,
            json.dumps(run.config, sort_keys=True),
            json.dumps(run.inputs, sort_keys=True),
            run.code_version,
            run.seed,
            json.dumps(report),
        ],
    )
