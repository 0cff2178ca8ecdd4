"""The leaderboard: its estimates, its standard errors, its classes."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy.optimize import minimize

import curate
from cli.main import run
from curate.evaluation.leaderboard import Leaderboard, leaderboard
from curate.evaluation.models import RIDGE
from curate.release.card import _models
from curate.simulation.world import simulate_world
from curate.store import games
from curate.votes.arrays import VoteArrays
from schemas.config import SimulateConfig
from schemas.errors import CurateError


def votes_of(rows: list[tuple[str, str, str, str]], **columns: list[str]) -> VoteArrays:
    prompt, left, right, outcome = zip(*rows, strict=True)
    return VoteArrays.from_columns(prompt=prompt, left=left, right=right, outcome=outcome, **columns)


@pytest.fixture(scope="module")
def world_votes() -> VoteArrays:
    return simulate_world(SimulateConfig(prompts=30, models=6, annotators=25, votes_per_pair=1.5, seed=3)).votes


@pytest.fixture(scope="module")
def board(world_votes: VoteArrays) -> Leaderboard:
    return leaderboard(world_votes)


def test_strengths_maximise_the_penalised_likelihood(world_votes: VoteArrays, board: Leaderboard) -> None:
    model, m = world_votes.response_model, len(world_votes.models)
    i, j = model[world_votes.left], model[world_votes.right]
    won = np.array([1.0, 0.0, 0.5, 0.5])[world_votes.outcome]

    def loss(theta: np.ndarray) -> float:
        eta = theta[i] - theta[j] + theta[m] * world_votes.sides_known
        likelihood = world_votes.weight * (won * eta - np.logaddexp(0, eta))
        return float(-likelihood.sum() + RIDGE * (theta @ theta) / 2)

    best = minimize(loss, np.zeros(m + 1), tol=1e-12).x
    names = np.array(world_votes.models)
    expected = dict(zip(names, best[:m] - best[:m].mean(), strict=True))
    assert board.converged
    assert board.effects["effect"][0] == pytest.approx(best[m], abs=1e-4)
    for name, strength in board.frame.select("model", "strength").iter_rows():
        assert strength == pytest.approx(expected[name], abs=1e-4)


def test_variance_is_the_jackknife_over_prompts_and_annotators(world_votes: VoteArrays, board: Leaderboard) -> None:
    """Refitting without each cluster gives about the same variances as the one-step formula."""
    names = list(board.frame["model"])

    def strengths(votes: VoteArrays) -> np.ndarray:
        frame = leaderboard(votes).frame
        return np.array([frame.filter(pl.col("model") == name)["strength"][0] for name in names])

    full = strengths(world_votes)
    total = np.zeros((len(names), len(names)))
    for cluster in (world_votes.response_prompt[world_votes.left], world_votes.annotator):
        moves = np.stack([strengths(world_votes.of_votes(cluster != g)) - full for g in np.unique(cluster)])
        total += moves.T @ moves * (len(moves) - 1) / len(moves)
    # What remains is the intersection term, which is smaller than either: V lies between ½ and 1 times the sum.
    ratio = np.diagonal(board.covariance) / np.diagonal(total)
    assert (ratio > 0.5).all()
    assert (ratio < 1.02).all()


def test_repeating_every_vote_does_not_narrow_the_intervals(world_votes: VoteArrays, board: Leaderboard) -> None:
    """Copies of votes by the same annotators on the same prompts carry no information."""
    twice = world_votes.of_votes(np.tile(np.arange(len(world_votes.left)), 5))
    again = leaderboard(twice).frame.sort("model")
    before = board.frame.sort("model")
    np.testing.assert_allclose(again["strength_se"], before["strength_se"], rtol=0.1)  # independent: / √5


def test_reversing_every_vote_reverses_the_leaderboard(world_votes: VoteArrays, board: Leaderboard) -> None:
    reverse = leaderboard(replace(world_votes, left=world_votes.right, right=world_votes.left))
    mirrored = dict(reverse.frame.select("model", "strength").iter_rows())
    for name, strength in board.frame.select("model", "strength").iter_rows():
        assert mirrored[name] == pytest.approx(-strength, abs=1e-8)
    assert reverse.effects["effect"][0] == pytest.approx(board.effects["effect"][0], abs=1e-8)


def test_a_class_holds_what_does_not_differ_from_its_best_model(board: Leaderboard) -> None:
    classes = board.frame["class"].to_list()
    assert max(classes) > 1
    for place, own in enumerate(classes):
        anchors = [classes.index(number) for number in range(1, own + 1)]
        assert [bool(board.significant[place, anchor]) for anchor in anchors] == [True] * (own - 1) + [False]


def test_rank_intervals_count_significant_differences(board: Leaderboard) -> None:
    frame, n = board.frame, len(board.frame)
    assert frame["rank"].to_list() == list(range(1, n + 1))
    for place in range(n):
        assert frame["best_rank"][place] == 1 + board.significant[place, :place].sum()
        assert frame["worst_rank"][place] == n - board.significant[place, place + 1 :].sum()


def test_prompts_on_one_video_are_one_cluster(world_votes: VoteArrays, board: Leaderboard) -> None:
    prompts = len(world_votes.prompts)
    shared = leaderboard(replace(world_votes, prompt_video=np.arange(prompts, dtype=np.int32) // 10))
    assert shared.clustered_by == ("video", "annotator")
    alone = leaderboard(replace(world_votes, prompt_video=np.full(prompts, -1, dtype=np.int32)))
    assert alone.frame.equals(board.frame)
    apart = leaderboard(replace(world_votes, prompt_video=np.arange(prompts, dtype=np.int32)))
    assert apart.frame.equals(board.frame)
    few = shared.frame.sort("model")["high"] - shared.frame.sort("model")["low"]
    many = board.frame.sort("model")["high"] - board.frame.sort("model")["low"]
    assert (few > many).all()  # three videos leave two degrees of freedom


def test_the_effect_of_a_covariate_is_estimated_beside_the_strengths() -> None:
    """Equal models, one of which writes twice as long; each doubling adds half a logit."""
    rng = np.random.default_rng(0)
    world = simulate_world(SimulateConfig(prompts=40, models=5, annotators=30, votes_per_pair=4, model_sd=0, seed=1))
    votes, texts = world.votes, rng.normal(size=len(world.votes.responses))
    texts += 2 * (world.votes.response_model == 0)
    lead = 0.5 * (texts[votes.left] - texts[votes.right])
    outcome = (rng.random(len(lead)) > 1 / (1 + np.exp(-lead))).astype(np.int8)
    votes = replace(votes, outcome=outcome, covariates=texts[:, None] * 100, covariate_names=("centi-doublings",))
    controlled, plain = leaderboard(votes), leaderboard(replace(votes, covariates=None, covariate_names=()))
    (_, effect, _, low, high) = controlled.effects.row(1)
    assert low < 0.005 < high
    assert 0.0035 < effect < 0.0065
    assert plain.frame.row(0, named=True)["model"] == "model-01"
    assert plain.frame["class"].max() > 1
    assert controlled.frame["class"].max() == 1


def test_equal_inputs_give_equal_bytes(world_votes: VoteArrays, board: Leaderboard) -> None:
    assert leaderboard(world_votes).frame.write_csv() == board.frame.write_csv()


def test_equal_models_are_rarely_called_different() -> None:
    """Family-wise error 5%: 30 worlds of equal models give at most 5 false alarms (p = .003 if the rate is 5%)."""
    false = 0
    for seed in range(30):
        config = SimulateConfig(prompts=25, models=5, annotators=30, model_sd=0, seed=seed)
        false += bool(leaderboard(simulate_world(config).votes).significant.any())
    assert false <= 5


@pytest.mark.parametrize("votes", [1, 2, 3, 4])
def test_a_few_unanimous_votes_decide_nothing(votes: int) -> None:
    """Each by another annotator on another prompt: the exact test has p = 1/8 with four votes."""
    rows = [(f"p{i}", *("ab" if i % 2 else "ba"), "left" if i % 2 else "right") for i in range(votes)]
    found = leaderboard(votes_of(rows))
    assert not found.significant.any()
    assert found.frame["low"][0] < 0 < found.frame["high"][0]


def test_thirty_unanimous_votes_decide() -> None:
    rows = [(f"p{i}", *("ab" if i % 2 else "ba"), "left" if i % 2 else "right") for i in range(30)]
    assert leaderboard(votes_of(rows)).frame["class"].to_list() == [1, 2]


def test_components_are_ranked_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pipelines import ingest

    rows = [("p", "a", "b", "left"), ("q", "a", "b", "left"), ("p", "c", "d", "right"), ("q", "c", "d", "right")]
    rows += [("p", "b", "e", "left"), ("q", "b", "e", "tie")]
    frame = leaderboard(votes_of(rows)).frame
    assert frame.select("model", "component", "rank").rows() == [
        ("a", 0, 1), ("b", 0, 2), ("e", 0, 3), ("d", 1, 1), ("c", 1, 2),
    ]  # fmt: skip
    assert "not listed: 2" in "".join(_models(frame.to_dicts()))
    ingest(pl.DataFrame(rows, schema=["prompt_id", "left", "right", "winner"], orient="row"), tmp_path / "s.duckdb")
    assert run(["leaderboard", "--store", str(tmp_path / "s.duckdb")]) == 0
    assert capsys.readouterr().out.split()[:2] == ["component", "rank"]


def test_one_prompt_without_models_ranks_its_responses() -> None:
    votes = votes_of([("p", "a", "b", "left"), ("p", "b", "c", "left"), ("p", "a", "c", "left")])
    found = leaderboard(votes)
    assert found.frame["model"].to_list() == ["a", "b", "c"]
    assert found.clustered_by == ("annotator",)


def test_win_rate_counts_ties_as_half() -> None:
    found = leaderboard(votes_of([("p", "a", "b", "left"), ("q", "a", "b", "tie"), ("p", "b", "a", "left")]))
    assert dict(found.frame.select("model", "win_rate").iter_rows()) == {"a": 0.5, "b": 0.5}


def test_votes_without_known_models_are_counted_or_refused() -> None:
    mixed = votes_of([("p", "a", "b", "left"), ("q", "a", "b", "left"), ("q", "only-q", "a", "left")])
    assert (leaderboard(mixed).votes, leaderboard(mixed).excluded_votes) == (2, 1)
    with pytest.raises(CurateError):
        leaderboard(votes_of([("p", "a", "b", "left"), ("q", "c", "d", "left")]))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of the votes that `test_store_and_command_use_the_same_code` ranks as a table too."""
    from pipelines import ingest

    folder = tmp_path_factory.mktemp("leaderboard")
    rows = [("p", "a", "b", "left"), ("q", "b", "a", "tie"), ("p", "a", "b", "left"), ("q", "a", "b", "right")]
    pl.DataFrame(rows, schema=["prompt_id", "left", "right", "winner"], orient="row").with_columns(
        annotator_id=pl.Series(["w1", "w2", "w3", "w3"]), category=pl.Series(["pets", "wild", "pets", "wild"])
    ).write_csv(folder / "votes.csv")
    (folder / "prompts.csv").write_text("prompt_id,question,video\np,what?,cat.mp4\nq,why?,dog.mp4\n")
    ingest(folder / "votes.csv", folder / "s.duckdb", prompts=folder / "prompts.csv")
    return folder / "s.duckdb"


def test_store_and_command_use_the_same_code(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = pl.read_csv(store.parent / "votes.csv")
    expected = curate.rank(table, ranker="borda").leaderboard()
    with curate.open(store) as opened:
        found = opened.leaderboard()
    assert found.select("model", "rank", "class", "votes").equals(expected.select("model", "rank", "class", "votes"))
    np.testing.assert_allclose(found["strength"], expected["strength"], atol=1e-9)
    assert run(["leaderboard", "--store", str(store), "--csv"]) == 0
    assert capsys.readouterr().out == found.write_csv()
    assert run(["leaderboard", "--store", str(store), "--json"]) == 0
    assert [row["model"] for row in json.loads(capsys.readouterr().out)] == found["model"].to_list()


def test_by_groups_votes_by_a_column_of_the_prompts(store: Path) -> None:
    with curate.open(store) as opened:
        assert opened.leaderboard(by="category")["category"].to_list() == ["pets", "pets", "wild", "wild"]
        found = opened.leaderboard(by="video")
    assert found.select("video", "model", "votes").rows() == [
        ("cat.mp4", "a", 2), ("cat.mp4", "b", 2), ("dog.mp4", "b", 2), ("dog.mp4", "a", 2),
    ]  # fmt: skip


def test_by_a_field_of_the_meta_stays_with_its_vote(tmp_path: Path) -> None:
    """K-wise rankings share a vote key over several pairs; each pair keeps the field of its row."""
    from curate.store import Store
    from pipelines import ingest

    rows = [
        {"prompt_id": f"p{i}", "responses": ["a", "b", "c"], "rankings": [1, 2, 3] if i % 2 else [3, 2, 1]}
        for i in range(6)
    ]
    (tmp_path / "v.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    ingest(tmp_path / "v.jsonl", tmp_path / "s.duckdb")
    with Store.open(tmp_path / "s.duckdb") as opened:
        opened.execute(
            """UPDATE votes SET meta = CASE WHEN prompt_id IN ('p1', 'p3', 'p5') THEN '{"language": "en"}'
            WHEN prompt_id <> 'p0' THEN '{"language": "fi"}' END"""
        )
        found = opened.leaderboard(by="language")
    assert found.select("language", "model", "win_rate").rows() == [
        ("en", "a", 1.0), ("en", "b", 0.5), ("en", "c", 0.0), ("fi", "c", 1.0), ("fi", "b", 0.5), ("fi", "a", 0.0),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with 24 prompts on 9 videos and 3 without, anonymous votes, K-wise rankings and unknown models."""
    from pipelines import ingest

    folder, rng = tmp_path_factory.mktemp("larger"), np.random.default_rng(4)
    names = [f"m{k}" for k in range(5)]
    rows = []
    for _ in range(900):
        left, right = rng.choice(5, 2, replace=False)
        outcome = "left" if rng.random() < 1 / (1 + np.exp(left - right)) else rng.choice(["right", "tie", "both_bad"])
        annotator = rng.choice(["", *(f"a{k}" for k in range(12))])
        prompt, category = f"p{rng.integers(24)}", rng.choice(["pets", "wild", ""])
        rows.append((prompt, names[left], names[right], outcome, annotator, f"{rng.choice([1, 2, 0.3])}", category))
    rows += [("p0", "m0", "unknown", "left", "a1", "1", "pets"), ("p1", "m1", "m1-again", "right", "", "1", "pets")]
    columns = ["prompt_id", "left", "right", "winner", "annotator_id", "weight", "category"]
    pl.DataFrame(rows, schema=columns, orient="row").with_columns(criterion=pl.lit("overall")).write_csv(
        folder / "votes.csv"
    )
    ranked = [
        {"criterion": "overall", "prompt_id": f"p{k}", "responses": names[:3], "rankings": [1, 2, 3]} for k in range(6)
    ]
    (folder / "ranked.jsonl").write_text("\n".join(json.dumps(row) for row in ranked))
    videos = "\n".join(f"p{k},v{k % 9}.mp4" for k in range(21))
    (folder / "prompts.csv").write_text(f"prompt_id,video\n{videos}\n")
    ingest(folder / "votes.csv", folder / "s", prompts=folder / "prompts.csv")
    ingest(folder / "ranked.jsonl", folder / "s")
    return folder / "s"


@pytest.mark.parametrize("by", [None, "category", "criterion"])
def test_a_leaderboard_in_parts_is_that_of_all_votes_at_once(
    larger: Path, by: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:

    def computed() -> tuple[pl.DataFrame, Leaderboard]:
        with curate.open(larger) as opened:
            return opened.leaderboard(by=by), games.store_leaderboard(opened)

    expected, board = computed()
    monkeypatch.setattr(games, "PER_PART", 100)
    with curate.open(larger) as opened, games.stored_games(opened) as parts:
        assert parts is not None
        assert len(list(parts.parts("video"))) > 5
        assert max(len(part.i) for part in parts.parts("annotator")) < 500
    found, in_parts = computed()
    assert found.equals(computed()[0])
    assert_frame_equal(found.drop("acceptable"), expected.drop("acceptable"), abs_tol=1e-9)
    assert_frame_equal(found, expected, abs_tol=0.1)  # the prior of each part is its own
    assert expected["acceptable"].is_not_null().all()
    assert (in_parts.votes, in_parts.excluded_votes) == (board.votes, board.excluded_votes)
    assert in_parts.clustered_by == board.clustered_by == ("video", "annotator")
    np.testing.assert_allclose(in_parts.covariance, board.covariance, rtol=1e-9)
    np.testing.assert_allclose(in_parts.wins, board.wins)


def test_control_removes_the_effects_of_text_and_of_numeric_columns(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pipelines import ingest

    rng = np.random.default_rng(0)
    doublings = rng.integers(0, 6, size=(60, 4)) + np.arange(4)  # of 8 characters
    responses = pl.DataFrame(
        [
            {"prompt_id": f"p{p}", "response_id": f"m{m}", "text": "x" * 2 ** (3 + own), "words": f"{own}", "note": "n"}
            for p, row in enumerate(doublings.tolist())
            for m, own in enumerate(row)
        ]
    )
    rows = []
    for p in range(60):
        for i, j in product(range(4), repeat=2):
            left = rng.random() < 1 / (1 + np.exp(-0.5 * (doublings[p, i] - doublings[p, j])))
            rows.append((f"p{p}", f"m{i}", f"m{j}", "left" if left else "right"))
    votes = pl.DataFrame(rows, schema=["prompt_id", "left", "right", "winner"], orient="row")
    votes = votes.filter(pl.col("left") != pl.col("right"))
    ingest(votes, tmp_path / "s.duckdb", responses=responses)
    with curate.open(tmp_path / "s.duckdb") as opened:
        assert json.loads(opened.responses()["meta"][1]) == {"words": doublings[0, 1]}
        board = opened.leaderboard(control=["length"])
        effect = opened.effects(control=["length", "position"])
        assert opened.effects(control=["words"])["covariate"].to_list() == ["position", "words"]
    assert effect["low"][1] < 0.5 < effect["high"][1]
    assert board.sort("model")["rank_uncontrolled"].to_list() == [4, 3, 2, 1]
    assert board["strength"].abs().max() < 0.2
    command = ["leaderboard", "--store", str(tmp_path / "s.duckdb"), "--control"]
    assert run([*command, "length", "--effects", "--json"]) == 0
    assert [row["covariate"] for row in json.loads(capsys.readouterr().out)] == ["position", "length"]
    assert run([*command, "note"]) == 4
    assert "length, markdown, position, words" in capsys.readouterr().err
    assert run(["leaderboard", "--store", str(store), "--control", "length"]) == 4  # these responses have no text


@pytest.mark.parametrize("by", ["nothing", 'a"b', "a'b", "$.x"])
@pytest.mark.parametrize("per_part", [1, games.PER_PART])
def test_an_unknown_group_is_refused(store: Path, by: str, per_part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(games, "PER_PART", per_part)
    with curate.open(store) as opened:
        with pytest.raises(CurateError, match="no vote has a value of"):
            opened.leaderboard(by=by)
        assert opened.leaderboard().height == 2
