"""The job ``annotators``: who votes with care, who may be a spammer, and what to do about each."""

from __future__ import annotations

import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.annotators.gold import Answers, Gold, Number, against_gold
from curate.annotators.recommendations import recommend
from curate.annotators.statistics import alpha, judged_twice, profiles
from curate.rankers.hierarchical import Hierarchical
from curate.store import Store
from curate.store.controls import control_answers
from curate.store.people import people
from curate.store.rankings import load_votes
from curate.votes.arrays import VoteArrays
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
    it does not matter). Answers to control questions count beside it. The joint model is fitted anew to all votes,
    both_bad as a tie. Nothing is written.
    Raises CurateError where there is no store, or no vote in it, and for a gold file that cannot be read or holds no
    pair of the store.
    """
    with Store.open(store_path, read_only=True) as store:
        votes = load_votes(store).votes
        known = people(store)
        controls = control_answers(store)
    answers, absent = _answers(controls, votes)
    told, report = _gold(gold, mapping, votes, str(store_path), answers)
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
        warnings=(*warnings, *_doubts(told, report), *_absent(absent)),
    )


def _rows(votes: VoteArrays, gold: Gold, known: pl.DataFrame) -> tuple[list[AnnotatorRow], list[str]]:
    """The annotators, worst first, and what is to be said of them. known: ``people`` of the store."""
    if not votes.annotators:
        return [], ["all votes are anonymous: there is nobody to show (--map annotator_id=COLUMN in curate ingest)"]
    fit = Hierarchical().fit(votes)
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
    not_converged = int((~fit.converged).sum())
    warnings = [f"the joint model stopped before its tolerance on {not_converged} prompts"] if not_converged else []
    return [AnnotatorRow(**row) for row in frame.iter_rows(named=True)], warnings


def _answers(controls: pl.DataFrame, votes: VoteArrays) -> tuple[Answers, int]:
    """(the answers to control questions of those who voted, how many people answered and did not vote)."""
    numbers = {person: i for i, person in enumerate(votes.annotators)}
    codes = {name: i for i, name in enumerate(OUTCOMES)}
    who = controls["annotator_id"].replace_strict(numbers, default=None, return_dtype=pl.Int64)
    own = controls.filter(who.is_not_null())
    said, truth = (
        own[name].replace_strict(codes, return_dtype=pl.Int8).to_numpy().astype(np.int8)
        for name in ("outcome", "answer")
    )
    return Answers(who.drop_nulls().to_numpy(), said, truth), controls.filter(who.is_null())["annotator_id"].n_unique()


def _absent(count: int) -> list[str]:
    return [f"people who answered control questions and have no vote: {count:,}"] if count else []


def _gold(
    path: str | Path | None, mapping: Mapping, votes: VoteArrays, store: str, answers: Answers
) -> tuple[Gold, GoldReport | None]:
    """How the annotators did on the pairs of a gold file and on control questions; and what became of its rows."""
    left: Number = np.zeros(0, dtype=np.int64)
    right, outcome, unknown, rejected = left, left.astype(np.int8), 0, 0
    if path:
        left, right, outcome, unknown, rejected = _pairs(path, mapping, votes, store)
    gold = against_gold(votes, left, right, outcome, answers=answers)
    if not path and not len(answers.who):
        return gold, None
    return gold, GoldReport(
        file=str(path or ""),
        pairs=gold.pairs,
        unvoted=gold.unvoted,
        contradicted=gold.contradicted,
        unknown=unknown,
        rejected=rejected,
        controls=len(answers.who),
        votes=int(gold.votes.sum()),
        accuracy=None if math.isnan(gold.mean) else gold.mean,
        chance=None if math.isnan(gold.mean) else gold.mean_chance,
    )


def _pairs(
    path: str | Path, mapping: Mapping, votes: VoteArrays, store: str
) -> tuple[Number, Number, npt.NDArray[np.int8], int, int]:
    """(left, right, outcome) of the pairs of a gold file, its rows on what the store does not know, and its rejects."""
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
    unknown = len(rows) - len(pairs)
    return pairs["left"].to_numpy(), pairs["right"].to_numpy(), outcome.to_numpy(), unknown, read.rejects


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
