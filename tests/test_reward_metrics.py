"""Metrics of a reward model: worked by hand, against reference implementations, and their invariances."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from curate.reward.data import Example
from curate.reward.evaluation import evaluate
from curate.reward.figures import average, clustered, compare, figures, mean
from curate.reward.metrics import (
    calibration_error,
    chance_level,
    confidences,
    kendall,
    pairwise,
    score_differences,
    top1,
    winner_changes,
)
from schemas.errors import CurateError
from schemas.reward import EvaluationReport

pytestmark = pytest.mark.slow

Item = tuple[list[float], list[int]]


@st.composite
def items(draw: st.DrawFn) -> list[Item]:
    """One to six items of one to six responses; few levels, so that scores and ranks tie often."""
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=6))
    level = st.integers(-3, 3).map(float)
    return [
        (draw(st.lists(level, min_size=n, max_size=n)), draw(st.lists(st.integers(1, 4), min_size=n, max_size=n)))
        for n in sizes
    ]


def split(drawn: list[Item]) -> tuple[list[list[float]], list[list[int]]]:
    return [scores for scores, _ in drawn], [ranks for _, ranks in drawn]


def example(name: str, ranks: tuple[int, ...], *, source: str = "s", video: str = "v.mp4") -> Example:
    return Example(name, "?", tuple("abcdef"[: len(ranks)]), ranks, video=Path(video), source=source)


def test_a_tie_of_the_highest_scores_counts_as_a_share_in_top1() -> None:
    hits = top1([[3, 1, 1], [1, 3, 1], [2, 2, 0], [1, 1, 1], [5, 5, 0]], [[1, 2, 3]] * 4 + [[1, 1, 3]])
    assert hits.tolist() == [1, 0, 0.5, pytest.approx(1 / 3), 1]


def test_chance_level_is_the_share_of_responses_with_the_best_rank() -> None:
    assert chance_level([[1, 2, 3, 4], [1, 1, 3, 4], [2, 2]]).tolist() == [0.25, 0.5, 1.0]


def test_pairwise_counts_pairs_of_different_ranks_and_ties_half() -> None:
    # Pairs of ranks 1 2 2: (0, 1) and (0, 2). The first is a tie of scores, the second is wrong.
    right, pairs = pairwise([[1, 1, 2], [9, 8]], [[1, 2, 2], [1, 2]])
    assert right.tolist() == [0.5, 1.0]
    assert pairs.tolist() == [2, 1]


def test_tau_of_one_swap_in_four() -> None:
    """One of six pairs is discordant: (5 − 1) / 6."""
    assert kendall([[4, 3, 1, 2]], [[1, 2, 3, 4]]).tolist() == [pytest.approx(4 / 6)]


def test_tau_of_ties_only_is_undefined() -> None:
    assert np.isnan(kendall([[1, 1], [1, 2], [7]], [[1, 2], [1, 1], [1]])).all()


@given(items())
def test_pairwise_equals_a_loop_over_pairs(drawn: list[Item]) -> None:
    scores, ranks = split(drawn)
    right, pairs = pairwise(scores, ranks)
    for item, (score, rank) in enumerate(drawn):
        compared = [(i, j) for i, j in combinations(range(len(rank)), 2) if rank[i] != rank[j]]
        credit = [
            0.5 if score[i] == score[j] else float((score[i] > score[j]) == (rank[i] < rank[j])) for i, j in compared
        ]
        assert (right[item], pairs[item]) == (sum(credit), len(compared))


@given(items())
def test_tau_equals_scipy(drawn: list[Item]) -> None:
    scores, ranks = split(drawn)
    for tau, (score, rank) in zip(kendall(scores, ranks), drawn, strict=True):
        varied = len(set(score)) > 1 and len(set(rank)) > 1
        if varied:
            assert tau == pytest.approx(kendalltau(score, [-r for r in rank]).statistic, abs=1e-12)
        else:
            assert math.isnan(tau)


@given(items(), st.randoms(use_true_random=False))
def test_the_order_of_responses_changes_no_metric(drawn: list[Item], random: object) -> None:
    shuffled = []
    for score, rank in drawn:
        order = list(range(len(score)))
        random.shuffle(order)  # type: ignore[attr-defined]
        shuffled.append(([score[i] for i in order], [rank[i] for i in order]))
    before, after = split(drawn), split(shuffled)
    np.testing.assert_array_equal(top1(*before), top1(*after))
    np.testing.assert_array_equal(pairwise(*before), pairwise(*after))
    np.testing.assert_array_equal(kendall(*before), kendall(*after))
    np.testing.assert_allclose(confidences(*before).nll, confidences(*after).nll)
    np.testing.assert_allclose(confidences(*before).brier, confidences(*after).brier)


@given(items(), st.floats(0.1, 5), st.floats(-5, 5))
def test_a_monotone_transform_of_the_scores_changes_no_order_metric(drawn: list[Item], by: float, plus: float) -> None:
    scores, ranks = split(drawn)
    moved = [[math.exp(by * score) + plus for score in item] for item in scores]
    np.testing.assert_array_equal(top1(scores, ranks), top1(moved, ranks))
    np.testing.assert_array_equal(pairwise(scores, ranks), pairwise(moved, ranks))
    np.testing.assert_array_equal(kendall(scores, ranks), kendall(moved, ranks))


@given(items())
def test_negated_scores_reverse_pairs_and_tau(drawn: list[Item]) -> None:
    scores, ranks = split(drawn)
    negated = [[-score for score in item] for item in scores]
    right, pairs = pairwise(scores, ranks)
    np.testing.assert_array_equal(pairwise(negated, ranks)[0], pairs - right)
    np.testing.assert_array_equal(kendall(negated, ranks), -kendall(scores, ranks))


def test_calibration_worked_by_hand() -> None:
    """Odds of 4 to 1 are 0.8 and 0.2; the item with a shared best is excluded."""
    four = math.log(4)
    best = confidences([[four, 0], [four, 0], [four, 0]], [[1, 2], [2, 1], [1, 1]])
    np.testing.assert_allclose(best.top, [0.8, 0.8, np.nan])
    np.testing.assert_allclose(best.hit, [1, 0, np.nan])
    np.testing.assert_allclose(best.nll, [-math.log(0.8), -math.log(0.2), np.nan])
    np.testing.assert_allclose(best.brier, [2 * 0.2**2, 2 * 0.8**2, np.nan])
    # Both items have equal confidence, so each counts half a hit: |0.8 − 0.5| in either of two bins.
    error, bins = calibration_error(best.top, best.hit)
    assert (error, bins) == (pytest.approx(0.3), 2)


@given(items(), st.randoms(use_true_random=False))
def test_the_order_of_items_does_not_change_the_calibration_error(drawn: list[Item], random: object) -> None:
    shuffled = drawn * 4
    before = confidences(*split(shuffled))
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    after = confidences(*split(shuffled))
    expected = calibration_error(before.top, before.hit, 3)
    assert calibration_error(after.top, after.hit, 3) == pytest.approx(expected, nan_ok=True)


def test_calibration_error_has_bins_of_equal_mass() -> None:
    """Confidences .6 (wrong), .7, .8 and .9 (right) in two bins: |1.3 − 1| and |1.7 − 2| over four items."""
    odds = [[math.log(p / (1 - p)), 0] for p in (0.9, 0.6, 0.8, 0.7)]
    best = confidences(odds, [[1, 2], [2, 1], [1, 2], [1, 2]])
    error, bins = calibration_error(best.top, best.hit, 2)
    assert (error, bins) == (pytest.approx((0.3 + 0.3) / 4), 2)


def test_huge_scores_do_not_overflow() -> None:
    best = confidences([[1e4, 0.0], [-1e4, 0.0]], [[1, 2], [1, 2]])
    np.testing.assert_allclose(best.nll, [0, 1e4])


def test_changes_of_the_winner_are_counted() -> None:
    orders = [[[1, 2, 0], [0, 5, 1]], [[1, 2, 0], [3, 2, 0]]]
    assert winner_changes(orders).tolist() == [0, 1]


@given(st.lists(st.lists(st.integers(-9, 9), min_size=2, max_size=2), min_size=2, max_size=5))
def test_score_differences_average_over_pairs_of_orders(orders: list[list[int]]) -> None:
    means = [abs(a[n] - b[n]) for a, b in combinations(orders, 2) for n in range(2)]
    assert score_differences([orders])[0] == pytest.approx(sum(means) / len(means))


def test_copies_of_an_item_in_its_cluster_do_not_reduce_the_standard_error() -> None:
    """Mean of 1 and 0: residuals ±½, se = √(2 / 1 × ½) / 2 = ½; ten copies of each leave it at ½."""
    once = clustered(mean(np.array([1.0, 0.0])), ["a", "b"])
    often = clustered(mean(np.array([1.0] * 10 + [0.0] * 10)), ["a"] * 10 + ["b"] * 10)
    assert (once.value, once.se, once.clusters) == (0.5, pytest.approx(0.5), 2)
    assert (often.value, often.se, often.clusters) == (0.5, pytest.approx(0.5), 2)


def test_clusters_of_one_item_give_the_usual_standard_error() -> None:
    values = np.array([1.0, 0.0, 0.0, 1.0, 1.0])
    expected = values.std(ddof=1) / math.sqrt(5)
    assert clustered(mean(values), list("abcde")).se == pytest.approx(expected)


def test_values_of_weight_zero_are_ignored() -> None:
    estimate = clustered(mean(np.array([1.0, np.nan, 0.0]), [3, 0, 1]), ["a", "b", "c"])
    assert (estimate.value, estimate.items, estimate.clusters) == (0.75, 2, 2)


def test_a_macro_average_has_the_standard_error_of_independent_means() -> None:
    """Two categories of other clusters: half the root of the sum of their variances, up to the factor G / (G − 1)."""
    values = np.array([1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0])
    first = np.arange(7) < 3
    macro = clustered(average([mean(values, first), mean(values, ~first)]), list("abcdefg"))
    variances = [values[part].var() / part.sum() for part in (first, ~first)]
    assert macro.value == pytest.approx((1 / 3 + 3 / 4) / 2)
    assert macro.se == pytest.approx(math.sqrt(7 / 6 * sum(variances)) / 2)
    assert math.isnan(clustered(average([mean(values), mean(values, np.zeros(7))]), list("abcdefg")).value)


def test_one_cluster_has_no_standard_error() -> None:
    assert math.isnan(clustered(mean(np.array([1.0, 0.0])), ["a", "a"]).se)


# Two models.


def test_a_comparison_worked_by_hand() -> None:
    """Differences 1, 1 and 0 in three clusters: exchanging reaches ±2 in 2 of the 4 signs of the first two."""
    examples = [example(str(i), (1, 2), source=f"s{i}", video=f"{i}") for i in range(3)]
    mine, other = [[1, 0], [1, 0], [1, 0]], [[0, 1], [0, 1], [1, 0]]
    rows = compare(examples, figures(examples, mine), figures(examples, other), flips=20_000)
    assert [(row.metric, row.name) for row in rows[:4]] == [
        ("top1", "all"),
        ("pairwise", "all"),
        ("top1", "s0"),
        ("pairwise", "s0"),
    ]
    assert (rows[0].model, rows[0].against, rows[0].difference, rows[0].clusters) == (1, 1 / 3, pytest.approx(2 / 3), 3)
    assert rows[0].se == pytest.approx(np.array([1, 1, 0]).std(ddof=1) / math.sqrt(3))
    assert rows[0].p_value == pytest.approx(1 / 2, abs=0.02)
    assert (rows[2].difference, rows[2].se, rows[2].p_value) == (1, None, 1)  # one cluster


def test_a_model_does_not_differ_from_itself() -> None:
    examples = [example(str(i), (1, 2), video=f"{i}") for i in range(4)]
    own = figures(examples, [[i, 1] for i in range(4)])
    assert {(row.difference, row.se, row.p_value) for row in compare(examples, own, own)} == {(0, 0, 1)}


@pytest.mark.parametrize(("gain", "low", "high"), [(0.0, 0.015, 0.1), (2.5, 0.7, 1.0)], ids=["equal", "better"])
def test_p_values_of_simulated_models(gain: float, low: float, high: float) -> None:
    """200 comparisons of two models whose errors are correlated within 30 videos of 1 to 9 items each.

    Equal models differ at 5% in about 10 of 200 (3 to 20: the central 99.5% of the binomial distribution); a test that
    takes items for independent finds a difference in a fifth of them or more. ``benchmarks/model_comparison.py`` has
    more cases.
    """
    rng, rejected, naive = np.random.default_rng(5), [], []
    for _ in range(200):
        video = np.repeat(np.arange(30), rng.integers(1, 10, 30))
        examples = [example("", (1, 2), video=str(v)) for v in video]
        scores = 2 * rng.normal(size=(2, 30))[:, video] + rng.normal(size=(2, len(video))) + [[gain], [0.0]]
        right = (scores > 0).astype(float)
        one, other = ({("top1", "all"): mean(values)} for values in right)
        (row,) = compare(examples, one, other, flips=300)
        rejected.append(row.p_value is not None and row.p_value < 0.05)
        difference = right[0] - right[1]
        naive.append(abs(difference.mean()) > 1.96 * difference.std() / math.sqrt(len(difference)))
    assert low <= np.mean(rejected) <= high
    assert np.mean(naive) > 0.2


def test_a_report_has_all_items_then_sizes_then_sources() -> None:
    examples = [
        example("1", (1, 2), source="b", video="1"),
        example("2", (2, 1), source="a", video="2"),
        example("3", (1, 2, 3), source="a", video="3"),
    ]
    report = evaluate("me", "it", examples, [[1, 0], [1, 0], [3, 2, 1]])
    assert [(row.part, row.name, row.items) for row in report.rows] == [
        ("all", "all", 3),
        ("size", "2", 2),
        ("size", "3", 1),
        ("source", "a", 2),
        ("source", "b", 1),
    ]
    whole = report.overall
    assert whole.top1 == pytest.approx(2 / 3)
    assert whole.chance_level == pytest.approx((1 / 2 + 1 / 2 + 1 / 3) / 3)
    assert whole.pairwise == pytest.approx(4 / 5)
    assert whole.pairwise_by_item == pytest.approx(2 / 3)
    assert whole.tau == pytest.approx((1 - 1 + 1) / 3)
    assert whole.order_sensitivity is None
    assert report.rows[2].top1_se is None


def test_the_ceiling_is_the_probability_that_the_labelled_best_is_the_best() -> None:
    known = replace(example("1", (2, 1, 3)), best_probabilities=(0.2, 0.7, 0.1))
    shared = replace(example("2", (1, 1, 3)), best_probabilities=(0.5, 0.4, 0.1))
    rows = [
        evaluate("me", "it", found, [[3, 2, 1]] * len(found)).overall
        for found in ([known, shared], [known, example("3", (1, 2, 3))])
    ]
    assert [row.ceiling for row in rows] == [pytest.approx((0.7 + 0.9) / 2), None]


def test_items_of_one_video_form_one_cluster() -> None:
    examples = [example("1", (1, 2)), example("2", (1, 2)), example("3", (1, 2), video="other")]
    assert evaluate("me", "it", examples, [[1, 0]] * 3).overall.clusters == 2


def test_undefined_metrics_are_null_in_the_json() -> None:
    report = evaluate("me", "it", [example("1", (1, 1))], [[1, 0]])
    row = json.loads(report.model_dump_json())["rows"][0]
    assert [row[name] for name in ("pairwise", "tau", "ece", "ece_bins", "nll", "top1_se")] == [None] * 6
    assert (row["top1"], row["chance_level"], row["shared_best"]) == (1.0, 1.0, 1)
    assert EvaluationReport.model_validate_json(report.model_dump_json()) == report


def test_scores_that_are_not_logits_have_no_calibration() -> None:
    row = evaluate("longest", "it", [example("1", (1, 2))], [[120, 80]], logits=False).overall
    assert (row.ece, row.ece_bins, row.nll, row.brier, row.top1) == (None, None, None, None, 1.0)


def test_order_sensitivity_is_measured_over_orders() -> None:
    examples = [example("1", (1, 2)), example("2", (1, 2))]
    orders = [[[1, 0], [0, 1]], [[2, 0], [2, 0]]]
    row = evaluate("me", "it", examples, [[1, 0], [2, 0]], orders=orders).overall
    assert (row.order_sensitivity, row.order_score_difference) == (0.5, 0.5)


def test_metrics_of_no_items_are_none() -> None:
    row = evaluate("me", "it", [], []).overall
    assert (row.items, row.top1, row.chance_level, row.ece) == (0, None, None, None)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([[1.0]], "item 0 (from 0): scores of shape (1,) for 2 ranks"),
        ([[1.0, float("nan")]], "item 0 (from 0): scores [1.0, nan] are not all finite"),
        ([], "0 items have scores and 1 have ranks"),
    ],
)
def test_scores_that_do_not_match_the_ranks_are_refused(scores: list[list[float]], message: str) -> None:
    with pytest.raises(CurateError) as caught:
        top1(scores, [[1, 2]])
    assert message in str(caught.value)


def test_an_item_without_ranks_is_an_error() -> None:
    with pytest.raises(CurateError, match="item x has no ranks"):
        evaluate("me", "it", [Example("x", "?", ("a", "b"))], [[1, 0]])
