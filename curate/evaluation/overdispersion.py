"""Overdispersion: how far the strengths by two halves of the annotators differ, against what the fit predicts.

No annotator and no K-wise ranking is in both halves; anonymous votes count as independent. Around the fit's posterior,
the log-likelihood of a half is hᵀθ − θᵀJθ / 2 given the fit's annotators and error variance, with h ~ N(J θ, φ J).
Contrasts that both halves inform are compared, without any prior: with K = (J₁ + J₂)⁺ and the parallel sum
G = J₁KJ₂ = J₂KJ₁ (Anderson and Duffin, 1969),

    r = J₂K h₁ − J₁K h₂ = G (J₁⁺h₁ − J₂⁺h₂) ~ N(0, φ G),     φ = Σ rᵀWr / Σ tr(WG),   W = (G + Q)⁻¹,

sums over prompts and splits. W gives a contrast weight by what the votes tell of it beyond the prior, of precision Q.
As the likelihood is not normal, φ of votes drawn from the fit is not quite 1; the overdispersion factor is the ratio of
both. Votes that depend on each other (tastes that annotators share, votes that are copied, errors that the model does
not know) have more noise, and a factor above 1 (McCullagh and Nelder, "Generalized Linear Models", 1989, §4.5).

A fit that takes noise for differences in strength has a prior variance τ² that is too large, as if by 1 / κ. It has
matched the variance of the posterior means, Σ tr Q Var(m − μ) = Σ tr(1 − QC) with C = (J₁ + J₂ + Q)⁻¹, and that is also
κ Σ tr(1 − QC)² + φ Σ tr QC(1 − QC). The difference of both gives the signal ratio,

    κ = 1 − (φ − 1) Σ tr QC(1 − QC) / Σ tr(1 − QC)².

The right ratio of a strength's posterior mean to its standard deviation is smaller by √(κ / φ): for a prior κτ² and an
estimate of variance φs², where the fit has τ² and s², and τ² + s² = κτ² + φs². So the covariance is multiplied by
φ / κ, and the order stays. Errors that all annotators share do not show.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from curate.array_types import Bool, Float
from curate.evaluation.cross_validation import units
from curate.evaluation.reliability import halve
from curate.rankers.hierarchical import (
    Evidence,
    Hierarchical,
    HierarchicalFit,
    drawn_votes,
    evidence_of,
    fit_of_prompts,
)
from curate.votes.arrays import VoteArrays
from curate.votes.blocks import times
from schemas.validation import Overdispersion

SPLITS = 3
"""Random halvings that are averaged."""
MAX_VOTES = 20_000
"""Votes, about, of the random prompts that are halved: enough for a standard error of about 2%."""
FEW_PROMPTS = 20
"""Prompts below which the standard error is that of normal errors, and prior variances are not judged."""
ERRORS = 1.96
"""Standard errors that a significant difference exceeds (two-sided p < .05)."""
ROUNDING = 1e-9
"""Information below this share of the largest, or effective contrasts below this number, are rounding errors."""
LEAST_SIGNAL = 0.2
"""Signal ratio that the widening assumes at least."""


class Sums(NamedTuple):
    """Per prompt, sums over splits. Each is (P,)."""

    observed: Float
    """rᵀWr; its expectation is φ times the next."""
    modelled: Float
    variance: Float
    """Of rᵀWr, for φ = 1 and normal errors."""
    noise_share: Float
    """tr QC(1 − QC)"""
    signal_share: Float
    """tr(1 − QC)²"""


def overdispersion(votes: VoteArrays, fit: HierarchicalFit, *, splits: int = SPLITS, seed: int = 0) -> Overdispersion:
    """Return how far the noise of the votes exceeds that of the fit, and by how much to widen its posterior.

    The standard errors treat prompts as independent given the annotators. votes: those of the fit.
    """
    return pooled_overdispersion([(votes, fit)], splits=splits, seed=seed)


def pooled_overdispersion(
    parts: Iterable[tuple[VoteArrays, HierarchicalFit]], *, splits: int = SPLITS, seed: int = 0
) -> Overdispersion:
    """Return the same from parts: votes on different prompts and the fit of each. No more are taken than needed."""
    rng, rest = np.random.default_rng(seed), MAX_VOTES
    found, of_drawn = list[Sums](), list[Sums]()
    for votes, fit in parts:
        if len(votes.left):
            prompts = _sample(votes, seed, rest)
            sample = votes.of_prompts(prompts)
            own = replace(fit_of_prompts(fit, votes, prompts), mixture=None)
            unit, prompt = units(sample, "annotator"), sample.response_prompt[sample.left]
            halves = [halve(unit, prompt, rng) for _ in range(splits)]
            found.append(_sums(sample, own, halves))
            drawn = drawn_votes(own, sample, rng)
            of_drawn.append(_sums(drawn, Hierarchical().refit(drawn, own), halves))
            rest -= len(sample.left)
        if rest <= 0:
            break
    if not found:
        return _unknown(splits)
    observed, expected = (Sums(*map(np.concatenate, zip(*each, strict=True))) for each in (found, of_drawn))
    informed = np.count_nonzero(observed.modelled > ROUNDING)
    if not informed:
        return _unknown(splits)
    (phi, phi_error), (of_fit, of_fit_error) = (_ratio(sums, splits) for sums in (observed, expected))
    if not min(phi, of_fit) > ROUNDING:  # halves of a few votes may agree exactly: no error can be stated
        return _unknown(splits)
    factor = phi / of_fit
    error = float(np.hypot(phi_error, factor * of_fit_error)) / of_fit  # phi may be 0
    significant = abs(factor - 1) > ERRORS * error
    signal = 1 - (factor - 1) * float(observed.noise_share.sum() / observed.signal_share.sum())
    widening = factor / max(signal, LEAST_SIGNAL) if significant and factor > 1 else 1.0
    return Overdispersion(
        splits=splits,
        prompts=informed,
        factor=factor,
        factor_se=error,
        significant=significant,
        widening=widening,
        summary=_summary(factor, error, widening),
    )


def _ratio(sums: Sums, splits: int) -> tuple[float, float]:
    """Return φ and its standard error: over prompts, or where these are few, that of normal errors."""
    modelled = float(sums.modelled.sum())
    phi = float(sums.observed.sum()) / modelled
    if np.count_nonzero(sums.modelled > ROUNDING) < FEW_PROMPTS:
        return phi, float(np.sqrt(splits * sums.variance.sum())) / modelled
    return phi, float(np.linalg.norm(sums.observed - phi * sums.modelled)) / modelled


def _unknown(splits: int) -> Overdispersion:
    summary = "overdispersion factor unknown: no prompt has votes of several annotators that differ"
    return Overdispersion(splits=splits, prompts=0, summary=summary)


def _summary(factor: float, error: float, widening: float) -> str:
    stated = f"overdispersion factor {factor:.2f} ± {error:.2f}"
    if widening > 1:
        return f"{stated}: votes are dependent; variances of strengths are multiplied by {widening:.2f}"
    return f"{stated}: not significantly above 1"


def widened(fit: HierarchicalFit, found: Overdispersion) -> HierarchicalFit:
    """Return the fit with the covariance of its strengths multiplied by the widening."""
    return replace(
        fit,
        covariance=tuple(found.widening * matrices for matrices in fit.covariance),
        strength_se=np.sqrt(found.widening) * fit.strength_se,
    )


def widened_fit(votes: VoteArrays) -> tuple[HierarchicalFit, Overdispersion]:
    """Return the hierarchical ranker's fit, as wide as the overdispersion of the votes requires, and that."""
    fit = Hierarchical().fit(votes)
    found = overdispersion(votes, fit)
    return widened(fit, found), found


def _sample(votes: VoteArrays, seed: int, limit: int) -> Bool:
    """Return (P,) random prompts with about so many votes; at least one."""
    count = np.bincount(votes.response_prompt[votes.left], minlength=len(votes.prompts))
    order = np.random.default_rng(seed).permutation(len(count))
    before = np.cumsum(count[order]) - count[order]
    chosen = np.zeros(len(count), dtype=np.bool_)
    chosen[order[before < limit]] = True
    return chosen


def _sums(votes: VoteArrays, fit: HierarchicalFit, halves: list[Bool]) -> Sums:
    """Return the sums over splits, each given by (V,) its second half."""
    splits = [_compare(votes, evidence_of(fit, votes, ~second), evidence_of(fit, votes, second)) for second in halves]
    return Sums(*np.sum(splits, axis=0))


def _compare(votes: VoteArrays, one: Evidence, two: Evidence) -> Sums:
    """Return the sums of one split of the votes into two halves."""
    found = Sums(*np.zeros((5, len(votes.prompts))))
    for batch, graphs in enumerate(votes.graphs):
        slots, at = graphs.slots, graphs.prompts
        j1, j2, q = one.information[batch], two.information[batch], one.prior_precision[batch]
        both = np.asarray(np.linalg.pinv(j1 + j2, rcond=ROUNDING, hermitian=True))
        shared = j1 @ both @ j2
        weighted = np.asarray(np.linalg.solve(shared + q, shared), dtype=np.float64)  # W G
        residual = times(j2 @ both, one.linear[slots]) - times(j1 @ both, two.linear[slots])
        found.observed[at] = (residual * np.linalg.solve(shared + q, residual[:, :, None])[:, :, 0]).sum(axis=1)
        found.modelled[at] = np.einsum("bii->b", weighted)
        found.variance[at] = 2 * _trace(weighted, weighted)
        prior = np.asarray(np.linalg.solve(j1 + j2 + q, q), dtype=np.float64)  # C Q
        known: Float = np.eye(len(slots[0])) - prior
        found.noise_share[at], found.signal_share[at] = _trace(prior, known), _trace(known, known)
    return found


def _trace(a: Float, b: Float) -> Float:
    """(B,) trace of the product of two (B, N, N)."""
    return np.asarray(np.einsum("bij,bji->b", a, b))
