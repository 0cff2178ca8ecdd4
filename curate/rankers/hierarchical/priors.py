"""The priors of annotators, prompts and strengths, and the steps that fit them by approximate marginal likelihood.

    (discrimination, left bias, tie)[a] ~ N(prior_mean, diag(prior_variance)), discrimination ≥ 0 with mean 1
    prompt_tie[p] ~ N(0, ·),   log_scale[p] ~ N(0, ·)
    θ[p, i] = model_mean[m(i)] + δ[p, i],   model_mean[m] ~ N(0, mean_variance),   δ[p] ~ N(0, exp(2 log_scale[p]) Σ),
    Σ[i, j] = C[m(i), m(j)],   C = variance · 1 or, where models are correlated, variance · correlation

A response of an unknown model has mean 0 and the further variance mean_variance. Variances take steps of Fisher scoring
on the marginal likelihood under weak hyperpriors. A mixture of two normals may replace the normal prior of θ.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from curate.rankers.base import Bool, Float
from curate.rankers.hierarchical.model import BIAS, DISCRIMINATION, LEAST_TIE, TIE, ParameterDerivatives
from curate.votes.blocks import VoteData, sums


class Hyperprior(NamedTuple):
    """A lognormal prior of a variance, as informative as ``weight`` variables with the variance ``typical``."""

    typical: float
    weight: float


ANNOTATOR_VARIANCE = (Hyperprior(0.25, 2.0), Hyperprior(0.05, 2.0), Hyperprior(0.25, 2.0))  # weak: there are few
STRENGTH_VARIANCE = Hyperprior(1.0, 1.0)  # of strengths around their models' means, and of these means, logits²
PROMPT_TIE_VARIANCE = Hyperprior(0.05, 2.0)
LOG_SCALE_VARIANCE = Hyperprior(0.05, 10.0)  # informative, because a scale is confounded with the prompt's strengths
MEAN_PRECISION = 1.0  # of the normal hyperprior of mean bias and mean tie parameter around their first values
MIN_PROMPTS_PER_MODEL = 5  # that correlations are estimated from: there are (M − 1) / 2 of them for each model
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


@dataclass(frozen=True)
class Annotators:
    """The parameters of A annotators with their posterior and prior; a last row stands for all anonymous votes."""

    value: Float  # (A + 1, 3) discrimination (≥ 0, mean 1 over those with votes), left bias (logits), tie parameter
    variance: Float  # (A + 1, 3) posterior variances (Laplace's approximation)
    prior_mean: Float  # (3,)
    prior_variance: Float  # (3,)
    first: Float  # (3,) the prior mean at the start
    votes: Float  # (A + 1,) weight of their votes
    sided: Float  # (A + 1,) weight of their votes on known sides
    has_ties: bool  # without a tie, the tie parameters are fixed where ties have probability 0

    @property
    def discrimination(self) -> Float:
        """(A + 1,)"""
        return self.value[:, DISCRIMINATION]

    @property
    def tie(self) -> Float:
        """(A + 1,) tie parameter on an average prompt."""
        return self.value[:, TIE]

    def newton_step(self, derivatives: ParameterDerivatives) -> Annotators:
        """The parameters after one Newton step on their expected log-posterior, under the constraint of mean 1.

        The multiplier of the constraint leaves it to the prior variances how far strengths lie apart. Annotators at
        discrimination 0 stay there unless their gradient exceeds the multiplier.
        """
        gradient = derivatives.gradient - (self.value - self.prior_mean) / self.prior_variance
        precision = np.diag(1 / self.prior_variance) - derivatives.hessian
        used, held = self.votes > 0, self.discrimination <= 0
        for _ in range(2):
            free = np.stack([~held, np.ones_like(held), np.full_like(held, self.has_ties)], axis=1)  # (A + 1, 3)
            covariance = np.linalg.inv(np.where(free[:, :, None] & free[:, None, :], precision, np.eye(3) * precision))
            step, moved = np.einsum("aij,aj->ai", covariance, np.where(free, gradient, 0.0)), used & ~held
            response = covariance[moved, :, DISCRIMINATION]  # change of the steps per unit of the multiplier
            multiplier = step[moved, DISCRIMINATION].sum() / max(float(response[:, DISCRIMINATION].sum()), 1e-300)
            step[moved] -= multiplier * response
            held = held & (gradient[:, DISCRIMINATION] <= multiplier)
        value = self.value + step / np.maximum(1.0, np.abs(step).max(axis=1, keepdims=True))  # a unit at most
        return replace(self, value=value, variance=np.diagonal(covariance, axis1=1, axis2=2).copy()).normalised()

    def normalised(self) -> Annotators:
        """The same with discriminations of at least 0 and mean 1 over those with votes."""
        value, used = self.value.copy(), self.votes > 0
        value[:, DISCRIMINATION] = np.maximum(value[:, DISCRIMINATION], 0.0)
        value[:, DISCRIMINATION] /= value[used, DISCRIMINATION].mean() if used.any() else 1.0
        return replace(self, value=value)

    def m_step(self, step_size: float) -> Annotators:
        """The prior's means and variances after one step of Fisher scoring."""
        informed = np.stack([self.votes > 0, self.sided > 0, (self.votes > 0) & self.has_ties])  # (3, A + 1)
        mean, variance = self.prior_mean.copy(), self.prior_variance.copy()
        for k, hyperprior in enumerate(ANNOTATOR_VARIANCE):
            value, left = self.value[informed[k], k], np.minimum(self.variance[informed[k], k], variance[k])
            learned = 1 - left / variance[k]  # share of the posterior's precision that comes from the votes
            if k in (BIAS, TIE) and len(value):
                score = (value - mean[k]).sum() / variance[k] - MEAN_PRECISION * (mean[k] - self.first[k])
                mean[k] += step_size * np.clip(score / (learned.sum() / variance[k] + MEAN_PRECISION), -1, 1)
            second, information = float(((value - mean[k]) ** 2 + left).sum()), float((learned**2).sum())
            variance[k] = variance_step(variance[k], second, len(value), information, hyperprior, step_size)
        return replace(self, prior_mean=mean, prior_variance=variance)


def first_annotators(data: VoteData) -> Annotators:
    """All annotators alike: discrimination 1, no bias, and the observed share of ties (a little more on equals)."""
    votes, tied = sums(data.annotator, data.weight, data.annotators), float(data.weight[data.side == 0].sum())
    share = min(0.9, 1.2 * tied / max(float(votes.sum()), 1e-300))
    tie = float(np.log(2 * share / (1 - share))) if tied else LEAST_TIE
    mean, variance = np.array([1.0, 0.0, tie]), np.array([prior.typical for prior in ANNOTATOR_VARIANCE])
    value, left = (np.tile(row, (data.annotators, 1)) for row in (mean, variance))
    sided = sums(data.annotator, data.weight * data.sides_known, data.annotators)
    return Annotators(value, left, mean, variance, mean, votes, sided, tied > 0)


class PromptEffect(NamedTuple):
    """A random effect of P prompts, N(0, variance)."""

    value: Float  # (P,)
    variance: float  # 0: the effect is absent

    def step(self, gradient: Float, information: Float, hyperprior: Hyperprior, step_size: float) -> PromptEffect:
        """The values after one Newton step and the variance after one scoring step.

        gradient, information: (P,) of the votes' expected log-likelihood.
        """
        if not self.variance > 1e-6:
            return PromptEffect(np.zeros_like(self.value), 0.0)
        precision = information + 1 / self.variance
        step = np.clip((gradient - self.value / self.variance) / precision, -0.5, 0.5)  # exp changes by 1.6 at most
        value, learned = self.value + step_size * step, 1 - 1 / (precision * self.variance)
        second, on_variance = float((value**2 + 1 / precision).sum()), float((learned**2).sum())
        return PromptEffect(value, variance_step(self.variance, second, len(value), on_variance, hyperprior, step_size))


@dataclass(frozen=True)
class StrengthPrior:
    """The normal prior of the strengths of M models on P prompts."""

    mean_variance: float  # of the models' mean strengths around 0, logits²; 0 without models
    variance: float  # mean of C's diagonal, logits²
    correlation: Float | None  # (M, M) with trace M; None: models are independent
    log_scale: PromptEffect

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

    def m_step(self, data: VoteData, moments: Moments, step_size: float) -> StrengthPrior:
        """The prior's variances and scales after one step of Fisher scoring each."""
        count, gradient = int(informative(data).sum()), float(moments.gradient.sum())
        second, information = self.variance * (count + gradient), float(moments.information.sum())
        variance = variance_step(self.variance, second, count, information, STRENGTH_VARIANCE, step_size)
        mean_variance = self.mean_variance
        if data.models:
            learned = np.eye(data.models) - moments.model_covariance / mean_variance
            second = float((moments.model_mean**2).sum() + np.trace(moments.model_covariance))
            information = float((learned * learned.T).sum())
            mean_variance = variance_step(mean_variance, second, data.models, information, STRENGTH_VARIANCE, step_size)
        log_scale = self.log_scale.step(moments.gradient, 2 * moments.information, LOG_SCALE_VARIANCE, step_size)
        return replace(self, variance=variance, mean_variance=mean_variance, log_scale=log_scale)

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
    """(R,) responses from which the variance around model means is learned: those of a known model, if any is."""
    return np.asarray((data.response_model < data.models) | (data.models == 0))


def first_scale_variance(moments: Moments) -> float:
    """The moment estimate of the variance of log scales: by how much squared gradients exceed their information."""
    excess, information = moments.gradient**2 - 2 * moments.information, 2 * moments.information
    return max(0.0, float(excess.sum()) / max(float((information**2).sum()), 1e-9))


class Tilted(NamedTuple):
    """Cavity times mixture for each response: again a mixture of two normals."""

    weight: Float  # (R, 2) posterior probabilities of the components
    mean: Float  # (R, 2) logits
    variance: Float  # (R, 2) logits²
    log_mass: Float  # (R,) logarithm of the integral, up to a constant


@dataclass(frozen=True)
class Mixture:
    """A two-component prior: θ[p, i] = model_mean[m] + center[k] + e, e ~ N(0, variance), P(k = 1) = share[m].

    As of right and wrong answers. Under one normal prior, what separates right from wrong would also be expected
    between right answers.
    """

    center: Float  # (2,) logits
    variance: float  # logits²
    share: Float  # (M + 1,) P(k = 1) of each model; the last row is for responses of an unknown model
    common_share: float  # of all responses
    model_mean: Float  # (M,) logits, besides the centers
    mean_variance: float  # of the models' means around 0

    def penalty(self, data: VoteData) -> float:
        """BIC's penalty over a normal prior (Schwarz, 1978), nats: of a further center and a share of each model."""
        of_models = np.bincount(data.response_model, minlength=data.models + 1)
        return float(np.log1p([*of_models, len(data.response_model)]).sum()) / 2

    def components(self, data: VoteData) -> tuple[Float, Float]:
        """(R, 2) means and (R, 2) shares of the components of each response."""
        share, mean = self.share[data.response_model], np.append(self.model_mean, 0.0)[data.response_model]
        return mean[:, None] + self.center, np.stack([1 - share, share], axis=1)

    def moments(self, data: VoteData) -> tuple[Float, Float]:
        """(R,) mean and (R,) variance of each response's prior."""
        center, share = self.components(data)
        mean = (share * center).sum(axis=1)
        return mean, (share * (self.variance + (center - mean[:, None]) ** 2)).sum(axis=1)

    def tilted(self, data: VoteData, precision: Float, linear: Float) -> Tilted:
        """The mixture times cavities with these natural parameters (R,)."""
        center, share = self.components(data)
        total = 1 / precision[:, None] + self.variance
        log = np.log(share) - (((linear / precision)[:, None] - center) ** 2 / total + np.log(total)) / 2
        log_mass = np.logaddexp(log[:, 0], log[:, 1])
        posterior = precision[:, None] + 1 / self.variance
        mean = (linear[:, None] + center / self.variance) / posterior
        return Tilted(np.exp(log - log_mass[:, None]), mean, 1 / posterior, log_mass)

    def m_step(self, data: VoteData, tilted: Tilted) -> Mixture:
        """The mixture after one step each for shares, centers, model means and variances."""
        model, rows, weight = data.response_model, data.models + 1, tilted.weight
        count = weight.sum(axis=0) + 1e-9  # above 0 for a component without responses
        common = float(count[1] / count.sum())
        # Each model's share is shrunk to the common one by two responses.
        share = (sums(model, weight[:, 1], rows) + 2 * common) / (np.bincount(model, minlength=rows) + 2)
        center = (weight * (tilted.mean - np.append(self.model_mean, 0.0)[model, None])).sum(axis=0) / count
        center -= (count * center).sum() / count.sum()  # votes do not inform a common mean
        new = self._with_model_means(data, tilted, center)
        away = tilted.mean - np.append(new.model_mean, 0.0)[model, None] - center
        second = float((weight * (tilted.variance + away**2)).sum())
        learned = float((weight * (1 - tilted.variance / self.variance) ** 2).sum())
        variance = variance_step(self.variance, second, float(count.sum()), learned, STRENGTH_VARIANCE, 1.0)
        return replace(new, center=center, variance=variance, share=share, common_share=common)

    def _with_model_means(self, data: VoteData, tilted: Tilted, center: Float) -> Mixture:
        """The mixture with new model means and the variance of their prior."""
        if not data.models:
            return self
        precision, of = tilted.weight / self.variance, data.response_model
        terms = (precision * (tilted.mean - center), precision, precision * (1 - tilted.variance / self.variance))
        linear, known, learned = (sums(of, term.sum(axis=1), data.models + 1)[:-1] for term in terms)
        mean, left = linear / (known + 1 / self.mean_variance), 1 / (learned + 1 / self.mean_variance)
        second, information = float((mean**2 + left).sum()), float((1 - left / self.mean_variance).sum())
        variance = variance_step(self.mean_variance, second, data.models, information, STRENGTH_VARIANCE, 1.0)
        return replace(self, model_mean=mean - mean.mean(), mean_variance=variance)

    def change_from(self, old: Mixture) -> float:
        """The largest change of a center, a model mean or the logarithm of a variance."""
        changes = (self.center - old.center, self.model_mean - old.model_mean, np.log([self.variance / old.variance]))
        return max(float(np.abs(change).max(initial=0.0)) for change in changes)


def first_mixture(prior: StrengthPrior, model_mean: Float) -> Mixture:
    """A mixture with the variance of a fitted normal prior: 64% between the centers, 36% within. model_mean: (M,)."""
    half = 0.8 * float(np.sqrt(prior.variance))
    share = np.clip(0.5 + np.append(model_mean, 0.0) / (2 * half), 0.1, 0.9)  # it follows the model means
    center, means = np.array([-half, half]), np.zeros(len(model_mean))
    return Mixture(center, 0.36 * prior.variance, share, float(share[-1]), means, prior.mean_variance)
