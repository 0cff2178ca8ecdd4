"""Ranks within groups: competition ranks 1, 2, 2, 4 and average ranks 1, 2.5, 2.5, 4."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from curate.rankers.base import Float
from curate.rankers.result import TIE_DECIMALS


def ranks(scores: Float, group: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.int64]:
    """(R,) rank of each score within its group: 1 = highest, equals share the best of their ranks.

    scores: (R,) higher is better; equal to 9 decimals is a tie. group: (R,) integer labels, in any order.

    >>> ranks(np.array([0.5, 0.9, 0.5, 0.1, 7.0]), np.array([0, 0, 0, 0, 1])).tolist()
    [2, 1, 2, 4, 1]
    """
    return _first_and_last(scores, group)[0]


def average_ranks(scores: Float, group: npt.NDArray[np.integer[Any]]) -> Float:
    """(R,) like ranks, but equals share the mean of the ranks they take up.

    >>> average_ranks(np.array([0.5, 0.9, 0.5, 0.1, 7.0]), np.array([0, 0, 0, 0, 1])).tolist()
    [2.5, 1.0, 2.5, 4.0, 1.0]
    """
    first, last = _first_and_last(scores, group)
    mean: Float = (first + last) / 2
    return mean


def _first_and_last(
    scores: Float, group: npt.NDArray[np.integer[Any]]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(R,) the first and the last place that each response's run of equal scores takes up in its group."""
    if len(scores) == 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    rounded = np.round(scores, TIE_DECIMALS)
    order = np.lexsort((-rounded, group))
    place = np.arange(len(order))
    new_group = np.r_[True, np.diff(group[order]) != 0]
    new_run = new_group | np.r_[True, np.diff(rounded[order]) != 0]
    group_start = np.maximum.accumulate(np.where(new_group, place, 0))
    run = np.cumsum(new_run) - 1
    run_start = np.flatnonzero(new_run)
    run_end = np.r_[run_start[1:], len(order)]
    first, last = np.empty(len(order), dtype=np.int64), np.empty(len(order), dtype=np.int64)
    first[order] = run_start[run] - group_start + 1
    last[order] = run_end[run] - group_start
    return first, last
