"""How sure it is that the labelled best of an item is its best."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]

GRID = np.linspace(-8.0, 8.0, 321)
"""Quadrature nodes, standard deviations of the labelled best around its strength."""
CHUNK = 4096
"""Items whose quadrature is held in memory at a time: CHUNK × len(GRID) doubles, 10 MB."""


def best_probability(strength: Float, se: Float, best: Int) -> Float:
    """(I,) P(response ``best`` is the strongest of its item), strengths being independent normals.

    strength, se: (I, K) mean and standard deviation > 0; best: (I,) positions. With b the best,
    ∫ φ(z) ∏_{j≠b} Φ((μ_b + σ_b z − μ_j) / σ_j) dz by the trapezoid rule over ±8, whose error is below 1e-9 unless a
    σ_j is less than a twentieth of σ_b (at a fiftieth: 3e-4).
    Strengths of one prompt are in truth weakly dependent: their mean is fixed.
    """
    from scipy.special import ndtr

    weight = np.exp(-(GRID**2) / 2)
    weight /= weight.sum()
    count, size = strength.shape
    other = np.arange(size) != best[:, None]
    mean, sd = (values[other].reshape(count, size - 1) for values in (strength, se))
    mean_best, sd_best = (np.take_along_axis(values, best[:, None], axis=1) for values in (strength, se))
    chances = np.empty(count)
    for start in range(0, count, CHUNK):
        rows = slice(start, start + CHUNK)
        at = mean_best[rows] + sd_best[rows] * GRID  # (≤ CHUNK, len(GRID)) strength of the labelled best
        beats_all = np.ones_like(at)
        for j in range(size - 1):
            beats_all *= ndtr((at - mean[rows, j, None]) / sd[rows, j, None])
        chances[rows] = beats_all @ weight
    return chances
