"""The joint ranker: one model of all prompts, models and annotators, fitted by approximate marginal likelihood.

A vote of annotator a on responses l (left) and r of a prompt sees the advantage d = discrimination[a] (θₗ − θᵣ) +
bias[a], and falls left, right or tied as Davidson (1970) or Rao and Kupper (1967) say, with a tie parameter of the
annotator and one of the prompt (ties). θ has a normal prior, shared by prompts (prior);
annotators have one of their own (annotators). The fit alternates, as expectation and maximisation do, between a
normal posterior of θ and one step each for annotators and priors, and extrapolates these rounds (state);
strengths are measured so that the mean discrimination is 1. Where the votes then show that strengths fall into two
heaps or have heavy tails, a mixture takes the place of θ's normal prior (mixture, propagation).

What may be missing, and what is then assumed:
* annotator ids: all anonymous votes are one annotator's; where there are no others, its discrimination is 1;
* known sides: no bias enters the vote;
* models: each response is a model of its own, so that one variance serves all; with one prompt this is Bradley-Terry
  with a ridge that is fitted too;
* ties: they then never happen, and a vote is Bradley and Terry's.
both_bad is a tie here (``load_votes`` leaves such votes out where the config says that they say nothing of the order);
abstentions are no votes. The pairs of a K-wise ranking count as K − 1 votes together (VoteArrays.group_share).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import get_args

import numpy as np
import numpy.typing as npt

from curate.rankers.base import Float, RankerSpec, Ranking, ranking_of
from curate.rankers.hierarchical import annotators as annotator_model
from curate.rankers.hierarchical import prior as prior_model
from curate.rankers.hierarchical import structure
from curate.rankers.hierarchical.annotators import BIAS, DISCRIMINATION, TIE, Annotators
from curate.rankers.hierarchical.columns import Columns, columns_of
from curate.rankers.hierarchical.mixture import Mixture
from curate.rankers.hierarchical.posterior import Likelihood, Posterior, newton_step
from curate.rankers.hierarchical.prediction import log_odds
from curate.rankers.hierarchical.prior import Prior
from curate.rankers.hierarchical.propagation import Belief, Found, Quadratic, look, quadratic, settle, with_shifts
from curate.rankers.hierarchical.state import Mixing, State, first_state
from curate.rankers.hierarchical.ties import improve_ties
from curate.rankers.hierarchical.votes import TieModel, tie_share
from curate.votes.arrays import VoteArrays

EXACT = 1e-6
"""Largest error of a prompt's strengths (Posterior.error) at which it counts as converged."""
LAST_STEPS = 50
"""Newton steps at most, once annotators and priors stand."""
SAMPLE = 300
"""Prompts at least of which the rest is found first, where there are four times as many."""
EAGER = 30
"""Rounds of whole steps; then variances go half of the way, since with few votes they might swing for ever."""


@dataclass(frozen=True)
class HierarchicalFit:
    """The posterior of all that the votes depend on."""

    strength: Float
    """(R,) posterior mean, logits of an annotator of discrimination 1; higher is better."""
    deviation: Float
    """(R,) posterior standard deviation, logits."""
    covariance: tuple[Float, ...]
    """(B, N, N) posterior covariance of each batch of ``votes.graphs``."""
    model_mean: Float
    """(M,) mean strength of each model under the normal prior, logits."""
    model_deviation: Float
    """(M,) its posterior standard deviation."""
    prior: Prior
    mixture: Mixture | None
    """What stands in for that prior where strengths fall into heaps or have heavy tails; None where they do not."""
    annotators: Annotators
    """A + 1 rows, the last for all anonymous votes."""
    discrimination: Float
    """(A,) at least 0; mean 1 over those with votes. Near 0: votes without looking."""
    left_bias: Float
    """(A,) advantage of the response shown left, logits."""
    tie_share: Float
    """(A,) share of ties on equals, on an average prompt."""
    prompt_tie: Float
    """(P,) what each prompt adds to everyone's tie parameter: Davidson's log ν; 0 with Rao and Kupper's ties."""
    n_iter: int
    """Rounds of posterior, annotators and priors, and Newton steps after them."""
    converged: npt.NDArray[np.bool_]
    """(P,) annotators and priors came to rest, and the prompt's strengths are exact for them."""
    ties: TieModel
    votes: VoteArrays = field(repr=False)
    """Those of the fit."""

    def log_odds(self, votes: VoteArrays, /) -> Float:
        """Return the (V,) log odds of left, given a decisive outcome. votes: on the responses of the fit."""
        return log_odds(self, votes)

    def ranking(self, votes: VoteArrays, /) -> Ranking:
        """The order of the strengths. votes: those of the fit."""
        n_iter = np.full(len(votes.prompts), self.n_iter)
        return ranking_of(votes, self.strength, converged=self.converged, n_iter=n_iter)


@dataclass(frozen=True)
class Hierarchical:
    """Ranks by posterior mean of strength in the joint model."""

    ties: TieModel = "davidson"
    nodes: int = 3
    """Quadrature nodes over each gap's uncertainty; 1 = Laplace's approximation."""
    tolerance: float = 1e-3
    """Annotators and priors are at rest when a round moves no strength by more, logits (State.change_from)."""
    max_iterations: int = 200
    mixtures: bool = True
    """Whether heaps and heavy tails are looked for."""

    def __post_init__(self) -> None:
        if self.ties not in get_args(TieModel):
            raise ValueError(f"ties is '{self.ties}'; expected davidson or rao-kupper")
        if self.nodes < 1 or self.max_iterations < 1 or not self.tolerance > 0:
            raise ValueError("nodes and max_iterations must be at least 1, and tolerance above 0")

    def __call__(self, votes: VoteArrays, /) -> Ranking:
        return self.fit(votes).ranking(votes)

    def fit(self, votes: VoteArrays, /) -> HierarchicalFit:
        """The posterior of strengths, models, annotators and priors."""
        columns = columns_of(votes)
        state, spent, rested = self._rest(columns, self._start(votes, columns))
        posterior, steps = self._settle(columns, state)
        fit = self._fit(votes, columns, state, posterior, spent + steps, (posterior.error <= EXACT) & rested)
        normal = Belief(posterior.strength, posterior.covariance)
        mixed = self._mixed(columns, state, normal, posterior.means) if self.mixtures else None
        return self._with_mixture(columns, fit, mixed) if mixed else fit

    def _mixed(self, columns: Columns, state: State, normal: Belief, means: Float) -> Found | None:
        """The posterior under a prior of two normals, where the votes show one; annotators stay as they are."""

        def seen(belief: Belief) -> Quadratic:
            return quadratic(belief.strength, self._votes(columns, state._replace(covariance=belief.covariance)))

        found = look(columns, state.prior, means, normal, seen(normal))
        return None if found is None else settle(found, columns, seen, self.max_iterations, EXACT)

    @staticmethod
    def _with_mixture(columns: Columns, fit: HierarchicalFit, found: Found) -> HierarchicalFit:
        covariance = with_shifts(found, columns)
        moved = np.zeros(columns.prompts)
        np.maximum.at(moved, columns.prompt, found.moved)
        return replace(
            fit,
            strength=found.belief.strength,
            deviation=np.sqrt(columns.diagonal_of(covariance)),
            covariance=columns.by_batch(covariance),
            mixture=found.mixture,
            n_iter=fit.n_iter + found.passes,
            converged=fit.converged & (moved <= EXACT),
        )

    def _settle(self, columns: Columns, state: State) -> tuple[Posterior, int]:
        """The posterior that belongs to the annotators and priors of a state, and the Newton steps that it took."""
        posterior = newton_step(state.strength, state.means, state.prior, self._votes(columns, state))
        for steps in range(1, LAST_STEPS):
            if (posterior.error <= EXACT).all():
                return posterior, steps
            posterior = newton_step(posterior.strength, posterior.means, state.prior, self._votes(columns, state))
        return posterior, LAST_STEPS

    def _start(self, votes: VoteArrays, columns: Columns) -> State:
        """All alike; where prompts are many, what a part of them says of models, annotators and variances."""
        state, every = first_state(columns, self.ties), columns.prompts // SAMPLE
        if every < 4:
            return state
        part = columns_of(votes.of_prompts(np.arange(columns.prompts) % every == 0))
        return state.starting_from(self._rest(part, first_state(part, self.ties))[0], columns)

    def _rest(self, columns: Columns, state: State) -> tuple[State, int, bool]:
        """Annotators and priors at rest, the rounds spent, and whether it is so.

        First with models that do not move together and prompts of one scale; then with what the votes show of these.
        """
        mixing, plain = Mixing(), True
        for spent in range(1, self.max_iterations + 1):
            new, posterior = self._round(columns, state, spent)
            rested = new.change_from(state) <= self.tolerance
            if rested and plain:
                plain, mixing = False, Mixing()
                state = new._replace(prior=structure.open_up(new.prior, columns, posterior.moments))
                if state.prior.shrinkage == 1 and state.prior.scale_variance == 0:
                    return state, spent, True
            elif rested:
                return new, spent, True
            else:
                state = mixing.next(state, new, self.ties)
        return state, self.max_iterations, False

    def _round(self, columns: Columns, old: State, spent: int) -> tuple[State, Posterior]:
        """One step each for strengths, annotators and priors."""
        posterior = newton_step(old.strength, old.means, old.prior, self._votes(columns, old))
        strength, means, pace = posterior.strength, posterior.means, 1.0 if spent <= EAGER else 0.5
        covariance = posterior.covariance
        if pace < 1:
            covariance = old.covariance + pace * (covariance - old.covariance)
        view = self._votes(columns, old).view
        people, of_prompt = annotator_model.improve(old.annotators, columns, view, strength, covariance)
        people = annotator_model.improve_prior(people, pace)
        ties = improve_ties(old.ties, of_prompt[:, 0], of_prompt[:, 1], pace)
        moments = posterior.moments
        prior = prior_model.improve_variances(old.prior, columns, moments, means, posterior.means_covariance, pace)
        prior = structure.improve_structure(prior, old.prior, columns, moments, pace)
        return State(strength, means, covariance, prior, people, ties), posterior

    def _votes(self, columns: Columns, state: State) -> Likelihood:
        return Likelihood(columns, state.annotators, state.ties.value, state.covariance, self.ties, self.nodes)

    def _fit(
        self,
        votes: VoteArrays,
        columns: Columns,
        state: State,
        posterior: Posterior,
        n_iter: int,
        converged: npt.NDArray[np.bool_],
    ) -> HierarchicalFit:
        value = state.annotators.value[:-1]
        return HierarchicalFit(
            strength=posterior.strength,
            deviation=np.sqrt(columns.diagonal_of(posterior.covariance)),
            covariance=columns.by_batch(posterior.covariance),
            model_mean=posterior.means,
            model_deviation=np.sqrt(np.diagonal(posterior.means_covariance)),
            prior=state.prior,
            mixture=None,
            annotators=state.annotators,
            discrimination=value[:, DISCRIMINATION],
            left_bias=value[:, BIAS],
            tie_share=tie_share(self.ties, value[:, TIE], value[:, BIAS]),
            prompt_tie=state.ties.value,
            n_iter=n_iter,
            converged=converged,
            ties=self.ties,
            votes=votes,
        )


RANKER = RankerSpec(
    "hierarchical",
    build=lambda config: Hierarchical(ties=config.hierarchical.ties),
    relative_cost=8.0,
    has_posterior=True,
)
