"""The bootstrap: stacked samples equal separate ones, annotators are resampled whole, intervals cover the truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from curate.rankers.base import ranks
from curate.rankers.bradley_terry import BradleyTerry
from curate.rankers.registry import build, spec_of
from curate.rankers.win_rate import WinRate
from curate.simulation.world import simulate_world
from curate.uncertainty import bootstrap
from curate.uncertainty.bootstrap import bootstrap_ranks, resampling_units, stack_samples
from curate.uncertainty.intervals import RankIntervals, percentile_intervals
from curate.votes import VoteArrays
from schemas.config import DenoiseConfig, SimulateConfig
from schemas.rankers import BUILT_IN
from tests.strategies import random_wins, votes_from, votes_from_wins

WORLD = simulate_world(SimulateConfig(prompts=4, models=6, annotators=12, votes_per_pair=3, seed=1))
VOTES = WORLD.votes


def one_by_one(name: str, draws: int, seed: int) -> np.ndarray:
    """The reference: every sample is a separate VoteArrays."""
    rng, cluster = np.random.default_rng(seed), resampling_units(VOTES)
    number = cluster.max() + 1
    found = []
    for _ in range(draws):
        times = rng.poisson(1.0, number)[cluster]
        drawn = replace(VOTES.of_votes(times > 0), weight=VOTES.weight[times > 0] * times[times > 0])
        found.append(ranks(build(name, DenoiseConfig())(drawn).scores, VOTES.response_prompt))
    return np.stack(found)


def win_rate_draws(draws: int, *, seed: int) -> np.ndarray:
    return bootstrap_ranks(VOTES, WinRate(), group=VOTES.response_prompt, pools=False, draws=draws, seed=seed)


def bradley_terry_intervals(votes: VoteArrays, draws: int = 50) -> RankIntervals:
    ranker, group = BradleyTerry(), votes.response_prompt
    return percentile_intervals(*bootstrap_ranks(votes, ranker, group=group, pools=False, draws=draws, seed=0))


@pytest.mark.parametrize("name", [name for name in BUILT_IN if name != "weighted-feedback-arc-set"])
def test_stacked_samples_rank_as_separate_ones(name: str) -> None:
    ranker = build(name, DenoiseConfig())
    pools = spec_of(name).pools_prompts
    found = bootstrap_ranks(VOTES, ranker, group=VOTES.response_prompt, pools=pools, draws=4, seed=3)
    np.testing.assert_array_equal(found[0], one_by_one(name, 4, 3))


@pytest.mark.parametrize("name", ["bradley-terry", "pagerank", "feedback-arc-set"])
def test_equal_votes_may_be_merged_where_annotators_do_not_matter(name: str) -> None:
    few = VOTES.of_prompts(np.arange(4) == 0)
    votes = few.of_votes(np.tile(np.arange(len(few.left)), 5))
    votes = replace(votes, annotator=np.random.default_rng(0).integers(0, 12, len(votes.left)).astype(np.int32))
    options = {"group": votes.response_prompt, "pools": False, "draws": 6, "seed": 1}
    whole, merged = (
        bootstrap_ranks(votes, build(name, DenoiseConfig()), annotators=a, **options) for a in (True, False)
    )
    np.testing.assert_array_equal(merged, whole)


def test_stacked_samples_have_separate_annotators() -> None:
    """But a prior: a response in a hundred may stand elsewhere."""
    name: str = "weighted-feedback-arc-set"
    found = bootstrap_ranks(
        VOTES, build(name, DenoiseConfig()), group=VOTES.response_prompt, pools=False, draws=8, seed=3
    )
    assert (found[0] == one_by_one(name, 8, 3)).mean() > 0.95


def test_samples_do_not_depend_on_the_stack_size(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bootstrap_ranks(VOTES, WinRate(), group=VOTES.response_prompt, pools=False, draws=7, seed=0)
    monkeypatch.setattr(bootstrap, "CHUNK", 3 * len(VOTES.left))
    np.testing.assert_array_equal(
        bootstrap_ranks(VOTES, WinRate(), group=VOTES.response_prompt, pools=False, draws=7, seed=0), whole
    )


def test_the_seed_determines_the_samples() -> None:
    one, two, three = (
        bootstrap_ranks(VOTES, WinRate(), group=VOTES.response_prompt, pools=False, draws=20, seed=seed)
        for seed in (0, 0, 1)
    )
    assert (one == two).all()
    assert (one != three).any()


def test_annotators_are_resampled_whole() -> None:
    cluster = resampling_units(VOTES)
    people = len(np.unique(VOTES.annotator))
    assert np.unique(np.stack([cluster, VOTES.annotator]), axis=1).shape[1] == cluster.max() + 1 == people


def test_anonymous_votes_are_resampled_by_ranking_or_singly() -> None:
    votes = votes_from([("p", "a", "b", "left")] * 5)
    votes = replace(votes, group=np.array([2, -1, 2, -1, 0], dtype=np.int32))
    cluster = resampling_units(votes)
    assert cluster[0] == cluster[2]
    assert len(set(cluster)) == cluster.max() + 1 == 4


def test_votes_of_few_annotators_are_resampled_singly() -> None:
    """Prompt p has one annotator, q has five (the same one among them)."""
    rows = [("p", "a", "b", "left")] * 4 + [("q", "a", "b", "left")] * 6
    votes = replace(
        votes_from(rows), annotator=np.array([0] * 4 + [0, 0, 1, 2, 3, 4], dtype=np.int32), annotators=tuple("vwxyz")
    )
    cluster = resampling_units(votes)
    assert len(set(cluster[:4])) == 4
    assert len(set(cluster[4:])) == 5
    assert cluster[4] == cluster[5]
    assert not set(cluster[:4]) & set(cluster[4:])


def test_a_stack_renumbers_each_sample() -> None:
    votes = replace(VOTES, group=np.where(np.arange(len(VOTES.left)) < 3, 0, -1).astype(np.int32))
    times = np.ones((2, len(votes.left)), dtype=np.int64)
    times[1, 0], times[1, 1] = 0, 3
    stack = stack_samples(votes, times)
    half = len(votes.left)
    assert len(stack.left) == 2 * half - 1
    assert stack.weight[half] == 3.0
    assert (stack.response_prompt[stack.left] == stack.response_prompt[stack.right]).all()
    assert stack.left[half:].min() >= len(votes.responses)
    assert set(stack.annotator[half:]) == {a + 12 for a in votes.annotator[1:]}
    assert stack.group[:4].tolist() == [0, 0, 0, -1]
    assert stack.group[half : half + 3].tolist() == [1, 1, -1]
    assert len(stack.prompts) == 2 * len(votes.prompts)
    assert len(stack.responses) == len(stack.response_model) == 2 * len(votes.responses)


def test_interval_ends_are_drawn_ranks() -> None:
    draws = np.array([[1, 2, 3]] * 90 + [[2, 1, 3]] * 8 + [[3, 1, 2]] * 2)
    low, high = percentile_intervals(draws, draws)
    assert low.tolist() == [1, 1, 3]
    assert high.tolist() == [2, 2, 3]
    low, high = percentile_intervals(draws, draws, level=0.5)
    assert low.tolist() == high.tolist() == [1, 2, 3]


def test_interval_is_narrow_for_clear_votes_and_wide_for_even_ones() -> None:
    clear = votes_from([("p", "a", "b", "left")] * 30 + [("p", "b", "c", "left")] * 30)
    low, high = bradley_terry_intervals(clear)
    assert low.tolist() == high.tolist() == [1, 2, 3]
    even = votes_from([("p", "a", "b", "left"), ("p", "a", "b", "right")] * 15)
    low, high = bradley_terry_intervals(even)
    assert (low.tolist(), high.tolist()) == ([1, 1], [2, 2])


@pytest.mark.parametrize("group", [[0, 0, 0], [0, 0, 1]])
def test_one_or_two_equal_rankings_do_not_determine_any_rank(group: list[int]) -> None:
    """They are missing in 37% and 14% of the samples, where all responses tie."""
    rows = [("p", "a", "b", "left"), ("p", "b", "c", "left"), ("p", "a", "c", "left")]
    votes = replace(votes_from(rows), group=np.array(group, dtype=np.int32))
    low, high = bradley_terry_intervals(votes, draws=100)
    assert (low.tolist(), high.tolist()) == ([1, 1, 1], [3, 3, 3])


def test_intervals_cover_the_true_rank_at_the_stated_rate() -> None:
    world = simulate_world(SimulateConfig(prompts=40, models=8, annotators=40, votes_per_pair=3, seed=2))
    low, high = bradley_terry_intervals(world.votes, draws=100)
    truth = world.responses.rank.ravel()
    assert 0.84 < ((low <= truth) & (truth <= high)).mean() < 0.97
    assert (high - low).mean() < 5


def test_ranks_are_counted_within_groups() -> None:
    votes = votes_from_wins(random_wins(6, 2.0, seed=0))
    group = np.array([0, 0, 1, 1, 1, 2])
    drawn = bootstrap_ranks(votes, WinRate(), group=group, draws=10, seed=0)
    assert drawn.max() <= 3
    assert (drawn[:, :, 5] == 1).all()


def test_no_votes_and_no_responses() -> None:
    silent = votes_from([], silent=[("p", "a"), ("p", "b")])
    drawn = bootstrap_ranks(silent, WinRate(), group=silent.response_prompt, draws=3, seed=0)
    assert (drawn == [[[1]], [[2]]]).all()
    empty = votes_from([])
    assert bootstrap_ranks(empty, WinRate(), group=empty.response_prompt, draws=3, seed=0).shape == (2, 3, 0)
