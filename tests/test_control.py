"""Style control: the effects of covariates on votes, and rankings without them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import curate
from benchmarks.control import EFFECT, cast
from cli.main import run
from curate.denoising.ranking import rank_votes
from curate.evaluation.agreement import kendall_tau
from curate.rankers.hierarchical import Hierarchical
from curate.simulation.world import World, simulate_world
from curate.votes.arrays import VoteArrays
from pipelines import denoise, ingest
from schemas.config import DenoiseConfig, SimulateConfig
from schemas.errors import CurateError


@pytest.fixture(scope="module")
def world() -> World:
    return simulate_world(SimulateConfig(prompts=60, models=8, annotators=40, spammers=0, votes_per_pair=2, seed=0))


@pytest.fixture(scope="module")
def votes(world: World) -> VoteArrays:
    """Votes that reward length by EFFECT per doubling."""
    rng = np.random.default_rng(0)
    doublings = rng.normal(0, 0.7, len(world.votes.responses)) + rng.normal(0, 0.7, 8)[world.votes.response_model]
    biased = cast(world.votes, world.annotators, world.responses.strength.ravel() + EFFECT * doublings, rng)
    return replace(biased, covariates=doublings[:, None], covariate_names=("length",))


def test_the_effect_is_covered_and_removed_from_the_ranking(world: World, votes: VoteArrays) -> None:
    truth = world.responses.strength.ravel()
    oracle = cast(world.votes, world.annotators, truth, np.random.default_rng(1))
    fit = Hierarchical().fit(votes)
    error = float(np.sqrt(fit.effect.covariance[0, 0]))
    assert abs(fit.effect.mean[0] - EFFECT) < 2 * error < 0.25

    def tau(strength: np.ndarray) -> float:
        return float(np.nanmean(kendall_tau(strength, truth, votes.offsets)))

    plain = Hierarchical().fit(replace(votes, covariates=None, covariate_names=()))
    assert tau(plain.strength) + 0.02 < tau(fit.strength)
    assert tau(fit.strength) > tau(Hierarchical().fit(oracle).strength) - 0.06


def test_units_and_offsets_of_a_covariate_do_not_matter(votes: VoteArrays) -> None:
    assert votes.covariates is not None
    shift = np.random.default_rng(2).normal(size=len(votes.prompts))[votes.response_prompt, None]
    plain, scaled = (
        Hierarchical().fit(votes),
        Hierarchical().fit(replace(votes, covariates=50 * votes.covariates + shift * 9)),
    )
    np.testing.assert_allclose(scaled.strength, plain.strength, atol=1e-4)
    np.testing.assert_allclose(scaled.effect.mean * 50, plain.effect.mean, atol=1e-4)


def test_a_covariate_without_differences_changes_nothing(votes: VoteArrays) -> None:
    constant = replace(votes, covariates=np.ones((len(votes.responses), 1)))
    without = Hierarchical(mixtures=False).fit(replace(votes, covariates=None, covariate_names=()))
    np.testing.assert_allclose(Hierarchical().fit(constant).strength, without.strength, atol=1e-9)


def test_predictions_of_votes_include_the_effect(votes: VoteArrays) -> None:
    """A control improves the likelihood of the votes themselves; without the effect it would lower it."""
    decisive = votes.of_votes(votes.outcome < 2)
    toward = np.where(decisive.outcome == 0, 1, -1)
    plain = replace(decisive, covariates=None, covariate_names=())
    losses = [
        float(np.logaddexp(0, -toward * Hierarchical(mixtures=False).fit(v).log_odds(v)).mean())
        for v in (plain, decisive)
    ]
    assert losses[1] < losses[0] + 0.005


def test_only_the_hierarchical_ranker_controls(votes: VoteArrays) -> None:
    config = DenoiseConfig(control=("length",))
    assert rank_votes(votes, config).method == "hierarchical"
    for other in ({"ranker": "bradley-terry"}, {"compare": True}):
        with pytest.raises(CurateError):
            rank_votes(votes, DenoiseConfig(control=("length",), **other))


def test_denoise_and_report_state_the_effect(tmp_path: Path, world: World, votes: VoteArrays) -> None:
    assert votes.covariates is not None
    size = np.maximum(1, np.round(2.0 ** (5 + votes.covariates[:, 0]))).astype(int)
    ids = pl.DataFrame({"prompt_id": np.array(votes.prompts)[votes.response_prompt], "response_id": votes.responses})
    responses = ids.with_columns(
        text=pl.Series(["x" * n for n in size]), model=pl.Series(votes.models).gather(votes.response_model)
    )
    table = pl.DataFrame(
        {
            "prompt_id": ids["prompt_id"].gather(votes.left),
            "left": ids["response_id"].gather(votes.left),
            "right": ids["response_id"].gather(votes.right),
            "winner": pl.Series(["left", "right", "tie"]).gather(votes.outcome),
            "annotator_id": pl.Series(votes.annotators).gather(votes.annotator),
        }
    )
    store = tmp_path / "s.duckdb"
    ingest(table, store, responses=responses)
    plain = denoise(store, config=DenoiseConfig(ranker="hierarchical"))
    controlled = denoise(store, config=DenoiseConfig(control=("length", "position")))
    assert plain.run != controlled.run
    assert [effect.covariate for effect in controlled.effects] == ["length"]
    assert controlled.effects[0].low < EFFECT < controlled.effects[0].high
    with curate.open(store) as opened:
        ranks = [opened.rankings(run.run).sort("response_id")["rank"] for run in (plain, controlled)]
    assert not ranks[0].equals(ranks[1])
    assert run(["report", "--store", str(store), "--out", str(tmp_path / "r.html")]) == 0
    assert "alike in length" in (tmp_path / "r.html").read_text()
    assert run(["denoise", "--store", str(store), "--control", "size"]) == 4
