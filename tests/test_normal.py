"""The normal distribution of compiled kernels, against scipy's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from curate.compiled import compiled
from curate.uncertainty.normal import END, below, value_below

Float = npt.NDArray[np.float64]


@compiled
def all_below(x: Float) -> Float:
    chances = np.empty(len(x))
    for i in range(len(x)):
        chances[i] = below(x[i])
    return chances


@compiled
def all_values(p: Float) -> Float:
    values = np.empty(len(p))
    for i in range(len(p)):
        values[i] = value_below(p[i])
    return values


def test_the_chance_below_is_scipys() -> None:
    x = np.concatenate([np.linspace(-END, END, 100_001), np.random.default_rng(0).normal(size=100_000)])
    assert np.abs(all_below(x) - ndtr(x)).max() < 1e-15


def test_a_small_chance_is_right_to_nine_digits_of_its_own() -> None:
    x = np.linspace(-END + 0.02, 0, 10_001)
    assert np.abs(all_below(x) / ndtr(x) - 1).max() < 1e-9


def test_far_out_it_is_certain() -> None:
    assert all_below(np.array([-np.inf, -1e300, -END, END, 1e300, np.inf])).tolist() == [0, 0, 0, 1, 1, 1]


def test_the_value_below_is_scipys() -> None:
    p = np.concatenate([np.linspace(0, 1, 100_001)[1:-1], 10.0 ** -np.linspace(0.1, 300, 10_001)])
    assert np.abs(all_values(p) - ndtri(p)).max() < 1e-13
    assert np.abs(all_values(p)[p != 0.5] / ndtri(p)[p != 0.5] - 1).max() < 1e-11


def test_one_undoes_the_other() -> None:
    p = np.linspace(0, 1, 10_001)[1:-1]
    assert np.abs(all_below(all_values(p)) - p).max() < 1e-15
