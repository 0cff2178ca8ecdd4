"""Cross-validation: units and folds, slopes, scores computed by hand, and the job ``validate``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from cli.validate import print_validation
from cli.validate import validate as command
from curate.evaluation.cross_validation import (
    HeldOut,
    assign_folds,
    calibration_error,
    fit_slope,
    hold_out,
    mean_and_error,
    units,
)
from curate.rankers.bradley_terry import BradleyTerry
from curate.rankers.hierarchical import Hierarchical
from curate.rankers.registry import compared_rankers, single_rankers
from curate.simulation.world import simulate_world
from curate.votes.arrays import TIE, VoteArrays
from pipelines import ingest, simulate
from pipelines.progress import silent
from pipelines.validation import validate
from schemas.choices import HoldOut
from schemas.config import DenoiseConfig, SimulateConfig
from schemas.errors import CurateError, UsageError
from schemas.rankers import MethodName
from schemas.validation import ValidationReport
from tests.strategies import votes_from

pytestmark = pytest.mark.slow

KINDS: tuple[HoldOut, ...] = ("vote", "pair", "annotator")
CIRCLE = votes_from([("p", a, b, "left") for a, b in ("ab", "bc", "cd", "de", "ea", "ba", "cb", "dc")])
ONES = np.ones(4)
SINGLE = [spec.name for spec in single_rankers()]
ALL = compared_rankers(DenoiseConfig(), annotators=True)
FOUR = np.array([True, True, False, False])


def with_ids(votes: VoteArrays, annotator: list[int], group: list[int]) -> VoteArrays:
    who = tuple(f"w{i}" for i in range(max(annotator, default=-1) + 1))
    ids = {"annotator": np.array(annotator, dtype=np.int32), "group": np.array(group, dtype=np.int32)}
    return replace(votes, **ids, annotators=who)


# Units and folds.


def test_by_vote_each_vote_is_a_unit_but_a_k_wise_ranking_is_one() -> None:
    votes = with_ids(CIRCLE, [-1] * 8, [-1, 5, -1, 5, 2, 2, -1, -1])
    unit = units(votes, "vote")
    assert unit[1] == unit[3]
    assert unit[4] == unit[5]
    assert len(np.unique(unit)) == 6


def test_by_pair_both_directions_of_a_pair_are_one_unit() -> None:
    unit = units(CIRCLE, "pair")
    assert (unit[0], unit[1], unit[2]) == (unit[5], unit[6], unit[7])  # ab and ba, bc and cb, cd and dc
    assert len(np.unique(unit)) == 5


def test_by_pair_a_k_wise_ranking_joins_its_pairs() -> None:
    votes = with_ids(CIRCLE, [-1] * 8, [-1, -1, -1, -1, -1, 0, 0, -1])  # one ranking of ba and cb
    assert len(np.unique(units(votes, "pair")[[0, 1, 5, 6]])) == 1


def test_by_annotator_anonymous_votes_are_single_units() -> None:
    unit = units(with_ids(CIRCLE, [0, 1, 0, 1, -1, -1, -1, -1], [-1, -1, -1, -1, -1, -1, 3, 3]), "annotator")
    assert unit[0] == unit[2] != unit[1] == unit[3]
    assert len(np.unique(unit)) == 5  # two annotators, two single votes, one ranking


@settings(max_examples=60, deadline=None)
@given(data=st.data(), by=st.sampled_from(KINDS), folds=st.integers(2, 5), seed=st.integers(0, 9))
def test_no_unit_is_in_two_folds(data: st.DataObject, by: HoldOut, folds: int, seed: int) -> None:
    who = data.draw(st.lists(st.integers(-1, 3), min_size=8, max_size=8))
    group = data.draw(st.lists(st.integers(-1, 3), min_size=8, max_size=8))
    votes = with_ids(CIRCLE, who, group)
    unit = units(votes, by)
    fold = assign_folds(unit, folds, np.random.default_rng(seed))
    assert fold.shape == (8,)
    assert set(fold) == set(range(min(folds, len(np.unique(unit)))))
    cell = np.sort(np.stack([votes.left, votes.right]), axis=0)
    for i in range(8):
        for j in range(i):
            together = group[i] == group[j] >= 0
            together |= by == "annotator" and who[i] == who[j] >= 0
            together |= by == "pair" and (cell[:, i] == cell[:, j]).all()
            assert unit[i] == unit[j] or not together
            assert fold[i] == fold[j] or unit[i] != unit[j]


def test_folds_depend_on_the_seed_and_are_balanced() -> None:
    def folds(seed: int) -> list[int]:
        found: list[int] = assign_folds(np.arange(40), 5, np.random.default_rng(seed)).tolist()
        return found

    assert folds(1) == folds(1) != folds(2)
    assert np.bincount(folds(1)).tolist() == [8] * 5


# Slopes.


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_slope_is_recovered_in_any_unit(scale: float) -> None:
    dice = np.random.default_rng(0)
    gap = dice.normal(0, 1, 40_000)
    left = dice.random(40_000) < expit(1.7 * gap)
    assert fit_slope(gap * scale, left, np.ones(40_000)) * scale == pytest.approx(1.7, rel=0.03)


def test_a_vote_of_weight_2_counts_as_two() -> None:
    gap, left = np.array([1.0, 1.0, -1.0]), np.array([True, False, False])
    twice = np.concatenate([np.repeat(gap, 2), []]), np.repeat(left, 2)
    assert fit_slope(gap, left, 2 * np.ones(3)) == pytest.approx(fit_slope(*twice, np.ones(6)))


def test_a_slope_is_finite_for_consistent_votes_and_never_negative() -> None:
    gap = np.array([1.0, 2.0, -1.0, -3.0])
    assert 0 < fit_slope(gap, gap > 0, ONES) < 10
    assert fit_slope(gap, gap < 0, ONES) == 0
    assert fit_slope(np.zeros(4), FOUR, ONES) == 0
    assert fit_slope(np.zeros(0), np.zeros(0, dtype=bool), np.zeros(0)) == 0


# Scores.


def test_log_loss_of_certain_uninformative_and_inverted_odds() -> None:
    certain, uninformative = np.where(FOUR, 50.0, -50.0), np.zeros(4)
    odds: dict[MethodName, np.ndarray] = {"hierarchical": certain, "borda": uninformative, "pagerank": -certain}
    order = {name: np.sign(value) for name, value in odds.items()}
    held = HeldOut(np.arange(4), FOUR, ONES, np.zeros(4, dtype=np.int64), odds, order, {})
    assert held.loss("hierarchical") == pytest.approx(np.zeros(4), abs=1e-12)
    assert held.loss("borda") == pytest.approx(np.full(4, np.log(2)))
    assert held.loss("pagerank") == pytest.approx(np.full(4, 50.0))
    assert [held.correct(name).mean() for name in ("hierarchical", "borda", "pagerank")] == [1, 0.5, 0]


def test_the_standard_error_counts_clusters() -> None:
    value, cluster = np.array([1.0, 1.0, 3.0, 3.0]), np.array([4, 4, 9, 9])
    assert mean_and_error(value, ONES, cluster) == (2.0, pytest.approx(1.0))  # of 1 and 3: sd √2, over √2
    assert mean_and_error(value, ONES, np.arange(4)) == (2.0, pytest.approx(value.std(ddof=1) / 2))
    assert mean_and_error(value, ONES, np.zeros(4, dtype=np.int64)) == (2.0, None)
    assert mean_and_error(value, np.array([3.0, 3.0, 1.0, 1.0]), cluster)[0] == 1.5


def test_calibration_error_is_the_distance_of_probability_and_frequency() -> None:
    left = np.tile([True, True, True, False], 250)
    assert calibration_error(np.full(1000, np.log(3)), left, np.ones(1000)) == pytest.approx(0.0, abs=1e-12)
    assert calibration_error(np.full(1000, 0.0), left, np.ones(1000)) == pytest.approx(0.25)
    assert calibration_error(np.where(left, 40.0, -40.0), left, np.ones(1000)) == pytest.approx(0.0, abs=1e-12)


def test_calibration_error_is_independent_of_which_response_is_named_first() -> None:
    dice = np.random.default_rng(0)
    odds = dice.normal(0, 1.5, 20_000)
    left = dice.random(20_000) < expit(odds)
    winner_first = np.where(left, odds, -odds)
    assert calibration_error(odds, left, np.ones(20_000)) < 0.02
    assert calibration_error(winner_first, np.ones(20_000, dtype=np.bool_), np.ones(20_000)) == pytest.approx(
        calibration_error(odds, left, np.ones(20_000)), abs=1e-6
    )


# Log odds of the hierarchical ranker.


def test_log_odds_are_of_mean_probabilities_over_the_posterior() -> None:
    votes = simulate_world(SimulateConfig(prompts=3, models=4, annotators=6, votes_per_pair=2, seed=1)).votes
    fit = Hierarchical().fit(votes)
    stranger = votes.annotator == 0
    fit = replace(fit, annotators=replace(fit.annotators, votes=np.where(np.arange(7) == 0, 0, fit.annotators.votes)))
    dice = np.random.default_rng(0)
    theta = np.zeros((len(votes.responses), 20_000))
    for graphs, matrices in zip(votes.graphs, fit.covariance, strict=True):
        for slots, matrix in zip(graphs.slots, matrices, strict=True):
            theta[slots] = dice.multivariate_normal(fit.strength[slots], matrix, 20_000).T
    own = np.where(stranger[:, None], fit.annotators.prior_mean, fit.annotators.value[votes.annotator])
    people = fit.annotators  # of a stranger only the prior is known
    doubt = np.sqrt(np.where(stranger[:, None], people.prior_variance, people.variance[votes.annotator]))
    draws = theta[votes.left] - theta[votes.right]
    draws += np.sqrt(2 * fit.prior.error_variance) * dice.standard_normal(draws.shape)
    care = np.maximum(own[:, :1] + doubt[:, :1] * dice.standard_normal(draws.shape), 0)
    d = care * draws + own[:, 1:2] + doubt[:, 1:2] * dice.standard_normal(draws.shape)
    t = own[:, 2:] + fit.prompt_tie[votes.response_prompt[votes.left]][:, None]
    of = [np.exp(s * d / 2) / (np.exp(d / 2) + np.exp(-d / 2) + np.exp(t)) for s in (1, -1)]
    left, right = (chance.mean(axis=1) for chance in of)
    np.testing.assert_allclose(fit.log_odds(votes), np.log(left / right), atol=0.05)


def test_side_bias_is_used_only_where_sides_are_known() -> None:
    votes = simulate_world(SimulateConfig(prompts=3, models=4, annotators=6, votes_per_pair=2, left_bias=2)).votes
    fit = Hierarchical().fit(votes)
    blind = replace(votes, sides_known=np.zeros_like(votes.sides_known))
    turned = replace(blind, left=votes.right, right=votes.left)
    odds = fit.log_odds(blind)
    np.testing.assert_allclose(odds, -fit.log_odds(turned), atol=1e-12)
    assert (fit.log_odds(votes) - odds).mean() > 0.2


# Held-out votes.


def test_with_spammers_the_hierarchical_ranker_predicts_better_than_bradley_terry() -> None:
    shape = SimulateConfig(prompts=30, models=8, annotators=20, votes_per_pair=2, spammers=0.3, seed=3)
    votes = simulate_world(shape).votes
    held = hold_out(votes, units(votes, "vote"), DenoiseConfig(), names=ALL, folds=3, seed=0, progress=silent)
    gain = held.loss("bradley-terry") - held.loss("hierarchical")
    mean, error = mean_and_error(gain, held.weight, votes.response_prompt[votes.left[held.vote]].astype(np.int64))
    assert error is not None
    assert mean > 3 * error
    assert held.loss("bradley-terry").mean() < np.log(2)


def test_held_out_votes_do_not_influence_their_predictions() -> None:
    """Reversing the votes of one fold changes no method's odds for that fold."""
    votes = simulate_world(SimulateConfig(prompts=6, models=5, annotators=8, votes_per_pair=2, seed=2)).votes
    unit = units(votes, "vote")
    first = assign_folds(unit, 3, np.random.default_rng(4)) == 0
    turned = replace(votes, outcome=np.where(first & (votes.outcome < TIE), 1 - votes.outcome, votes.outcome))
    one, two = (
        hold_out(v, unit, DenoiseConfig(), names=ALL, folds=3, seed=4, progress=silent) for v in (votes, turned)
    )
    reversed_ = first[one.vote]
    assert reversed_.any()
    assert set(one.odds) == {*SINGLE, "ensemble"}
    for name, odds in one.odds.items():
        np.testing.assert_array_equal(odds[reversed_], two.odds[name][first[two.vote]])
    assert not np.allclose(one.odds["hierarchical"][~reversed_], two.odds["hierarchical"][~reversed_])


def test_only_votes_on_connected_responses_are_scored() -> None:
    apart = votes_from([("p", "a", "b", "left")] * 6 + [("p", "c", "d", "left")] * 6 + [("p", "a", "c", "left")])
    held = hold_out(apart, units(apart, "vote"), DenoiseConfig(), names=ALL, folds=3, seed=0, progress=silent)
    assert sorted(held.vote) == list(range(12))  # without it, nothing connects a with c


def test_bradley_terry_odds_are_the_difference_times_one_slope() -> None:
    votes = simulate_world(SimulateConfig(prompts=6, models=5, annotators=8, votes_per_pair=2, seed=2)).votes
    fold = assign_folds(units(votes, "vote"), 2, np.random.default_rng(0))
    held = hold_out(votes, units(votes, "vote"), DenoiseConfig(), names=ALL, folds=2, seed=0, progress=silent)
    strength = BradleyTerry(0.1)(votes.of_votes(np.flatnonzero(fold != 0))).scores
    mine = held.vote[fold[held.vote] == 0]
    gap = strength[votes.left[mine]] - strength[votes.right[mine]]
    odds = held.odds["bradley-terry"][fold[held.vote] == 0]
    assert odds @ gap > 0
    np.testing.assert_allclose(odds, gap * (odds @ gap) / (gap @ gap), atol=1e-6)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that tests only read."""
    folder = tmp_path_factory.mktemp("validation")
    simulate(folder / "world", config=SimulateConfig(prompts=8, models=5, annotators=10, votes_per_pair=2, seed=5))
    ingest([folder / "world" / "votes.csv"], store=folder / "s.duckdb")
    return folder / "s.duckdb"


@pytest.mark.parametrize("by", KINDS)
def test_validation_of_a_store(store: Path, by: HoldOut) -> None:
    before = store.read_bytes()
    report = validate(store, folds=3, by=by, splits=2)
    assert store.read_bytes() == before
    assert report == validate(store, folds=3, by=by, splits=2)
    assert report.votes == 160 == report.scored + report.ties + report.not_ranked
    assert (report.clustered_by, report.clusters) == (("annotator", 10) if by == "annotator" else ("prompt", 8))
    assert {score.method for score in report.methods} == {*SINGLE, "ensemble", "stack"} - {"model-means"}  # none known
    assert [score.log_loss for score in report.methods] == sorted(score.log_loss for score in report.methods)
    best = report.methods[0]
    assert (best.log_loss_difference, best.log_loss_difference_se, best.significant) == (0, 0, None)
    for score in report.methods[1:]:
        assert score.log_loss_difference == pytest.approx(score.log_loss - best.log_loss)
        assert score.significant in (True, False)
        assert 0 <= score.accuracy <= 1
        assert 0 <= score.calibration_error <= 1


def test_the_command_prints_a_table_or_json(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command(store=store, folds=2, by="vote", splits=2, seed=1, as_json=True)
    report = ValidationReport(**json.loads(capsys.readouterr().out))
    assert report == validate(store, folds=2, splits=2, seed=1)
    print_validation(report)
    out, err = capsys.readouterr()
    scores, reliability = out.split("\n\n")
    assert [line.split()[0] for line in scores.splitlines()[2:]] == [score.method for score in report.methods]
    assert report.reliability
    assert [line.split()[0] for line in reliability.splitlines()[2:]] == [
        score.method for score in report.reliability.methods
    ]
    assert f"best by held-out log-loss: {report.methods[0].method}" in err
    assert "over 8 prompts" in err


def test_without_splits_there_is_no_reliability(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = validate(store, folds=2, splits=0)
    assert report.reliability is None
    print_validation(report)
    out, err = capsys.readouterr()
    assert "\n\n" not in out
    assert "halves" not in err


def test_halves_that_rank_no_prompt_give_an_empty_reliability(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = validate(
        store, config=DenoiseConfig(min_votes=15), folds=4, splits=1
    )  # a half has about 10 votes a prompt
    assert report.reliability is not None
    assert report.reliability.methods == ()
    print_validation(report)
    assert "no reliability" in capsys.readouterr().err


def test_too_few_votes_are_rejected_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "v.csv").write_text("prompt_id,left,right,winner\np1,a,b,left\np2,a,b,left\np3,a,b,tie\n")
    ingest([tmp_path / "v.csv"], store=tmp_path / "s.duckdb")
    with pytest.raises(CurateError, match="too few votes for 5 folds: by vote, there are 3") as refusal:
        validate(tmp_path / "s.duckdb")
    assert refusal.value.hint
    with pytest.raises(CurateError, match="too few votes: no decisive vote"):
        validate(tmp_path / "s.duckdb", folds=2)
    with pytest.raises(UsageError, match="1 folds"):
        validate(tmp_path / "s.duckdb", folds=1)
    with pytest.raises(UsageError, match="-1 splits"):
        validate(tmp_path / "s.duckdb", folds=2, splits=-1)
