"""What training minimises: pure functions of scores, ranks and a mask. A loss for each example.

All take scores (B, N), higher is better; ranks (B, N), 1 = best, equals share a rank; present (B, N) bool: there is
such a response; and soft, (B, N) P(i is the best) by the denoiser, sums to 1, or None: ranks are taken at their word.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from schemas.training import LossName

Loss = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]


def label_targets(ranks: Tensor, present: Tensor) -> Tensor:
    """(B, N) P(i is the best) as the labels have it: shared equally by those of the best rank."""
    ranks = ranks.masked_fill(~present, torch.iinfo(ranks.dtype).max)
    best = (ranks == ranks.amin(dim=1, keepdim=True)).float()
    return best / best.sum(dim=1, keepdim=True)


def top1(scores: Tensor, ranks: Tensor, present: Tensor, soft: Tensor | None = None) -> Tensor:
    """(B,) cross-entropy of the softmax over the N scores toward the best (arXiv 2604.10966)."""
    targets = label_targets(ranks, present) if soft is None else soft
    return -(targets * _log_share(scores, present)).sum(dim=1)


def plackett_luce(scores: Tensor, ranks: Tensor, present: Tensor, soft: Tensor | None = None) -> Tensor:
    """(B,) mean cross-entropy over the stages of a ranking, each a choice of the best of what is left.

    Plackett (1975), Luce (1959). At the stage of rank r one of those ranked r or worse is chosen; equals of rank r
    share its target (Breslow, 1974). Soft targets are those of the first stage: at a later one they are shared out
    among what is left, as Luce's axiom has it. The last rank is no choice, unless it is the only one.
    """
    worst = ranks.masked_fill(~present, 0).amax(dim=1)
    total, stages = torch.zeros_like(scores[:, 0]), torch.zeros_like(scores[:, 0])
    for n in range(scores.shape[1]):
        rank = ranks[:, n : n + 1]
        left, equals = present & (ranks >= rank), present & (ranks == rank)
        first = present[:, n] & ~equals[:, :n].any(dim=1)
        choice = first & ((rank[:, 0] < worst) | (equals == present).all(dim=1))
        aim = equals.float() if soft is None else soft * left
        aim = aim / aim.sum(dim=1, keepdim=True).clamp_min(torch.finfo(aim.dtype).tiny)
        # A row that is absent chooses among nothing: it is shown all, and not counted.
        loss = -(aim * _log_share(scores, torch.where(choice[:, None], left, present))).sum(dim=1)
        total, stages = total + torch.where(choice, loss, 0.0), stages + choice
    return total / stages


def bradley_terry(scores: Tensor, ranks: Tensor, present: Tensor, soft: Tensor | None = None) -> Tensor:
    """(B,) mean cross-entropy over pairs of P(i is better than j) = σ(score i − score j) (Bradley and Terry, 1952).

    By the ranks, pairs of equals say nothing and are left out. Soft targets give a pair's aim by Luce's axiom:
    target i / (target i + target j).
    """
    score = scores.masked_fill(~present, 0.0)
    gap = score[:, :, None] - score[:, None, :]
    pairs = (present[:, :, None] & present[:, None, :]).triu(diagonal=1)
    if soft is None:
        pairs = pairs & (ranks[:, :, None] != ranks[:, None, :])
        aim = (ranks[:, :, None] < ranks[:, None, :]).to(gap.dtype)
    else:
        both = soft[:, :, None] + soft[:, None, :]
        aim = torch.where(both > 0, soft[:, :, None] / both.clamp_min(torch.finfo(both.dtype).tiny), 0.5).to(gap.dtype)
    loss = binary_cross_entropy_with_logits(gap, aim, reduction="none")
    return (loss * pairs).sum(dim=(1, 2)) / pairs.sum(dim=(1, 2)).clamp_min(1)


def _log_share(scores: Tensor, among: Tensor) -> Tensor:
    """(B, N) log softmax of the scores among some of them; 0 for the others."""
    return torch.log_softmax(scores.masked_fill(~among, -torch.inf), dim=1).masked_fill(~among, 0.0)


LOSSES: dict[LossName, Loss] = {"top1": top1, "plackett-luce": plackett_luce, "bradley-terry": bradley_terry}
