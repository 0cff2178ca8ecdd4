"""The state between two rounds of the hierarchical ranker, and extrapolation of rounds."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from curate.array_types import Float
from curate.rankers.hierarchical.annotators import Annotators
from curate.rankers.hierarchical.perception import VoteSites
from curate.rankers.hierarchical.posterior import MeanSums
from curate.rankers.hierarchical.priors import EffectSums, Normal, PriorSums, PromptEffect, StrengthPrior
from curate.votes.blocks import VoteData

ROUNDS_BETWEEN = 5  # two extrapolations
MAX_EXTRAPOLATION = 0.7  # of a strength, logits, and of the logarithm of a variance of strengths, in one step


class State(NamedTuple):
    """Posterior and parameters between two rounds."""

    sites: VoteSites
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
        prior = replace(
            self.prior,
            variance=other.prior.variance,
            mean_variance=other.prior.mean_variance,
            correlation=other.prior.correlation,
            log_scale=self.prior.log_scale._replace(variance=other.prior.log_scale.variance),
            error_variance=other.prior.error_variance,
        )
        prompt_tie = self.prompt_tie._replace(variance=other.prompt_tie.variance)
        posterior = self.posterior._replace(mean=strength)
        return State(self.sites, posterior, other.model_mean, prior, annotators, prompt_tie)


class RoundSums(NamedTuple):
    """Sums over prompts and their votes that a round's steps for annotators, models and priors need."""

    gradient: Float  # (A + 1, 3) as in ParameterDerivatives
    hessian: Float  # (A + 1, 3, 3)
    tie: EffectSums  # of the prompts' tie parameters
    prior: PriorSums
    means: MeanSums


def added(one: Any, other: Any) -> Any:
    """The sums of all numbers and arrays in two equal trees of NamedTuples."""
    return type(one)(*map(added, one, other)) if isinstance(one, tuple) else one + other


class Rounds(NamedTuple):
    """Where the rounds have ended."""

    state: State
    n_iter: int
    converged: bool


@dataclass
class Aitken:
    """Aitken's extrapolation of rounds: they converge linearly, and soon along one direction.

    Where two successive steps of the strengths have the same direction and the ratio r, the rest of the way is
    r / (1 − r) times the last step, and limited: what else has not converged would be carried far away. Between two
    extrapolations the steps must become smaller, and there must be ROUNDS_BETWEEN rounds.
    """

    limit: float = np.inf  # norm of a step below which the next extrapolation may be
    size: float | None = None  # norm of the step before; None: there was no step, or an extrapolation
    before: Float | None = None  # the step before, where strengths are known
    rounds: int = 0  # since the last extrapolation

    def next(self, new: State, old: State) -> State:
        """The state from which the next round starts."""
        step, before = new.posterior.mean - old.posterior.mean, self.before
        along, self.before = 0.0 if before is None else float(step @ before), step
        farthest = max(float(np.abs(step).max(initial=0.0)), *new.prior.log_changes(old.prior))
        return jump(new, old, self.factor(float(step @ step), along, farthest))

    def factor(self, squares: float, along: float, farthest: float) -> float:
        """How many times the last step the rest of the way is; 0: no extrapolation.

        squares: of the step's norm. along: its product with the step before. farthest: the largest part of it.
        """
        size, before = float(np.sqrt(squares)), self.size
        self.size, self.rounds = size or None, self.rounds + 1
        if before is None or not 0 < size < self.limit or self.rounds < ROUNDS_BETWEEN:
            return 0.0
        ratio = along / before**2
        if not (0.3 < ratio < 1 and along > 0.95 * size * before):
            return 0.0
        self.size, self.limit, self.rounds = None, size, 0
        return min(ratio / (1 - ratio), MAX_EXTRAPOLATION / farthest)


def jump(new: State, old: State, factor: float) -> State:
    """The state so many steps further in the direction from old to new."""
    if not factor:
        return new
    state: State = extrapolate(new, old, factor)
    annotators = replace(state.annotators, prior_variance=new.annotators.prior_variance)  # these stay positive
    precision = np.clip(state.sites.precision, new.sites.precision / 2, 2 * new.sites.precision)
    farthest_linear = 0.05 + 0.5 * np.abs(new.sites.linear)
    linear = np.clip(state.sites.linear, new.sites.linear - farthest_linear, new.sites.linear + farthest_linear)
    log_scale = state.prior.log_scale._replace(mean=new.prior.log_scale.mean)  # a number, but no variance
    return state._replace(
        sites=VoteSites(precision, linear),
        prior=replace(state.prior, log_scale=log_scale, known_means=new.prior.known_means),
        annotators=annotators.normalised(),
        prompt_tie=state.prompt_tie._replace(mean=new.prompt_tie.mean),
    )


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
