"""Drawing items: what every item promises, whatever the ranking."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.confidence import best_probability
from curate.items import CANDIDATES, Rule, deal, draw_items, draw_prompt, draw_strict, generator

RANKS = st.lists(st.integers(1, 6), min_size=2, max_size=14).map(np.array)


def ranked(**prompts: list[int]) -> pl.DataFrame:
    """What draw_items reads: prompt -> ranks of its responses."""
    rows = [
        {
            "prompt_id": prompt,
            "prompt": "?",
            "video": None,
            "response_id": f"{i:02d}",
            "model": None,
            "response": f"text {i}",
            "rank": rank,
            "score": -float(rank),
            "strength": -float(rank),
            "strength_se": 0.7,
        }
        for prompt, ranks in sorted(prompts.items())
        for i, rank in enumerate(ranks)
    ]
    return pl.DataFrame(rows, schema_overrides={"video": pl.String, "model": pl.String})


FOUR = Rule("4way", 4, 5, strict=True)
PAIR = Rule("pairwise", 2, 5, strict=True)
DEALT = Rule("train", 4, 5, strict=False)


@settings(max_examples=60, deadline=None)
@given(RANKS, st.integers(2, 4), st.integers(1, 30), st.integers(0, 99))
def test_strict_sets_are_distinct_and_have_one_best(ranks: np.ndarray, size: int, items: int, seed: int) -> None:
    if len(ranks) < size:
        return
    sets = draw_strict(ranks, size, items, generator(seed))
    assert len(sets) <= items
    assert len({frozenset(row.tolist()) for row in sets}) == len(sets)
    for row in sets:
        assert len(set(row.tolist())) == size
        assert np.sum(ranks[row] == ranks[row].min()) == 1


@settings(max_examples=60, deadline=None)
@given(RANKS, st.integers(0, 99))
def test_every_strict_pair_of_the_two_bands_is_found(ranks: np.ndarray, seed: int) -> None:
    """All sets are candidates where they are few: a prompt comes out empty only if its best half is one tie."""
    sets = draw_strict(ranks, 2, 10_000, generator(seed))
    ordered = np.sort(ranks)
    half = -(-len(ranks) // 2)
    assert len(sets) == np.sum(ordered[:half, None] < ordered[half:])


@settings(max_examples=60, deadline=None)
@given(RANKS, st.integers(2, 5), st.integers(1, 30), st.integers(0, 99))
def test_dealt_groups_are_distinct_and_say_something(ranks: np.ndarray, size: int, items: int, seed: int) -> None:
    groups, _ = deal(ranks, size, items, generator(seed))
    assert len(groups) <= items
    assert len({frozenset(group.tolist()) for group in groups}) == len(groups)
    for group in groups:
        assert 2 <= len(set(group.tolist())) == len(group) <= size
        assert len(np.unique(ranks[group])) > 1


def test_a_round_deals_every_response_once() -> None:
    groups, equal = deal(np.arange(11), 4, 3, generator(1))
    assert sorted(np.concatenate(groups).tolist()) == list(range(11))
    assert [len(group) for group in groups] == [4, 4, 3]
    assert equal == 0


def test_equal_groups_are_counted_once_each() -> None:
    groups, equal = deal(np.array([1, 1, 2, 2]), 2, 100, generator(0))
    assert {frozenset(group.tolist()) for group in groups} == {
        frozenset(pair) for pair in combinations(range(4), 2) if set(pair) not in ({0, 1}, {2, 3})
    }
    assert equal == 2


def test_a_set_spans_the_ranking() -> None:
    sets = draw_strict(np.arange(1, 17), 4, 200, generator(0))
    assert sorted({int(row.min()) // 4 for row in sets}) == [0]
    assert np.array_equal(np.sort(sets // 4, axis=1), np.tile(np.arange(4), (len(sets), 1)))


def test_large_prompts_are_drawn_without_listing_all_sets() -> None:
    sets = draw_strict(np.arange(1000), 10, CANDIDATES, generator(0))
    assert len({frozenset(row.tolist()) for row in sets}) == len(sets) == CANDIDATES


def test_position_says_nothing() -> None:
    first = [
        position
        for seed in range(200)
        for position in np.argmin(draw_strict(np.arange(1, 9), 4, 10, generator(seed)), axis=1)
    ]
    share = np.bincount(first, minlength=4) / len(first)
    assert np.all(np.abs(share - 0.25) < 0.04)  # 2,000 draws: four standard errors


def test_items_of_a_prompt_do_not_depend_on_other_prompts() -> None:
    both, _ = draw_items(ranked(p=[1, 2, 3, 4, 5, 6], q=[2, 1, 3, 4, 5]), FOUR)
    alone, _ = draw_items(ranked(q=[2, 1, 3, 4, 5]), FOUR)
    assert both.filter(pl.col("prompt_id") == "q").equals(alone)


def test_seed_and_config_change_the_draw() -> None:
    frame = ranked(p=list(range(1, 17)))
    draws = [draw_items(frame, FOUR, seed=0), draw_items(frame, FOUR, seed=1)]
    draws += [draw_items(frame, Rule("other", 4, 5, strict=True), seed=0)]
    assert len({tuple(map(tuple, items["response_ids"].to_list())) for items, _ in draws}) == 3


def test_ranks_within_an_item_agree_with_the_ranking_and_ties_are_kept() -> None:
    items, _ = draw_items(ranked(p=[3, 1, 1, 4]), Rule("train", 0, 4, strict=False))
    assert len(items) == 1  # the whole ranking is one item, however many are asked for
    found = dict(zip(items["response_ids"][0], items["ranks"][0], strict=True))
    assert found == {"00": 3, "01": 1, "02": 1, "03": 4}
    assert items["best"][0] is None
    assert items["confidence"][0] is None


def test_scores_texts_and_best_stand_with_their_responses() -> None:
    items, _ = draw_items(ranked(p=[5, 4, 3, 2, 1]), FOUR)
    for row in items.to_dicts():
        ids = row["response_ids"]
        assert row["responses"] == [f"text {int(i)}" for i in ids]
        assert row["scores"] == [-(5.0 - int(i)) for i in ids]
        assert ids[row["best"]] == max(ids)
        assert sorted(row["ranks"]) == [1, 2, 3, 4]


def test_what_cannot_be_drawn_is_counted() -> None:
    frame = ranked(few=[1, 2, 3], tied=[1, 1, 1, 1], fine=[1, 2, 3, 4])
    assert draw_items(frame, FOUR)[1] == {"prompt: best rank shared in every set": 1, "prompt: too few responses": 1}
    assert draw_items(frame, PAIR)[1] == {"prompt: best rank shared in every set": 1}
    assert draw_items(frame, DEALT)[1] == {"item: all ranks equal": 1}
    assert draw_prompt(np.array([1]), DEALT, generator(0)) == ([], {"prompt: too few responses": 1})


def test_min_confidence_leaves_out_and_counts() -> None:
    frame = ranked(p=[1, 1, 3, 4, 5, 6, 7, 8])
    everything, _ = draw_items(frame, Rule("train", 3, 40, strict=False))
    kept, left_out = draw_items(frame, Rule("train", 3, 40, strict=False), min_confidence=0.9)
    assert kept.equals(everything.filter(pl.col("confidence") >= 0.9))
    assert 0 < len(kept) < len(everything)
    assert left_out["item: best rank shared"] == everything["best"].null_count() > 0
    assert left_out["item: below min_confidence"] == len(everything) - len(kept) - left_out["item: best rank shared"]


def test_nothing_in_nothing_out() -> None:
    items, left_out = draw_items(ranked(p=[1, 2]).clear(), FOUR)
    assert (len(items), left_out) == (0, {})


def test_confidence_of_a_pair_is_the_normal_one() -> None:
    """P(X > Y) = Φ((μ_x − μ_y) / √(σ_x² + σ_y²))."""
    from scipy.special import ndtr

    mean, se = np.array([[1.0, 0.3], [0.0, 2.0]]), np.array([[0.5, 1.2], [1.0, 0.2]])
    exact = ndtr(np.array([0.7, -2.0]) / np.sqrt((se**2).sum(axis=1)))
    assert best_probability(mean, se, np.array([0, 0])) == pytest.approx(exact, abs=1e-7)


def test_confidence_agrees_with_monte_carlo() -> None:
    rng = np.random.default_rng(0)
    mean, se = rng.normal(size=(6, 5)), rng.uniform(0.2, 1.5, size=(6, 5))
    best = rng.integers(0, 5, size=6)
    draws = 400_000
    simulated = [np.mean(np.argmax(mean[i] + se[i] * rng.normal(size=(draws, 5)), axis=1) == best[i]) for i in range(6)]
    assert best_probability(mean, se, best) == pytest.approx(np.array(simulated), abs=4 * 0.5 / np.sqrt(draws))


def test_confidences_of_all_responses_sum_to_one() -> None:
    rng = np.random.default_rng(1)
    mean, se = np.tile(rng.normal(size=7), (7, 1)), np.tile(rng.uniform(0.3, 1, size=7), (7, 1))
    assert best_probability(mean, se, np.arange(7)).sum() == pytest.approx(1, abs=1e-7)
