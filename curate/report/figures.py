"""Figures of a report on one denoise run: funnel, position bias, disagreement, and all values of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from curate.annotators.sides import one_sided
from curate.evaluation.leaderboard import Leaderboard
from curate.report.prompts import ShownPrompt
from curate.uncertainty.intervals import LEVEL
from schemas.annotators import AnnotatorsReport
from schemas.denoise import WARNINGS, DenoiseReport
from schemas.manifest import Ceiling
from schemas.validation import ValidationReport

KEPT = ("ranked", "disconnected")
"""Status of prompts that have a ranking."""
STATUS = {
    "disconnected": "ranked only within connected components",
    "too_few_votes": "too few votes, or no decisive vote",
    "skipped": "not connected by votes, and skipped",
}
"""Status of a prompt without a full ranking -> its meaning."""


@dataclass(frozen=True)
class Estimate:
    """A value with its interval; low and high equal the value if there is no interval."""

    value: float
    low: float
    high: float
    known: bool = True
    """Whether there is an interval."""


@dataclass(frozen=True)
class Stage:
    """One stage of the funnel."""

    name: str
    count: int
    excluded: tuple[tuple[str, int], ...] = ()
    """(reason, count > 0) of what was excluded at this stage."""
    whole: int = 0
    """Denominator of the stage's share; 0: the first stage of its block."""


@dataclass(frozen=True)
class Block:
    """The stages of one step, in order."""

    title: str
    stages: tuple[Stage, ...]
    note: str = ""

    def share(self, stage: Stage) -> float:
        """Share of the stage's denominator that is left, at most 1 (pairs can be more than rows)."""
        whole = stage.whole or self.stages[0].count
        return min(stage.count / whole, 1.0) if whole else 0.0


def votes_block(ingested: Mapping[str, int], reasons: Mapping[str, int], stored: int, run: Mapping[str, Any]) -> Block:
    """Return rows read, votes ingested, pairwise votes stored and votes ranked.

    ingested, reasons: sums over all ingests, and their rejects by reason. stored: pairwise votes in the store. run:
    report of the denoise run.
    """
    drops = [("duplicates", ingested.get("duplicates", 0))]
    drops += [(f"rejected: {reason}", count) for reason, count in reasons.items()]
    drops.append(("rejected", ingested.get("rejects", 0) - sum(reasons.values())))
    pairs, used, spam = ingested.get("pairs", 0), run.get("votes"), run.get("excluded_votes", 0)
    stages = [
        Stage("rows read", ingested.get("rows", 0)),
        Stage("votes ingested", ingested.get("votes", 0), _positive(drops)),
        Stage("pairwise votes in the store", stored, _positive([("superseded by newer votes", pairs - stored)])),
    ]
    between = (run.get("equal_texts") or {}).get("excluded_votes", 0)
    copied = run.get("copied_votes", 0)
    if used is not None:
        why = [
            ("by likely spammers", spam),
            ("copied within rings of accounts", copied),
            ("between equal texts", between),
            ("ingested after this run, or dropped both_bad votes", stored - used - spam - copied - between),
        ]
        stages.append(Stage("votes used by the run", used, _positive(why)))
    has_rankings = pairs > ingested.get("votes", 0)
    note = "A ranking of K responses is one row and K (K − 1) / 2 pairwise votes." if has_rankings else ""
    return Block("Votes", tuple(stages), note)


def prompts_block(stored: int, status: Mapping[str, int], outside: int) -> Block:
    """Return prompts stored, prompts of the run and prompts ranked in full. status: prompts of the run by status."""
    drops = [(STATUS.get(name, name), count) for name, count in sorted(status.items()) if name != "ranked"]
    return Block(
        "Prompts",
        (
            Stage("in the store", stored),
            Stage("in the run", sum(status.values()), _positive([("not in the run", outside)])),
            Stage("ranked in full", status.get("ranked", 0), _positive(drops)),
        ),
    )


def release_block(run_id: str, report: Mapping[str, Any]) -> Block:
    """Return the stages of a release after the denoise run. report: of its build."""
    stages = tuple(
        Stage(
            f"{found['unit']}: {found['stage'].removeprefix('items: ').removeprefix('prompts ')}",
            found["kept"],
            _positive(sorted(found["dropped"].items())),
            whole=found.get("input", found.get("came")),
        )
        for found in report["funnel"]["stages"]
        if found["stage"] not in ("ingest", "denoise")
    )
    label = f"{report['name']} {report['release'] or report['version']}"
    return Block(f"Release {label}", stages, f"Run {run_id}.")


def export_block(step: str, run_id: str, report: Mapping[str, Any], prompts: int) -> Block:
    """Return the stages of an export: prompts, then candidates, eligible sets and items of each config.

    prompts: number of prompts of the run.
    """
    excluded = _positive(sorted(report.get("excluded", report.get("left_out", {})).items()))  # renamed
    stages = [Stage("prompts of the run", prompts), Stage("prompts with an item", report.get("prompts", 0), excluded)]
    for name, items in report.get("items", {}).items():
        candidates, eligible = (report.get(key, {}).get(name) for key in ("candidates", "eligible"))
        if candidates is not None:
            stages.append(Stage(f"{name}: candidate sets", candidates, whole=candidates))
        if eligible is not None:
            drops = _positive([("below min_confidence", (candidates or eligible) - eligible)])
            stages.append(Stage(f"{name}: confident enough", eligible, drops, whole=candidates or 0))
        stages.append(Stage(f"{name}: items drawn", items, whole=candidates or 0))
    return Block(f"Export: {report.get('kind', step)}", tuple(stages), f"Run {run_id}.")


def _positive(drops: Sequence[tuple[str, int]]) -> tuple[tuple[str, int], ...]:
    return tuple((why, count) for why, count in drops if count > 0)


@dataclass(frozen=True)
class Sides:
    """Votes whose sides are known."""

    left: int
    right: int
    undecided: int
    """tie and both_bad."""
    share: Estimate | None
    """Share of decisive votes for the left response; None without decisive votes."""
    annotators: int
    """Annotators of the decisive votes; an anonymous vote counts as one annotator."""
    significant: bool = False
    """The share differs significantly from one half (p < .05)."""
    warnings: tuple[str, ...] = ()
    """Codes of ``one_sided`` in words."""


def sides_of(counts: pl.DataFrame) -> Sides:
    """Return the position bias. counts: ``votes_by_side``.

    The interval takes annotators as independent clusters: linearised variance of a ratio, Student's t.
    """
    from scipy.special import stdtrit

    left, right = int(counts["left"].sum()), int(counts["right"].sum())
    warnings = tuple(WARNINGS[code].format(count=count) for code, count in one_sided(counts).items())
    undecided, total = int(counts["undecided"].sum()), left + right
    if not total:
        return Sides(left, right, undecided, None, 0)
    share = left / total
    named = counts.filter(pl.col("annotator_id").is_not_null(), pl.col("left") + pl.col("right") > 0)
    anonymous = counts.filter(pl.col("annotator_id").is_null())
    anonymous_left, anonymous_right = int(anonymous["left"].sum()), int(anonymous["right"].sum())
    deviation = named["left"] - share * (named["left"] + named["right"])
    squares = float((deviation**2).sum()) + anonymous_left * (1 - share) ** 2 + anonymous_right * share**2
    clusters = len(named) + anonymous_left + anonymous_right
    if clusters < 2:
        return Sides(left, right, undecided, Estimate(share, share, share, known=False), clusters, False, warnings)
    error = (clusters / (clusters - 1) * squares) ** 0.5 / total
    margin = float(stdtrit(clusters - 1, (1 + LEVEL) / 2)) * error
    estimate = Estimate(share, max(share - margin, 0.0), min(share + margin, 1.0))
    significant = abs(share - 0.5) > float(stdtrit(clusters - 1, 0.975)) * error
    return Sides(left, right, undecided, estimate, clusters, significant, warnings)


def pair_disagreement(pairs: pl.DataFrame, responses: pl.DataFrame) -> pl.DataFrame:
    """Return the pairs with first_rank, second_rank, total (vote weight) and against (weight against the order).

    A tie counts half, and a pair of equal ranks counts half of its weight, as in the cost of a ranking. ``against`` is
    null if the run does not compare the pair. pairs: ``pair_votes``; responses: ``ranked_responses`` of the same run.
    """
    found = pairs
    for side in ("first", "second"):
        own = responses.select(
            "prompt_id",
            pl.col("response_id").alias(side),
            pl.col("rank").alias(f"{side}_rank"),
            pl.col("component").alias(f"{side}_component"),
        )
        found = found.join(own, on=["prompt_id", side], how="left", maintain_order="left")
    half = pl.col("tied") / 2
    ahead = pl.col("second_rank") - pl.col("first_rank")
    against = (
        pl.when(ahead > 0)
        .then(pl.col("for_second") + half)
        .when(ahead < 0)
        .then(pl.col("for_first") + half)
        .otherwise(pl.col("total") / 2)
    )
    compared = pl.col("first_component") == pl.col("second_component")  # null if either is unranked
    return found.with_columns(total=pl.col("for_first") + pl.col("for_second") + pl.col("tied")).with_columns(
        against=pl.when(compared).then(against)
    )


def prompt_disagreement(pairs: pl.DataFrame) -> pl.DataFrame:
    """Return prompt_id, against, compared (vote weight on compared pairs) and disagreement, their ratio.

    pairs: ``pair_disagreement``. Prompts without compared pairs are absent.
    """
    return (
        pairs.filter(pl.col("against").is_not_null())
        .group_by("prompt_id")
        .agg(pl.col("against").sum(), pl.col("total").sum().alias("compared"))
        .with_columns(disagreement=pl.col("against") / pl.col("compared"))
        .sort("prompt_id")
    )


@dataclass(frozen=True)
class Disagreement:
    """Disagreement of votes with the final orders, over prompts with a ranking."""

    share: float | None
    """Share of the vote weight that disagrees with the final orders."""
    lower_bound: float | None
    """Proven lower bound on this share for any orders."""
    cyclic: int
    """Cyclic triads."""
    triples: int
    """All triples of responses to one prompt."""
    shares: tuple[float, ...]
    """Disagreement of each prompt."""


@dataclass(frozen=True)
class Source:
    """The origin of the figures: file names without paths."""

    store: str
    run_id: str
    code_version: str
    config: str
    """Config of the denoise run, JSON."""
    files: tuple[tuple[str, str], ...]
    """(name, sha256) of the vote files, in the order of ingest."""
    newer_votes: int
    """Votes that were ingested after the run."""


@dataclass(frozen=True)
class LabelCeiling:
    """Reliability of the labels of an export."""

    kind: str
    config: str
    items: int
    ceiling: Ceiling | None
    floor: float | None
    confidence: float | None
    fragility: str
    """Summary over the labels; empty if it was not computed."""


@dataclass(frozen=True)
class ReportView:
    """All values of the page. A value is None if it was not computed or does not exist."""

    source: Source
    responses: int
    run: DenoiseReport | None
    """None if this version cannot read the report of the run."""
    chosen_in: str
    """Release of the earlier run that selected the method, name-version; empty if there is none."""
    funnel: tuple[Block, ...]
    models: Leaderboard | None
    """None if no response has a model."""
    people: AnnotatorsReport
    sides: Sides
    disagreement: Disagreement
    validation: ValidationReport | None
    """Of ``curate validate --json``, if given."""
    ceilings: tuple[LabelCeiling, ...]
    shown: tuple[ShownPrompt, ...]
    """The prompts that are readable without scripts."""
    prompts: int
    """Prompts of the run."""
    listed: int
    """Prompts that the interactive page has."""
