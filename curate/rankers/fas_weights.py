"""Whole-number weights for the feedback arc set: vote weight first, agreement with Bradley-Terry second, in one number.

Whole numbers held in float64, whose sums all stay below 2⁵³, are added, compared and multiplied without any rounding;
a bound proved on them is proved.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from curate.rankers.base import Float

GRIDS = (2.0, 120.0, 2000.0)
"""Steps of a unit of vote weight that are tried in turn: halves, then what divides 120, then thousandths."""
FINEST = 2.0**34
"""Steps of a prompt's whole net weight where none of these fits."""
LARGEST = 2.0**36
"""Steps that the whole net weight of a prompt may take."""


class Whole(NamedTuple):
    """Net weights of B prompts on grids of their own."""

    net: Float
    """(B, N, N) antisymmetric whole numbers: by how many steps votes prefer i to j."""
    step: Float
    """(B,) vote weight of one step."""
    slack: Float
    """(B,) by how much rounding to the grid can have changed the cost of any order, at most; vote weight."""


def to_grid(net: Float) -> Whole:
    """Net weights (B, N, N) as multiples of the coarsest grid that holds them; other weights are rounded to a fine one.

    Each prompt takes its own grid, so that no prompt's answer depends on what else is ranked with it.
    """
    total = np.abs(net).sum(axis=(1, 2)) / 2
    step = np.where(total > 0, total, 1) / FINEST
    for grid in reversed(GRIDS):
        scaled = net * grid
        fits = (np.abs(scaled - np.round(scaled)).max(axis=(1, 2), initial=0) < 1e-7) & (total * grid < LARGEST)
        step = np.where(fits, 1 / grid, step)
    whole = np.round(net / step[:, None, None])
    slack = np.abs(net - whole * step[:, None, None]).sum(axis=(1, 2)) / 2
    return Whole(whole, step, slack)


class Lexicographic(NamedTuple):
    """Whole weights under which a best order is best by votes and, of those, agrees most with given strengths."""

    net: Float
    """(B, N, N) antisymmetric whole numbers: scale × steps of vote weight + a share of the gap in strength."""
    scale: Float
    """(B,) what one step of vote weight counts."""
    swing: Float
    """(B,) what all gaps in strength together count, below scale / 2."""


def lexicographic(whole: Float, strength: Float) -> Lexicographic:
    """Adds to whole (B, N, N) a term in the direction of strength (B, N) too small to outweigh one step of vote weight.

    The cost of an order under the sum differs from scale × its cost in steps by at most swing on either side (up to a
    constant, pairs without net weight included), and 2 × swing < scale: fewer steps always win.
    """
    total = np.abs(whole).sum(axis=(1, 2)) / 2
    scale = 2.0 ** np.minimum(40, 51 - np.ceil(np.log2(total + 2)))
    gap = strength[:, :, None] - strength[:, None, :]
    spread = np.abs(gap).sum(axis=(1, 2)) / 2
    small = np.trunc(gap * (scale / 4 / np.where(spread > 0, spread, 1))[:, None, None])
    net = whole * scale[:, None, None] + small
    return Lexicographic(net, scale, np.abs(small).sum(axis=(1, 2)) / 2)


def steps_proved(bound: Float, weights: Lexicographic) -> Float:
    """(B,) steps of vote weight that every order costs, given a (B,) lower bound on every order's cost in weights.net.

    A pair costs at most scale × its steps plus its part of the swing, hence bound ≤ scale × steps + swing.
    """
    return np.maximum(0, np.ceil((bound - weights.swing) / weights.scale))
