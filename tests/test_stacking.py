"""The choice of a ranker by held-out votes, and the weights of the stack."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from curate.denoising.ranking import rank_votes
from curate.denoising.selection import choose, chosen, draw_sample, fit_weights, with_stack
from curate.evaluation.cross_validation import HeldOut
from curate.rankers.bradley_terry import BradleyTerry
from curate.rankers.registry import compared_rankers
from curate.rankers.stack import Stack
from curate.rankers.win_rate import WinRate
from curate.simulation.world import simulate_world
from curate.votes.arrays import VoteArrays
from schemas.config import AutoConfig, DenoiseConfig, SimulateConfig
from schemas.rankers import MethodName
from schemas.validation import MethodScore


def held_out(**odds: np.ndarray) -> HeldOut:
    """Votes drawn with the first method's log odds, held out in four folds."""
    rng = np.random.default_rng(3)
    first = next(iter(odds.values()))
    count = len(first)
    named = {name.replace("_", "-"): values for name, values in odds.items()}
    return HeldOut(
        vote=np.arange(count),
        left=rng.random(count) < expit(first),
        weight=np.ones(count),
        fold=np.arange(count) % 4,
        odds=named,  # type: ignore[arg-type]
        order={name: np.sign(values) for name, values in named.items()},  # type: ignore[misc]
        slopes=dict.fromkeys(named, 1.0),  # type: ignore[arg-type]
    )


def test_an_informative_ranker_gets_all_the_weight_and_noise_none() -> None:
    rng = np.random.default_rng(0)
    truth, noise = rng.normal(0, 2, 20_000), rng.normal(0, 2, 20_000)
    weights = fit_weights(np.stack([truth, noise], axis=1), rng.random(20_000) < expit(truth), np.ones(20_000))
    assert weights[0] == pytest.approx(1, abs=0.05)
    assert weights[1] < 0.05


def test_independent_parts_of_the_log_odds_are_added() -> None:
    """Two rankers know independent parts of the log odds: each gets weight 1."""
    rng = np.random.default_rng(1)
    one, two = rng.normal(0, 1.5, 40_000), rng.normal(0, 1.5, 40_000)
    weights = fit_weights(np.stack([one, two], axis=1), rng.random(40_000) < expit(one + two), np.ones(40_000))
    assert weights == pytest.approx([1, 1], abs=0.06)


def test_a_vote_of_weight_2_counts_as_two_votes() -> None:
    rng = np.random.default_rng(2)
    odds, left = rng.normal(0, 1, (50, 2)), rng.random(50) < 0.5
    twice = fit_weights(np.tile(odds, (2, 1)), np.tile(left, 2), np.ones(100))
    assert fit_weights(odds, left, np.full(50, 2.0)) == pytest.approx(twice, abs=1e-6)


def test_a_ranker_with_odds_of_0_has_weight_0() -> None:
    rng = np.random.default_rng(4)
    odds = np.stack([rng.normal(0, 1, 200), np.zeros(200)], axis=1)
    assert fit_weights(odds, rng.random(200) < expit(odds[:, 0]), np.ones(200))[1] == 0


def test_weights_are_not_negative() -> None:
    rng = np.random.default_rng(5)
    truth = rng.normal(0, 2, 2_000)
    odds = np.stack([truth, -truth], axis=1)
    weights = fit_weights(odds, rng.random(2_000) < expit(truth), np.ones(2_000))
    assert (weights >= 0).all()
    assert weights[0] > weights[1]


def test_the_stack_is_scored_with_weights_fitted_to_the_other_folds() -> None:
    """Changing the votes of one fold changes the odds of the others, but not its own."""
    rng = np.random.default_rng(6)
    held = held_out(hierarchical=rng.normal(0, 1, 400), win_rate=rng.normal(0, 1, 400))
    flipped = replace(held, left=np.where(held.fold == 2, ~held.left, held.left))
    before, after = with_stack(held)[0].odds["stack"], with_stack(flipped)[0].odds["stack"]
    own = held.fold == 2
    assert (before[own] == after[own]).all()
    assert (before[~own] != after[~own]).any()


def score(method: MethodName, behind: float, *, error: float | None = 0.01) -> MethodScore:
    return MethodScore(
        method=method,
        log_loss=0.5 + behind,
        log_loss_se=0.01,
        accuracy=0.7,
        accuracy_se=0.01,
        calibration_error=0.02,
        log_loss_difference=behind,
        log_loss_difference_se=error,
        significant=None,
    )


def test_the_simplest_method_within_a_standard_error_of_the_best_is_chosen() -> None:
    stack = score("stack", 0)
    assert chosen([stack, score("win-rate", 0.005), score("hierarchical", 0.008)]) == "hierarchical"
    assert chosen([stack, score("win-rate", 0.005), score("hierarchical", 0.02)]) == "win-rate"
    assert chosen([stack, score("win-rate", 0.02), score("hierarchical", 0.03)]) == "stack"
    assert chosen([score("pagerank", 0), score("hierarchical", 0.02)]) == "pagerank"
    assert chosen([score("pagerank", 0, error=None), score("hierarchical", 0.02, error=None)]) == "hierarchical"


def test_of_methods_that_predict_alike_the_better_calibrated_is_chosen() -> None:
    """Model means are the simplest; the calibration error counts beyond a margin."""
    means, whole = score("model-means", 0.001), score("hierarchical", 0.0)
    assert chosen([whole, means]) == "model-means"
    assert chosen([whole, replaced(means, calibration_error=whole.calibration_error + 0.01)]) == "hierarchical"
    assert chosen([whole, score("model-means", 0.02)]) == "hierarchical"


def replaced(score: MethodScore, **changes: float) -> MethodScore:
    return score.model_copy(update=changes)


def test_on_few_prompts_whose_models_are_in_one_order_model_means_are_chosen() -> None:
    votes = world(60, interaction_sd=0.0)
    denoised = rank_votes(votes, DenoiseConfig())
    assert denoised.method == "model-means"
    assert denoised.posterior.prior.variance < 0.1  # its own posterior, not that of the whole model
    of_model = [denoised.rank[votes.response_model == model] for model in range(8)]
    assert np.mean([len(np.unique(ranks)) == 1 for ranks in of_model]) > 0.5


def test_model_means_are_not_compared_where_models_are_unknown_or_votes_are_many() -> None:
    votes = world(20)
    unknown = replace(votes, response_model=np.full_like(votes.response_model, -1), models=())
    assert "model-means" not in {score.method for score in choose(unknown, DenoiseConfig()).methods}
    assert "model-means" not in {score.method for score in choose(votes, DenoiseConfig()).methods}  # models vary
    many = compared_rankers(DenoiseConfig(), annotators=True, held_out=True, votes=20_001)
    assert "model-means" not in many


def world(prompts: int = 40, **shape: float) -> VoteArrays:
    return simulate_world(SimulateConfig(prompts=prompts, models=8, annotators=30, **shape)).votes  # type: ignore[arg-type]


def test_choosing_holds_out_whole_annotators_on_a_limited_number_of_prompts() -> None:
    config = DenoiseConfig(auto=AutoConfig(prompts=15))
    choice = choose(world(), config)
    assert (choice.by, choice.prompts) == ("annotator", 15)
    assert {"stack", "ensemble", "hierarchical", "pagerank"} <= {score.method for score in choice.methods}
    assert [score.log_loss for score in choice.methods] == sorted(score.log_loss for score in choice.methods)
    assert choice.votes <= 15 * 28
    assert choose(world(), config) == choice


def test_the_votes_that_decide_are_limited_by_prompts_and_then_by_whole_annotators() -> None:
    votes = world()  # 40 prompts × 28 votes
    fewer_prompts = draw_sample(votes, DenoiseConfig(auto=AutoConfig(votes=30 * 28)))
    assert (len(fewer_prompts.prompts), len(fewer_prompts.left)) == (30, 30 * 28)
    thinned = draw_sample(votes, DenoiseConfig(auto=AutoConfig(votes=300, folds=2)))
    assert len(thinned.prompts) == 20
    assert len(thinned.left) <= 300
    drawn = votes.of_prompts(np.isin(votes.prompts, thinned.prompts))
    assert len(thinned.left) == np.isin(drawn.annotator, thinned.annotator).sum()
    effort = [DenoiseConfig(auto=AutoConfig(prompts=20), effort=effort) for effort in ("low", "normal", "high")]
    assert [len(draw_sample(votes, config).prompts) for config in effort] == [2, 20, 40]


def test_the_number_of_threads_does_not_change_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    config = DenoiseConfig(auto=AutoConfig(prompts=10))
    found = []
    for cores in (1, 4):
        monkeypatch.setattr("curate.evaluation.cross_validation.cores", lambda cores=cores: cores)
        found.append(choose(world(), config))
    assert found[0] == found[1]


def test_anonymous_votes_are_held_out_singly() -> None:
    votes = world(20)
    anonymous = replace(votes, annotator=np.full_like(votes.annotator, -1), annotators=())
    choice = choose(anonymous, DenoiseConfig())
    assert choice.by == "vote"
    assert "weighted-feedback-arc-set" not in {score.method for score in choice.methods}


def test_where_no_vote_can_be_held_out_the_choice_is_hierarchical() -> None:
    votes = world(1)
    few = votes.of_votes(np.arange(3))
    choice = choose(few, DenoiseConfig())
    assert (choice.method, choice.stack, choice.methods) == ("hierarchical", None, ())


def test_a_stack_of_one_ranker_has_its_order_and_logits() -> None:
    votes = world(5)
    rankings = {"win-rate": WinRate()(votes), "bradley-terry": BradleyTerry()(votes)}
    slopes = {"win-rate": 4.0, "bradley-terry": 0.5}
    one = Stack({"win-rate": 0.0, "bradley-terry": 2.0}, slopes).combine(votes, rankings)  # type: ignore[arg-type]
    assert one.scores == pytest.approx(rankings["bradley-terry"].scores)
    both = Stack({"win-rate": 1.0, "bradley-terry": 2.0}, slopes).combine(votes, rankings)  # type: ignore[arg-type]
    assert both.scores == pytest.approx(4 * rankings["win-rate"].scores + rankings["bradley-terry"].scores)
