"""The hierarchical ranker: one model of all prompts, models and annotators, fitted by approximate marginal likelihood.

model.py has the likelihood, priors.py the priors, posterior.py the posterior of the strengths. A round takes one Newton
step for strengths, one for annotators and prompts, and one scoring step for every prior variance. When rounds have
converged, the structure that the votes support is added and rounds go on: scales of prompts, correlated models (given
enough prompts). At last a mixture replaces the normal prior of strengths, where the votes strongly support it.

Missing data: anonymous votes share one annotator, whose discrimination is 1 if there is no other; no bias enters where
sides are unknown; without models one variance serves all responses, so that one prompt is Bradley-Terry with a fitted
ridge; without ties a vote follows Bradley and Terry's model. both_bad counts as a tie.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from curate.rankers.base import Bool, Float, Index, RankerSpec, Ranking, ranking_of
from curate.rankers.hierarchical.model import BIAS, DISCRIMINATION, TIE, Likelihood, log_probability, quadrature
from curate.rankers.hierarchical.posterior import Normal, ep_evidence, ep_pass, newton_step, normal_evidence, start_ep
from curate.rankers.hierarchical.priors import (
    PROMPT_TIE_VARIANCE,
    STRENGTH_VARIANCE,
    Annotators,
    Mixture,
    Moments,
    PromptEffect,
    StrengthPrior,
    first_annotators,
    first_mixture,
    first_scale_variance,
)
from curate.votes.arrays import VoteArrays
from curate.votes.blocks import VoteData, vote_data

EXACT = 1e-6  # largest gradient (NewtonStep.error), or last step under a mixture, of a prompt that has converged
MAX_LAST_STEPS = 50  # Newton steps at most after annotators and priors have converged
SAMPLE_PROMPTS = 300  # with four times as many, a sample of about so many gives the starting values and the mixture
WHOLE_STEPS = 30  # rounds with whole steps of variances; then half steps, because with few votes they may oscillate
CORRELATION_STEPS = 10  # rounds that update correlations; then these stay fixed, because they converge slowly
STRONG_EVIDENCE = 3.0  # nats: odds of 20 to 1 (Kass and Raftery, "Bayes factors", 1995)
MAX_PASSES, CHECK_PASSES = 300, 10  # of expectation propagation; the evidence is computed after each CHECK_PASSES
HOPELESS = 10.0  # nats that a mixture may lack at a check; otherwise it is given up
MIXTURE_TOLERANCE = 3e-3  # largest change of a center, model mean or log variance of a mixture that has converged
REFIT_PASSES = 10  # passes by which a mixture that was selected on a sample is adapted to all prompts
PREDICTION_NODES = 5  # quadrature nodes over the posterior of a gap, of a discrimination and of a side bias


@dataclass(frozen=True)
class HierarchicalFit:
    """The posterior of everything that the votes depend on."""

    strength: Float  # (R,) posterior mean, logits of an annotator of discrimination 1; higher is better
    covariance: tuple[Float, ...]  # (B, N, N) posterior covariance of each batch of ``votes.graphs``, logits²
    strength_se: Float  # (R,) posterior standard deviation, logits
    model_mean: Float  # (M,) posterior mean of each model's mean strength under the normal prior, logits
    prior: StrengthPrior
    mixture: Mixture | None  # the prior in place of the normal one, where the votes strongly support it
    annotators: Annotators  # A + 1 rows, the last for all anonymous votes
    prompt_tie: Float  # (P,) what each prompt adds to all tie parameters (Davidson's log ν)
    n_iter: Index  # (P,) rounds, Newton steps and passes of expectation propagation until the prompt converged
    converged: Bool  # (P,) annotators and priors converged, and so did the prompt's strengths given these

    @property
    def discrimination(self) -> Float:
        """(A,) at least 0; mean 1 over annotators with votes. Near 0: votes do not depend on the responses."""
        return self.annotators.discrimination[:-1]

    @property
    def left_bias(self) -> Float:
        """(A,) advantage of the response shown left, logits."""
        return self.annotators.value[:-1, BIAS]

    @property
    def tie_share(self) -> Float:
        """(A,) probability of a tie between equal responses on an average prompt."""
        return np.exp(log_probability(self.left_bias, self.annotators.tie[:-1], 0.0))

    @property
    def normal(self) -> Normal:
        """The posterior of the strengths with a flat covariance."""
        return Normal(self.strength, np.concatenate([np.zeros(0), *(batch.ravel() for batch in self.covariance)]))

    def ranking(self, votes: VoteArrays, /) -> Ranking:
        """Return the ranking by strength. votes: those of the fit."""
        return ranking_of(votes, self.strength, converged=self.converged, n_iter=self.n_iter)

    def log_odds(self, votes: VoteArrays, /) -> Float:
        """Return the (V,) log odds of left, given a decisive outcome. votes: on the responses of the fit.

        Probabilities are averaged over the posterior of the gap, and over discrimination and side bias of the
        annotator: over their posterior where the annotator has votes in the fit, else over the prior, because the prior
        mean alone would be overconfident. Side bias enters where sides are known.
        """
        data, people, normal = vote_data(votes), self.annotators, self.normal
        gap, gap_se = normal.mean[data.left] - normal.mean[data.right], np.sqrt(data.gap_variance(normal.covariance))
        seen = (people.votes > 0)[data.annotator, None]
        mean = np.where(seen, people.value[data.annotator], people.prior_mean)
        se = np.sqrt(np.where(seen, people.variance[data.annotator], people.prior_variance))
        tie, left, right = mean[:, TIE] + self.prompt_tie[data.prompt], np.zeros(len(gap)), np.zeros(len(gap))
        nodes = list(zip(*quadrature(PREDICTION_NODES), strict=True))
        for (a, weight_a), (b, weight_b), (g, weight_g) in product(nodes, nodes, nodes):
            discrimination = np.maximum(mean[:, DISCRIMINATION] + a * se[:, DISCRIMINATION], 0)
            d = discrimination * (gap + g * gap_se) + (mean[:, BIAS] + b * se[:, BIAS]) * data.sides_known
            left += weight_a * weight_b * weight_g * np.exp(log_probability(d, tie, 1.0))
            right += weight_a * weight_b * weight_g * np.exp(log_probability(d, tie, -1.0))
        return np.asarray(np.log(left) - np.log(right))


@dataclass(frozen=True)
class Hierarchical:
    """Ranks by the posterior mean of strength in the hierarchical model; ``fit`` returns the whole posterior."""

    nodes: int = 3  # quadrature nodes over each gap's uncertainty; 1 is Laplace's approximation
    tolerance: float = 1e-3  # annotators and priors have converged when a round changes no strength by more, logits
    max_iterations: int = 200
    mixtures: bool = True  # whether a mixture prior is tried

    def __post_init__(self) -> None:
        if self.nodes < 1 or self.max_iterations < 1 or not self.tolerance > 0:
            raise ValueError("nodes and max_iterations must be at least 1, and tolerance above 0")

    def __call__(self, votes: VoteArrays, /) -> Ranking:
        return self.fit(votes).ranking(votes)

    def fit(self, votes: VoteArrays, /) -> HierarchicalFit:
        """The posterior of strengths, models, annotators and priors."""
        data, every = vote_data(votes), len(votes.prompts) // SAMPLE_PROMPTS
        if every < 4:
            fit = self._fit(data, self._run(data, self._first_state(data)))
            mixture = self._select_mixture(data, fit) if self.mixtures else None
        else:
            sample = vote_data(votes.of_prompts(np.arange(data.prompts) % every == 0))
            rounds = self._run(sample, self._first_state(sample))
            mixture = self._select_mixture(sample, self._fit(sample, rounds)) if self.mixtures else None
            fit = self._fit(data, self._run(data, self._first_state(data).starting_from(rounds.state, data)))
        return self._with_mixture(data, fit, mixture) if mixture else fit

    def _first_state(self, data: VoteData) -> State:
        """All responses, annotators and prompts alike."""
        annotators, covariance, typical = first_annotators(data), np.zeros(data.cells), STRENGTH_VARIANCE.typical
        covariance[data.diagonal] = typical
        log_scale = PromptEffect(np.zeros(data.prompts), 0.0)
        prior = StrengthPrior(typical if data.models else 0.0, typical, None, log_scale)
        prompt_tie = PromptEffect(np.zeros(data.prompts), PROMPT_TIE_VARIANCE.typical if annotators.has_ties else 0.0)
        posterior = Normal(np.zeros(len(data.response_model)), covariance)
        return State(posterior, np.zeros(data.models), prior, annotators, prompt_tie)

    def _run(self, data: VoteData, state: State) -> Rounds:
        """Rounds until annotators and priors have converged, with the structure that the votes support."""
        shrinkage, correlation_steps, structured, aitken = 1.0, 0, False, Aitken()
        for n_iter in range(1, self.max_iterations + 1):
            new, moments = self._round(data, state, 1.0 if n_iter <= WHOLE_STEPS else 0.5)
            converged = new.change_from(state) <= self.tolerance
            if correlation_steps > 0:
                correlation_steps -= 1
                correlation = state.prior.correlation_step(data, moments, shrinkage)
                state = new._replace(prior=replace(new.prior, correlation=correlation))
                continue
            if converged and structured:
                return Rounds(new, n_iter, True)
            if converged:
                structured, aitken = True, Aitken()
                shrinkage = state.prior.correlation_shrinkage(data, moments)
                variance = first_scale_variance(moments)
                correlation_steps = CORRELATION_STEPS if shrinkage < 1 else 0
                if not variance and not correlation_steps:
                    return Rounds(new, n_iter, True)
                log_scale = new.prior.log_scale._replace(variance=variance)
                new = new._replace(prior=replace(new.prior, log_scale=log_scale))
            state = aitken.next(new, state)
        return Rounds(state, self.max_iterations, False)

    def _round(self, data: VoteData, old: State, step_size: float) -> tuple[State, Moments]:
        """One step each for strengths, annotators, prompts' ties and priors."""
        likelihood = Likelihood(data, old.annotators.value, old.prompt_tie.value, self.nodes)
        (mean, covariance), model_mean, moments, _ = newton_step(likelihood, old.prior, old.posterior, old.model_mean)
        covariance = old.posterior.covariance + step_size * (covariance - old.posterior.covariance)
        found = likelihood.parameter_derivatives(mean, covariance)
        prompt_tie = old.prompt_tie.step(found.prompt_gradient, -found.prompt_hessian, PROMPT_TIE_VARIANCE, step_size)
        annotators = old.annotators.newton_step(found).m_step(step_size)
        prior = old.prior.m_step(data, moments, step_size)
        return State(Normal(mean, covariance), model_mean, prior, annotators, prompt_tie), moments

    def _fit(self, data: VoteData, rounds: Rounds) -> HierarchicalFit:
        """The posterior given the annotators and priors, by Newton steps until every prompt has converged."""
        posterior, model_mean, prior, annotators, prompt_tie = rounds.state
        likelihood = Likelihood(data, annotators.value, prompt_tie.value, self.nodes)
        n_iter, error = np.full(data.prompts, rounds.n_iter), np.full(data.prompts, np.inf)
        for _ in range(MAX_LAST_STEPS):
            n_iter[error > EXACT] += 1
            posterior, model_mean, _, error = newton_step(likelihood, prior, posterior, model_mean)
            if not (error > EXACT).any():
                break
        return HierarchicalFit(
            strength=posterior.mean,
            covariance=data.by_size(posterior.covariance),
            strength_se=np.sqrt(posterior.covariance[data.diagonal]),
            model_mean=model_mean,
            prior=prior,
            mixture=None,
            annotators=annotators,
            prompt_tie=prompt_tie.value,
            n_iter=n_iter,
            converged=(error <= EXACT) & rounds.converged,
        )

    def _select_mixture(self, data: VoteData, fit: HierarchicalFit) -> Mixture | None:
        """The mixture prior, if the votes strongly support it.

        It is taken if its evidence, as expectation propagation estimates it for the votes to second order, exceeds the
        normal prior's by more than the penalty of its parameters (BIC) and STRONG_EVIDENCE.
        """
        votes = Likelihood(data, fit.annotators.value, fit.prompt_tie, self.nodes).sites(*fit.normal)
        of_normal = normal_evidence(fit.prior, data, fit.strength, fit.model_mean, votes)
        state = start_ep(first_mixture(fit.prior, fit.model_mean), data, fit.normal)
        for passes in range(1, MAX_PASSES + 1):
            before, state = state.mixture, ep_pass(state, data, votes, fit_mixture=True)
            converged = state.mixture.change_from(before) <= MIXTURE_TOLERANCE
            if converged or passes % CHECK_PASSES == 0:
                gain = ep_evidence(state, data, votes) - of_normal - state.mixture.penalty(data)
                if converged or gain < STRONG_EVIDENCE - HOPELESS:
                    break
        return state.mixture if converged and gain > STRONG_EVIDENCE else None

    def _with_mixture(self, data: VoteData, fit: HierarchicalFit, mixture: Mixture) -> HierarchicalFit:
        """The fit with the posterior under the mixture; annotators stay as they are.

        The mixture is held while the votes are expanded around its posterior: fitted to that expansion, its variances
        would be too small (Breslow and Clayton, "Approximate inference in generalized linear mixed models", 1993).
        """
        likelihood = Likelihood(data, fit.annotators.value, fit.prompt_tie, self.nodes)
        n_iter, change = fit.n_iter.copy(), np.full(data.prompts, np.inf)
        state, votes = start_ep(mixture, data, fit.normal), likelihood.sites(*fit.normal)
        for _ in range(REFIT_PASSES):
            state = ep_pass(state, data, votes, fit_mixture=True)
        for _ in range(self.max_iterations):
            n_iter[change > EXACT] += 1
            state = ep_pass(state, data, likelihood.sites(*state.posterior), fit_mixture=False)
            change = np.zeros(data.prompts)
            np.maximum.at(change, data.response_prompt, state.change)
            if not (change > EXACT).any():
                break
        mean, covariance = state.posterior
        return replace(
            fit,
            strength=mean,
            covariance=data.by_size(covariance),
            strength_se=np.sqrt(covariance[data.diagonal]),
            mixture=state.mixture,
            n_iter=n_iter,
            converged=fit.converged & (change <= EXACT),
        )


class State(NamedTuple):
    """Posterior and parameters between two rounds."""

    posterior: Normal
    model_mean: Float  # (M,)
    prior: StrengthPrior
    annotators: Annotators
    prompt_tie: PromptEffect

    def change_from(self, old: State) -> float:
        """The largest change of a strength, logits, or a tenth of that of a log scale."""
        strength = np.abs(self.posterior.mean - old.posterior.mean).max(initial=0.0)
        scale = np.abs(self.prior.log_scale.value - old.prior.log_scale.value).max(initial=0.0)
        return max(float(strength), float(scale) / 10)

    def starting_from(self, other: State, data: VoteData) -> State:
        """This state with the model means, annotators and variances of a fit to a sample of its prompts."""
        if other.annotators.has_ties != self.annotators.has_ties:
            return self
        of_all, strength = self.annotators, np.append(other.model_mean, 0.0)[data.response_model]
        annotators = replace(other.annotators, votes=of_all.votes, sided=of_all.sided).normalised()
        prior = replace(self.prior, variance=other.prior.variance, mean_variance=other.prior.mean_variance)
        prompt_tie = self.prompt_tie._replace(variance=other.prompt_tie.variance)
        return State(self.posterior._replace(mean=strength), other.model_mean, prior, annotators, prompt_tie)


class Rounds(NamedTuple):
    """Where the rounds have ended."""

    state: State
    n_iter: int
    converged: bool


@dataclass
class Aitken:
    """Aitken's extrapolation of rounds: they converge linearly, and soon along one direction.

    Where two successive steps of the strengths have the same direction and the ratio r, the rest of the way is
    r / (1 − r) times the last step. Steps must halve between two extrapolations, so that there are few of them.
    """

    limit: float = np.inf  # norm of a step below which the next extrapolation may be
    before: Float | None = None  # the step before

    def next(self, new: State, old: State) -> State:
        """The state from which the next round starts."""
        step, before = new.posterior.mean - old.posterior.mean, self.before
        self.before, size = step, float(np.linalg.norm(step))
        if before is None or not 0 < size < self.limit:
            return new
        along, size_before = float(step @ before), float(np.linalg.norm(before))
        ratio = along / size_before**2
        if not (0.3 < ratio < 0.95 and along > 0.95 * size * size_before):
            return new
        self.before, self.limit = None, size / 2
        state: State = extrapolate(new, old, ratio / (1 - ratio))
        annotators = replace(state.annotators, prior_variance=new.annotators.prior_variance)  # these stay positive
        return state._replace(annotators=annotators.normalised())


def extrapolate(new: Any, old: Any, factor: float) -> Any:
    """new + factor · (new − old) for all arrays in a tree of NamedTuples and dataclasses.

    Numbers in it are variances, which are extrapolated in their logarithms.
    """
    if isinstance(new, np.ndarray):
        return new + factor * (new - old)
    if isinstance(new, tuple):
        return type(new)(*(extrapolate(a, b, factor) for a, b in zip(new, old, strict=True)))
    if is_dataclass(new):
        values = {of.name: extrapolate(getattr(new, of.name), getattr(old, of.name), factor) for of in fields(new)}
        return replace(new, **values)  # type: ignore[type-var]
    return new * (new / old) ** factor if isinstance(new, float) and new > 0 < old else new


RANKER = RankerSpec("hierarchical", build=lambda _: Hierarchical(), relative_cost=8.0, has_posterior=True)
