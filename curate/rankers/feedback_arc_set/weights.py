"""Whole-number weights: vote weight first and agreement with Bradley-Terry second, in one number.

Whole numbers held in float64 whose sums stay below 2⁵³ are added and compared without rounding. Therefore a bound that
is proven on them holds exactly.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from curate.array_types import Float, Index
from curate.rankers.feedback_arc_set.search import arrange

GRIDS = (2.0, 120.0, 2000.0)
"""Steps per unit of vote weight, tried in turn: halves, divisors of 120, thousandths with ties."""
FINEST = 2.0**34
"""Steps of a prompt's whole net weight if none of the grids fits."""
LARGEST = 2.0**36
"""Most steps that the whole net weight of a prompt may take on one of the grids."""
ROUNDING = 1e-12
"""A net weight is on a grid if it is off by at most this share of the prompt's whole: the last bits of a sum."""


class Weights(NamedTuple):
    """Whole weights of one prompt (or, with a leading axis B, of B prompts).

    An optimal order for ``net`` is optimal by votes and, among those, agrees most with the given strengths.
    """

    net: Float
    """(N, N) antisymmetric whole numbers: scale × steps + a share of the difference in strength."""
    whole: Float
    """(N, N) antisymmetric whole numbers: steps of vote weight by which i is preferred to j."""
    step: Float
    """Vote weight of one step."""
    slack: Float
    """Upper limit of the change in cost of any order from rounding to steps, vote weight."""
    scale: Float
    """Weight of one step of vote weight in ``net``."""
    swing: Float
    """Sum of all differences in strength in ``net``, at most scale / 16."""

    def of(self, b: int) -> Weights:
        """Return the weights of prompt b of a batch."""
        return Weights(*(field[b] for field in self))

    def part(self, members: Index) -> Weights:
        """Return the weights among some responses of one prompt."""
        return self._replace(net=arrange(self.net, members), whole=arrange(self.whole, members))


def weigh(wins: Float, strength: Float) -> Weights:
    """Return the weights of B prompts. wins: (B, N, N). strength: (B, N).

    The cost of an order in ``net`` differs from scale × its cost in steps by at most swing: fewer steps always win, and
    of equal ones the better agreement. Each prompt has its own grid, so its result does not depend on the others.
    """
    margin = wins - wins.swapaxes(1, 2)
    gap = strength[:, :, None] - strength[:, None, :]
    n = margin.shape[1]
    total, spread = np.abs(margin).sum(axis=(1, 2)) / 2, np.abs(gap).sum(axis=(1, 2)) / 2
    step = _steps(margin, total)
    scale = 2.0 ** np.minimum(40.0, 51 - np.ceil(np.log2(total / step + n * n + 2)))
    whole = np.rint(margin / _wide(step))
    spread = np.where(spread > 0, spread, 1.0)
    agreement = np.trunc(gap / _wide(spread) * _wide(scale / 16))
    slack = np.abs(margin - whole * _wide(step)).sum(axis=(1, 2)) / 2
    return Weights(
        net=whole * _wide(scale) + agreement,
        whole=whole,
        step=step,
        slack=slack,
        scale=scale,
        swing=np.abs(agreement).sum(axis=(1, 2)) / 2,
    )


def steps_proven(bound: float, weights: Weights) -> float:
    """Return the steps of vote weight that every order costs, given a lower bound on every order's cost in ``net``.

    A pair costs at most scale × its steps plus its part of the swing, hence bound ≤ scale × steps + swing.
    """
    return max(0.0, float(np.ceil((bound - weights.swing) / weights.scale)))


def _wide(value: Float) -> Float:
    return value[:, None, None]


def _steps(margin: Float, total: Float) -> Float:
    """Return the (B,) vote weight of one step: the coarsest grid that fits, else a small share of the total."""
    step = np.where(total > 0, total / FINEST, 1.0)
    for grid in reversed(GRIDS):
        steps = margin * grid
        off = np.abs(steps - np.rint(steps)).max(axis=(1, 2), initial=0)
        step = np.where((total * grid < LARGEST) & (off <= total * grid * ROUNDING), 1 / grid, step)
    return step
