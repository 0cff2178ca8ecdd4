"""Ties of prompts: what each prompt adds to everyone's tie parameter (Davidson's log ν), under a prior they share.

On some prompts responses can be alike; on others people always find what to prefer. Without a number for that, few ties
would be taken for responses far apart, and many for responses as good as each other. Normal around 0, the variance
fitted; Rao and Kupper's ties have no such number, since a sum of theirs need not stay above 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from curate.rankers.hierarchical.annotators import scored
from curate.rankers.hierarchical.columns import Columns, Float
from curate.rankers.hierarchical.votes import TieModel

LIKELY = 0.05
"""The variance that a lognormal hyperprior holds to be likely, …"""
WEIGHT_OF_LIKELY = 2.0
"""… as if so many prompts had been seen with it."""


class PromptTies(NamedTuple):
    """P prompts."""

    value: Float
    """(P,) what each adds to tie parameters."""
    variance: float
    """Of the prior; 0 = nothing is added."""


def first_ties(columns: Columns, model: TieModel) -> PromptTies:
    """Prompts all alike."""
    some = model == "davidson" and bool((columns.ballots.side == 0).any())
    return PromptTies(np.zeros(columns.prompts), LIKELY if some else 0.0)


def improve_ties(old: PromptTies, slope: Float, curvature: Float, pace: float) -> PromptTies:
    """After a step of scoring in both. slope, curvature: (P,) of the expected log-likelihood. pace: the variance's."""
    if not old.variance > 1e-6:
        return PromptTies(np.zeros_like(old.value), 0.0)
    precision = 1 / old.variance - curvature
    value = old.value + np.clip((slope - old.value / old.variance) / precision, -1.0, 1.0)
    known = 1 - 1 / (precision * old.variance)  # (P,) share of the posterior's precision that the votes gave
    squares = float((value**2 + 1 / precision).sum())
    count, learned = float(len(value)), float((known**2).sum())
    return PromptTies(value, scored(old.variance, squares, count, learned, LIKELY, WEIGHT_OF_LIKELY, pace))
