"""What training minimises: pure functions of scores, ranks or probabilities, and a mask. A loss for each example."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from schemas.training import LossName


def label_targets(ranks: Tensor, present: Tensor) -> Tensor:
    """(B, N) P(i is the best) as the labels have it: shared equally by those of the best rank.

    ranks: (B, N) 1 = best, equals share a rank; present: (B, N) bool.
    """
    ranks = ranks.masked_fill(~present, torch.iinfo(ranks.dtype).max)
    best = (ranks == ranks.amin(dim=1, keepdim=True)).float()
    return best / best.sum(dim=1, keepdim=True)


def top1(scores: Tensor, _ranks: Tensor, targets: Tensor, present: Tensor) -> Tensor:
    """(B,) cross-entropy of the softmax over the N scores toward the targets (arXiv 2604.10966: one best).

    scores: (B, N), higher is better; targets: (B, N) P(i is the best), sums to 1; present: (B, N) bool.
    """
    log_share = torch.log_softmax(scores.masked_fill(~present, -torch.inf), dim=1)
    return -(targets * log_share.masked_fill(~present, 0.0)).sum(dim=1)


def plackett_luce(scores: Tensor, ranks: Tensor, targets: Tensor, present: Tensor) -> Tensor:
    """(B,) cross-entropy of the whole ranking, a choice of the best among what is left, stage by stage, for each stage.

    Plackett (1975), Luce (1959). At the stage of rank r the best of those ranked r or worse is chosen; equals of rank r
    share its target (Breslow, 1974). Targets other than the labels' own are those of the first stage: at a later one
    they are shared out among what is left, as Luce's axiom has it. The last rank is no choice, unless nothing precedes.
    """
    hard = torch.equal(targets, label_targets(ranks, present))
    low = scores.masked_fill(~present, -torch.inf)
    worst = ranks.masked_fill(~present, -1).amax(dim=1, keepdim=True)
    total, stages = scores.new_zeros(len(scores)), scores.new_zeros(len(scores))
    for n in range(scores.shape[1]):
        rank = ranks[:, n : n + 1]
        left = present & (ranks >= rank)
        equals = present & (ranks == rank)
        first = present[:, n] & ~(equals[:, :n].any(dim=1))
        choice = first & ((rank < worst) | (left.sum(1, keepdim=True) == present.sum(1, keepdim=True)))[:, 0]
        aim = equals.float() if hard else targets.masked_fill(~left, 0.0)
        aim = aim / aim.sum(dim=1, keepdim=True).clamp_min(torch.finfo(aim.dtype).tiny)
        log_share = torch.log_softmax(low.masked_fill(~left & left.any(1, keepdim=True), -torch.inf), dim=1)
        loss = -(aim * log_share.masked_fill(~left, 0.0)).sum(dim=1)
        total, stages = total + torch.where(choice, loss, 0.0), stages + choice.float()
    return total / stages.clamp_min(1.0)


def bradley_terry(scores: Tensor, ranks: Tensor, targets: Tensor, present: Tensor) -> Tensor:
    """(B,) mean cross-entropy over pairs of P(i is better than j) = σ(score i − score j) (Bradley and Terry, 1952).

    Pairs of equals aim at ½ only where the targets say something of them; with labels they are left out. Targets other
    than the labels' own give a pair's aim by Luce's axiom: target i / (target i + target j).
    """
    hard = torch.equal(targets, label_targets(ranks, present))
    gap = scores.masked_fill(~present, 0.0)
    gap = gap[:, :, None] - gap[:, None, :]
    pairs = (present[:, :, None] & present[:, None, :]).triu(diagonal=1)
    if hard:
        pairs = pairs & (ranks[:, :, None] != ranks[:, None, :])
        aim = (ranks[:, :, None] < ranks[:, None, :]).float()
    else:
        both = targets[:, :, None] + targets[:, None, :]
        aim = torch.where(both > 0, targets[:, :, None] / both.clamp_min(torch.finfo(both.dtype).tiny), 0.5)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(gap, aim, reduction="none")
    number = pairs.sum(dim=(1, 2))
    return (loss * pairs).sum(dim=(1, 2)) / number.clamp_min(1)


LOSSES: dict[LossName, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "top1": top1,
    "plackett-luce": plackett_luce,
    "bradley-terry": bradley_terry,
}
