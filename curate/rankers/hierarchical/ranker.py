"""The hierarchical ranker: one model of all prompts, models and annotators, fitted by approximate marginal likelihood.

fit.py has the result, model.py the likelihood, perception.py the errors of perception, annotators.py, priors.py and
mixture.py the priors, posterior.py the posterior of the strengths, buckets.py rounds over files. A round takes one pass
of expectation propagation, one Newton step for annotators and prompts, and one scoring step for every prior variance.
When rounds have converged, the structure that the votes support is added and rounds go on: errors of perception, then
scales of prompts and correlated models (given enough prompts). Finally a mixture replaces the normal prior of
strengths, where the votes strongly support it.

Missing data: anonymous votes share one annotator, whose discrimination is 1 if there is no other; no bias enters where
sides are unknown; without models one variance serves all responses, so that one prompt is Bradley-Terry with a fitted
ridge; without ties a vote follows Bradley and Terry's model. both_bad counts as a tie.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from curate.array_types import Bool, Float, Index
from curate.rankers.base import RankerSpec, Ranking
from curate.rankers.hierarchical.annotators import cast_votes, first_annotators
from curate.rankers.hierarchical.fit import HierarchicalFit
from curate.rankers.hierarchical.mixture import Mixture, first_mixture
from curate.rankers.hierarchical.model import Likelihood
from curate.rankers.hierarchical.perception import Perception, VoteSites
from curate.rankers.hierarchical.posterior import ep_evidence, ep_pass, normal_evidence, solve, start_ep
from curate.rankers.hierarchical.priors import (
    PROMPT_TIE_VARIANCE,
    STRENGTH_VARIANCE,
    Moments,
    Normal,
    PromptEffect,
    StrengthPrior,
    first_error_variance,
    first_scale_variance,
)
from curate.rankers.hierarchical.rounds import Aitken, Rounds, RoundSums, State
from curate.rankers.hierarchical.shared import shared
from curate.votes.arrays import VoteArrays
from curate.votes.blocks import VoteData, vote_data

EXACT = 1e-5  # logits; last change of a strength in a prompt that has converged
PART_TOLERANCE = 4e-3  # logits; the same where votes are left out
MAX_LAST_PASSES = 100  # at most after annotators and priors have converged
SAMPLE_PROMPTS, SAMPLE_VOTES = 120, 20_000  # with twice as many of both, a sample of prompts gives start and structure
MAX_SITTING_WORK = 2e9  # Σ of cubed numbers of responses: above, a round takes seconds, and errors are not estimated
SAMPLE_OF_ANNOTATORS = 100_000  # with twice as many votes on few prompts, a sample of annotators gives these
MEANS_VARIANCE = 0.01  # of strengths around their models' means with means_only, logits²
PLAIN_ROUNDS = 8  # at most without errors of perception: dependent votes can drive variances without these far apart
WHOLE_STEPS = 25  # rounds with whole steps of sites and variances; then half steps, because they may oscillate
CORRELATION_STEPS = 10  # rounds that update correlations; then these stay fixed, because they converge slowly
MIN_RESPONSES_PER_MODEL = 5  # on average, for a mixture: with one, the mean of a model is its response
STRONG_EVIDENCE = 3.0  # nats: odds of 20 to 1 (Kass and Raftery, "Bayes factors", 1995)
MAX_PASSES, CHECK_PASSES = 300, 10  # of expectation propagation; the evidence is computed after each CHECK_PASSES
HOPELESS = 10.0  # nats that a mixture may lack at a check; otherwise it is given up
MIXTURE_TOLERANCE = 3e-3  # largest change of a center, model mean or log variance of a mixture that has converged
REFIT_PASSES = 10  # passes by which a mixture that was selected on a sample is adapted to all prompts


@dataclass(frozen=True)
class Hierarchical:
    """Ranks by the posterior mean of strength in the hierarchical model; ``fit`` returns the whole posterior."""

    nodes: int = 5  # quadrature nodes over each perceived gap
    tolerance: float = 1e-3  # annotators and priors have converged when a round changes no strength by more, logits
    max_iterations: int = 200
    mixtures: bool = True  # whether a mixture prior is tried
    means_only: bool = False  # whether strengths nearly are their models' means: no scales, correlations, mixture
    errors: bool = True  # whether votes of a sitting may share errors of perception

    def __post_init__(self) -> None:
        if self.nodes < 3 or self.max_iterations < 1 or not self.tolerance > 0:
            raise ValueError("nodes must be at least 3, max_iterations at least 1, and tolerance above 0")

    def __call__(self, votes: VoteArrays, /) -> Ranking:
        return self.fit(votes).ranking(votes)

    def fit(self, votes: VoteArrays, /) -> HierarchicalFit:
        """The posterior of strengths, models, annotators and priors."""
        return shared(self, votes, lambda votes: self.start(votes)[1])

    def start(self, votes: VoteArrays, /) -> tuple[Rounds, HierarchicalFit]:
        """Where the rounds have ended, and the fit."""
        data, part = vote_data(votes), _sample(votes)
        mixtures = self.mixtures and not (votes.covariate_names or self.means_only)
        mixtures &= len(votes.responses) >= MIN_RESPONSES_PER_MODEL * len(votes.models)
        too_large = self.errors and data.sitting_work > MAX_SITTING_WORK
        stage = 0 if self.errors and not too_large else 1
        if part is None:
            rounds = self._run(data, self._first_state(data), stage)
            fit = self._fit(data, rounds)
            mixture = self._select_mixture(data, fit) if mixtures else None
        else:
            sample = vote_data(part)
            rounds = self._run(sample, self._first_state(sample), stage)
            mixture = self._select_mixture(sample, self._fit(sample, rounds)) if mixtures else None
            rounds = self._run(data, self._first_state(data).starting_from(rounds.state, data), 2)
            fit = self._fit(data, rounds)
        if too_large:
            fit = replace(fit, error_ratio_se=np.inf)
        return rounds, self._with_mixture(data, fit, mixture) if mixture else fit

    def refit(self, votes: VoteArrays, fit: HierarchicalFit, /) -> HierarchicalFit:
        """The posterior of the strengths from other votes, with the annotators and the priors of a fit.

        votes: on the responses of the fit, by its annotators.
        """
        data = vote_data(votes)
        start = self._first_state(data)
        prompt_tie = start.prompt_tie._replace(value=fit.prompt_tie)
        again = self._fit(
            data, Rounds(start._replace(prior=fit.prior, annotators=fit.annotators, prompt_tie=prompt_tie), 0, True)
        )
        return self._with_mixture(data, again, fit.mixture) if fit.mixture else again

    def without(self, votes: VoteArrays, fit: HierarchicalFit, keep: Bool, /) -> HierarchicalFit:
        """The posterior of the strengths from a part of the votes of a fit; all else stays, model means too.

        So a vote that is left out changes its own prompt only. keep: (V,).
        """
        data, sites = vote_data(votes.of_votes(keep)), VoteSites(*(values[keep] for values in fit.sites))
        if fit.mixture:
            given = replace(fit, sites=sites)
            return self._with_mixture(data, given, fit.mixture, adapt=False, tolerance=PART_TOLERANCE)
        start = self._first_state(data)
        prompt_tie, prior = start.prompt_tie._replace(value=fit.prompt_tie), replace(fit.prior, known_means=fit.means)
        state = start._replace(sites=sites, prior=prior, annotators=fit.annotators, prompt_tie=prompt_tie)
        others = [replace(other, known_means=fit.means) for other in fit.other_priors]
        return replace(self._fit(data, Rounds(state, 0, True), others), error_ratio_se=fit.error_ratio_se)

    def given(
        self,
        data: VoteData,
        rounds: Rounds,
        other_priors: Sequence[StrengthPrior],
        error_ratio_se: float,
        mixture: Mixture | None,
    ) -> HierarchicalFit:
        """The fit given all that these prompts share with others: annotators, priors, posterior of models' means."""
        fit = replace(self._fit(data, rounds, other_priors), error_ratio_se=error_ratio_se)
        return self._with_mixture(data, fit, mixture, adapt=False) if mixture else fit

    def _first_state(self, data: VoteData) -> State:
        """All responses, annotators and prompts alike."""
        annotators, covariance, typical = (
            first_annotators(cast_votes(data)),
            np.zeros(data.cells),
            STRENGTH_VARIANCE.typical,
        )
        covariance[data.diagonal] = typical
        log_scale = PromptEffect(np.zeros(data.prompts), 0.0)
        own = MEANS_VARIANCE if self.means_only and data.models else typical
        prior = StrengthPrior(typical if data.models else 0.0, own, None, log_scale, 0.0)
        prompt_tie = PromptEffect(np.zeros(data.prompts), PROMPT_TIE_VARIANCE.typical if annotators.has_ties else 0.0)
        posterior = Normal(np.zeros(len(data.response_model)), covariance)
        sites = VoteSites(np.zeros(len(data.left)), np.zeros(len(data.left)))
        return State(sites, posterior, np.zeros(data.models), prior, annotators, prompt_tie)

    def _run(self, data: VoteData, state: State, stage: int) -> Rounds:
        """Rounds until annotators and priors have converged.

        stage: which structure is added where the votes support it: 0 errors of perception first, because with these the
        votes may support no other; 1 scales of prompts and correlated models; 2 none.
        """
        shrinkage, aitken = 1.0, Aitken()
        correlation_steps = CORRELATION_STEPS if state.prior.correlation is not None else 0
        for n_iter in range(1, self.max_iterations + 1):
            new, moments = self._round(data, state, 1.0 if n_iter <= WHOLE_STEPS else 0.5)
            change = new.change_from(state) if n_iter > 1 else np.inf  # the first round still is at the prior
            if correlation_steps > 0:
                if correlation_steps == CORRELATION_STEPS:
                    shrinkage = state.prior.correlation_shrinkage(data, moments)
                correlation_steps -= 1
                correlation = state.prior.correlation_step(data, moments, shrinkage)
                state = new._replace(prior=replace(new.prior, correlation=correlation))
                continue
            if stage == 2 and change <= self.tolerance:
                return Rounds(new, n_iter, True)
            if stage == 0 and (change <= 10 * self.tolerance or n_iter == PLAIN_ROUNDS):
                stage, aitken = 1, Aitken()
                current = solve(data, Perception(data, new.sites, 0.0).sites, new.prior)
                error = first_error_variance(data, new.sites, current.posterior, new.prior, current.moments)
                if error:
                    state = new._replace(prior=replace(new.prior, error_variance=error))
                    continue
            if stage == 1 and self.means_only:
                stage = 2
            if stage == 1 and change <= 10 * self.tolerance:
                stage, aitken, variance = 2, Aitken(), first_scale_variance(moments)
                correlation_steps = CORRELATION_STEPS * (new.prior.correlation_shrinkage(data, moments) < 1)
                log_scale = new.prior.log_scale._replace(variance=variance)
                new = new._replace(prior=replace(new.prior, log_scale=log_scale))
            state = aitken.next(new, state)
        return Rounds(state, self.max_iterations, False)

    def _round(self, data: VoteData, old: State, step_size: float) -> tuple[State, Moments]:
        """One step each for strengths, annotators, prompts' ties and priors."""
        new, sums, moments = self.of_prompts(data, old, step_size)
        return self.of_all(new, sums, (moments.model_mean, moments.model_covariance), step_size), moments

    def of_prompts(self, data: VoteData, old: State, step_size: float) -> tuple[State, RoundSums, Moments]:
        """The steps of a round for strengths and prompts, and the sums that ``of_all`` needs."""
        perception = Perception(data, old.sites, old.prior.error_variance)
        found = solve(data, perception.sites, old.prior)
        gaps = perception.perceived(*found.posterior)
        likelihood = Likelihood(data, old.annotators.value, old.prompt_tie.value, self.nodes)
        sites, derivatives = likelihood.update(old.sites, gaps, step_size=step_size)
        tie, of_ties = old.prompt_tie.newton_step(derivatives.prompt_gradient, -derivatives.prompt_hessian)
        prior, of_prior = old.prior.newton_step(data, found.moments, gaps, found.posterior.covariance)
        sums = RoundSums(derivatives.gradient, derivatives.hessian, of_ties, of_prior, found.of_means)
        return State(sites, found.posterior, found.model_mean, prior, old.annotators, tie), sums, found.moments

    def of_all(self, new: State, sums: RoundSums, means: tuple[Float, Float], step_size: float) -> State:
        """The steps of a round for annotators and priors. means: (M,) and (M, M) posterior of the models' means."""
        prior = new.prior.m_step(sums.prior, *means, step_size)
        if self.means_only and len(new.model_mean):
            prior = replace(prior, variance=new.prior.variance)
        return new._replace(
            prior=prior,
            annotators=new.annotators.newton_step(sums.gradient, sums.hessian).m_step(step_size),
            prompt_tie=new.prompt_tie.m_step(sums.tie, PROMPT_TIE_VARIANCE, step_size),
        )

    def _fit(
        self, data: VoteData, rounds: Rounds, other_priors: Sequence[StrengthPrior] | None = None
    ) -> HierarchicalFit:
        """The posterior given the annotators and priors, by passes until every prompt has converged.

        other_priors: over which it is averaged, too; None: those by the uncertainty of the ratio of variances.
        """
        state, change, n_iter = self._passes(data, rounds.state)
        prior, ratio_se = state.prior, 0.0
        posterior, effect, means = self._controlled(data, state)
        if prior.error_variance and other_priors is None:
            ratio_se, other_priors = self._other_ratios(data, state)
        if other_priors:
            states = [self._passes(data, state._replace(prior=other))[0] for other in other_priors]
            posterior = mixed(data, [posterior, *(self._controlled(data, each)[0] for each in states)])
        return HierarchicalFit(
            strength=posterior.mean,
            covariance=data.by_size(posterior.covariance),
            strength_se=np.sqrt(posterior.covariance[data.diagonal]),
            model_mean=state.model_mean,
            effect=effect,
            means=means,
            prior=prior,
            other_priors=tuple(other_priors or ()),
            error_ratio_se=ratio_se,
            mixture=None,
            annotators=state.annotators,
            prompt_tie=state.prompt_tie.value,
            sites=state.sites,
            n_iter=rounds.n_iter + n_iter,
            converged=(change <= EXACT) & rounds.converged,
        )

    def _passes(self, data: VoteData, state: State) -> tuple[State, Float, Index]:
        """The state after passes for given parameters; (P,) last changes and (P,) numbers of passes."""
        likelihood = Likelihood(data, state.annotators.value, state.prompt_tie.value, self.nodes)
        sites, posterior, model_mean, prior, *_ = state
        n_iter, change = np.zeros(data.prompts, dtype=np.int64), np.full(data.prompts, np.inf)
        for number in range(MAX_LAST_PASSES):
            n_iter[change > EXACT] += 1
            perception, before = Perception(data, sites, prior.error_variance), posterior
            posterior, model_mean, *_ = solve(data, perception.sites, prior)
            if number or sites.precision.any():  # without sites the posterior is the prior
                change = largest(data, posterior.mean - before.mean)
                if not (change > EXACT).any():
                    break
            step_size = 1.0 if number < WHOLE_STEPS else 0.5
            sites, _ = likelihood.update(sites, perception.perceived(*posterior), step_size=step_size)
        return state._replace(sites=sites, posterior=posterior, model_mean=model_mean), change, n_iter

    def _other_ratios(self, data: VoteData, state: State) -> tuple[float, list[StrengthPrior]]:
        """As of ``StrengthPrior.other_ratios``."""
        perception = Perception(data, state.sites, state.prior.error_variance)
        posterior, _, moments, *_ = solve(data, perception.sites, state.prior)
        gaps = perception.perceived(*posterior)
        return state.prior.other_ratios(state.prior.sums(data, moments, gaps, posterior.covariance))

    def _controlled(self, data: VoteData, state: State) -> tuple[Normal, Normal, Normal]:
        """The posterior of the strengths without the effects of covariates, of these effects, and of all means."""
        found = solve(data, Perception(data, state.sites, state.prior.error_variance).sites, state.prior)
        return found.controlled, found.effect, found.means

    def _select_mixture(self, data: VoteData, fit: HierarchicalFit) -> Mixture | None:
        """The mixture prior, if the votes strongly support it.

        It is taken if its evidence, as expectation propagation estimates it for the votes to second order, exceeds the
        normal prior's by more than the penalty of its parameters (BIC) and STRONG_EVIDENCE.
        """
        votes = Perception(data, fit.sites, fit.prior.error_variance).sites
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

    def _with_mixture(
        self,
        data: VoteData,
        fit: HierarchicalFit,
        mixture: Mixture,
        *,
        adapt: bool = True,
        tolerance: float = EXACT,
    ) -> HierarchicalFit:
        """The fit with the posterior under the mixture, adapted to the votes first; annotators stay as they are.

        The mixture is held while the votes are expanded around its posterior: fitted to that expansion, its variances
        would be too small (Breslow and Clayton, "Approximate inference in generalized linear mixed models", 1993).
        """
        likelihood = Likelihood(data, fit.annotators.value, fit.prompt_tie, self.nodes)
        n_iter, change = fit.n_iter.copy(), np.full(data.prompts, np.inf)
        perception, sites = Perception(data, fit.sites, fit.prior.error_variance), fit.sites
        state, votes = start_ep(mixture, data, fit.normal), perception.sites
        for _ in range(REFIT_PASSES if adapt else 0):
            state = ep_pass(state, data, votes, fit_mixture=True)
        for _ in range(self.max_iterations):
            n_iter[change > tolerance] += 1
            sites, _ = likelihood.update(sites, perception.perceived(*state.posterior))
            perception = Perception(data, sites, fit.prior.error_variance)
            state = ep_pass(state, data, perception.sites, fit_mixture=False)
            change = largest(data, state.change)
            if not (change > tolerance).any():
                break
        mean, covariance = state.posterior
        return replace(
            fit,
            strength=mean,
            covariance=data.by_size(covariance),
            strength_se=np.sqrt(covariance[data.diagonal]),
            mixture=state.mixture,
            sites=sites,
            n_iter=n_iter,
            converged=fit.converged & (change <= tolerance),
        )


def _sample(votes: VoteArrays) -> VoteArrays | None:
    """A part of the prompts or, of few prompts with very many votes, of the annotators; None where votes are few.

    Anonymous votes are annotators of their own.
    """
    prompts, count = len(votes.prompts), len(votes.left)
    every = min(prompts // SAMPLE_PROMPTS, count // SAMPLE_VOTES)
    if every >= 2:
        return votes.of_prompts(np.arange(prompts) % every == 0)
    if count < 2 * SAMPLE_OF_ANNOTATORS:
        return None
    person = np.where(votes.annotator < 0, np.arange(count), votes.annotator)
    return votes.of_votes(person % (count // SAMPLE_OF_ANNOTATORS) == 0)


def mixed(data: VoteData, at: list[Normal]) -> Normal:
    """The moments of the mixture of posteriors at a value and at √3 standard errors to each side (Gauss-Hermite)."""
    shares = (2 / 3, 1 / 6, 1 / 6)
    mean = np.average([one.mean for one in at], axis=0, weights=shares)
    covariance = np.average([one.covariance for one in at], axis=0, weights=shares)
    for block in data.blocks:
        for share, one in zip(shares, at, strict=True):
            away = (one.mean - mean)[block.responses]
            block.of(covariance)[:] += share * away[:, :, None] * away[:, None, :]
    return Normal(mean, covariance)


def largest(data: VoteData, change: Float) -> Float:
    """(P,) the largest absolute change (R,) of a prompt's strengths."""
    found = np.zeros(data.prompts)
    np.maximum.at(found, data.response_prompt, np.abs(change))
    return found


RANKER = RankerSpec("hierarchical", build=lambda _: Hierarchical(), relative_cost=8.0, has_posterior=True)
MODEL_MEANS = RankerSpec(
    "model-means",
    build=lambda _: Hierarchical(means_only=True),
    relative_cost=6.0,
    has_posterior=True,
    needs_models=True,
    max_held_out=20_000,  # with more votes, differences between prompts can be estimated
)
