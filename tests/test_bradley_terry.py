"""Bradley-Terry against choix, against a general optimiser, and against a published table."""

from __future__ import annotations

import choix
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from curate.rankers.bradley_terry import BradleyTerry, covariance, fit
from curate.votes.arrays import VoteArrays
from tests.strategies import prompt_sets, random_wins, votes_from, votes_from_wins, wins_matrices


def reference_mode(wins: np.ndarray, ridge: float) -> np.ndarray:
    """(N,) the mode, by scipy's BFGS on the log-posterior written out."""

    def loss(theta: np.ndarray) -> float:
        difference = theta[:, None] - theta[None, :]
        return float((wins * np.logaddexp(0, -difference)).sum() + ridge / 2 * (theta**2).sum())

    return np.asarray(minimize(loss, np.zeros(len(wins)), method="BFGS", options={"gtol": 1e-8}).x)


def plain_gradient(wins: np.ndarray, theta: np.ndarray, ridge: float) -> np.ndarray:
    """(N,) gradient of the log-posterior."""
    probability = 1 / (1 + np.exp(theta[None, :] - theta[:, None]))
    surplus = wins - (wins + wins.T) * probability
    return np.asarray(surplus.sum(axis=1) - ridge * theta)


def plain_precision(wins: np.ndarray, theta: np.ndarray, ridge: float) -> np.ndarray:
    """(N, N) negative Hessian of the log-posterior."""
    probability = 1 / (1 + np.exp(theta[None, :] - theta[:, None]))
    information = (wins + wins.T) * probability * (1 - probability)
    return np.asarray(np.diag(information.sum(axis=1) + ridge) - information)


@settings(max_examples=60, deadline=None)
@given(
    wins=wins_matrices(7, st.one_of(st.sampled_from([0.5, 1.0, 3.0]), st.floats(1e-6, 1e6))),
    ridge=st.sampled_from([1e-3, 0.1, 2.0]),
)
def test_gradient_vanishes_and_covariance_inverts_the_hessian(wins: list[list[float]], ridge: float) -> None:
    matrix = np.array(wins)
    answer = fit(matrix[None], ridge)
    theta = answer.strength[0]
    assert answer.converged.tolist() == [True]
    busiest = (matrix.sum(axis=0) + matrix.sum(axis=1)).max()
    assert np.abs(plain_gradient(matrix, theta, ridge)).max() <= 2e-10 * (ridge + busiest)
    inverse = covariance(matrix[None], answer.strength, ridge)[0]
    expected = np.linalg.inv(plain_precision(matrix, theta, ridge))
    np.testing.assert_allclose(inverse, expected, rtol=1e-6, atol=1e-9 * np.abs(expected).max())


@settings(max_examples=15, deadline=None)
@given(votes=prompt_sets(max_prompts=2, max_size=5))
def test_strengths_maximise_the_posterior(votes: VoteArrays) -> None:
    scores = BradleyTerry(ridge=0.3)(votes).scores
    for graphs in votes.graphs:
        for slots, wins in zip(graphs.slots, graphs.wins, strict=True):
            np.testing.assert_allclose(scores[slots], reference_mode(wins, 0.3), atol=1e-4)


def test_with_a_vanishing_prior_it_is_choix_maximum_likelihood() -> None:
    wins = np.array(random_wins(9, 12, seed=3)).round()
    pairs = [(i, j) for i in range(9) for j in range(9) for _ in range(int(wins[i, j]))]
    expected = choix.opt_pairwise(9, pairs, alpha=0.0, tol=1e-10)
    np.testing.assert_allclose(fit(wins[None], 1e-9).strength[0], expected - expected.mean(), atol=1e-5)


def test_agresti_baseball() -> None:
    """American League 1987, Agresti, Categorical Data Analysis (2nd ed., 2002), table 10.10 and its estimates."""
    teams = ["Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore"]
    wins = np.array(
        [
            [0, 7, 9, 7, 7, 9, 11],
            [6, 0, 7, 5, 11, 9, 9],
            [4, 6, 0, 7, 7, 8, 12],
            [6, 8, 6, 0, 6, 7, 10],
            [6, 2, 6, 7, 0, 7, 12],
            [4, 4, 5, 6, 6, 0, 6],
            [2, 4, 1, 3, 1, 7, 0],
        ],
        dtype=np.float64,
    )
    strength = fit(wins[None], 1e-9).strength[0]
    published = [1.58, 1.44, 1.29, 1.25, 1.11, 0.68, 0.0]
    assert (strength - strength[teams.index("Baltimore")]).tolist() == pytest.approx(published, abs=0.006)


def test_strengths_have_mean_zero_in_each_prompt() -> None:
    votes = votes_from_wins(random_wins(6, 2, seed=0), random_wins(9, 2, seed=1))
    scores = BradleyTerry()(votes).scores
    assert scores[:6].mean() == pytest.approx(0, abs=1e-12)
    assert scores[6:].mean() == pytest.approx(0, abs=1e-12)


def test_an_undefeated_response_is_finite_and_shrinks_with_the_prior() -> None:
    votes = votes_from([("p", "a", "b", "left")] * 50)
    loose, tight = (BradleyTerry(ridge=ridge)(votes) for ridge in (0.01, 1.0))
    assert loose.converged.all()
    assert np.isfinite(loose.scores).all()
    assert loose.scores[0] > tight.scores[0] > 0


def test_weights_of_any_size_converge() -> None:
    votes = votes_from_wins(*([[0, w, 0], [w / 1000, 0, w], [0, 0, 0]] for w in (1e-9, 1.0, 1e9)))
    ranking = BradleyTerry(ridge=1e-3)(votes)
    assert ranking.converged.all()
    assert ranking.n_iter.max() > 5


def test_a_converged_prompt_does_not_iterate_with_others() -> None:
    easy, hard = votes_from_wins([[0, 1], [1, 0]]), [[0, 1000.0], [1.0, 0]]
    assert BradleyTerry()(easy).n_iter.tolist() == [0]
    together = BradleyTerry()(votes_from_wins([[0, 1], [1, 0]], hard))
    assert together.n_iter[0] == 0
    assert together.n_iter[1] > 3


def test_reaching_max_iterations_is_reported() -> None:
    answer = fit(np.array([[[0, 9.0], [1.0, 0]]]), 0.1, max_iterations=1)
    assert answer.converged.tolist() == [False]
    assert answer.n_iter.tolist() == [1]


def test_covariance_equals_the_closed_form() -> None:
    """Two responses with equally many votes each: the mode is 0 and the curvature has a closed form."""
    wins = np.array([[[0.0, 8.0], [8.0, 0.0]]])
    information = 16 / 4
    variance = (1 / 0.5 + 1 / (0.5 + 2 * information)) / 2  # along (1, 1) and along (1, −1), each of unit length
    assert fit(wins, 0.5).strength.tolist() == [[0.0, 0.0]]
    assert np.diag(covariance(wins, np.zeros((1, 2)), 0.5)[0]).tolist() == pytest.approx([variance] * 2)


def test_a_response_without_votes_keeps_its_prior() -> None:
    wins = np.array([[[0.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]])
    strength = fit(wins, 0.25).strength
    deviation = np.sqrt(np.diag(covariance(wins, strength, 0.25)[0]))
    assert strength[0, 2] == pytest.approx(0)
    assert deviation[2] == pytest.approx(2.0)
    assert deviation[0] < 2.0


def test_a_ridge_of_zero_is_rejected() -> None:
    with pytest.raises(ValueError, match="above 0"):
        BradleyTerry(ridge=0)
