"""Acceptability: what votes that both responses are bad say about each of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import curate
from curate.evaluation.acceptability import acceptability
from curate.simulation.world import simulate_world
from curate.votes.arrays import BOTH_BAD, VoteArrays
from pipelines import denoise, ingest
from schemas.config import SimulateConfig


def world(seed: int) -> tuple[VoteArrays, np.ndarray]:
    """Votes, and (R,) the true acceptability; prompts differ in how hard they are."""
    rng = np.random.default_rng(seed)
    made = simulate_world(SimulateConfig(prompts=80, models=8, annotators=60, votes_per_pair=2, seed=seed))
    votes, strength = made.votes, made.responses.strength.ravel()
    truth = 1 / (1 + np.exp(-strength - rng.normal(size=80)[made.votes.response_prompt]))
    bad = rng.random(len(votes.left)) < (1 - truth[votes.left]) * (1 - truth[votes.right])
    return replace(votes, outcome=np.where(bad, BOTH_BAD, votes.outcome).astype(np.int8)), truth


@pytest.mark.parametrize("seed", [0, 1])
def test_intervals_cover_the_truth_as_often_as_they_say(seed: int) -> None:
    votes, truth = world(seed)
    found = acceptability(votes)
    assert found is not None
    assert found.converged
    assert 0.86 < np.mean((found.low <= truth) & (truth <= found.high)) < 0.96
    assert np.mean(truth < found.low) < 0.08
    assert np.corrcoef(found.estimate, truth)[0, 1] > 0.75


def test_a_response_without_votes_has_no_acceptability_and_no_both_bad_vote_means_none() -> None:
    votes, _ = world(0)
    alone = votes.of_votes((votes.left != 0) & (votes.right != 0))
    found = acceptability(alone)
    assert found is not None
    assert np.flatnonzero(np.isnan(found.estimate)).tolist() == [0]
    assert acceptability(votes.of_votes(votes.outcome != BOTH_BAD)) is None


def test_rankings_and_leaderboard_state_it(tmp_path: Path) -> None:
    rows = [f"p{p},{a},{b},both_bad,w{p}" for p in range(4) for a, b in ("ab", "ba")]
    rows += [f"p{p},{a},c,right,w{p}" for p in range(4) for a in "ab"]
    (tmp_path / "v.csv").write_text("\n".join(["prompt_id,left,right,winner,annotator_id", *rows]))
    ingest(tmp_path / "v.csv", tmp_path / "s.duckdb")
    denoise(tmp_path / "s.duckdb")
    with curate.open(tmp_path / "s.duckdb") as opened:
        board, ranking = opened.leaderboard(), opened.rankings()
    accepted = dict(board.select("model", "acceptable").iter_rows())
    assert accepted["c"] > 0.6 > 0.3 > accepted["a"]
    assert (ranking["acceptable_low"] < ranking["acceptable"]).all()
    assert (ranking["acceptable"] < ranking["acceptable_high"]).all()
