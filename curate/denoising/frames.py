"""The result of ``rank_votes`` as data frames with the columns of a store's tables."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.denoising.ranking import Denoised
from curate.rankers.base import Ranking, ranks
from curate.rankers.registry import spec_of
from curate.votes.arrays import VoteArrays
from schemas.rankers import STACK

Float = npt.NDArray[np.float64]


def rankings_frame(denoised: Denoised) -> pl.DataFrame:
    """Return the table ``rankings``: one row per response of a ranked prompt."""
    return _ids(denoised.votes).with_columns(
        component=denoised.component.astype(np.int32),
        rank=denoised.rank.astype(np.int32),
        score=denoised.final.scores,
        strength=denoised.posterior.strength,
        strength_se=denoised.posterior.deviation,
        covariance=_covariance_rows(denoised),
        best_rank=denoised.best_rank.astype(np.int32),
        worst_rank=denoised.worst_rank.astype(np.int32),
    )


def ranker_scores_frame(denoised: Denoised) -> pl.DataFrame:
    """Return the table ``ranker_scores``: one row per response and ranker that was run."""
    ids, group = _ids(denoised.votes), denoised.group
    return pl.concat(
        ids.with_columns(ranker=pl.lit(name), rank=ranks(ranking.scores, group).astype(np.int32), score=ranking.scores)
        for name, ranking in denoised.rankings.items()
    )


def prompt_stats_frame(denoised: Denoised, votes: VoteArrays) -> pl.DataFrame:
    """Return the table ``prompt_stats``: one row per prompt, ranked or not. votes: those of all prompts."""
    coverage, bounded = denoised.coverage, bounded_ranking(denoised)
    responses = np.diff(votes.offsets)
    unknown = np.full(len(denoised.votes.prompts), np.nan)
    converged = np.logical_and.reduce([ranking.converged for ranking in denoised.rankings.values()])
    between = [tau for pair, tau in denoised.agreement.items() if set(pair) <= set(denoised.members)]

    def of_all(values: Float) -> pl.Series:
        """Values of the ranked prompts among all; null for the others and for NaN."""
        every = np.full(len(coverage.status), np.nan)
        every[coverage.used] = values
        return pl.Series(every, nan_to_null=True)

    return pl.DataFrame(
        {
            "prompt_id": pl.Series(votes.prompts, dtype=pl.String),
            "status": coverage.status.tolist(),
            "votes": coverage.votes,
            "ties": coverage.ties,
            "responses": responses.astype(np.int32),
            "pairs_covered": coverage.pairs.astype(np.int32),
            "pairs_possible": (responses * (responses - 1) // 2).astype(np.int32),
            "components": coverage.components.astype(np.int32),
            "cyclic_triads": coverage.triads,
            "cost": of_all(denoised.final.cost),
            "fas_cost": of_all(bounded.cost if bounded else unknown),
            "bound": of_all(bounded.bound if bounded else unknown),
            "agreement": of_all(np.mean(between, axis=0) if between else unknown),
            "expected_tau": of_all(denoised.expected_tau),
            "converged": of_all(converged.astype(np.float64)).fill_null(0) == 1,
        }
    )


def bounded_ranking(denoised: Denoised) -> Ranking | None:
    """Return the ranking of the first ranker that proves a lower bound on the cost; None where none was run."""
    for name, ranking in denoised.rankings.items():
        if name != STACK and spec_of(name).has_bound:
            return ranking
    return None


def _ids(votes: VoteArrays) -> pl.DataFrame:
    prompts = pl.Series("prompt_id", votes.prompts, pl.String)
    return pl.DataFrame([prompts.gather(votes.response_prompt), pl.Series("response_id", votes.responses, pl.String)])


def _covariance_rows(denoised: Denoised) -> pl.Series:
    """(R,) lists: a response's covariances with those of its prompt, in their order."""
    rows = pl.Series(dtype=pl.List(pl.Float32))
    numbers = np.zeros(0, dtype=np.int64)
    for graphs, matrices in zip(denoised.votes.graphs, denoised.posterior.covariance, strict=True):
        lists = pl.Series(matrices.reshape(-1, matrices.shape[2]).astype(np.float32)).cast(pl.List(pl.Float32))
        rows, numbers = rows.append(lists), np.append(numbers, graphs.slots.ravel())
    return rows.gather(np.argsort(numbers, kind="stable"))
