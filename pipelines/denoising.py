"""The job ``denoise``: the store's votes into one ranking a prompt, by every ranker and their ensemble."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import polars as pl

from curate.denoising.ranking import Coverage, Denoised, cover, intervals, rank_all, without_spammers
from curate.denoising.selection import Choice, choose
from curate.evaluation.design import design_of
from curate.rankers import Ranking, ranks
from curate.rankers.hierarchical.mixture import Mixture
from curate.rankers.stack import Stack
from curate.store import Store
from curate.store.rankings import load_votes, save_rankings
from curate.store.runs import Run, recall, record
from curate.uncertainty.intervals import expected_tau
from curate.votes.arrays import VoteArrays
from pipelines.progress import Progress, silent
from pipelines.provenance import code_version, run_id
from schemas.config import DenoiseConfig, MethodName, RankerName
from schemas.reports import AutoReport, DenoiseReport, DesignReport, StrengthsReport

Float = npt.NDArray[np.float64]


def denoise(
    store: str | Path = "curate.duckdb",
    *,
    config: DenoiseConfig = DenoiseConfig(),
    keep_choice: bool = False,
    progress: Progress = silent,
) -> DenoiseReport:
    """Rank every prompt by all rankers; write the chosen one's order, and each ranker's beside it.

    A run with equal config, votes and code is recognised and not repeated. keep_choice: where the ranker is "auto" and
    a run with this config is in the store, take the method (and the stack) that the latest one chose, and hold nothing
    out anew: everything else is computed as ever, from all votes. Raises CurateError without votes.
    """
    with Store.open(store) as opened:
        progress("reading votes", 0, 0)
        loaded = load_votes(opened, prompts=config.prompts, both_bad=config.both_bad)
        document = config.model_dump(mode="json")
        inputs: dict[str, Any] = {"votes": loaded.digest}
        judged = loaded
        if config.prompts and config.max_spammer < 1:
            judged = load_votes(opened, both_bad=config.both_bad)
            inputs["judged"] = judged.digest
        kept = None
        if keep_choice and config.ranker == "auto" and opened.run(run_id("denoise", document, inputs)) is None:
            kept = _kept(opened, document)
        if kept is not None:
            inputs["choice"] = _told(kept.choice)
        # The batches are written down but make no other run: it is the votes that count, not how they came.
        batches = opened.batches()["batch_id"].to_list()
        run = Run(
            run_id=run_id("denoise", document, inputs),
            step="denoise",
            config=document,
            inputs={**inputs, "batches": batches},
            code_version=code_version(),
            seed=config.auto.seed if config.ranker == "auto" else None,
        )
        done = recall(opened, run.run_id)
        if done is not None:
            return DenoiseReport.model_validate(done).model_copy(update={"reused": True, "store": str(store)})
        votes, spammers = without_spammers(loaded.votes, judged.votes, config)
        coverage = cover(votes, config)
        choice = kept.choice if kept else None
        if config.ranker == "auto" and choice is None:
            choice = choose(votes.of_prompts(coverage.used), config, progress=progress)
        method = choice.method if choice else cast("MethodName", config.ranker)
        stack = choice.stack if choice else None
        denoised = rank_all(votes, coverage, config, method=method, stack=stack, progress=progress)
        result = _Result(config, loaded.votes, votes, spammers, coverage, denoised, choice, kept, method)
        progress("writing", 0, 0)
        report = _report(run.run_id, str(store), result)
        with opened.transaction():
            save_rankings(
                opened,
                run.run_id,
                rankings=_rankings(result),
                ranker_scores=_ranker_scores(denoised),
                prompt_stats=_prompt_stats(result),
            )
            record(opened, run, report.model_dump(mode="json"))
        return report


@dataclass(frozen=True)
class _Result:
    """All that a run found."""

    config: DenoiseConfig
    given: VoteArrays
    votes: VoteArrays
    """Without those of spammers."""
    spammers: npt.NDArray[np.bool_]
    """(A,)"""
    coverage: Coverage
    denoised: Denoised
    choice: Choice | None
    kept: _Kept | None
    """Where the choice is an earlier run's."""
    method: MethodName
    """Whose order the ranking is."""

    @property
    def final(self) -> Ranking:
        return self.denoised.rankings[self.method]


@dataclass(frozen=True)
class _Kept:
    """A choice that an earlier run made."""

    choice: Choice
    run: str
    """That run: the one that held votes out, not one that kept its choice."""
    votes: int
    """That it had."""


def _kept(store: Store, config: dict[str, Any]) -> _Kept | None:
    """The choice of the latest run with this config; None where there is none that held votes out."""
    for run in store.runs().filter(pl.col("step") == "denoise").reverse().iter_rows(named=True):
        report = DenoiseReport.model_validate_json(run["report"])
        if json.loads(run["config"]) == config and report.auto is not None and report.auto.slopes:
            auto = report.auto
            weights, slopes = (cast("dict[RankerName, float]", values) for values in (auto.weights, auto.slopes))
            method, stack = cast("MethodName", report.method), Stack(weights, slopes)
            choice = Choice(method, stack, auto.by, auto.prompts, auto.votes, auto.methods)
            return _Kept(choice, auto.chosen_run or run["run_id"], auto.chosen_on or report.votes)
    return None


def _told(choice: Choice) -> dict[str, Any]:
    """What of a choice makes the ranking, as JSON."""
    stack = choice.stack if choice.method == "stack" else None
    return {"method": choice.method, **({"weights": stack.weights, "slopes": stack.slopes} if stack else {})}


def _ids(votes: VoteArrays) -> list[pl.Series]:
    prompts = pl.Series("prompt_id", votes.prompts, pl.String)
    return [prompts.gather(votes.response_prompt), pl.Series("response_id", votes.responses, pl.String)]


def _rankings(result: _Result) -> pl.DataFrame:
    denoised, joint = result.denoised, result.denoised.joint
    rank = ranks(result.final.scores, denoised.group)
    low, high = intervals(denoised, result.method, result.config)
    return pl.DataFrame(_ids(denoised.votes)).with_columns(
        component=denoised.component.astype(np.int32),
        rank=rank.astype(np.int32),
        score=result.final.scores,
        strength=joint.strength,
        strength_se=joint.deviation,
        covariance=_covariance_rows(denoised),
        best_rank=np.minimum(low, rank).astype(np.int32),  # an interval holds the rank that it is of
        worst_rank=np.maximum(high, rank).astype(np.int32),
    )


def _covariance_rows(denoised: Denoised) -> pl.Series:
    """(R,) lists: a response's covariances with those of its prompt, in their order."""
    rows = pl.Series(dtype=pl.List(pl.Float32))
    numbers = np.zeros(0, dtype=np.int64)
    for graphs, matrices in zip(denoised.votes.graphs, denoised.joint.covariance, strict=True):
        lists = pl.Series(matrices.reshape(-1, matrices.shape[2]).astype(np.float32)).cast(pl.List(pl.Float32))
        rows, numbers = rows.append(lists), np.append(numbers, graphs.slots.ravel())
    return rows.gather(np.argsort(numbers, kind="stable"))


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


def _prompt_stats(result: _Result) -> pl.DataFrame:
    votes, coverage, denoised = result.votes, result.coverage, result.denoised
    responses = np.diff(votes.offsets)
    fas = denoised.rankings["feedback-arc-set"]
    converged = np.logical_and.reduce([ranking.converged for ranking in denoised.rankings.values()])
    members = set(_members(result))
    between = [tau for pair, tau in denoised.agreement().items() if members.issuperset(pair)]
    agreement = np.mean(between, axis=0) if between else np.full(len(converged), np.nan)
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
            "cost": _spread(result.final.cost, coverage),
            "fas_cost": _spread(fas.cost, coverage),
            "bound": _spread(fas.bound, coverage),
            "agreement": _spread(agreement, coverage),
            "expected_tau": _spread(_expected_tau(result), coverage),
            "solved": _spread(converged.astype(np.float64), coverage).fill_null(0) == 1,
        }
    )


def _members(result: _Result) -> dict[RankerName, float]:
    """The rankers behind the method, with their weights: of an ensemble or the stack; else none."""
    if result.method == "stack":
        assert result.choice is not None
        assert result.choice.stack is not None
        return {name: weight for name, weight in result.choice.stack.weights.items() if weight > 0}
    if result.method == "ensemble":
        weights = result.config.weights
        return {name: weights[name] for name in weights if weights[name] > 0}
    return {}


def _expected_tau(result: _Result) -> Float:
    """(P,) of the ranked prompts; NaN where one is not connected."""
    denoised = result.denoised
    tau = expected_tau(denoised.votes, result.final.scores, denoised.joint.strength, denoised.joint.covariance)
    return np.where(denoised.connected, tau, np.nan)


def _spread(values: Float, coverage: Coverage) -> pl.Series:
    """(P,) values of the ranked prompts among all; null for the others and for NaN."""
    every = np.full(len(coverage.status), np.nan)
    every[coverage.used] = values
    return pl.Series(every, nan_to_null=True)


def _report(run: str, store: str, result: _Result) -> DenoiseReport:
    coverage, denoised, final = result.coverage, result.denoised, result.final
    rankings, votes = denoised.rankings, denoised.votes
    fas = rankings["feedback-arc-set"]
    status, count = np.unique(coverage.status, return_counts=True)
    not_converged = {name: int((~ranking.converged).sum()) for name, ranking in rankings.items()}
    weights = _members(result) if result.method == "ensemble" else {}
    return DenoiseReport(
        store=store,
        run=run,
        reused=False,
        ranker=result.config.ranker,
        method=result.method,
        auto=_auto(result),
        design=_design(votes),
        spammers=int(result.spammers.sum()),
        spammer_ids=tuple(np.array(result.given.annotators, dtype=object)[result.spammers].tolist()),
        left_out=len(result.given.left) - len(result.votes.left),
        votes=len(votes.left),
        prompts=len(coverage.status),
        ranked=int(denoised.connected.sum()),
        status=dict(zip(status.tolist(), count.tolist(), strict=True)),
        responses=len(votes.responses),
        strengths=_strengths(denoised.joint.mixture),
        expected_tau=_mean(_expected_tau(result)),
        proved=int(fas.converged.sum()),
        gap=float((fas.cost - fas.bound).clip(0).sum()),
        unsolved={name: n for name, n in not_converged.items() if n},
        cyclic_triads=int(coverage.triads[coverage.used].sum()),
        contradicted=float(final.cost.sum() / votes.weight.sum()) if len(votes.weight) else None,
        agreement={f"{a} ~ {b}": _mean(tau) for (a, b), tau in denoised.agreement().items()},
        weights={name: weight / sum(weights.values()) for name, weight in weights.items()},
        warnings=tuple(_warnings(result)),
    )


def _design(votes: VoteArrays) -> DesignReport:
    found = design_of(votes)
    return DesignReport(
        design=found.design,
        coverage=found.coverage,
        dispersion=None if math.isnan(found.dispersion) else found.dispersion,
        association=found.association,
        association_p=found.association_p,
        words=found.words,
    )


def _strengths(mixture: Mixture | None) -> StrengthsReport:
    if mixture is None:
        return StrengthsReport(shape="normal", gap=None, upper=None, words="strengths are spread normally")
    if mixture.kind == "tails":
        words = "strengths have heavy tails: some responses are much better or worse than their models' others"
        return StrengthsReport(shape="tails", gap=None, upper=None, words=words)
    gap = float(np.ptp(mixture.center))
    upper = mixture.common if mixture.center[1] > mixture.center[0] else 1 - mixture.common
    words = f"responses fall into two heaps, {gap:.1f} logits apart, {upper:.0%} of them in the better one"
    return StrengthsReport(shape="heaps", gap=gap, upper=upper, words=words)


def _auto(result: _Result) -> AutoReport | None:
    choice = result.choice
    if choice is None or choice.stack is None:
        return None
    return AutoReport(
        by=choice.by,
        folds=result.config.auto.folds,
        prompts=choice.prompts,
        votes=choice.votes,
        methods=choice.methods,
        weights={name: weight for name, weight in choice.stack.weights.items() if weight > 0},
        slopes={name: choice.stack.slopes[name] for name, weight in choice.stack.weights.items() if weight > 0},
        kept=result.kept is not None,
        chosen_run=result.kept.run if result.kept else "",
        chosen_on=result.kept.votes if result.kept else 0,
    )


def _mean(values: Float) -> float | None:
    """The mean of what is known; None where nothing is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _warnings(result: _Result) -> list[str]:
    coverage, denoised = result.coverage, result.denoised
    apart = int((coverage.status == "disconnected").sum())
    dropped = int((~coverage.used).sum())
    unproved = int((~denoised.rankings["feedback-arc-set"].converged).sum())
    warnings = []
    if result.choice is not None and result.choice.stack is None:
        warnings.append("no vote could be held out: nothing speaks for one ranker or another; joint is taken")
    if result.choice is not None and result.choice.methods and result.choice.methods[0].log_loss >= math.log(2):
        warnings.append(
            "no method foretells held-out votes better than a coin: intervals and expected tau rest on the model alone"
        )
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
