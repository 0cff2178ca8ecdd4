"""The job ``annotators``: who votes with care, and who may be a spammer."""

from __future__ import annotations

import math
from pathlib import Path

import polars as pl

from curate.annotators import alpha, profiles
from curate.rankers.joint import Joint
from curate.store import Store
from curate.store.people import people
from curate.store.rankings import load_votes
from curate.votes import VoteArrays
from schemas.annotators import AnnotatorRow, AnnotatorsReport


def annotators(store_path: str | Path = "curate.duckdb") -> AnnotatorsReport:
    """Every annotator of the store, worst first, and Krippendorff's alpha over all votes.

    The joint model is fitted anew to all votes, both_bad as a tie. Nothing is written.
    Raises CurateError where there is no store, or no vote in it.
    """
    with Store.open(store_path, read_only=True) as store:
        votes = load_votes(store).votes
        known = people(store)
    rows, warnings = _rows(votes, known)
    overall = alpha(votes)
    return AnnotatorsReport(
        store=str(store_path),
        votes=len(votes.left),
        anonymous=int((votes.annotator < 0).sum()),
        alpha=None if math.isnan(overall) else overall,
        annotators=tuple(rows),
        warnings=tuple(warnings),
    )


def _rows(votes: VoteArrays, known: pl.DataFrame) -> tuple[list[AnnotatorRow], list[str]]:
    """The annotators, worst first, and what is to be said of them. known: ``people`` of the store."""
    if not votes.annotators:
        return [], ["all votes are anonymous: there is nobody to show (--map annotator_id=COLUMN in curate ingest)"]
    fit = Joint().fit(votes)
    found = profiles(votes, fit)
    figures = pl.DataFrame(
        {
            "annotator_id": votes.annotators,
            "p_spammer": found.spammer,
            "agreement": found.agreement,
            "compared": found.compared,
            "discrimination": found.discrimination,
            "left_bias": found.left_bias,
            "tie_share": found.tie_share,
        }
    )
    frame = figures.fill_nan(None).join(known, on="annotator_id", how="left", validate="1:1")
    frame = frame.sort("p_spammer", "agreement", "annotator_id", descending=[True, False, False], nulls_last=True)
    unsolved = int((~fit.solved).sum())
    warnings = [f"the joint model stopped before its tolerance on {unsolved} prompts"] if unsolved else []
    return [AnnotatorRow(**row) for row in frame.iter_rows(named=True)], warnings
