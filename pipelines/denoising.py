"""The job ``denoise``: one ranking per prompt from the votes of a store.

Load the votes, rank them (``curate.denoising.ranking.rank_votes``), report, save.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import ValidationError

from curate.annotators.sides import one_sided
from curate.denoising.ranking import Denoised, rank_votes
from curate.denoising.selection import Choice
from curate.engine import engine_or_none
from curate.evaluation.design import design_of
from curate.processors import cores
from curate.rankers.hierarchical import HierarchicalFit, Mixture
from curate.rankers.registry import named_rankers, versions
from curate.rankers.stack import Stack
from curate.store import Store
from curate.store.rankings import Loaded, load_votes, save_rankings
from curate.store.reporting import votes_by_side
from curate.store.runs import Run, recall, record
from curate.votes.arrays import VoteArrays
from curate.votes.merging import Merged
from pipelines.progress import Progress, silent
from pipelines.provenance import code_version, run_id
from schemas.config import EARLIER_DENOISE, DenoiseConfig
from schemas.denoise import (
    WARNINGS,
    AutoReport,
    DenoiseReport,
    DesignReport,
    EffectReport,
    EqualTextsReport,
    PerceptionReport,
    StrengthsReport,
)
from schemas.engine import EngineConfig
from schemas.rankers import AUTO, STACK, third_party

Float = npt.NDArray[np.float64]

LISTED = 100
"""Prompts without a proof that the report lists."""


def denoise(
    store: str | Path = "curate.duckdb",
    *,
    config: DenoiseConfig = DenoiseConfig(),
    keep_choice: bool = False,
    engine: EngineConfig | None = None,
    progress: Progress = silent,
) -> DenoiseReport:
    """Rank the responses of every prompt, and write the rankings to the store.

    Parameters
    ----------
    store
        The DuckDB file.
    config
        The ranker and its hyperparameters. With ``compare``, all other rankers are run and stored as well.
    keep_choice
        Where the ranker is "auto" and a run with this config is in the store: take the method (and the stack) that the
        latest one chose, instead of holding out votes again. Everything else is computed from all votes.
    engine
        Where the folds of held-out votes are fitted; None: in threads.
    progress
        Called with (what is done, steps done, steps in total).

    Returns
    -------
    DenoiseReport
        What was ranked, by which method, and how certain it is. A run with equal config, votes and code is found in the
        store and not repeated.

    Raises
    ------
    CurateError
        Where the store has no votes, the config names an unknown prompt or criterion, or the votes are by several
        criteria and the config names none.
    """
    with Store.open(store) as opened:
        progress("reading votes", 0, 0)
        load = partial(
            load_votes,
            opened,
            criterion=config.criterion,
            both_bad=config.both_bad,
            texts=config.text_comparison,
        )
        loaded = load(prompts=config.prompts, control=config.control)
        inputs: dict[str, Any] = {"votes": loaded.digest, **_third_party(config)}
        judged = None
        if config.prompts and config.max_spammer < 1:
            every = load()
            judged, inputs["judged"] = every.votes if config.equal_texts == "keep" else every.merged.votes, every.digest
        document = config.model_dump(mode="json")
        kept = None
        if keep_choice and config.ranker == AUTO and opened.run(run_id("denoise", document, inputs)) is None:
            kept = _kept_choice(opened, document)
        if kept is not None:
            inputs["choice"] = _choice_inputs(kept.choice)
        run = Run(
            run_id=run_id("denoise", document, inputs),
            step="denoise",
            config=document,
            # The batches are recorded but are no part of the run's id: equal votes give an equal run.
            inputs={**inputs, "batches": opened.batches()["batch_id"].to_list()},
            code_version=code_version(),
            seed=config.auto.seed if config.ranker == AUTO else None,
        )
        done = recall(opened, run.run_id)
        if done is not None:
            return DenoiseReport.from_stored(done).model_copy(update={"reused": True, "store": str(store)})
        choice = kept.choice if kept else None
        assert loaded.texts is not None
        holds_out = config.ranker == AUTO and choice is None
        with engine_or_none(engine if holds_out else None, workers=min(config.auto.folds, cores())) as workers:
            denoised = rank_votes(
                loaded.votes,
                config,
                texts=loaded.texts.equal,
                judged=judged,
                choice=choice,
                engine=workers,
                progress=progress,
            )
        progress("writing", 0, 0)
        spammers = np.array(loaded.votes.annotators, dtype=object)[denoised.spammers].tolist()
        sides = one_sided(votes_by_side(opened, loaded.criterion, without=spammers))
        report = _report(run.run_id, str(store), config, loaded, denoised, kept, sides)
        with opened.transaction():
            save_rankings(opened, run.run_id, denoised)
            record(opened, run, report.model_dump(mode="json"))
        return report


def _third_party(config: DenoiseConfig) -> dict[str, Any]:
    """The versions of the third-party rankers that the run depends on, as an input of it; nothing without any."""
    used = named_rankers(config)
    if config.compare or config.ranker == AUTO:
        used |= set(third_party())
    found = versions(used)
    return {"rankers": found} if found else {}


@dataclass(frozen=True)
class _Kept:
    """The choice of an earlier run."""

    choice: Choice
    run: str
    """The run that held votes out, not one that kept its choice."""
    votes: int
    """Votes that it had."""


def _kept_choice(store: Store, config: dict[str, Any]) -> _Kept | None:
    """The choice of the latest run with this config; None where no such run held votes out."""
    for run in store.runs().filter(pl.col("step") == "denoise").reverse().iter_rows(named=True):
        if not _same_config(run["config"], config):
            continue
        report = DenoiseReport.from_stored(run["report"])
        if report.auto is not None and report.auto.slopes:
            auto = report.auto
            stack = Stack(auto.weights, auto.slopes)
            choice = Choice(report.method, stack, auto.by, auto.prompts, auto.votes, auto.methods)
            return _Kept(choice, auto.chosen_run or run["run_id"], auto.chosen_on or report.votes)
    return None


def _same_config(stored: str, config: dict[str, Any]) -> bool:
    """Whether a run had this config; options that are newer than the run count as what it did."""
    known = EARLIER_DENOISE | json.loads(stored)
    try:
        return DenoiseConfig.from_stored(known).model_dump(mode="json") == config
    except ValidationError:  # of an option that has been removed since
        return False


def _choice_inputs(choice: Choice) -> dict[str, Any]:
    """The part of a choice that determines the ranking, as JSON."""
    stack = choice.stack if choice.method == STACK else None
    return {"method": choice.method, **({"weights": stack.weights, "slopes": stack.slopes} if stack else {})}


def _report(
    run: str,
    store: str,
    config: DenoiseConfig,
    loaded: Loaded,
    denoised: Denoised,
    kept: _Kept | None,
    sides: dict[str, int],
) -> DenoiseReport:
    coverage, votes, final = denoised.coverage, denoised.votes, denoised.final
    status, count = np.unique(coverage.status, return_counts=True)
    bounded = denoised.bounded
    not_converged = {name: int((~ranking.converged).sum()) for name, ranking in denoised.rankings.items()}
    weights = denoised.members if denoised.method == "ensemble" else {}
    warnings = _warnings(denoised, sides)
    return DenoiseReport(
        store=store,
        run=run,
        reused=False,
        ranker=config.ranker,
        method=denoised.method,
        criterion=loaded.criterion,
        auto=_auto(denoised.choice, config, kept),
        design=_design(denoised.texts),
        spammers=int(denoised.spammers.sum()),
        spammer_ids=tuple(np.array(loaded.votes.annotators, dtype=object)[denoised.spammers].tolist()),
        excluded_votes=denoised.excluded_votes,
        rings=denoised.copying.rings(loaded.votes.annotators),
        copied_votes=int(denoised.copying.copied.sum()),
        equal_texts=_equal_texts(config, loaded, denoised),
        votes=len(votes.left),
        prompts=len(coverage.status),
        ranked=int(denoised.connected.sum()),
        status=dict(zip(status.tolist(), count.tolist(), strict=True)),
        responses=len(denoised.texts.given.responses),
        strengths=_strengths(denoised.posterior.mixture),
        perception=_perception(denoised.posterior, votes),
        effects=_effects(denoised.posterior, votes),
        overdispersion=denoised.overdispersion,
        expected_tau=_mean(denoised.expected_tau),
        proven_optimal=int(bounded.converged.sum()) if bounded else None,
        optimality_gap=float((bounded.cost - bounded.bound).clip(0).sum()) if bounded else None,
        unproven=_unproven(denoised),
        not_converged={name: n for name, n in not_converged.items() if n},
        cyclic_triads=int(coverage.triads[coverage.used].sum()),
        disagreement=float(final.cost.sum() / votes.weight.sum()) if len(votes.weight) else None,
        agreement={f"{a} ~ {b}": _mean(tau) for (a, b), tau in denoised.agreement.items()},
        weights={name: weight / sum(weights.values()) for name, weight in weights.items()},
        warning_counts=warnings,
        warnings=tuple(WARNINGS[code].format(count=count) for code, count in warnings.items()),
    )


def _auto(choice: Choice | None, config: DenoiseConfig, kept: _Kept | None) -> AutoReport | None:
    if choice is None or choice.stack is None:
        return None
    members = sorted(choice.stack.members)
    return AutoReport(
        by=choice.by,
        folds=config.auto.folds,
        prompts=choice.prompts,
        votes=choice.votes,
        methods=choice.methods,
        weights={name: choice.stack.weights[name] for name in members},
        slopes={name: choice.stack.slopes[name] for name in members},
        kept=kept is not None,
        chosen_run=kept.run if kept else "",
        chosen_on=kept.votes if kept else 0,
    )


def _equal_texts(config: DenoiseConfig, loaded: Loaded, denoised: Denoised) -> EqualTextsReport:
    assert loaded.texts is not None
    counts = loaded.texts.counts(loaded.votes.response_prompt)
    between = int(denoised.all_texts.between.sum())
    return EqualTextsReport(handling=config.equal_texts, excluded_votes=between, **counts._asdict())


def _design(texts: Merged) -> DesignReport:
    """How the pairs of responses were chosen: people who chose them did not know which texts are equal."""
    found = design_of(texts.given)
    return DesignReport(
        design=found.design,
        coverage=found.coverage,
        dispersion=None if math.isnan(found.dispersion) else found.dispersion,
        association=found.association,
        association_p=found.association_p,
        summary=found.summary,
    )


def _strengths(mixture: Mixture | None) -> StrengthsReport:
    if mixture is None:
        return StrengthsReport(
            shape="normal", separation=None, upper_weight=None, summary="strengths follow a normal distribution"
        )
    separation = float(np.ptp(mixture.center))
    upper = mixture.common_share if mixture.center[1] > mixture.center[0] else 1 - mixture.common_share
    summary = (
        f"strengths follow a two-component mixture (means {separation:.1f} logits apart, {upper:.0%} in the upper "
        "component)"
    )
    return StrengthsReport(shape="mixture", separation=separation, upper_weight=upper, summary=summary)


def _effects(fit: HierarchicalFit, votes: VoteArrays) -> tuple[EffectReport, ...]:
    reach = NormalDist().inv_cdf(0.95) * np.sqrt(np.diagonal(fit.effect.covariance))
    found = zip(votes.covariate_names, fit.effect.mean.tolist(), reach.tolist(), strict=True)
    return tuple(EffectReport(covariate=name, effect=e, low=e - r, high=e + r) for name, e, r in found)


def _perception(fit: HierarchicalFit, votes: VoteArrays) -> PerceptionReport:
    error, strength = float(np.sqrt(fit.prior.error_variance)), float(np.sqrt(fit.prior.variance))
    repeated = np.bincount(votes.sitting).max(initial=0) > 1
    if not error:
        summary = "no errors of perception that an annotator's votes on a prompt share"
        if not fit.error_identified:
            summary = "errors of perception were not estimated (too many responses per annotator and prompt)"
            return PerceptionReport(status="not estimated", error_sd=0.0, strength_sd=strength, summary=summary)
        status: Literal["absent", "negligible"] = "negligible" if repeated else "absent"
        return PerceptionReport(status=status, error_sd=0.0, strength_sd=strength, summary=summary)
    sizes = f"{error:.1f} logits, beside {strength:.1f} between responses"
    if fit.error_identified:
        summary = f"an annotator's votes on a prompt share errors of perception ({sizes}), which intervals allow for"
        return PerceptionReport(status="identified", error_sd=error, strength_sd=strength, summary=summary)
    summary = (
        f"the votes do not identify the errors of perception that those of an annotator on a prompt share ({sizes}): "
        "intervals allow for more and for less"
    )
    return PerceptionReport(status="not identified", error_sd=error, strength_sd=strength, summary=summary)


def _warnings(denoised: Denoised, sides: dict[str, int]) -> dict[str, int]:
    """Code -> prompts or annotators concerned (0: the whole run), in the order in which they are printed.

    sides: ``one_sided`` of the votes.
    """
    coverage, choice = denoised.coverage, denoised.choice
    bounded = denoised.bounded
    counts = {
        "one_sided_annotators": sides.get("one_sided_annotators", 0),
        "disconnected": int((coverage.status == "disconnected").sum()),
        "not_ranked": int((~coverage.used).sum()),
        "not_proven_optimal": int((~bounded.converged).sum()) if bounded else 0,
    }
    whole = {
        "no_held_out_votes": choice is not None and choice.stack is None,
        "no_better_than_chance": choice is not None and _at_chance(choice.methods),
        "one_sided": "one_sided" in sides,
        "overdispersed": denoised.overdispersion.widening > 1,
    }
    return {**{code: 0 for code, found in whole.items() if found}, **{code: n for code, n in counts.items() if n}}


def _unproven(denoised: Denoised) -> dict[str, float]:
    """Prompt -> optimality gap of the orders without a proof, the largest gaps first."""
    bounded = denoised.bounded
    if bounded is None:
        return {}
    gap = np.where(bounded.converged, -np.inf, bounded.cost - bounded.bound)
    largest = np.argsort(-gap, kind="stable")[:LISTED]
    return {denoised.votes.prompts[p]: float(gap[p]) for p in largest.tolist() if not bounded.converged[p]}


def _at_chance(methods: Sequence[Any]) -> bool:
    """Whether even the best method has the log-loss of a coin."""
    return bool(methods) and methods[0].log_loss >= math.log(2)


def _mean(values: Float) -> float | None:
    """The mean of the finite values; None where there are none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None
