"""The funnel: what went into each step of the pipeline, what came out, and why the rest did not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

KEPT = ("ranked", "disconnected")
"""Status of prompts that have a ranking."""
STATUS = {
    "disconnected": "ranked in parts only: no chain of votes connects all responses",
    "too_few_votes": "too few votes, or none that prefers a response",
    "skipped": "no chain of votes connects all responses",
}


@dataclass(frozen=True)
class Stage:
    """How much is left, and what was left out on the way here."""

    name: str
    count: int
    left_out: tuple[tuple[str, int], ...] = ()
    """(why, how many), those of none left away."""
    whole: int = 0
    """What the stage is a share of; 0: of the first stage of its block."""


@dataclass(frozen=True)
class Block:
    """The stages of one step, in order."""

    title: str
    stages: tuple[Stage, ...]
    note: str = ""

    def share(self, stage: Stage) -> float:
        """What is left of what the stage is a share of, 0 to 1; more pairs than rows count as 1."""
        whole = stage.whole or self.stages[0].count
        return min(stage.count / whole, 1.0) if whole else 0.0


def votes_block(ingested: Mapping[str, int], reasons: Mapping[str, int], now: int, run: Mapping[str, Any]) -> Block:
    """Rows read, votes taken in, votes in the store, votes ranked. now: pairwise votes in the store.

    ingested, reasons: sums over all ingests, and their rejects by reason. run: report of the denoise run.
    """
    drops = [("duplicates of votes that were there", ingested.get("duplicates", 0))]
    drops += [(f"rejected: {reason}", count) for reason, count in reasons.items()]
    drops.append(("rejected", ingested.get("rejects", 0) - sum(reasons.values())))
    stages = [Stage("rows read", ingested.get("rows", 0))]
    stages.append(Stage("votes taken in", ingested.get("votes", 0), _some(drops)))
    pairs, used, spam = ingested.get("pairs", 0), run.get("votes"), run.get("excluded_votes", 0)
    wise = pairs > ingested.get("votes", 0)
    replaced = (("replaced by newer votes of the same people", pairs - now),)
    stages.append(Stage("pairwise votes in the store", now, _some(replaced)))
    if used is not None:
        rest = now - used - spam
        why = [("of likely spammers", spam), ("came after this run, or both_bad that it dropped", rest)]
        stages.append(Stage("votes that the run read", used, _some(why)))
    note = "A ranking of K responses is one row and K (K − 1) / 2 pairwise votes." if wise else ""
    return Block("Votes", tuple(stages), note)


def prompts_block(stored: int, status: Mapping[str, int], outside: int) -> Block:
    """Prompts known, prompts the run looked at, prompts ranked in full. status: prompts of the run by status."""
    looked = sum(status.values())
    drops = [(STATUS.get(name, name), count) for name, count in sorted(status.items()) if name != "ranked"]
    return Block(
        "Prompts",
        (
            Stage("in the store", stored),
            Stage("looked at by the run", looked, _some([("not in the run", outside)])),
            Stage("ranked in full", status.get("ranked", 0), _some(drops)),
        ),
    )


def release_block(run_id: str, report: Mapping[str, Any]) -> Block:
    """The stages of a release after the denoise run: prompts, then the sets of each config. report: of its build."""
    stages = tuple(
        Stage(
            f"{found['unit']}: {found['stage'].removeprefix('items: ').removeprefix('prompts ')}",
            found["kept"],
            _some(sorted(found["dropped"].items())),
            whole=found.get("input", found.get("came")),
        )
        for found in report["funnel"]["stages"]
        if found["stage"] not in ("ingest", "denoise")
    )
    label = f"{report['name']} {report['release'] or report['version']}"
    return Block(f"Release {label}", stages, f"Run {run_id}. Each stage as a share of what came to it.")


def export_block(step: str, run_id: str, report: Mapping[str, Any], prompts: int) -> Block:
    """One export: prompts of the run, prompts with an item, and sets, eligible ones and items of each config.

    prompts: those that the run looked at.
    """
    kind = report.get("kind", step)
    left_out = _some(sorted(report.get("excluded", report.get("left_out", {})).items()))
    stages = [Stage("prompts of the run", prompts), Stage("prompts with an item", report.get("prompts", 0), left_out)]
    for name, items in report.get("items", {}).items():
        candidates, eligible = (report.get(key, {}).get(name) for key in ("candidates", "eligible"))
        if candidates is not None:
            stages.append(Stage(f"{name}: sets considered", candidates, whole=candidates))
        if eligible is not None:
            below = (candidates or eligible) - eligible
            drops = _some([("below min_confidence", below)])
            stages.append(Stage(f"{name}: certain enough", eligible, drops, whole=candidates or 0))
        stages.append(Stage(f"{name}: items drawn", items, whole=candidates or 0))
    return Block(f"Export: {kind}", tuple(stages), f"Run {run_id}.")


def _some(drops: Sequence[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    return tuple((why, count) for why, count in drops if count > 0)
