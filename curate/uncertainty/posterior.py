"""Probabilities under a normal posterior of strengths: of being the best of an item, and of winning a pair.

P(response b is the best of K) is an orthant probability: K − 1 normal differences are all above 0. It is computed by
separation of variables (Genz, 1992): with the Cholesky factor L of the differences' covariance and their means m,

    ∏_k e_k   with   e_k = Φ((m_k − Σ_{j<k} L_kj x_j) / L_kk)   and   x_k = Φ⁻¹(u_k e_k),

averaged over a fixed lattice of points u in the unit cube of K − 2 dimensions (the last difference needs none).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from curate.array_types import Float, Float32, Index
from curate.rankers.base import blocks

MIN_VARIANCE = 1e-9
"""A variance below this share of the item's largest is treated as rounding error."""
TINY = float(np.finfo(np.float64).tiny)
SMALL_RULE, MEDIUM_RULE = (144, 89), (1021, 76)
"""Points and multiplier of the lattice: Fibonacci's for two integrals; of L'Ecuyer and Lemieux (2000) for up to 8."""
LARGE_RULES = ((0.3, 509, 206), (0.1, 251, 73), (0.03, 61, 6), (0.0, 31, 10))
"""The same for more integrals, each for probabilities whose upper bound is at least the first number: the error of a
small probability is small. Multipliers are the best of ten (509), of 40 (251) and of all, for posteriors of 19
strengths and independent ones of 8 and 40."""
MEDIUM_DIMENSIONS, PERIODIC_DIMENSIONS = 8, 3
"""Integrals up to which MEDIUM_RULE applies; up to which a polynomial makes the integrand periodic (its weights become
too uneven in more dimensions)."""


@dataclass(frozen=True)
class Posterior:
    """The normal posterior of R strengths, independent between prompts."""

    strength: Float
    """(R,) means, logits; higher is better."""
    covariance: Float
    """Covariances of each row with the responses of its prompt, logits², concatenated over rows."""
    first: Index
    """(R,) where the row's covariances begin."""
    place: Index
    """(R,) position of the row among the responses of its prompt."""

    def of(self, rows: Index) -> tuple[Float, Float]:
        """Return (…, K) means and (…, K, K) covariances of (…, K) rows, each K of one prompt."""
        return self.strength[rows], self.covariance[self.first[rows][..., :, None] + self.place[rows][..., None, :]]


def best_probability(mean: Float, covariance: Float, best: Index) -> Float:
    """Return (I,) the probability that response ``best`` is the strongest of its item.

    Exact for K = 2; error about 1e-5 for K ≤ 5, below 1e-3 for larger K, below 3e-3 for K > 10 with strongly correlated
    strengths, and up to 1e-2 for a singular covariance, which makes the integrand discontinuous. A difference without
    variance counts ½ if its mean is 0.

    Parameters
    ----------
    mean : (I, K) posterior means, logits
    covariance : (I, K, K) posterior covariances, logits²
    best : (I,) positions, 0 … K − 1

    Examples
    --------
    >>> mean, covariance = np.array([[1.0, 0.0, 0.0]]), 0.5 * np.eye(3)[None]
    >>> best_probability(mean, covariance, np.array([0])).round(3).tolist()
    [0.745]
    """
    return _probabilities(mean, covariance, np.arange(len(mean)), best)


def best_probabilities(mean: Float, covariance: Float) -> Float:
    """Return (I, K) ``best_probability`` of each response; an item's values sum to 1 up to the error."""
    items, size = mean.shape
    item, best = np.repeat(np.arange(items), size), np.tile(np.arange(size), items)
    return _probabilities(mean, covariance, item, best).reshape(items, size)


def best_probability_bounds(mean: Float, covariance: Float, best: Index) -> tuple[Float, Float]:
    """Return (I,) lower and upper limits of ``best_probability`` from single differences (Bonferroni and Fréchet)."""
    from scipy.special import ndtr

    if mean.shape[1] == 1:
        return np.ones(len(mean)), np.ones(len(mean))
    difference, root = _differences(mean, covariance, np.arange(len(mean)), best)
    loses = ndtr(-difference / np.sqrt((root**2).sum(axis=2)))
    return 1 - loses.sum(axis=1), 1 - loses.max(axis=1)


def beats(mean: Float, covariance: Float) -> Float:
    """Return (…, K, K) the probability that response i is stronger than response j, ½ on the diagonal.

    mean: (…, K), covariance: (…, K, K) of jointly normal strengths.
    """
    from scipy.special import ndtr

    variance = np.diagonal(covariance, axis1=-2, axis2=-1)
    of_difference = variance[..., :, None] + variance[..., None, :] - 2 * covariance
    least = MIN_VARIANCE * variance.max(axis=-1, initial=0.0) + TINY
    difference = mean[..., :, None] - mean[..., None, :]
    probability: Float = ndtr(difference / np.sqrt(np.maximum(of_difference, least[..., None, None])))
    return probability


def draw_strengths(mean: Float, covariance: Float, draws: int, rng: np.random.Generator) -> Float32:
    """Return (N, draws) strengths drawn from the posterior; the second half mirrors the first at the mean.

    mean: (N,), covariance: (N, N), draws: even. Float32 precision halves the time; 1e-7 of a strength decides no draw.
    """
    root = cholesky(covariance[None])[0].astype(np.float32)
    deviation = root @ rng.standard_normal((len(mean), draws // 2), dtype=np.float32)
    centre = mean.astype(np.float32)[:, None]
    return np.concatenate([centre + deviation, centre - deviation], axis=1)


def count_correct(strength: Float32, sets: Index, best: Index) -> Index:
    """Return (S,) for each draw the number of sets whose response labelled best is the only strongest one.

    strength: (N, S) draws of strengths; sets: (M, K) of the N; best: (M,) positions.
    """
    members = strength[sets]  # (M, K, S)
    labelled = members[np.arange(len(sets)), best][:, None]
    correct: Index = ((members >= labelled).sum(axis=1) == 1).sum(axis=0)
    return correct


def cholesky(covariance: Float) -> Float:
    """Return (I, K, K) lower triangular L with L Lᵀ = covariance and pivots of at least MIN_VARIANCE of the largest.

    Therefore a singular matrix, or one that rounding has made slightly indefinite, has a factor too.
    """
    size = covariance.shape[1]
    root = np.zeros(covariance.shape)
    least = MIN_VARIANCE * np.diagonal(covariance, axis1=1, axis2=2).max(axis=1, initial=0) + TINY
    for k in range(size):
        rest = covariance[:, k:, k] - (root[:, k:, :k] * root[:, None, k, :k]).sum(axis=2)
        root[:, k, k] = np.sqrt(np.maximum(rest[:, 0], least))
        root[:, k + 1 :, k] = rest[:, 1:] / root[:, k, k, None]
    return root


def orthant_probability(mean: Float, root: Float, points: Float, weight: Float) -> Float:
    """Return (C,) P(root z + mean > 0 in all D places) for standard normal z, as at the top of this module.

    mean: (C, D); root: (C, D, D) lower triangular; points: (D − 1, n) of the unit cube with (n,) weights.
    """
    found = [_orthant_block(mean[rows], root[rows], points, weight) for rows in blocks(len(mean), len(weight))]
    return np.concatenate(found) if found else np.empty(0)


def _orthant_block(mean: Float, root: Float, points: Float, weight: Float) -> Float:
    from scipy.special import ndtr, ndtri

    count, size = mean.shape
    below = np.empty((count, size, len(weight)))  # −x in the formula: by symmetry z falls above 0 iff −z is below
    probability = ndtr(mean[:, 0] / root[:, 0, 0])[:, None]
    product = np.repeat(probability, len(weight), axis=1)
    for k in range(1, size):
        below[:, k - 1] = ndtri(np.clip(points[k - 1] * probability, 1e-300, 1 - 1e-16))
        shift = (root[:, None, k, :k] @ below[:, :k])[:, 0]
        probability = ndtr((mean[:, k, None] - shift) / root[:, k, k, None])
        product *= probability
    result: Float = (product * weight).sum(axis=1)
    return result


def _probabilities(mean: Float, covariance: Float, item: Index, best: Index) -> Float:
    """Return (C,) P(response ``best`` of ``item`` is its strongest). item, best: (C,)."""
    if mean.shape[1] == 1:
        return np.ones(len(item))
    found = np.empty(len(item))
    for rows in blocks(len(item), mean.shape[1]):
        found[rows] = _probability_block(*_differences(mean, covariance, item[rows], best[rows]))
    return np.clip(found, 0.0, 1.0)


def _probability_block(difference: Float, root: Float) -> Float:
    """Return (C,) the orthant probability of each row of differences, by the lattice for its size."""
    from scipy.special import ndtr

    bound: Float = ndtr(difference[:, 0] / root[:, 0, 0])  # the probability to beat the strongest other
    if difference.shape[1] == 1:
        return bound
    found, above = np.empty(len(bound)), np.inf
    for lattice in _lattices(difference.shape[1] - 1):
        rows = np.flatnonzero((bound >= lattice.least) & (bound < above))
        found[rows] = orthant_probability(difference[rows], root[rows], lattice.points, lattice.weight)
        above = lattice.least
    return found


def _differences(mean: Float, covariance: Float, item: Index, best: Index) -> tuple[Float, Float]:
    """Return (C, D) mean leads of response ``best`` over the others and (C, D, D) Cholesky factors of their covariance.

    The tightest lead comes first (Gibson, Glasbey and Elston, 1994), because what is integrated after it varies less.
    """
    row, chosen = np.arange(len(item))[:, None], best[:, None]
    others = np.arange(mean.shape[1] - 1)
    others = others + (others >= chosen)  # (C, D)
    mean, covariance = mean[item], covariance[item]
    lead = mean[row, chosen] - mean[row, others]
    own = covariance[row, chosen, chosen]
    variance = covariance[row, others, others] + own - 2 * covariance[row, chosen, others]
    largest = variance.max(axis=1, keepdims=True, initial=0.0)
    tightness = lead / np.sqrt(np.maximum(variance, 0.0) + MIN_VARIANCE * largest + TINY)
    order = np.argsort(tightness, axis=1, kind="stable")
    others, lead = others[row, order], lead[row, order]
    shared = covariance[row, chosen, others]
    spread = covariance[row[:, :, None], others[:, :, None], others[:, None, :]] + own[:, :, None]
    return lead, cholesky(spread - shared[:, :, None] - shared[:, None, :])


class _Lattice(NamedTuple):
    """A rank-1 lattice for probabilities with an upper bound of at least ``least``."""

    least: float
    points: Float
    """(D, n) of the unit cube."""
    weight: Float
    """(n,) sum 1."""


def _lattices(dimensions: int) -> Iterator[_Lattice]:
    """Yield the lattices for so many integrals, the finest first.

    They are shifted by half a step from the origin. Few dimensions use the polynomial u³ (10 − 15 u + 6 u²), whose
    derivative, the weight, vanishes at both ends; more use the tent 1 − |2 u − 1|.
    """
    rules: tuple[tuple[float, int, int], ...] = LARGE_RULES
    if dimensions <= MEDIUM_DIMENSIONS:
        rules = ((0.0, *(SMALL_RULE if dimensions <= 2 else MEDIUM_RULE)),)
    for least, count, multiplier in rules:
        generator = np.array([pow(multiplier, k, count) for k in range(dimensions)])
        u = (generator[:, None] * np.arange(count) % count + 0.5) / count
        if dimensions <= PERIODIC_DIMENSIONS:
            weight = np.prod((u * (1 - u)) ** 2, axis=0)
            yield _Lattice(least, u**3 * (10 - 15 * u + 6 * u**2), weight / weight.sum())
        else:
            yield _Lattice(least, 1 - np.abs(2 * u - 1), np.full(count, 1 / count))
