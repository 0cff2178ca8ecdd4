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
    """Log-chance of each vote, and its derivatives; all of the shape of d."""

    value: Float
    d: Float
    t: Float
    dd: Float
    """Below 0."""
    dt: Float
    tt: Float
    """Below 0."""


def davidson(d: Float, t: Float, side: Float) -> Slopes:
    """left : right : tie = exp(d/2) : exp(−d/2) : exp(t). Davidson (1970), "On extending the Bradley-Terry model".

    side: 1 a vote for left, −1 for right, 0 a tie; it must have d's number of axes. t is log ν, any number.
    """
    half = np.abs(d) / 2
    small = np.exp(-2 * half)  # of the worse response; all three are over exp(|d|/2), and so never too large
    tie = np.exp(t - half)
    total = 1 + small + tie
    lean = np.copysign((1 - small) / total, d)  # chance of left − chance of right
    tie /= total
    tied = side == 0
    return Slopes(
        value=side * d / 2 + np.where(tied, t, 0.0) - half - np.log(total),
        d=(side - lean) / 2,
        t=tied - tie,
        dd=-(1 - tie - lean**2) / 4,
        dt=lean * tie / 2,
        tt=-tie * (1 - tie),
    )


def rao_kupper(d: Float, t: Float, side: Float) -> Slopes:
    """left: σ(d − t), right: σ(−d − t), a tie what is left. Rao and Kupper (1967), threshold t above 0.

    σ(x) − σ(y) = σ(x) σ(−y) (1 − exp(y − x)) makes a tie's chance σ(d + t) σ(t − d) (1 − exp(−2t)).
    """
    tied = side == 0
    up = np.where(tied, t + d, side * d - t)  # the vote's chance is σ(up), for a tie σ(up) σ(down) (1 − exp(−2t))
    down = np.where(tied, t - d, 0.0)
    past = -np.expm1(-2 * t)
    p, q = _chance(up), np.where(tied, _chance(down), 1.0)
    sign = np.where(tied, 1.0, side)  # of d in up
    turn = np.where(tied, 1.0, -1.0)  # of t in up
    pp, qq = p * (1 - p), q * (1 - q)
    return Slopes(
        value=np.where(tied, np.log(past) + np.minimum(down, 0) - np.log1p(np.exp(-np.abs(down))), 0.0)
        + np.minimum(up, 0)
        - np.log1p(np.exp(-np.abs(up))),
        d=sign * (1 - p) - (1 - q),
        t=turn * (1 - p) + (1 - q) + np.where(tied, 2 * (1 - past) / past, 0.0),
        dd=-pp - qq,
        dt=-sign * turn * pp + qq,
        tt=-pp - qq - np.where(tied, 4 * (1 - past) / past**2, 0.0),
    )


MODELS: dict[TieModel, Callable[[Float, Float, Float], Slopes]] = {"davidson": davidson, "rao-kupper": rao_kupper}
LEAST_TIE = {"davidson": -40.0, "rao-kupper": 1e-6}
"""The tie parameter at which ties as good as never happen."""


def tie_parameter(model: TieModel, share: Float) -> Float:
    """The tie parameter that gives equals this share of ties, without bias. share: above 0, below 1."""
    if model == "davidson":
        return np.log(2 * share / (1 - share))
    return np.log((1 + share) / (1 - share))


def tie_share(model: TieModel, t: Float, bias: Float) -> Float:
    """Share of ties on equals of an annotator with this tie parameter and left bias."""
    tie = np.zeros_like(bias)
    return np.exp(MODELS[model](bias, t, tie).value)


def _chance(x: Float) -> Float:
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, small) / (1 + small)
