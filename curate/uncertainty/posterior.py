"""How sure it is that a response is the best of its item: normal posteriors, and what they say of an order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.uncertainty.orthant import FLOOR, gaps_of, orthants, root_of

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]
Single = npt.NDArray[np.float32]

SMALL_RULE, MANY_RULE = (144, 89), (1021, 76)
"""Points and multiplier of the lattice: Fibonacci's for two integrals, L'Ecuyer and Lemieux's (2000) for up to MANY."""
LARGE_RULES = ((0.3, 509, 206), (0.1, 251, 73), (0.03, 61, 6), (0.0, 31, 10))
"""Those for still more integrals, after the least upper bound of the chance that they are for: the error of a small
chance is small. Multipliers are the best of ten (509), of 40 (251) and of all, on posteriors of 19 strengths and
independent ones of 8 and 40."""
MANY, SMOOTH = 8, 3
"""Integrals that count as many; and up to which the lattice is made periodic by a polynomial, whose weights grow too
uneven beyond."""


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
    K = 2; error about 1e-5 for K ≤ 5, below 1e-3 for larger K and below 3e-3 for K > 10 where strengths hang together
    closely; up to 1e-2 where the covariance is singular, which puts a step into the integrals. A difference without
    variance is such a step, ½ where its mean is 0 too.
    """
    return _chances(mean, covariance, np.arange(len(mean)), best)


def best_probabilities(mean: Float, covariance: Float) -> Float:
    """(I, K) ``best_probability`` of each response; an item's sum to 1 but for the error."""
    items, size = mean.shape
    item, best = np.repeat(np.arange(items), size), np.tile(np.arange(size), items)
    return _chances(mean, covariance, item, best).reshape(items, size)


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


def draw_strengths(mean: Float, covariance: Float, draws: int, rng: np.random.Generator) -> Single:
    """(N, draws) strengths drawn from the posterior, the second half mirrored at the mean. draws: even.

    mean: (N,); covariance: (N, N). In single precision, which halves the time: 1e-7 of a strength decides no draw.
    """
    root = cholesky(covariance[None])[0].astype(np.float32)
    away = root @ rng.standard_normal((len(mean), draws // 2), dtype=np.float32)
    middle = mean.astype(np.float32)[:, None]
    return np.concatenate([middle + away, middle - away], axis=1)


def cholesky(covariance: Float) -> Float:
    """(I, K, K) lower triangular L with L Lᵀ = covariance, every pivot at least FLOOR of the item's largest variance.

    So a singular matrix, or one that rounding has made slightly indefinite, has a root too.
    """
    root = np.zeros(covariance.shape)
    for matrix, empty in zip(np.ascontiguousarray(covariance), root, strict=True):
        root_of(matrix, empty)
    return root


def _chances(mean: Float, covariance: Float, item: Int, best: Int) -> Float:
    """(C,) P(response ``best`` of ``item`` is its strongest). item, best: (C,)."""
    from scipy.special import ndtr

    if mean.shape[1] == 1 or not len(item):
        return np.ones(len(item))
    mean, covariance = (np.ascontiguousarray(array, dtype=np.float64) for array in (mean, covariance))
    gap, root = gaps_of(mean, covariance, item, best)
    bound = ndtr(gap[:, 0] / root[:, 0, 0])  # the chance to lead the one that is hardest to lead
    if gap.shape[1] == 1:
        return np.asarray(bound)
    chances, above = np.empty(len(item)), np.inf
    for least, points, weight in _lattices(gap.shape[1] - 1):
        rows = np.flatnonzero((bound >= least) & (bound < above))
        chances[rows] = orthants(gap[rows], root[rows], points, weight)
        above = least
    return np.clip(chances, 0.0, 1.0)


def _lattices(dimensions: int) -> list[tuple[float, Float, Float]]:
    """From which upper bound of a chance on, (D, n) points of the unit cube, and (n,) weights; the finest first.

    Rank-1 lattices, half a step off the origin. Few dimensions take the polynomial u³ (10 − 15 u + 6 u²), whose slope,
    the weight, falls to 0 at both ends; more take the tent 1 − |2 u − 1|.
    """
    rules = LARGE_RULES if dimensions > MANY else ((0.0, *(SMALL_RULE if dimensions <= 2 else MANY_RULE)),)
    found = []
    for least, count, multiplier in rules:
        generator = np.array([pow(multiplier, k, count) for k in range(dimensions)])
        u = (generator[:, None] * np.arange(count) % count + 0.5) / count
        if dimensions <= SMOOTH:
            weight = np.prod((u * (1 - u)) ** 2, axis=0)
            found.append((least, u**3 * (10 - 15 * u + 6 * u**2), weight / weight.sum()))
        else:
            found.append((least, 1 - np.abs(2 * u - 1), np.full(count, 1 / count)))
    return found
