"""Simulated votes that depend on more than strengths and annotators."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from curate.annotators import copying
from curate.annotators.copying import find_copying
from curate.denoising.ranking import rank_votes
from curate.simulation.world import World, simulate_world
from curate.votes.arrays import LEFT, RIGHT
from schemas.choices import Dependence
from schemas.config import DenoiseConfig, SimulateConfig


def world(dependence: str, **changes: object) -> World:
    config = {"prompts": 60, "models": 8, "annotators": 30, "votes_per_pair": 3, "spammers": 0, "ties": 0, "seed": 1}
    return simulate_world(SimulateConfig.model_validate({**config, "dependence": dependence, **changes}))


@pytest.mark.parametrize("dependence", get_args(Dependence))
def test_nobody_votes_twice_on_a_pair_and_equal_configs_give_equal_votes(dependence: str) -> None:
    made, again = world(dependence), world(dependence)
    pair = np.stack([np.minimum(made.left, made.right), np.maximum(made.left, made.right), made.annotator])
    assert len(np.unique(pair, axis=1).T) == len(made.left)
    assert (made.outcome == again.outcome).all()
    assert (made.left == again.left).all()


def test_the_two_tastes_average_to_the_true_strengths() -> None:
    made, none = world("taste-groups", model_sd=3), world("none", model_sd=3)
    ratio = made.responses.strength.var() / none.responses.strength.var()
    assert ratio == pytest.approx(0.6**2 + 0.4**2 + 2 * 0.6 * 0.4 * 0.3, abs=0.2)  # .66
    toward = np.where(made.outcome == LEFT, 1, -1) * np.sign(
        none.responses.strength.ravel()[made.left] - none.responses.strength.ravel()[made.right]
    )
    agreement = np.bincount(made.annotator, toward, 30) / np.bincount(made.annotator, minlength=30)
    assert (agreement > 0.45).sum() == 18  # the majority votes by the strengths of the world without tastes


def test_attention_falls_within_a_shift() -> None:
    made, none = world("drift", discrimination_sd=0), world("none", discrimination_sd=0)
    strength = made.responses.strength.ravel()
    for found in (made, none):
        first = np.zeros(len(found.left), dtype=np.bool_)
        for annotator in range(30):
            own = np.flatnonzero(found.annotator == annotator)
            first[own[np.arange(len(own)) % 60 < 30]] = True
        right = (strength[found.left] > strength[found.right]) == (found.outcome == LEFT)
        gain = right[first].mean() - right[~first].mean()
        assert gain > 0.05 if found is made else abs(gain) < 0.04


def test_most_annotators_choose_one_side_on_some_prompts() -> None:
    made = world("careless-majority", left_bias=0.0, votes_per_pair=6)
    prompt = made.left // 8
    side = np.where(made.outcome == LEFT, 1, -1)
    of_person = np.zeros((60, 30))
    np.add.at(of_person, (prompt, made.annotator), side)
    count = np.zeros((60, 30))
    np.add.at(count, (prompt, made.annotator), 1)
    one_sided = (np.abs(of_person) == count) & (count >= 5)
    share = one_sided.sum(axis=1) / np.maximum((count >= 5).sum(axis=1), 1)
    assert 0.1 < (share > 0.35).mean() < 0.35


def test_a_ring_copies_the_votes_of_one_account() -> None:
    made = world("copied-votes", activity_sd=0.2)
    judged = {}
    swapped = {LEFT: RIGHT, RIGHT: LEFT}
    for left, right, outcome, annotator in zip(
        made.left.tolist(), made.right.tolist(), made.outcome.tolist(), made.annotator.tolist(), strict=True
    ):
        key = (min(left, right), max(left, right))
        judged.setdefault(annotator, {})[key] = outcome if left < right else swapped[outcome]
    copies = 0
    for a in range(30):
        for b in range(a):
            shared = judged[a].keys() & judged[b].keys()
            same = sum(judged[a][key] == judged[b][key] for key in shared)
            copies += len(shared) >= 50 and same > 0.95 * len(shared)
    assert copies in (2, 3)  # the ring has three accounts: both others copy the leader


@pytest.mark.parametrize("sittings", [False, True])
def test_a_ring_is_found_and_only_its_copies_are_excluded(sittings: bool) -> None:
    design = {"sittings_per_prompt": 12} if sittings else {}
    made = world("copied-votes", activity_sd=0.2, prompts=120, ties=0.1, **design)
    found = find_copying(made.votes)
    (ring,) = found.rings(made.votes.annotators)
    assert 2 <= len(ring) <= 3
    copier = np.isin(made.votes.annotators, ring)[made.annotator]
    assert not (found.copied & ~copier).any()
    independent = world("none", activity_sd=0.2, prompts=120, ties=0.1, **design)
    share = (len(ring) - 1) / len(ring) * 0.8  # COPIED, of all but the leader's votes
    assert found.copied[copier].mean() == pytest.approx(share, abs=0.12)
    assert not find_copying(independent.votes).copied.any()


@pytest.mark.parametrize("dependence", ["taste-groups", "drift", "careless-majority"])
def test_good_or_careless_annotators_are_no_ring(dependence: str) -> None:
    clear = {"model_sd": 6.0, "interaction_sd": 6.0}
    for changes in ({"votes_per_pair": 12}, {"sittings_per_prompt": 20, **clear}, {"votes_per_pair": 12, **clear}):
        made = world(dependence, **changes)
        assert find_copying(made.votes).rings(made.votes.annotators) == (), changes


def test_rings_are_found_among_more_votes_than_comparisons(monkeypatch: pytest.MonkeyPatch) -> None:
    votes = world("copied-votes").votes
    monkeypatch.setattr(copying, "MAX_COMPARISONS", 10)
    assert find_copying(votes).rings(votes.annotators)


def test_runs_exclude_copies_and_name_their_accounts() -> None:
    made = world("copied-votes", activity_sd=0.2)
    config = DenoiseConfig(ranker="bradley-terry")
    denoised, kept = (
        rank_votes(made.votes, config),
        rank_votes(made.votes, DenoiseConfig(ranker="bradley-terry", copied_votes="keep")),
    )
    copies = int(denoised.copying.copied.sum())
    assert copies > 100
    assert (len(denoised.votes.left), len(kept.votes.left)) == (len(made.left) - copies, len(made.left))
    assert kept.copying.rings(made.votes.annotators) == ()
