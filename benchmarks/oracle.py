"""The oracle: posterior means of the strengths of a simulated world, given its annotators and prior variances.

It is an upper limit of accuracy, since rankers must estimate annotators and variances from the same votes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from curate.array_types import Float, Index
from curate.simulation.world import World
from curate.votes.arrays import LEFT, RIGHT
from schemas.config import SimulateConfig

STEPS = 200
ADAPTING = 30
"""Steps after which the variances of differences are fixed: with very discriminating annotators they may oscillate."""
EXACT = 1e-5
"""Tolerance of the Newton steps, logits."""
SAFE = 1.5
"""Largest change of a vote's advantage in one step, logits; smaller steps cannot overshoot."""
POINTS, SHARES = (-np.sqrt(3.0), 0.0, np.sqrt(3.0)), (1 / 6, 2 / 3, 1 / 6)
"""Gauss-Hermite quadrature over a standard normal."""


def oracle(world: World, config: SimulateConfig) -> Float:
    """Return (R,) posterior means, given every annotator's discrimination, side bias and ties, and the prior variances.

    Prior: mean strength of model m is normal(0, model_sd²), a response's strength normal(model's, interaction_sd²);
    in heavy-tailed worlds the prior is a normal of the same standard deviation. Votes: the logistic link of
    ``simulate.draw_outcomes`` (the other link has no gradient). The posterior is approximated by a normal (Opper and
    Archambeau, 2009), by Newton steps with the model means eliminated.
    """
    if config.link != "logistic":
        raise ValueError(f"no oracle for the {config.link} link")
    if min(config.model_sd, config.interaction_sd) <= 0:
        raise ValueError("no oracle for a prior variance of 0")
    votes, own, common = _votes_by_model(world), config.interaction_sd**-2, config.model_sd**-2
    prompts, models = world.responses.model.shape
    strength, means = np.zeros((prompts, models)), np.zeros(models)
    variance = np.zeros(len(votes.prompt))  # (V,) of each difference in strength
    for n_iter in range(STEPS):
        slope, curve = votes.slopes(strength, variance)
        covariance = np.linalg.inv(curve + own * np.eye(models))  # (P, N, N), the means being known
        away = strength - means
        gradient = slope - own * away
        gain = own * covariance  # (P, N, N) what a model's mean moves the strengths by
        of_means = np.linalg.inv(common * np.eye(models) + (own * np.eye(models) - own * gain).sum(axis=0))
        gradient_means = own * away.sum(axis=0) - common * means + np.einsum("pij,pj->i", gain, gradient)
        step_means = of_means @ gradient_means
        step = np.einsum("pij,pj->pi", covariance, gradient) + gain @ step_means
        step_size = 1 / np.maximum(1.0, votes.moved(step) / SAFE)  # (P,) each prompt has its own
        strength, means = strength + step_size[:, None] * step, means + step_size.min() * step_means
        if n_iter < ADAPTING:
            variance = (variance + votes.gap_variance(covariance + gain @ of_means @ gain)) / 2  # damped
        if np.abs(step).max() <= EXACT:
            break
    else:
        raise RuntimeError(f"the oracle's steps did not converge in {STEPS}")
    found: Float = np.take_along_axis(strength, world.responses.model.astype(np.int64), axis=1).ravel()
    return found


class _Votes(NamedTuple):
    """V votes and the parameters of their annotators. Strengths are (P, N), in the order of the models."""

    prompt: Index
    left: Index
    """(V,) the model shown left."""
    right: Index
    side: Float
    """(V,) 1 for left, −1 for right, 0 a tie."""
    discrimination: Float
    bias: Float
    nu: Float
    """(V,) Davidson's: weight of a tie beside exp(±d / 2)."""
    shape: tuple[int, int]

    def slopes(self, strength: Float, variance: Float) -> tuple[Float, Float]:
        """Return (P, N) gradient and (P, N, N) negative Hessian of the expected log-likelihood. variance: (V,)."""
        gap = strength[self.prompt, self.left] - strength[self.prompt, self.right]
        first, second = np.zeros_like(gap), np.zeros_like(gap)
        for point, share in zip(POINTS, SHARES, strict=True):
            d = self.discrimination * (gap + point * np.sqrt(variance)) + self.bias
            total = 2 * np.cosh(d / 2) + self.nu
            difference, decisive = (
                2 * np.sinh(d / 2) / total,
                2 * np.cosh(d / 2) / total,
            )  # probabilities: left − right, left + right
            first += share * self.discrimination * (self.side - difference) / 2
            second += share * self.discrimination**2 * (decisive - difference**2) / 4
        slope, curve = np.zeros(self.shape), np.zeros((*self.shape, self.shape[1]))
        for end, other, sign in ((self.left, self.right, 1.0), (self.right, self.left, -1.0)):
            np.add.at(slope, (self.prompt, end), sign * first)
            np.add.at(curve, (self.prompt, end, end), second)
            np.add.at(curve, (self.prompt, end, other), -second)
        return slope, curve

    def moved(self, step: Float) -> Float:
        """Return the (P,) largest change of the advantage in a vote on each prompt by a step (P, N), logits."""
        most = np.zeros(self.shape[0])
        advantage = self.discrimination * (step[self.prompt, self.left] - step[self.prompt, self.right])
        np.maximum.at(most, self.prompt, np.abs(advantage))
        return most

    def gap_variance(self, covariance: Float) -> Float:
        """Return (V,) variances of differences from the covariances of strengths (P, N, N)."""
        p, i, j = self.prompt, self.left, self.right
        variance: Float = covariance[p, i, i] + covariance[p, j, j] - 2 * covariance[p, i, j]
        return variance


def _votes_by_model(world: World) -> _Votes:
    shape, people, who = world.responses.model.shape, world.annotators, world.annotator
    model = world.responses.model.ravel().astype(np.int64)
    ties = people.tie_share / (1 - people.tie_share) * 2 * np.cosh(people.left_bias / 2)  # as in draw_outcomes
    return _Votes(
        prompt=(world.left // shape[1]).astype(np.int64),
        left=model[world.left],
        right=model[world.right],
        side=np.select([world.outcome == LEFT, world.outcome == RIGHT], [1.0, -1.0], 0.0),
        discrimination=people.discrimination[who],
        bias=people.left_bias[who],
        nu=ties[who],
        shape=(shape[0], shape[1]),
    )
