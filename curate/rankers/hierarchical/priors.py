"""The priors of prompts and strengths, and the steps that fit them by approximate marginal likelihood.

    prompt_tie[p] ~ N(0, ·),   log_scale[p] ~ N(0, ·)
    θ[p, i] = model_mean[m(i)] + δ[p, i],   model_mean[m] ~ N(0, mean_variance),   δ[p] ~ N(0, exp(2 log_scale[p]) Σ),
    Σ[i, j] = C[m(i), m(j)],   C = variance · 1 or, where models are correlated, variance · correlation

A response of an unknown model has mean 0 and the further variance mean_variance. Variances take steps of Fisher scoring
on the marginal likelihood under weak hyperpriors.
mixture.py has the mixture that may replace the normal prior of θ.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from curate.array_types import Bool, Float
from curate.rankers.hierarchical.perception import PerceivedGaps, Perception, VoteSites
from curate.votes.blocks import VoteData


class Hyperprior(NamedTuple):
    """A lognormal prior of a variance, as informative as ``weight`` variables with the variance ``typical``."""

    typical: float
    weight: float


STRENGTH_VARIANCE = Hyperprior(1.0, 1.0)  # of strengths around their models' means, and of these means, logits²
PROMPT_TIE_VARIANCE = Hyperprior(0.05, 2.0)
ERROR_RATIO = Hyperprior(0.5, 2.0)  # variance of the errors of perception over that of strengths
LOG_SCALE_VARIANCE = Hyperprior(0.05, 10.0)  # informative, because a scale is confounded with the prompt's strengths
DAMPING = 0.05  # of the joint step for variances of strengths and errors: the votes may inform only their sum
# Of strengths and errors, logits². The pairs of a ranking never contradict each other, so that votes do not limit it
MAX_PERCEIVED_VARIANCE = 64.0
NEGLIGIBLE = 0.1  # ratio of error variance and variance that has no effect
MIN_PROMPTS_PER_MODEL = 5  # that correlations are estimated from: there are (M − 1) / 2 of them for each model
IDENTIFIED = 0.5  # standard error of the log ratio of error variance and variance; above, posteriors are averaged
MAX_SHRINKAGE = 0.8  # correlations that would be shrunk by more are taken to be 0


def variance_step(
    variance: float, second_moment: float, count: float, information: float, hyperprior: Hyperprior, step_size: float
) -> float:
    """A variance after one step of Fisher scoring in its logarithm.

    second_moment: Σ E[x²] of ``count`` variables. information: Σ (1 − posterior variance / variance)², twice Fisher's.
    Below the typical variance, the observed information is larger; without that, steps would oscillate.
    """
    gradient = hyperprior.weight * float(np.log(variance / hyperprior.typical))
    curvature = information + hyperprior.weight + max(0.0, -gradient)
    step = np.clip((second_moment / variance - count - gradient) / curvature, -1.0, 1.0)  # a factor of e at most
    return float(variance * np.exp(step_size * step))


class EffectSums(NamedTuple):
    """Sums over the values of a random effect: what its variance is fitted to (``variance_step``)."""

    second: float
    number: float
    information: float
    total: float  # Σ of the values


NO_EFFECT = EffectSums(0.0, 0.0, 0.0, 0.0)


class PromptEffect(NamedTuple):
    """A random effect of P prompts, N(0, variance)."""

    value: Float  # (P,)
    variance: float  # 0: the effect is absent
    mean: float | None = None  # of the values of all prompts, where these are some of them; None: these are all

    def newton_step(self, gradient: Float, information: Float) -> tuple[PromptEffect, EffectSums]:
        """The values after one Newton step, and their sums.

        The mean of all values is kept at 0, because other parameters have their common part. Where these are some of
        them, the next step subtracts the mean of all (``mean``).

        gradient, information: (P,) of the votes' expected log-likelihood.
        """
        if not self.variance > 1e-6:
            return self._replace(value=np.zeros_like(self.value), variance=0.0), NO_EFFECT
        precision = information + 1 / self.variance
        step = np.clip((gradient - self.value / self.variance) / precision, -0.5, 0.5)  # exp changes by 1.6 at most
        if self.mean is None:
            step -= step.mean()
        value, learned = self.value + step, 1 - 1 / (precision * self.variance)
        second, on_variance = float((value**2 + 1 / precision).sum()), float((learned**2).sum())
        return self._replace(value=value), EffectSums(second, len(value), on_variance, float(value.sum()))

    def m_step(self, sums: EffectSums, hyperprior: Hyperprior, step_size: float) -> PromptEffect:
        """The same with the variance after one scoring step; ``sums`` is of all prompts."""
        if not self.variance > 0:
            return self
        second, mean = sums.second, self.mean
        if mean is not None:
            mean = sums.total / sums.number
            second -= sums.total * mean
        variance = variance_step(self.variance, second, sums.number, sums.information, hyperprior, step_size)
        return self._replace(variance=variance, mean=mean)


class Normal(NamedTuple):
    """A normal posterior, of the strengths or of what they depend on."""

    mean: Float  # (R,) logits
    covariance: Float  # logits², flat for the strengths


class PriorSums(NamedTuple):
    """Sums over prompts that the variances of strengths and of errors are fitted to."""

    informative: float  # number of informative responses
    gradient: float  # Σ Moments.gradient
    error_score: float  # twice the derivative in the error variance
    own: float  # Σ Moments.information
    both: float  # twice Fisher's information on both logarithms, over the error variance
    errors: float  # the same on that of the error variance, over its square
    scale: EffectSums  # of the log scales


@dataclass(frozen=True)
class StrengthPrior:
    """The normal prior of the strengths of M models on P prompts."""

    mean_variance: float  # of the models' mean strengths around 0, logits²; 0 without models
    variance: float  # mean of C's diagonal, logits²
    correlation: Float | None  # (M, M) with trace M; None: models are independent
    log_scale: PromptEffect
    error_variance: float  # of the errors of perception, logits²; 0 if no annotator has several votes on a prompt
    known_means: Normal | None = None  # of models and effects (Solution.means); None: learned from the votes

    def precision(self, data: VoteData) -> Float:
        """Flat (N, N) prior precision of the strengths of each prompt's responses around their models' means.

        Two responses of one model share all of their covariance in C but C's least eigenvalue, so that Σ is positive
        definite.
        """
        cells, scale = np.zeros(data.cells), self.variance * np.exp(2 * self.log_scale.value)
        further = np.where(data.response_model == data.models, self.mean_variance, 0.0)
        if self.correlation is None:
            cells[data.diagonal] = 1 / (scale[data.response_prompt] + further)
            return cells
        least = float(np.linalg.eigvalsh(self.correlation)[0])
        shared = np.pad(self.correlation - least * np.eye(data.models), (0, 1))
        own = np.append(np.diagonal(self.correlation), 1.0)[data.response_model] * scale[data.response_prompt] + further
        for block in data.blocks:
            block.of(cells)[:] = scale[block.prompts, None, None] * shared[block.model_pair]
        cells[data.diagonal] = own
        return data.inverse(cells)

    def newton_step(
        self, data: VoteData, moments: Moments, gaps: PerceivedGaps, covariance: Float
    ) -> tuple[StrengthPrior, PriorSums]:
        """The prior with the log scales after one Newton step, and the sums that its variances are fitted to.

        covariance: flat posterior covariance.
        """
        log_scale, of_scales = self.log_scale.newton_step(moments.gradient, 2 * moments.information)
        return replace(self, log_scale=log_scale), self.sums(data, moments, gaps, covariance, of_scales)

    def sums(
        self,
        data: VoteData,
        moments: Moments,
        gaps: PerceivedGaps,
        covariance: Float,
        scale: EffectSums = NO_EFFECT,
    ) -> PriorSums:
        """The sums over these prompts. covariance: flat posterior covariance."""
        both, errors = 0.0, gaps.information
        if self.error_variance:
            precision = self.precision(data)
            for block in data.blocks:
                product = block.of(gaps.squares) @ block.of(covariance)
                errors += float((product * product.swapaxes(1, 2)).sum())
                both += float((product @ block.of(precision) * block.of(covariance)).sum())
        count, own = int(informative(data).sum()), float(moments.information.sum())
        return PriorSums(count, float(moments.gradient.sum()), gaps.score, own, both, errors, scale)

    def m_step(self, sums: PriorSums, model_mean: Float, model_covariance: Float, step_size: float) -> StrengthPrior:
        """The prior's variances after one step of Fisher scoring.

        sums: of all prompts. model_mean, model_covariance: (M,) and (M, M) posterior of the models' means.
        """
        variance, error_variance = self._variances_step(sums, step_size)
        mean_variance, models = self.mean_variance, len(model_mean)
        if models:
            learned = np.eye(models) - model_covariance / mean_variance
            second = float((model_mean**2).sum() + np.trace(model_covariance))
            information = float((learned * learned.T).sum())
            mean_variance = variance_step(mean_variance, second, models, information, STRENGTH_VARIANCE, step_size)
        log_scale = self.log_scale.m_step(sums.scale, LOG_SCALE_VARIANCE, step_size)
        return StrengthPrior(mean_variance, variance, self.correlation, log_scale, error_variance)

    def _variances_step(self, sums: PriorSums, step_size: float) -> tuple[float, float]:
        """The variances of strengths and of errors after one joint step: votes inform their sum better than each."""
        if not self.error_variance:
            second = self.variance * (sums.informative + sums.gradient)
            return variance_step(self.variance, second, sums.informative, sums.own, STRENGTH_VARIANCE, step_size), 0.0
        own = STRENGTH_VARIANCE.weight * float(np.log(self.variance / STRENGTH_VARIANCE.typical))
        ratio = ERROR_RATIO.weight * float(np.log(self.error_variance / self.variance / ERROR_RATIO.typical))
        score = np.array([sums.gradient - own + ratio, self.error_variance * sums.error_score - ratio])
        curvature = self.variance_information(sums)
        curvature[[0, 1], [0, 1]] *= 1 + DAMPING
        curvature += ERROR_RATIO.weight * np.array([[1.0, -1.0], [-1.0, 1.0]])
        curvature += np.diag([STRENGTH_VARIANCE.weight + max(0.0, -own), max(0.0, -ratio)])
        new = np.array([self.variance, self.error_variance])
        new *= np.exp(step_size * np.clip(np.linalg.solve(curvature, score), -1.0, 1.0))
        variance, error_variance = (new * min(1.0, MAX_PERCEIVED_VARIANCE / float(new.sum()))).tolist()
        return variance, error_variance

    def ratio_uncertainty(self, sums: PriorSums) -> tuple[float, Float]:
        """The standard error of log(error_variance / variance), and the (2,) change of both logarithms with it."""
        ratio = np.array([-1.0, 1.0])
        precision = self.variance_information(sums) / 2
        precision += ERROR_RATIO.weight / 2 * np.outer(ratio, ratio) + STRENGTH_VARIANCE.weight / 2 * np.diag(
            [1.0, 0.0]
        )
        response = np.linalg.solve(precision, ratio)
        se = float(np.sqrt(ratio @ response))
        return se, response / se

    def other_ratios(self, sums: PriorSums) -> tuple[float, list[StrengthPrior]]:
        """The standard error of log(error_variance / variance), and the priors at √3 of it to each side.

        The priors have the best variances for these ratios; there are none where the ratio is identified.
        """
        se, direction = self.ratio_uncertainty(sums)
        if se <= IDENTIFIED:
            return se, []
        return se, [self.scaled(np.exp(step * np.sqrt(3.0) * direction)) for step in (-1.0, 1.0)]

    def scaled(self, factor: Float) -> StrengthPrior:
        """The prior with these (2,) factors of ``variance`` and ``error_variance``."""
        return replace(
            self, variance=self.variance * float(factor[0]), error_variance=self.error_variance * float(factor[1])
        )

    def log_changes(self, old: StrengthPrior) -> list[float]:
        """Absolute changes of the logarithms of the variances of means, strengths and errors."""
        new = np.array([self.mean_variance, self.variance, self.error_variance])
        before = np.array([old.mean_variance, old.variance, old.error_variance])
        both = (new > 0) & (before > 0)
        return [abs(change) for change in np.log(new[both] / before[both]).tolist()]

    def variance_information(self, sums: PriorSums) -> Float:
        """(2, 2) twice Fisher's information on the logarithms of ``variance`` and ``error_variance``."""
        errors = max(self.error_variance**2 * sums.errors, 0.0)
        both = min(self.error_variance * sums.both, float(np.sqrt(sums.own * errors)))  # rounding, uncertain means
        return np.array([[sums.own, both], [both, errors]])

    def correlation_shrinkage(self, data: VoteData, moments: Moments) -> float:
        """How much correlations between models are shrunk towards 0; 1: the votes do not support any.

        Noise over signal of the off-diagonal score, the noise taken two of its standard errors high (Ledoit and Wolf,
        "A well-conditioned estimator for large-dimensional covariance matrices", 2004).
        """
        models = data.models
        if models < 2 or data.prompts < MIN_PROMPTS_PER_MODEL * models:
            return 1.0
        score, squares = self._correlation_scores(data, moments)
        off_diagonal = ~np.eye(models, dtype=np.bool_)
        signal, noise = float((score[off_diagonal] ** 2).sum()), float(squares[off_diagonal].sum())
        noise *= 1 + 2 * np.sqrt(4 / (models * (models - 1)))
        shrinkage = max(noise / signal if signal > noise else 1.0, models / (models + data.prompts))
        return shrinkage if shrinkage < MAX_SHRINKAGE else 1.0

    def correlation_step(self, data: VoteData, moments: Moments, shrinkage: float) -> Float:
        """(M, M) the correlation after one step of EM on the marginal likelihood, shrunk towards independence.

        EM for a covariance with missing entries: C ← C + C G C / P, G = Σ over prompts of Q E[δδᵀ] Q − Q, each model's
        rows divided by the number of its prompts instead of P. The result is scaled to trace M.
        """
        models = data.models
        current = self.correlation if self.correlation is not None else np.eye(models)
        score, _ = self._correlation_scores(data, moments)
        seen = 1 / np.sqrt(np.maximum(np.bincount(data.response_model, minlength=models + 1)[:-1], 1))
        estimate = current + self.variance * current @ (seen[:, None] * score * seen) @ current
        estimate *= models / np.trace(estimate)
        return np.asarray((1 - shrinkage) * (estimate + estimate.T) / 2 + shrinkage * np.eye(models))

    def _correlation_scores(self, data: VoteData, moments: Moments) -> tuple[Float, Float]:
        """(M, M) Σ over prompts of scale² (Q E[δδᵀ] Q − Q), twice the score of C, and (M, M) Σ of their squares."""
        score, squares = np.zeros((data.models + 1,) * 2), np.zeros((data.models + 1,) * 2)
        precision = self.precision(data)
        for block in data.blocks:
            q, second = block.of(precision), block.of(moments.second)
            gradient = np.exp(2 * self.log_scale.value[block.prompts])[:, None, None] * (q @ second @ q - q)
            score += block.model_sums(gradient, data.models)
            squares += block.model_sums(gradient**2, data.models)
        return score[:-1, :-1], squares[:-1, :-1]


class Moments(NamedTuple):
    """Moments of δ under the posterior, with the prior precision Q and the posterior covariance S given the means."""

    second: Float  # E[δδᵀ], flat
    gradient: Float  # (P,) tr(Q E[δδᵀ] − 1) over informative responses: that of the log scale
    information: Float  # (P,) tr(L²) over informative responses, L = 1 − S Q: half that on the log scale
    model_mean: Float  # (M,)
    model_covariance: Float  # (M, M)


def informative(data: VoteData) -> Bool:
    """(R,) responses from which the variance around model means is learned: those of a known model, if any is.

    The single vote on a prompt tells of its model means alone: with them, any variance explains it equally well.
    """
    several = np.bincount(data.prompt, minlength=data.prompts) > 1
    return np.asarray(((data.response_model < data.models) | (data.models == 0)) & several[data.response_prompt])


def first_error_variance(
    data: VoteData, sites: VoteSites, posterior: tuple[Float, Float], prior: StrengthPrior, moments: Moments
) -> float:
    """Where the estimation of the error variance starts, given a fit without errors; 0 if the votes exclude errors."""
    if not len(data.sittings.votes):
        return 0.0
    trial = replace(prior, error_variance=1e-6 * prior.variance)
    gaps = Perception(data, sites, trial.error_variance).perceived(*posterior)
    (own, both), (_, errors) = trial.variance_information(trial.sums(data, moments, gaps, posterior[1]))
    information = (errors - both * both / max(own, 1e-300)) / trial.error_variance**2
    highest = (gaps.score + 2 * np.sqrt(2 * max(information, 0.0))) / max(information, 1e-300)
    return ERROR_RATIO.typical * prior.variance if highest > NEGLIGIBLE * prior.variance else 0.0


def first_scale_variance(moments: Moments) -> float:
    """The moment estimate of the variance of log scales: by how much squared gradients exceed their information."""
    excess, information = moments.gradient**2 - 2 * moments.information, 2 * moments.information
    return max(0.0, float(excess.sum()) / max(float((information**2).sum()), 1e-9))
