"""The job ``annotators``: quality and agreement of the annotators of a store, with recommendations."""

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
from curate.store.people import annotator_counts, control_answers
from curate.store.rankings import load_votes
from curate.votes.arrays import VoteArrays
from pipelines.ingestion import ingest
from schemas.annotators import AnnotatorRow, AnnotatorsReport, GoldReport, Recommendation
from schemas.config import IngestConfig
from schemas.errors import CurateError
from schemas.mapping import Mapping
from schemas.votes import OUTCOMES


def annotators(
    store_path: str | Path = "curate.duckdb",
    *,
    gold: str | Path | None = None,
    mapping: Mapping = Mapping(),
    criterion: str = "",
) -> AnnotatorsReport:
    """Return every annotator of the store, worst first, and Krippendorff's alpha over all votes.

    The hierarchical ranker is fitted to all votes, with both_bad as a tie and responses with equal texts as one, as
    where ``denoise`` judges annotators. Nothing is written.

    Parameters
    ----------
    store_path
        The store.
    gold
        A file of pairs with known outcomes, in any format that ingest reads; its annotators are ignored. Answers to
        control questions count in addition.
    mapping
        How to read the columns and outcomes of ``gold``.
    criterion
        Only the votes by this criterion, and the control answers and pairs of ``gold`` by it or by none; needed if
        there are several.

    Raises
    ------
    CurateError
        Without a store or a vote in it; if ``gold`` cannot be read or has no pair of the store; if the votes are by
        several criteria and none is given.
    """
    with Store.open(store_path, read_only=True) as store:
        loaded = load_votes(store, criterion=criterion, texts="careful")
        counts = annotator_counts(store, criterion)
        controls = control_answers(store, criterion)
    votes = loaded.votes
    answers, absent = _answers(controls, votes)
    known, report = _gold(gold, mapping, votes, str(store_path), answers, criterion)
    rows, warnings = _rows(loaded.merged.votes, known, counts)
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
        warnings=(*warnings, *_gold_warnings(known, report, absent)),
    )


def _rows(votes: VoteArrays, gold: Gold, counts: pl.DataFrame) -> tuple[list[AnnotatorRow], list[str]]:
    """The annotators, worst first, and warnings. counts: see ``annotator_counts``."""
    if not votes.annotators:
        return [], ["all votes are anonymous (curate ingest --map annotator_id=COLUMN reads the annotators)"]
    fit = Hierarchical().fit(votes)
    found = profiles(votes, fit)
    recommendations = recommend(found, gold)
    figures = pl.DataFrame(
        {
            "annotator_id": votes.annotators,
            "recommendation": [one.action for one in recommendations],
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
            "reason": [one.reason for one in recommendations],
        }
    )
    frame = figures.fill_nan(None).join(counts, on="annotator_id", how="left", validate="1:1")
    worst = pl.col("recommendation").cast(pl.Enum(get_args(Recommendation)))
    frame = frame.sort(
        worst, "p_spammer", "agreement", "annotator_id", descending=[False, True, False, False], nulls_last=True
    )
    not_converged = int((~fit.converged).sum())
    warnings = [f"the hierarchical ranker did not converge on {not_converged} prompts"] if not_converged else []
    return [AnnotatorRow(**row) for row in frame.iter_rows(named=True)], warnings


def _answers(controls: pl.DataFrame, votes: VoteArrays) -> tuple[Answers, int]:
    """The control answers of annotators with votes, and the number of people who only answered control questions."""
    numbers = {person: i for i, person in enumerate(votes.annotators)}
    codes = {name: i for i, name in enumerate(OUTCOMES)}
    who = controls["annotator_id"].replace_strict(numbers, default=None, return_dtype=pl.Int64)
    own = controls.filter(who.is_not_null())
    outcome, truth = (
        own[name].replace_strict(codes, return_dtype=pl.Int8).to_numpy().astype(np.int8)
        for name in ("outcome", "answer")
    )
    return Answers(who.drop_nulls().to_numpy(), outcome, truth), controls.filter(who.is_null())[
        "annotator_id"
    ].n_unique()


def _gold(
    path: str | Path | None, mapping: Mapping, votes: VoteArrays, store: str, answers: Answers, criterion: str
) -> tuple[Gold, GoldReport | None]:
    """The accuracy on a gold file and on control questions, and the report on the file's rows."""
    left: Number = np.zeros(0, dtype=np.int64)
    right, outcome, unknown, rejected = left, left.astype(np.int8), 0, 0
    if path:
        left, right, outcome, unknown, rejected = _pairs(path, mapping, votes, store, criterion)
    gold = against_gold(votes, left, right, outcome, answers=answers)
    if not path and not len(answers.annotator):
        return gold, None
    return gold, GoldReport(
        file=str(path or ""),
        pairs=gold.pairs,
        unvoted=gold.unvoted,
        ambiguous=gold.ambiguous,
        unknown=unknown,
        rejected=rejected,
        controls=len(answers.annotator),
        votes=int(gold.votes.sum()),
        accuracy=None if math.isnan(gold.mean) else gold.mean,
        chance_level=None if math.isnan(gold.mean) else gold.mean_chance_level,
    )


def _pairs(
    path: str | Path, mapping: Mapping, votes: VoteArrays, store: str, criterion: str
) -> tuple[Number, Number, npt.NDArray[np.int8], int, int]:
    """(left, right, outcome) of the pairs of a gold file, the number of rows unknown to the store, and of rejects."""
    rows, rejected = read_gold(path, mapping)
    if criterion:
        rows = rows.filter(pl.col("criterion").is_null() | (pl.col("criterion") == criterion))
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
            f"{path}: none of its {len(rows)} pairs is in {store}",
            hint="use the same prompt and response ids as in the votes",
        )
    outcome = pairs["outcome"].replace_strict({name: i for i, name in enumerate(OUTCOMES)}, return_dtype=pl.Int8)
    unknown = len(rows) - len(pairs)
    return pairs["left"].to_numpy(), pairs["right"].to_numpy(), outcome.to_numpy(), unknown, rejected


def read_gold(path: str | Path, mapping: Mapping) -> tuple[pl.DataFrame, int]:
    """(prompt_id, response_left, response_right, outcome, criterion) of a vote file; the number of rejected rows."""
    with TemporaryDirectory() as folder:
        store = Path(folder) / "gold.duckdb"
        report = ingest(path, store, config=IngestConfig(mapping=mapping, repeats="all"))
        with Store.open(store, read_only=True) as opened:
            rows = opened.votes().select("prompt_id", "response_left", "response_right", "outcome", "criterion")
    return rows, report.rejects


def _gold_warnings(gold: Gold, report: GoldReport | None, absent: int) -> list[str]:
    """Warnings about known outcomes that cannot be used. absent: people with control answers and without votes."""
    if report is None:
        return []
    counts = {
        "gold pairs without a vote of an annotator": report.unvoted,
        "gold pairs excluded, with more than one outcome": report.ambiguous,
        "gold rows excluded, with prompts or responses that are not in the store": report.unknown,
        "gold rows excluded, because they cannot be read (see curate ingest --dry-run)": report.rejected,
        "people who answered control questions and have no vote": absent,
    }
    found = [f"{what}: {count:,}" for what, count in counts.items() if count]
    if report.votes and not gold.mean > gold.mean_chance_level:
        found.append(
            "the annotators together are no better than the chance level on the gold, which is therefore not used"
        )
    return found
