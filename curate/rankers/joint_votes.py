"""Tie models: the log-chance of a vote and its slopes in the gap and in the tie parameter.

A vote sees d = the advantage of left in logits (after the annotator's discrimination and bias), and t = the annotator's
tie parameter. Both models are log-concave in (d, t) together, so that Newton's steps have one answer to go to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]
TieModel = Literal["davidson", "rao-kupper"]


class Slopes(NamedTuple):
    """Derivatives of each vote's log-chance, all of the shape of d."""

    d: Float
    t: Float
    dd: Float
    """Not above 0."""
    dt: Float
    tt: Float
    """Not above 0."""


class Model(NamedTuple):
    """A tie model, two functions of d, t and side.

    side: 1 a vote for left, −1 for right, 0 a tie; of d's shape, as t is.
    """

    log_chance: Callable[[Float, Float, Float], Float]
    slopes: Callable[[Float, Float, Float], Slopes]


def davidson(d: Float, t: Float, side: Float) -> Float:
    """Log-chance where left : right : tie = exp(d/2) : exp(−d/2) : exp(t), any t.

    Davidson, "On extending the Bradley-Terry model to accommodate ties in paired comparison experiments", 1970; t is
    the logarithm of his ν.
    """
    half = np.abs(d) / 2
    log_total = half + np.log(1 + np.exp(-2 * half) + np.exp(t - half))
    log_chance: Float = np.where(side == 0, t, side * d / 2) - log_total
    return log_chance


def davidson_slopes(d: Float, t: Float, side: Float) -> Slopes:
    half = np.abs(d) / 2
    small, tie = np.exp(-2 * half), np.exp(t - half)  # all three over exp(|d|/2), and so never too large
    over = 1 / (1 + small + tie)
    tie *= over
    lean = np.copysign((1 - small) * over, d)  # chance of left − chance of right
    return Slopes(
        d=(side - lean) / 2,
        t=(side == 0) - tie,
        dd=(lean**2 + tie - 1) / 4,
        dt=lean * tie / 2,
        tt=tie * (tie - 1),
    )


def rao_kupper(d: Float, t: Float, side: Float) -> Float:
    """Log-chance where left is σ(d − t), right σ(−d − t) and a tie what is left, t above 0.

    Rao and Kupper, "Ties in paired-comparison experiments", 1967; t is the logarithm of their θ. A tie's chance is
    σ(d + t) σ(t − d) (1 − exp(−2t)), since σ(x) − σ(y) = σ(x) σ(−y) (1 − exp(y − x)).
    """
    tied = side == 0
    one = _log_sigma(np.where(tied, t + d, side * d - t))
    log_chance: Float = np.where(tied, one + _log_sigma(t - d) + np.log(-np.expm1(-2 * t)), one)
    return log_chance


def rao_kupper_slopes(d: Float, t: Float, side: Float) -> Slopes:
    tied = side == 0
    of_d, of_t = np.where(tied, 1.0, side), np.where(tied, 1.0, -1.0)  # in the first σ; in the second, a tie's: −1, 1
    first, second = np.exp(_log_sigma(of_d * d + of_t * t)), np.where(tied, np.exp(_log_sigma(t - d)), 1.0)
    bend, bend2 = first * (1 - first), second * (1 - second)
    odds = np.where(tied, 1 / np.expm1(2 * t), 0.0)
    return Slopes(
        d=of_d * (1 - first) - (1 - second),
        t=of_t * (1 - first) + (1 - second) + 2 * odds,
        dd=-bend - bend2,
        dt=-of_d * of_t * bend + bend2,
        tt=-bend - bend2 - 4 * odds * (1 + odds),
    )


MODELS: dict[TieModel, Model] = {
    "davidson": Model(davidson, davidson_slopes),
    "rao-kupper": Model(rao_kupper, rao_kupper_slopes),
}
LEAST_TIE: dict[TieModel, float] = {"davidson": -40.0, "rao-kupper": 1e-6}
"""The tie parameter at which ties as good as never happen."""


def log_chance(model: TieModel, d: Float, deviation: Float, t: Float, side: Float, nodes: int) -> Float:
    """Log-chance averaged over a normal advantage of mean d and this deviation, by Gauss-Hermite quadrature."""
    total = np.zeros_like(d)
    for point, share in zip(*quadrature(nodes), strict=True):
        total += share * MODELS[model].log_chance(d + point * deviation, t, side)
    return total


def gap_slopes(model: TieModel, d: Float, deviation: Float, t: Float, side: Float, nodes: int) -> tuple[Float, Float]:
    """Slope and curvature in d of ``log_chance``."""
    first, second = np.zeros_like(d), np.zeros_like(d)
    for point, share in zip(*quadrature(nodes), strict=True):
        slopes = MODELS[model].slopes(d + point * deviation, t, side)
        first += share * slopes.d
        second += share * slopes.dd
    return first, second


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
