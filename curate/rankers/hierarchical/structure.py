"""What prompts share beyond model means: models that move together, and prompts on which models differ more or less.

Both are looked for once the plain prior has come to rest, by its score, and then fitted only where they are there:
a covariance between models takes steps of expectation and maximisation towards the scatter that the posterior expects,
drawn to one variance and no correlation; each prompt's log scale is scored, under a normal prior of fitted variance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from curate.rankers.hierarchical.annotators import scored
from curate.rankers.hierarchical.columns import Columns, Float, sums
from curate.rankers.hierarchical.prior import Moments, Prior

LIKELY_SCALE = 0.05
"""Variance of log scales that a lognormal hyperprior holds to be likely, once there is any, …"""
WEIGHT_OF_SCALE = 10.0
"""… as if so many prompts had been seen with it."""
WORTH_IT = 0.8
"""Correlations that would be shrunk by more than this part are left at 0."""


def open_up(old: Prior, columns: Columns, moments: Moments) -> Prior:
    """The prior with as much correlation and difference of scale as the votes show to be there; from the plain one.

    Correlations: noise over signal of the score of C's off-diagonal (Ledoit and Wolf, "A well-conditioned estimator for
    large-dimensional covariance matrices", 2004), the noise taken two of its standard errors high; and at least
    M / (M + P). Scales: the moment estimate of their variance, from scores beyond their information.
    """
    models = columns.models
    off = ~np.eye(models, dtype=np.bool_)
    signal, noise = float((moments.score[off] ** 2).sum()), float(moments.squares[off].sum())
    noise *= 1 + 2 * np.sqrt(2 / max(models * (models - 1) / 2, 1))
    shrinkage = max(noise / signal if signal > noise else 1.0, models / max(models + columns.prompts, 1))
    score, information = _scale_scores(old, columns, moments)
    beyond = float((score**2 - information).sum())
    return replace(
        old,
        shrinkage=shrinkage if shrinkage < WORTH_IT else 1.0,
        scale_variance=max(0.0, beyond / max(float((information**2).sum()), 1e-9)),
    )


def improve_structure(new: Prior, old: Prior, columns: Columns, moments: Moments, pace: float) -> Prior:
    """The prior after one step, or a part of it, in C's shape and the scales. old: as it was for these moments."""
    correlated = _improve_correlations(new, old, columns, moments, pace)
    return _improve_scale(correlated, old, columns, moments, pace)


def _improve_correlations(new: Prior, old: Prior, columns: Columns, moments: Moments, pace: float) -> Prior:
    """C after a step that is EM's where every vote is certain, and longer by what the votes leave open."""
    if old.shrinkage >= 1:
        return new
    learned = sums(columns.model, moments.learned, columns.models + 1)[:-1]
    seen = np.maximum(np.bincount(columns.model, minlength=columns.models + 1)[:-1], 1)
    each = 1 / np.sqrt(seen)
    longer = 1 / max(float(learned.sum() / seen.sum()), 0.75) ** 2  # below twice EM's, so that it never overshoots
    one = np.eye(columns.models)
    root, inverse = function(new.covariance, np.sqrt), function(new.covariance, lambda x: 1 / x)
    relative = longer * root @ (each[:, None] * moments.score * each) @ root  # of C, in the coordinates where C is 1
    target = columns.models / np.trace(inverse) * inverse - one  # towards one variance, of C's harmonic mean
    change = (1 - old.shrinkage) * relative + old.shrinkage * target
    change -= np.trace(change) / columns.models * one  # how large C is, scoring has said
    free = root @ function(change, lambda x: 1 + pace * np.clip(x, -0.5, 1.0)) @ root
    return replace(new, variance=float(np.trace(free)) / columns.models, covariance=free)


def function(matrix: Float, of: Callable[[Float], Float]) -> Float:
    """(M, M) the function of a symmetric matrix: of its eigenvalues."""
    roots, axes = np.linalg.eigh((matrix + matrix.T) / 2)
    value: Float = (axes * of(roots)) @ axes.T
    return value


def _scale_scores(old: Prior, columns: Columns, moments: Moments) -> tuple[Float, Float]:
    """(P,) score and (P,) information of each prompt's log scale."""
    return columns.per_prompt(old.own_part(columns) * (moments.fit - 1)), 2 * moments.known


def _improve_scale(new: Prior, old: Prior, columns: Columns, moments: Moments, pace: float) -> Prior:
    if not new.scale_variance > 1e-6:
        return replace(new, log_scale=np.zeros_like(new.log_scale), scale_variance=0.0)
    score, information = _scale_scores(old, columns, moments)
    precision = information + 1 / new.scale_variance
    step = (score - new.log_scale / new.scale_variance) / precision
    log_scale = new.log_scale + pace * np.clip(step, -0.5, 0.5)
    rest = 1 / (precision * new.scale_variance)  # (P,) part of the variance that the votes leave
    squares = float((log_scale**2).sum() + rest.sum() * new.scale_variance)
    known = float(((1 - rest) ** 2).sum())
    variance = scored(new.scale_variance, squares, len(rest), known, LIKELY_SCALE, WEIGHT_OF_SCALE, pace)
    return replace(new, log_scale=log_scale, scale_variance=variance)
