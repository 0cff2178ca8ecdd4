"""Classification of the comparison design: its power for adaptive campaigns, and its error rate for others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from curate.evaluation.design import LEVEL, RIDGE, Design, _association, _counts, design_of
from curate.rankers.base import average_ranks
from curate.rankers.bradley_terry import BradleyTerry
from curate.simulation.world import simulate_world
from curate.votes.arrays import VoteArrays
from schemas.config import SimulateConfig
from tests.strategies import prompt_sets, relabelled, reversed_votes, votes_from

ADAPTIVE = SimulateConfig(prompts=30, design="adaptive", seed=5)


def random_votes(
    dice: np.random.Generator, *, prompts: int, size: int, votes_per_pair: float, hubs: float, models: bool = False
) -> VoteArrays:
    """Return votes on pairs drawn independently of strength, though some responses are drawn much more often.

    models: strength and popularity are those of a model, the same in all prompts.
    """
    i, j = np.triu_indices(size, 1)
    rows = 1 if models else prompts
    popular = np.exp(dice.normal(0, hubs, (rows, size))) * np.ones((prompts, 1))
    strength = dice.exponential(1.5, (rows, size)) * np.ones((prompts, 1))  # skewed: most are weak
    chance = popular[:, i] * popular[:, j]
    count = dice.poisson(chance / chance.sum(axis=1, keepdims=True) * votes_per_pair * len(i))
    prompt, pair = np.divmod(np.repeat(np.arange(count.size), count.ravel()), len(i))
    lost = dice.random(len(pair)) > 1 / (1 + np.exp(strength[prompt, j[pair]] - strength[prompt, i[pair]]))
    empty = votes_from([], silent=[(f"p{p:03}", f"r{r:02}") for p in range(prompts) for r in range(size)])
    return replace(
        empty,
        left=(prompt * size + i[pair]).astype(np.int32),
        right=(prompt * size + j[pair]).astype(np.int32),
        outcome=lost.astype(np.int8),
        weight=np.ones(len(pair)),
        sides_known=np.zeros(len(pair), dtype=np.bool_),
        annotator=np.full(len(pair), -1, dtype=np.int32),
        group=np.full(len(pair), -1, dtype=np.int32),
        response_model=np.tile(np.arange(size, dtype=np.int32), prompts) if models else empty.response_model,
        models=tuple(f"m{m:02}" for m in range(size)) if models else (),
    )


@pytest.mark.parametrize("models", [False, True])
@pytest.mark.parametrize(("prompts", "size", "votes_per_pair", "hubs"), [(6, 12, 0.5, 0.7), (20, 6, 1.0, 0.4)])
def test_random_designs_are_rarely_classified_as_adaptive(
    models: bool, prompts: int, size: int, votes_per_pair: float, hubs: float
) -> None:
    """200 worlds: at level .01, seven or more have probability 1/200."""
    dice = np.random.default_rng(0)
    found = [
        design_of(
            random_votes(dice, prompts=prompts, size=size, votes_per_pair=votes_per_pair, hubs=hubs, models=models)
        )
        for _ in range(200)
    ]
    assert sum(design.design == "adaptive" for design in found) <= 6
    p = np.array([design.association_p for design in found])
    assert (p < 0.2).mean() < 0.3
    if not models:
        assert (p < 0.5).mean() > 0.4  # nor is it so cautious that it could never speak


def test_few_votes_per_pair_are_a_random_design() -> None:
    design = design_of(simulate_world(SimulateConfig(prompts=40, votes_per_pair=0.3)).votes)
    assert design.design == "random"
    assert design.coverage == pytest.approx(0.3)
    assert design.votes_per_pair == pytest.approx(0.3)


@pytest.mark.parametrize("votes_per_pair", [1.0, 1.1, 4.5])
def test_a_balanced_campaign_is_a_complete_design(votes_per_pair: float) -> None:
    design = design_of(simulate_world(SimulateConfig(prompts=40, votes_per_pair=votes_per_pair)).votes)
    assert design.design == "complete"
    assert design.dispersion < 0.1


@pytest.mark.parametrize("seed", range(3))
def test_an_adaptive_campaign_is_detected(seed: int) -> None:
    design = design_of(simulate_world(ADAPTIVE.model_copy(update={"seed": seed})).votes)
    assert design.design == "adaptive"
    assert design.association > 0.2
    assert design.association_p < 1e-4
    assert design.dispersion > 1.2
    assert design.dispersion_p < LEVEL


def test_the_association_is_negative_where_weak_responses_are_compared_more_often() -> None:
    votes = simulate_world(ADAPTIVE).votes
    forward, backward = design_of(votes), design_of(reversed_votes(votes))
    assert backward.association == pytest.approx(-forward.association)
    assert backward.association_p == pytest.approx(forward.association_p)
    assert backward.design == "adaptive"


def test_small_differences_in_counts_are_negligible() -> None:
    """All responses are compared 10 or 11 times, the best two 11 times: significant, but a complete design."""
    rows = []
    for p in range(60):
        for i in range(6):
            for j in range(i):
                rows += [(f"p{p:02}", f"r{i}", f"r{j}", "left")] * 2
        rows += [(f"p{p:02}", "r5", "r4", "left")]
    design = design_of(votes_from(rows))
    assert design.association_p < LEVEL
    assert design.response_spread < 0.1
    assert design.design == "complete"


def test_statistics_agree_with_their_definitions() -> None:
    rows = [("p", "a", "b", "left")] * 3 + [("p", "c", "a", "tie"), ("q", "x", "y", "right"), ("q", "x", "y", "left")]
    design = design_of(votes_from(rows))
    pairs = np.array([3, 1, 0])  # of p; q has a single one
    assert design.votes_per_pair == pytest.approx(6 / 4)
    assert design.coverage == pytest.approx(3 / 4)
    mean = pairs.mean()
    assert design.pair_spread == pytest.approx(np.sqrt(((pairs - mean) ** 2).sum() / (3 * mean**2 + 2**2)))
    assert design.dispersion == pytest.approx(((pairs - mean) ** 2).sum() / mean / 2)
    responses = np.array([4, 3, 1])
    assert design.response_spread == pytest.approx(
        np.sqrt(((responses - responses.mean()) ** 2).sum() / (3 * responses.mean() ** 2 + 2 * 2**2))
    )


@settings(max_examples=25, deadline=None)
@given(votes=prompt_sets())
def test_renumbering_has_no_effect_and_statistics_are_finite_for_any_graph(votes: VoteArrays) -> None:
    design, same = design_of(votes), design_of(relabelled(votes, seed=0)[0])
    assert same.design == design.design
    assert same.association == pytest.approx(design.association, abs=1e-9)
    assert -1 <= design.association <= 1
    assert 0 <= design.association_p <= 1


def test_the_variance_agrees_with_permutations() -> None:
    """Reference: z from random permutations of strengths within prompts."""
    votes = random_votes(np.random.default_rng(1), prompts=3, size=5, votes_per_pair=2.0, hubs=0.5)
    dice = np.random.default_rng(2)
    count = _counts(votes)[1]
    strength = BradleyTerry(RIDGE)(votes).scores.reshape(3, 5)
    rank = -average_ranks(count, votes.response_prompt).reshape(3, 5)
    rank -= rank.mean(axis=1, keepdims=True)
    drawn = [float((rank * dice.permuted(strength, axis=1)).sum()) for _ in range(20_000)]
    assert _association(votes, count)[1] == pytest.approx(float((rank * strength).sum()) / np.std(drawn), rel=0.03)


def test_without_votes_the_design_is_complete() -> None:
    for votes in (votes_from([]), votes_from([], silent=[("p", "a"), ("p", "b"), ("p", "c")])):
        design = design_of(votes)
        assert isinstance(design, Design)
        assert design.design == "complete"
        assert design.association_p == 1.0
        assert np.isnan(design.dispersion)
