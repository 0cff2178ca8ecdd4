"""Split-half reliability: the units of a split, the measures, and the agreement of halves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from curate.evaluation.agreement import kendall_tau
from curate.evaluation.reliability import MAX_COST, halve, methods_of, spearman, split_half, split_units, step_up
from curate.rankers.bradley_terry import BradleyTerry
from curate.rankers.registry import spec_of
from curate.simulation.world import simulate_world
from curate.votes.arrays import VoteArrays
from pipelines.progress import silent
from pipelines.validation import reliability_of
from schemas.config import DenoiseConfig, SimulateConfig
from tests.strategies import Row, votes_from

CONFIG = DenoiseConfig()


def of_people(rows: list[Row], people: list[int]) -> VoteArrays:
    """Votes of annotators 0, 1, …; −1 is anonymous."""
    names = tuple(f"w{i}" for i in range(max(people) + 1))
    return replace(votes_from(rows), annotator=np.array(people, dtype=np.int32), annotators=names)


def noise(votes: VoteArrays, seed: int) -> VoteArrays:
    """The same comparisons with random outcomes."""
    return replace(votes, outcome=np.random.default_rng(seed).integers(0, 2, len(votes.left)).astype(np.int8))


# Units.


def test_an_annotator_is_in_one_half_and_anonymous_votes_are_split_singly() -> None:
    rows: list[Row] = [("p", "a", "b", "left"), ("p", "b", "c", "left"), ("p", "a", "c", "left")] * 2
    unit, by = split_units(of_people(rows, [0, 0, 1, 1, -1, -1]))
    assert by == "annotator"
    assert unit[0] == unit[1] != unit[2] == unit[3]
    assert len(np.unique(unit)) == 4


def test_votes_are_split_singly_without_annotators_and_where_one_annotator_dominates() -> None:
    rows: list[Row] = [
        ("p", "a", "b", "left"),
        ("p", "b", "c", "left"),
        ("p", "a", "c", "left"),
        ("p", "c", "b", "tie"),
    ]
    for people in ([-1, -1, -1, -1], [0, 0, 1, 0]):
        unit, by = split_units(of_people(rows, people))
        assert by == "vote"
        assert len(np.unique(unit)) == 4


def test_a_k_wise_ranking_is_never_divided() -> None:
    votes = replace(votes_from([("p", "a", "b", "left")] * 4), group=np.array([0, -1, 0, -1], dtype=np.int32))
    unit, _ = split_units(votes)
    for seed in range(9):
        second = halve(unit, votes.response_prompt[votes.left], np.random.default_rng(seed))
        assert second[0] == second[2]


@settings(max_examples=60, deadline=None)
@given(
    unit=st.lists(st.integers(0, 6), min_size=1, max_size=40),
    prompts=st.lists(st.integers(0, 3), min_size=40, max_size=40),
    seed=st.integers(0, 99),
)
def test_halves_divide_no_unit_and_differ_by_at_most_the_largest_unit(
    unit: list[int], prompts: list[int], seed: int
) -> None:
    of = np.unique(unit, return_inverse=True)[1].astype(np.int64)
    prompt = np.array(prompts[: len(unit)], dtype=np.int32)
    second = halve(of, prompt, np.random.default_rng(seed))
    assert all(len(set(second[of == u])) == 1 for u in np.unique(of))
    assert abs(int((~second).sum()) - int(second.sum())) <= np.bincount(of).max()
    assert (second == halve(of, prompt, np.random.default_rng(seed))).all()


def test_single_votes_are_halved_within_prompts_and_differently_each_time() -> None:
    prompt = np.repeat(np.arange(5, dtype=np.int32), 8)
    drawn = [halve(np.arange(40), prompt, np.random.default_rng(seed)) for seed in range(20)]
    assert all((np.bincount(prompt[second], minlength=5) == 4).all() for second in drawn)
    assert len({tuple(second) for second in drawn}) == 20
    assert np.mean(drawn, axis=0).min() > 0
    assert np.mean(drawn, axis=0).max() < 1


# Measures.


def test_spearman_brown_of_0_6_is_0_75() -> None:
    """2 · 0.6 / 1.6; and the ends of the range."""
    assert step_up(0.6) == pytest.approx(0.75)
    assert (step_up(0.0), step_up(1.0)) == (0.0, 1.0)


@given(data=st.data(), sizes=st.lists(st.integers(1, 7), min_size=1, max_size=4))
def test_spearman_agrees_with_scipy(data: st.DataObject, sizes: list[int]) -> None:
    score = st.lists(st.integers(0, 4), min_size=sum(sizes), max_size=sum(sizes))
    a, b = (np.array(data.draw(score), dtype=np.float64) for _ in "ab")
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    for found, i, j in zip(spearman(a, b, offsets), offsets[:-1], offsets[1:], strict=True):
        if len(set(a[i:j])) > 1 and len(set(b[i:j])) > 1:
            assert found == pytest.approx(spearmanr(a[i:j], b[i:j]).statistic)
        else:
            assert np.isnan(found)


# Agreement of halves.


def test_two_annotators_with_equal_votes_give_halves_that_agree() -> None:
    world = simulate_world(SimulateConfig(prompts=6, models=5, annotators=1, votes_per_pair=1, ties=0, seed=1)).votes
    both = {
        name: np.concatenate([getattr(world, name)] * 2)
        for name in ("left", "right", "outcome", "weight", "sides_known", "group")
    }
    who = np.repeat(np.array([0, 1], dtype=np.int32), len(world.left))
    votes = replace(world, **both, annotator=who, annotators=("ann", "bob"))
    found = split_half(votes, CONFIG, splits=3, seed=0, progress=silent)
    assert found.by == "annotator"
    for agreement in found.methods.values():
        np.testing.assert_allclose(agreement.tau, 1.0)
        np.testing.assert_allclose(agreement.rho, 1.0)


def test_halves_of_random_votes_have_mean_agreement_0() -> None:
    world = simulate_world(SimulateConfig(prompts=150, models=6, annotators=40, votes_per_pair=3, seed=2)).votes
    found = split_half(noise(world, 5), CONFIG, splits=2, seed=0, progress=silent)
    for name in ("bradley-terry", "win-rate", "borda"):
        agreement = found.methods[name]
        for values in (agreement.tau, agreement.rho, agreement.against_bt):
            assert abs(values.mean()) < 4 * values.std() / np.sqrt(len(values))


def test_agreement_is_that_of_the_orders_of_the_two_halves() -> None:
    votes = simulate_world(SimulateConfig(prompts=5, models=5, annotators=12, votes_per_pair=4, seed=3)).votes
    unit, _ = split_units(votes)
    second = halve(unit, votes.response_prompt[votes.left], np.random.default_rng(8))
    one, two = (BradleyTerry(0.1)(votes.of_votes(part)).scores for part in (~second, second))
    found = split_half(votes, CONFIG, splits=1, seed=8, progress=silent).methods
    np.testing.assert_allclose(found["bradley-terry"].tau, kendall_tau(one, two, votes.offsets))
    np.testing.assert_allclose(found["bradley-terry"].rho, spearman(one, two, votes.offsets))
    np.testing.assert_allclose(found["bradley-terry"].against_bt, found["bradley-terry"].tau)
    assert not np.allclose(found["borda"].against_bt, found["borda"].tau)


def test_only_responses_that_both_halves_connect_are_compared() -> None:
    """One annotator does not compare c, the other does not compare d: both connect a and b."""
    rows: list[Row] = [("p", "a", "b", "left"), ("p", "d", "b", "left"), ("p", "d", "a", "left")]
    rows += [("p", "a", "b", "left"), ("p", "c", "a", "left"), ("p", "c", "b", "left")]
    rows += [("q", "a", "b", "left"), ("q", "a", "b", "left"), ("r", "a", "b", "left"), ("r", "b", "a", "left")]
    votes = of_people(rows, [0] * 3 + [1] * 3 + [0, 0, 0, 1])
    found = split_half(votes, CONFIG, splits=1, seed=0, progress=silent)
    assert found.by == "annotator"
    np.testing.assert_allclose(found.methods["win-rate"].tau, [1.0, np.nan, -1.0])


def test_costly_rankers_are_run_only_where_the_config_ranks_by_them() -> None:
    votes = votes_from([("p", "a", "b", "left")])
    assert all(spec_of(name).relative_cost <= MAX_COST for name in methods_of(votes, CONFIG))
    assert "feedback-arc-set" not in methods_of(votes, CONFIG)
    ensemble = DenoiseConfig(ranker="ensemble")
    assert "feedback-arc-set" in methods_of(votes, ensemble)
    assert "weighted-feedback-arc-set" in methods_of(votes, DenoiseConfig(ranker="weighted-feedback-arc-set"))
    triple = votes_from([("p", *pair, "left") for pair in ("ab", "bc", "ac")] * 2)
    for config, expected in ((CONFIG, False), (ensemble, True)):
        assert ("ensemble" in split_half(triple, config, splits=1, seed=0, progress=silent).methods) == expected


def test_spearman_brown_predicts_the_agreement_of_two_campaigns() -> None:
    """Two campaigns of two votes per pair agree as the stepped-up halves of one of them."""
    config = SimulateConfig(prompts=120, models=8, annotators=80, votes_per_pair=4, seed=4)
    votes = simulate_world(config).votes
    person = np.random.default_rng(0).permutation(80) < 40
    one, two = (votes.of_votes(person[votes.annotator] == side) for side in (True, False))
    direct = spearman(*(BradleyTerry(0.1)(campaign).scores for campaign in (one, two)), votes.offsets).mean()
    of_halves = split_half(one, CONFIG, splits=4, seed=0, progress=silent).methods["bradley-terry"].rho.mean()
    assert of_halves < direct - 0.05
    assert step_up(of_halves) == pytest.approx(direct, abs=0.05)


# The report.


def test_the_report_has_means_over_prompts_and_standard_errors() -> None:
    votes = simulate_world(SimulateConfig(prompts=9, models=5, annotators=12, votes_per_pair=4, seed=3)).votes
    found = split_half(votes, CONFIG, splits=2, seed=1, progress=silent)
    order = ["stack", "hierarchical", *(name for name in found.methods if name != "hierarchical")]
    report = reliability_of(found, order, splits=2)
    assert [score.method for score in report.methods] == order[1:]
    assert (report.by, report.splits, report.prompts) == ("annotator", 2, 9)
    for score in report.methods:
        rho = found.methods[score.method].rho
        assert score.rho == pytest.approx(rho.mean())
        assert score.rho_se == pytest.approx(rho.std(ddof=1) / 3)
        assert score.full_rho == pytest.approx(2 * rho.mean() / (1 + rho.mean()))
        slope = (step_up(score.rho + 1e-6) - step_up(score.rho - 1e-6)) / 2e-6
        assert score.full_rho_se == pytest.approx(slope * score.rho_se)


def test_the_report_is_empty_where_no_split_lets_both_halves_rank_a_prompt() -> None:
    found = split_half(votes_from([("p", "a", "b", "left")]), CONFIG, splits=2, seed=0, progress=silent)
    report = reliability_of(found, list(found.methods), splits=2)
    assert (report.prompts, report.methods) == (0, ())
