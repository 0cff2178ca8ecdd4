"""Whole-number weights for the feedback arc set: vote weight first, agreement with Bradley-Terry second, in one number.

Whole numbers held in float64, whose sums all stay below 2⁵³, are added, compared and multiplied without any rounding;
a bound proved on them is proved.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from curate.compiled import compiled
from curate.rankers.base import Float

GRIDS = (2.0, 120.0, 2000.0)
"""Steps of a unit of vote weight that are tried in turn: halves, then what divides 120, then thousandths."""
FINEST = 2.0**34
"""Steps of a prompt's whole net weight where none of these fits."""
LARGEST = 2.0**36
"""Steps that the whole net weight of a prompt may take."""
ROUNDING = 1e-12
"""How far off a grid a net weight may be and still be on it, as a part of the prompt's whole: a sum's last bits."""


class Weights(NamedTuple):
    """Whole weights, under which a best order is best by votes and, of those, agrees most with given strengths."""

    net: Float
    """(N, N) antisymmetric whole numbers: scale × steps of vote weight + a share of the gap in strength."""
    whole: Float
    """(N, N) antisymmetric whole numbers: by how many steps votes prefer i to j."""
    step: float
    """Vote weight of one step."""
    slack: float
    """By how much rounding to steps can have changed the cost of any order, at most; vote weight."""
    scale: float
    """What one step of vote weight counts in net."""
    swing: float
    """What all gaps in strength together count there, at most scale / 16."""


@compiled
def weigh(wins: Float, strength: Float) -> Weights:
    """Net vote weight in whole steps, and with it a term in the direction of strength too small to outweigh one step.

    wins: (N, N) of one prompt. strength: (N,). The cost of an order in net differs from scale × its cost in steps by at
    most swing: fewer steps always win, and of equal ones the better agreement.
    """
    n = len(wins)
    total, spread = 0.0, 0.0
    for i in range(n):
        for j in range(i):
            total += abs(wins[i, j] - wins[j, i])
            spread += abs(strength[i] - strength[j])
    step = _step(wins, total)
    scale = 2.0 ** min(40.0, 51 - np.ceil(np.log2(total / step + n * n + 2)))
    share = scale / 16
    net, whole, slack, swing = np.zeros((n, n)), np.zeros((n, n)), 0.0, 0.0
    for i in range(n):
        for j in range(i):
            gap = wins[i, j] - wins[j, i]
            small = np.trunc((strength[i] - strength[j]) / spread * share) if spread > 0 else 0.0
            whole[i, j] = np.rint(gap / step)
            net[i, j] = whole[i, j] * scale + small
            whole[j, i], net[j, i] = -whole[i, j], -net[i, j]
            slack += abs(gap - whole[i, j] * step)
            swing += abs(small)
    return Weights(net, whole, step, slack, scale, swing)


@compiled
def _step(wins: Float, total: float) -> float:
    """Vote weight of one step: the coarsest grid that holds all net weights, else a fine part of their total.

    Each prompt takes its own, so that no prompt's answer depends on what else is ranked with it.
    """
    for grid in GRIDS:
        if total * grid < LARGEST and _fits(wins, grid, total * grid * ROUNDING):
            return 1 / grid
    return total / FINEST


@compiled
def _fits(wins: Float, grid: float, rounding: float) -> bool:
    for i in range(len(wins)):
        for j in range(i):
            steps = (wins[i, j] - wins[j, i]) * grid
            if abs(steps - np.rint(steps)) > rounding:
                return False
    return True


@compiled
def steps_proved(bound: float, weights: Weights) -> float:
    """Steps of vote weight that every order costs, given a lower bound on every order's cost in weights.net.

    A pair costs at most scale × its steps plus its part of the swing, hence bound ≤ scale × steps + swing.
    """
    return max(0.0, float(np.ceil((bound - weights.swing) / weights.scale)))
