"""The contract of rankers, tested for every built-in one, and the arithmetic of the ensemble."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from curate.rankers.base import Ranker, ranking_of, ranks
from curate.rankers.bradley_terry import BradleyTerry
from curate.rankers.crowd_bt import CrowdBT
from curate.rankers.ensemble import Ensemble, combine
from curate.rankers.registry import build
from curate.rankers.win_rate import WinRate
from curate.votes.arrays import VoteArrays
from schemas.config import BradleyTerryConfig, DenoiseConfig, FeedbackArcSetConfig, PageRankConfig
from schemas.rankers import BUILT_IN
from tests.strategies import prompt_sets, random_wins, relabelled, reversed_votes, votes_from, votes_from_wins

NAMES = list(BUILT_IN)
CLEAR = votes_from(
    [("p", "best", "middle", "left"), ("p", "middle", "worst", "left"), ("p", "best", "worst", "left")] * 3
)
NOISY = votes_from_wins(*(random_wins(size, 1.5, seed) for seed, size in enumerate([2, 5, 8, 8, 11])))


@pytest.fixture(params=NAMES)
def ranker(request: pytest.FixtureRequest) -> Ranker:
    return build(request.param, DenoiseConfig())


def test_build_passes_the_hyperparameters() -> None:
    config = DenoiseConfig(
        bradley_terry=BradleyTerryConfig(ridge=0.7),
        pagerank=PageRankConfig(damping=0.6),
        feedback_arc_set=FeedbackArcSetConfig(max_states=5, max_nodes=6, max_steps=7, max_total_steps=8, prove=False),
        effort="high",
    )
    assert build("bradley-terry", config) == BradleyTerry(ridge=0.7)
    assert repr(build("pagerank", config)) == "PageRank(damping=0.6)"
    assert repr(build("rate-pagerank", config)) == "RatePageRank(damping=0.6)"
    limits = "max_states=50, max_nodes=60, max_steps=70.0, max_total_steps=80.0"
    inner = f"FeedbackArcSet({limits}, prove=False, solver='search', ridge=0.7)"
    assert repr(build("feedback-arc-set", config)) == inner
    assert repr(build("weighted-feedback-arc-set", config)) == f"WeightedFeedbackArcSet(inner={inner})"
    crowd = build("crowd-bt", config)
    assert isinstance(crowd, CrowdBT)
    assert crowd.ridge == 0.7


def test_clear_votes_rank_clearly(ranker: Ranker) -> None:
    best, middle, worst = ranker(CLEAR).scores
    assert best > middle > worst


def test_cost_is_the_weight_of_disagreeing_votes(ranker: Ranker) -> None:
    """A vote against the order costs its weight; a tie, or a vote on tied responses, half of it."""
    ranking = ranker(NOISY)
    expected = np.zeros(len(NOISY.prompts))
    for left, right, outcome, weight in zip(NOISY.left, NOISY.right, NOISY.outcome, NOISY.weight, strict=True):
        difference = round(ranking.scores[left], 9) - round(ranking.scores[right], 9)
        against = {0: difference < 0, 1: difference > 0}.get(outcome, True) if difference else True
        half = outcome > 1 or difference == 0
        expected[NOISY.response_prompt[left]] += weight * against * (0.5 if half else 1.0)
    np.testing.assert_allclose(ranking.cost, expected)
    assert ranker(CLEAR).cost.tolist() == [0.0]


def test_rankings_have_the_documented_shapes_and_converge(ranker: Ranker) -> None:
    ranking = ranker(NOISY)
    prompts, responses = len(NOISY.prompts), len(NOISY.responses)
    assert ranking.scores.shape == (responses,)
    assert ranking.converged.shape == ranking.n_iter.shape == ranking.cost.shape == ranking.bound.shape == (prompts,)
    assert ranking.converged.all()
    assert not (ranking.bound > ranking.cost).any()


@pytest.mark.parametrize("name", NAMES)
def test_renaming_annotators_has_no_effect(name: str) -> None:
    ranker, people = build(name, DenoiseConfig()), 6
    annotator = np.random.default_rng(0).integers(-1, people, len(NOISY.left)).astype(np.int32)
    other = np.append(np.random.default_rng(1).permutation(people), -1).astype(np.int32)
    named = replace(NOISY, annotator=annotator, annotators=tuple("abcdef"))
    renamed = replace(named, annotator=other[annotator])
    np.testing.assert_allclose(ranker(renamed).scores, ranker(named).scores, atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(votes=prompt_sets())
@pytest.mark.parametrize("name", NAMES)
def test_scores_are_finite_for_any_graph(name: str, votes: VoteArrays) -> None:
    assert np.isfinite(build(name, DenoiseConfig())(votes).scores).all()


def test_undefeated_disconnected_and_voteless_responses_have_finite_scores(ranker: Ranker) -> None:
    rows = [("p", "a", "b", "left"), ("p", "c", "d", "left"), ("q", "x", "y", "tie"), ("q", "y", "x", "tie")]
    votes = votes_from(rows, silent=[("p", "nobody"), ("z", "alone")])
    ranking = ranker(votes)
    assert np.isfinite(ranking.scores).all()
    a, b, c, d, _, x, y, _ = ranking.scores
    assert a > b
    assert c > d
    assert x == pytest.approx(y)
    assert ranking.converged.all()


def test_without_votes_all_responses_are_tied(ranker: Ranker) -> None:
    ranking = ranker(votes_from([], silent=[("p", "a"), ("p", "b"), ("q", "c")]))
    assert ranking.scores[0] == ranking.scores[1]
    assert ranking.cost.tolist() == [0.0, 0.0]


def test_no_prompts_give_an_empty_ranking(ranker: Ranker) -> None:
    ranking = ranker(votes_from([]))
    assert len(ranking.scores) == len(ranking.cost) == 0


def test_renumbering_responses_renumbers_the_ranking(ranker: Ranker) -> None:
    renumbered, new = relabelled(NOISY, seed=1)
    np.testing.assert_allclose(ranker(renumbered).scores[new], ranker(NOISY).scores, atol=1e-8)


@pytest.mark.parametrize(
    "ranker", [name for name in NAMES if name not in ("hierarchical", "model-means")], indirect=True
)
def test_a_prompt_has_the_same_ranking_alone_and_among_others(ranker: Ranker) -> None:
    """For rankers that do not pool prompts; no vote here has an annotator."""
    alone = ranker(votes_from_wins(random_wins(8, 1.5, seed=2)))
    start, end = NOISY.offsets[2:4]
    np.testing.assert_allclose(ranker(NOISY).scores[start:end], alone.scores, atol=1e-12)


@pytest.mark.parametrize("name", ["bradley-terry", "crowd-bt", "rate-pagerank", "win-rate", "borda"])
def test_reversing_all_votes_reverses_the_order(name: str) -> None:
    ranker = build(name, DenoiseConfig())
    scores, opposite = ranker(NOISY).scores, ranker(reversed_votes(NOISY)).scores
    np.testing.assert_allclose(opposite - opposite.mean(), scores.mean() - scores, atol=1e-8)


def test_doubling_all_votes_doubles_the_feedback_arc_cost() -> None:
    ranker = build("feedback-arc-set", DenoiseConfig())
    once, twice = ranker(NOISY), ranker(replace(NOISY, weight=NOISY.weight * 2))
    np.testing.assert_allclose(twice.cost, 2 * once.cost)
    np.testing.assert_allclose(twice.bound, 2 * once.bound)


def test_win_rate_counts_votes_and_borda_counts_pairs() -> None:
    votes = votes_from([("p", "a", "b", "left")] * 3 + [("p", "a", "c", "right"), ("p", "a", "c", "tie")])
    assert WinRate()(votes).scores.tolist() == pytest.approx([3.5 / 5, 0.0, 1.5 / 2])
    borda = build("borda", DenoiseConfig())(votes).scores.tolist()
    assert borda == pytest.approx([(1 + 0.25) / 2, (0 + 0.5) / 2, (0.75 + 0.5) / 2])


def test_the_ensemble_is_the_weighted_mean_of_normalised_ranks() -> None:
    votes = votes_from([], silent=[("p", "a"), ("p", "b"), ("p", "c"), ("q", "only")])
    first = ranking_of(votes, np.array([3.0, 2.0, 1.0, 0.0]), bound=np.array([2.0, np.nan]))
    second = ranking_of(votes, np.array([5.0, 9.0, 5.0, 0.0]), converged=np.array([True, False]))
    together = combine(votes, [first, second], [1, 3])
    assert together.scores.tolist() == [1 * 0.25 + 0.25 * 0.75, 0.5 * 0.25 + 1 * 0.75, 0.25 * 0.75, 1.0]
    assert together.converged.tolist() == [True, False]
    assert together.bound[0] == 2.0
    assert np.isnan(together.bound[1])


def test_an_ensemble_of_one_ranks_as_its_member() -> None:
    alone = BradleyTerry()(NOISY)
    ensemble = Ensemble((("bradley-terry", BradleyTerry(), 2.0),))(NOISY)
    same = ranks(ensemble.scores, NOISY.response_prompt) == ranks(alone.scores, NOISY.response_prompt)
    assert same.all()


def test_an_ensemble_without_weight_is_rejected() -> None:
    with pytest.raises(ValueError, match="not all 0"):
        Ensemble((("win-rate", WinRate(), 0.0),))


def test_ranks_are_counted_within_groups_and_ties_share_the_best() -> None:
    scores = np.array([0.2, 0.9, 0.9 + 1e-12, 0.1, 0.5, 0.6])
    assert ranks(scores, np.array([7, 7, 7, 7, 3, 3])).tolist() == [3, 1, 1, 4, 2, 1]
