"""The job ``denoise``: the store's votes into one ranking a prompt, by every ranker and their ensemble."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.denoise import Coverage, Denoised, cover, members_of, rank_all
from curate.rankers import ranks
from curate.store import Store
from curate.store.rankings import load_votes, save_rankings
from curate.store.runs import Run, recall, record
from curate.votes import VoteArrays
from pipelines.progress import Progress, silent
from pipelines.provenance import code_version, run_id
from schemas.config import DenoiseConfig
from schemas.reports import DenoiseReport

Float = npt.NDArray[np.float64]


def denoise(
    store: str | Path = "curate.duckdb",
    *,
    config: DenoiseConfig = DenoiseConfig(),
    progress: Progress = silent,
) -> DenoiseReport:
    """Rank every prompt by all rankers; write the chosen one's order, and each ranker's beside it.

    A run with equal config, votes and code is recognised and not repeated. Raises CurateError without votes.
    """
    with Store.open(store) as opened:
        progress("reading votes", 0, 0)
        loaded = load_votes(opened, prompts=config.prompts, both_bad=config.both_bad)
        document, inputs = config.model_dump(mode="json"), {"votes": loaded.digest}
        # The batches are written down but make no other run: it is the votes that count, not how they came.
        batches = opened.batches()["batch_id"].to_list()
        run = Run(
            run_id=run_id("denoise", document, inputs),
            step="denoise",
            config=document,
            inputs={**inputs, "batches": batches},
            code_version=code_version(),
            seed=None,
        )
        done = recall(opened, run.run_id)
        if done is not None:
            return DenoiseReport.model_validate(done).model_copy(update={"reused": True, "store": str(store)})
        coverage = cover(loaded.votes, config)
        denoised = rank_all(loaded.votes, coverage, config, progress=progress)
        progress("writing", 0, 0)
        report = _report(run.run_id, str(store), coverage, denoised, config)
        with opened.transaction():
            save_rankings(
                opened,
                run.run_id,
                rankings=_rankings(denoised, config),
                ranker_scores=_ranker_scores(denoised),
                prompt_stats=_prompt_stats(loaded.votes, coverage, denoised, config),
            )
            record(opened, run, report.model_dump(mode="json"))
        return report


def _ids(votes: VoteArrays) -> list[pl.Series]:
    prompts = pl.Series("prompt_id", votes.prompts, pl.String)
    return [prompts.gather(votes.response_prompt), pl.Series("response_id", votes.responses, pl.String)]


def _rankings(denoised: Denoised, config: DenoiseConfig) -> pl.DataFrame:
    final = denoised.rankings[config.ranker]
    return pl.DataFrame(_ids(denoised.votes)).with_columns(
        component=denoised.component.astype(np.int32),
        rank=ranks(final.scores, denoised.group).astype(np.int32),
        score=final.scores,
        strength=denoised.strength,
        strength_se=denoised.strength_se,
    )


def _ranker_scores(denoised: Denoised) -> pl.DataFrame:
    ids = pl.DataFrame(_ids(denoised.votes))
    return pl.concat(
        ids.with_columns(
            ranker=pl.lit(name),
            rank=ranks(ranking.scores, denoised.group).astype(np.int32),
            score=ranking.scores,
        )
        for name, ranking in denoised.rankings.items()
    )


def _prompt_stats(votes: VoteArrays, coverage: Coverage, denoised: Denoised, config: DenoiseConfig) -> pl.DataFrame:
    responses = np.diff(votes.offsets)
    fas = denoised.rankings["feedback-arc-set"]
    solved = np.logical_and.reduce([ranking.solved for ranking in denoised.rankings.values()])
    members = set(members_of(config))
    between = [tau for pair, tau in denoised.agreement().items() if members.issuperset(pair)]
    agreement = np.mean(between, axis=0) if between else np.full(len(solved), np.nan)
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
            "cost": _spread(denoised.rankings[config.ranker].cost, coverage),
            "fas_cost": _spread(fas.cost, coverage),
            "bound": _spread(fas.bound, coverage),
            "agreement": _spread(agreement, coverage),
            "solved": _spread(solved.astype(np.float64), coverage).fill_null(0) == 1,
        }
    )


def _spread(values: Float, coverage: Coverage) -> pl.Series:
    """(P,) values of the ranked prompts among all; null for the others and for NaN."""
    every = np.full(len(coverage.status), np.nan)
    every[coverage.used] = values
    return pl.Series(every, nan_to_null=True)


def _report(run: str, store: str, coverage: Coverage, denoised: Denoised, config: DenoiseConfig) -> DenoiseReport:
    rankings, votes = denoised.rankings, denoised.votes
    fas, final = rankings["feedback-arc-set"], rankings[config.ranker]
    status, count = np.unique(coverage.status, return_counts=True)
    unsolved = {name: int((~ranking.solved).sum()) for name, ranking in rankings.items()}
    weights = {name: config.weights[name] for name in members_of(config)} if config.ranker == "ensemble" else {}
    return DenoiseReport(
        store=store,
        run=run,
        reused=False,
        ranker=config.ranker,
        votes=len(votes.left),
        prompts=len(coverage.status),
        ranked=int(denoised.connected.sum()),
        status=dict(zip(status.tolist(), count.tolist(), strict=True)),
        responses=len(votes.responses),
        proved=int(fas.solved.sum()),
        gap=float((fas.cost - fas.bound).clip(0).sum()),
        unsolved={name: n for name, n in unsolved.items() if n},
        cyclic_triads=int(coverage.triads[coverage.used].sum()),
        contradicted=float(final.cost.sum() / votes.weight.sum()) if len(votes.weight) else None,
        agreement={f"{a} ~ {b}": _mean(tau) for (a, b), tau in denoised.agreement().items()},
        weights={name: weight / sum(weights.values()) for name, weight in weights.items()},
        warnings=tuple(_warnings(coverage, denoised)),
    )


def _mean(values: Float) -> float | None:
    """The mean of what is known; None where nothing is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _warnings(coverage: Coverage, denoised: Denoised) -> list[str]:
    apart = int((coverage.status == "disconnected").sum())
    dropped = int((~coverage.used).sum())
    unproved = int((~denoised.rankings["feedback-arc-set"].solved).sum())
    warnings = []
    if apart:
        warnings.append(
            f"not connected: {apart} of the prompts; their responses are ranked only within what votes connect"
        )
    if dropped:
        warnings.append(
            f"not ranked: {dropped} of the prompts (too few votes, none that prefers a response, or not connected)"
        )
    if unproved:
        warnings.append(f"not proved optimal: the feedback-arc-set order of {unproved} prompts (see the gap)")
    return warnings
