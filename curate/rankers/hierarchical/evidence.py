"""What parts of a fit's votes tell of the strengths, and votes drawn from the fit: to compare it with its votes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from curate.array_types import Bool, Float
from curate.rankers.hierarchical.fit import HierarchicalFit
from curate.rankers.hierarchical.model import BIAS, DISCRIMINATION, TIE, log_probability
from curate.rankers.hierarchical.perception import Perception, VoteSites
from curate.rankers.hierarchical.priors import Normal, StrengthPrior
from curate.votes.arrays import LEFT, RIGHT, VoteArrays
from curate.votes.arrays import TIE as TIED
from curate.votes.blocks import vote_data


@dataclass(frozen=True)
class Evidence:
    """The log-likelihood hᵀθ − θᵀJθ / 2 of votes around a fit's posterior, errors of perception integrated out.

    B, N: as in ``votes.graphs``.
    """

    linear: Float  # (R,) h
    information: tuple[Float, ...]  # (B, N, N) J of each batch
    prior_precision: tuple[Float, ...]  # (B, N, N) of the fit's normal prior, also where a mixture has replaced it


def evidence_of(fit: HierarchicalFit, votes: VoteArrays, part: Bool) -> Evidence:
    """Return what a part (V,) of the votes of the fit tells; parts add up if none divides a sitting."""
    data = vote_data(votes.of_votes(part))
    of_votes = VoteSites(fit.sites.precision[part], fit.sites.linear[part])
    sites = Perception(data, of_votes, fit.prior.error_variance).sites
    return Evidence(sites.linear, data.by_size(sites.information), data.by_size(fit.prior.precision(data)))


def fit_of_prompts(fit: HierarchicalFit, votes: VoteArrays, prompts: Bool) -> HierarchicalFit:
    """Return the fit of ``votes.of_prompts(prompts)``, with the annotators and priors of all votes. prompts: (P,)."""
    responses, means = prompts[votes.response_prompt], fit.means
    if len(fit.effect.mean):  # effects are in units of the spread of the covariates
        every, part = vote_data(votes).covariate_scale, vote_data(votes.of_prompts(prompts)).covariate_scale
        ratio = np.concatenate([np.ones(len(means.mean) - len(every)), part / every])
        means = Normal(means.mean * ratio, means.covariance * np.outer(ratio, ratio))

    def of_prompts(prior: StrengthPrior) -> StrengthPrior:
        return replace(prior, log_scale=prior.log_scale._replace(value=prior.log_scale.value[prompts]))

    kept = prompts[votes.response_prompt[votes.left]]
    chosen = [matrices[prompts[graphs.prompts]] for graphs, matrices in zip(votes.graphs, fit.covariance, strict=True)]
    return replace(
        fit,
        strength=fit.strength[responses],
        covariance=tuple(matrices for matrices in chosen if len(matrices)),
        strength_se=fit.strength_se[responses],
        means=means,
        prior=of_prompts(fit.prior),
        other_priors=tuple(map(of_prompts, fit.other_priors)),
        prompt_tie=fit.prompt_tie[prompts],
        sites=VoteSites(fit.sites.precision[kept], fit.sites.linear[kept]),
        n_iter=fit.n_iter[prompts],
        converged=fit.converged[prompts],
    )


def drawn_votes(fit: HierarchicalFit, votes: VoteArrays, rng: np.random.Generator) -> VoteArrays:
    """Return the votes of the fit with outcomes drawn from it, for strengths drawn from the posterior."""
    data, strength = vote_data(votes), fit.strength.copy()
    for graphs, matrices in zip(votes.graphs, fit.covariance, strict=True):
        root = np.linalg.cholesky(matrices + 1e-9 * np.eye(matrices.shape[1]))
        strength[graphs.slots] += (root @ rng.standard_normal(graphs.slots.shape)[:, :, None])[:, :, 0]
    if votes.covariates is not None:
        strength += votes.covariates @ fit.effect.mean
    sitting = votes.sitting * len(strength)
    _, seen = np.unique(np.concatenate([sitting + data.left, sitting + data.right]), return_inverse=True)
    perceived = rng.normal(0.0, np.sqrt(fit.prior.error_variance), int(seen.max(initial=-1)) + 1)[seen]
    perceived += strength[np.concatenate([data.left, data.right])]
    left, right = np.split(perceived, 2)
    people = fit.annotators.value[data.annotator]
    d = people[:, DISCRIMINATION] * (left - right) + people[:, BIAS] * data.sides_known
    tie = people[:, TIE] + fit.prompt_tie[data.prompt]
    for_left, for_right = np.exp(log_probability(d, tie, 1.0)), np.exp(log_probability(d, tie, -1.0))
    point = rng.random(len(d))
    outcome = np.where(point < for_left, LEFT, np.where(point < for_left + for_right, RIGHT, TIED))
    return replace(votes, outcome=outcome.astype(np.int8))
