"""The simulated world: it has the properties of its config, the truth can be estimated, and files appear completely."""

from __future__ import annotations

import hashlib
import json
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from cli.main import run
from curate.simulation.phrases import questions, responses
from curate.simulation.world import CAMPAIGN_MS, TICKETS, World, draw_others, draw_times, simulate_world
from curate.votes.arrays import LEFT, RIGHT, TIE
from pipelines import simulation
from pipelines.simulation import simulate
from schemas.config import SimulateConfig
from schemas.errors import CurateError

SMALL = SimulateConfig(prompts=12, models=5, annotators=20, votes_per_pair=1.5, prompts_per_video=3, seed=7)
EVEN = {"model_sd": 0.0, "interaction_sd": 0.0}
"""Every response is as good as every other."""


@cache
def campaign() -> World:
    """The default world: one vote on every pair."""
    return simulate_world(SimulateConfig())


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def pair_of(world: World) -> np.ndarray:
    """(V,) one number for each unordered pair of responses."""
    low, high = np.minimum(world.left, world.right).astype(np.int64), np.maximum(world.left, world.right)
    return low * world.responses.model.size + high


def recovered_share(world: World) -> float:
    """Share of pairs of responses in the true order by number of wins; equal numbers count half."""
    [graphs] = world.votes.graphs
    count = graphs.wins.sum(axis=2)
    guess = np.sign(count[:, :, None] - count[:, None, :])
    truth = np.sign(world.responses.strength[:, :, None] - world.responses.strength[:, None, :])
    return float((1 + (guess * truth)[truth != 0].mean()) / 2)


def right_share(world: World, who: np.ndarray) -> float:
    """Share of the untied votes of some annotators that go to the truly stronger response."""
    strength = world.responses.strength.ravel()
    mine = np.isin(world.annotator, np.flatnonzero(who)) & (world.outcome != TIE)
    stronger = np.where(strength[world.left] > strength[world.right], LEFT, RIGHT)
    return float((world.outcome == stronger)[mine].mean())


# The world


def test_at_one_vote_per_pair_every_pair_has_exactly_one_vote() -> None:
    world = campaign()
    assert len(np.unique(pair_of(world))) == len(world.left) == 450 * 171


@pytest.mark.parametrize(
    ("votes_per_pair", "fewest", "most", "votes"), [(0.3, 0, 1, 36), (2.0, 2, 2, 240), (2.1, 2, 3, 252)]
)
def test_the_number_of_votes_is_exact_and_its_fraction_falls_on_random_pairs(
    votes_per_pair: float, fewest: int, most: int, votes: int
) -> None:
    world = simulate_world(SMALL.model_copy(update={"votes_per_pair": votes_per_pair}))
    _, times = np.unique(pair_of(world), return_counts=True)
    assert len(world.left) == votes
    assert times.max() == most
    assert (times.min() if len(times) == 12 * 10 else 0) == fewest


@pytest.mark.parametrize("votes_per_pair", [2.5, 20.0])
def test_no_annotator_votes_twice_on_a_pair(votes_per_pair: float) -> None:
    world = simulate_world(SMALL.model_copy(update={"votes_per_pair": votes_per_pair, "activity_sd": 2.0}))
    votes = np.stack([pair_of(world), world.annotator], axis=1)
    assert len(np.unique(votes, axis=0)) == len(votes)


def test_the_smallest_campaign_has_one_vote(tmp_path: Path) -> None:
    config = SimulateConfig(prompts=1, models=2, annotators=1, votes_per_pair=0.01, spammers=0.0)
    assert simulate(tmp_path / "world", config=config).votes == 1


def test_more_votes_per_pair_than_annotators_is_an_error() -> None:
    with pytest.raises(ValidationError, match="nobody votes twice"):
        SimulateConfig(annotators=3, votes_per_pair=3.1)


def test_a_second_annotator_is_drawn_by_activity_among_the_others() -> None:
    tickets = np.array([6, 3, 1]) * (TICKETS // 10)
    taken = np.repeat(np.array([0, 1, 2], dtype=np.int32), 20_000)
    second = draw_others(np.random.default_rng(0), tickets, [taken], len(taken)).reshape(3, -1)
    share = np.stack([np.bincount(row, minlength=3) / 20_000 for row in second])
    assert share == pytest.approx(np.array([[0, 3 / 4, 1 / 4], [6 / 7, 0, 1 / 7], [6 / 9, 3 / 9, 0]]), abs=0.015)


def test_a_vote_compares_two_responses_of_one_prompt() -> None:
    world = simulate_world(SMALL)
    assert (world.left != world.right).all()
    assert (world.left // 5 == world.right // 5).all()


def test_responses_are_shown_left_and_right_equally_often() -> None:
    world = simulate_world(SimulateConfig(prompts=100))
    assert (world.left < world.right).mean() == pytest.approx(0.5, abs=0.015)


def test_times_of_votes_increase_within_the_campaign() -> None:
    times = draw_times(np.random.default_rng(0), 1_000_000)
    assert (np.diff(times) > 0).all()
    assert 0 <= times[0] < times[-1] < CAMPAIGN_MS + 1_000_000


def test_prompts_and_times_of_votes_are_independent() -> None:
    world = campaign()
    assert abs(np.corrcoef(world.left, world.voted_at)[0, 1]) < 0.02


def test_pairs_without_votes_are_spread_over_all_prompts() -> None:
    world = simulate_world(SimulateConfig(votes_per_pair=0.1))
    assert len(np.unique(world.left // 19)) == 450


def test_activity_is_concentrated_on_few_annotators() -> None:
    votes = np.sort(np.bincount(campaign().annotator, minlength=120))
    assert votes[-12:].sum() > 0.3 * votes.sum()


def test_with_activity_sd_0_all_annotators_vote_equally_often() -> None:
    votes = np.bincount(simulate_world(SimulateConfig(activity_sd=0)).annotator, minlength=120)
    assert votes == pytest.approx(np.full(120, 450 * 171 / 120), rel=0.2)


@pytest.mark.parametrize("ties", [0.0, 0.15, 0.6])
@pytest.mark.parametrize("left_bias", [0.0, 1.5])
def test_the_share_of_ties_between_equals_is_independent_of_the_bias(ties: float, left_bias: float) -> None:
    world = simulate_world(SimulateConfig(prompts=150, ties=ties, left_bias=left_bias, spammers=0.0, **EVEN))
    assert (world.outcome == TIE).mean() == pytest.approx(ties, abs=0.01)


def test_unequal_responses_tie_less() -> None:
    world = simulate_world(SimulateConfig(model_sd=3.0, spammers=0.0))
    assert (world.outcome == TIE).mean() < 0.1


def test_without_bias_left_and_right_win_equally_often() -> None:
    world = simulate_world(SimulateConfig(left_bias=0.0, spammers=0.0))
    assert (world.outcome == LEFT).sum() / (world.outcome != TIE).sum() == pytest.approx(0.5, abs=0.006)


@pytest.mark.parametrize("left_bias", [-0.5, 0.5])
def test_between_equals_the_left_wins_by_the_bias_in_logits(left_bias: float) -> None:
    world = simulate_world(SimulateConfig(left_bias=left_bias, spammers=0.0, activity_sd=0.0, **EVEN))
    logit = np.log((world.outcome == LEFT).sum() / (world.outcome == RIGHT).sum())
    assert logit == pytest.approx(left_bias, abs=0.05)


def test_accuracy_increases_with_discrimination_and_spammers_guess() -> None:
    world = simulate_world(SimulateConfig(discrimination_sd=1.0, spammers=0.2))
    who = world.annotators
    median = np.median(who.discrimination[~who.spammer])
    sharp, dull = who.discrimination > median, (who.discrimination <= median) & ~who.spammer
    assert who.spammer.sum() == 24
    assert right_share(world, sharp) > right_share(world, dull) + 0.1
    assert right_share(world, dull) > right_share(world, who.spammer) + 0.05
    assert right_share(world, who.spammer) == pytest.approx(0.5, abs=0.02)


def test_spammers_are_fast() -> None:
    world = campaign()
    quick = world.annotators.spammer[world.annotator]
    assert 2 < np.median(world.seconds[quick]) < 5
    assert 15 < np.median(world.seconds[~quick]) < 40


def test_spammers_have_individual_side_biases_and_tie_shares() -> None:
    world = simulate_world(SimulateConfig(spammers=1.0, annotators=10, activity_sd=0.0))
    shares = np.stack([np.bincount(world.outcome[world.annotator == a], minlength=3)[:3] for a in range(10)])
    shares = shares / shares.sum(axis=1, keepdims=True)
    assert np.ptp(shares[:, LEFT]) > 0.2
    assert np.ptp(shares[:, TIE]) > 0.1
    assert shares[:, TIE] == pytest.approx(world.annotators.tie_share, abs=0.02)


def test_a_model_strength_is_the_mean_of_its_responses_and_unrelated_to_its_name() -> None:
    answers = simulate_world(SimulateConfig(prompts=3000)).responses
    mean = np.bincount(answers.model.ravel(), weights=answers.strength.ravel()) / 3000
    assert mean == pytest.approx(answers.model_strength, abs=0.1)
    assert abs(np.corrcoef(answers.model_strength, np.arange(19))[0, 1]) < 0.7


def test_the_position_of_a_response_is_independent_of_its_model() -> None:
    model = simulate_world(SimulateConfig(prompts=2000, models=4)).responses.model
    assert (np.sort(model, axis=1) == np.arange(4)).all()
    times = np.stack([np.bincount(place, minlength=4) for place in model.T])
    assert times == pytest.approx(np.full((4, 4), 500), rel=0.15)


def test_rank_1_is_the_strongest_and_equals_share_a_rank() -> None:
    responses = simulate_world(SimulateConfig(prompts=3, models=4, interaction_sd=0.0)).responses
    assert (np.argsort(responses.rank, axis=1) == np.argsort(-responses.strength, axis=1)).all()
    assert (simulate_world(SimulateConfig(prompts=3, models=4, **EVEN)).responses.rank == 1).all()


def test_more_votes_on_the_same_responses_recover_more_of_the_truth() -> None:
    few, more, many = (simulate_world(SimulateConfig(prompts=60, votes_per_pair=v)) for v in (0.5, 2.0, 10.0))
    assert (few.responses.strength == many.responses.strength).all()
    assert recovered_share(few) + 0.05 < recovered_share(more) < recovered_share(many) - 0.02
    assert recovered_share(many) > 0.9


def test_with_more_spammers_less_of_the_truth_is_recovered() -> None:
    honest, spammed, lost = (simulate_world(SimulateConfig(prompts=60, spammers=s)) for s in (0.0, 0.6, 1.0))
    assert recovered_share(honest) > recovered_share(spammed) > recovered_share(lost) + 0.05
    assert recovered_share(lost) == pytest.approx(0.5, abs=0.02)


# Other worlds than the default


FIXED = SimulateConfig(
    prompts=150, link="fixed-error", error=0.3, discrimination_sd=0.0, ties=0.1, left_bias=0.0, spammers=0.2, seed=3
)


def test_with_a_fixed_error_the_error_rate_is_independent_of_the_difference() -> None:
    world = simulate_world(FIXED)
    strength = world.responses.strength.ravel()
    gap = np.abs(strength[world.left] - strength[world.right])
    honest = ~world.annotators.spammer[world.annotator] & (world.outcome != TIE)
    better = np.where(strength[world.left] > strength[world.right], LEFT, RIGHT)
    for part in (gap < np.median(gap), gap >= np.median(gap)):
        assert (world.outcome != better)[honest & part].mean() == pytest.approx(0.3, abs=0.015)
    assert right_share(world, world.annotators.spammer) == pytest.approx(0.5, abs=0.02)


def test_with_a_fixed_error_annotators_differ_and_ties_are_independent_of_the_difference() -> None:
    world = simulate_world(FIXED.model_copy(update={"discrimination_sd": 1.0, "spammers": 0.0}))
    median = np.median(world.annotators.discrimination)
    sharp, dull = world.annotators.discrimination > median, world.annotators.discrimination <= median
    assert right_share(world, sharp) > 0.75 > 0.65 > right_share(world, dull)
    strength, tied = world.responses.strength.ravel(), world.outcome == TIE
    gap = np.abs(strength[world.left] - strength[world.right])
    assert tied[gap > np.median(gap)].mean() == pytest.approx(tied[gap <= np.median(gap)].mean(), abs=0.01)


def test_an_error_of_one_half_is_chance_level() -> None:
    world = simulate_world(FIXED.model_copy(update={"error": 0.5}))
    assert right_share(world, ~world.annotators.spammer) == pytest.approx(0.5, abs=0.02)


def test_heavy_tailed_strengths_have_the_same_variance_and_more_extremes() -> None:
    config = SimulateConfig(prompts=5000, models=20, model_sd=0.0, interaction_sd=1.5, votes_per_pair=0.001)
    normal, heavy = (
        simulate_world(config.model_copy(update={"strength_distribution": name})).responses.strength.ravel() / 1.5
        for name in ("normal", "heavy-tailed")
    )
    assert heavy.std() == pytest.approx(1.0, abs=0.1)
    assert heavy.mean() == pytest.approx(0.0, abs=0.02)
    assert (np.abs(heavy) > 4).sum() > 20 * (np.abs(normal) > 4).sum()


@pytest.mark.parametrize("votes_per_pair", [0.4, 1.0, 15.0])
def test_an_adaptive_campaign_has_more_votes_on_strong_responses(votes_per_pair: float) -> None:
    config = SimulateConfig(prompts=40, annotators=30, votes_per_pair=votes_per_pair, design="adaptive")
    world = simulate_world(config)
    times = np.bincount(np.r_[world.left, world.right], minlength=40 * 19).reshape(40, 19)
    order = np.argsort(world.responses.strength, axis=1)
    sorted_times = np.take_along_axis(times, order, axis=1)
    assert len(world.left) == round(votes_per_pair * 40 * 171)
    assert sorted_times[:, -3:].mean() > 1.6 * sorted_times[:, :3].mean()
    votes = np.stack([pair_of(world), world.annotator], axis=1)
    assert len(np.unique(votes, axis=0)) == len(votes)


def test_an_adaptive_campaign_with_all_possible_votes_is_balanced() -> None:
    world = simulate_world(SMALL.model_copy(update={"votes_per_pair": 20.0, "design": "adaptive"}))
    assert (np.unique(pair_of(world), return_counts=True)[1] == 20).all()


# Its files


GOLDEN = {
    "annotators.csv": "bb7baf7e607b228e",
    "prompts.csv": "da28abac520705e5",
    "responses.csv": "3c1164de2e2617c1",
    "truth.csv": "c20d80108509c79e",
    "votes.csv": "289549e95c18b9a3",
}
"""The beginnings of the SHA-256 of the files of SMALL, as of the first version of the simulator."""


def test_a_world_is_the_same_in_every_version(tmp_path: Path) -> None:
    simulate(tmp_path / "world", config=SMALL)
    files = contents(tmp_path / "world")
    assert {name: hashlib.sha256(files[name]).hexdigest()[:16] for name in GOLDEN} == GOLDEN


def test_a_world_of_an_earlier_version_is_recognised(tmp_path: Path) -> None:
    simulate(tmp_path / "world", config=SMALL)
    before = contents(tmp_path / "world")
    document = json.loads(before["world.json"])
    for field in ("link", "error", "strength_distribution", "design"):
        del document["config"][field]
    for old, new in {"care": "discrimination_sd", "activity": "activity_sd", "model_spread": "model_sd"}.items():
        document["config"][old] = document["config"].pop(new)
    (tmp_path / "world" / "world.json").write_text(json.dumps(document))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        simulate(tmp_path / "world", config=SMALL)
    assert contents(tmp_path / "world") == before


def test_renamed_keys_and_options_are_accepted_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = {"tails": "heavy", "care": 0.1, "activity": 0.2, "interaction": 0.3, "model_spread": 0.4}
    with pytest.warns(FutureWarning):
        config = SimulateConfig.model_validate(old)
    assert config == SimulateConfig(
        strength_distribution="heavy-tailed",
        discrimination_sd=0.1,
        activity_sd=0.2,
        interaction_sd=0.3,
        model_sd=0.4,
    )
    for number, forms in enumerate((["--tails", "heavy"], ["--tails=heavy"])):
        out = tmp_path / str(number)
        assert run(["simulate", "--prompt-count", "2", "--models", "3", "--out", str(out), *forms]) == 0
        assert "note: '--tails' is now called '--strength-distribution'" in capsys.readouterr().err
        assert json.loads((out / "world.json").read_bytes())["config"]["strength_distribution"] == "heavy-tailed"


def test_equal_configs_give_equal_bytes_and_another_seed_gives_different_ones(tmp_path: Path) -> None:
    simulate(tmp_path / "one", config=SMALL)
    simulate(tmp_path / "two", config=SMALL)
    simulate(tmp_path / "three", config=SMALL.model_copy(update={"seed": 8}))
    one, two, three = (contents(tmp_path / name) for name in ("one", "two", "three"))
    assert one == two
    assert all(one[name] != three[name] for name in one.keys() - {"prompts.csv"})


def test_votes_are_independent_of_the_chunk_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(tmp_path / "whole", config=SMALL)
    monkeypatch.setattr(simulation, "CHUNK", 7)
    simulate(tmp_path / "chunked", config=SMALL)
    assert contents(tmp_path / "whole") == contents(tmp_path / "chunked")


def test_the_files_say_what_the_world_is(tmp_path: Path) -> None:
    report = simulate(tmp_path / "world", config=SMALL)
    world = simulate_world(SMALL)
    frames = {name: pl.read_csv(tmp_path / "world" / name) for name in report.files if name.endswith(".csv")}
    votes, truth = frames["votes.csv"], frames["truth.csv"]
    assert votes.columns == ["prompt_id", "left", "right", "winner", "annotator_id", "submitted_at", "seconds"]
    assert votes["winner"].to_list() == [["left", "right", "tie"][code] for code in world.outcome]
    assert votes["left"].to_list() == [world.response_ids[i] for i in world.left]
    assert votes["right"].to_list() == [world.response_ids[i] for i in world.right]
    assert votes["annotator_id"].to_list() == [world.annotator_ids[i] for i in world.annotator]
    assert votes["prompt_id"].to_list() == [response.split("-")[0] for response in votes["left"]]
    assert votes["submitted_at"].is_sorted()
    assert votes["submitted_at"].str.contains(r"^2026-(01|02)-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$").all()
    assert truth["strength"].to_list() == world.responses.strength.ravel().tolist()
    assert truth["rank"].to_list() == world.responses.rank.ravel().tolist()
    assert truth["model"].to_list() == [world.models[i] for i in world.responses.model.ravel()]
    assert (
        frames["responses.csv"]
        .select("prompt_id", "response_id", "model")
        .equals(truth.select("prompt_id", "response_id", "model"))
    )
    assert frames["annotators.csv"]["spammer"].to_list() == world.annotators.spammer.tolist()


def test_the_report_counts_what_is_in_the_files_and_world_json_repeats_it(tmp_path: Path) -> None:
    report = simulate(tmp_path / "world", config=SMALL)
    document = json.loads((tmp_path / "world" / "world.json").read_bytes())
    votes = pl.read_csv(tmp_path / "world" / "votes.csv")
    assert sorted(report.files) == sorted(contents(tmp_path / "world"))
    assert (report.prompts, report.responses, report.annotators, report.spammers) == (12, 60, 20, 2)
    assert report.votes == len(votes) == 180
    assert report.ties == (votes["winner"] == "tie").mean()
    assert SimulateConfig(**document["config"]) == SMALL
    assert document["counts"] == {name: getattr(report, name) for name in document["counts"]}


def test_consecutive_prompts_share_a_video_and_have_different_questions(tmp_path: Path) -> None:
    simulate(tmp_path / "world", config=SMALL)
    prompts = pl.read_csv(tmp_path / "world" / "prompts.csv")
    assert prompts["video"].to_list() == [f"videos/v{p // 3 + 1:04d}.mp4" for p in range(12)]
    assert not prompts.select("video", "question").is_duplicated().any()


def test_the_texts_of_a_prompt_are_distinct_even_past_all_combinations(tmp_path: Path) -> None:
    config = SimulateConfig(prompts=2, models=120, votes_per_pair=0.01)
    simulate(tmp_path / "world", config=config)
    texts = pl.read_csv(tmp_path / "world" / "responses.csv")
    assert not texts.select("prompt_id", "text").is_duplicated().any()
    assert questions(np.arange(10_000)).n_unique() == responses(np.arange(10_000)).n_unique() == 10_000


def test_a_failure_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setitem(simulation.FILES, "truth.csv", breaks)
    with pytest.raises(OSError, match="disk full"):
        simulate(tmp_path / "world", config=SMALL)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_while_rewriting_keeps_the_old_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> None:
        raise OSError("disk full")

    simulate(tmp_path / "world", config=SMALL)
    before = contents(tmp_path / "world")
    monkeypatch.setitem(simulation.FILES, "truth.csv", breaks)
    with pytest.raises(OSError, match="disk full"):
        simulate(tmp_path / "world", config=SMALL)
    assert contents(tmp_path / "world") == before
    assert [path.name for path in tmp_path.iterdir()] == ["world"]


def test_the_same_world_is_written_again_and_leaves_other_files_alone(tmp_path: Path) -> None:
    first = simulate(tmp_path / "world", config=SMALL)
    before = contents(tmp_path / "world")
    (tmp_path / "world" / "votes.csv").write_text("damaged")
    (tmp_path / "world" / "curate.duckdb").write_text("the user's own")
    assert simulate(tmp_path / "world", config=SMALL) == first
    assert contents(tmp_path / "world") == before | {"curate.duckdb": b"the user's own"}


def test_a_missing_or_empty_folder_is_made_into_the_world(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    simulate(tmp_path / "empty", config=SMALL)
    simulate(tmp_path / "new" / "deep", config=SMALL)
    assert contents(tmp_path / "empty") == contents(tmp_path / "new" / "deep")


def test_an_empty_folder_that_one_stands_in_stays_the_same_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    report = simulate(".", config=SMALL)
    assert sorted(report.files) == sorted(path.name for path in Path.cwd().iterdir())


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"thesis.txt": "years of work"}, "not empty"),
        ({"world.json": "not json"}, "cannot be read"),
        ({"world.json": "[]"}, "another config"),
        ({"world.json": json.dumps({"config": SimulateConfig().model_dump()})}, "another config"),
    ],
)
def test_a_folder_that_holds_anything_else_is_refused_and_left_alone(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(CurateError, match=message) as refusal:
        simulate(tmp_path, config=SMALL)
    assert refusal.value.hint
    assert contents(tmp_path) == {name: text.encode() for name, text in files.items()}


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "world").write_text("a file")
    with pytest.raises(CurateError, match="is a file"):
        simulate(tmp_path / "world", config=SMALL)
