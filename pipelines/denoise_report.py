"""The report of a denoise run: of all votes at once, or added up from buckets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np

from curate.array_types import Float
from curate.denoising.ranking import Denoised
from curate.denoising.selection import Choice
from curate.evaluation.design import design_of
from curate.rankers.hierarchical import HierarchicalFit, Mixture
from curate.votes.arrays import VoteArrays
from curate.votes.texts import TextNumbers
from schemas.config import DenoiseConfig
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

LISTED = 100
"""Prompts without a proof that the report lists."""
WHOLE_RUN = ("no_held_out_votes", "no_better_than_chance", "one_sided", "overdispersed")
"""Warnings that concern the whole run."""


@dataclass(frozen=True)
class KeptChoice:
    """The choice of an earlier run."""

    choice: Choice
    run: str
    """The run that held votes out, not one that kept its choice."""
    votes: int
    """Votes that it had."""


def report_of(
    run: str,
    store: str,
    config: DenoiseConfig,
    denoised: Denoised,
    texts: TextNumbers,
    *,
    criterion: str,
    kept: KeptChoice | None,
    design: DesignReport | None = None,
) -> DenoiseReport:
    """Return the report of a run, or of a bucket of prompts.

    texts: of all responses. kept: the choice of an earlier run, if the run took it. design: of all prompts, where the
    rankings are of a bucket.
    """
    annotators = np.array(denoised.all_texts.given.annotators, dtype=object)
    coverage, votes, final = denoised.coverage, denoised.votes, denoised.final
    status, count = np.unique(coverage.status, return_counts=True)
    bounded = denoised.bounded
    not_converged = {name: int((~ranking.converged).sum()) for name, ranking in denoised.rankings.items()}
    weights = denoised.members if denoised.method == "ensemble" else {}
    warnings = _warnings(denoised)
    return DenoiseReport(
        store=store,
        run=run,
        reused=False,
        ranker=config.ranker,
        method=denoised.method,
        criterion=criterion,
        auto=_auto(denoised.choice, config, kept),
        design=design or design_report(denoised.texts.given),
        spammers=int(denoised.spammers.sum()),
        spammer_ids=tuple(annotators[denoised.spammers].tolist()),
        excluded_votes=denoised.excluded_votes,
        rings=denoised.copying.rings(denoised.all_texts.given.annotators),
        copied_votes=int(denoised.copying.copied.sum()),
        equal_texts=_equal_texts(config, texts, denoised),
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
        warnings=_sentences(warnings),
    )


def with_sides(report: DenoiseReport, sides: dict[str, int]) -> DenoiseReport:
    """Return the report with the warnings of votes for one side. sides: as ``one_sided`` returns them."""
    counts = _in_order({**report.warning_counts, **sides})
    return report.model_copy(update={"warning_counts": counts, "warnings": _sentences(counts)})


def added_up(reports: Sequence[DenoiseReport], weights: Sequence[float]) -> DenoiseReport:
    """Return the report of a run from those of its buckets. weights: the weight of the votes of each."""

    def total(name: str) -> Any:
        known = [value for report in reports if (value := getattr(report, name)) is not None]
        return sum(known) if known else None

    def counts(name: str) -> dict[str, int]:
        every = [getattr(report, name) for report in reports]
        return {key: sum(each.get(key, 0) for each in every) for key in sorted(set().union(*every))}

    def mean(values: Iterable[float | None], weights: Sequence[float]) -> float | None:
        known = [(value, weight) for value, weight in zip(values, weights, strict=True) if value is not None and weight]
        return sum(v * w for v, w in known) / sum(w for _, w in known) if known else None

    first, ranked = reports[0], [report.ranked for report in reports]
    texts = [report.equal_texts.model_dump(exclude={"handling"}) for report in reports if report.equal_texts]
    unproven = sorted(
        ((gap, p) for report in reports for p, gap in report.unproven.items()), key=lambda g: (-g[0], g[1])
    )
    perception = [report.perception for report in reports if report.perception and report.perception.status != "absent"]
    summed = (
        "excluded_votes",
        "copied_votes",
        "votes",
        "prompts",
        "ranked",
        "responses",
        "proven_optimal",
        "optimality_gap",
        "cyclic_triads",
    )
    warnings = _in_order(counts("warning_counts"))
    return first.model_copy(
        update={
            **{name: total(name) for name in summed},
            **{name: counts(name) for name in ("status", "not_converged")},
            "equal_texts": EqualTextsReport(
                handling=first.equal_texts.handling if first.equal_texts else "merge",
                **{name: sum(each[name] for each in texts) for name in texts[0]},
            ),
            "perception": perception[0] if perception else first.perception,
            "expected_tau": mean([report.expected_tau for report in reports], ranked),
            "unproven": {prompt: -gap for gap, prompt in unproven[:LISTED]},
            "disagreement": mean([report.disagreement for report in reports], weights),
            "agreement": {pair: mean([r.agreement[pair] for r in reports], ranked) for pair in first.agreement},
            "warning_counts": warnings,
            "warnings": _sentences(warnings),
        }
    )


def _in_order(counts: dict[str, int]) -> dict[str, int]:
    """The counts of warnings in the order in which they are printed: those of the whole run first."""
    codes = [*(code for code in WHOLE_RUN if code in counts), *(code for code in WARNINGS if code in counts)]
    return {code: counts[code] for code in dict.fromkeys(codes)}


def _sentences(counts: dict[str, int]) -> tuple[str, ...]:
    return tuple(WARNINGS[code].format(count=count) for code, count in counts.items())


def _auto(choice: Choice | None, config: DenoiseConfig, kept: KeptChoice | None) -> AutoReport | None:
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


def _equal_texts(config: DenoiseConfig, texts: TextNumbers, denoised: Denoised) -> EqualTextsReport:
    counts = texts.counts(denoised.all_texts.given.response_prompt)
    between = int(denoised.all_texts.between.sum())
    return EqualTextsReport(handling=config.equal_texts, excluded_votes=between, **counts._asdict())


def design_report(votes: VoteArrays) -> DesignReport:
    """Return how the pairs of responses were chosen. votes: with each response on its own, because people who chose
    pairs did not know which texts are equal."""
    found = design_of(votes)
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


def _warnings(denoised: Denoised) -> dict[str, int]:
    """Code -> prompts concerned (0: the whole run), in the order in which they are printed."""
    coverage, choice, bounded = denoised.coverage, denoised.choice, denoised.bounded
    counts = {
        "disconnected": int((coverage.status == "disconnected").sum()),
        "not_ranked": int((~coverage.used).sum()),
        "not_proven_optimal": int((~bounded.converged).sum()) if bounded else 0,
    }
    whole = {
        "no_held_out_votes": choice is not None and choice.stack is None,
        "no_better_than_chance": choice is not None and _at_chance(choice.methods),
        "overdispersed": denoised.overdispersion.widening > 1,
    }
    return _in_order({code: 0 for code, found in whole.items() if found} | {c: n for c, n in counts.items() if n})


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
