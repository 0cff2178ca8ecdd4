"""Position bias: how often the response shown left was chosen."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from curate.report.models import Estimate
from curate.uncertainty.intervals import LEVEL


@dataclass(frozen=True)
class Sides:
    """Votes of which it is known who was shown where."""

    left: int
    right: int
    undecided: int
    """tie and both_bad."""
    share: Estimate | None
    """Share of decisive votes for the left response; None without any."""
    people: int
    """Annotators behind the decisive votes; an anonymous vote is a person of its own."""


def sides_of(counts: pl.DataFrame) -> Sides:
    """counts: ``votes_by_side``. Annotators are independent, their votes are not: the interval rests on theirs.

    The linearised variance of a ratio, as of win rates; an anonymous vote is a cluster of one.
    """
    from scipy.special import stdtrit

    left, right = int(counts["left"].sum()), int(counts["right"].sum())
    undecided, total = int(counts["undecided"].sum()), left + right
    if not total:
        return Sides(left, right, undecided, None, 0)
    share = left / total
    named = counts.filter(pl.col("annotator_id").is_not_null())
    named = named.filter(pl.col("left") + pl.col("right") > 0)
    alone = counts.filter(pl.col("annotator_id").is_null())
    deviation = named["left"] - share * (named["left"] + named["right"])
    squares = float((deviation**2).sum())
    squares += int(alone["left"].sum()) * (1 - share) ** 2 + int(alone["right"].sum()) * share**2
    people = len(named) + int(alone["left"].sum()) + int(alone["right"].sum())
    if people < 2:
        return Sides(left, right, undecided, Estimate(share, share, share, known=False), people)
    error = (people / (people - 1) * squares) ** 0.5 / total
    reach = float(stdtrit(people - 1, (1 + LEVEL) / 2)) * error
    low, high = max(share - reach, 0.0), min(share + reach, 1.0)
    return Sides(left, right, undecided, Estimate(share, low, high), people)
