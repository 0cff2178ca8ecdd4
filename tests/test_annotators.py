"""Annotators: agreement, alpha and gold against plain references and published examples, and recommendations."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.annotators import annotators as command
from curate.annotators.gold import Gold, against_gold, wilson
from curate.annotators.recommendations import MIN_VOTES, recommend
from curate.annotators.statistics import Judged, Profiles, disagreement, judged, profiles, tally
from curate.rankers.hierarchical import Hierarchical
from curate.simulation.world import simulate_world
from curate.store import Store
from curate.votes.arrays import VoteArrays
from pipelines import ingest, simulate
from pipelines.annotator_report import annotators
from schemas.config import SimulateConfig
from schemas.errors import CurateError
from tests.strategies import votes_from

PEOPLE = ("ann", "bob", "cat")

Row = tuple[str, str, str, str, str, float]


def votes_of(rows: list[Row]) -> VoteArrays:
    """Votes from (prompt, left, right, outcome, annotator, weight); an empty annotator is anonymous."""
    votes = votes_from([(p, left, right, outcome, w) for p, left, right, outcome, _, w in rows])
    who = [PEOPLE.index(name) if name else -1 for *_, name, _ in rows]
    return replace(votes, annotator=np.array(who, dtype=np.int32), annotators=PEOPLE)


SIDES = [("p", *sides) for sides in permutations("abc", 2)]
ROWS = st.lists(
    st.tuples(
        st.sampled_from(SIDES),
        st.sampled_from(["left", "right", "tie", "both_bad"]),
        st.sampled_from(["", *PEOPLE]),
        st.sampled_from([0.1, 0.2, 0.3, 1.0]),
    ).map(lambda t: (*t[0], *t[1:])),
    min_size=1,
    max_size=25,
)


def preferred(row: Row) -> str:
    """The response a vote is for; for none of them, the outcome."""
    return {"left": row[1], "right": row[2]}.get(row[3], row[3])


# Agreement.


def slow_agreement(rows: list[Row], person: str) -> tuple[float, int]:
    agree = total = 0.0
    compared = 0
    for row in rows:
        pair = {row[1], row[2]}
        if row[4] != person or preferred(row) not in pair:
            continue
        others = [other for other in rows if other[4] != person and {other[1], other[2]} == pair]
        one, two = (round(sum(o[5] for o in others if preferred(o) == name), 6) for name in sorted(pair))
        if one != two:
            compared += 1
            total += row[5]
            agree += row[5] * (preferred(row) == sorted(pair)[one < two])
    return agree / total if total else float("nan"), compared


@given(rows=ROWS)
def test_agreement_equals_the_plain_reference(rows: list[Row]) -> None:
    found = tally(votes_of(rows))
    share, compared = found.agreement, found.compared
    expected = [slow_agreement(rows, person) for person in PEOPLE]
    assert compared.tolist() == [number for _, number in expected]
    np.testing.assert_allclose(share, [value for value, _ in expected])


def test_own_votes_do_not_count_for_the_majority() -> None:
    votes = votes_of([("p", "a", "b", "left", "ann", 9.0), ("p", "b", "a", "left", "bob", 1.0)])
    found = tally(votes)
    share, compared = found.agreement, found.compared
    assert share[:2].tolist() == [0.0, 0.0]
    assert compared.tolist() == [1, 1, 0]


def test_anonymous_votes_count_as_other_annotators() -> None:
    votes = votes_of([("p", "a", "b", "left", "ann", 1.0), ("p", "b", "a", "right", "", 1.0)])
    assert tally(votes).agreement[0] == 1.0


def test_balanced_votes_and_ties_give_no_majority() -> None:
    balanced = [("p", "a", "b", "left", "", 0.3), ("p", "a", "b", "right", "", 0.1), ("p", "b", "a", "left", "", 0.2)]
    votes = votes_of([("p", "a", "b", "left", "ann", 1e3), *balanced, ("p", "a", "b", "both_bad", "bob", 1.0)])
    found = tally(votes)
    share, compared = found.agreement, found.compared
    assert np.isnan(share).all()
    assert compared.tolist() == [0, 0, 0]


def test_pairs_of_a_ranking_have_less_weight_than_votes() -> None:
    """Three pairs of a ranking weigh two votes: ann agrees with 2/3 · 3 of 2/3 · 3 + 1."""
    ranking: list[Row] = [("p", *sides, "left", "ann", 1.0) for sides in (("a", "b"), ("a", "c"), ("b", "c"))]
    others: list[Row] = [(*row[:4], "", 1.0) for row in ranking]
    votes = votes_of([*ranking, ("q", "a", "b", "left", "ann", 1.0), ("q", "a", "b", "right", "", 1.0), *others])
    votes = replace(votes, group=np.array([0, 0, 0, *[-1] * 5], dtype=np.int32))
    assert tally(votes).agreement[0] == pytest.approx(2 / 3)


# Krippendorff's alpha.


def krippendorff(counts: np.ndarray) -> float:
    nobody = np.zeros(0)
    found = disagreement(counts[counts.sum(axis=1) > 1].astype(np.float64))
    return Judged(*found, pairs=0, annotators=nobody > 0, anonymous=0, votes=nobody, undecided=nobody).alpha


def test_alpha_equals_krippendorffs_example_with_missing_values() -> None:
    """Krippendorff, "Computing Krippendorff's Alpha-Reliability", 2011, section C: four observers, alpha 0.743."""
    observers = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]
    counts = np.array([[sum(row[u] == str(c) for row in observers) for c in range(1, 6)] for u in range(12)])
    assert krippendorff(counts) == pytest.approx(0.743, abs=5e-4)


def test_alpha_equals_krippendorffs_binary_example() -> None:
    """The same, section A: Meg and Owen on ten articles, alpha 0.095."""
    both = zip("0100000010", "1110010000", strict=True)
    counts = np.array([[(meg + owen).count("0"), (meg + owen).count("1")] for meg, owen in both])
    assert krippendorff(counts) == pytest.approx(0.095, abs=5e-4)


def test_alpha_does_not_depend_on_names_or_sides() -> None:
    """Ids sorted by quality, shuffled ids, and sides changed about: the same votes have the same alpha."""
    rows: list[Row] = []
    renamed: list[Row] = []
    for u, (ann, bob) in enumerate(zip("0001000000", "0000010000", strict=True)):
        for who, said in (("ann", ann), ("bob", bob)):
            rows.append((f"p{u}", "a", "b", "left" if said == "0" else "right", who, 1.0))
            best, other = ("a", "b") if u % 2 else ("b", "a")
            renamed.append((f"p{u}", other, best, "right" if said == "0" else "left", who, 7.0))
    assert judged(votes_of(renamed)).alpha == pytest.approx(judged(votes_of(rows)).alpha, abs=1e-12)
    assert judged(votes_of(rows)).alpha > 0.5


def slow_alpha(rows: list[Row]) -> float:
    """By the definition: 1 − observed over expected disagreement, over pairs of values."""
    said: dict[tuple[str, ...], dict[object, set[str]]] = {}
    for i, row in enumerate(rows):
        said.setdefault(tuple(sorted(row[1:3])), {}).setdefault(row[4] or i, set()).add(preferred(row))
    units = []
    for (first, second), people in said.items():
        names = {first: "first", second: "second"}
        other = {"first": "second", "second": "first"}
        values = [names.get(value, value) for (value,) in (s for s in people.values() if len(s) == 1)]
        if len(values) > 1:  # both ways round, since nothing makes either response the first
            units += [values, [other.get(value, value) for value in values]]
    pooled = [value for values in units for value in values]
    expected = [a != b for a, b in combinations(pooled, 2)]
    if not any(expected):
        return float("nan")
    observed = sum(2 * sum(a != b for a, b in combinations(v, 2)) / (len(v) - 1) for v in units) / len(pooled)
    return 1 - observed / float(np.mean(expected))


@given(rows=ROWS)
def test_alpha_equals_its_definition(rows: list[Row]) -> None:
    np.testing.assert_allclose(judged(votes_of(rows)).alpha, slow_alpha(rows), atol=1e-12)


@given(rows=ROWS)
def test_alpha_uses_pairs_with_two_consistent_judges(rows: list[Row]) -> None:
    said: dict[frozenset[str], dict[object, set[str]]] = {}
    for i, row in enumerate(rows):
        said.setdefault(frozenset(row[1:3]), {}).setdefault(row[4] or i, set()).add(preferred(row))
    steady = [{who for who, what in people.items() if len(what) == 1} for people in said.values()]
    twice = [people for people in steady if len(people) > 1]
    found = judged(votes_of(rows))
    assert (found.pairs, found.judges) == (len(twice), len(set().union(*twice)))


def test_pairs_of_rankings_do_not_count_for_alpha() -> None:
    votes = votes_of([("p", "a", "b", "left", "ann", 1.0), ("p", "a", "b", "right", "bob", 1.0)])
    assert judged(votes).alpha == pytest.approx(-0.5)
    assert np.isnan(judged(replace(votes, group=np.array([0, 0], dtype=np.int32))).alpha)


# Spammers.


PLANTED = SimulateConfig(prompts=60, models=6, annotators=12, votes_per_pair=4, spammers=0.25, seed=1)


def test_planted_spammers_are_detected() -> None:
    world = simulate_world(PLANTED)
    found = profiles(tally(world.votes), Hierarchical().fit(world.votes).annotators)
    spammer = world.annotators.spammer
    assert spammer.sum() == 3
    assert found.spammer[spammer].min() > 0.5  # the one of 0.69 cast 43 votes that can be compared
    assert found.spammer[~spammer].max() < 0.01
    assert found.agreement[spammer].max() < found.agreement[~spammer].min()
    assert np.all(found.low >= found.spammer)


def test_no_spammers_are_found_without_any_and_most_if_most_are() -> None:
    for share, least, most in ((0.0, 0, 0), (0.7, 5, 7)):
        world = simulate_world(PLANTED.model_copy(update={"spammers": share, "annotators": 10, "seed": 3}))
        suspected = profiles(tally(world.votes), Hierarchical().fit(world.votes).annotators).spammer > 0.5
        assert least <= suspected.sum() <= most
        assert world.annotators.spammer[suspected].all()


def test_planted_spammers_come_first_in_the_report(tmp_path: Path) -> None:
    simulate(tmp_path / "world", config=PLANTED)
    ingest(tmp_path / "world" / "votes.csv", store=tmp_path / "curate.duckdb")
    world = simulate_world(PLANTED)
    spammers = {name for name, spams in zip(world.annotator_ids, world.annotators.spammer, strict=True) if spams}
    report = annotators(tmp_path / "curate.duckdb")
    assert {row.annotator_id for row in report.annotators[:3]} == spammers
    assert report.warnings == ()


def test_annotators_with_few_votes_stay_near_the_prior() -> None:
    world = simulate_world(SimulateConfig(prompts=40, models=5, annotators=10, votes_per_pair=3, seed=2))
    votes = world.votes
    novice = np.where(np.arange(len(votes.left)) == 0, 10, votes.annotator).astype(np.int32)
    votes = replace(votes, annotator=novice, annotators=(*votes.annotators, "new"))
    found = profiles(tally(votes), Hierarchical().fit(votes).annotators)
    assert 1e-4 < found.spammer[10] < 0.5


def test_standard_errors_shrink_with_votes_and_cover_the_truth() -> None:
    world = simulate_world(PLANTED)
    found = profiles(tally(world.votes), Hierarchical().fit(world.votes).annotators)
    order = np.argsort(found.votes)
    assert found.discrimination_se[order[:4]].mean() > 1.5 * found.discrimination_se[order[-4:]].mean()
    assert found.left_bias_se[order[:4]].mean() > 1.5 * found.left_bias_se[order[-4:]].mean()
    off = np.abs(found.left_bias - world.annotators.left_bias) / found.left_bias_se
    assert (off < 3).all()
    assert (off > 0.3).sum() > 3


# Gold.


def gold_of(votes: VoteArrays, golds: list[tuple[tuple[str, str, str], str]]) -> Gold:
    """The annotators against gold given as ((prompt, left, right), outcome)."""
    number = {(votes.prompts[votes.response_prompt[i]], name): i for i, name in enumerate(votes.responses)}
    left = np.array([number[p, a] for (p, a, _), _ in golds], dtype=np.int64)
    right = np.array([number[p, b] for (p, _, b), _ in golds], dtype=np.int64)
    code = [("left", "right", "tie", "both_bad").index(outcome) for _, outcome in golds]
    return against_gold(votes, left, right, np.array(code, dtype=np.int8))


def test_gold_accuracy_ignores_sides_and_counts_both_bad_as_tie() -> None:
    votes = votes_of(
        [
            ("p", "a", "b", "left", "ann", 1.0),
            ("p", "b", "a", "right", "bob", 1.0),
            ("p", "a", "b", "tie", "cat", 1.0),
            ("p", "a", "c", "both_bad", "ann", 1.0),
            ("p", "c", "a", "left", "bob", 1.0),
            ("p", "b", "c", "left", "cat", 1.0),
            ("p", "b", "c", "left", "", 1.0),
        ]
    )
    gold = gold_of(votes, [(("p", "b", "a"), "right"), (("p", "a", "c"), "tie")])
    assert gold.votes.tolist() == [2, 2, 1]
    assert gold.accuracy.tolist() == [1.0, 0.5, 0.0]
    assert (gold.pairs, gold.unvoted, gold.ambiguous) == (2, 0, 0)
    assert gold.mean == pytest.approx(3 / 5)


def test_the_chance_level_uses_the_annotators_rate_of_ties() -> None:
    """ann ties on one of four: 3/8 on a decided pair, 1/4 on a tie."""
    rows: list[Row] = [("p", "a", "b", "left", "ann", 1.0), ("p", "a", "c", "right", "ann", 1.0)]
    rows += [("p", "b", "c", "tie", "ann", 1.0), ("q", "a", "b", "left", "ann", 1.0)]
    votes = votes_of(rows)
    gold = gold_of(votes, [(("p", "a", "b"), "left"), (("p", "a", "c"), "tie")])
    assert gold.chance_level[0] == pytest.approx((3 / 8 + 1 / 4) / 2)
    assert gold.mean_chance_level == pytest.approx(gold.chance_level[0])
    assert np.isnan(gold.accuracy[1:]).all()
    assert np.isnan(gold.high[1:]).all()


def test_ambiguous_gold_is_excluded_and_repeated_gold_counts_once() -> None:
    votes = votes_of([("p", "a", "b", "left", "ann", 1.0), ("p", "a", "c", "left", "ann", 1.0)])
    twice = [(("p", "a", "b"), "left"), (("p", "b", "a"), "right")]
    gold = gold_of(votes, [*twice, (("p", "a", "c"), "left"), (("p", "a", "c"), "right")])
    assert (gold.pairs, gold.ambiguous, gold.votes[0]) == (1, 1, 1)


def slow_gold(rows: list[Row], golds: dict[frozenset[str], str], person: str) -> tuple[float, int]:
    said = [(preferred(row), golds.get(frozenset((row[0], *row[1:3])))) for row in rows if row[4] == person]
    hits = [(mine == truth) for mine, truth in said if truth is not None]
    return (sum(hits) / len(hits) if hits else float("nan")), len(hits)


@given(rows=ROWS, truth=st.lists(st.sampled_from(["a", "b", "c", "tie"]), min_size=3, max_size=3))
def test_gold_accuracy_equals_the_plain_reference(rows: list[Row], truth: list[str]) -> None:
    rows = [(*row[:3], "tie" if row[3] == "both_bad" else row[3], *row[4:]) for row in rows]
    known = {(row[1]) for row in rows} | {row[2] for row in rows}
    golds = {
        frozenset(("p", a, b)): said
        for (a, b), said in zip((("a", "b"), ("a", "c"), ("b", "c")), truth, strict=True)
        if said in (a, b, "tie") and {a, b} <= known
    }
    given = [
        (("p", a, b), {a: "left", b: "right"}.get(said, "tie"))
        for a, b in (("a", "b"), ("a", "c"), ("b", "c"))
        if (said := golds.get(frozenset(("p", a, b)))) is not None
    ]
    found = gold_of(votes_of(rows), given)
    expected = [slow_gold(rows, golds, person) for person in PEOPLE]
    np.testing.assert_allclose(found.accuracy, [share for share, _ in expected])
    assert found.votes.tolist() == [number for _, number in expected]
    asked = [row for row in rows if row[4] and frozenset(row[:3]) in golds]
    assert found.unvoted == len(golds) - len({frozenset(row[:3]) for row in asked})


def test_the_interval_equals_published_wilson_intervals() -> None:
    """Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I, method 3: three examples."""
    share, size = np.array([81 / 263, 15 / 148, 0 / 20]), np.array([263.0, 148.0, 20.0])
    low, high = wilson(share, size)
    np.testing.assert_allclose(low, [0.2553, 0.0624, 0.0], atol=1e-4)
    np.testing.assert_allclose(high, [0.3662, 0.1605, 0.1611], atol=1e-4)


# What to do about each.


def profile(**changes: float) -> Profiles:
    """One careful annotator of 100 votes, but for the changes."""
    usual = {
        "votes": 100.0,
        "agreement": 0.8,
        "compared": 90,
        "discrimination": 1.0,
        "discrimination_se": 0.1,
        "left_bias": 0.1,
        "left_bias_se": 0.2,
        "sided": 100,
        "lefts": 55,
        "tie_share": 0.15,
        "tie_excess": 0.0,
        "tie_excess_se": 0.3,
        "spammer": 0.001,
        "low": 0.01,
    }
    return Profiles(**{name: np.array([value]) for name, value in {**usual, **changes}.items()})


def gold_at(votes: int, accuracy: float) -> Gold:
    """Gold votes of one person, while all people together are right on 0.9 and coins on 0.45."""
    low, high = wilson(np.array([accuracy]), np.array([float(votes)]))
    chance = np.array([0.45 if votes else np.nan])
    return Gold(np.array([votes]), np.array([accuracy]), low, high, chance, 0.9, 0.45, 50, 0, 0)


NO_GOLD = gold_at(0, float("nan"))
PER_PERSON = ("votes", "accuracy", "low", "high", "chance_level")


@pytest.mark.parametrize(
    ("changes", "gold", "expected", "word"),
    [
        ({}, NO_GOLD, "pay", ""),
        ({"left_bias": float("nan"), "left_bias_se": float("nan")}, NO_GOLD, "pay", ""),
        ({"spammer": 0.95, "low": 0.99}, NO_GOLD, "drop", "a spammer with probability 0.95"),
        ({"spammer": 0.5}, NO_GOLD, "watch", "probability 0.50"),
        ({"low": 0.99, "discrimination": 0.4}, NO_GOLD, "retrain", "discrimination 0.40"),
        ({"left_bias": 1.2}, NO_GOLD, "retrain", "left of equal responses 3.3 times"),
        ({"left_bias": -1.2}, NO_GOLD, "retrain", "right of equal responses"),
        ({"left_bias": 1.2, "left_bias_se": 0.4}, NO_GOLD, "pay", ""),
        ({"tie_excess": 2.0, "tie_share": 0.6}, NO_GOLD, "retrain", "ties on 60% of equals, far more"),
        ({"tie_excess": -2.0, "tie_share": 0.02}, NO_GOLD, "retrain", "far less"),
        ({"tie_excess": 2.0, "tie_excess_se": 0.5}, NO_GOLD, "pay", ""),
        ({}, gold_at(100, 0.45), "drop", "0.45 right on 100 gold votes"),
        ({}, gold_at(8, 0.45), "pay", ""),
        ({}, gold_at(4, 0.0), "pay", ""),
        ({}, gold_at(5, 0.0), "drop", "0.00 right on 5 gold votes"),
        ({}, gold_at(100, 0.57), "retrain", "0.57 right on 100"),
        ({"spammer": 0.95, "low": 0.99}, gold_at(60, 0.95), "retrain", "discrimination 1.00"),
        ({"spammer": 0.95}, gold_at(60, 0.95), "watch", "but 0.95 right on 60"),
        ({"spammer": 0.95}, gold_at(4, 1.0), "drop", "spammer"),
    ],
)
def test_each_rule_gives_its_recommendation_and_reason(
    changes: dict[str, float], gold: Gold, expected: str, word: str
) -> None:
    [one] = recommend(profile(**changes), gold)
    assert one.action == expected
    assert word in one.reason
    assert bool(one.reason) == (expected != "pay")


def test_one_sided_annotators_are_dropped_if_sides_are_random() -> None:
    two = {"left_bias": np.array([9.0, 0.0]), "sided": np.array([40, 160]), "lefts": np.array([40, 70])}
    found = replace(profile(), **{name: np.repeat(value, 2) for name, value in vars(profile()).items()} | two)
    gold = replace(NO_GOLD, **{name: np.repeat(getattr(NO_GOLD, name), 2) for name in PER_PERSON})
    first, second = recommend(found, gold)
    assert first == ("drop", "40 of 40 decisive votes for the left side")
    assert second.action == "pay"
    few = replace(found, sided=np.array([20, 160]), lefts=np.array([20, 70]))
    assert recommend(few, gold)[0].action == "retrain"  # 20 of 20 may be 84%
    never_drawn = replace(found, lefts=np.array([40, 150]))
    assert recommend(never_drawn, gold)[0].action == "retrain"


def test_few_votes_are_judged_by_gold_only() -> None:
    worst = {"spammer": 0.99, "low": 0.99, "left_bias": 5.0, "tie_excess": 5.0}
    few_votes = profile(votes=MIN_VOTES - 1.0, **worst)
    [dropped] = recommend(few_votes, gold_at(7, 1 / 7))
    assert dropped == ("drop", "0.14 right on 7 gold votes (chance level 0.45)")
    assert recommend(few_votes, gold_at(7, 2 / 7))[0].action == "retrain"
    assert recommend(few_votes, gold_at(7, 3 / 7))[0].action == "too few votes"
    [few] = recommend(few_votes, gold_at(4, 0.0))
    assert few == ("too few votes", "fewer than 20 votes")
    [enough] = recommend(profile(votes=float(MIN_VOTES), **worst), NO_GOLD)
    assert enough.action == "drop"


def test_gold_at_the_chance_level_is_not_used() -> None:
    blind = replace(gold_at(100, 0.1), mean=0.44)
    assert recommend(profile(), blind)[0].action == "pay"


def test_no_careful_annotator_is_dropped_and_most_spammers_are() -> None:
    world = simulate_world(PLANTED.model_copy(update={"prompts": 120, "annotators": 24, "seed": 7}))
    found = profiles(tally(world.votes), Hierarchical().fit(world.votes).annotators)
    nothing = np.zeros(0, dtype=np.int64)
    done = recommend(found, against_gold(world.votes, nothing, nothing, nothing.astype(np.int8)))
    dropped = np.array([one.action == "drop" for one in done])
    assert not dropped[~world.annotators.spammer].any()
    assert dropped[world.annotators.spammer].mean() > 0.5


# The job and its command.

HEADER = "prompt_id,left,right,winner,annotator_id,seconds\n"


def store_of(folder: Path, rows: str) -> Path:
    votes, store = folder / "votes.csv", folder / "curate.duckdb"
    votes.write_text(HEADER + rows)
    ingest(votes, store=store)
    return store


def test_the_report_has_votes_times_and_agreement(tmp_path: Path) -> None:
    rows = "p1,x,y,left,bob,4\np1,x,z,tie,bob,10\np1,y,z,left,bob,\np1,x,y,left,ann,7\np1,x,y,both_bad,cat,\n"
    report = annotators(store_of(tmp_path, rows + "p1,x,y,left,,1\n"))
    assert (report.votes, report.anonymous) == (6, 1)
    by_id = {row.annotator_id: row for row in report.annotators}
    assert [by_id[name].votes for name in PEOPLE] == [1, 3, 1]
    assert [by_id[name].median_seconds for name in PEOPLE] == [7.0, 7.0, None]
    assert [by_id[name].agreement for name in PEOPLE] == [1.0, 1.0, None]
    assert [by_id[name].compared for name in PEOPLE] == [1, 1, 0]
    chances = [row.p_spammer for row in report.annotators]
    assert chances == sorted(chances, reverse=True)


def test_a_bias_is_null_without_known_sides(tmp_path: Path) -> None:
    store = store_of(tmp_path, "p1,x,y,left,ann,1\np1,x,y,right,bob,1\n")
    with Store.open(store) as opened:
        opened.execute("UPDATE votes SET sides_known = annotator_id = 'bob'")
    bias = {row.annotator_id: row.left_bias for row in annotators(store).annotators}
    assert bias["ann"] is None
    assert bias["bob"] is not None


def test_a_ranking_counts_its_time_once(tmp_path: Path) -> None:
    store = store_of(tmp_path, "p1,x,y,left,ann,1\np1,x,z,left,ann,2\np1,y,z,left,ann,9\np2,x,y,left,ann,30\n")
    with Store.open(store) as opened:
        opened.execute("UPDATE votes SET group_id = 'g', line = 2, seconds = 9 WHERE prompt_id = 'p1'")
    [row] = annotators(store).annotators
    assert (row.votes, row.median_seconds, row.fast_share) == (4, 19.5, 0.0)


def test_fast_share_is_relative_to_the_median(tmp_path: Path) -> None:
    """The median of 9, 9, 9, 9, 2, 3 is 9; 2 is below a third of it, 3 is not."""
    rows = "p1,x,y,left,ann,9\np1,x,z,left,ann,9\np1,y,z,left,ann,9\np1,x,y,left,bob,2\np1,x,z,left,bob,3\n"
    report = annotators(store_of(tmp_path, rows + "p1,y,z,left,bob,\np1,y,z,left,,9\np1,y,z,left,cat,\n"))
    fast = {row.annotator_id: row.fast_share for row in report.annotators}
    assert fast == {"ann": 0.0, "bob": 0.5, "cat": None}


GOLD_STORE = "p1,x,y,left,ann,\np1,x,z,tie,ann,\np1,y,x,left,bob,\np1,y,z,left,bob,\np1,y,z,left,,\n"


def test_unusable_gold_rows_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, gold = store_of(tmp_path, GOLD_STORE), tmp_path / "gold.csv"
    pairs = ["p1,y,x,b", "p1,x,z,tie", "p1,z,w,a", "p2,x,y,a", "p1,y,z,a", "p1,y,z,b", "p1,x,x,a"]
    gold.write_text("\n".join(["prompt_id,response_a,response_b,winner", *pairs]))
    report = annotators(store, gold=gold)
    by_id = {row.annotator_id: row for row in report.annotators}
    assert (by_id["ann"].gold_votes, by_id["ann"].gold_accuracy) == (2, 1.0)
    assert (by_id["bob"].gold_votes, by_id["bob"].gold_accuracy) == (1, 0.0)
    assert by_id["bob"].gold_low is not None
    assert report.gold is not None
    assert report.gold.model_dump(exclude={"accuracy", "chance_level", "file"}) == {
        "pairs": 2,
        "unvoted": 0,
        "ambiguous": 1,
        "unknown": 2,
        "rejected": 1,
        "controls": 0,
        "votes": 3,
    }
    assert report.gold.accuracy == pytest.approx(2 / 3)
    capsys.readouterr()
    command(store=store, gold=gold)
    out, err = capsys.readouterr()
    assert {"gold", "left_bias"} & set(out.splitlines()[0].split()) == {"gold", "left_bias"}
    assert "seconds" not in out.splitlines()[0]
    assert "1.00 of 2" in out
    assert "3 votes on 2 gold pairs: 66.7% right" in err
    assert "not in the store: 2" in err
    assert "with more than one outcome: 1" in err


def test_gold_columns_can_be_named_as_for_ingest(tmp_path: Path) -> None:
    store, gold = store_of(tmp_path, GOLD_STORE), tmp_path / "gold.csv"
    gold.write_text("item,one,two,best\np1,x,y,1\np1,z,y,1\n")
    names = [f"{field}={column}" for field, column in zip(NAMED, ("item", "one", "two", "best"), strict=True)]
    command(store=store, gold=gold, columns=names, outcomes=["1=left"], as_json=True)
    with pytest.raises(CurateError, match=r"gold\.csv: "):
        command(store=store, gold=gold, columns=["left=first"])


NAMED = ("prompt_id", "response_a", "response_b", "outcome")


def test_foreign_and_missing_gold_are_errors(tmp_path: Path) -> None:
    store, gold = store_of(tmp_path, GOLD_STORE), tmp_path / "gold.csv"
    gold.write_text("prompt_id,left,right,outcome\nq9,x,y,left\n")
    with pytest.raises(CurateError, match="none of its 1 pairs") as refusal:
        annotators(store, gold=gold)
    assert refusal.value.hint
    with pytest.raises(CurateError, match=r"missing\.csv"):
        annotators(store, gold=tmp_path / "missing.csv")


def test_dropping_is_counted_in_votes(tmp_path: Path) -> None:
    simulate(tmp_path / "world", config=PLANTED)
    ingest(tmp_path / "world" / "votes.csv", store=tmp_path / "curate.duckdb")
    report = annotators(tmp_path / "curate.duckdb")
    dropped = [row for row in report.annotators if row.recommendation == "drop"]
    assert dropped
    assert list(report.annotators[: len(dropped)]) == dropped
    assert report.dropped_share == pytest.approx(sum(row.votes for row in dropped) / report.votes)


def test_anonymous_votes_give_an_empty_table_and_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = store_of(tmp_path, "p1,x,y,left,,1\np1,x,y,left,,1\np1,x,z,right,,1\np1,x,z,right,,1\n")
    report = annotators(store)
    assert (report.annotators, report.anonymous, report.alpha) == ((), 4, 1.0)
    capsys.readouterr()
    command(store=store)
    out, err = capsys.readouterr()
    assert out.splitlines()[0].startswith("annotator_id")
    assert len(out.splitlines()) == 2  # the header and its rule
    assert "note: all votes are anonymous" in err


def test_without_votes_there_is_an_error_with_a_hint(tmp_path: Path) -> None:
    Store.open(tmp_path / "curate.duckdb", create=True).close()
    with pytest.raises(CurateError, match="no votes") as refusal:
        annotators(tmp_path / "curate.duckdb")
    assert refusal.value.hint
    with pytest.raises(CurateError, match="no such store"):
        annotators(tmp_path / "none.duckdb")


def test_the_command_prints_a_table_json_or_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = store_of(tmp_path, "p1,x,y,left,ann,1\np1,x,y,left,bob,\n")
    before = store.read_bytes()
    capsys.readouterr()
    command(store=store)
    out, err = capsys.readouterr()
    assert out.splitlines()[0].split()[:4] == ["annotator_id", "do", "votes", "p_spammer"]
    assert len(out.splitlines()) == 4
    assert "on 1 pair with two or more of 2 judges" in err
    assert "1.00 of 1" in out
    assert "recommended: too few votes 2; dropping excludes 0.0%" in err
    command(store=store, as_csv=True)
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split(",")[:4] == ["annotator_id", "recommendation", "p_spammer", "agreement"]
    assert len(rows) == 2
    command(store=store, as_json=True)
    printed = json.loads(capsys.readouterr().out)
    assert printed["alpha"] == 1.0
    assert [row["agreement"] for row in printed["annotators"]] == [1.0, 1.0]
    assert store.read_bytes() == before
