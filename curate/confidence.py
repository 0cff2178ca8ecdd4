"""How sure it is that a response is the best of its item: normal posteriors, and what they say of an order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]

SMALL_RULE, LARGE_RULE = (144, 89), (1021, 76)
"""Points and multiplier of the lattice: Fibonacci's for two integrals, L'Ecuyer and Lemieux's (2000) for more."""
SMOOTH = 3
"""Integrals up to which the lattice is made periodic by a polynomial; its weights grow too uneven beyond."""
FLOOR = 1e-9
"""A variance below this part of the item's largest is taken for rounding."""
CHUNK = 1 << 16
"""Items times lattice points held in memory at a time: half a MB an array, which caches hold."""


@dataclass(frozen=True)
class Posterior:
    """What is known of R strengths: a normal distribution for each prompt."""

    strength: Float
    """(R,) means, logits; higher is better."""
    covariance: Float
    """Lists of covariances, logits², end to end: of each row with the responses of its prompt."""
    first: Int
    """(R,) where the row's list begins."""
    place: Int
    """(R,) where the row stands in the lists of its prompt."""

    def of(self, rows: Int) -> tuple[Float, Float]:
        """(…, K) means and (…, K, K) covariances of the strengths of (…, K) rows, each K of one prompt."""
        return self.strength[rows], self.covariance[self.first[rows][..., :, None] + self.place[rows][..., None, :]]


def best_probability(mean: Float, covariance: Float, best: Int) -> Float:
    """(I,) P(response ``best`` is the strongest of its item), strengths being jointly normal.

    mean: (I, K); covariance: (I, K, K); best: (I,) positions. The chance that K − 1 differences are all above 0, by
    separation of variables: K − 2 nested integrals over the unit cube (Genz, 1992), on a fixed lattice. Exact for
    K = 2; error about 1e-5 for K ≤ 5 and 1e-3 for larger K, and up to 1e-2 where the covariance is singular, which puts
    a step into the integrals. A difference without variance is such a step, ½ where its mean is 0 too.
    """
    gap, spread = _differences(mean, covariance, best)
    if gap.shape[1] == 0:
        return np.ones(len(gap))
    # The tightest condition first (Gibson, Glasbey and Elston, 1994): what is integrated after it varies less.
    order = np.argsort(gap / np.sqrt(_variances(spread) + _smallest(spread)[:, None]), axis=1, kind="stable")
    gap = np.take_along_axis(gap, order, axis=1)
    spread = np.take_along_axis(np.take_along_axis(spread, order[:, :, None], axis=1), order[:, None, :], axis=2)
    root = cholesky(spread)
    points, weight = _lattice(max(0, gap.shape[1] - 1))
    chances, step = np.empty(len(gap)), max(1, CHUNK // len(weight))
    for start in range(0, len(gap), step):
        rows = slice(start, start + step)
        chances[rows] = _orthant(gap[rows], root[rows], points, weight)
    return np.clip(chances, 0.0, 1.0)


def beats(mean: Float, covariance: Float) -> Float:
    """(…, K, K) P(response i is stronger than response j), ½ on the diagonal.

    mean: (…, K); covariance: (…, K, K) of jointly normal strengths.
    """
    from scipy.special import ndtr

    variance = np.diagonal(covariance, axis1=-2, axis2=-1)
    spread = variance[..., :, None] + variance[..., None, :] - 2 * covariance
    floor = FLOOR * variance.max(axis=-1, initial=0.0) + np.finfo(np.float64).tiny
    gap = mean[..., :, None] - mean[..., None, :]
    chance: Float = ndtr(gap / np.sqrt(np.maximum(spread, floor[..., None, None])))
    return chance


def draw_strengths(mean: Float, covariance: Float, draws: int, rng: np.random.Generator) -> Float:
    """(draws, N) strengths drawn from the posterior. mean: (N,); covariance: (N, N)."""
    drawn: Float = mean + rng.standard_normal((draws, len(mean))) @ cholesky(covariance[None])[0].T
    return drawn


def cholesky(covariance: Float) -> Float:
    """(I, K, K) lower triangular L with L Lᵀ = covariance, every pivot at least FLOOR of the item's largest variance.

    So a singular matrix, or one that rounding has made slightly indefinite, has a root too.
    """
    root = np.zeros_like(covariance)
    least = _smallest(covariance)
    for k in range(covariance.shape[-1]):
        before = root[:, k, :k]
        pivot = covariance[:, k, k] - (before**2).sum(axis=1)
        root[:, k, k] = np.sqrt(np.maximum(pivot, least))
        rest = covariance[:, k + 1 :, k] - (root[:, k + 1 :, :k] * before[:, None, :]).sum(axis=2)
        root[:, k + 1 :, k] = rest / root[:, k, k, None]
    return root


def _differences(mean: Float, covariance: Float, best: Int) -> tuple[Float, Float]:
    """(I, K − 1) mean and (I, K − 1, K − 1) covariance of strength[best] − strength[j], over the others j."""
    count, size = mean.shape
    item = np.arange(count)[:, None]
    best = best[:, None]
    other = np.nonzero(np.arange(size) != best)[1].reshape(count, size - 1)
    shared, own = covariance[item, best, other], covariance[item, best, best]
    spread = covariance[item[:, :, None], other[:, :, None], other[:, None, :]] + own[:, :, None]
    spread -= shared[:, :, None] + shared[:, None, :]
    return mean[item, best] - mean[item, other], spread


def _variances(covariance: Float) -> Float:
    """(I, K) the diagonal, not below 0."""
    return np.maximum(np.diagonal(covariance, axis1=1, axis2=2), 0.0)


def _smallest(covariance: Float) -> Float:
    """(I,) the least variance that counts, above 0."""
    least: Float = FLOOR * _variances(covariance).max(axis=1, initial=0.0) + np.finfo(np.float64).tiny
    return least


def _lattice(dimensions: int) -> tuple[Float, Float]:
    """(D, n) points of the unit cube and (n,) weights: a rank-1 lattice, half a step off the origin.

    Few dimensions take the polynomial u³ (10 − 15 u + 6 u²), whose slope, the weight, falls to 0 at both ends; more
    take the tent 1 − |2 u − 1|.
    """
    if dimensions == 0:
        return np.empty((0, 1)), np.ones(1)
    count, multiplier = SMALL_RULE if dimensions <= 2 else LARGE_RULE
    generator = np.array([pow(multiplier, k, count) for k in range(dimensions)])
    u = (generator[:, None] * np.arange(count) % count + 0.5) / count
    if dimensions <= SMOOTH:
        weight = np.prod((u * (1 - u)) ** 2, axis=0)
        return u**3 * (10 - 15 * u + 6 * u**2), weight / weight.sum()
    return 1 - np.abs(2 * u - 1), np.full(count, 1 / count)


def _orthant(gap: Float, root: Float, points: Float, weight: Float) -> Float:
    """(I,) P(root z + gap > 0 in all places), z standard normal. gap: (I, D); root: (I, D, D) lower triangular."""
    from scipy.special import ndtr, ndtri

    chance = ndtr(gap[:, 0] / root[:, 0, 0])[:, None]  # that a place is above 0, given those before it
    product, drawn = np.broadcast_to(chance, (len(gap), len(weight))), []
    for k in range(1, gap.shape[1]):
        # z falls where its place is above 0; by symmetry −z is what is drawn.
        drawn.append(ndtri(np.clip(points[k - 1] * chance, 1e-300, 1 - 1e-16)))
        left = gap[:, k, None] - sum(root[:, k, j, None] * drawn[j] for j in range(k))
        chance = ndtr(left / root[:, k, k, None])
        product = product * chance
    chances: Float = (product * weight).sum(axis=1)
    return chances
