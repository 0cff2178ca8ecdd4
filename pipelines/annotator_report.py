"""The job ``annotators``: quality and agreement of the annotators of a store, with recommendations."""

from __future__ import annotations

import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, get_args

import numpy as np
import polars as pl

from curate.annotators.gold import Answers, Gold, Number, against_gold
from curate.annotators.recommendations import recommend
from curate.annotators.statistics import profiles
from curate.array_types import Int8
from curate.store import Store
from curate.store.people import annotator_counts, control_answers
from curate.votes.arrays import VoteArrays
from pipelines.annotator_votes import AnnotatorVotes, annotator_votes
from pipelines.ingestion import ingest
from pipelines.progress import Progress, silent
from schemas.annotators import AnnotatorRow, AnnotatorsReport, GoldReport, Recommendation
from schemas.config import IngestConfig
from schemas.engine import EngineConfig
from schemas.errors import CurateError
from schemas.mapping import Mapping
from schemas.votes import OUTCOMES


def annotators(
    store_path: str | Path = "curate.duckdb",
    *,
    gold: str | Path | None = None,
    mapping: Mapping = Mapping(),
    criterion: str = "",
    engine: EngineConfig | None = None,
    progress: Progress = silent,
) -> AnnotatorsReport:
    """Return every annotator of the store, worst first, and Krippendorff's alpha over all votes.

    The hierarchical ranker is fitted to all votes, with both_bad as a tie and responses with equal texts as one, as
    where ``denoise`` judges annotators. Nothing is written to the store.

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
    engine
        Whose workers fit buckets of prompts, where the store has more than 20 million votes; None: this process.
    progress
        Called with (what is done, steps done, steps in total).

    Raises
    ------
    CurateError
        Without a store or a vote in it; if ``gold`` cannot be read or has no pair of the store; if the votes are by
        several criteria and none is given.
    """
    known = _read_gold(gold, mapping, criterion)
    with Store.open(store_path, read_only=True) as store:
        counts = annotator_counts(store, criterion)
        controls = control_answers(store, criterion)
        prompts = known.rows["prompt_id"].unique().sort().to_list() if known else []
        found = annotator_votes(store, prompts, criterion=criterion, engine=engine, progress=progress)
    answers, absent = _answers(controls, found.votes)
    accuracy, report = _gold(known, found, str(store_path), answers)
    rows, warnings = _rows(found, accuracy, counts)
    votes, judged = found.sums.votes, found.sums.judged
    dropped = sum(row.votes for row in rows if row.recommendation == "drop")
    return AnnotatorsReport(
        store=str(store_path),
        votes=votes,
        anonymous=found.sums.anonymous,
        alpha=None if math.isnan(judged.alpha) else judged.alpha,
        judged_twice=judged.pairs,
        judges=judged.judges,
        gold=report,
        dropped_share=dropped / votes,
        annotators=tuple(rows),
        warnings=(*warnings, *_gold_warnings(accuracy, report, absent)),
    )


def _rows(votes: AnnotatorVotes, gold: Gold, counts: pl.DataFrame) -> tuple[list[AnnotatorRow], list[str]]:
    """The annotators, worst first, and warnings. counts: see ``annotator_counts``."""
    if votes.people is None:
        return [], ["all votes are anonymous (curate ingest --map annotator_id=COLUMN reads the annotators)"]
    found = profiles(votes.sums.tally, votes.people)
    recommendations = recommend(found, gold)
    figures = pl.DataFrame(
        {
            "annotator_id": votes.votes.annotators,
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
    warnings = [votes.warning] if votes.warning else []
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


class _Known(NamedTuple):
    """The pairs of a gold file."""

    path: str
    rows: pl.DataFrame
    """As of ``read_gold``."""
    rejected: int


def _read_gold(path: str | Path | None, mapping: Mapping, criterion: str) -> _Known | None:
    if not path:
        return None
    rows, rejected = read_gold(path, mapping)
    if criterion:
        rows = rows.filter(pl.col("criterion").is_null() | (pl.col("criterion") == criterion))
    return _Known(str(path), rows, rejected)


def _gold(known: _Known | None, found: AnnotatorVotes, store: str, answers: Answers) -> tuple[Gold, GoldReport | None]:
    """The accuracy on a gold file and on control questions, and the report on the file's rows."""
    left: Number = np.zeros(0, dtype=np.int64)
    right, outcome, unknown = left, left.astype(np.int8), 0
    if known:
        left, right, outcome, unknown = _pairs(known, found.votes, store)
    gold = against_gold(found.votes, left, right, outcome, answers=answers, ties=found.sums.judged.tie_share)
    if not known and not len(answers.annotator):
        return gold, None
    return gold, GoldReport(
        file=known.path if known else "",
        pairs=gold.pairs,
        unvoted=gold.unvoted,
        ambiguous=gold.ambiguous,
        unknown=unknown,
        rejected=known.rejected if known else 0,
        controls=len(answers.annotator),
        votes=int(gold.votes.sum()),
        accuracy=None if math.isnan(gold.mean) else gold.mean,
        chance_level=None if math.isnan(gold.mean) else gold.mean_chance_level,
    )


def _pairs(known: _Known, votes: VoteArrays, store: str) -> tuple[Number, Number, Int8, int]:
    """(left, right, outcome) of the pairs of a gold file, and the number of rows unknown to the store."""
    number = pl.DataFrame(
        {
            "prompt_id": pl.Series(votes.prompts, dtype=pl.String).gather(votes.response_prompt),
            "response": pl.Series(votes.responses, dtype=pl.String),
            "number": np.arange(len(votes.responses)),
        }
    )
    pairs = known.rows
    for side in ("left", "right"):
        of_side = number.rename({"response": f"response_{side}", "number": side})
        pairs = pairs.join(of_side, on=["prompt_id", f"response_{side}"], how="inner")
    if pairs.is_empty():
        raise CurateError(
            f"{known.path}: none of its {len(known.rows)} pairs is in {store}",
            hint="use the same prompt and response ids as in the votes",
        )
    outcome = pairs["outcome"].replace_strict({name: i for i, name in enumerate(OUTCOMES)}, return_dtype=pl.Int8)
    return pairs["left"].to_numpy(), pairs["right"].to_numpy(), outcome.to_numpy(), len(known.rows) - len(pairs)


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
