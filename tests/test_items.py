"""Drawing items: properties of every item for any ranking."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.sampling.items import CANDIDATES, DRAWS, Rule, draw_items
from curate.sampling.sets import band_sets, choose, random_groups
from curate.sampling.world import generator
from schemas.items import DIFFICULTIES

RANKS = st.lists(st.integers(1, 6), min_size=2, max_size=14).map(np.array)


def ranked(**prompts: list[int]) -> pl.DataFrame:
    """Return the input of draw_items from prompt -> ranks of its responses."""
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
            "covariance": [0.5 * (i == j) for j in range(len(ranks))],
            "place": i,
            "text": i,
        }
        for prompt, ranks in sorted(prompts.items())
        for i, rank in enumerate(ranks)
    ]
    return pl.DataFrame(rows, schema_overrides={"video": pl.String, "model": pl.String})


FOUR = Rule("4way", 4, 5, strict=True)
PAIR = Rule("pairwise", 2, 5, strict=True)
GROUPS = Rule("train", 4, 5, strict=False)


@settings(max_examples=60, deadline=None)
@given(RANKS, st.integers(2, 4), st.integers(1, 30), st.integers(0, 99))
def test_strict_sets_are_distinct_and_have_one_best(ranks: np.ndarray, size: int, items: int, seed: int) -> None:
    if len(ranks) < size:
        return
    sets = band_sets(ranks, size, items, generator(seed))
    assert len(sets) <= items
    assert len({frozenset(row.tolist()) for row in sets}) == len(sets)
    for row in sets:
        assert len(set(row.tolist())) == size
        assert np.all(ranks[row[0]] < ranks[row[1:]])


@settings(max_examples=60, deadline=None)
@given(RANKS, st.integers(0, 99))
def test_every_strict_pair_of_two_bands_is_a_candidate(ranks: np.ndarray, seed: int) -> None:
    """All sets are candidates if they are few: a prompt has none only if its best half is tied."""
    sets = band_sets(ranks, 2, 10_000, generator(seed))
    ordered = np.sort(ranks)
    half = -(-len(ranks) // 2)
    assert len(sets) == np.sum(ordered[:half, None] < ordered[half:])


@settings(max_examples=60, deadline=None)
@given(RANKS, st.integers(2, 5), st.integers(1, 30), st.integers(0, 99))
def test_random_groups_are_distinct_and_not_all_equal(ranks: np.ndarray, size: int, items: int, seed: int) -> None:
    groups, _ = random_groups(ranks, size, items, generator(seed))
    assert len(groups) <= items
    assert len({frozenset(group.tolist()) for group in groups}) == len(groups)
    for group in groups:
        assert 2 <= len(set(group.tolist())) == len(group) <= size
        assert len(np.unique(ranks[group])) > 1


def test_a_round_uses_every_response_once() -> None:
    groups, equal = random_groups(np.arange(11), 4, 3, generator(1))
    assert sorted(np.concatenate(groups).tolist()) == list(range(11))
    assert [len(group) for group in groups] == [4, 4, 3]
    assert equal == 0


def test_equal_groups_are_counted_once() -> None:
    groups, equal = random_groups(np.array([1, 1, 2, 2]), 2, 100, generator(0))
    assert {frozenset(group.tolist()) for group in groups} == {
        frozenset(pair) for pair in combinations(range(4), 2) if set(pair) not in ({0, 1}, {2, 3})
    }
    assert equal == 2


def test_a_set_has_one_response_per_band() -> None:
    sets = band_sets(np.arange(1, 17), 4, 300, generator(0))
    assert len(sets) == 4**4
    assert np.array_equal(np.sort(sets // 4, axis=1), np.tile(np.arange(4), (len(sets), 1)))


def test_large_prompts_are_sampled() -> None:
    sets = band_sets(np.arange(1000), 10, CANDIDATES, generator(0))
    assert len({frozenset(row.tolist()) for row in sets}) == len(sets) == CANDIDATES


def items_of(frame: pl.DataFrame, rule: Rule, **options: float) -> pl.DataFrame:
    return draw_items(frame, rule, **options).items


def test_training_items_of_a_prompt_do_not_depend_on_other_prompts() -> None:
    both = items_of(ranked(p=[1, 2, 3, 4, 5, 6], q=[2, 1, 3, 4, 5]), GROUPS)
    alone = items_of(ranked(q=[2, 1, 3, 4, 5]), GROUPS)
    assert both.filter(pl.col("prompt_id") == "q").drop("difficulty").equals(alone.drop("difficulty"))


def test_seed_and_config_change_the_draw() -> None:
    frame = ranked(p=list(range(1, 17)))
    draws = [items_of(frame, FOUR, seed=0), items_of(frame, FOUR, seed=1)]
    draws += [items_of(frame, Rule("other", 4, 5, strict=True), seed=0)]
    assert len({tuple(map(tuple, items["response_ids"].to_list())) for items in draws}) == 3


def test_ranks_within_an_item_agree_with_the_ranking_and_ties_are_kept() -> None:
    items = items_of(ranked(p=[3, 1, 1, 4]), Rule("train", 0, 4, strict=False))
    assert len(items) == 1  # the whole ranking is one item, however many are asked for
    found = dict(zip(items["response_ids"][0], items["ranks"][0], strict=True))
    assert found == {"00": 3, "01": 1, "02": 1, "03": 4}
    assert items["best"][0] is None
    assert items.select("confidence", "margin", "difficulty").row(0) == (None, None, None)


def test_scores_texts_and_best_match_their_responses() -> None:
    items = items_of(ranked(p=[5, 4, 3, 2, 1]), FOUR)
    for row in items.to_dicts():
        ids = row["response_ids"]
        assert row["responses"] == [f"text {int(i)}" for i in ids]
        assert row["scores"] == [-(5.0 - int(i)) for i in ids]
        assert ids[row["best"]] == max(ids)
        assert sorted(row["ranks"]) == [1, 2, 3, 4]


def test_exclusions_are_counted() -> None:
    frame = ranked(few=[1, 2, 3], tied=[1, 1, 1, 1], fine=[1, 2, 3, 4])
    assert draw_items(frame, FOUR).excluded == {
        "prompt: best rank shared in every set": 1,
        "prompt: too few responses": 1,
    }
    assert draw_items(frame, PAIR).excluded == {"prompt: best rank shared in every set": 1}
    assert draw_items(frame, GROUPS).excluded == {"item: all ranks equal": 1}
    assert draw_items(ranked(one=[1]), GROUPS).excluded == {"prompt: too few responses": 1}
    sure = draw_items(ranked(fine=[1, 2, 3, 4]), FOUR, min_confidence=0.9999)
    assert (len(sure.items), sure.candidates, sure.eligible) == (0, 1, 0)
    assert sure.excluded == {"prompt: every set below min_confidence, or without a clear best": 1}


def test_training_items_below_min_confidence_are_excluded_and_counted() -> None:
    frame, rule = ranked(p=[1, 1, 3, 4, 5, 6, 7, 8]), Rule("train", 3, 40, strict=False)
    everything = items_of(frame, rule)
    kept = draw_items(frame, rule, min_confidence=0.9)
    certain = everything.filter(pl.col("confidence") >= 0.9)
    assert kept.items.drop("difficulty").equals(certain.drop("difficulty"))
    assert 0 < len(kept.items) == kept.eligible < len(everything) == kept.candidates
    shared = kept.excluded["item: best rank shared"]
    assert shared == everything["best"].null_count() > 0
    assert kept.excluded["item: below min_confidence"] == len(everything) - len(kept.items) - shared


def test_strict_items_are_drawn_from_all_eligible_sets() -> None:
    """Eligibility is checked before the draw: a prompt gets its items if it has the sets."""
    frame = ranked(p=list(range(1, 17)))
    some, all_sets = draw_items(frame, FOUR, min_confidence=0.97), items_of(frame, Rule("4way", 4, 256, strict=True))
    assert (some.candidates, some.eligible) == (256, (all_sets["confidence"] >= 0.97).sum())
    assert 5 < some.eligible < 256
    assert len(some.items) == 5
    assert some.items["confidence"].min() >= 0.97
    assert set(some.items["item_id"]) <= set(all_sets["item_id"])


def test_no_prompts_give_no_items() -> None:
    for rule in (FOUR, GROUPS):
        drawn = draw_items(ranked(p=[1, 2]).clear(), rule)
        assert (len(drawn.items), drawn.candidates, drawn.excluded, len(drawn.scores)) == (0, 0, {}, 0)


# Balance.


def campaign(prompts: int = 30, models: int = 12, *, known: bool = True, seed: int = 0) -> pl.DataFrame:
    """Return prompts that each rank all models, with different orders and strengths."""
    rng = np.random.default_rng(seed)
    frame = ranked(**{f"p{i:03d}": (1 + rng.permutation(models)).tolist() for i in range(prompts)})
    model = [f"m{i % models:02d}" if known else None for i in range(len(frame))]
    strength = -0.4 * frame["rank"] + pl.Series(rng.normal(0, 0.1, len(frame)))
    return frame.with_columns(model=pl.Series(model, dtype=pl.String), strength=strength)


def spread(values: pl.Series) -> int:
    counts = values.value_counts(name="n")["n"]
    return int(counts.max() - counts.min())


def test_the_best_has_each_position_equally_often() -> None:
    for prompts in (9, 10, 11):
        items = items_of(campaign(prompts), Rule("4way", 4, 3, strict=True))
        assert (len(items), spread(items["best"])) == (prompts * 3, (prompts * 3) % 4 > 0)


def test_positions_of_the_others_are_random() -> None:
    items = items_of(campaign(200), FOUR)
    second = np.array([ranks.index(2) for ranks in items["ranks"].to_list()])
    counts = np.bincount(second, minlength=4)
    assert np.all(np.abs(counts - 250) < 4 * np.sqrt(1000 * 0.25 * 0.75))  # four standard errors


def test_difficulties_and_models_are_balanced() -> None:
    items = items_of(campaign(), FOUR)
    best = pl.Series([models[at] for models, at in zip(items["models"], items["best"], strict=True)])
    assert len(items) == 150
    assert spread(items["difficulty"]) <= 1
    assert spread(items["models"].explode()) <= 2  # drawn at random: 14
    assert spread(best) <= 5  # at random: 17


def test_difficulty_depends_on_the_margin_to_the_strongest_other() -> None:
    frame = campaign()
    items = items_of(frame, FOUR)
    strength = {(p, r): s for p, r, s in frame.select("prompt_id", "response_id", "strength").iter_rows()}
    for row in items.to_dicts():
        of = [strength[row["prompt_id"], response] for response in row["response_ids"]]
        own = of.pop(row["best"])
        assert row["margin"] == pytest.approx(own - max(of))
    hard, medium, easy = (items.filter(pl.col("difficulty") == name)["margin"] for name in DIFFICULTIES)
    assert hard.max() <= medium.min() <= medium.max() <= easy.min()


def test_difficulties_are_terciles_of_all_eligible_sets() -> None:
    drawn = draw_items(campaign(20), Rule("4way", 4, 81, strict=True))
    assert len(drawn.items) == drawn.eligible == 20 * 3**4
    for name in DIFFICULTIES:  # nine sets share a gap: the best and the second, with any third and fourth
        assert abs((drawn.items["difficulty"] == name).sum() - 540) <= 9


def test_without_models_the_responses_of_a_prompt_are_balanced() -> None:
    """A response of an unknown model counts as its own model: three items of four use twelve responses once."""
    items = items_of(campaign(known=False), Rule("4way", 4, 3, strict=True))
    per_prompt = items.group_by("prompt_id").agg(pl.col("response_ids").explode().n_unique().alias("distinct"))
    assert per_prompt["distinct"].mean() > 11


def test_the_choice_equals_the_reference() -> None:
    """The reference: each choice adds least to the sum of squares of all counts."""
    rng = np.random.default_rng(3)
    sets = np.concatenate([np.stack([rng.permutation(6)[:3] for _ in range(7)]) + 6 * p for p in range(5)])
    difficulty, prompt = rng.integers(0, 3, len(sets)), np.repeat(np.arange(5), 6)
    model = np.concatenate([rng.permutation(8)[:6] for _ in range(5)])

    def total(taken: list[int]) -> int:
        members = sets[taken]
        counted = (difficulty[taken], model[members[:, 0]], model[members].ravel(), members.ravel())
        return sum(int((np.bincount(values) ** 2).sum()) for values in counted)

    chosen = choose(sets, difficulty, model, prompt, 4, generator(0)).tolist()
    plain: list[int] = []
    order = np.argsort(generator(0).random(5), kind="stable")
    for _ in range(4):
        for p in order:
            free = [s for s in range(7 * p, 7 * p + 7) if s not in plain]
            plain.append(min(free, key=lambda s: total([*plain, s])))
    assert sorted(chosen) == sorted(plain)
    assert [c // 7 for c in chosen] == sorted(c // 7 for c in plain)


# Scores of a perfect judge.


def test_mean_score_of_a_perfect_judge_is_the_mean_confidence() -> None:
    drawn = draw_items(campaign(20), FOUR)
    assert len(drawn.scores) == DRAWS
    assert drawn.scores.mean() == pytest.approx(
        drawn.items["confidence"].mean(), abs=4 * drawn.scores.std() / DRAWS**0.5
    )


def test_labels_of_one_prompt_are_wrong_together() -> None:
    """If all others are equally strong with certainty, the best beats all of them or none."""
    covariance = [[float(i == j or min(i, j) > 0) for j in range(5)] for i in range(5)]
    frame = ranked(p=[1, 2, 2, 2, 2]).with_columns(
        strength=pl.Series([0.0] + [-0.2] * 4), covariance=pl.Series(covariance)
    )
    drawn = draw_items(frame, Rule("pairwise", 2, 8, strict=True))
    assert len(drawn.items) == 2
    assert set(drawn.scores) == {0.0, 1.0}


def test_a_common_uncertainty_does_not_lower_the_confidence() -> None:
    """A shift shared by all responses of a prompt does not change their order."""
    frame = ranked(p=[1, 2, 3, 4])
    shifted = frame.with_columns(covariance=frame["covariance"].list.eval(pl.element() + 25.0))
    assert items_of(shifted, FOUR)["confidence"][0] == pytest.approx(items_of(frame, FOUR)["confidence"][0], abs=1e-6)


def test_excluded_rows_keep_their_place_in_the_covariances() -> None:
    frame = ranked(p=[1, 2, 3, 4, 5])
    wide = frame.with_columns(
        covariance=pl.Series([[9.0, *row[:2], 9.0, *row[2:]] for row in frame["covariance"].to_list()]),
        place=pl.Series([1, 2, 4, 5, 6]),
    )
    assert items_of(wide, FOUR).equals(items_of(frame, FOUR))


def correlated(size: int, seed: int) -> pl.DataFrame:
    """One prompt whose strengths have a full covariance."""
    rng = np.random.default_rng(seed)
    frame = ranked(p=list(range(1, size + 1)))
    root = rng.normal(size=(size, size))
    covariance = 0.3 * root @ root.T + 0.2 * np.eye(size)
    return frame.with_columns(
        strength=pl.Series(-0.5 * np.arange(size) + rng.normal(0, 0.2, size)),
        covariance=pl.Series(covariance.tolist()),
    )


def test_best_probabilities_equal_draws_from_the_posterior() -> None:
    """For each response, in any order of the item."""
    frame = correlated(7, 0)
    mean, covariance = frame["strength"].to_numpy(), np.array(frame["covariance"].to_list())
    drawn = np.random.default_rng(1).multivariate_normal(mean, covariance, 200_000)
    items = draw_items(frame, FOUR)
    assert len(items.items) == 5
    for row in items.items.to_dicts():
        members = [int(name) for name in row["response_ids"]]
        share = np.bincount(drawn[:, members].argmax(axis=1), minlength=4) / len(drawn)
        assert row["best_probabilities"] == pytest.approx(share, abs=0.005)
        assert max(share) - min(share) > 0.1, "else nothing could be wrong"


@pytest.mark.parametrize("rule", [FOUR, PAIR, GROUPS, Rule("all", 0, 1, strict=False)], ids=lambda rule: rule.name)
def test_best_probabilities_sum_to_one_and_match_the_confidence(rule: Rule) -> None:
    frame = pl.concat([correlated(size, size).with_columns(prompt_id=pl.lit(f"p{size}")) for size in (4, 6, 9)])
    items = draw_items(frame, rule).items
    assert len(items) >= 3
    for row in items.to_dicts():
        assert len(row["best_probabilities"]) == len(row["responses"])
        assert sum(row["best_probabilities"]) == pytest.approx(1)
        assert min(row["best_probabilities"]) >= 0
        assert row["best_probabilities"][row["best"]] == pytest.approx(row["confidence"], abs=5e-3)


def test_an_item_with_a_shared_best_has_probabilities_too() -> None:
    items = draw_items(ranked(p=[1, 1, 2]), Rule("all", 0, 1, strict=False)).items
    assert items["best"].to_list() == [None]
    (probabilities,) = items["best_probabilities"].to_list()
    assert sorted(probabilities)[1] == pytest.approx(sorted(probabilities)[2])
    assert sum(probabilities) == pytest.approx(1)
