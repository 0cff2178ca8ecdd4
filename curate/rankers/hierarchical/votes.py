"""Tie models: the log-chance of a vote.

A vote sees d = the advantage of left in logits (after the annotator's discrimination and bias), and t = the annotator's
tie parameter. Both models are log-concave in (d, t) together, so that Newton's steps have one answer to go to; the
slopes are in kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]
TieModel = Literal["davidson", "rao-kupper"]


class Model(NamedTuple):
    """A tie model."""

    log_chance: Callable[[Float, Float, Float], Float]
    """Of d, t and side. side: 1 a vote for left, −1 for right, 0 a tie; of d's shape, as t is."""


def davidson(d: Float, t: Float, side: Float) -> Float:
    """Log-chance where left : right : tie = exp(d/2) : exp(−d/2) : exp(t), any t.

    Davidson, "On extending the Bradley-Terry model to accommodate ties in paired comparison experiments", 1970; t is
    the logarithm of his ν.
    """
    half = np.abs(d) / 2
    log_total = half + np.log(1 + np.exp(-2 * half) + np.exp(t - half))
    log_chance: Float = np.where(side == 0, t, side * d / 2) - log_total
    return log_chance


def rao_kupper(d: Float, t: Float, side: Float) -> Float:
    """Log-chance where left is σ(d − t), right σ(−d − t) and a tie what is left, t above 0.

    Rao and Kupper, "Ties in paired-comparison experiments", 1967; t is the logarithm of their θ. A tie's chance is
    σ(d + t) σ(t − d) (1 − exp(−2t)), since σ(x) − σ(y) = σ(x) σ(−y) (1 − exp(y − x)).
    """
    tied = side == 0
    one = _log_sigma(np.where(tied, t + d, side * d - t))
    log_chance: Float = np.where(tied, one + _log_sigma(t - d) + np.log(-np.expm1(-2 * t)), one)
    return log_chance


MODELS: dict[TieModel, Model] = {
    "davidson": Model(davidson),
    "rao-kupper": Model(rao_kupper),
}
LEAST_TIE: dict[TieModel, float] = {"davidson": -40.0, "rao-kupper": 1e-6}
"""The tie parameter at which ties as good as never happen."""


def quadrature(nodes: int) -> tuple[Float, Float]:
    """(nodes,) points and (nodes,) shares that average over a standard normal; 1 node takes its mean for all of it."""
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    return points, weights / weights.sum()


def tie_parameter(model: TieModel, share: float) -> float:
    """The tie parameter that gives equals this share of ties, without bias. share: above 0, below 1."""
    if model == "davidson":
        return float(np.log(2 * share / (1 - share)))
    return float(np.log((1 + share) / (1 - share)))


def tie_share(model: TieModel, t: Float, bias: Float) -> Float:
    """Share of ties on equals of an annotator with this tie parameter and left bias."""
    share: Float = np.exp(MODELS[model].log_chance(bias, t, np.zeros_like(bias)))
    return share


def _log_sigma(x: Float) -> Float:
    """log σ(x), never overflowing."""
    value: Float = np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))
    return value
