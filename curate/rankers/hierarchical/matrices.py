"""Compiled linear algebra of one prompt after another: prior precision, posterior covariance, what the votes taught."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from curate.compiled import compiled
from curate.rankers.hierarchical.columns import Float, Index, Places

SMALL = 64
"""Matrices up to this size are inverted here, larger ones by LAPACK."""


class Shape(NamedTuple):
    """The prior of strengths around their models' means, in numbers that kernels read (prior.Prior)."""

    covariance: Float
    """(M, M) between models, at scale 1."""
    least: float
    """Its least eigenvalue: what two responses of one model do not share."""
    independent: bool
    """Whether it is diagonal, with equal entries."""
    variance: float
    mean_variance: float
    """Of a response of no known model: variance · scale² + mean_variance."""
    scale: Float
    """(P,) squared scale of each prompt."""
    part: Float
    """(R,) of a response's prior variance, the part that scales."""


@compiled
def inverse(matrix: Float) -> Float:
    """(N, N) of a symmetric positive definite matrix (Goodnight, "A tutorial on the SWEEP operator", 1979)."""
    n = len(matrix)
    if n > SMALL:
        return np.ascontiguousarray(np.linalg.inv(matrix))
    swept = matrix.copy()
    for k in range(n):
        over = 1 / swept[k, k]
        swept[k, k] = 1.0
        for j in range(n):
            swept[k, j] *= over
        for i in range(n):
            if i != k:
                factor = swept[i, k]
                swept[i, k] = 0.0
                for j in range(n):
                    swept[i, j] -= factor * swept[k, j]
    return swept


@compiled
def prior_precision(model: Index, scale: float, shape: Shape) -> Float:
    """(N, N) of the strengths of one prompt's responses around their models' means. model: (N,). scale: squared."""
    n, unknown = len(model), len(shape.covariance)
    matrix = np.zeros((n, n))
    for i in range(n):
        if model[i] == unknown:
            matrix[i, i] = scale * shape.variance + shape.mean_variance
        else:
            matrix[i, i] = scale * shape.covariance[model[i], model[i]]
    if shape.independent:
        for i in range(n):
            matrix[i, i] = 1 / matrix[i, i]
        return matrix
    for i in range(n):
        for j in range(n):
            if i != j and model[i] < unknown and model[j] < unknown:
                shared = shape.covariance[model[i], model[j]] - (shape.least if model[i] == model[j] else 0.0)
                matrix[i, j] = scale * shared
    return inverse(matrix)


@compiled
def times(matrix: Float, precision: Float, independent: bool) -> Float:
    """(N, N) matrix @ precision; independent: precision is diagonal."""
    if not independent:
        return matrix @ precision
    scaled = matrix.copy()
    for i in range(len(matrix)):
        for j in range(len(matrix)):
            scaled[i, j] *= precision[j, j]
    return scaled


@compiled
def between(precision: Float, matrix: Float, independent: bool) -> Float:
    """(N, N) precision @ matrix @ precision; independent: precision is diagonal."""
    if not independent:
        return precision @ matrix @ precision
    scaled = matrix.copy()
    for i in range(len(matrix)):
        for j in range(len(matrix)):
            scaled[i, j] *= precision[i, i] * precision[j, j]
    return scaled


@compiled
def condition(
    places: Places, shape: Shape, strength: Float, means: Float, pull: Float, matrices: Float
) -> tuple[Float, Float, Float, Float]:
    """Each prompt's strengths given the means, by a whole Newton step; and what they say of the means.

    means: (M + 1,), the last 0. pull: (R,) gradient of the votes. matrices: flat, the votes' information, is
    OVERWRITTEN by the covariance of the strengths given the means.

    Returns (R,) the strengths for means of 0; (M + 1, M + 1) precision and (M + 1,) target of the means, the strengths
    integrated out; (P,) the largest gradient entry at ``strength``, as a part of the precision.
    """
    own, error = np.zeros(len(strength)), np.zeros(len(places.cell))
    system, target = np.zeros((len(means), len(means))), np.zeros(len(means))
    for p in range(len(places.cell)):
        first, last = places.response[p], places.response[p + 1]
        n, model, theta = last - first, places.model[first:last], strength[first:last]
        information = matrices[places.cell[p] : places.cell[p] + n * n].reshape(n, n)
        precision = prior_precision(model, shape.scale[p], shape)
        seen = information @ theta  # the votes' pull, made linear around where the step starts
        away, total, largest = np.empty(n), np.empty((n, n)), 1e-300
        for i in range(n):
            seen[i] += pull[first + i]
            away[i] = theta[i] - means[model[i]]
            largest = max(largest, information[i, i] + precision[i, i])
            for j in range(n):
                total[i, j] = information[i, j] + precision[i, j]
        drawn = precision @ away
        covariance = inverse(total)
        given = covariance @ seen
        for i in range(n):
            error[p] = max(error[p], abs(pull[first + i] - drawn[i]) / largest)
            own[first + i] = given[i]
            for j in range(n):
                information[i, j] = covariance[i, j]
        if len(means) > 1:
            back, said = between(precision, covariance, shape.independent), precision @ given
            for i in range(n):
                target[model[i]] += said[i]
                for j in range(n):
                    system[model[i], model[j]] += precision[i, j] - back[i, j]
    return own, system, target, error


@compiled
def teach(
    places: Places, shape: Shape, own: Float, means: Float, means_covariance: Float, matrices: Float
) -> tuple[Float, Float, Float, Float, Float, Float]:
    """Each prompt's strengths with the means, and the moments that the prior learns from (prior.Moments).

    own: (R,) and matrices: flat, both of ``condition``; matrices is OVERWRITTEN by the covariance of the strengths,
    the uncertainty of the means included. means: (M + 1,), the last 0. means_covariance: (M + 1, M + 1), likewise.

    Returns (R,) strengths, (R,) fit, (R,) learned, (P,) known, (M + 1, M + 1) score and (M + 1, M + 1) its squares.
    """
    strength, fit, learned = np.empty(len(own)), np.zeros(len(own)), np.zeros(len(own))
    known = np.zeros(len(places.cell))
    score, squares = np.zeros((len(means), len(means))), np.zeros((len(means), len(means)))
    for p in range(len(places.cell)):
        first, last = places.response[p], places.response[p + 1]
        n, model, part = last - first, places.model[first:last], shape.part[first:last]
        covariance = matrices[places.cell[p] : places.cell[p] + n * n].reshape(n, n)
        precision = prior_precision(model, shape.scale[p], shape)
        follow = times(covariance, precision, shape.independent)  # how the strengths follow the means
        mean, away = np.empty(n), np.empty(n)
        for i in range(n):
            mean[i] = means[model[i]]
        followed = follow @ mean
        for i in range(n):
            strength[first + i] = own[first + i] + followed[i]
            away[i] = strength[first + i] - mean[i]
        second = covariance.copy()  # E[δδᵀ]
        if len(means) > 1:
            add_shared(second, covariance, follow, means_covariance, model)
        for i in range(n):
            for j in range(n):
                second[i, j] += away[i] * away[j]
                both_ways = follow[i, j] * follow[j, i] if i != j else (1 - follow[i, i]) ** 2
                known[p] += both_ways * part[i] * part[j]
        for i in range(n):
            learned[first + i] = 1 - follow[i, i]
            for j in range(n):
                fit[first + i] += precision[i, j] * second[i, j]
        if len(means) > 1:
            back = between(precision, second, shape.independent)
            for i in range(n):
                for j in range(n):
                    pulled = shape.scale[p] * (back[i, j] - precision[i, j])
                    score[model[i], model[j]] += pulled
                    squares[model[i], model[j]] += pulled * pulled
    return strength, fit, learned, known, score, squares


@compiled
def add_shared(second: Float, covariance: Float, follow: Float, means_covariance: Float, model: Index) -> None:
    """Adds what the means' uncertainty U gives: F U Fᵀ to the covariance, (1 − F) U (1 − F)ᵀ to the second moment."""
    n = len(model)
    shared = np.empty((n, n))
    for i in range(n):
        for j in range(n):
            shared[i, j] = means_covariance[model[i], model[j]]
    passed = follow @ shared
    both = passed @ follow.T
    for i in range(n):
        for j in range(n):
            covariance[i, j] += both[i, j]
            second[i, j] += shared[i, j] - passed[i, j] - passed[j, i] + both[i, j]


@compiled
def log_prior(places: Places, shape: Shape, strength: Float, means: Float) -> float:
    """Log-density of the strengths around their models' means (M + 1,), up to what does not depend on them."""
    total = 0.0
    for p in range(len(places.cell)):
        first, last = places.response[p], places.response[p + 1]
        model, away = places.model[first:last], strength[first:last].copy()
        for i in range(last - first):
            away[i] -= means[model[i]]
        drawn = prior_precision(model, shape.scale[p], shape) @ away
        for i in range(last - first):
            total -= away[i] * drawn[i] / 2
    return total
