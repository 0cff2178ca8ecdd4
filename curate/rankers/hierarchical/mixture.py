"""Strengths in two heaps, or with heavy tails: a prior of two normals, and how its numbers are learned.

Answers to a question are often right or wrong, and much alike otherwise. One normal prior then takes what sets the
right ones apart from the wrong for what sets the right ones apart from each other, and is far too sure who is best.
Here θ[prompt, i] = shift[m] + center[k] + e, e ~ N(0, variance[k]), k being 1 for a share of the responses of model m,
else 0. Two shapes: heaps (two centers, a share for each model) and tails (two variances, one share).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from curate.rankers.hierarchical.annotators import scored
from curate.rankers.hierarchical.columns import Columns, Float, sums
from curate.rankers.hierarchical.prior import LIKELY_VARIANCE, WEIGHT_OF_LIKELY, Prior

Kind = Literal["heaps", "tails"]

TINY = 1e-9


@dataclass(frozen=True)
class Mixture:
    """The hyperparameters of M models; the row after them is for responses of no known model."""

    kind: Kind
    center: Float
    """(2,) logits."""
    variance: Float
    """(2,) logits²."""
    share: Float
    """(M + 1,) of each model's responses that are of the second heap."""
    common: float
    """Of all responses."""
    shift: Float
    """(M + 1,) of each model, logits; the last is 0."""
    shift_variance: float
    """Of the prior of shifts around 0, logits²."""
    shift_left: Float
    """(M + 1,) what is left of it for each model; the last is 0."""

    def cost(self, columns: Columns) -> float:
        """What its numbers cost, nats: half the logarithm of the responses that each is learned from.

        Heaps have a gap and a share for each model beyond a normal prior, tails a variance and a share.
        """
        of_models = np.bincount(columns.model, minlength=len(self.share))
        of_all = [columns.responses]
        return float(np.log1p([*of_all, *(of_models if self.kind == "heaps" else of_all)]).sum()) / 2

    def of(self, columns: Columns) -> tuple[Float, Float]:
        """(R, 2) means and (R, 2) shares of the two normals of each response."""
        share = self.share[columns.model]
        return self.shift[columns.model, None] + self.center, np.stack([1 - share, share], axis=1)

    def as_one(self, columns: Columns) -> tuple[Float, Float]:
        """(R,) mean and (R,) variance of each response's prior."""
        center, share = self.of(columns)
        mean = (share * center).sum(axis=1)
        variance: Float = (share * (self.variance + (center - mean[:, None]) ** 2)).sum(axis=1)
        return mean, variance

    def change_to(self, other: Mixture) -> float:
        """The most that a center, a shift or the logarithm of a variance is moved."""
        pairs = [(self.center, other.center), (self.shift, other.shift)]
        pairs += [(np.log(self.variance), np.log(other.variance))]
        return max(float(np.abs(one - two).max(initial=0.0)) for one, two in pairs)


class Tilted(NamedTuple):
    """Each response's posterior by its true prior: a mixture of two normals again."""

    weight: Float
    """(R, 2) how likely each of the two is."""
    mean: Float
    """(R, 2) logits."""
    variance: Float
    """(R, 2) logits²."""
    log_chance: Float
    """(R,) log of what it integrates to."""


def first_mixture(kind: Kind, prior: Prior, means: Float) -> Mixture:
    """Where to start from a normal prior at rest. means: (M,) of the models."""
    means, count = np.append(means, 0.0), len(means)
    left = np.append(np.full(count, prior.mean_variance), 0.0)
    variance = prior.variance + (0.0 if count else prior.mean_variance)
    if kind == "tails":
        spread = variance * np.array([0.5, 3.0])
        return Mixture(kind, np.zeros(2), spread, np.full(count + 1, 0.2), 0.2, means, prior.mean_variance, left)
    half = 0.8 * np.sqrt(variance)
    share = np.clip(0.5 + means / (2 * half), 0.1, 0.9)
    spread = np.full(2, 0.36 * variance)
    return Mixture(kind, np.array([-half, half]), spread, share, 0.5, np.zeros(count + 1), prior.mean_variance, left)


def improve(old: Mixture, tilted: Tilted, columns: Columns) -> Mixture:
    """One step each for shares, centers, shifts and variances: of expectation and maximisation, or a little longer."""
    model, rows, weight = columns.model, columns.models + 1, tilted.weight
    count = weight.sum(axis=0) + TINY
    common = float(count[1] / count.sum())
    share = np.full(rows, common)
    if old.kind == "heaps":  # as if two more responses of each model had been seen, alike for all
        share = (sums(model, weight[:, 1], rows) + 2 * common) / (np.bincount(model, minlength=rows) + 2)

    # Votes compare: they say nothing of where all strengths are. Centers and shifts keep a mean of 0.
    away = tilted.mean - old.shift[model, None]
    center = (weight * away).sum(axis=0) / count if old.kind == "heaps" else np.zeros(2)
    center -= (count * center).sum() / count.sum()
    shift, shift_variance, shift_left = _improve_shifts(old, tilted, center, columns)

    away = tilted.mean - shift[model, None] - center
    squares = (weight * (tilted.variance + away**2)).sum(axis=0)
    learned = (weight * (1 - tilted.variance / old.variance) ** 2).sum(axis=0)
    if old.kind == "heaps":  # one variance
        squares, learned, count = (np.full(2, of.sum()) for of in (squares, learned, count))
    each = zip(old.variance, squares, count, learned, strict=True)
    variance = np.array([scored(*of, LIKELY_VARIANCE, WEIGHT_OF_LIKELY, 1.0) for of in each])
    return Mixture(old.kind, center, variance, share, common, shift, shift_variance, shift_left)


def _improve_shifts(old: Mixture, tilted: Tilted, center: Float, columns: Columns) -> tuple[Float, float, Float]:
    """Shifts, their variance, and what is left of it for each."""
    if not columns.models:
        return old.shift, old.shift_variance, old.shift_left
    precise = tilted.weight / old.variance
    told = sums(columns.model, (precise * (tilted.mean - center)).sum(axis=1), columns.models + 1)[:-1]
    known = sums(columns.model, precise.sum(axis=1), columns.models + 1)[:-1]
    learned = sums(columns.model, (precise * (1 - tilted.variance / old.variance)).sum(axis=1), columns.models + 1)[:-1]
    shift = told / (known + 1 / old.shift_variance)
    left = 1 / (learned + 1 / old.shift_variance)
    squares, seen = float((shift**2 + left).sum()), float((1 - left / old.shift_variance).sum())
    models = float(columns.models)
    variance = scored(old.shift_variance, squares, models, seen, LIKELY_VARIANCE, WEIGHT_OF_LIKELY, 1.0)
    return np.append(shift - shift.mean(), 0.0), variance, np.append(left, 0.0)
