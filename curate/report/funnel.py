"""The funnel: what went into each step of the pipeline, what came out, and why the rest did not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

KEPT = ("ranked", "disconnected")
"""Status of prompts that have a ranking."""
STATUS = {
    "disconnected": "ranked in parts only: no chain of votes connects all responses",
    "thin": "too few votes, or none that prefers a response",
    "skipped": "no chain of votes connects all responses",
}


@dataclass(frozen=True)
class Stage:
    """How much is left, and what was left out on the way here."""

    name: str
    count: int
    left_out: tuple[tuple[str, int], ...] = ()
    """(why, how many), those of none left away."""


@dataclass(frozen=True)
class Block:
    """Stages of one kind of thing, counted from the first; bars are shares of the largest."""

    title: str
    unit: str
    stages: tuple[Stage, ...]
    note: str = ""

    @property
    def most(self) -> int:
        return max((stage.count for stage in self.stages), default=0)


def votes_block(ingested: Mapping[str, int], reasons: Mapping[str, int], now: int, run: Mapping[str, Any]) -> Block:
    """Rows read, votes taken in, votes in the store, votes ranked. now: pairwise votes in the store.

    ingested, reasons: sums over all ingests, and their rejects by reason. run: report of the denoise run.
    """
    drops = [("duplicates of votes that were there", ingested.get("duplicates", 0))]
    drops += [(f"rejected: {reason}", count) for reason, count in reasons.items()]
    drops.append(("rejected", ingested.get("rejects", 0) - sum(reasons.values())))
    stages = [Stage("rows read", ingested.get("rows", 0))]
    stages.append(Stage("votes taken in", ingested.get("votes", 0), _some(drops)))
    pairs, used, spam = ingested.get("pairs", 0), run.get("votes"), run.get("left_out", 0)
    wise = pairs > ingested.get("votes", 0)
    replaced = (("replaced by newer votes of the same people", pairs - now),)
    stages.append(Stage("pairwise votes in the store", now, _some(replaced)))
    if used is not None:
        rest = now - used - spam
        why = [("of likely spammers", spam), ("came after this run, or both_bad that it dropped", rest)]
        stages.append(Stage("votes that the run read", used, _some(why)))
    note = "A ranking of K responses is one row and K (K − 1) / 2 pairwise votes." if wise else ""
    return Block("Votes", "rows and votes", tuple(stages), note)


def prompts_block(stored: int, status: Mapping[str, int], outside: int) -> Block:
    """Prompts known, prompts the run looked at, prompts ranked in full. status: prompts of the run by status."""
    looked = sum(status.values())
    drops = [(STATUS.get(name, name), count) for name, count in sorted(status.items()) if name != "ranked"]
    return Block(
        "Prompts",
        "prompts",
        (
            Stage("in the store", stored),
            Stage("looked at by the run", looked, _some([("not in the run", outside)])),
            Stage("ranked in full", status.get("ranked", 0), _some(drops)),
        ),
    )


def export_block(step: str, run_id: str, report: Mapping[str, Any]) -> Block:
    """One export: candidates, eligible sets and items of each config, and all that was left out."""
    kind = report.get("kind", step)
    stages = []
    for name, items in report.get("items", {}).items():
        candidates, eligible = (report.get(key, {}).get(name) for key in ("candidates", "eligible"))
        if candidates is not None:
            stages.append(Stage(f"{name}: sets considered", candidates))
        if eligible is not None:
            below = (candidates or eligible) - eligible
            stages.append(Stage(f"{name}: certain enough", eligible, _some([("below min_confidence", below)])))
        stages.append(Stage(f"{name}: items", items))
    left_out = _some(sorted(report.get("left_out", {}).items()))
    stages.append(Stage("prompts with an item", report.get("prompts", 0), left_out))
    return Block(f"Export: {kind}", "sets, items and prompts", tuple(stages), f"Run {run_id}.")


def _some(drops: Sequence[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    return tuple((why, count) for why, count in drops if count > 0)
