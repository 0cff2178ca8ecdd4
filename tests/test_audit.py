"""Audit: the smallest sets of votes that a label rests on are named, and the label changes without them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cli.main import run
from curate.evaluation.fragility import Query, fragile_best, fragile_top
from curate.evaluation.leaderboard import leaderboard
from curate.rankers.hierarchical import Hierarchical, fit_of_prompts
from curate.rankers.hierarchical.influence import influence
from curate.simulation.world import simulate_world
from curate.votes.arrays import VoteArrays
from pipelines import audit, denoise, ingest
from schemas.config import DenoiseConfig, SimulateConfig

SITTINGS = {"sittings_per_prompt": 3, "responses_per_sitting": 4, "perception_error": 1.0}


@pytest.fixture(scope="module", params=[{}, SITTINGS], ids=["independent", "sittings"])
def votes(request: pytest.FixtureRequest) -> VoteArrays:
    config = {"prompts": 30, "models": 6, "annotators": 30, "seed": 4, **request.param}
    return simulate_world(SimulateConfig.model_validate(config)).votes


def queries_of(votes: VoteArrays, strength: np.ndarray) -> list[Query]:
    found = []
    for prompt in range(len(votes.prompts)):
        members = np.arange(votes.offsets[prompt], votes.offsets[prompt + 1])
        best = int(members[strength[members].argmax()])
        found.append(Query(prompt, best, members[members != best]))
    return found


def test_without_no_vote_the_strengths_of_some_prompts_stay(votes: VoteArrays) -> None:
    styled = replace(
        votes, covariates=np.arange(2.0 * len(votes.responses)).reshape(-1, 2) ** 2 % 7, covariate_names=("a", "b")
    )
    for given in (votes, styled):
        ranker, some = Hierarchical(), np.arange(len(votes.prompts)) % 3 == 0
        fit = ranker.fit(given)
        part = given.of_prompts(some)
        again = ranker.without(part, fit_of_prompts(fit, given, some), np.ones(len(part.left), dtype=bool))
        assert again.strength == pytest.approx(fit.strength[some[given.response_prompt]], abs=0.01)


def test_influence_predicts_what_leaving_one_vote_out_does(votes: VoteArrays) -> None:
    ranker = Hierarchical(mixtures=False)
    fit = ranker.fit(votes)
    queries = queries_of(votes, fit.strength)
    best = np.array([query.best for query in queries])
    rival = np.array([query.others[fit.strength[query.others].argmax()] for query in queries])
    predicted, found = influence(votes, fit, best, rival), []
    gap = fit.strength[best] - fit.strength[rival]
    prompt = votes.response_prompt[votes.left]
    for turn in range(4):  # one vote of every prompt at a time
        out = np.array([np.flatnonzero(prompt == p)[turn] for p in range(len(votes.prompts))])
        keep = np.ones(len(votes.left), dtype=bool)
        keep[out] = False
        without = ranker.without(votes, fit, keep).strength
        found.append((predicted[out], gap - (without[best] - without[rival])))
    said, did = np.concatenate(found, axis=1)
    assert np.corrcoef(said, did)[0, 1] > 0.95
    assert 0.8 < np.polyfit(did, said, 1)[0] < 1.25


@pytest.mark.parametrize("by", ["votes", "annotators"])
def test_the_best_response_changes_without_the_named_votes(votes: VoteArrays, by: str) -> None:
    """Everything is fitted again, annotators and priors too."""
    ranker = Hierarchical()
    fit = ranker.fit(votes)
    queries = queries_of(votes, fit.strength)
    unit = np.arange(len(votes.left)) if by == "votes" else votes.annotator.astype(np.int64)
    changes = fragile_best(votes, ranker, fit, queries, unit=unit)
    fragile = [(query, change) for query, change in zip(queries, changes, strict=True) if change][:8]
    assert fragile
    for query, change in fragile:
        keep = np.ones(len(votes.left), dtype=bool)
        keep[change.votes] = False
        assert (votes.response_prompt[votes.left[change.votes]] == query.prompt).all()
        assert len(np.unique(unit[change.votes])) == change.units
        again = ranker.fit(votes.of_votes(keep)).strength
        assert again[query.others].max() > again[query.best]


def test_the_leader_changes_without_the_named_votes(votes: VoteArrays) -> None:
    found = fragile_top(votes, unit=np.arange(len(votes.left)))
    assert found is not None
    leader, rival, change = found
    assert leaderboard(votes).frame["model"][0] == leader
    keep = np.ones(len(votes.left), dtype=bool)
    keep[change.votes] = False
    assert leaderboard(votes.of_votes(keep)).frame["model"][0] == rival
    assert change.units == len(change.votes)


@pytest.mark.parametrize(
    ("more", "expected"),
    [([("a", "b", "right")], None), ([("c", "d", "left")] * 5, ("a", "b"))],
    ids=["tie", "component"],
)
def test_the_leader_is_a_strict_one_of_the_largest_component(
    more: list[tuple[str, str, str]], expected: tuple[str, str] | None
) -> None:
    rows = [("a", "b", "left"), *more, *([("b", "e", "left")] if expected else [])]
    left, right, outcome = zip(*rows, strict=True)
    votes = VoteArrays.from_columns(prompt=["p"] * len(rows), left=left, right=right, outcome=outcome)
    found = fragile_top(votes, unit=np.arange(len(rows)))
    assert (found and found[:2]) == expected


def test_audit_names_votes_by_file_and_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two prompts: one decided by two votes to one, one by nine to none."""
    lines = ["prompt_id,left,right,winner,annotator_id", "p1,a,b,left,w1", "p1,b,a,right,w2", "p1,a,b,right,w3"]
    lines += [f"p2,c,d,left,w{i}" for i in range(9)]
    (tmp_path / "v.csv").write_text("\n".join(lines))
    store = tmp_path / "s.duckdb"
    ingest(tmp_path / "v.csv", store)
    denoise(store, config=DenoiseConfig(ranker="hierarchical"))
    found = audit(store)
    assert found.labels == 2
    first = found.fragile[0]
    assert (first.prompt_id, first.best, first.rival) == ("p1", "a", "b")
    assert first.units == len(first.votes) <= 2
    named = {vote.line: vote for vote in first.votes}
    assert named.keys() <= {2, 3}
    assert all(vote.file.endswith("v.csv") and vote.annotator_id for vote in first.votes)
    assert run(["audit", "--store", str(store), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fragile"][0]["prompt_id"] == "p1"
    assert run(["audit", "--store", str(store)]) == 0
    assert "v.csv:" in capsys.readouterr().out
    assert run(["audit", str(tmp_path), "--store", str(store)]) == 5  # no release
