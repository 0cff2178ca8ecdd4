"""Parsing a batch whose bad parts must be found: all at once where it is clean, by halves where it is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")


def parse_by_halves(
    parse: Callable[[int, int], T], lo: int, hi: int, failures: tuple[type[Exception], ...]
) -> tuple[list[T], npt.NDArray[np.int64]]:
    """(parsed pieces in order, positions that cannot be parsed) of the items lo … hi − 1.

    ``parse(lo, hi)`` reads a range or raises one of ``failures``. k bad items among n cost about k log₂ n calls.
    """
    if lo == hi:
        return [], np.empty(0, np.int64)
    try:
        return [parse(lo, hi)], np.empty(0, np.int64)
    except failures:
        if hi - lo == 1:
            return [], np.array([lo])
    middle = (lo + hi) // 2
    left, bad_left = parse_by_halves(parse, lo, middle, failures)
    right, bad_right = parse_by_halves(parse, middle, hi, failures)
    return left + right, np.concatenate([bad_left, bad_right])
