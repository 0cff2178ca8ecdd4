"""The posterior of the strengths given the votes' sites and the priors.

Normal prior: the model means, and the effects of covariates, couple the prompts. With sites (h, J) and prior precision
Q of a prompt,

    S = (J + Q)⁻¹,   θ | μ ~ N(S (h + Q μ), S),   precision of the means μ: 1 / mean_variance + Σ[prompts] Q − Q S Q,

so that all strengths and means cost one (N, N) inverse per prompt.

Mixture prior: expectation propagation (Minka, 2001). A normal prior site replaces the prior of each response; cavity =
posterior / site, tilted = cavity × mixture, and the site takes the posterior to the tilted mean and variance.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from curate.array_types import Float
from curate.rankers.hierarchical.mixture import Mixture
from curate.rankers.hierarchical.perception import Sites
from curate.rankers.hierarchical.priors import Moments, Normal, StrengthPrior, informative
from curate.votes.blocks import VoteData, sums, times

SITE_STEP = 0.7  # damping of expectation propagation: the part of the way that a site moves in one pass
LEAST_SITE = 0.2  # of a site's precision, as part of the prior's: between the components it would be negative
LEAST_CAVITY = 1e-6  # of a cavity's precision, as part of the posterior's: proper in spite of rounding
EFFECT_PRECISION = 1e-3  # of the effects of covariates, whose differences are scaled to 1: nearly no prior
MAX_CHANGE = 0.75  # logits that a strength moves in one pass at most


class Solution(NamedTuple):
    """The posterior of strengths, model means and effects of covariates."""

    posterior: Normal
    model_mean: Float  # (M,)
    moments: Moments
    controlled: Normal  # of the strengths less the effects of covariates
    effect: Normal  # (K,) mean and (K, K) covariance, logits per unit of the covariate
    means: Normal  # (M + 1 + K,) of models, unknown models (0) and effects
    of_means: MeanSums


class MeanSums(NamedTuple):
    """What prompts state about models' means, the mean of unknown models and effects."""

    linear: Float  # (M + 1 + K,)
    precision: Float  # (M + 1 + K, M + 1 + K)


def solve(data: VoteData, sites: Sites, prior: StrengthPrior) -> Solution:
    """The posterior under a normal prior, whose mean is the model's plus the effects of the response's covariates."""
    precision = prior.precision(data)
    given = Normal(np.empty(len(sites.linear)), np.empty(data.cells))  # for means of 0, which are known
    first = data.models + 1  # effects come after the mean of unknown models, which is 0
    size = first + data.covariates.shape[1]
    target, system = np.zeros(size), np.zeros((size, size))
    for block in data.blocks:
        j, q, s = block.of(sites.information), block.of(precision), block.of(given.covariance)
        s[:] = np.linalg.inv(j + q)
        given.mean[block.responses] = times(s, sites.linear[block.responses])
        pull, part = (
            times(q, given.mean[block.responses]),
            q - _times_prior(_times_prior(s, q, prior).swapaxes(1, 2), q, prior),
        )
        target[:first] += sums(block.model, pull, first)
        system[:first, :first] += block.model_sums(part, data.models)
        if size > first:
            covariates = data.covariates[block.responses]  # (B, N, K)
            target[first:] += np.einsum("bnk,bn->k", covariates, pull)
            through = part @ covariates
            system[first:, first:] += np.einsum("bnk,bnl->kl", covariates, through)
            for k in range(size - first):
                system[:first, first + k] += sums(block.model, through[:, :, k], first)
    system[first:, :first] = system[:first, first:].T
    of_means = MeanSums(target, system)
    means = prior.known_means or solve_means(of_means, data.models, prior)
    posterior, moments, controlled = _with_means(data, precision, prior, given, means)
    scale = data.covariate_scale
    effect = Normal(means.mean[first:] / scale, means.covariance[first:, first:] / np.outer(scale, scale))
    return Solution(posterior, moments.model_mean, moments, controlled, effect, means, of_means)


def solve_means(of_means: MeanSums, models: int, prior: StrengthPrior) -> Normal:
    """The posterior of models' means and effects, given what all prompts state; the mean of unknown models is 0."""
    size, first = len(of_means.linear), models + 1
    own = np.repeat([1 / (prior.mean_variance or 1.0), EFFECT_PRECISION], [first, size - first])
    known = np.arange(size) != models
    covariance = np.zeros((size, size))
    covariance[np.ix_(known, known)] = np.linalg.inv((of_means.precision + np.diag(own))[np.ix_(known, known)])
    return Normal(covariance @ of_means.linear, covariance)


def _with_means(
    data: VoteData, precision: Float, prior: StrengthPrior, given: Normal, means: Normal
) -> tuple[Normal, Moments, Normal]:
    """The posterior with model means and effects integrated out, the moments of δ, and the controlled posterior.

    given: as in solve. means: (M + 1 + K,) of models and effects.
    """
    end, second = Normal(np.empty(len(given.mean)), np.empty(data.cells)), np.empty(data.cells)
    gradient, information, known = np.zeros(data.prompts), np.zeros(data.prompts), informative(data)
    first = data.models + 1
    of_models, of_effects = means.covariance[:first, :first], means.covariance[first:, first:]
    controlled = Normal(end.mean.copy(), end.covariance.copy()) if len(of_effects) else end
    for block in data.blocks:
        s, q, mean = block.of(given.covariance), block.of(precision), means.mean[block.model]
        shared = of_models[block.model_pair]
        follow = _times_prior(s, q, prior)  # how strengths follow the means
        learn = np.eye(s.shape[1]) - follow
        if len(of_effects):
            covariates = data.covariates[block.responses]
            style, cross = covariates @ means.mean[first:], means.covariance[block.model][:, :, first:]
            both = cross @ covariates.swapaxes(1, 2)  # covariance of model means and effects of style
            styles = covariates @ of_effects @ covariates.swapaxes(1, 2)
            across = follow @ both @ learn.swapaxes(1, 2)
            controlled.mean[block.responses] = given.mean[block.responses] + times(follow, mean) - times(learn, style)
            block.of(controlled.covariance)[:] = s + follow @ shared @ follow.swapaxes(1, 2)
            block.of(controlled.covariance)[:] += learn @ styles @ learn.swapaxes(1, 2) - across - across.swapaxes(1, 2)
            mean, shared = mean + style, shared + both + both.swapaxes(1, 2) + styles
        theta = given.mean[block.responses] + times(follow, mean)
        away = theta - mean
        followed = follow @ shared
        passed = followed @ follow.swapaxes(1, 2)
        moment = s + shared - followed - followed.swapaxes(1, 2) + passed + away[:, :, None] * away[:, None, :]
        end.mean[block.responses] = theta
        block.of(end.covariance)[:] = s + passed
        block.of(second)[:] = moment
        fit = (q * moment).sum(axis=2)  # diagonal of Q E[δδᵀ]; both are symmetric
        gradient[block.prompts] = ((fit - 1) * known[block.responses]).sum(axis=1)
        learn = learn * known[block.responses][:, :, None]
        information[block.prompts] = (learn * learn.swapaxes(1, 2)).sum(axis=(1, 2))
    models = slice(0, data.models)
    moments = Moments(second, gradient, information, means.mean[models], of_models[models, models])
    return end, moments, controlled


def _times_prior(matrix: Float, precision: Float, prior: StrengthPrior) -> Float:
    """(B, N, N) matrix times the prior precision, which is diagonal where models are independent."""
    if prior.correlation is not None:
        return np.asarray(matrix @ precision)
    return np.asarray(matrix * np.einsum("bii->bi", precision)[:, None, :])


class PriorSites(NamedTuple):
    """A normal factor for each response, in natural parameters."""

    precision: Float  # (R,)
    linear: Float  # (R,) precision times mean


class EPState(NamedTuple):
    """A mixture prior, the sites that replace it, and the posterior given them."""

    mixture: Mixture
    sites: PriorSites
    posterior: Normal
    change: Float  # (R,) by how much the last pass moved each strength, logits


def start_ep(mixture: Mixture, data: VoteData, posterior: Normal) -> EPState:
    """Prior sites with the mean and the variance of the mixture."""
    mean, variance = mixture.moments(data)
    return EPState(mixture, PriorSites(1 / variance, mean / variance), posterior, np.full(len(mean), np.inf))


def ep_pass(state: EPState, data: VoteData, votes: Sites, *, fit_mixture: bool) -> EPState:
    """All prior sites after one update in parallel and, if asked for, the mixture after one M-step."""
    sites, mixture = state.sites, state.mixture
    total = votes.information.copy()
    total[data.diagonal] += sites.precision
    covariance = data.inverse(total)
    step = data.product(covariance, votes.linear + sites.linear) - state.posterior.mean
    step *= MAX_CHANGE / max(float(np.abs(step).max(initial=0.0)), MAX_CHANGE)
    posterior = Normal(state.posterior.mean + step, covariance)

    cavity = cavity_of(data, sites, posterior)
    tilted = mixture.tilted(data, cavity.precision, cavity.linear)
    mean = (tilted.weight * tilted.mean).sum(axis=1)
    variance = (tilted.weight * (tilted.variance + (tilted.mean - mean[:, None]) ** 2)).sum(axis=1)
    precision = np.maximum(1 / variance - cavity.precision, LEAST_SITE / mixture.moments(data)[1])
    linear = mean * (precision + cavity.precision) - cavity.linear
    sites = PriorSites(
        sites.precision + SITE_STEP * (precision - sites.precision), sites.linear + SITE_STEP * (linear - sites.linear)
    )
    return EPState(mixture.m_step(data, tilted) if fit_mixture else mixture, sites, posterior, np.abs(step))


def cavity_of(data: VoteData, sites: PriorSites, posterior: Normal) -> PriorSites:
    """The posterior of each response without its prior site."""
    precision = 1 / posterior.covariance[data.diagonal]
    return PriorSites(
        np.maximum(precision - sites.precision, LEAST_CAVITY * precision), posterior.mean * precision - sites.linear
    )


def ep_evidence(state: EPState, data: VoteData, votes: Sites) -> float:
    """Log marginal likelihood of the votes under the mixture, up to a constant that does not depend on the prior."""
    sites, posterior = state.sites, state.posterior
    cavity = cavity_of(data, sites, posterior)
    precision, linear = cavity.precision + sites.precision, cavity.linear + sites.linear
    of_sites = (linear**2 / precision - cavity.linear**2 / cavity.precision - np.log(precision / cavity.precision)) / 2
    log_mass = state.mixture.tilted(data, cavity.precision, cavity.linear).log_mass
    fit = float((posterior.mean * (votes.linear + sites.linear)).sum()) / 2
    return float((log_mass - of_sites).sum()) + fit + data.log_determinant(posterior.covariance) / 2


def normal_evidence(prior: StrengthPrior, data: VoteData, fit_mean: Float, model_mean: Float, votes: Sites) -> float:
    """The same under a normal prior with these model means. fit_mean: (R,) posterior mean under it."""
    mean, precision = np.append(model_mean, 0.0)[data.response_model], prior.precision(data)
    linear = data.product(precision, mean)
    fit = float((fit_mean * (votes.linear + linear) - mean * linear).sum()) / 2
    return fit + (data.log_determinant(precision) - data.log_determinant(votes.information + precision)) / 2
