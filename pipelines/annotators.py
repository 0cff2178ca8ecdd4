"""The job ``annotators``: who votes with care, who may be a spammer, and what to do about each."""

from __future__ import annotations

import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import numpy as np
import polars as pl

from curate.annotators import alpha, judged_twice, profiles
from curate.gold import Gold, against_gold
from curate.rankers.joint import Joint
from curate.recommendations import recommend
from curate.store import Store
from curate.store.people import people
from curate.store.rankings import load_votes
from curate.votes import VoteArrays
from pipelines.ingestion import ingest
from schemas.annotators import AnnotatorRow, AnnotatorsReport, GoldReport, Recommendation
from schemas.config import IngestConfig, Mapping
from schemas.errors import CurateError
from schemas.votes import OUTCOMES


def annotators(
    store_path: str | Path = "curate.duckdb", *, gold: str | Path | None = None, mapping: Mapping = Mapping()
) -> AnnotatorsReport:
    """Every annotator of the store, worst first, and Krippendorff's alpha over all votes.

    gold: a file of pairs whose outcome is known, in any format of votes that ingest reads (by the mapping; who voted in
    it does not matter). The joint model is fitted anew to all votes, both_bad as a tie. Nothing is written.
    Raises CurateError where there is no store, or no vote in it, and for a gold file that cannot be read or holds no
    pair of the store.
    """
    with Store.open(store_path, read_only=True) as store:
        votes = load_votes(store).votes
        known = people(store)
    told, report = _gold(gold, mapping, votes, str(store_path)) if gold else (_no_gold(votes), None)
    rows, warnings = _rows(votes, told, known)
    dropped = sum(row.votes for row in rows if row.recommendation == "drop")
    overall, (pairs, judges) = alpha(votes), judged_twice(votes)
    return AnnotatorsReport(
        store=str(store_path),
        votes=len(votes.left),
        anonymous=int((votes.annotator < 0).sum()),
        alpha=None if math.isnan(overall) else overall,
        judged_twice=pairs,
        judges=judges,
        gold=report,
        dropped_share=dropped / len(votes.left),
        annotators=tuple(rows),
        warnings=(*warnings, *_doubts(told, report)),
    )


def _rows(votes: VoteArrays, gold: Gold, known: pl.DataFrame) -> tuple[list[AnnotatorRow], list[str]]:
    """The annotators, worst first, and what is to be said of them. known: ``people`` of the store."""
    if not votes.annotators:
        return [], ["all votes are anonymous: there is nobody to show (--map annotator_id=COLUMN in curate ingest)"]
    fit = Joint().fit(votes)
    found = profiles(votes, fit)
    verdicts = recommend(found, gold)
    figures = pl.DataFrame(
        {
            "annotator_id": votes.annotators,
            "recommendation": [verdict.recommendation for verdict in verdicts],
            "p_spammer": found.spammer,
            "agreement": found.agreement,
            "compared": found.compared,
            "discrimination": found.discrimination,
            "discrimination_se": found.discrimination_se,
            "left_bias": found.left_bias,
            "left_bias_se": found.left_bias_se,
            "tie_share": found.tie_share,
            "gold_votes": gold.votes,
            "gold_accuracy": gold.accuracy,
            "gold_low": gold.low,
            "gold_high": gold.high,
            "reason": [verdict.reason for verdict in verdicts],
        }
    )
    frame = figures.fill_nan(None).join(known, on="annotator_id", how="left", validate="1:1")
    worst = pl.col("recommendation").cast(pl.Enum(get_args(Recommendation)))
    frame = frame.sort(
        worst, "p_spammer", "agreement", "annotator_id", descending=[False, True, False, False], nulls_last=True
    )
    unsolved = int((~fit.solved).sum())
    warnings = [f"the joint model stopped before its tolerance on {unsolved} prompts"] if unsolved else []
    return [AnnotatorRow(**row) for row in frame.iter_rows(named=True)], warnings


def _no_gold(votes: VoteArrays) -> Gold:
    nothing = np.zeros(0, dtype=np.int64)
    return against_gold(votes, nothing, nothing, nothing.astype(np.int8))


def _gold(path: str | Path, mapping: Mapping, votes: VoteArrays, store: str) -> tuple[Gold, GoldReport]:
    """How the annotators voted on the pairs of a gold file, and what became of its rows."""
    with TemporaryDirectory() as folder:
        read = ingest(path, Path(folder) / "gold.duckdb", config=IngestConfig(mapping=mapping, repeats="all"))
        with Store.open(Path(folder) / "gold.duckdb", read_only=True) as opened:
            rows = opened.votes().select("prompt_id", "response_left", "response_right", "outcome")
    number = pl.DataFrame(
        {
            "prompt_id": pl.Series(votes.prompts, dtype=pl.String).gather(votes.response_prompt),
            "response": pl.Series(votes.responses, dtype=pl.String),
            "number": np.arange(len(votes.responses)),
        }
    )
    pairs = rows
    for side in ("left", "right"):
        of_side = number.rename({"response": f"response_{side}", "number": side})
        pairs = pairs.join(of_side, on=["prompt_id", f"response_{side}"], how="inner")
    if pairs.is_empty():
        raise CurateError(
            f"{path}: none of its {len(rows)} pairs is on a prompt and responses of {store}",
            hint="use the ids of the votes: curate ingest reads prompt_id, left, right and outcome of both alike",
        )
    outcome = pairs["outcome"].replace_strict({name: i for i, name in enumerate(OUTCOMES)}, return_dtype=pl.Int8)
    gold = against_gold(votes, pairs["left"].to_numpy(), pairs["right"].to_numpy(), outcome.to_numpy())
    return gold, GoldReport(
        file=str(path),
        pairs=gold.pairs,
        unvoted=gold.unvoted,
        contradicted=gold.contradicted,
        unknown=len(rows) - len(pairs),
        rejected=read.rejects,
        votes=int(gold.votes.sum()),
        accuracy=None if math.isnan(gold.mean) else gold.mean,
        chance=None if math.isnan(gold.mean) else gold.mean_chance,
    )


def _doubts(gold: Gold, report: GoldReport | None) -> list[str]:
    """What of the gold is of no use, in words."""
    if report is None:
        return []
    counts = {
        "gold pairs without a vote of an annotator": report.unvoted,
        "gold pairs left out for having more than one outcome": report.contradicted,
        "rows of gold left out, on prompts or responses that the store does not know": report.unknown,
        "rows of gold left out, since they cannot be read (curate ingest --dry-run says why)": report.rejected,
    }
    doubts = [f"{what}: {count:,}" for what, count in counts.items() if count]
    if report.votes and not gold.mean > gold.mean_chance:
        doubts.append("all annotators together meet the gold no better than by chance: it decides nothing here")
    return doubts
