"""The weighted feedback arc set: equal to the plain one without annotators, better with spammers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from curate.evaluation.agreement import kendall_tau
from curate.rankers.base import ranking_of
from curate.rankers.bradley_terry import fit
from curate.rankers.feedback_arc_set import FeedbackArcSet, WeightedFeedbackArcSet
from curate.rankers.feedback_arc_set.weighted import accuracies, chosen_is_better, relative_odds
from curate.votes.arrays import VoteArrays
from tests.strategies import prompt_sets, random_wins, votes_from, votes_from_wins

RIDGE = 0.1


def fixed_errors(error: list[float], votes_per_pair: int, seed: int) -> tuple[VoteArrays, np.ndarray]:
    """Return votes on 12 prompts of 8 responses with these error rates, and (R,) the true strengths."""
    rng = np.random.default_rng(seed)
    prompts, size, people = 12, 8, len(error)
    i, j = np.triu_indices(size, 1)
    first = np.repeat(np.arange(prompts) * size, len(i) * votes_per_pair)
    pair = np.tile(np.repeat(np.arange(len(i)), votes_per_pair), prompts)
    left, right = (first + i[pair]).astype(np.int32), (first + j[pair]).astype(np.int32)
    truth = np.concatenate([rng.permutation(size) for _ in range(prompts)]).astype(np.float64)
    who = rng.integers(0, people, len(left)).astype(np.int32)
    wrong = rng.random(len(left)) < np.array(error)[who]
    votes = votes_from([], silent=[(f"p{p:02}", f"r{r}") for p in range(prompts) for r in range(size)])
    return replace(
        votes,
        left=left,
        right=right,
        outcome=np.where((truth[left] > truth[right]) ^ wrong, 0, 1).astype(np.int8),
        weight=np.ones(len(left)),
        sides_known=np.ones(len(left), dtype=np.bool_),
        annotator=who,
        group=np.full(len(left), -1, dtype=np.int32),
        annotators=tuple(f"a{k:02}" for k in range(people)),
    ), truth


@settings(max_examples=15, deadline=None)
@given(votes=prompt_sets())
def test_without_annotators_it_equals_the_feedback_arc_set(votes: VoteArrays) -> None:
    weighted, plain = WeightedFeedbackArcSet()(votes), FeedbackArcSet()(votes)
    np.testing.assert_array_equal(weighted.scores, plain.scores)
    np.testing.assert_array_equal(weighted.cost, plain.cost)
    np.testing.assert_array_equal(weighted.converged, plain.converged)
    assert np.isnan(weighted.bound).all()


def test_accuracies_are_recovered() -> None:
    error = [0.05] * 4 + [0.25] * 4 + [0.5] * 4
    votes, _ = fixed_errors(error, 12, seed=0)
    found = accuracies(votes, RIDGE)[:-1].reshape(3, 4).mean(axis=1)
    np.testing.assert_allclose(found, [0.95, 0.75, 0.5], atol=0.06)


def test_with_spammers_the_order_is_closer_to_the_truth() -> None:
    votes, truth = fixed_errors([0.15] * 6 + [0.5] * 6, 4, seed=1)
    tau = [
        kendall_tau(ranker(votes).scores, truth, votes.offsets).mean()
        for ranker in (WeightedFeedbackArcSet(), FeedbackArcSet())
    ]
    assert tau[0] > tau[1] + 0.02


def test_a_vote_does_not_count_as_evidence_for_itself() -> None:
    """Random votes agree with an order fitted to them, but with that of the other votes only at chance level."""
    votes, _ = fixed_errors([0.5] * 20, 1, seed=2)
    difference = FeedbackArcSet()(votes).scores
    assert np.mean((difference[votes.left] > difference[votes.right]) == (votes.outcome == 0)) > 0.65
    assert chosen_is_better(votes, RIDGE).mean() == pytest.approx(0.5, abs=0.06)
    assert accuracies(votes, RIDGE).mean() < 0.58


def test_one_newton_step_without_a_vote_approximates_the_fit_without_it() -> None:
    votes = votes_from_wins(random_wins(6, 3.0, seed=3))
    votes = replace(votes, weight=np.where(votes.weight > 1, 1.0, votes.weight))
    probability = chosen_is_better(votes, RIDGE)
    for v in range(len(votes.left)):
        others = np.arange(len(votes.left)) != v
        rest = replace(votes, weight=votes.weight * others)
        [graphs] = rest.graphs
        strength = fit(graphs.wins, RIDGE).strength[0]
        sigma = 1 / (1 + np.exp(strength[None] - strength[:, None]))
        flow = (graphs.wins[0] + graphs.wins[0].T) * sigma * (1 - sigma)
        spread = np.linalg.inv(np.diag(flow.sum(axis=1)) - flow + RIDGE * np.eye(6))
        i, j = votes.left[v], votes.right[v]
        z = (strength[i] - strength[j]) / np.sqrt(spread[i, i] + spread[j, j] - 2 * spread[i, j])
        direct = 0.5 * (1 + np.tanh(z * 0.7978845608 * (1 + 0.044715 * z * z)))  # Φ within .001
        assert probability[v] == pytest.approx(direct, abs=0.03)


def test_annotators_with_few_votes_stay_near_the_average() -> None:
    votes, _ = fixed_errors([0.1] * 10, 4, seed=4)
    error = [0.1] * 10
    stranger = replace(votes, annotators=(*votes.annotators, "stranger"), annotator=votes.annotator.copy())
    wrong = int(np.flatnonzero(chosen_is_better(votes, RIDGE) < 0.1)[0])
    stranger.annotator[wrong] = len(error)
    found = accuracies(stranger, RIDGE)
    assert 0.75 < found[len(error)] < found[: len(error)].min()


def test_no_vote_is_inverted_or_ignored() -> None:
    votes, _ = fixed_errors([0.1] * 6 + [0.9], 4, seed=5)
    assert accuracies(votes, RIDGE)[6] == 0.5
    assert relative_odds(accuracies(votes, RIDGE), votes).min() == 0
    alone = replace(votes_from([("p", "a", "b", "right")]), annotator=np.array([0], dtype=np.int32), annotators=("x",))
    assert np.argmax(WeightedFeedbackArcSet()(alone).scores) == 1


def test_odds_have_mean_one_over_weight() -> None:
    votes, _ = fixed_errors([0.1, 0.3, 0.5], 2, seed=6)
    weighted = replace(votes, weight=np.linspace(0.1, 0.4, len(votes.left)))
    assert np.average(relative_odds(accuracies(weighted, RIDGE), weighted), weights=weighted.weight) == pytest.approx(1)


def test_cost_is_in_the_weights_of_the_votes() -> None:
    votes, _ = fixed_errors([0.1] * 6 + [0.5] * 6, 2, seed=7)
    ranking = WeightedFeedbackArcSet()(votes)
    np.testing.assert_array_equal(ranking.cost, ranking_of(votes, ranking.scores).cost)
    assert (ranking.cost >= FeedbackArcSet()(votes).bound).all()
