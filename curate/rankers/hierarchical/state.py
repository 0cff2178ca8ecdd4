"""What a round of the joint fit improves, as one vector, and the extrapolation of rounds to where they would end.

Rounds of expectation and maximisation creep: the last strengths would move by a hundredth in steps of a thousandth.
Anderson's mixing (1965; Walker and Ni, "Anderson acceleration for fixed-point iterations", 2011) goes to where the
rounds so far, taken for linear, come to rest; the fixed point is the same.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from curate.rankers.hierarchical import annotators as annotator_model
from curate.rankers.hierarchical import prior as prior_model
from curate.rankers.hierarchical.annotators import DISCRIMINATION, TIE, Annotators
from curate.rankers.hierarchical.columns import Columns, Float
from curate.rankers.hierarchical.prior import Prior
from curate.rankers.hierarchical.structure import function
from curate.rankers.hierarchical.ties import PromptTies, first_ties
from curate.rankers.hierarchical.votes import LEAST_TIE, TieModel

MEMORY = 4
"""Rounds that an extrapolation rests on."""
FARTHEST = 1.0
"""An extrapolation moves no entry by more than this beyond the round itself."""


class State(NamedTuple):
    """Strengths and hyperparameters of R responses and M models."""

    strength: Float
    """(R,)"""
    means: Float
    """(M,)"""
    covariance: Float
    """Flat, of the strengths."""
    prior: Prior
    annotators: Annotators
    ties: PromptTies

    def change_from(self, old: State) -> float:
        """Largest change of a strength, or a tenth of that of a log scale or of the prior's covariance."""
        pairs = [
            (self.strength, old.strength),
            (self.prior.covariance / 10, old.prior.covariance / 10),
            (self.prior.log_scale / 10, old.prior.log_scale / 10),
        ]
        return max(float(np.abs(new - before).max(initial=0.0)) for new, before in pairs)

    def starting_from(self, other: State, columns: Columns) -> State:
        """This state with the models, annotators and variances of one at rest; no two models moving together."""
        people, prior = other.annotators, other.prior
        if people.ties != self.annotators.ties:
            return self
        return self._replace(
            strength=np.append(other.means, 0.0)[columns.model],
            means=other.means,
            annotators=replace(self.annotators, value=people.value, mean=people.mean, spread=people.spread),
            ties=self.ties._replace(variance=other.ties.variance),
            prior=replace(
                self.prior,
                variance=prior.variance,
                mean_variance=prior.mean_variance,
                covariance=prior.variance * np.eye(len(self.means)),
            ),
        )

    def vector(self) -> Float:
        """All that rounds carry on but the covariance of the strengths, which follows; variances as logarithms."""
        people, prior = self.annotators, self.prior
        variances = [prior.variance, prior.mean_variance, prior.scale_variance, self.ties.variance]
        logs = [np.log(people.spread), [np.log(variance or 1.0) for variance in variances]]
        numbers = [people.value.ravel(), people.mean, self.ties.value, *logs, prior.log_scale]
        shape = np.zeros(0) if prior.shrinkage == 1 else function(prior.covariance, np.log).ravel()
        return np.concatenate([self.strength, self.means, *numbers, shape])

    def at(self, vector: Float, ties: TieModel) -> State:
        """The state of which this is the vector, within what makes sense; its covariance is that of this one."""
        people, prior, models = self.annotators, self.prior, len(self.means)
        prompts = len(prior.log_scale)
        sizes = [len(self.strength), models, people.value.size, 3, prompts, 3, 4, prompts]
        strength, means, value, mean, prompt_tie, spread, variances, log_scale, shape = np.split(
            vector, np.cumsum(sizes)
        )
        variance, mean_variance, scale_variance, tie_variance = np.exp(variances).tolist()
        value = value.reshape(people.value.shape)
        value[:, DISCRIMINATION] = annotator_model.of_mean_1(value[:, DISCRIMINATION], people.votes > 0)
        value[:, TIE] = np.maximum(value[:, TIE], LEAST_TIE[ties])
        if prior.shrinkage == 1:
            covariance = variance * np.eye(models)
        else:
            covariance = function(shape.reshape(models, models), np.exp)
            variance = float(np.trace(covariance)) / models
        prior = replace(
            prior,
            variance=variance,
            mean_variance=mean_variance if prior.mean_variance else 0.0,
            covariance=covariance,
            log_scale=log_scale,
            scale_variance=scale_variance if prior.scale_variance else 0.0,
        )
        people = replace(people, value=value, mean=mean, spread=np.exp(spread))
        of_prompts = PromptTies(prompt_tie, tie_variance if self.ties.variance else 0.0)
        return State(strength, means, self.covariance, prior, people, of_prompts)


def first_state(columns: Columns, ties: TieModel) -> State:
    """All responses and annotators alike, no two models moving together."""
    return State(
        strength=np.zeros(columns.responses),
        means=np.zeros(columns.models),
        covariance=prior_model.LIKELY_VARIANCE * columns.diagonal(),
        prior=prior_model.first_prior(columns),
        annotators=annotator_model.first_guess(columns, ties),
        ties=first_ties(columns, ties),
    )


class Mixing:
    """The last rounds, and where they lead to."""

    def __init__(self) -> None:
        self.rounds: deque[tuple[Float, Float]] = deque(maxlen=MEMORY)
        """Vectors that rounds ended with, and the steps that led there."""

    def next(self, before: State, after: State, ties: TieModel) -> State:
        """Where to start the round after the one that led from before to after."""
        end = after.vector()
        step = end - before.vector()
        if self.rounds and np.linalg.norm(step) > 2 * np.linalg.norm(self.rounds[-1][1]):
            self.rounds.clear()  # led astray
        self.rounds.append((end, step))
        if len(self.rounds) < 3:
            return after
        ends, steps = (np.diff(np.stack(column), axis=0) for column in zip(*self.rounds, strict=True))
        share = np.linalg.lstsq(steps @ steps.T, steps @ step, rcond=1e-8)[0]
        return after.at(end - np.clip(share @ ends, -FARTHEST, FARTHEST), ties)
