"""Losses against reference implementations, and their invariances."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from curate.reward.loss import LOSSES, bradley_terry, label_targets, plackett_luce, top1

pytestmark = pytest.mark.slow

Item = tuple[list[float], list[int]]
ITEMS = st.integers(2, 5).flatmap(
    lambda n: st.tuples(
        st.lists(st.floats(-5, 5), min_size=n, max_size=n), st.lists(st.integers(1, n), min_size=n, max_size=n)
    )
)


def padded(items: list[Item]) -> tuple[Tensor, Tensor, Tensor]:
    """scores (−∞ where there is none), ranks and presence of items of several N."""
    most = max(len(scores) for scores, _ in items)
    scores = torch.full((len(items), most), -torch.inf, dtype=torch.float64)
    ranks = torch.zeros(len(items), most, dtype=torch.long)
    for b, (own, rank) in enumerate(items):
        scores[b, : len(own)] = torch.tensor(own, dtype=torch.float64)
        ranks[b, : len(own)] = torch.tensor(rank)
    return scores, ranks, ~torch.isinf(scores)


def log_share(scores: list[float], among: list[int], i: int) -> float:
    return scores[i] - math.log(sum(math.exp(scores[j]) for j in among))


def reference_top1(scores: list[float], ranks: list[int]) -> float:
    best = [i for i, rank in enumerate(ranks) if rank == min(ranks)]
    return -sum(log_share(scores, list(range(len(scores))), i) for i in best) / len(best)


def reference_plackett_luce(scores: list[float], ranks: list[int]) -> float:
    stages = sorted(set(ranks))
    choices = stages[:-1] or stages
    total = 0.0
    for stage in choices:
        left = [i for i, rank in enumerate(ranks) if rank >= stage]
        equals = [i for i, rank in enumerate(ranks) if rank == stage]
        total -= sum(log_share(scores, left, i) for i in equals) / len(equals)
    return total / len(choices)


def reference_bradley_terry(scores: list[float], ranks: list[int]) -> float:
    n = range(len(scores))
    pairs = [(i, j) for i in n for j in n if ranks[i] < ranks[j]]
    return sum(math.log1p(math.exp(scores[j] - scores[i])) for i, j in pairs) / max(1, len(pairs))


REFERENCES = {
    "top1": reference_top1,
    "plackett-luce": reference_plackett_luce,
    "bradley-terry": reference_bradley_terry,
}


@pytest.mark.parametrize("name", list(LOSSES))
@given(items=st.lists(ITEMS, min_size=1, max_size=4))
def test_losses_equal_their_reference_implementations(name: str, items: list[Item]):
    losses = LOSSES[name](*padded(items), None)  # type: ignore[index]
    assert losses.tolist() == pytest.approx([REFERENCES[name](*item) for item in items], abs=1e-6)


@pytest.mark.parametrize("name", list(LOSSES))
@given(item=ITEMS, shift=st.floats(-3, 3))
def test_adding_a_constant_to_the_scores_changes_no_loss(name: str, item: Item, shift: float):
    loss = LOSSES[name]  # type: ignore[index]
    moved = ([score + shift for score in item[0]], item[1])
    assert loss(*padded([moved]), None).item() == pytest.approx(loss(*padded([item]), None).item(), abs=1e-6)


@pytest.mark.parametrize("name", list(LOSSES))
@given(item=ITEMS, order=st.randoms(use_true_random=False))
def test_the_order_of_responses_changes_no_loss(name: str, item: Item, order):
    loss, places = LOSSES[name], list(range(len(item[0])))  # type: ignore[index]
    order.shuffle(places)
    other = ([item[0][i] for i in places], [item[1][i] for i in places])
    assert loss(*padded([other]), None).item() == pytest.approx(loss(*padded([item]), None).item(), abs=1e-6)


@pytest.mark.parametrize("name", list(LOSSES))
def test_gradients_are_finite_with_absent_responses(name: str):
    scores, ranks, present = padded([([1.0, 2.0, 3.0], [1, 2, 3]), ([1.0, 0.0], [2, 1])])
    free = torch.zeros_like(scores, requires_grad=True)
    LOSSES[name](free + scores, ranks, present, None).sum().backward()  # type: ignore[index]
    assert free.grad is not None
    assert torch.isfinite(free.grad).all()
    assert free.grad[1, 2] == 0


def test_equal_scores_cost_log_n():
    scores, ranks, present = padded([([0.0] * 4, [1, 2, 3, 4])])
    assert top1(scores, ranks, present).item() == pytest.approx(math.log(4))


def test_responses_that_share_the_best_rank_share_the_target():
    ranks = torch.tensor([[1, 1, 3, 4], [2, 1, 3, 9]])
    present = torch.tensor([[True] * 4, [True, True, True, False]])
    assert label_targets(ranks, present).tolist() == [[0.5, 0.5, 0, 0], [0, 1, 0, 0]]


def test_soft_targets_are_renormalised_at_later_stages():
    scores, ranks, present = padded([([0.3, -0.2, 0.9], [1, 2, 3])])
    soft = torch.tensor([[0.6, 0.3, 0.1]], dtype=torch.float64)
    first = -sum(p * log_share([0.3, -0.2, 0.9], [0, 1, 2], i) for i, p in enumerate([0.6, 0.3, 0.1]))
    second = -(0.75 * log_share([0.3, -0.2, 0.9], [1, 2], 1) + 0.25 * log_share([0.3, -0.2, 0.9], [1, 2], 2))
    assert top1(scores, ranks, present, soft).item() == pytest.approx(first)
    assert plackett_luce(scores, ranks, present, soft).item() == pytest.approx((first + second) / 2)


@given(probabilities=st.lists(st.floats(0.05, 1), min_size=3, max_size=3))
def test_soft_losses_are_minimal_at_the_log_probabilities(probabilities: list[float]):
    """Where the model agrees with the denoiser, the gradient is zero."""
    soft = torch.tensor([probabilities], dtype=torch.float64) / sum(probabilities)
    ranks = torch.tensor([[1, 2, 3]])
    present = torch.ones(1, 3, dtype=torch.bool)
    for loss in (top1, plackett_luce, bradley_terry):
        scores = soft.log().requires_grad_()
        loss(scores, ranks, present, soft).sum().backward()
        assert scores.grad is not None
        assert scores.grad.abs().max() < 1e-9
