"""Probabilities under normal posteriors against closed forms, quadrature, scipy and draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri
from scipy.stats import multivariate_normal

from curate.array_types import Float
from curate.uncertainty.posterior import (
    Posterior,
    beats,
    best_probabilities,
    best_probability,
    cholesky,
    count_correct,
    draw_strengths,
    orthant_probability,
)

GRID = np.linspace(-9.0, 9.0, 2001)


def independent(mean: Float, deviation: Float, best: int) -> float:
    """∫ φ(z) ∏_{j≠b} Φ((μ_b + σ_b z − μ_j) / σ_j) dz by the trapezoid rule: P(b is the strongest), all independent."""
    weight = np.exp(-(GRID**2) / 2)
    at = mean[best] + deviation[best] * GRID
    others = [ndtr((at - mean[j]) / deviation[j]) for j in range(len(mean)) if j != best]
    return float(np.prod(others, axis=0) @ weight / weight.sum())


def by_scipy(mean: Float, covariance: Float, best: int) -> float:
    difference = np.delete(-np.eye(len(mean)), best, axis=0)
    difference[:, best] = 1
    return float(
        multivariate_normal.cdf(
            difference @ mean, cov=difference @ covariance @ difference.T, abseps=1e-7, releps=1e-7, maxpts=400_000
        )
    )


def plain_orthant(difference: Float, root: Float, points: Float, weight: Float) -> float:
    """P(root z + difference > 0 in all places) by Genz's separation of variables."""
    product, drawn = np.ones(len(weight)), np.empty((0, len(weight)))
    for k in range(len(difference)):
        probability = ndtr((difference[k] + root[k, :k] @ drawn) / root[k, k])
        product = product * probability
        if k < len(points):
            drawn = np.vstack([drawn, -ndtri(points[k] * probability)])
    return float(product @ weight)


def plain_best(mean: Float, covariance: Float, best: int, points: Float) -> float:
    """``best_probability`` of one item by the plain integral, equal weights, the tightest difference first."""
    contrast = np.delete(-np.eye(len(mean)), best, axis=0)
    contrast[:, best] = 1
    contrast = contrast[np.argsort(contrast @ mean / np.sqrt(np.diag(contrast @ covariance @ contrast.T)))]
    difference, spread = contrast @ mean, contrast @ covariance @ contrast.T
    weight = np.full(points.shape[1], 1 / points.shape[1])
    return plain_orthant(difference, np.linalg.cholesky(spread), points[: len(difference) - 1], weight)


def diagonal(deviation: Float) -> Float:
    return deviation[..., None] ** 2 * np.eye(deviation.shape[-1])


def any_covariance(rng: np.random.Generator, size: int, rank: int) -> Float:
    loads = rng.normal(size=(size, rank)) * rng.uniform(0.2, 1.0)
    return loads @ loads.T


def test_of_two_it_is_the_normal_cdf_of_the_difference() -> None:
    """P(X > Y) = Φ((μ_x − μ_y) / √(σ_x² + σ_y² − 2 c))."""
    mean, covariance = np.array([[1.0, 0.3]]), np.array([[[0.25, 0.2], [0.2, 1.44]]])
    assert best_probability(mean, covariance, np.array([0])) == pytest.approx(
        [ndtr(0.7 / np.sqrt(0.25 + 1.44 - 0.4))], abs=1e-15
    )


def test_of_three_with_equal_means_it_is_sheppards_formula() -> None:
    """P(both differences above 0) = ¼ + arcsin(ρ) / 2π, ρ their correlation (Sheppard, 1899)."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        c = any_covariance(rng, 3, 5)
        own = [c[0, 0] + c[j, j] - 2 * c[0, j] for j in (1, 2)]
        correlation = (c[0, 0] - c[0, 1] - c[0, 2] + c[1, 2]) / np.sqrt(own[0] * own[1])
        exact = 0.25 + np.arcsin(correlation) / (2 * np.pi)
        assert best_probability(np.zeros((1, 3)), c[None], np.array([0]))[0] == pytest.approx(exact, abs=1e-5)


@pytest.mark.parametrize(("size", "error"), [(3, 1e-5), (4, 1e-5), (5, 2e-5), (8, 2e-3), (19, 2e-3), (40, 2e-3)])
def test_of_independent_strengths_it_equals_quadrature(size: int, error: float) -> None:
    rng = np.random.default_rng(size)
    mean, deviation = rng.normal(0, 1.5, (50, size)), rng.uniform(0.2, 1.5, (50, size))
    for best in (rng.integers(0, size, 50), mean.argmax(axis=1)):
        exact = [independent(*row) for row in zip(mean, deviation, best, strict=True)]
        assert best_probability(mean, diagonal(deviation), best) == pytest.approx(exact, abs=error)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "error"), [(3, 2e-5), (4, 1e-4), (5, 2e-4), (8, 2e-3)])
def test_of_dependent_strengths_it_equals_scipy(size: int, error: float) -> None:
    rng = np.random.default_rng(size)
    mean = rng.normal(size=(12 if size < 8 else 4, size))
    covariance = np.stack([any_covariance(rng, size, size + 2) + 0.02 * np.eye(size) for _ in mean])
    best = mean.argmax(axis=1)
    exact = [by_scipy(*row) for row in zip(mean, covariance, best, strict=True)]
    assert best_probability(mean, covariance, best) == pytest.approx(exact, abs=error)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 20), st.integers(0, 10_000))
def test_the_batched_integral_equals_the_plain_one(size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    difference, root = (
        rng.normal(size=(3, size)),
        np.linalg.cholesky(any_covariance(rng, size, size + 2) + 0.05 * np.eye(size)),
    )
    points, weight = rng.uniform(1e-4, 1 - 1e-4, (max(size - 1, 0), 50)), rng.dirichlet(np.ones(50))
    plain = [plain_orthant(row, root, points, weight) for row in difference]
    assert orthant_probability(difference, np.stack([root] * 3), points, weight) == pytest.approx(
        plain, rel=1e-9, abs=1e-15
    )


def test_of_many_dependent_strengths_it_equals_a_fine_lattice() -> None:
    """Small probabilities use fewer points; their error stays below 3e-3."""
    rng = np.random.default_rng(19)
    lattice = np.outer([pow(1714, k, 8191) for k in range(18)], np.arange(8191)) % 8191
    points = 1 - np.abs(2 * (lattice + 0.5) / 8191 - 1)
    for _ in range(3):
        mean, covariance = rng.normal(size=19), any_covariance(rng, 19, 22) / 8 + 0.1 * np.eye(19)
        probabilities = best_probabilities(mean[None], covariance[None])[0]
        fine = [plain_best(mean, covariance, best, points) for best in range(19)]
        assert probabilities == pytest.approx(fine, abs=3e-3)


def test_one_and_all_probabilities_are_equal() -> None:
    rng = np.random.default_rng(3)
    for size in (1, 2, 4, 19):
        mean = rng.normal(size=(5, size))
        covariance = np.stack([any_covariance(rng, size, size + 2) for _ in mean])
        each = [best_probability(mean, covariance, np.full(5, k)) for k in range(size)]
        assert best_probabilities(mean, covariance).tolist() == np.stack(each, axis=1).tolist()


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 7), st.integers(0, 10_000))
def test_probabilities_of_all_responses_sum_to_one(size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mean, covariance = rng.normal(size=size), any_covariance(rng, size, size + 1) + 0.01 * np.eye(size)
    probabilities = best_probability(np.tile(mean, (size, 1)), np.tile(covariance, (size, 1, 1)), np.arange(size))
    assert np.all((probabilities >= 0) & (probabilities <= 1))
    assert probabilities.sum() == pytest.approx(1, abs=1e-3 if size < 6 else 4e-3)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 6), st.integers(0, 10_000), st.floats(-5, 5), st.floats(0, 30))
def test_a_common_shift_has_no_effect(size: int, seed: int, shift: float, common: float) -> None:
    rng = np.random.default_rng(seed)
    mean, covariance = rng.normal(size=(1, size)), (any_covariance(rng, size, size + 1) + 0.1 * np.eye(size))[None]
    best = rng.integers(0, size, 1)
    moved = best_probability(mean + shift, covariance + common, best)
    assert moved == pytest.approx(best_probability(mean, covariance, best), abs=1e-9)


@pytest.mark.parametrize("size", [3, 4, 6])
def test_singular_covariances_agree_with_draws(size: int) -> None:
    rng = np.random.default_rng(size)
    for rank in range(1, size):
        mean, covariance = rng.normal(size=size), any_covariance(rng, size, rank)
        drawn = draw_strengths(mean, covariance, 200_000, rng).argmax(axis=0)
        for best in range(size):
            probability = best_probability(mean[None], covariance[None], np.array([best]))[0]
            assert probability == pytest.approx((drawn == best).mean(), abs=1e-2)


def test_certain_strengths_give_zero_or_one() -> None:
    for size in (2, 3, 5):
        mean, best = np.arange(size, dtype=np.float64)[None], np.array([size - 1])
        for covariance in (np.zeros((1, size, size)), np.ones((1, size, size))):
            assert best_probability(mean, covariance, best)[0] == 1
            assert best_probability(mean, covariance, best - 1)[0] == 0
    assert best_probability(np.zeros((1, 2)), np.zeros((1, 2, 2)), np.array([0]))[0] == 0.5
    assert best_probability(np.zeros((2, 1)), np.ones((2, 1, 1)), np.array([0, 0])).tolist() == [1, 1]
    assert len(best_probability(np.zeros((0, 4)), np.zeros((0, 4, 4)), np.zeros(0, dtype=np.int64))) == 0


def test_extreme_differences_stay_probabilities() -> None:
    mean = np.array([[0.0, 80.0, 81.0, -80.0], [90.0, 0.0, 0.0, 0.0]])
    probabilities = best_probability(mean, np.tile(np.eye(4), (2, 1, 1)), np.array([0, 0]))
    assert probabilities == pytest.approx([0, 1], abs=1e-12)


def test_two_identical_responses_count_once() -> None:
    """Two responses with identical strengths count as one opponent."""
    mean, covariance = np.array([[0.3, 0.0, 0.1]]), np.eye(3)[None]
    at = [0, 1, 1, 2]
    doubled = best_probability(mean[:, at], covariance[:, at][:, :, at], np.array([0]))
    assert doubled == pytest.approx(best_probability(mean, covariance, np.array([0])), abs=1e-4)


def test_an_item_does_not_depend_on_the_others() -> None:
    rng = np.random.default_rng(5)
    mean, covariance = rng.normal(size=(1500, 4)), np.tile(np.eye(4), (1500, 1, 1))
    best = rng.integers(0, 4, 1500)
    one_by_one = [best_probability(mean[i : i + 1], covariance[:1], best[i : i + 1])[0] for i in range(0, 1500, 100)]
    assert best_probability(mean, covariance, best)[::100].tolist() == one_by_one


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 8), st.integers(0, 10_000))
def test_beats_equals_best_of_two(size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mean, covariance = rng.normal(size=(3, size)), np.stack([any_covariance(rng, size, size + 1) for _ in range(3)])
    probabilities = beats(mean, covariance)
    assert probabilities + probabilities.swapaxes(1, 2) == pytest.approx(np.ones_like(probabilities))
    for i in range(size):
        for j in set(range(size)) - {i}:
            pair = np.array([i, j])
            exact = best_probability(mean[:, pair], covariance[:, pair][:, :, pair], np.zeros(3, dtype=np.int64))
            assert probabilities[:, i, j] == pytest.approx(exact, abs=1e-12)


def test_beats_of_one_prompt_and_of_certain_strengths() -> None:
    assert beats(np.array([1.0, 0.0, 0.0]), np.zeros((3, 3))).tolist() == [[0.5, 1, 1], [0, 0.5, 0.5], [0, 0.5, 0.5]]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(1, 10), st.integers(0, 10_000))
def test_cholesky_factor_reproduces_the_covariance(size: int, rank: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    covariance = any_covariance(rng, size, rank)
    root = cholesky(covariance[None])[0]
    assert np.array_equal(root, np.tril(root))
    assert root @ root.T == pytest.approx(covariance, abs=1e-4 * covariance.max() + 1e-12)


def test_draws_have_the_given_mean_and_covariance() -> None:
    mean, covariance = np.array([1.0, -2.0, 0.5]), any_covariance(np.random.default_rng(1), 3, 4)
    drawn = draw_strengths(mean, covariance, 200_000, np.random.default_rng(2))
    assert drawn.mean(axis=1) == pytest.approx(mean, abs=1e-6)
    assert np.cov(drawn) == pytest.approx(covariance, abs=0.03)


def test_correct_labels_are_counted_per_draw() -> None:
    strength = np.random.default_rng(0).normal(size=(6, 40)).astype(np.float32)
    sets, best = np.array([[0, 1, 2], [5, 3, 0]]), np.array([2, 0])
    plain = [strength[rows].argmax(axis=0) == label for rows, label in zip(sets, best, strict=True)]
    assert count_correct(strength, sets, best).tolist() == np.sum(plain, axis=0).tolist()
    ties = np.zeros((6, 40), dtype=np.float32)
    assert not count_correct(ties, sets, best).any()


def test_posterior_looks_up_the_covariances_of_its_rows() -> None:
    """Two prompts: rows 0 to 1 are responses 0 and 2 of three, rows 2 to 3 both of two."""
    first, second = np.arange(9.0).reshape(3, 3), 10 + np.arange(4.0).reshape(2, 2)
    lists = [first[0], first[2], second[0], second[1]]
    posterior = Posterior(
        strength=np.array([1.0, 2.0, 3.0, 4.0]),
        covariance=np.concatenate(lists),
        first=np.array([0, 3, 6, 8]),
        place=np.array([0, 2, 0, 1]),
    )
    mean, covariance = posterior.of(np.array([[1, 0], [2, 3]]))
    assert mean.tolist() == [[2, 1], [3, 4]]
    assert covariance.tolist() == [first[[2, 0]][:, [2, 0]].tolist(), second.tolist()]
