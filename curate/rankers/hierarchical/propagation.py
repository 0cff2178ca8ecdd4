"""The posterior where the prior is a mixture (mixture), and whether the votes speak for one.

Expectation propagation (Minka, "Expectation propagation for approximate Bayesian inference", 2001): each response's
prior is stood in for by a normal site, such that the response's posterior has the true one's mean and variance. The
mixture is fitted to the votes as they look from the normal prior's posterior, one step in each pass. A shape
is taken where its evidence, as the sites estimate it, is above the normal prior's by more than its numbers cost
(Schwarz, "Estimating the dimension of a model", 1978), and strongly so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, get_args

import numpy as np

from curate.compiled import compiled
from curate.rankers.hierarchical.columns import Columns, Float, Places
from curate.rankers.hierarchical.matrices import Shape, add_shared, inverse, prior_precision
from curate.rankers.hierarchical.mixture import Kind, Mixture, Tilted, first_mixture, improve
from curate.rankers.hierarchical.posterior import SAFE, Likelihood
from curate.rankers.hierarchical.prior import Prior

DAMPING = 0.7
"""Part of the way that a site takes to its new value in a pass."""
LEAST_SITE = 0.2
"""A site's precision is at least this part of the prior's own: a response between the heaps would have less than 0."""
LEAST_KNOWN = 1e-6
"""What all but a response's own prior says of it is at least this part of all that is known."""
STRONG = 3.0
"""Nats of evidence that are called strong (Kass and Raftery, "Bayes factors", 1995): odds of twenty to one."""
LOOKS = 300
"""Passes at most in which a shape comes to rest, or is not taken."""
GLANCE, HOPELESS = 20, 10.0
"""After so many passes each the evidence is computed; a shape that lacks so many nats of it is given up."""
AT_REST = 3e-3
"""A mixture is at rest when a pass moves no center, no shift (logits) and no logarithm of a variance by more."""


class Sites(NamedTuple):
    """The normal that stands in for each response's prior."""

    precision: Float
    """(R,) logits⁻²."""
    pull: Float
    """(R,) precision times mean."""


class Quadratic(NamedTuple):
    """The votes' log-likelihood, to second order: −θᵀJθ / 2 + hᵀθ."""

    pull: Float
    """(R,) h"""
    information: Float
    """J, flat."""


class Belief(NamedTuple):
    """A normal posterior of the strengths."""

    strength: Float
    """(R,) means, logits."""
    covariance: Float
    """Flat, logits²."""


class Cavity(NamedTuple):
    """What is known of each response by all but its own prior."""

    precision: Float
    """(R,) logits⁻²."""
    pull: Float
    """(R,) precision times mean."""


class Found(NamedTuple):
    """A mixture and the posterior under it, as far as passes have come."""

    mixture: Mixture
    sites: Sites
    belief: Belief
    passes: int
    """Spent."""
    moved: Float
    """(R,) how far the last pass moved each strength, logits."""
    change: float = np.inf
    """The most that it moved a center, a shift or the logarithm of a variance."""


def first_sites(mixture: Mixture, columns: Columns) -> Sites:
    """Those of one normal with the mean and variance of both."""
    mean, variance = mixture.as_one(columns)
    return Sites(1 / variance, mean / variance)


def quadratic(strength: Float, votes: Likelihood) -> Quadratic:
    """The votes around strengths (R,)."""
    pull, information = votes.slopes(strength)
    return Quadratic(pull + _product(votes.columns.places, information, strength), information)


def look(columns: Columns, prior: Prior, means: Float, normal: Belief, votes: Quadratic) -> Found | None:
    """The shape of most evidence, where that is strongly above the normal prior's after what its numbers cost.

    means: (M,) of the models. normal: the posterior under that prior. votes: as seen around it.
    """
    plain, best, most = _normal_evidence(columns, prior, means, votes), None, STRONG
    for kind in get_args(Kind):
        mixture = first_mixture(kind, prior, means)
        found = Found(mixture, first_sites(mixture, columns), normal, 0, np.full(columns.responses, np.inf))
        while found.change > AT_REST and found.passes < LOOKS:
            found = one_pass(found, columns, votes)
            rested = found.change <= AT_REST
            if rested or found.passes % GLANCE == 0:
                gain = _evidence(found, columns, votes) - plain - found.mixture.cost(columns)
                if gain < most - HOPELESS:
                    break
        if rested and gain > most:
            best, most = found, gain
    return best


def settle(found: Found, columns: Columns, votes: Callable[[Belief], Quadratic], passes: int, exact: float) -> Found:
    """The mixture's posterior by passes, at most so many, until none moves a strength by more than ``exact``.

    votes: as seen around a belief. The mixture is held: fitted to votes seen around its own posterior, where that is
    far from what votes alone would say, its variances would come out too small (Breslow and Clayton, "Approximate
    inference in generalized linear mixed models", 1993).
    """
    for _ in range(passes):
        found = one_pass(found, columns, votes(found.belief), learn=False)
        if found.moved.max(initial=0.0) <= exact:
            break
    return found


def one_pass(found: Found, columns: Columns, votes: Quadratic, *, learn: bool = True) -> Found:
    """Strengths, sites and, where it is to learn, the mixture, one step each."""
    mixture, sites, before, passes, *_ = found
    belief = believe(columns, sites, before, votes)
    cavity = cavity_of(sites, columns, belief)
    tilted = tilt(mixture, cavity, columns)
    new = improve(mixture, tilted, columns) if learn else mixture
    moved = np.abs(belief.strength - before.strength)
    sites = improve_sites(sites, tilted, cavity, mixture, columns)
    return Found(new, sites, belief, passes + 1, moved, mixture.change_to(new))


def believe(columns: Columns, sites: Sites, before: Belief, votes: Quadratic) -> Belief:
    """The posterior of the strengths given sites, no gap moved further than SAFE from the belief before."""
    covariance = votes.information.copy()
    to = _given_sites(columns.places, sites.precision, sites.pull + votes.pull, covariance)
    step = to - before.strength
    return Belief(before.strength + step * min(1.0, SAFE / (2 * np.abs(step).max(initial=SAFE / 2))), covariance)


def cavity_of(sites: Sites, columns: Columns, belief: Belief) -> Cavity:
    known = 1 / columns.diagonal_of(belief.covariance)
    return Cavity(
        precision=np.maximum(known - sites.precision, LEAST_KNOWN * known), pull=belief.strength * known - sites.pull
    )


def tilt(mixture: Mixture, cavity: Cavity, columns: Columns) -> Tilted:
    """The true prior times what is known besides."""
    center, share = mixture.of(columns)
    precision, pull = cavity.precision[:, None], cavity.pull[:, None]
    spread = 1 / precision + mixture.variance
    log = np.log(share) - ((pull / precision - center) ** 2 / spread + np.log(spread)) / 2
    largest = log.max(axis=1)
    weight = np.exp(log - largest[:, None])
    total = weight.sum(axis=1)
    precise = precision + 1 / mixture.variance
    return Tilted(
        weight=weight / total[:, None],
        mean=(pull + center / mixture.variance) / precise,
        variance=1 / precise,
        log_chance=largest + np.log(total),
    )


def improve_sites(old: Sites, tilted: Tilted, cavity: Cavity, mixture: Mixture, columns: Columns) -> Sites:
    """Part of the way to the sites that give the tilted means and variances."""
    mean = (tilted.weight * tilted.mean).sum(axis=1)
    variance = (tilted.weight * (tilted.variance + (tilted.mean - mean[:, None]) ** 2)).sum(axis=1)
    precision = np.maximum(1 / variance - cavity.precision, LEAST_SITE / mixture.as_one(columns)[1])
    pull = mean * (precision + cavity.precision) - cavity.pull
    return Sites(old.precision + DAMPING * (precision - old.precision), old.pull + DAMPING * (pull - old.pull))


def with_shifts(found: Found, columns: Columns) -> Float:
    """The covariance of the strengths, what is not known of the shifts included; flat."""
    covariance = found.belief.covariance.copy()
    _add_shifts(columns.places, found.sites.precision, found.mixture.shift_left, covariance)
    return covariance


def _evidence(found: Found, columns: Columns, seen: Quadratic) -> float:
    """Log-chance of the votes by expectation propagation, up to what does not depend on the prior."""
    sites, belief = found.sites, found.belief
    cavity = cavity_of(sites, columns, belief)
    both, pull = cavity.precision + sites.precision, cavity.pull + sites.pull
    of_sites = (pull**2 / both - cavity.pull**2 / cavity.precision - np.log(both / cavity.precision)) / 2
    chance = float((tilt(found.mixture, cavity, columns).log_chance - of_sites).sum())
    fit = float((belief.strength * (seen.pull + sites.pull)).sum()) / 2
    return chance + fit + _log_det(columns, belief.covariance) / 2


def _normal_evidence(columns: Columns, prior: Prior, means: Float, seen: Quadratic) -> float:
    """The same of a normal prior with these model means."""
    mean, precision = np.append(means, 0.0)[columns.model], np.zeros(columns.cells)
    _fill_precision(columns.places, prior.shape(columns), precision)
    drawn = _product(columns.places, precision, mean)
    covariance = seen.information + precision
    strength = _given_sites(columns.places, np.zeros(columns.responses), seen.pull + drawn, covariance)
    fit = float((strength * (seen.pull + drawn)).sum() - (mean * drawn).sum()) / 2
    return fit + (_log_det(columns, covariance) + _log_det(columns, precision)) / 2


def _log_det(columns: Columns, flat: Float) -> float:
    """The sum of the matrices' log-determinants."""
    found = (np.linalg.slogdet(flat[batch.cells].reshape(batch.shape))[1].sum() for batch in columns.batches)
    return float(sum(found))


@compiled
def _given_sites(places: Places, precision: Float, pull: Float, matrices: Float) -> Float:
    """(R,) posterior means of the strengths. matrices: flat, the votes' information, is OVERWRITTEN by covariances."""
    strength = np.empty(len(pull))
    for p in range(len(places.cell)):
        first, last = places.response[p], places.response[p + 1]
        n = last - first
        matrix = matrices[places.cell[p] : places.cell[p] + n * n].reshape(n, n)
        for i in range(n):
            matrix[i, i] += precision[first + i]
        matrix[:, :] = inverse(matrix)
        strength[first:last] = matrix @ pull[first:last]
    return strength


@compiled
def _add_shifts(places: Places, precision: Float, left: Float, matrices: Float) -> None:
    """Adds S T U T S to the covariances S: T the sites' precisions, U what is not known of their models' shifts."""
    uncertain = np.diag(left)
    for p in range(len(places.cell)):
        first, last = places.response[p], places.response[p + 1]
        n = last - first
        covariance = matrices[places.cell[p] : places.cell[p] + n * n].reshape(n, n)
        follow = covariance.copy()
        for i in range(n):
            for j in range(n):
                follow[i, j] *= precision[first + j]
        add_shared(np.zeros((n, n)), covariance, follow, uncertain, places.model[first:last])


@compiled
def _fill_precision(places: Places, shape: Shape, matrices: Float) -> None:
    """Fills in the normal prior's precision of each prompt, flat."""
    for p in range(len(places.cell)):
        first, last = places.response[p], places.response[p + 1]
        n = last - first
        found = prior_precision(places.model[first:last], shape.scale[p], shape)
        matrices[places.cell[p] : places.cell[p] + n * n] = found.ravel()


@compiled
def _product(places: Places, matrices: Float, vector: Float) -> Float:
    """(R,) each prompt's matrix times its part of the vector."""
    product = np.empty(len(vector))
    for p in range(len(places.cell)):
        first, last = places.response[p], places.response[p + 1]
        n = last - first
        product[first:last] = matrices[places.cell[p] : places.cell[p] + n * n].reshape(n, n) @ vector[first:last]
    return product
