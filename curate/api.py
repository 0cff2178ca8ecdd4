"""``curate.rank``: votes in a DataFrame to rankings, a leaderboard and figures on annotators, without a store."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from curate.annotators.statistics import profiles
from curate.denoising.ranking import Denoised, rank_votes
from curate.denoising.selection import Choice
from curate.evaluation.leaderboard import by_group, leaderboard
from curate.votes.arrays import VoteArrays
from curate.votes.tables import Columns, as_frame, find_columns, vote_arrays
from schemas.config import AutoConfig, DenoiseConfig
from schemas.errors import CurateError
from schemas.rankers import MethodName

COMPARED_PROMPTS = 20
"""Prompts on which ``auto`` compares the rankers unless a config says otherwise: a notebook should not wait."""


@dataclass(frozen=True, repr=False)
class RankResult:
    """What ``curate.rank`` returns."""

    rankings: pl.DataFrame
    """One row per response, by prompt and rank: prompt_id, response_id, model, component, rank (1 = best), best_rank
    and worst_rank (its 90% interval), score (higher is better), strength and strength_se (posterior of the
    hierarchical ranker, logits). Ranks are counted within a connected component."""
    votes: VoteArrays
    columns: Columns
    """Which column of the table held what."""
    denoised: Denoised
    """The result as arrays: all rankers that were run, and the posterior."""
    table: pl.DataFrame
    """The votes as given."""

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
        found = profiles(used, self.denoised.posterior)
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
        lines = [
            f"{len(votes.left):,} votes on {len(votes.prompts):,} prompts, {len(votes.responses):,} responses, "
            f"{len(votes.models):,} models, {len(votes.annotators):,} annotators",
            "columns: " + ", ".join(f"{name} = {column}" for name, column in read.items() if column),
            f"ranked {ranked:,} of {len(votes.prompts):,} prompts by {self.method}"
            + ("" if self.choice is None else ", chosen on held-out votes"),
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


def rank(
    votes: Any,
    *,
    prompt: str | None = None,
    left: str | None = None,
    right: str | None = None,
    winner: str | None = None,
    annotator: str | None = None,
    weight: str | None = None,
    ranker: str = "auto",
    config: DenoiseConfig | None = None,
) -> RankResult:
    """Rank the responses of every prompt from pairwise votes.

    Parameters
    ----------
    votes
        A table with one row per vote: a polars or pandas DataFrame, a pyarrow Table, anything with the Arrow C stream
        interface, or a dict of columns.
    prompt
        Column that identifies the prompt. Default: a column with a well-known name (``prompt_id``, ``question_id``,
        ``prompt``, …); without one, all votes belong to one prompt (an error if questions or videos differ).
    left, right
        Columns of the two responses. Default: ``left`` and ``right``, ``response_a`` and ``response_b``, or ``model_a``
        and ``model_b``. A side bias is modelled only where the names say which response was shown left.
    winner
        Column of the outcome: ``left``, ``right``, ``tie``, ``both_bad``, the name of one of the two columns, or the
        name of one of the two responses. Default: ``winner``, ``outcome``, ``preference``, …
    annotator
        Column of the annotator. Default: ``annotator``, ``worker``, ``judge``, …; without one, votes are anonymous.
    weight
        Column of vote weights, above 0. Default: ``weight``; without one, each vote weighs 1.
    ranker
        A registered ranker, or ``auto``: the one that predicts held-out votes best.
    config
        Hyperparameters; its ``ranker`` is replaced by the argument above. By default ``auto`` compares the rankers on
        at most 20 prompts, and ``curate denoise`` on 500: ``DenoiseConfig(auto=AutoConfig(prompts=500))`` is the same.

    Returns
    -------
    RankResult
        ``.rankings`` is a polars DataFrame; ``.leaderboard()``, ``.annotators()`` and ``.summary()`` say more.

    Raises
    ------
    CurateError
        Where a column is missing or ambiguous, or a row is no vote: names the row, the column and the value.

    Examples
    --------
    >>> import curate
    >>> votes = {
    ...     "prompt": ["p", "p", "p", "q"],
    ...     "left": ["a", "b", "a", "a"],
    ...     "right": ["b", "c", "c", "b"],
    ...     "winner": ["left", "left", "left", "tie"],
    ... }
    >>> result = curate.rank(votes, ranker="bradley-terry")
    >>> result
    <RankResult: 1 of 2 prompts, 4 votes, by bradley-terry>
    >>> result.rankings.select("prompt_id", "response_id", "rank").rows()
    [('p', 'a', 1), ('p', 'b', 2), ('p', 'c', 3)]
    """
    frame = as_frame(votes)
    columns = find_columns(
        frame, prompt=prompt, left=left, right=right, winner=winner, annotator=annotator, weight=weight
    )
    arrays = vote_arrays(frame, columns)
    config = config or DenoiseConfig(auto=AutoConfig(prompts=COMPARED_PROMPTS))
    config = DenoiseConfig.model_validate({**config.model_dump(), "ranker": ranker})
    denoised = rank_votes(arrays, config)
    if not len(denoised.votes.prompts):
        raise CurateError("no prompt can be ranked", hint="every prompt has only ties, or too few votes")
    return RankResult(_rankings(denoised), arrays, columns, denoised, frame)


def _rankings(denoised: Denoised) -> pl.DataFrame:
    names = pl.Series([*denoised.votes.models, None], dtype=pl.String)
    model = names.gather(denoised.votes.response_model % len(names)).alias("model")
    frame = denoised.frame().insert_column(2, model)
    return frame.sort("prompt_id", "component", "rank", "response_id")
