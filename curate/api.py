"""What ``curate.rank`` returns: rankings, a leaderboard and figures on annotators, without a store."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from curate.annotators.statistics import profiles, tally
from curate.denoising.ranking import Denoised
from curate.denoising.selection import Choice
from curate.evaluation.leaderboard import by_group, leaderboard
from curate.votes.arrays import VoteArrays
from schemas.errors import CurateError
from schemas.rankers import MethodName
from schemas.reports import IngestReport


@dataclass(frozen=True)
class Columns:
    """What the votes were read from, as in the report of an ingest; None where the source has no such column."""

    prompt: str | None
    left: str | None
    right: str | None
    winner: str | None
    annotator: str | None
    weight: str | None
    sides_known: bool
    """Whether left and right are the sides on the screen."""

    @classmethod
    def of(cls, detected: dict[str, str]) -> Columns:
        """Return the columns of field -> column, as ``FileReport.detected`` has them."""
        get = detected.get
        return cls(
            prompt=get("prompt_id"),
            left=get("left", get("response_a")),
            right=get("right", get("response_b")),
            winner=get("outcome", get("rankings")),
            annotator=get("annotator_id"),
            weight=get("weight"),
            sides_known="left" in detected,
        )


@dataclass(frozen=True, repr=False)
class RankResult:
    """What ``curate.rank`` returns."""

    rankings: pl.DataFrame
    """One row per response, by prompt and rank: prompt_id, response_id, model, component, rank (1 = best), best_rank
    and worst_rank (its 90% interval), score (higher is better), strength and strength_se (posterior of the
    hierarchical ranker, logits). Ranks are counted within a connected component."""
    votes: VoteArrays
    columns: Columns
    """Which column held what; of several files, in the first."""
    denoised: Denoised
    """The result as arrays: all rankers that were run, and the posterior."""
    table: pl.DataFrame
    """(V rows) the row of each vote in its source, as texts, in the order of ``votes``."""
    report: IngestReport
    """What was read from which file: votes, duplicates, rejects, and what to check."""
    rejects: pl.DataFrame
    """The rows that are no votes: file, line, column, value, reason, message, row."""

    @property
    def method(self) -> MethodName:
        """The ranker whose order this is."""
        return self.denoised.method

    @property
    def choice(self) -> Choice | None:
        """How held-out votes compared the rankers; None where the ranker was given."""
        return self.denoised.choice

    def leaderboard(self, *, by: str | None = None) -> pl.DataFrame:
        """Return the models over all prompts, best first.

        Parameters
        ----------
        by
            A column of the table that was ranked, such as a category: one leaderboard for each of its values.

        Returns
        -------
        polars.DataFrame
            One row per model: model, component, rank, best_rank and worst_rank (simultaneous 95% intervals), class
            (its models do not differ significantly from the best of them), strength (log odds against the mean model)
            with strength_se, low and high (90%), win_rate, votes, prompts. With ``by``, its column comes first.

        Raises
        ------
        CurateError
            Where no vote compares two known models, or there is no column ``by``.
        """
        if by is None:
            return leaderboard(self.votes).frame
        if by not in self.table.columns:
            raise CurateError(f"no column {by!r}", hint="name a column of the table that was ranked")
        return by_group(self.votes, self.table[by], name=by)

    def annotators(self) -> pl.DataFrame:
        """Return one row per annotator, the most likely spammers first.

        Columns: annotator_id, p_spammer (probability), discrimination (1 = mean, 0 = votes at random) and its standard
        error, agreement (share of decisive votes that go with the majority of the others), left_bias (logits), votes.
        Raises CurateError where all votes are anonymous.
        """
        if not self.votes.annotators:
            raise CurateError("all votes are anonymous", hint='name the column of annotators: annotator="worker"')
        used = self.denoised.votes
        found = profiles(tally(used), self.denoised.posterior.annotators)
        return (
            pl.DataFrame(
                {
                    "annotator_id": list(used.annotators),
                    "p_spammer": found.spammer,
                    "discrimination": found.discrimination,
                    "discrimination_se": found.discrimination_se,
                    "agreement": found.agreement,
                    "left_bias": found.left_bias,
                    "votes": found.votes,
                }
            )
            .fill_nan(None)
            .sort("p_spammer", "annotator_id", descending=[True, False])
        )

    @cached_property
    def expected_tau(self) -> float | None:
        """Mean over connected prompts of the expected Kendall tau to the true order; None where there is none."""
        tau = self.denoised.expected_tau
        known = tau[np.isfinite(tau)]
        return float(known.mean()) if len(known) else None

    def summary(self) -> str:
        """Return a few lines of text: what was read, what was ranked and how, and how certain it is."""
        votes, columns = self.votes, self.columns
        ranked = self.rankings["prompt_id"].n_unique()
        read = {name: getattr(columns, name) for name in ("prompt", "left", "right", "winner", "annotator", "weight")}
        chosen = ""
        if self.choice is not None:
            compared = ", chosen on held-out votes", ": too few votes could be held out to compare the rankers"
            chosen = compared[not self.choice.votes]
        lines = [
            f"{len(votes.left):,} votes on {len(votes.prompts):,} prompts, {len(votes.responses):,} responses, "
            f"{len(votes.models):,} models, {len(votes.annotators):,} annotators",
            *([f"{not_votes(self.report)} (see .rejects)"] if not_votes(self.report) else []),
            "columns: " + ", ".join(f"{name} = {column}" for name, column in read.items() if column),
            f"ranked {ranked:,} of {len(votes.prompts):,} prompts by {self.method}{chosen}",
        ]
        if self.expected_tau is not None:
            lines.append(f"expected Kendall tau to the true order: {self.expected_tau:.3f} (mean over prompts)")
        return "\n".join(lines)

    def __repr__(self) -> str:
        votes, ranked = self.votes, self.rankings["prompt_id"].n_unique()
        return (
            f"<RankResult: {ranked:,} of {len(votes.prompts):,} prompts, {len(votes.left):,} votes, by {self.method}>"
        )

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(self.summary())}</pre>{self.rankings._repr_html_()}"


def not_votes(report: IngestReport) -> str:
    """Return how many rows are no votes, and why; empty if all are."""
    counts = {"duplicates": report.duplicates, "control answers": report.controls, **report.reasons}
    listed = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    return f"{report.rows - report.votes:,} of {report.rows:,} rows are no votes: {listed}" if listed else ""
